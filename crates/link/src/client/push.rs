//! What a meter pushes: a notification, and the alarm event inside it (docs/object-model.md, Push setup).

use meterseal_model::{EventCode, MeterId, Obis, SystemTitle, UnixMillis};
use thiserror::Error;

use super::value::Value;

/// A DataNotification that was deciphered with the meter's key and is no replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The meter's system title: half of the nonce, so proven by the tag.
    pub sender: SystemTitle,
    /// The invocation counter it was sent under.
    pub invocation_counter: u32,
    /// When the values were captured, where the meter says so.
    pub captured_at: Option<UnixMillis>,
    /// What was pushed.
    pub body: Value,
}

impl Notification {
    /// The alarm event that it carries.
    ///
    /// # Errors
    /// [`PushError`] when the body has another layout, or names another meter than the one that sent it.
    pub fn event(&self) -> Result<EventPush, PushError> {
        let fields = match &self.body {
            Value::Structure(fields) => fields.as_slice(),
            _ => return Err(PushError::Layout { field: "body" }),
        };
        let [setup, meter, sequence, time, code, extreme, uptime] = fields else {
            return Err(PushError::FieldCount { found: fields.len() });
        };
        let wrong = |field| PushError::Layout { field };
        let meter: MeterId =
            meter.as_text().and_then(|text| text.parse().ok()).ok_or(wrong("meter identifier"))?;
        if meter.system_title() != self.sender {
            return Err(PushError::OtherMeter { named: meter });
        }
        let number = code.as_u64().and_then(|code| u8::try_from(code).ok()).ok_or(wrong("event code"))?;
        Ok(EventPush {
            push_setup: setup.as_obis().ok_or(wrong("push setup"))?,
            meter,
            sequence: sequence.as_u64().ok_or(wrong("sequence"))?,
            time: time.as_time().ok_or(wrong("time"))?,
            code: EventCode::from_number(number).ok_or(PushError::UnknownEvent { number })?,
            extreme: extreme.as_i64().ok_or(wrong("extreme"))?,
            uptime_milliseconds: uptime.as_u64().ok_or(wrong("uptime"))?,
        })
    }
}

/// An entry of the security log, pushed as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPush {
    /// The logical name of the push setup that sent it.
    pub push_setup: Obis,
    /// Whose event it is.
    pub meter: MeterId,
    /// Its sequence number in the security log.
    pub sequence: u64,
    /// When it happened, on the meter's clock.
    pub time: UnixMillis,
    /// What happened.
    pub code: EventCode,
    /// The extreme value, in the unit that docs/object-model.md gives for the event.
    pub extreme: i64,
    /// The meter's uptime when it happened, in milliseconds.
    pub uptime_milliseconds: u64,
}

/// Why a notification is no alarm event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PushError {
    /// The structure has another number of fields than seven.
    #[error("the pushed structure has {found} fields instead of 7")]
    FieldCount {
        /// How many it has.
        found: usize,
    },
    /// A field has another type or value than the push setup's object list says.
    #[error("the pushed {field} is not what the push setup promises")]
    Layout {
        /// Which.
        field: &'static str,
    },
    /// It names another meter than the one whose key it was sent under.
    #[error("the push names meter {named}, but another meter sent it")]
    OtherMeter {
        /// The meter that it names.
        named: MeterId,
    },
    /// The event is not one that this program knows: the sequence is in the log all the same.
    #[error("the pushed event number {number} is unknown; read the security log")]
    UnknownEvent {
        /// Its number.
        number: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::super::value::CosemDateTime;
    use super::*;

    fn body() -> Vec<Value> {
        vec![
            Value::obis(Obis::ALARM_PUSH_SETUP),
            Value::Bytes(b"MSL0000000001".to_vec()),
            Value::U64(17),
            Value::Bytes(CosemDateTime::from_unix(UnixMillis(1_795_373_820_250)).unwrap().0.to_vec()),
            Value::U8(44),
            Value::I64(-3),
            Value::U64(99_000),
        ]
    }

    fn notification(body: Vec<Value>) -> Notification {
        let sender = "MSL0000000001".parse::<MeterId>().unwrap().system_title();
        Notification { sender, invocation_counter: 5, captured_at: None, body: Value::Structure(body) }
    }

    #[test]
    fn cpa_tamp_an_alarm_push_is_read_whole() {
        let event = notification(body()).event().unwrap();
        assert_eq!((event.sequence, event.code, event.extreme), (17, EventCode::CoverRemoved, -3));
        assert_eq!(event.time, UnixMillis(1_795_373_820_250));
        assert_eq!(event.uptime_milliseconds, 99_000);
    }

    #[test]
    fn a_push_in_another_meters_name_or_shape_is_refused() {
        let mut other = body();
        other[1] = Value::Text("MSL0000000002".into());
        assert!(matches!(notification(other).event(), Err(PushError::OtherMeter { .. })));
        let mut unknown = body();
        unknown[4] = Value::U8(250);
        assert_eq!(notification(unknown).event(), Err(PushError::UnknownEvent { number: 250 }));
        assert_eq!(notification(vec![]).event(), Err(PushError::FieldCount { found: 0 }));
        for place in 0..7 {
            let mut wrong = body();
            wrong[place] = Value::Bool(true);
            assert!(matches!(notification(wrong).event(), Err(PushError::Layout { .. })), "field {place}");
        }
    }
}
