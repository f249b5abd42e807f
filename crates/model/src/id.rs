//! Identifiers: one type per thing.

use core::fmt;
use core::str::FromStr;

/// A meter's identifier: three capital letters of its maker (the FLAG identifier that DLMS UA assigns) and a
/// ten-digit serial number, as in `MSL0000000001`. It is printed on the meter, stands in its certificate, and
/// maps one to one onto its DLMS [`SystemTitle`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterId {
    manufacturer: [u8; 3],
    serial: u64,
}

impl MeterId {
    /// The largest serial number: ten digits, which also fit the five bytes of a system title.
    pub const MAX_SERIAL: u64 = 9_999_999_999;

    /// Makes an identifier, or says what is wrong with it.
    pub const fn new(manufacturer: [u8; 3], serial: u64) -> Result<Self, MeterIdError> {
        let mut k = 0;
        while k < 3 {
            if !manufacturer[k].is_ascii_uppercase() {
                return Err(MeterIdError);
            }
            k += 1;
        }
        if serial > Self::MAX_SERIAL {
            return Err(MeterIdError);
        }
        Ok(Self { manufacturer, serial })
    }

    /// The serial number, 0 ..= [`Self::MAX_SERIAL`].
    pub const fn serial(self) -> u64 {
        self.serial
    }

    /// The system title that DLMS puts into every nonce: maker's letters, then the serial number in five bytes.
    pub const fn system_title(self) -> SystemTitle {
        let [a, b, c] = self.manufacturer;
        let [_, _, _, s0, s1, s2, s3, s4] = self.serial.to_be_bytes();
        SystemTitle([a, b, c, s0, s1, s2, s3, s4])
    }
}

impl fmt::Display for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.manufacturer {
            write!(f, "{}", char::from(letter))?;
        }
        write!(f, "{:010}", self.serial)
    }
}

impl fmt::Debug for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeterId({self})")
    }
}

impl FromStr for MeterId {
    type Err = MeterIdError;

    fn from_str(text: &str) -> Result<Self, MeterIdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 13 || !bytes[3..].iter().all(u8::is_ascii_digit) {
            return Err(MeterIdError);
        }
        let serial = bytes[3..].iter().fold(0u64, |n, digit| n * 10 + u64::from(digit - b'0'));
        Self::new([bytes[0], bytes[1], bytes[2]], serial)
    }
}

/// A text that is not a meter's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterIdError;

impl fmt::Display for MeterIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a meter identifier is three capital letters and ten digits, for example MSL0000000001")
    }
}

impl core::error::Error for MeterIdError {}

/// The eight bytes by which DLMS knows a device (IEC 62056-5-3): half of every nonce sent under its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemTitle(pub [u8; 8]);

/// A SHA-384 digest, of a firmware image for example.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest384(pub [u8; 48]);

impl fmt::Display for Digest384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest384({self})")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_meter_id_survives_its_text_form() {
        for text in ["MSL0000000001", "ABC9999999999", "ZZZ0000000000"] {
            assert_eq!(text.parse::<MeterId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_meter_id_is_refused() {
        for text in
            ["", "MSL", "msl0000000001", "MSL000000001", "MSL00000000011", "MSL000000000x", "MÄL000000001"]
        {
            assert_eq!(text.parse::<MeterId>(), Err(MeterIdError), "{text}");
        }
    }

    #[test]
    fn the_system_title_holds_letters_and_serial() {
        let id: MeterId = "MSL0000000258".parse().unwrap();
        assert_eq!(id.system_title().0, *b"MSL\0\0\0\x01\x02");
    }
}
