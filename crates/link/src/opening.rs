//! The opening of a connection: what a meter without a trusted clock asks before anything else, inside TLS, where
//! both sides have agreed on [`ALPN_OPENING`](crate::tls::ALPN_OPENING).
//!
//! | step | who | what |
//! |---|---|---|
//! | 1 | both | TLS; the meter checks chain, name and signatures, and that nothing had ended before its last sealed time |
//! | 2 | meter | a fresh nonce, and which lists of revoked certificates it has |
//! | 3 | head-end | the time signed for that nonce and meter, the time source's certificates, newer lists |
//! | 4 | meter | checks the time source's chain, purpose and signature, sets its clock, takes the lists, and judges the head-end (and the time source) by them |
//!
//! Each message is four bytes of length (big-endian) and CBOR. DLMS wrapper frames follow. Whoever holds a head-end's
//! key whose certificate has expired cannot answer in step 3: the time key is another one, and should live elsewhere.
//! An attacker who has an *old time key as well* can only tell times within that key's own validity, and never before
//! what the meter has sealed.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use meterseal_model::{MeterId, UnixMillis};
use meterseal_seal::signed_time::{self, NONCE_LENGTH, SignedTimeError};
use meterseal_seal::{KeySlot, KeyStore, KeyStoreError, SealKey, Signer};
use minicbor::{Decoder, Encoder};
use rustls::pki_types::{CertificateDer, UnixTime};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use webpki::{EndEntityCert, KeyUsage};

use crate::keys::OwnedKey;
use crate::pki::{Certificate, PkiError, read_certificates, read_secret};
use crate::revocation::{ListError, Loaded};
use crate::tls::{self, ClientProfile, Peer, ServerProfile, TimeGoesBack};

/// What signs time at a head-end. Clones share a renewal.
#[derive(Clone)]
pub struct TimeSource {
    now: Arc<RwLock<Arc<Source>>>,
}

struct Source {
    chain: Vec<CertificateDer<'static>>,
    key: Box<dyn Signer + Send + Sync>,
}

impl TimeSource {
    /// Reads the identity of a time source (`meterseal pki issue time`) from its folder.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let chain = read_certificates(&dir.join("certificate.pem"))?;
        let path = dir.join("key.pem");
        let key = SealKey::from_pkcs8_pem(&read_secret(&path)?)
            .map_err(|error| PkiError::new(&path, error.to_string()))?;
        let own = meterseal_seal::request::certified_key(&chain[0]);
        if own.as_ref() != Some(key.public()) {
            return Err(PkiError::new(&path, "does not belong to the certificate beside it"));
        }
        match Certificate::read(&chain[0]) {
            Ok(Certificate { peer: Some(Peer::Time(_)), .. }) => Ok(Self::new(chain, Box::new(key))),
            _ => Err(PkiError::new(&path, "is not that of a time source")
                .hint("make one with: meterseal pki issue time NAME")),
        }
    }

    /// The current key and certificates of a key store.
    ///
    /// # Errors
    /// [`KeyStoreError`] when there are none.
    pub fn from_store(store: &Arc<dyn KeyStore>, slot: KeySlot) -> Result<Self, KeyStoreError> {
        let key = OwnedKey::new(Arc::clone(store), slot)?;
        let chain = store.certificates(slot)?.into_iter().map(CertificateDer::from).collect();
        Ok(Self::new(chain, Box::new(key)))
    }

    /// A time source whose key is somewhere else. `chain` begins with its own certificate.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: Box<dyn Signer + Send + Sync>) -> Self {
        Self { now: Arc::new(RwLock::new(Arc::new(Source { chain, key }))) }
    }

    /// Signs with `newer` from the next question on, here and in every clone.
    pub fn renew(&self, newer: &Self) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = newer.now();
    }

    fn now(&self) -> Arc<Source> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for TimeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeSource").field("key", &self.now().key.key_id()).finish_non_exhaustive()
    }
}

