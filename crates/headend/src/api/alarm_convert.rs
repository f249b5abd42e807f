//! Alarms from the store's types to what the API says.

use meterseal_model::event::Severity;

use super::types;
use crate::alarms::{Cause, HeadendCause};
use crate::clock::rfc3339;
use crate::store::{Alarm, AlarmAct, AlarmChange, AlarmGroup, AlarmMoment, DeadLetter, QueueState};

impl From<&Alarm> for types::Alarm {
    fn from(alarm: &Alarm) -> Self {
        let (acknowledged, cleared) = (alarm.acknowledged.as_ref(), alarm.cleared.as_ref());
        Self {
            id: alarm.id,
            meter: alarm.meter.map(|meter| meter.to_string()),
            sentence: sentence(&alarm.cause, alarm.code),
            cause: alarm.cause.clone(),
            text: alarm.text.clone(),
            severity: alarm.severity.into(),
            state: match (cleared, acknowledged) {
                (Some(_), _) => types::AlarmLife::Cleared,
                (None, Some(_)) => types::AlarmLife::Acknowledged,
                (None, None) => types::AlarmLife::Raised,
            },
            open: cleared.is_none() || acknowledged.is_none(),
            first_at: rfc3339(alarm.first),
            raised_at: rfc3339(alarm.raised),
            last_at: rfc3339(alarm.last),
            occurrences: alarm.occurrences,
            acknowledged_at: acknowledged.map(|note| rfc3339(note.at)),
            acknowledged_by: acknowledged.and_then(|note| note.by.clone()),
            acknowledged_comment: acknowledged.and_then(|note| note.comment.clone()),
            cleared_at: cleared.map(|note| rfc3339(note.at)),
            cleared_by: cleared.and_then(|note| note.by.clone()),
            cleared_comment: cleared.and_then(|note| note.comment.clone()),
            changed: alarm.changed,
        }
    }
}

impl From<&AlarmChange> for types::AlarmUpdate {
    fn from(change: &AlarmChange) -> Self {
        Self { change: change.id, act: change.act.into(), alarm: (&change.alarm).into() }
    }
}

impl From<&AlarmMoment> for types::AlarmMoment {
    fn from(moment: &AlarmMoment) -> Self {
        Self {
            id: moment.id,
            at: rfc3339(moment.at),
            act: moment.act.into(),
            by: moment.by.clone(),
            comment: moment.comment.clone(),
            text: moment.text.clone(),
            sequence: moment.sequence,
            code: moment.code,
            event_at: moment.event_at.map(rfc3339),
        }
    }
}

impl From<&AlarmGroup> for types::AlarmGroup {
    fn from(group: &AlarmGroup) -> Self {
        Self {
            sentence: sentence(&group.cause, group.code),
            cause: group.cause.clone(),
            severity: group.severity.into(),
            count: group.count,
            meters: group.meters,
            unacknowledged: group.unacknowledged,
            lasting: group.lasting,
            from: rfc3339(group.from),
            to: rfc3339(group.to),
            last_at: rfc3339(group.last),
            occurrences: group.occurrences,
            changed: group.changed,
            only: group.only.as_ref().map(types::Alarm::from),
        }
    }
}

impl From<AlarmAct> for types::AlarmAct {
    fn from(act: AlarmAct) -> Self {
        match act {
            AlarmAct::Raised => Self::Raised,
            AlarmAct::Repeated => Self::Repeated,
            AlarmAct::Acknowledged => Self::Acknowledged,
            AlarmAct::Cleared => Self::Cleared,
            AlarmAct::Reopened => Self::Reopened,
        }
    }
}

impl From<Severity> for types::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Notice => Self::Notice,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

/// What a cause means. One of a newer version, whose name is all that is known, is its own name.
pub(crate) fn sentence(cause: &str, code: Option<u8>) -> String {
    let own = HeadendCause::ALL.iter().find(|own| own.name() == cause);
    match (code, own) {
        (Some(code), _) => Cause::Event(code).sentence(),
        (None, Some(own)) => own.sentence().to_owned(),
        (None, None) => cause.to_owned(),
    }
}

impl From<&QueueState> for types::ReceiverQueue {
    fn from(queue: &QueueState) -> Self {
        Self {
            receiver: queue.target.clone(),
            waiting: queue.waiting,
            oldest_waiting_at: queue.oldest_waiting.map(rfc3339),
            last_error: queue.last_error.clone(),
            dead: queue.dead,
        }
    }
}

impl From<&DeadLetter> for types::DeadLetter {
    fn from(letter: &DeadLetter) -> Self {
        let delivery = &letter.delivery;
        Self {
            id: delivery.id,
            receiver: letter.target.clone(),
            meter: delivery.meter.map(|meter| meter.to_string()),
            alarm: delivery.alarm,
            sentence: sentence(&delivery.cause, delivery.cause_code),
            severity: delivery.severity.into(),
            moment: (&delivery.moment).into(),
            attempts: delivery.attempts,
            error: letter.error.clone(),
            dead_at: rfc3339(letter.dead),
        }
    }
}
