//! Values as a person writes them, on the command line or in a request: `u16:5`, `time:2026-11-22T18:57:00Z`, `struct(u8:1,bytes:00ff)`.

use meterseal_link::Value;
use meterseal_link::client::CosemDateTime;
use meterseal_model::UnixMillis;

/// What the help says about values.
pub const SYNTAX: &str = "TYPE:VALUE with a type of u8, u16, u32, u64, i8, i16, i32, i64, enum, bool, text, bytes \
                                 (hexadecimal digits), time (RFC 3339); null; struct(…,…) or array(…,…) of such";

/// How deep values may nest, as the codec allows.
const DEPTH: usize = 15;

/// Reads a value.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut rest = text;
    let value = value(&mut rest, 0)?;
    if rest.is_empty() { Ok(value) } else { Err(format!("\"{rest}\" stands after the end of the value")) }
}

fn value(rest: &mut &str, depth: usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err(format!("values nest at most {DEPTH} deep"));
    }
    for (word, is_array) in [("struct(", false), ("array(", true)] {
        if let Some(after) = rest.strip_prefix(word) {
            *rest = after;
            let elements = elements(rest, depth)?;
            return Ok(if is_array { Value::Array(elements) } else { Value::Structure(elements) });
        }
    }
    // A scalar ends where its list goes on; at the top, where the text ends, so that a text may hold anything.
    let end = if depth == 0 { rest.len() } else { rest.find([',', ')']).unwrap_or(rest.len()) };
    let (scalar, after) = rest.split_at(end);
    *rest = after;
    self::scalar(scalar)
}

fn elements(rest: &mut &str, depth: usize) -> Result<Vec<Value>, String> {
    let mut elements = Vec::new();
    if let Some(after) = rest.strip_prefix(')') {
        *rest = after;
        return Ok(elements);
    }
    loop {
        elements.push(value(rest, depth + 1)?);
        if let Some(after) = rest.strip_prefix(',') {
            *rest = after;
        } else if let Some(after) = rest.strip_prefix(')') {
            *rest = after;
            return Ok(elements);
        } else {
            return Err("a closing parenthesis is missing".to_owned());
        }
    }
}

fn scalar(text: &str) -> Result<Value, String> {
    fn number<T: std::str::FromStr>(kind: &str, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("\"{text}\" is no number that fits {kind}"))
    }
    if text == "null" {
        return Ok(Value::Null);
    }
    let (kind, content) =
        text.split_once(':').ok_or_else(|| format!("\"{text}\" is no value: write {SYNTAX}"))?;
    Ok(match kind {
        "u8" => Value::U8(number(kind, content)?),
        "u16" => Value::U16(number(kind, content)?),
        "u32" => Value::U32(number(kind, content)?),
        "u64" => Value::U64(number(kind, content)?),
        "i8" => Value::I8(number(kind, content)?),
        "i16" => Value::I16(number(kind, content)?),
        "i32" => Value::I32(number(kind, content)?),
        "i64" => Value::I64(number(kind, content)?),
        "enum" => Value::Enum(number(kind, content)?),
        "bool" => {
            Value::Bool(content.parse().map_err(|_| format!("\"{content}\" is neither true nor false"))?)
        }
        "text" => Value::Text(content.to_owned()),
        "bytes" => Value::Bytes(
            bytes(content).ok_or_else(|| format!("\"{content}\" are no hexadecimal digits in pairs"))?,
        ),
        "time" => Value::Bytes(time(content)?.0.to_vec()),
        other => return Err(format!("there is no type \"{other}\": write {SYNTAX}")),
    })
}

/// A point in time as a COSEM date-time in UTC.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn time(text: &str) -> Result<CosemDateTime, String> {
    CosemDateTime::from_unix(instant(text)?)
        .ok_or_else(|| format!("\"{text}\" is outside the years 1 to 9999"))
}

/// A point in time: RFC 3339.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn instant(text: &str) -> Result<UnixMillis, String> {
    let at: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("\"{text}\" is no time: write RFC 3339, for example 2026-11-22T18:57:00Z"))?;
    Ok(UnixMillis(at.as_millisecond()))
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len() / 2).map(|k| u8::from_str_radix(&digits[2 * k..2 * k + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_types() {
        assert_eq!(parse("u16:5"), Ok(Value::U16(5)));
        assert_eq!(parse("i8:-5"), Ok(Value::I8(-5)));
        assert_eq!(parse("text:a,b)c"), Ok(Value::Text("a,b)c".to_owned())));
        assert_eq!(parse("bytes:00ff"), Ok(Value::Bytes(vec![0, 255])));
        assert_eq!(
            parse("struct(u8:1,array(),struct(null,bool:true))"),
            Ok(Value::Structure(vec![
                Value::U8(1),
                Value::Array(vec![]),
                Value::Structure(vec![Value::Null, Value::Bool(true)])
            ]))
        );
        let at = parse("time:2026-11-22T18:57:00Z").unwrap();
        assert_eq!(at.as_time(), Some(UnixMillis(1_795_373_820_000)));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for wrong in [
            "",
            "5",
            "u8:256",
            "u8:",
            "bytes:0",
            "bytes:é",
            "bytes:0g",
            "struct(u8:1",
            "struct(u8:1)x",
            "x:1",
            "time:now",
            "bool:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"struct(".repeat(100_000)).is_err());
    }
}
