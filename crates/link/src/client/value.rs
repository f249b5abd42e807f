//! COSEM values that own their bytes: the mirror of the codec's borrowed `Data` (IEC 62056-6-2, common data types).

use dlms_cosem_rs::axdr::{ClockStatus, Data, DateTime as CodecDateTime};
use dlms_cosem_rs::codec::Writer as _;
use meterseal_model::{Obis, UnixMillis};
use thiserror::Error;

/// The most values inside one value, itself included: what a peer can make us hold.
pub const MAX_ELEMENTS: usize = 200_000;

/// Elements for which room is made at once; longer lists grow.
const RESERVED: usize = 64;

/// A COSEM value. Each integer keeps its wire type, because a SET with another one is refused.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    /// Nothing; in a profile's row, "as in the row before".
    Null,
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    Enum(u8),
    F32(f32),
    F64(f64),
    /// An octet string.
    Bytes(Vec<u8>),
    /// A visible or UTF-8 string; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A bit string: how many bits, and the bytes that hold them, the first bit on top.
    Bits(usize, Vec<u8>),
    DateTime(CosemDateTime),
    Structure(Vec<Value>),
    Array(Vec<Value>),
}

impl Value {
    /// Any integer or enumeration that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U64(v) => Some(v),
            _ => self.as_i64().and_then(|v| u64::try_from(v).ok()),
        }
    }

    /// Any integer or enumeration that fits.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::I8(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::I64(v) => v,
            Self::U8(v) | Self::Enum(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::U64(v) => i64::try_from(v).ok()?,
            _ => return None,
        })
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(v) = *self { Some(v) } else { None }
    }

    /// An octet string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(v) = self { Some(v) } else { None }
    }

    /// A text, or an octet string that is UTF-8: meters send names as either.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(v) => Some(v),
            Self::Bytes(v) => std::str::from_utf8(v).ok(),
            _ => None,
        }
    }

    /// An octet string of six bytes.
    pub fn as_obis(&self) -> Option<Obis> {
        self.as_bytes().and_then(|bytes| bytes.try_into().ok()).map(Obis)
    }

    /// A complete point in time, whether sent as a date-time or as an octet string of twelve bytes.
    pub fn as_time(&self) -> Option<UnixMillis> {
        match self {
            Self::DateTime(v) => v.unix(),
            Self::Bytes(v) => CosemDateTime(v.as_slice().try_into().ok()?).unix(),
            _ => None,
        }
    }

    /// The elements of a structure or an array.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::Structure(v) | Self::Array(v) = self { Some(v) } else { None }
    }

    /// The same, owned.
    pub fn into_list(self) -> Option<Vec<Value>> {
        if let Self::Structure(v) | Self::Array(v) = self { Some(v) } else { None }
    }

    /// A logical name as an octet string.
    pub fn obis(name: Obis) -> Self {
        Self::Bytes(name.0.to_vec())
    }

    /// The A-XDR encoding, tag included.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append_to(&mut out);
        out
    }

    /// Reads one A-XDR value that fills `bytes`. Nesting is bounded by the codec at 16.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        Self::from_data(Data::from_bytes_in(bytes)?)
    }

    pub(crate) fn from_data(data: Data<'_>) -> Result<Self, ValueError> {
        Self::counted(data, &mut 0)
    }

    fn counted(data: Data<'_>, elements: &mut usize) -> Result<Self, ValueError> {
        *elements += 1;
        if *elements > MAX_ELEMENTS {
            return Err(ValueError::TooManyElements);
        }
        Ok(match data {
            Data::Null | Data::DontCare => Self::Null,
            Data::Boolean(v) => Self::Bool(v),
            Data::Integer(v) => Self::I8(v),
            Data::Long(v) => Self::I16(v),
            Data::DoubleLong(v) => Self::I32(v),
            Data::Long64(v) => Self::I64(v),
            Data::Unsigned(v) => Self::U8(v),
            Data::LongUnsigned(v) => Self::U16(v),
            Data::DoubleLongUnsigned(v) => Self::U32(v),
            Data::Long64Unsigned(v) => Self::U64(v),
            Data::Enum(v) => Self::Enum(v),
            Data::Float32(v) => Self::F32(v),
            Data::Float64(v) => Self::F64(v),
            Data::OctetString(v) => Self::Bytes(v.to_vec()),
            Data::VisibleString(v) | Data::Utf8String(v) => {
                Self::Text(String::from_utf8_lossy(v).into_owned())
            }
            Data::BitString(v) => Self::Bits(v.len(), v.as_bytes().to_vec()),
            Data::DateTime(v) => Self::DateTime(CosemDateTime(v.to_bytes())),
            Data::Array(seq) => Self::Array(Self::list(seq, elements)?),
            Data::Structure(seq) => Self::Structure(Self::list(seq, elements)?),
            other => return Err(ValueError::UnsupportedType { tag: other.tag().as_u8() }),
        })
    }

    fn list(seq: dlms_cosem_rs::axdr::Seq<'_>, elements: &mut usize) -> Result<Vec<Self>, ValueError> {
        // The codec has seen that there are as many; the bound keeps a nest of lists from reserving more than it holds.
        let mut list = Vec::with_capacity(seq.len().min(RESERVED));
        for element in seq.iter() {
            list.push(Self::counted(element?, elements)?);
        }
        Ok(list)
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        let mut scalar = |tag: u8, body: &[u8]| {
            out.push(tag);
            out.extend_from_slice(body);
        };
        match self {
            Self::Null => scalar(0, &[]),
            Self::Bool(v) => scalar(3, &[u8::from(*v)]),
            Self::I8(v) => scalar(15, &v.to_be_bytes()),
            Self::I16(v) => scalar(16, &v.to_be_bytes()),
            Self::I32(v) => scalar(5, &v.to_be_bytes()),
            Self::I64(v) => scalar(20, &v.to_be_bytes()),
            Self::U8(v) => scalar(17, &[*v]),
            Self::U16(v) => scalar(18, &v.to_be_bytes()),
            Self::U32(v) => scalar(6, &v.to_be_bytes()),
            Self::U64(v) => scalar(21, &v.to_be_bytes()),
            Self::Enum(v) => scalar(22, &[*v]),
            Self::F32(v) => scalar(23, &v.to_be_bytes()),
            Self::F64(v) => scalar(24, &v.to_be_bytes()),
            Self::DateTime(v) => scalar(25, &v.0),
            Self::Bytes(v) => counted(out, 9, v.len(), v),
            Self::Text(v) => counted(out, 12, v.len(), v.as_bytes()),
            Self::Bits(bits, v) => counted(out, 4, *bits, v),
            Self::Array(v) => {
                counted(out, 1, v.len(), &[]);
                v.iter().for_each(|element| element.append_to(out));
            }
            Self::Structure(v) => {
                counted(out, 2, v.len(), &[]);
                v.iter().for_each(|element| element.append_to(out));
            }
        }
    }
}

