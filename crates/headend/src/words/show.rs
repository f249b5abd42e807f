//! Values as people read them: exact decimals with units, times, texts, and a tree for the rest; and all of it as JSON.

use meterseal_link::Value;
use meterseal_link::client::CosemDateTime;
use serde_json::{Value as Json, json};

/// A register's scaler and unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The value × 10^scaler is in the unit.
    pub scaler: i8,
    /// Number of the unit (IEC 62056-6-2).
    pub unit: u8,
}

impl Scale {
    /// Reads attribute scaler_unit.
    pub fn read(value: &Value) -> Option<Self> {
        let [scaler, unit] = value.as_list()? else { return None };
        Some(Self { scaler: i8::try_from(scaler.as_i64()?).ok()?, unit: u8::try_from(unit.as_u64()?).ok()? })
    }
}

/// A quantity with its unit: `123.456 kWh`. Energies are shown in thousands of their unit, as on a meter's display.
pub fn quantity(value: &Value, scale: Scale) -> String {
    let Some(number) = integer(value) else { return text(value) };
    let (prefix, shift) = if matches!(scale.unit, 30..=32) { ("k", 3) } else { ("", 0) };
    let unit = unit(scale.unit);
    let number = decimal(number, i32::from(scale.scaler) - shift);
    if unit.is_empty() { number } else { format!("{number} {prefix}{unit}") }
}

/// Any value in one line.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Text(v) => format!("\"{}\"", printable(v)),
        Value::DateTime(v) => time(*v),
        Value::Bits(bits, bytes) => {
            let bit =
                |place: usize| bytes.get(place / 8).is_some_and(|byte| byte & (0x80 >> (place % 8)) != 0);
            (0..*bits).map(|place| if bit(place) { '1' } else { '0' }).collect()
        }
        Value::Bytes(bytes) => octets(bytes),
        Value::Structure(elements) => {
            format!("{{ {} }}", elements.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => format!("[ {} ]", elements.iter().map(text).collect::<Vec<_>>().join(", ")),
        number => integer(number).map_or_else(String::new, |number| number.to_string()),
    }
}

/// An octet string: a time, a text, or digits.
fn octets(bytes: &[u8]) -> String {
    if let Ok(date_time) = <[u8; 12]>::try_from(bytes)
        && looks_like_time(&date_time)
    {
        return time(CosemDateTime(date_time));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(|letter| !letter.is_control()) => {
            format!("\"{text}\"")
        }
        _ => hex(bytes),
    }
}

/// Month, day, hour and minute are in range or not specified, and the year is one of this and the next centuries: no
/// twelve letters look so.
fn looks_like_time(bytes: &[u8; 12]) -> bool {
    let [y0, y1, month, day, weekday, hour, minute, second, ..] = *bytes;
    let year = u16::from_be_bytes([y0, y1]);
    (year == 0xFFFF || (1970..=2200).contains(&year))
        && (matches!(month, 1..=12) || month >= 0xFD)
        && (matches!(day, 1..=31) || day >= 0xFD)
        && (matches!(weekday, 1..=7) || weekday == 0xFF)
        && (hour < 24 || hour == 0xFF)
        && (minute < 60 || minute == 0xFF)
        && (second < 60 || second == 0xFF)
}

/// A date and time: in UTC where the meter says how far it is from there, otherwise as it stands.
pub fn time(value: CosemDateTime) -> String {
    if let Some(at) = value.unix() {
        return at.to_string();
    }
    let [y0, y1, month, day, _, hour, minute, second, ..] = value.0;
    let two = |part: u8| if part >= 0xFD { "**".to_owned() } else { format!("{part:02}") };
    let year = match u16::from_be_bytes([y0, y1]) {
        0xFFFF => "****".to_owned(),
        year => format!("{year:04}"),
    };
    let date = format!("{year}-{}-{}", two(month), two(day));
    format!("{date} {}:{}:{} (local time of the meter)", two(hour), two(minute), two(second))
}

