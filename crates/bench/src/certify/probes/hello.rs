//! TLS hello messages, made and read by the bench itself: what our TLS library rightly cannot speak has to be offered all the same (RFC 8446, 4.1;
//! RFC 5246, 7.4.1; RFC 6101, 5.6.1).

use std::ops::Range;

/// SSL 3.0 to TLS 1.2, and their names.
pub(crate) const OLDER: [(u16, &str); 4] =
    [(0x0300, "SSL 3.0"), (0x0301, "TLS 1.0"), (0x0302, "TLS 1.1"), (0x0303, "TLS 1.2")];
pub(crate) const TLS_1_3: u16 = 0x0304;
pub(crate) const AES_256_GCM: u16 = 0x1302;
/// The other suites of TLS 1.3.
pub(crate) const OTHER_SUITES: [(u16, &str); 4] = [
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
];
pub(crate) const GROUPS: [u16; 2] = [0x11EC, 0x0018];
/// The groups that are registered for TLS 1.3 beside them (RFC 8446, 4.2.7; draft-ietf-tls-ecdhe-mlkem).
pub(crate) const OTHER_GROUPS: [(u16, &str); 10] = [
    (0x001D, "x25519"),
    (0x0017, "secp256r1"),
    (0x0019, "secp521r1"),
    (0x001E, "x448"),
    (0x0100, "ffdhe2048"),
    (0x0101, "ffdhe3072"),
    (0x0102, "ffdhe4096"),
    (0x0103, "ffdhe6144"),
    (0x0104, "ffdhe8192"),
    (0x11EB, "SecP256r1MLKEM768"),
];
/// Suites of older versions that a server of theirs would have.
const OLD_SUITES: [u16; 10] =
    [0xC02C, 0xC02B, 0xC030, 0xC02F, 0xC024, 0xC00A, 0xC014, 0x009D, 0x0035, 0x000A];
/// `HelloRetryRequest` is a ServerHello with this random (RFC 8446, 4.1.3).
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2,
    0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
const PSK_MODES: u16 = 45;
const KEY_SHARE: u16 = 51;

/// What a client offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer<'a> {
    /// Of the record.
    pub(crate) record: u16,
    /// The version field of the hello itself.
    pub(crate) legacy: u16,
    /// The versions of the extension; none leaves it out, as clients before 1.3 do.
    pub(crate) versions: &'a [u16],
    pub(crate) suites: &'a [u16],
    pub(crate) groups: &'a [u16],
    /// Of the name that is addressed; the caller takes it from elsewhere.
    pub(crate) random: [u8; 32],
}

impl<'a> Offer<'a> {
    /// Exactly what the meter should take.
    pub(crate) const fn right(random: [u8; 32]) -> Self {
        Self {
            record: 0x0301,
            legacy: 0x0303,
            versions: &[TLS_1_3],
            suites: &[AES_256_GCM],
            groups: &GROUPS,
            random,
        }
    }

    /// As a client of an older version speaks.
    pub(crate) const fn old(version: u16, random: [u8; 32]) -> Self {
        Self {
            record: if version < 0x0301 { version } else { 0x0301 },
            legacy: version,
            versions: &[],
            suites: &OLD_SUITES,
            ..Self::right(random)
        }
    }

    /// As a record. It brings no share of a key: a server that agrees to something then asks for one, which is as good as its hello.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut add = |kind: u16, body: &[u8]| {
            extensions.extend(kind.to_be_bytes());
            extensions.extend((body.len() as u16).to_be_bytes());
            extensions.extend(body);
        };
        let list = |values: &[u16]| -> Vec<u8> {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
            [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
        };
        if self.legacy > 0x0300 {
            add(SUPPORTED_GROUPS, &list(self.groups));
            add(11, &[1, 0]);
            // P-384 first, then what older servers know.
            add(SIGNATURE_ALGORITHMS, &list(&[0x0503, 0x0403, 0x0603, 0x0804, 0x0805, 0x0401, 0x0201]));
            add(0xFF01, &[0]);
        }
        if !self.versions.is_empty() {
            let versions: Vec<u8> = self.versions.iter().flat_map(|version| version.to_be_bytes()).collect();
            add(SUPPORTED_VERSIONS, &[&[versions.len() as u8][..], &versions].concat());
            add(PSK_MODES, &[1, 1]);
            add(KEY_SHARE, &[0, 0]);
        }
        let mut body = self.legacy.to_be_bytes().to_vec();
        body.extend(self.random);
        // A session identifier, as middleboxes want it; SSL 3.0 and its kind would look for a session.
        let session: &[u8] = if self.versions.is_empty() { &[] } else { &self.random };
        body.push(session.len() as u8);
        body.extend(session);
        body.extend(list(self.suites));
        body.extend([1, 0]);
        if !extensions.is_empty() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        record(self.record, CLIENT_HELLO, &body)
    }
}

