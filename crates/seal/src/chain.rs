//! Certificates as evidence: does an authority say that this key seals the log of this meter, or is the key of its boot
//! stage? (RFC 5280, 6.1, for the certificates that Meterseal's authorities issue: P-384 with SHA-384 throughout, no
//! policies, no name constraints.)
//!
//! Revocation is not looked at: evidence is read years later, and offline. Validity is judged at the moment that the
//! evidence is about, not today.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use meterseal_model::{MeterId, UnixMillis};
use p384::ecdsa::Signature;

use crate::der::{self, SEQUENCE, Taken};
use crate::key::SealPublicKey;

/// The longest chain that is read, the key's own certificate included.
pub const MAX_CHAIN: usize = 4;

/// The longest certificate that is read, bytes.
pub const MAX_CERTIFICATE: usize = 4096;

/// The name that marks a certificate as that of a log key, beside the meter's own name.
pub const LOG_KEY_URI: &str = "urn:meterseal:key:log";

/// The same of a boot key ([`crate::attestation`]).
pub const BOOT_KEY_URI: &str = "urn:meterseal:key:boot";

/// The same of a key that signs marks ([`crate::mark`]). It stands in the certificate of a certification authority, or of
/// a key that such an authority certified.
pub const CERTIFICATION_KEY_URI: &str = "urn:meterseal:key:certification";

/// A certification key, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificationKey {
    /// The key.
    pub key: SealPublicKey,
    /// Whose it is: the certificate's common name.
    pub name: String,
    /// From when the certificate is valid.
    pub not_before: UnixMillis,
    /// Until when.
    pub not_after: UnixMillis,
    /// The authority that issued it, where its certificate is among those that were given.
    pub issuer: Option<String>,
}

/// Reads the certificate (DER) of a key that signs marks. `others` may hold its issuer's, whose signature is checked then.
///
/// # Errors
/// [`ChainError::Purpose`] when it is for something else; [`ChainError`] when it is none.
pub fn certification_key(der: &[u8], others: &[Vec<u8>]) -> Result<CertificationKey, ChainError> {
    let own = Certificate::read(der)?;
    if !own.names(CERTIFICATION_KEY_URI)? {
        return Err(ChainError::Purpose(own.common_name()));
    }
    let mut issuer = None;
    for other in others.iter().filter(|other| other.as_slice() != der) {
        let other = Certificate::read(other)?;
        if other.subject == own.issuer {
            own.is_signed_by(&other)?;
            other.may_issue(usize::from(own.extensions.is_authority))?;
            other.is_valid(own.not_before)?;
            issuer = Some(other.common_name());
        }
    }
    Ok(CertificationKey {
        name: own.common_name(),
        not_before: own.not_before,
        not_after: own.not_after,
        issuer,
        key: own.key,
    })
}

/// A key of a meter that a chain of certificates vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedKey {
    /// The key.
    pub key: SealPublicKey,
    /// The common name of the last authority of the chain.
    pub authority: String,
    /// That authority's key.
    pub authority_key: SealPublicKey,
    /// Whether the chain leads to one of the authorities that the reader trusts.
    pub trusted: bool,
}

/// Verifies that a chain (DER, the log key's own certificate first, each issued by the next) says that its first key
/// seals the log of `meter`, at a moment, and whether it leads to one of the `trusted` authorities (DER).
///
/// # Errors
/// [`ChainError`]; a chain without fault that leads to nobody trusted is none.
pub fn verify_log_key(
    chain: &[Vec<u8>],
    meter: MeterId,
    at: UnixMillis,
    trusted: &[Vec<u8>],
) -> Result<CertifiedKey, ChainError> {
    verify_key(LOG_KEY_URI, chain, meter, at, trusted)
}

/// Verifies, as [`verify_log_key`] does, that a chain says that its first key is the boot key of `meter`: the one that
/// certifies the keys of the images that its boot stage starts.
///
/// # Errors
/// [`ChainError`]; a chain without fault that leads to nobody trusted is none.
pub fn verify_boot_key(
    chain: &[Vec<u8>],
    meter: MeterId,
    at: UnixMillis,
    trusted: &[Vec<u8>],
) -> Result<CertifiedKey, ChainError> {
    verify_key(BOOT_KEY_URI, chain, meter, at, trusted)
}

