//! Just enough DER (X.690) to write a certification request and to find the public key in a certificate. Lengths are
//! definite and minimal, as DER demands; whatever is not is refused.

use alloc::vec::Vec;

/// Tags that are used here (X.690, 8.2 to 8.14).
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0C;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// Constructed, context-specific 0.
pub(crate) const CONTEXT_0: u8 = 0xA0;
/// Primitive, context-specific: names in a GeneralName (RFC 5280, 4.2.1.6).
pub(crate) const URI: u8 = 0x86;

/// One value: tag, length, `parts` one after the other.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let used = &bytes[bytes.iter().take_while(|&&byte| byte == 0).count()..];
        out.push(0x80 | used.len() as u8);
        out.extend_from_slice(used);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// Takes the first value off `input`: its tag, its content, and the whole of it with its header.
pub(crate) fn take<'a>(input: &mut &'a [u8]) -> Option<Taken<'a>> {
    let (&[tag, first], mut rest) = input.split_first_chunk::<2>()?;
    // Tags above 30 take more bytes (8.1.2.4); nothing that is read here has one.
    if tag & 0x1F == 0x1F {
        return None;
    }
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let count = usize::from(first & 0x7F);
        if !(1..=3).contains(&count) {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(count)?;
        rest = after;
        let length = bytes.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
        let minimal = bytes[0] != 0 && length >= 0x80;
        if !minimal {
            return None;
        }
        length
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = &input[..input.len() - after.len()];
    *input = after;
    Some(Taken { tag, content, whole })
}

/// What [`take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// The SubjectPublicKeyInfo of a certificate (RFC 5280, 4.1), with its header; `None` when this is no certificate.
pub(crate) fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let mut input = certificate;
    let outer = take(&mut input).filter(|outer| outer.tag == SEQUENCE && input.is_empty())?;
    let mut outer = outer.content;
    let mut body = take(&mut outer).filter(|body| body.tag == SEQUENCE)?.content;
    // The version, unless it is the first; then serial number, algorithm, issuer, validity, subject.
    let mut first = take(&mut body)?;
    if first.tag == CONTEXT_0 {
        first = take(&mut body)?;
    }
    if first.tag != INTEGER {
        return None;
    }
    for _ in 0..4 {
        take(&mut body).filter(|field| field.tag == SEQUENCE)?;
    }
    take(&mut body).filter(|key| key.tag == SEQUENCE).map(|key| key.whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_written_is_read() {
        for length in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7u8; length];
            let written = value(OCTET_STRING, &[&content]);
            let mut input = &written[..];
            let taken = take(&mut input).unwrap();
            assert_eq!((taken.tag, taken.content, taken.whole), (OCTET_STRING, &content[..], &written[..]));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn what_is_not_der_is_refused() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x01],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x81, 0x01, 0x00],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x1F, 0x01, 0x00],
            &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert_eq!(take(&mut &*bytes), None, "{bytes:?}");
        }
        assert_eq!(public_key_info(&[0x30, 0x02, 0x30, 0x00]), None);
    }
}