/// The meter's part. Afterwards the profile's clock is set, and what it judges by is up to date.
///
/// # Errors
/// [`OpeningError`]; the connection must then be closed.
pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    profile: &ClientProfile,
) -> Result<(), OpeningError> {
    let Some(Peer::Meter(meter)) = profile.me() else { return Err(OpeningError::NoMeter) };
    let mut nonce = [0; NONCE_LENGTH];
    getrandom::fill(&mut nonce).map_err(OpeningError::Random)?;
    let revocations = &profile.trust().revocations;
    write(stream, &encode_question(&nonce, &revocations.numbers())).await?;
    let answer = read(stream, MAX_ANSWER).await?;
    let answer = Answer::decode(&answer)?;
    // Lists first: they may name the time source.
    for list in &answer.lists {
        match revocations.load(list) {
            Ok(Loaded::New { issuer, number, revoked }) => {
                tracing::info!(target: LOG, %meter, issuer, number, revoked, "a new list of revoked certificates is in effect");
            }
            // Another connection of this process may have been quicker; and a head-end may know more authorities.
            Ok(Loaded::Same) | Err(ListError::Older { .. } | ListError::UnknownIssuer { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let time = verified_time(&answer, *meter, &nonce, profile)?;
    profile.clock().set(time)?;
    Ok(())
}

/// The head-end's part.
///
/// # Errors
/// [`OpeningError`]; the connection must then be closed.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    profile: &ServerProfile,
    meter: MeterId,
) -> Result<(), OpeningError> {
    let source = profile.time().ok_or(OpeningError::NoSource)?.now();
    let question = read(stream, MAX_QUESTION).await?;
    let (nonce, numbers) = decode_question(&question)?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let time = signed_time::sign(meter, &nonce, now, source.key.as_ref())
        .map_err(|error| OpeningError::Time(SignedTimeError::Envelope(error)))?;
    let lists = profile.revocations().newer_than(&numbers, MAX_LISTS);
    write(stream, &encode_answer(&time, &source.chain, &lists)).await
}

/// Checks who signed the time and what was signed.
fn verified_time(
    answer: &Answer<'_>,
    meter: MeterId,
    nonce: &[u8; NONCE_LENGTH],
    profile: &ClientProfile,
) -> Result<SystemTime, OpeningError> {
    let chain: Vec<CertificateDer<'_>> = answer.chain.iter().map(|der| CertificateDer::from(*der)).collect();
    let own = chain.first().ok_or(OpeningError::Malformed)?;
    let read = Certificate::read(own).map_err(|_| OpeningError::Source)?;
    let key = meterseal_seal::request::certified_key(own).ok_or(OpeningError::Source)?;
    let time = signed_time::verify(answer.time, meter, nonce, &key).map_err(OpeningError::Time)?;
    let millis = u64::try_from(time.0).map_err(|_| OpeningError::Malformed)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);

    // The source's own certificates are judged at the time that it tells: that is all that is known.
    let anchors: Vec<_> = profile
        .trust()
        .headends
        .iter()
        .filter_map(|authority| webpki::anchor_from_trusted_cert(authority).ok())
        .collect();
    EndEntityCert::try_from(own)
        .and_then(|source| {
            source
                .verify_for_usage(
                    &[webpki::aws_lc_rs::ECDSA_P384_SHA384],
                    &anchors,
                    &chain[1..],
                    UnixTime::since_unix_epoch(Duration::from_millis(millis)),
                    KeyUsage::required(TIME_STAMPING),
                    None,
                    None,
                )
                .map(drop)
        })
        .map_err(|error| {
            tracing::debug!(target: LOG, %error, "a time source was refused");
            OpeningError::Source
        })?;
    if !matches!(read.peer, Some(Peer::Time(_))) || profile.trust().revocations.is_revoked(&read) {
        return Err(OpeningError::Source);
    }
    Ok(time)
}

/// Why an opening failed.
#[derive(Debug, Error)]
pub enum OpeningError {
    /// The connection.
    #[error("the opening exchange failed: {0}")]
    Io(String),
    /// Not what was agreed.
    #[error("the opening exchange is malformed")]
    Malformed,
    /// Longer than is read.
    #[error("an opening message of {length} bytes is longer than the {limit} that are read")]
    TooLong {
        /// What was announced.
        length: usize,
        /// What is read.
        limit: usize,
    },
    /// The time.
    #[error("the signed time is not believed: {0}")]
    Time(SignedTimeError),
    /// Who signed it.
    #[error("the time was not signed by a time source of our utility that is valid and not revoked")]
    Source,
    /// It goes back.
    #[error(transparent)]
    Back(#[from] TimeGoesBack),
    /// A list of revoked certificates.
    #[error("the head-end passed on a list that cannot be used: {0}")]
    List(#[from] ListError),
    /// The head-end knows no opening, and this meter has no clock.
    #[error(
        "the head-end does not give signed time, and this meter's clock is not set; configure a time source there"
    )]
    NoTime,
    /// We have no source.
    #[error("no time source is configured here")]
    NoSource,
    /// Only meters open.
    #[error("only a meter asks for signed time")]
    NoMeter,
    /// No random numbers.
    #[error("the operating system gave no random numbers ({0})")]
    Random(getrandom::Error),
}

struct Answer<'a> {
    time: &'a [u8],
    chain: Vec<&'a [u8]>,
    lists: Vec<&'a [u8]>,
}

impl<'a> Answer<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, OpeningError> {
        let malformed = |_: minicbor::decode::Error| OpeningError::Malformed;
        let mut decoder = Decoder::new(bytes);
        if decoder.array().map_err(malformed)? != Some(4) || decoder.u8().map_err(malformed)? != VERSION {
            return Err(OpeningError::Malformed);
        }
        let time = decoder.bytes().map_err(malformed)?;
        let chain = byte_strings(&mut decoder, MAX_CHAIN)?;
        let lists = byte_strings(&mut decoder, MAX_LIST_COUNT)?;
        if decoder.position() != bytes.len() {
            return Err(OpeningError::Malformed);
        }
        Ok(Self { time, chain, lists })
    }
}