/// A server's hello that chooses this; with `group` as a request for a share of it, without as the hello itself. A version before 1.3 is chosen
/// as servers of that time did.
pub(crate) fn choose(
    version: u16,
    suite: u16,
    group: Option<u16>,
    session: &[u8],
    random: [u8; 32],
) -> Vec<u8> {
    choose_with(version, suite, group, session, random, &[])
}

/// The same, resuming the first of the sessions that were offered.
pub(crate) fn resume(suite: u16, session: &[u8], random: [u8; 32]) -> Vec<u8> {
    choose_with(TLS_1_3, suite, None, session, random, &[0, PRE_SHARED_KEY as u8, 0, 2, 0, 0])
}

fn choose_with(
    version: u16,
    suite: u16,
    group: Option<u16>,
    session: &[u8],
    random: [u8; 32],
    further: &[u8],
) -> Vec<u8> {
    let mut body = version.min(0x0303).to_be_bytes().to_vec();
    body.extend(if group.is_some() { RETRY } else { random });
    body.push(session.len() as u8);
    body.extend(session);
    body.extend(suite.to_be_bytes());
    body.push(0);
    let mut extensions = Vec::new();
    if version >= TLS_1_3 {
        extensions.extend([0, SUPPORTED_VERSIONS as u8, 0, 2, 3, 4]);
    }
    if let Some(group) = group {
        extensions.extend([0, KEY_SHARE as u8, 0, 2]);
        extensions.extend(group.to_be_bytes());
    }
    extensions.extend(further);
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    record(version.min(0x0303), SERVER_HELLO, &body)
}

fn record(version: u16, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![HANDSHAKE];
    bytes.extend(version.to_be_bytes());
    bytes.extend(((body.len() + 4) as u16).to_be_bytes());
    bytes.push(kind);
    bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
    bytes.extend(body);
    bytes
}

/// What a server said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It agrees, to this.
    Agrees {
        version: u16,
        suite: u16,
        group: Option<u16>,
        /// It goes on with a session that was offered.
        resumes: bool,
    },
    /// It refuses, with an alert or without.
    Refuses,
    /// It says something that is neither, for example the hello of no TLS.
    Something,
}

/// Reads a server's first record; `None`: more bytes are needed.
pub(crate) fn read_server(bytes: &[u8]) -> Option<Said> {
    match bytes {
        [] => None,
        [ALERT, ..] => Some(Said::Refuses),
        [HANDSHAKE, ..] => {
            let hello = match Message::read(bytes) {
                Read::More => return None,
                Read::Is(message) if message.kind == SERVER_HELLO => message,
                _ => return Some(Said::Something),
            };
            let said = (|| {
                let mut body = Cursor(hello.body);
                let legacy = body.u16()?;
                body.take(32)?;
                let session = body.u8()?;
                body.take(session.into())?;
                let suite = body.u16()?;
                body.u8()?;
                let mut said = (legacy, None, false);
                each_extension(body.0, |kind, value| match (kind, value) {
                    (SUPPORTED_VERSIONS, [high, low]) => said.0 = u16::from_be_bytes([*high, *low]),
                    (KEY_SHARE, [high, low, ..]) => said.1 = Some(u16::from_be_bytes([*high, *low])),
                    (PRE_SHARED_KEY, _) => said.2 = true,
                    _ => {}
                });
                let (version, group, resumes) = said;
                Some(Said::Agrees { version, suite, group, resumes })
            })();
            Some(said.unwrap_or(Said::Something))
        }
        _ => Some(Said::Something),
    }
}

/// What a client offers, with where it stands in the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    pub(crate) groups: Vec<u16>,
    pub(crate) session: Vec<u8>,
    pub(crate) early_data: bool,
    pub(crate) resumes: bool,
    /// Length of the whole record.
    pub(crate) length: usize,
    /// Where suites, versions, groups, signature algorithms and application protocols stand.
    pub(crate) places: Places,
}

/// Where in a record a list stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) random: Range<usize>,
    pub(crate) suites: Range<usize>,
    pub(crate) versions: Range<usize>,
    pub(crate) groups: Range<usize>,
    pub(crate) shares: Range<usize>,
    pub(crate) signatures: Range<usize>,
    pub(crate) protocols: Range<usize>,
}

impl Offered {
    /// Versions before 1.3, other suites and other groups, whatever stands there to keep peers tolerant (RFC 8701) left out.
    pub(crate) fn weaker(&self) -> (usize, usize, usize) {
        let grease = |value: &&u16| (**value & 0x0F0F) != 0x0A0A;
        // A signal that no suite is meant by (RFC 5746).
        let count = |all: &[u16], right: &[u16]| {
            all.iter().filter(grease).filter(|value| !right.contains(value)).count()
        };
        let versions = if self.versions.is_empty() { 1 } else { count(&self.versions, &[TLS_1_3]) };
        (versions, count(&self.suites, &[AES_256_GCM, 0x00FF]), count(&self.groups, &GROUPS))
    }
}