/// For the one use that `purpose` names: a log key is no boot key.
fn verify_key(
    purpose: &str,
    chain: &[Vec<u8>],
    meter: MeterId,
    at: UnixMillis,
    trusted: &[Vec<u8>],
) -> Result<CertifiedKey, ChainError> {
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(ChainError::Length(chain.len()));
    }
    let certificates = chain.iter().map(|der| Certificate::read(der)).collect::<Result<Vec<_>, _>>()?;
    let (own, authorities) = certificates.split_first().ok_or(ChainError::Length(0))?;
    own.is_key_of(meter, purpose)?;
    let mut below = own;
    own.is_valid(at)?;
    for (place, authority) in authorities.iter().enumerate() {
        authority.is_valid(at)?;
        authority.may_issue(place)?;
        below.is_signed_by(authority)?;
        below = authority;
    }
    let mut leads_to_trusted = false;
    for der in trusted {
        let anchor = Certificate::read(der)?;
        let is_in_chain = chain.contains(der) && chain.first() != Some(der);
        let issued_last = below.is_signed_by(&anchor).is_ok()
            && anchor.may_issue(authorities.len()).is_ok()
            && anchor.is_valid(at).is_ok();
        leads_to_trusted |= is_in_chain || issued_last;
    }
    Ok(CertifiedKey {
        key: own.key.clone(),
        authority: below.common_name(),
        authority_key: below.key.clone(),
        trusted: leads_to_trusted,
    })
}

/// Why a chain of certificates proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// None, or more than [`MAX_CHAIN`].
    Length(usize),
    /// Not a certificate in the form that is accepted.
    Malformed,
    /// For another kind of key, or signed with one.
    Algorithm,
    /// It makes a condition that this program does not know.
    Critical,
    /// The first certificate is for somebody else, or for another use than the one in question.
    Subject(MeterId),
    /// The certificate of this name does not say that its key signs marks.
    Purpose(String),
    /// Not valid at the moment in question.
    Validity {
        /// Whose certificate.
        name: String,
        /// The moment.
        at: UnixMillis,
    },
    /// Not the certificate of an authority that may have issued the one before it.
    Authority(String),
    /// Not signed by the certificate that follows it.
    Signature(String),
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(found) => {
                write!(f, "there are {found} certificates; a chain has one to {MAX_CHAIN}")
            }
            Self::Malformed => f.write_str("a certificate is damaged, or is none"),
            Self::Algorithm => f.write_str("a certificate is not of P-384 with SHA-384"),
            Self::Critical => f.write_str("a certificate makes a condition that this program does not know"),
            Self::Subject(meter) => write!(f, "the certificate is not for this key of meter {meter}"),
            Self::Purpose(name) => {
                write!(
                    f,
                    "the certificate of \"{name}\" is not that of a certification key: it may not sign marks"
                )
            }
            Self::Validity { name, at } => write!(f, "the certificate of \"{name}\" was not valid at {at}"),
            Self::Authority(name) => write!(f, "\"{name}\" may not issue such certificates"),
            Self::Signature(name) => {
                write!(f, "the certificate of \"{name}\" was not signed by the authority that it names")
            }
        }
    }
}

impl core::error::Error for ChainError {}

/// What a certificate says (RFC 5280, 4.1).
struct Certificate<'a> {
    /// What its issuer signed.
    signed: &'a [u8],
    signature: Signature,
    issuer: &'a [u8],
    subject: &'a [u8],
    not_before: UnixMillis,
    not_after: UnixMillis,
    key: SealPublicKey,
    extensions: Extensions<'a>,
}

#[derive(Default)]
struct Extensions<'a> {
    is_authority: bool,
    path_length: Option<u8>,
    /// The first byte of the key usage; without the extension every use is allowed.
    key_usage: Option<u8>,
    /// GeneralNames, without their header.
    names: &'a [u8],
}