/// The twelve bytes of a COSEM date-time, as they were sent: any field may be a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CosemDateTime(pub [u8; 12]);

impl CosemDateTime {
    /// The point in time, where every field and the deviation from UTC are given. Hundredths that are not given
    /// count as zero.
    pub fn unix(self) -> Option<UnixMillis> {
        let fields = CodecDateTime::from_bytes(self.0);
        let hundredths = if fields.hundredths > 99 { 0 } else { i64::from(fields.hundredths) };
        fields.to_unix_seconds().map(|seconds| UnixMillis(seconds * 1000 + hundredths * 10))
    }

    /// A point in time in UTC, with hundredths of a second; `None` outside the years 1 to 9999.
    pub fn from_unix(time: UnixMillis) -> Option<Self> {
        let (year, month, day) = time.civil_date();
        let year = u16::try_from(year).ok().filter(|year| (1..=9999).contains(year))?;
        let second = time.seconds().rem_euclid(86_400);
        let [hour, minute, second] = [second / 3600, second / 60 % 60, second % 60].map(|v| v as u8);
        let mut fields = CodecDateTime::from_civil(year, month, day, hour, minute, second, 0);
        fields.hundredths = (time.0.rem_euclid(1000) / 10) as u8;
        fields.status = ClockStatus(0);
        Some(Self(fields.to_bytes()))
    }
}

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not A-XDR.
    #[error("the value is malformed at {0}")]
    Malformed(dlms_cosem_rs::Error),
    /// A type that this product does not use.
    #[error("the value has data type {tag}, which is not supported")]
    UnsupportedType {
        /// The A-XDR tag.
        tag: u8,
    },
    /// More than [`MAX_ELEMENTS`].
    #[error("the value has more than {MAX_ELEMENTS} elements")]
    TooManyElements,
}

impl From<dlms_cosem_rs::Error> for ValueError {
    fn from(error: dlms_cosem_rs::Error) -> Self {
        Self::Malformed(error)
    }
}

fn counted(out: &mut Vec<u8>, tag: u8, count: usize, body: &[u8]) {
    out.push(tag);
    let length = out.write_length(count);
    debug_assert!(length.is_ok(), "a Vec takes every write");
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i8>().prop_map(Value::I8),
            any::<i16>().prop_map(Value::I16),
            any::<i32>().prop_map(Value::I32),
            any::<i64>().prop_map(Value::I64),
            any::<u8>().prop_map(Value::U8),
            any::<u16>().prop_map(Value::U16),
            any::<u32>().prop_map(Value::U32),
            any::<u64>().prop_map(Value::U64),
            any::<u8>().prop_map(Value::Enum),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            ".{0,200}".prop_map(Value::Text),
            any::<[u8; 2]>().prop_map(|v| Value::Bits(11, v.to_vec())),
            any::<[u8; 12]>().prop_map(|v| Value::DateTime(CosemDateTime(v))),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let list = prop::collection::vec(inner, 0..8);
            prop_oneof![list.clone().prop_map(Value::Array), list.prop_map(Value::Structure)]
        })
    }

    proptest! {
        #[test]
        fn every_value_survives_its_encoding(value in any_value()) {
            prop_assert_eq!(Value::decode(&value.encode()), Ok(value));
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = Value::decode(&bytes);
        }

        #[test]
        fn a_time_survives_to_the_hundredth(centiseconds in 0i64..400_000_000_000) {
            let time = UnixMillis(centiseconds * 10);
            prop_assert_eq!(CosemDateTime::from_unix(time).unwrap().unix(), Some(time));
        }
    }

    #[test]
    fn an_array_that_promises_more_than_it_holds_is_refused() {
        assert!(matches!(
            Value::decode(&[1, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
            Err(ValueError::Malformed(_))
        ));
        let nulls = [vec![1, 0x84, 0, 3, 0x0d, 0x40], vec![0; 200_000]].concat();
        assert_eq!(Value::decode(&nulls), Err(ValueError::TooManyElements));
        let deep = [[2u8, 1].repeat(40), vec![0]].concat();
        assert!(matches!(Value::decode(&deep), Err(ValueError::Malformed(_))));
    }
}
