//! Deterministic CBOR (RFC 8949, 4.2.1) of what serde can make: shortest integers and floats, definite lengths, keys in the order of their
//! encodings. So equal results are equal files.

use serde_json::{Map, Number, Value};

/// Encodes a value.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xF6),
        Value::Bool(is) => out.push(if *is { 0xF5 } else { 0xF4 }),
        Value::Number(number) => put_number(number, out),
        Value::String(text) => {
            head(3, text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| put(item, out));
        }
        Value::Object(fields) => {
            head(5, fields.len() as u64, out);
            let mut encoded: Vec<(Vec<u8>, &Value)> =
                fields.iter().map(|(key, value)| (encode(&Value::String(key.clone())), value)).collect();
            encoded.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, value) in encoded {
                out.extend_from_slice(&key);
                put(value, out);
            }
        }
    }
}

fn put_number(number: &Number, out: &mut Vec<u8>) {
    if let Some(value) = number.as_u64() {
        return head(0, value, out);
    }
    if let Some(value) = number.as_i64() {
        // Negative: −1 − n.
        return head(1, value.unsigned_abs() - 1, out);
    }
    let value = number.as_f64().unwrap_or(f64::NAN);
    let single = value as f32;
    if f64::from(single).to_bits() != value.to_bits() {
        out.push(0xFB);
        return out.extend_from_slice(&value.to_be_bytes());
    }
    match half(single) {
        Some(bits) => {
            out.push(0xF9);
            out.extend_from_slice(&bits.to_be_bytes());
        }
        None => {
            out.push(0xFA);
            out.extend_from_slice(&single.to_be_bytes());
        }
    }
}

/// The half-precision bits of a value that has some: normal numbers and zeros, which is all that results hold.
fn half(value: f32) -> Option<u16> {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    if bits & 0x7FFF_FFFF == 0 {
        return Some(sign);
    }
    let exponent = (bits >> 23 & 0xFF) as i32 - 127;
    let subnormal = (-24..-14).contains(&exponent);
    if subnormal {
        let shift = (-1 - exponent) as u32;
        let mantissa = bits & 0x7F_FFFF | 0x80_0000;
        return (mantissa.trailing_zeros() >= shift).then(|| sign | (mantissa >> shift) as u16);
    }
    if !(-14..=15).contains(&exponent) || bits & 0x1FFF != 0 {
        return None;
    }
    Some(sign | ((exponent + 15) as u16) << 10 | (bits >> 13 & 0x3FF) as u16)
}

fn head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xFF => out.extend_from_slice(&[major | 24, value as u8]),
        0x100..=0xFFFF => {
            out.push(major | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            out.push(major | 26);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Reads what [`encode`] writes, and nothing else: `None` for anything that is not the one encoding of a value.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = take(&mut rest, 0)?;
    (rest.is_empty() && encode(&value) == bytes).then_some(value)
}

/// Deeper than results are.
const DEPTH: u32 = 16;

fn take(rest: &mut &[u8], depth: u32) -> Option<Value> {
    if depth > DEPTH {
        return None;
    }
    let first = piece(rest, 1)?[0];
    let (major, extra) = (first >> 5, first & 0x1F);
    if major == 7 {
        return Some(match extra {
            20 => Value::Bool(false),
            21 => Value::Bool(true),
            22 => Value::Null,
            25 => float(from_half(u16::from_be_bytes(piece(rest, 2)?.try_into().ok()?)))?,
            26 => float(f32::from_be_bytes(piece(rest, 4)?.try_into().ok()?).into())?,
            27 => float(f64::from_be_bytes(piece(rest, 8)?.try_into().ok()?))?,
            _ => return None,
        });
    }
    let argument = match extra {
        0..=23 => u64::from(extra),
        24 => u64::from(piece(rest, 1)?[0]),
        25 => u64::from(u16::from_be_bytes(piece(rest, 2)?.try_into().ok()?)),
        26 => u64::from(u32::from_be_bytes(piece(rest, 4)?.try_into().ok()?)),
        27 => u64::from_be_bytes(piece(rest, 8)?.try_into().ok()?),
        _ => return None,
    };
    // Nothing is longer than what is left of the file.
    let count = usize::try_from(argument).ok();
    Some(match major {
        0 => Value::Number(argument.into()),
        1 => Value::Number((-1 - i64::try_from(argument).ok()?).into()),
        3 => Value::String(String::from_utf8(piece(rest, count?)?.to_vec()).ok()?),
        4 => {
            let count = count.filter(|&count| count <= rest.len())?;
            Value::Array((0..count).map(|_| take(rest, depth + 1)).collect::<Option<_>>()?)
        }
        5 => {
            let count = count.filter(|&count| count <= rest.len())?;
            let mut fields = Map::new();
            for _ in 0..count {
                let Value::String(key) = take(rest, depth + 1)? else { return None };
                let value = take(rest, depth + 1)?;
                fields.insert(key, value);
            }
            Value::Object(fields)
        }
        _ => return None,
    })
}

fn piece<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (piece, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(piece)
}

fn float(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

fn from_half(bits: u16) -> f64 {
    let (sign, exponent, mantissa) = (bits >> 15, i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 => f64::NAN,
        exponent => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_rfc_8949_appendix_a() {
        let hex = |value: Value| super::super::super::engine::hex(&encode(&value));
        for (value, expected) in [
            (json!(0), "00"),
            (json!(23), "17"),
            (json!(24), "1818"),
            (json!(1000000), "1a000f4240"),
            (json!(18446744073709551615u64), "1bffffffffffffffff"),
            (json!(-1), "20"),
            (json!(-1000), "3903e7"),
            (json!(0.0), "f90000"),
            (json!(1.1), "fb3ff199999999999a"),
            (json!(1.5), "f93e00"),
            (json!(65504.0), "f97bff"),
            (json!(100000.0), "fa47c35000"),
            (json!(5.960464477539063e-8), "f90001"),
            (json!(0.00006103515625), "f90400"),
            (json!(-4.1), "fbc010666666666666"),
            (json!("IETF"), "6449455446"),
            (json!({"a": 1, "b": [2, 3]}), "a26161016162820203"),
        ] {
            assert_eq!(hex(value.clone()), expected, "{value}");
            assert_eq!(decode(&encode(&value)), Some(value));
        }
    }

    #[test]
    fn keys_are_sorted_and_any_other_encoding_is_refused() {
        assert_eq!(encode(&json!({"bb": 1, "c": 2})), [0xA2, 0x61, b'c', 2, 0x62, b'b', b'b', 1]);
        let unsorted = [0xA2, 0x62, b'b', b'b', 1, 0x61, b'c', 2];
        for refused in [
            &unsorted[..],
            &[0x18, 0x05],
            &[0xFB, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x9F, 0xFF],
            &[0x00, 0x00],
            &[0x9B],
        ] {
            assert_eq!(decode(refused), None, "{refused:?}");
        }
        let deep = [vec![0x81; 60], vec![0]].concat();
        assert_eq!(decode(&deep), None);
    }
}
