//! The text of a mark's QR code: `MSEAL2:` and the signed mark, all of it, in base 45 (RFC 9285), whose letters are those
//! of a QR code's alphanumeric mode (ISO/IEC 18004; not verified against the standard's text). So it can be checked with no
//! network, against the certification key alone.

use alloc::string::String;
use alloc::vec::Vec;

/// What the text begins with: what it is, and the version of this form.
pub const PREFIX: &str = "MSEAL2:";

/// The longest mark that has a code, bytes: what the largest QR code holds at the lowest level of correction (version
/// 40-L, 4296 letters; not verified against the standard's text).
pub const MAX_MARK: usize = (4296 - PREFIX.len()) / 3 * 2;

/// The text for a signed mark; `None` when it is longer than [`MAX_MARK`].
pub fn text(signed: &[u8]) -> Option<String> {
    if signed.len() > MAX_MARK {
        return None;
    }
    let mut text = String::from(PREFIX);
    for pair in signed.chunks(2) {
        let (mut value, letters) = match *pair {
            [high, low] => (u32::from(high) << 8 | u32::from(low), 3),
            [one] => (u32::from(one), 2),
            _ => (0, 0),
        };
        for _ in 0..letters {
            text.push(char::from(ALPHABET[(value % 45) as usize]));
            value /= 45;
        }
    }
    Some(text)
}

/// The signed mark in a code's text; white space around it does not matter. `None` when it is no such text.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_matches(['\n', '\r', '\t', ' ']).strip_prefix(PREFIX)?.as_bytes();
    // No group ends in a space, the letter for 36: three letters end in at most 65 535 / 45², two in at most 255 / 45. So
    // white space at the end is none of the text's.
    if letters.len() > MAX_MARK / 2 * 3 + 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len() / 3 * 2 + 1);
    for group in letters.chunks(3) {
        let mut value = 0;
        for &letter in group.iter().rev() {
            let digit = ALPHABET.iter().position(|&known| known == letter)?;
            value = value * 45 + digit;
        }
        match group.len() {
            3 => bytes.extend(u16::try_from(value).ok()?.to_be_bytes()),
            2 => bytes.push(u8::try_from(value).ok()?),
            _ => return None,
        }
    }
    Some(bytes)
}

/// RFC 9285, table 1.
const ALPHABET: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn it_is_base_45_as_others_write_it() {
        // RFC 9285, 4.3 and 4.4.
        assert_eq!(text(b"AB").unwrap(), format!("{PREFIX}BB8"));
        assert_eq!(text(b"Hello!!").unwrap(), format!("{PREFIX}%69 VD92EX0"));
        assert_eq!(text(b"base-45").unwrap(), format!("{PREFIX}UJCLQE7W581"));
        assert_eq!(read(&format!(" {PREFIX}QED8WEX0\n")).unwrap(), b"ietf!");
        for wrong in
            ["", "BB8", "MSEAL1:BB8", "MSEAL2:B", "MSEAL2:BB8B", "MSEAL2:GGW", "MSEAL2:::", "MSEAL2:bb8"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_length_comes_back_and_what_is_too_long_has_no_code() {
        for length in 0..300u16 {
            let bytes: Vec<u8> = (0..length).map(|byte| (byte * 7) as u8).collect();
            assert_eq!(read(&text(&bytes).unwrap()).unwrap(), bytes);
            assert_eq!(read(&text(&[0xFF; 40]).unwrap()).unwrap(), [0xFF; 40]);
        }
        assert!(text(&[7; MAX_MARK]).is_some_and(|text| text.len() <= 4296));
        assert_eq!(text(&[7; MAX_MARK + 1]), None);
    }
}
