//! Why there is an alarm: an event of a meter's security log, or something that the head-end itself noticed. A cause
//! has a stable name, a severity and one sentence that a person understands.

use meterseal_model::EventCode;
use meterseal_model::event::Severity;

macro_rules! causes {
    ($($variant:ident = $name:literal, $severity:ident, $sentence:literal;)*) => {
        /// What the head-end itself raises alarms about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HeadendCause {
            $(#[doc = $sentence] $variant,)*
        }

        impl HeadendCause {
            /// Every cause.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// A short name, stable, for programs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence that a person understands.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// How urgent it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

causes! {
    MeterSilent = "meter_silent", Warning, "Nothing was heard from the meter for longer than its interval.";
    MeterRefused = "meter_refused", Critical, "The meter is refused: it is not what it claims, not admitted, or its memory was put back.";
    LogTruncated = "log_truncated", Critical, "The meter's sealed log is shorter than it was.";
    LogRolledBack = "log_rolled_back", Critical, "The meter showed an older checkpoint than the newest that it had signed.";
    LogForked = "log_forked", Critical, "The meter signed two logs that contradict each other.";
    LogGap = "log_gap", Critical, "Leaves are missing from the meter's sealed log.";
    LogAltered = "log_altered", Critical, "An entry of the meter's log is not what its sealed leaf says.";
    LogOtherKey = "log_other_key", Critical, "The meter's log was signed by another key than the one pinned at enrolment.";
    LogReplaced = "log_replaced", Critical, "The meter began another log that nobody vouched for.";
    CheckpointMissing = "checkpoint_missing", Warning, "The meter has signed no checkpoint of its log for longer than a day.";
    RowRepaired = "row_repaired", Critical, "A row of the head-end's database was missing or altered, and was restored from the meter's sealed log.";
    RowsLost = "rows_lost", Critical, "The meter no longer holds rows that were never stored.";
    RegisterBackwards = "register_backwards", Critical, "An energy register of the meter went backwards.";
    EnrolmentFailed = "enrolment_failed", Critical, "The meter could not be enrolled, or its certificate could not be renewed.";
    DeliveryFailed = "delivery_failed", Warning, "Alarms could not be delivered to a receiver; they are in the list of dead letters.";
    CampaignStopped = "campaign_stopped", Critical, "A firmware campaign stopped by itself.";
    AttestationFailed = "attestation_failed", Critical, "The meter could not prove which firmware it runs.";
    BootKeyUnknown = "boot_key_unknown", Critical, "The meter attests with a boot key that nobody trusted vouches for.";
    BootKeyChanged = "boot_key_changed", Critical, "The meter attests with another boot key than the one pinned at its first contact.";
    FirmwareMisreported = "firmware_misreported", Critical, "The meter reports other firmware than it attests.";
    FirmwareRolledBack = "firmware_rolled_back", Critical, "The meter's firmware, or its memory of it, went back to an older state.";
}

/// Why there is an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An event of a meter's security log, by its number.
    Event(u8),
    /// The head-end itself.
    Headend(HeadendCause),
}

impl From<HeadendCause> for Cause {
    fn from(cause: HeadendCause) -> Self {
        Self::Headend(cause)
    }
}

impl Cause {
    /// The stable name: alarms of one meter with one name are one alarm.
    pub fn name(self) -> String {
        match self {
            Self::Headend(cause) => cause.name().to_owned(),
            Self::Event(number) => match EventCode::from_number(number) {
                Some(code) => code.name().to_owned(),
                None => format!("event_{number}"),
            },
        }
    }

    /// One sentence that a person understands.
    pub fn sentence(self) -> String {
        match self {
            Self::Headend(cause) => cause.sentence().to_owned(),
            Self::Event(number) => match EventCode::from_number(number) {
                Some(code) => code.sentence().to_owned(),
                None => format!("The meter reported event {number}, which this head-end does not know."),
            },
        }
    }

    /// How urgent it is. What is not known is worth a look.
    pub fn severity(self) -> Severity {
        match self {
            Self::Headend(cause) => cause.severity(),
            Self::Event(number) => {
                EventCode::from_number(number).map_or(Severity::Warning, EventCode::severity)
            }
        }
    }

    /// The event number, where it is one.
    pub fn event(self) -> Option<u8> {
        match self {
            Self::Event(number) => Some(number),
            Self::Headend(_) => None,
        }
    }

    /// Whether it goes on until something or somebody ends it. What does not is over when it is acknowledged.
    pub fn lasts(self) -> bool {
        match self {
            Self::Headend(_) => true,
            Self::Event(number) => {
                EventCode::from_number(number).is_some_and(|code| code.ended_by().next().is_some())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_causes_share_a_name() {
        let events = EventCode::ALL.iter().map(|&code| Cause::Event(code as u8));
        let all: Vec<Cause> = events.chain(HeadendCause::ALL.iter().map(|&cause| cause.into())).collect();
        let names: HashSet<String> = all.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn an_unknown_event_has_a_name_and_is_worth_a_look() {
        assert_eq!(Cause::Event(254).name(), "event_254");
        assert_eq!(Cause::Event(254).severity(), Severity::Warning);
        assert!(Cause::Event(EventCode::CoverRemoved as u8).lasts());
        assert!(!Cause::Event(EventCode::FirmwareRefused as u8).lasts());
    }
}
