//! Text of any encoding: a name in a configuration never stops a recording from being read.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Decodes by byte-order mark; without one as UTF-16 where every other byte is zero, as UTF-8 where it is valid,
/// else as Windows-1252 (of which Latin-1's printable characters are a part), which takes any byte.
pub(super) fn decode(bytes: &[u8]) -> String {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding.decode_with_bom_removal(bytes).0.into_owned();
    }
    let start = &bytes[..bytes.len().min(64)];
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let encoding = match (zeros(0) * 4 > start.len(), zeros(1) * 4 > start.len()) {
        (false, true) => UTF_16LE,
        (true, false) => UTF_16BE,
        _ => {
            return std::str::from_utf8(bytes).map_or_else(
                |_| WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
                str::to_owned,
            );
        }
    };
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_encoding_gives_the_same_name() {
        let text = "Zählerplatz,Gerät,1999\n";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let with_bom = |bom: &[u8], bytes: &[u8]| [bom, bytes].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            with_bom(&[0xEF, 0xBB, 0xBF], text.as_bytes()),
            with_bom(&[0xFF, 0xFE], &utf16),
            with_bom(&[0xFE, 0xFF], &utf16_be),
            utf16,
            utf16_be,
            latin,
        ] {
            assert_eq!(decode(&bytes), text, "{bytes:02x?}");
        }
    }
}