fn encode_answer(time: &[u8], chain: &[CertificateDer<'_>], lists: &[std::sync::Arc<[u8]>]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written = (|| {
        encoder.array(4)?.u8(VERSION)?.bytes(time)?.array(chain.len() as u64)?;
        for certificate in chain {
            encoder.bytes(certificate)?;
        }
        encoder.array(lists.len() as u64)?;
        for list in lists {
            encoder.bytes(list)?;
        }
        Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
    })();
    debug_assert!(written.is_ok(), "a Vec takes every write");
    encoder.into_writer()
}

/// Issuer and number of each list that the meter has.
type Numbers = Vec<(Vec<u8>, u64)>;

fn encode_question(nonce: &[u8], numbers: &Numbers) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written = (|| {
        encoder.array(3)?.u8(VERSION)?.bytes(nonce)?.array(numbers.len() as u64)?;
        for (issuer, number) in numbers {
            encoder.array(2)?.bytes(issuer)?.u64(*number)?;
        }
        Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
    })();
    debug_assert!(written.is_ok(), "a Vec takes every write");
    encoder.into_writer()
}

fn decode_question(bytes: &[u8]) -> Result<([u8; NONCE_LENGTH], Numbers), OpeningError> {
    let malformed = |_: minicbor::decode::Error| OpeningError::Malformed;
    let mut decoder = Decoder::new(bytes);
    if decoder.array().map_err(malformed)? != Some(3) || decoder.u8().map_err(malformed)? != VERSION {
        return Err(OpeningError::Malformed);
    }
    let nonce = decoder.bytes().map_err(malformed)?.try_into().map_err(|_| OpeningError::Malformed)?;
    let count = decoder.array().map_err(malformed)?.filter(|&count| count <= MAX_LIST_COUNT);
    let mut numbers = Numbers::new();
    for _ in 0..count.ok_or(OpeningError::Malformed)? {
        if decoder.array().map_err(malformed)? != Some(2) {
            return Err(OpeningError::Malformed);
        }
        let issuer = decoder.bytes().map_err(malformed)?.to_vec();
        numbers.push((issuer, decoder.u64().map_err(malformed)?));
    }
    if decoder.position() != bytes.len() {
        return Err(OpeningError::Malformed);
    }
    Ok((nonce, numbers))
}

fn byte_strings<'a>(decoder: &mut Decoder<'a>, max: u64) -> Result<Vec<&'a [u8]>, OpeningError> {
    let malformed = |_: minicbor::decode::Error| OpeningError::Malformed;
    let count = decoder.array().map_err(malformed)?.filter(|&count| count <= max);
    (0..count.ok_or(OpeningError::Malformed)?).map(|_| decoder.bytes().map_err(malformed)).collect()
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> Result<(), OpeningError> {
    let failed = |error: io::Error| OpeningError::Io(tls::explain_io(&error));
    let length = u32::try_from(message.len()).map_err(|_| OpeningError::Malformed)?;
    stream.write_all(&length.to_be_bytes()).await.map_err(failed)?;
    stream.write_all(message).await.map_err(failed)?;
    stream.flush().await.map_err(failed)
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, limit: usize) -> Result<Vec<u8>, OpeningError> {
    let failed = |error: io::Error| OpeningError::Io(tls::explain_io(&error));
    let length = stream.read_u32().await.map_err(failed)? as usize;
    if length > limit {
        return Err(OpeningError::TooLong { length, limit });
    }
    // Grows with what arrives, not with what is announced.
    let mut message = Vec::new();
    let got = stream.take(length as u64).read_to_end(&mut message).await.map_err(failed)?;
    if got < length {
        return Err(OpeningError::Io("it closed the connection".to_owned()));
    }
    Ok(message)
}

const LOG: &str = "meterseal::opening";
const VERSION: u8 = 1;
/// id-kp-timeStamping, 1.3.6.1.5.5.7.3.8 (RFC 5280, 4.2.1.12).
const TIME_STAMPING: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
/// A nonce and the numbers of a few lists, whose issuers' names take some 60 bytes each.
const MAX_QUESTION: usize = 4096;
/// The lists that a head-end passes on, together: some 25 000 entries.
const MAX_LISTS: usize = 1 << 20;
const MAX_ANSWER: usize = MAX_LISTS + 16 * 1024;
const MAX_CHAIN: u64 = 4;
const MAX_LIST_COUNT: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_damage_is_refused() {
        let numbers = vec![(vec![1, 2, 3], 7), (vec![4; 60], u64::MAX)];
        let question = encode_question(&[9; NONCE_LENGTH], &numbers);
        assert_eq!(decode_question(&question).unwrap(), ([9; NONCE_LENGTH], numbers));
        let answer = encode_answer(b"time", &[vec![1; 900].into()], &[vec![2; 300].into()]);
        let read = Answer::decode(&answer).unwrap();
        assert_eq!((read.time, read.chain.len(), read.lists[0].len()), (&b"time"[..], 1, 300));
        for length in 0..question.len() {
            assert!(decode_question(&question[..length]).is_err());
        }
        for length in 0..answer.len() {
            assert!(Answer::decode(&answer[..length]).is_err());
        }
        assert!(decode_question(&[question, vec![0]].concat()).is_err());
    }
}
