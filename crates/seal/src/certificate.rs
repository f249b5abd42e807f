//! What a certificate says of itself, read without judging it (RFC 5280, 4.1): the names by which a list of certificates
//! is shown and one is asked for. And the two questions that a device must answer before it takes one for itself: did
//! the right authority issue it, and does it name this device?

use alloc::format;
use alloc::vec::Vec;

use meterseal_model::MeterId;

use crate::der::{self, OCTET_STRING, OID, SEQUENCE};
use crate::key;
use crate::request::{ECDSA_WITH_SHA384, certified_key};

/// Names and number of a certificate; each as its DER says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateNames<'a> {
    /// The serial number's content bytes, big-endian, with a leading zero where DER wants one.
    pub serial: &'a [u8],
    /// The issuer's Name, with its header.
    pub issuer: &'a [u8],
    /// The subject's Name, with its header.
    pub subject: &'a [u8],
    /// The GeneralNames of the subject alternative name, with their header; empty where there are none.
    pub subject_alternative_names: &'a [u8],
}

impl<'a> CertificateNames<'a> {
    /// Reads them from a certificate in DER; `None` when it is none.
    pub fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut input = certificate;
        let mut outer =
            der::take(&mut input).filter(|outer| outer.tag == SEQUENCE && input.is_empty())?.content;
        let mut body = der::take(&mut outer).filter(|body| body.tag == SEQUENCE)?.content;
        let mut serial = der::take(&mut body)?;
        if serial.tag == der::CONTEXT_0 {
            serial = der::take(&mut body)?;
        }
        let mut sequence = || der::take(&mut body).filter(|field| field.tag == SEQUENCE);
        let _algorithm = sequence()?;
        let issuer = sequence()?.whole;
        let _validity = sequence()?;
        let subject = sequence()?.whole;
        let _public_key = sequence()?;
        let mut subject_alternative_names: &[u8] = &[];
        while let Some(field) = der::take(&mut body) {
            if field.tag == EXTENSIONS {
                subject_alternative_names = alternative_names(field.content)?;
            }
        }
        (serial.tag == der::INTEGER).then_some(Self {
            serial: serial.content,
            issuer,
            subject,
            subject_alternative_names,
        })
    }
}

/// Certificates in DER, one after another; `None` when what is there is not.
pub fn split_certificates(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    while !bytes.is_empty() {
        certificates.push(der::take(&mut bytes).filter(|outer| outer.tag == SEQUENCE)?.whole.to_vec());
    }
    (!certificates.is_empty()).then_some(certificates)
}

/// Whether `authority` (a certificate) issued `certificate`: its name stands there as the issuer's, and its key made the
/// signature, ECDSA with SHA-384 over P-384. Times, revocation and the authority itself are not judged.
pub fn is_issued_by(certificate: &[u8], authority: &[u8]) -> bool {
    let names = (CertificateNames::of(certificate), CertificateNames::of(authority));
    let (Some(own), Some(above), Some(key)) = (names.0, names.1, certified_key(authority)) else {
        return false;
    };
    own.issuer == above.subject
        && signed_part(certificate).is_some_and(|(body, signature)| {
            key::signature_from_der(signature).is_some_and(|signature| key.verifies(body, &signature))
        })
}

/// Whether a certificate is a peer's own and names this meter and nobody else of the scheme `urn:meterseal:`.
pub fn names_only(certificate: &[u8], meter: MeterId) -> bool {
    let Some(names) = CertificateNames::of(certificate) else { return false };
    let mut outer = names.subject_alternative_names;
    let Some(list) = der::take(&mut outer).filter(|list| list.tag == SEQUENCE) else { return false };
    let own = format!("{METER_URI}{meter}");
    let (mut list, mut named) = (list.content, false);
    while !list.is_empty() {
        let Some(name) = der::take(&mut list) else { return false };
        if name.tag != der::URI || !name.content.starts_with(SCHEME) {
            continue;
        }
        if name.content != own.as_bytes() {
            return false;
        }
        named = true;
    }
    named
}