/// Reads a client's hello; `Err(())`: it is none, `Ok(None)`: more bytes are needed.
pub(crate) fn read_client(bytes: &[u8]) -> Result<Option<Offered>, ()> {
    let message = match Message::read(bytes) {
        Read::More => return Ok(None),
        Read::Is(message) if message.kind == CLIENT_HELLO => message,
        _ => return Err(()),
    };
    let offset = |part: &[u8]| {
        // Every part is a slice of `bytes`.
        let begin = part.as_ptr() as usize - bytes.as_ptr() as usize;
        begin..begin + part.len()
    };
    let numbers = |part: &[u8]| -> Vec<u16> {
        part.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    };
    let read = || {
        let mut offered = Offered { length: message.record, ..Offered::default() };
        let mut body = Cursor(message.body);
        body.u16()?;
        offered.places.random = offset(body.take(32)?);
        let session = body.u8()?;
        offered.session = body.take(session.into())?.to_vec();
        let suites = body.u16()?;
        let suites = body.take(suites.into())?;
        (offered.suites, offered.places.suites) = (numbers(suites), offset(suites));
        let compressions = body.u8()?;
        body.take(compressions.into())?;
        each_extension(body.0, |kind, value| match (kind, value) {
            (SUPPORTED_VERSIONS, [_, list @ ..]) => {
                (offered.versions, offered.places.versions) = (numbers(list), offset(list));
            }
            (SUPPORTED_GROUPS, [_, _, list @ ..]) => {
                (offered.groups, offered.places.groups) = (numbers(list), offset(list));
            }
            (KEY_SHARE, [_, _, list @ ..]) => offered.places.shares = offset(list),
            (SIGNATURE_ALGORITHMS, [_, _, list @ ..]) => offered.places.signatures = offset(list),
            (ALPN, [_, _, list @ ..]) => offered.places.protocols = offset(list),
            (EARLY_DATA, _) => offered.early_data = true,
            (PRE_SHARED_KEY, _) => offered.resumes = true,
            _ => {}
        });
        Some(offered)
    };
    read().map(Some).ok_or(())
}

struct Message<'a> {
    kind: u8,
    body: &'a [u8],
    record: usize,
}

enum Read<'a> {
    More,
    Not,
    Is(Message<'a>),
}

impl<'a> Message<'a> {
    /// A handshake message that is alone at the beginning of its record, as hellos are.
    fn read(bytes: &'a [u8]) -> Read<'a> {
        if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) {
            return Read::Not;
        }
        let [_, _, _, high, low, rest @ ..] = bytes else { return Read::More };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(content) = rest.get(..length) else { return Read::More };
        let [kind, a, b, c, body @ ..] = content else { return Read::Not };
        let announced = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        match body.get(..announced) {
            Some(body) => Read::Is(Self { kind: *kind, body, record: 5 + length }),
            None => Read::Not,
        }
    }
}

fn each_extension<'a>(bytes: &'a [u8], mut tell: impl FnMut(u16, &'a [u8])) {
    let mut cursor = Cursor(bytes);
    let _ = cursor.u16();
    while let (Some(kind), Some(length)) = (cursor.u16(), cursor.u16()) {
        let Some(value) = cursor.take(length.into()) else { return };
        tell(kind, value);
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_again_and_damage_never_panics() {
        let offer = Offer { suites: &[0x1301, 0x1302], ..Offer::right([7; 32]) };
        let bytes = offer.encode();
        let read = read_client(&bytes).unwrap().unwrap();
        assert_eq!(
            (&read.versions[..], &read.suites[..], &read.groups[..]),
            (&[0x0304][..], &[0x1301, 0x1302][..], &GROUPS[..])
        );
        assert_eq!(read.length, bytes.len());
        assert_eq!(bytes[read.places.suites.clone()], [0x13, 1, 0x13, 2]);
        assert_eq!(read.weaker(), (0, 1, 0));
        let answer = choose(TLS_1_3, 0x1302, Some(0x18), &[1; 32], [2; 32]);
        assert_eq!(
            read_server(&answer),
            Some(Said::Agrees { version: TLS_1_3, suite: 0x1302, group: Some(0x18), resumes: false })
        );
        let old = choose(0x0303, 0xC02C, None, &[], [2; 32]);
        assert_eq!(
            read_server(&old),
            Some(Said::Agrees { version: 0x0303, suite: 0xC02C, group: None, resumes: false })
        );
        assert_eq!(read_server(&[ALERT, 3, 3, 0, 2, 2, 70]), Some(Said::Refuses));
        for length in 0..bytes.len() {
            assert_eq!(read_client(&bytes[..length]), Ok(None));
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                let _ = read_client(&damaged);
                let mut damaged = answer.clone();
                if let Some(byte) = damaged.get_mut(place) {
                    *byte ^= 1 << bit;
                }
                let _ = read_server(&damaged);
            }
        }
    }
}