impl<'a> Certificate<'a> {
    fn read(der: &'a [u8]) -> Result<Self, ChainError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(ChainError::Malformed);
        }
        let mut rest = der;
        let mut outer = expect(&mut rest, SEQUENCE)?.content;
        let body = expect(&mut outer, SEQUENCE)?;
        let algorithm = expect(&mut outer, SEQUENCE)?;
        let signature = expect(&mut outer, der::BIT_STRING)?.content;
        if !rest.is_empty() || !outer.is_empty() {
            return Err(ChainError::Malformed);
        }
        let mut fields = body.content;
        // Extensions are of version 3, which is written [0] { INTEGER 2 }.
        if expect(&mut fields, der::CONTEXT_0)?.content != [der::INTEGER, 1, 2] {
            return Err(ChainError::Malformed);
        }
        expect(&mut fields, der::INTEGER)?;
        let inner_algorithm = expect(&mut fields, SEQUENCE)?;
        if algorithm.content != ECDSA_WITH_SHA384 || inner_algorithm.content != ECDSA_WITH_SHA384 {
            return Err(ChainError::Algorithm);
        }
        let issuer = expect(&mut fields, SEQUENCE)?.whole;
        let mut validity = expect(&mut fields, SEQUENCE)?.content;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = expect(&mut fields, SEQUENCE)?.whole;
        let key = expect(&mut fields, SEQUENCE)?.whole;
        let extensions = expect(&mut fields, EXTENSIONS)?.content;
        if !fields.is_empty() || !validity.is_empty() {
            return Err(ChainError::Malformed);
        }
        Ok(Self {
            signed: body.whole,
            // The first byte counts unused bits.
            signature: signature
                .strip_prefix(&[0])
                .and_then(|der| Signature::from_der(der).ok())
                .ok_or(ChainError::Malformed)?,
            issuer,
            subject,
            not_before,
            not_after,
            key: SealPublicKey::from_der(key).map_err(|_| ChainError::Algorithm)?,
            extensions: Extensions::read(extensions)?,
        })
    }

    fn is_key_of(&self, meter: MeterId, purpose: &str) -> Result<(), ChainError> {
        let own = alloc::format!("{METER_URI}{meter}");
        let (mut names_meter, mut names_purpose, mut names_others) = (false, false, false);
        let mut names = self.extensions.names;
        while !names.is_empty() {
            let name = der::take(&mut names).ok_or(ChainError::Malformed)?;
            if name.tag == der::URI && name.content == own.as_bytes() {
                names_meter = true;
            } else if name.tag == der::URI && name.content == purpose.as_bytes() {
                names_purpose = true;
            } else {
                names_others |= name.tag == der::URI && name.content.starts_with(SCHEME);
            }
        }
        let signs = self.extensions.key_usage.is_none_or(|usage| usage & DIGITAL_SIGNATURE != 0);
        if names_meter && names_purpose && !names_others && signs && !self.extensions.is_authority {
            Ok(())
        } else {
            Err(ChainError::Subject(meter))
        }
    }

    /// Whether it carries this URI and no other of ours.
    fn names(&self, uri: &str) -> Result<bool, ChainError> {
        let (mut found, mut others) = (false, false);
        let mut names = self.extensions.names;
        while !names.is_empty() {
            let name = der::take(&mut names).ok_or(ChainError::Malformed)?;
            let is_it = name.tag == der::URI && name.content == uri.as_bytes();
            found |= is_it;
            others |= !is_it && name.tag == der::URI && name.content.starts_with(SCHEME);
        }
        Ok(found && !others)
    }

    fn is_valid(&self, at: UnixMillis) -> Result<(), ChainError> {
        if self.not_before <= at && at <= self.not_after {
            return Ok(());
        }
        Err(ChainError::Validity { name: self.common_name(), at })
    }

    /// Whether it is an authority with at most `below` authorities between it and the first certificate.
    fn may_issue(&self, below: usize) -> Result<(), ChainError> {
        let Extensions { is_authority, path_length, key_usage, .. } = self.extensions;
        let signs = key_usage.is_none_or(|usage| usage & KEY_CERT_SIGN != 0);
        if is_authority && signs && path_length.is_none_or(|length| below <= usize::from(length)) {
            return Ok(());
        }
        Err(ChainError::Authority(self.common_name()))
    }

    fn is_signed_by(&self, authority: &Certificate<'_>) -> Result<(), ChainError> {
        if self.issuer == authority.subject
            && authority.key.verifies(self.signed, &self.signature.to_bytes().into())
        {
            return Ok(());
        }
        Err(ChainError::Signature(self.common_name()))
    }

    /// For people; "?" where there is none.
    fn common_name(&self) -> String {
        common_name(self.subject).unwrap_or_else(|| "?".to_string())
    }
}