/// What was signed, and the signature in DER.
fn signed_part(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut input = certificate;
    let mut outer = der::take(&mut input).filter(|outer| outer.tag == SEQUENCE && input.is_empty())?.content;
    let body = der::take(&mut outer).filter(|body| body.tag == SEQUENCE)?.whole;
    let mut algorithm = der::take(&mut outer).filter(|algorithm| algorithm.tag == SEQUENCE)?.content;
    let algorithm = der::take(&mut algorithm).filter(|id| id.tag == OID)?.content;
    let signature = der::take(&mut outer).filter(|bits| bits.tag == der::BIT_STRING && outer.is_empty())?;
    // The first byte counts unused bits.
    let signature = signature.content.strip_prefix(&[0])?;
    (algorithm == ECDSA_WITH_SHA384).then_some((body, signature))
}

fn alternative_names(mut extensions: &[u8]) -> Option<&[u8]> {
    let mut list = der::take(&mut extensions).filter(|list| list.tag == SEQUENCE)?.content;
    while !list.is_empty() {
        let mut extension = der::take(&mut list).filter(|extension| extension.tag == SEQUENCE)?.content;
        let id = der::take(&mut extension).filter(|id| id.tag == OID)?;
        let mut value = der::take(&mut extension)?;
        if value.tag != OCTET_STRING {
            // The critical flag stands before the value.
            value = der::take(&mut extension).filter(|value| value.tag == OCTET_STRING)?;
        }
        if id.content == SUBJECT_ALT_NAME {
            return Some(value.content);
        }
    }
    Some(&[])
}

/// As in [`crate::request`].
const METER_URI: &str = "urn:meterseal:meter:";
const SCHEME: &[u8] = b"urn:meterseal:";
/// Constructed, context-specific 3.
const EXTENSIONS: u8 = 0xA3;
/// 2.5.29.17 (RFC 5280, 4.2.1.6).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::value;

    fn certificate() -> Vec<u8> {
        let name = |text: &[u8]| value(SEQUENCE, &[&value(der::UTF8_STRING, &[text])]);
        let names = value(SEQUENCE, &[&value(der::URI, &[b"urn:x"])]);
        let other = value(
            SEQUENCE,
            &[&value(OID, &[&[0x55, 0x1D, 0x0F]]), &value(1, &[&[0xFF]]), &value(OCTET_STRING, &[&[3]])],
        );
        let alternative =
            value(SEQUENCE, &[&value(OID, &[SUBJECT_ALT_NAME]), &value(OCTET_STRING, &[&names])]);
        let body = value(
            SEQUENCE,
            &[
                &value(der::CONTEXT_0, &[&value(der::INTEGER, &[&[2]])]),
                &value(der::INTEGER, &[&[0, 0x99]]),
                &value(SEQUENCE, &[]),
                &name(b"issuer"),
                &value(SEQUENCE, &[]),
                &name(b"subject"),
                &value(SEQUENCE, &[]),
                &value(EXTENSIONS, &[&value(SEQUENCE, &[&other, &alternative])]),
            ],
        );
        value(SEQUENCE, &[&body, &value(SEQUENCE, &[]), &value(der::BIT_STRING, &[&[0]])])
    }

    #[test]
    fn names_are_found_and_what_is_cut_short_is_refused() {
        let certificate = certificate();
        let names = CertificateNames::of(&certificate).unwrap();
        assert_eq!(names.serial, [0, 0x99]);
        assert!(names.issuer.ends_with(b"issuer") && names.subject.ends_with(b"subject"));
        assert!(names.subject_alternative_names.ends_with(b"urn:x"));
        for end in 0..certificate.len() {
            assert_eq!(CertificateNames::of(&certificate[..end]), None, "{end}");
        }
        let two = [certificate.clone(), certificate.clone()].concat();
        assert_eq!(split_certificates(&two), Some(alloc::vec![certificate.clone(), certificate]));
        assert_eq!(split_certificates(&two[..two.len() - 1]), None);
        assert_eq!(split_certificates(&[]), None);
    }
}
