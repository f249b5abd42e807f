//! The head-end's own clock, and how times are written in the API.

use std::time::{SystemTime, UNIX_EPOCH};

use meterseal_model::UnixMillis;

/// The wall clock now.
pub(crate) fn now() -> UnixMillis {
    let milliseconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    UnixMillis(milliseconds)
}

/// RFC 3339 in UTC with milliseconds. A time outside the years −9999 … 9999, which only a broken clock can say,
/// is written as the number that it is.
pub(crate) fn rfc3339(time: UnixMillis) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => time.0.to_string(),
    }
}

/// Reads RFC 3339 with any offset.
pub(crate) fn parse(text: &str) -> Result<UnixMillis, jiff::Error> {
    text.parse::<jiff::Timestamp>().map(|timestamp| UnixMillis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_and_read_with_any_offset() {
        assert_eq!(rfc3339(UnixMillis(1_000)), "1970-01-01T00:00:01.000Z");
        assert_eq!(rfc3339(UnixMillis(-1)), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(UnixMillis(i64::MAX)), i64::MAX.to_string());
        assert_eq!(parse("1970-01-01T01:00:01+01:00").unwrap(), UnixMillis(1_000));
        assert!(parse("yesterday").is_err());
    }
}