impl<'a> Extensions<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ChainError> {
        let mut outer = bytes;
        let mut list = expect(&mut outer, SEQUENCE)?.content;
        let mut found = Self::default();
        while !list.is_empty() {
            let mut extension = expect(&mut list, SEQUENCE)?.content;
            let id = expect(&mut extension, der::OID)?.content;
            let mut value = der::take(&mut extension).ok_or(ChainError::Malformed)?;
            let critical = value.tag == BOOLEAN && value.content == [0xFF];
            if value.tag == BOOLEAN {
                value = expect(&mut extension, der::OCTET_STRING)?;
            }
            if value.tag != der::OCTET_STRING || !extension.is_empty() {
                return Err(ChainError::Malformed);
            }
            let mut content = value.content;
            match id {
                BASIC_CONSTRAINTS => {
                    let mut constraints = expect(&mut content, SEQUENCE)?.content;
                    while let Some(field) = der::take(&mut constraints) {
                        match (field.tag, field.content) {
                            (BOOLEAN, [0xFF]) => found.is_authority = true,
                            (der::INTEGER, &[length]) if length < 0x80 => found.path_length = Some(length),
                            _ => return Err(ChainError::Malformed),
                        }
                    }
                }
                KEY_USAGE => {
                    let bits = expect(&mut content, der::BIT_STRING)?.content;
                    found.key_usage = Some(*bits.get(1).ok_or(ChainError::Malformed)?);
                }
                SUBJECT_ALT_NAME => found.names = expect(&mut content, SEQUENCE)?.content,
                EXTENDED_KEY_USAGE | SUBJECT_KEY_ID | AUTHORITY_KEY_ID => {}
                _ if critical => return Err(ChainError::Critical),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Result<Taken<'a>, ChainError> {
    der::take(input).filter(|taken| taken.tag == tag).ok_or(ChainError::Malformed)
}

/// The first common name in a Name.
fn common_name(name: &[u8]) -> Option<String> {
    let mut outer = name;
    let mut parts = der::take(&mut outer)?.content;
    while let Some(part) = der::take(&mut parts) {
        let mut set = part.content;
        let mut pair = der::take(&mut set)?.content;
        if der::take(&mut pair)?.content == COMMON_NAME {
            let text = core::str::from_utf8(der::take(&mut pair)?.content).ok()?;
            let shown = text.chars().filter(|character| !character.is_control()).take(80);
            return Some(shown.collect());
        }
    }
    None
}

/// UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5), both with seconds and `Z`.
fn time(input: &mut &[u8]) -> Result<UnixMillis, ChainError> {
    let taken = der::take(input).ok_or(ChainError::Malformed)?;
    let digits = taken.content.strip_suffix(b"Z").ok_or(ChainError::Malformed)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ChainError::Malformed);
    }
    let number = |digits: &[u8]| digits.iter().fold(0i64, |n, digit| n * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (taken.tag, digits.len()) {
        (UTC_TIME, 12) => {
            let short = number(&digits[..2]);
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return Err(ChainError::Malformed),
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(ChainError::Malformed);
    }
    let days = days_from_civil(year, month, day);
    Ok(UnixMillis((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; years begin on 1 March, so that a leap day is the last.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Constructed, context-specific 3.
const EXTENSIONS: u8 = 0xA3;
/// Extensions (RFC 5280, 4.2.1): 2.5.29.n.
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1D, 0x0E];
const KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x0F];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1D, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x25];
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Bits 0 and 5, counted from the highest (4.2.1.3).
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;
/// 1.2.840.10045.4.3.3 with its header and without parameters (RFC 5758, 3.2).
const ECDSA_WITH_SHA384: &[u8] = &[der::OID, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03];
const METER_URI: &str = "urn:meterseal:meter:";
const SCHEME: &[u8] = b"urn:meterseal:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_as_the_calendar_does() {
        for (text, tag, millis) in [
            (&b"700101000000Z"[..], UTC_TIME, 0),
            (b"000229000000Z", UTC_TIME, 951_782_400_000),
            (b"261122185700Z", UTC_TIME, 1_795_373_820_000),
            (b"21000301000000Z", GENERALIZED_TIME, 4_107_542_400_000),
        ] {
            let written = der::value(tag, &[text]);
            assert_eq!(time(&mut &written[..]), Ok(UnixMillis(millis)));
        }
        for text in [&b"7001010000Z"[..], b"700101000000", b"701301000000Z", b"70010100000xZ"] {
            assert!(time(&mut &der::value(UTC_TIME, &[text])[..]).is_err());
        }
    }
}