/// A value as JSON: numbers as they came, octet strings in hexadecimal digits, structures and arrays as lists.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Text(v) => json!(v),
        Value::DateTime(v) => json!(hex(&v.0)),
        Value::Bits(..) => json!(text(value)),
        Value::Bytes(bytes) => json!(hex(bytes)),
        Value::Structure(elements) | Value::Array(elements) => {
            Json::Array(elements.iter().map(json).collect())
        }
        Value::U64(v) => json!(v),
        number => json!(number.as_i64()),
    }
}

/// A unit's symbol, or its number where it is none of the known.
pub fn unit(number: u8) -> String {
    const UNITS: [(u8, &str); 32] = [
        (1, "a"),
        (2, "mo"),
        (3, "wk"),
        (4, "d"),
        (5, "h"),
        (6, "min"),
        (7, "s"),
        (8, "°"),
        (9, "°C"),
        (13, "m³"),
        (14, "m³"),
        (15, "m³/h"),
        (19, "l"),
        (23, "Pa"),
        (24, "bar"),
        (25, "J"),
        (27, "W"),
        (28, "VA"),
        (29, "var"),
        (30, "Wh"),
        (31, "VAh"),
        (32, "varh"),
        (33, "A"),
        (35, "V"),
        (38, "Ω"),
        (41, "T"),
        (44, "Hz"),
        (56, "%"),
        (57, "Ah"),
        (70, "dBm"),
        (72, "dB"),
        (255, ""),
    ];
    let known = UNITS.iter().find(|(code, _)| *code == number);
    known.map_or_else(|| format!("(unit {number})"), |(_, symbol)| (*symbol).to_owned())
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::U64(v) => Some(i128::from(*v)),
        other => other.as_i64().map(i128::from),
    }
}

/// `number` × 10^`exponent`, exactly.
fn decimal(number: i128, exponent: i32) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let digits = number.unsigned_abs().to_string();
    if exponent >= 0 {
        let zeros = if number == 0 { 0 } else { exponent.unsigned_abs() as usize };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let places = exponent.unsigned_abs() as usize;
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}

fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '·' } else { letter }).collect()
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meterseal_model::UnixMillis;

    #[test]
    fn quantities_are_exact_and_in_the_units_of_a_display() {
        let show = |number, scaler, unit| quantity(&Value::I64(number), Scale { scaler, unit });
        assert_eq!(show(123_456_789, -3, 30), "123.456789 kWh");
        assert_eq!(show(123_456, 0, 30), "123.456 kWh");
        assert_eq!(show(5, 3, 30), "5 kWh");
        assert_eq!(show(-7, -3, 30), "-0.000007 kWh");
        assert_eq!(show(230_012, -3, 35), "230.012 V");
        assert_eq!(show(998, -3, 255), "0.998");
        assert_eq!(show(0, 2, 27), "0 W");
        let largest = quantity(&Value::U64(u64::MAX), Scale { scaler: -3, unit: 30 });
        assert_eq!(largest, "18446744073709.551615 kWh");
        assert_eq!(show(1, 0, 99), "1 (unit 99)");
    }

    #[test]
    fn octet_strings_are_times_texts_or_digits() {
        let at = CosemDateTime::from_unix(UnixMillis(1_795_373_820_000)).unwrap();
        assert_eq!(text(&Value::Bytes(at.0.to_vec())), "2026-11-22T18:57:00Z");
        assert_eq!(text(&Value::Bytes(b"MSL000000001".to_vec())), "\"MSL000000001\"");
        assert_eq!(text(&Value::Bytes(vec![1, 0, 99, 1, 0, 255])), "0100630100ff");
        let mut local = at;
        local.0[9] = 0x80;
        local.0[10] = 0;
        assert_eq!(time(local), "2026-11-22 18:57:00 (local time of the meter)");
        assert_eq!(text(&Value::Text("a\u{1b}[2Jb".to_owned())), "\"a·[2Jb\"");
    }

    #[test]
    fn json_keeps_numbers_whole() {
        assert_eq!(json(&Value::U64(u64::MAX)).to_string(), u64::MAX.to_string());
    }
}
