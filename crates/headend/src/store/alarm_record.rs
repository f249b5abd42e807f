//! Alarms as the store knows them.

use meterseal_model::event::Severity;
use meterseal_model::{MeterId, UnixMillis};

use crate::alarms::HeadendCause;

/// An alarm: one meter, or the head-end itself, and one cause, with the newest part of its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its number; it keeps it when it is reopened.
    pub id: u64,
    /// Which meter; none for the head-end itself.
    pub meter: Option<MeterId>,
    /// Stable name of the cause.
    pub cause: String,
    /// Event number, when an event of the meter raised it.
    pub code: Option<u8>,
    /// How urgent it is.
    pub severity: Severity,
    /// What was found, in the words of the last time.
    pub text: String,
    /// When it was raised for the first time.
    pub first: UnixMillis,
    /// When it was raised or reopened for the last time.
    pub raised: UnixMillis,
    /// When its cause was last seen.
    pub last: UnixMillis,
    /// How often its cause was seen.
    pub occurrences: u64,
    /// Who took note of it since it was raised, if anybody.
    pub acknowledged: Option<AlarmNote>,
    /// What or who ended it, if it is over.
    pub cleared: Option<AlarmNote>,
    /// Number of the last thing that happened to it; rises over all alarms.
    pub changed: u64,
}

/// Who did something about an alarm, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmNote {
    /// When, by the head-end's clock.
    pub at: UnixMillis,
    /// Who; none when it came about by itself.
    pub by: Option<String>,
    /// Why.
    pub comment: Option<String>,
}

/// What happens to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAct {
    /// Its cause was seen for the first time.
    Raised,
    /// Its cause was seen again before anybody took note of it.
    Repeated,
    /// Somebody took note of it.
    Acknowledged,
    /// Its cause is over.
    Cleared,
    /// Its cause was seen again after somebody had taken note of it, or after it was over.
    Reopened,
}

impl AlarmAct {
    const ALL: [Self; 5] = [Self::Raised, Self::Repeated, Self::Acknowledged, Self::Cleared, Self::Reopened];

    /// A stable word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Repeated => "repeated",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
            Self::Reopened => "reopened",
        }
    }

    /// The act with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }
}

/// One thing that happened to an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmMoment {
    /// Its number; rises over all alarms.
    pub id: u64,
    /// When, by the head-end's clock.
    pub at: UnixMillis,
    /// What.
    pub act: AlarmAct,
    /// Who did it; none when it came about by itself.
    pub by: Option<String>,
    /// Why.
    pub comment: Option<String>,
    /// What was found.
    pub text: String,
    /// Sequence number in the meter's log of the event that did it.
    pub sequence: Option<u64>,
    /// That event's number.
    pub code: Option<u8>,
    /// When that event happened, by the meter's clock.
    pub event_at: Option<UnixMillis>,
}

/// A change that is on the disk and has to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmChange {
    /// Number of the change; rises over all alarms.
    pub id: u64,
    /// What happened.
    pub act: AlarmAct,
    /// The alarm afterwards.
    pub alarm: Alarm,
    /// Alarms of its meter that nobody has acknowledged, afterwards.
    pub open: u64,
}

/// An alarm of the head-end's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlarm {
    /// Which meter; none for the head-end itself.
    pub meter: Option<MeterId>,
    /// Why.
    pub cause: HeadendCause,
    /// What was found.
    pub text: String,
    /// When.
    pub at: UnixMillis,
}

/// Who acts, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Name.
    pub name: String,
    /// Why.
    pub comment: Option<String>,
}

/// Which alarms somebody acts upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmChoice {
    /// One.
    One(u64),
    /// That of one meter and one event number.
    Event(MeterId, u8),
    /// The open ones of one cause that were raised between two times (both included).
    Group {
        /// Name of the cause.
        cause: String,
        /// First.
        from: UnixMillis,
        /// Last.
        to: UnixMillis,
    },
}

/// Which alarms to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmShow {
    /// Only those that last or that nobody has acknowledged.
    pub open: bool,
    /// Only those that nobody has acknowledged.
    pub unacknowledged: bool,
    /// Only this meter's.
    pub meter: Option<MeterId>,
    /// Only this cause's.
    pub cause: Option<String>,
    /// Only those at least so urgent.
    pub at_least: Option<Severity>,
    /// Only those raised then or later.
    pub from: Option<UnixMillis>,
    /// Only those raised then or earlier.
    pub to: Option<UnixMillis>,
    /// Only those whose last change is before this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// Open alarms with one cause that were raised close together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmGroup {
    /// Name of the cause.
    pub cause: String,
    /// Event number, when it is one.
    pub code: Option<u8>,
    /// How urgent it is.
    pub severity: Severity,
    /// How many alarms.
    pub count: u64,
    /// Of how many meters.
    pub meters: u64,
    /// How many of them nobody has acknowledged.
    pub unacknowledged: u64,
    /// How many of them last.
    pub lasting: u64,
    /// When the first was raised.
    pub from: UnixMillis,
    /// When the last was raised.
    pub to: UnixMillis,
    /// When the cause was last seen.
    pub last: UnixMillis,
    /// How often it was seen.
    pub occurrences: u64,
    /// Number of the last change to any of them.
    pub changed: u64,
    /// The alarm, when there is only one.
    pub only: Option<Alarm>,
}

/// Something that a receiver has to be told: one thing that happened to one alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number: the same in every attempt.
    pub id: u64,
    /// Attempts that failed.
    pub attempts: u32,
    /// When it was queued.
    pub made: UnixMillis,
    /// What happened.
    pub moment: AlarmMoment,
    /// The alarm's number.
    pub alarm: u64,
    /// Its meter; none for the head-end itself.
    pub meter: Option<MeterId>,
    /// Its cause.
    pub cause: String,
    /// The event number of the cause.
    pub cause_code: Option<u8>,
    /// How urgent it is.
    pub severity: Severity,
}

/// Something that no receiver took in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What it was.
    pub delivery: Delivery,
    /// The receiver's name.
    pub target: String,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was given up.
    pub dead: UnixMillis,
}

/// How a receiver's queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// The receiver's name.
    pub target: String,
    /// What waits for it.
    pub waiting: u64,
    /// What was given up.
    pub dead: u64,
    /// Since when the oldest waits.
    pub oldest_waiting: Option<UnixMillis>,
    /// Why the last attempt of something that waits failed.
    pub last_error: Option<String>,
}
