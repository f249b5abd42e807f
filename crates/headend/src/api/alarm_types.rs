//! The API's words for alarms and what is delivered about them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::types::Severity;

pub(crate) use super::alarm_convert::sentence;

/// Where an alarm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmLife {
    /// It lasts, and nobody has taken note of it.
    Raised,
    /// It lasts, and somebody has taken note of it.
    Acknowledged,
    /// It is over. Nobody may have taken note of it yet: see `acknowledged_at`.
    Cleared,
}

/// What happens to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
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

/// An alarm: one meter, or the head-end itself, and one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alarm {
    /// Its number; it keeps it when it is reopened.
    pub id: u64,
    /// Which meter; null for the head-end itself.
    #[schema(required)]
    pub meter: Option<String>,
    /// Stable name of the cause: an event's `name`, or one of the head-end's own.
    #[schema(example = "meter_cover_removed")]
    pub cause: String,
    /// What the cause means, for a person.
    #[schema(example = "The meter's cover was opened.")]
    pub sentence: String,
    /// What was found, in the words of the last time.
    pub text: String,
    /// How urgent it is.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlarmLife,
    /// Whether it lasts, or nobody has taken note of it.
    pub open: bool,
    /// When it was raised for the first time.
    pub first_at: String,
    /// When it was raised or reopened for the last time.
    pub raised_at: String,
    /// When its cause was last seen.
    pub last_at: String,
    /// How often its cause was seen.
    pub occurrences: u64,
    /// When somebody took note of it since it was raised.
    #[schema(required)]
    pub acknowledged_at: Option<String>,
    /// Who.
    #[schema(required)]
    pub acknowledged_by: Option<String>,
    /// Why.
    #[schema(required)]
    pub acknowledged_comment: Option<String>,
    /// When it ended.
    #[schema(required)]
    pub cleared_at: Option<String>,
    /// Who ended it; null when it ended by itself.
    #[schema(required)]
    pub cleared_by: Option<String>,
    /// What ended it, or why.
    #[schema(required)]
    pub cleared_comment: Option<String>,
    /// Number of the last thing that happened to it; rises over all alarms, and `before` in the list takes it.
    pub changed: u64,
}

/// One thing that happened to an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmMoment {
    /// Its number; rises over all alarms.
    pub id: u64,
    /// When, by the head-end's clock.
    pub at: String,
    /// What.
    pub act: AlarmAct,
    /// Who did it; null when it came about by itself.
    #[schema(required)]
    pub by: Option<String>,
    /// Why.
    #[schema(required)]
    pub comment: Option<String>,
    /// What was found.
    pub text: String,
    /// Sequence number in the meter's log of the event that did it.
    #[schema(required)]
    pub sequence: Option<u64>,
    /// That event's number.
    #[schema(required)]
    pub code: Option<u8>,
    /// When that event happened, by the meter's clock.
    #[schema(required)]
    pub event_at: Option<String>,
}

/// An alarm with everything that happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmWithHistory {
    /// The alarm as it is now.
    pub alarm: Alarm,
    /// The newest 1 000 things that happened to it, oldest first.
    pub history: Vec<AlarmMoment>,
}

/// Data of an `alarm` message on the stream, and `alarm` and `change` of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmUpdate {
    /// Number of the change.
    pub change: u64,
    /// What happened.
    pub act: AlarmAct,
    /// The alarm afterwards.
    pub alarm: Alarm,
}

/// Open alarms with one cause that were raised close together: one line for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmGroup {
    /// Stable name of the cause.
    pub cause: String,
    /// What it means, for a person.
    pub sentence: String,
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
    pub from: String,
    /// When the last was raised.
    pub to: String,
    /// When the cause was last seen.
    pub last_at: String,
    /// How often it was seen.
    pub occurrences: u64,
    /// Number of the last change to any of them.
    pub changed: u64,
    /// The alarm, when there is only one.
    #[schema(required)]
    pub only: Option<Alarm>,
}

/// Who does something about an alarm, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmNote {
    /// Who, as they call themselves: whoever holds the page's link is believed. At most 64 characters; `operator`
    /// where it is left out.
    #[serde(default)]
    #[schema(example = "Ann")]
    pub by: Option<String>,
    /// Why; at most 1 000 characters.
    #[serde(default)]
    pub comment: Option<String>,
}

/// The same for all open alarms of one cause that were raised between two times.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmGroupNote {
    /// Stable name of the cause.
    pub cause: String,
    /// First time, RFC 3339: a group's `from`.
    pub from: String,
    /// Last time, RFC 3339: a group's `to`.
    pub to: String,
    /// Who.
    #[serde(default)]
    pub by: Option<String>,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
}

/// How many alarms were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmsChanged {
    /// Alarms.
    pub changed: u64,
}

/// Which alarms.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlarmsQuery {
    /// `open` (those that last or that nobody has acknowledged), `unacknowledged` or `all`.
    #[serde(default = "open")]
    #[param(default = "open")]
    pub state: String,
    /// Only this meter's.
    pub meter: Option<String>,
    /// Only those with this cause.
    pub cause: Option<String>,
    /// Only those at least so urgent: `notice`, `warning` or `critical`.
    pub severity: Option<String>,
    /// Only those raised then or later, RFC 3339.
    pub from: Option<String>,
    /// Only those raised then or earlier, RFC 3339.
    pub to: Option<String>,
    /// Only those whose `changed` is lower.
    pub before: Option<u64>,
    /// At most so many, 1 to 500.
    #[serde(default = "a_hundred")]
    #[param(default = 100, minimum = 1, maximum = 500)]
    pub limit: u32,
}

fn open() -> String {
    "open".to_owned()
}

fn a_hundred() -> u32 {
    100
}

/// How a receiver's queue stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReceiverQueue {
    /// Which receiver.
    #[schema(example = "webhook https://example.org:443/alarms")]
    pub receiver: String,
    /// Messages that wait for it.
    pub waiting: u64,
    /// Since when the oldest waits.
    #[schema(required)]
    pub oldest_waiting_at: Option<String>,
    /// Why the last attempt of a message that waits failed; null when none did.
    #[schema(required)]
    pub last_error: Option<String>,
    /// Its dead letters.
    pub dead: u64,
}

/// Something that no receiver took in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// Which receiver.
    pub receiver: String,
    /// Which meter; null for the head-end itself.
    #[schema(required)]
    pub meter: Option<String>,
    /// The alarm's number.
    pub alarm: u64,
    /// What the alarm's cause means.
    pub sentence: String,
    /// How urgent it is.
    pub severity: Severity,
    /// What had happened to the alarm, and when.
    pub moment: AlarmMoment,
    /// Attempts that failed.
    pub attempts: u32,
    /// Why the last one did.
    #[schema(required)]
    pub error: Option<String>,
    /// When it was given up.
    pub dead_at: String,
}

/// Which dead letters.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    /// Only those with a lower number.
    pub before: Option<u64>,
    /// At most so many, 1 to 500.
    #[serde(default = "a_hundred")]
    #[param(default = 100, minimum = 1, maximum = 500)]
    pub limit: u32,
}

/// How many dead letters were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LettersMoved {
    /// Letters.
    pub moved: u64,
}
