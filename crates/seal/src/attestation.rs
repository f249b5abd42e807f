//! What a device says of the firmware that it runs, rooted below that firmware (design, decision 13; after DICE, the
//! layering of the TCG's Device Identifier Composition Engine).
//!
//! The boot stage has the device secret and the digest of the image that it has just verified. From both it derives the
//! *image key*, and certifies it with its own *boot key*, which the secret alone gives and the maker has certified at
//! manufacture. The image gets the image key and its certificate, never the secret: it can sign what it likes, but only
//! as the image that it is. With another digest, or another device, the key is another one.
//!
//! [`Attestation`] is what the image key then signs, for the nonce of whoever asks.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use meterseal_model::{Digest384, MeterId};
use minicbor::{Decoder, Encoder};
use sha2::Sha384;
use zeroize::Zeroizing;

use crate::envelope::{self, Draft, EnvelopeError, written};
use crate::key::{KeyId, SealKey, SealPublicKey};

/// The content type of a boot stage's certificate for an image key.
pub const CERTIFICATE_TYPE: &str = "application/vnd.meterseal.image-key+cbor";

/// The content type of an attestation.
pub const ATTESTATION_TYPE: &str = "application/vnd.meterseal.attestation+cbor";

/// How long a nonce is, bytes: shorter ones can be met again by chance.
pub const NONCE_BYTES: core::ops::RangeInclusive<usize> = 16..=64;

/// The longest version, bytes: as in a manifest.
pub const MAX_VERSION: usize = 64;

/// Where a device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ground {
    /// On hardware whose boot stage alone holds the device secret.
    Hardware = 0,
    /// Inside somebody's process: the secret is as safe as that process.
    Simulated = 1,
}

/// The boot stage's keys, from the device secret. It does not leave the boot stage; neither do they.
pub struct BootStage {
    secret: Zeroizing<[u8; 32]>,
    key: SealKey,
}

impl BootStage {
    /// From the device secret: 32 bytes that nobody else has.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { secret: Zeroizing::new(*secret), key: derive(secret, BOOT_KEY, &[]) }
    }

    /// The boot key's public half: what the maker certifies at manufacture.
    pub fn public(&self) -> &SealPublicKey {
        self.key.public()
    }

    /// The key of an image, which is handed to it, and the certificate that says whose it is.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`] when the boot key cannot sign.
    pub fn image_key(
        &self,
        meter: MeterId,
        image: &Digest384,
        ground: Ground,
    ) -> Result<(SealKey, Vec<u8>), EnvelopeError> {
        let key = derive(&self.secret, IMAGE_KEY, &image.0);
        let payload = written(|encoder| {
            encoder.array(5)?.u8(VERSION)?.str(&meter.to_string())?.bytes(&image.0)?;
            encoder.u8(ground as u8)?.bytes(&key.public().to_der())?.ok()
        });
        let mut certificate = Vec::new();
        envelope::sign1(CERTIFICATE_TYPE, &payload, &self.key, &mut certificate)?;
        Ok((key, certificate))
    }
}

impl fmt::Debug for BootStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootStage({}, secrets withheld)", self.key.public().key_id())
    }
}

/// A P-384 key from a secret, for a use and a context: HKDF (RFC 5869) with SHA-384, tried again with the next counter
/// for the one output in 2¹⁹⁰ that is no scalar.
fn derive(secret: &[u8; 32], label: &[u8], context: &[u8]) -> SealKey {
    let mac = |key: &[u8], parts: &[&[u8]]| -> Zeroizing<[u8; 48]> {
        let mut mac = Hmac::<Sha384>::new_from_slice(key).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        Zeroizing::new(mac.finalize().into_bytes().into())
    };
    let extracted = mac(SALT, &[secret]);
    let mut counter = 0u8;
    let made = SealKey::generate(|candidate| {
        counter = counter.wrapping_add(1);
        candidate.copy_from_slice(&*mac(&*extracted, &[label, context, &[counter]]));
        Ok::<(), core::convert::Infallible>(())
    });
    match made {
        Ok(key) => key,
        Err(never) => match never {},
    }
}

/// The state of one image slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The image's digest; zeros where there is none.
    pub image: Digest384,
    /// Its sequence number; 0 where there is none.
    pub sequence: u64,
}

/// What a device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What the asker sent, so that an old answer is none: 16 to 64 bytes.
    pub nonce: Vec<u8>,
    /// Which meter.
    pub meter: MeterId,
    /// The running image's version, for people.
    pub version: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Whether it is confirmed, or still on probation.
    pub confirmed: bool,
    /// Starts so far.
    pub boots: u32,
    /// The highest sequence number ever confirmed.
    pub highest: u64,
    /// The trust root's version.
    pub root_version: u64,
    /// Both slots.
    pub slots: [SlotState; 2],
}

/// What is certain about a device once its attestation verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// What it says.
    pub attestation: Attestation,
    /// The image that said it: from the boot stage, not from the image.
    pub image: Digest384,
    /// Where it runs: from the boot stage.
    pub ground: Ground,
}

impl Attestation {
    /// What the image's key is to sign, for a device where that takes long: [`Draft::finish`] then gives the attestation.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLong`].
    pub fn draft(&self, key: KeyId) -> Result<Draft, EnvelopeError> {
        Draft::new(ATTESTATION_TYPE, self.to_cbor(), key)
    }

    /// Signs it with the image's key.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`] or [`EnvelopeError::TooLong`].
    pub fn sign(&self, key: &SealKey) -> Result<Vec<u8>, EnvelopeError> {
        let mut out = Vec::new();
        envelope::sign1(ATTESTATION_TYPE, &self.to_cbor(), key, &mut out)?;
        Ok(out)
    }

    /// Verifies an attestation and the certificate of the key that signed it, for this meter, its boot key and the nonce
    /// that was asked with.
    ///
    /// # Errors
    /// [`AttestationError`]: nothing is known of the device then.
    pub fn verify(
        attestation: &[u8],
        certificate: &[u8],
        boot_key: &SealPublicKey,
        meter: MeterId,
        nonce: &[u8],
    ) -> Result<Attested, AttestationError> {
        let certified = envelope::verify1(certificate, CERTIFICATE_TYPE, core::slice::from_ref(boot_key))?;
        let (certified_meter, image, ground, key) = read_certificate(certified.payload)?;
        let verified = envelope::verify1(attestation, ATTESTATION_TYPE, &[key])?;
        let attestation = Self::from_cbor(verified.payload)?;
        if certified_meter != meter || attestation.meter != meter {
            return Err(AttestationError::OtherMeter);
        }
        if attestation.nonce != nonce {
            return Err(AttestationError::Nonce);
        }
        // What an image says of itself must fit what its boot stage says of it.
        let fits =
            attestation.slots.iter().any(|slot| slot.image == image && slot.sequence == attestation.sequence);
        if !fits {
            return Err(AttestationError::Contradiction);
        }
        Ok(Attested { attestation, image, ground })
    }

    fn to_cbor(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(10)?.u8(VERSION)?.bytes(&self.nonce)?.str(&self.meter.to_string())?;
            encoder.str(&self.version)?.u64(self.sequence)?.bool(self.confirmed)?.u32(self.boots)?;
            encoder.u64(self.highest)?.u64(self.root_version)?.array(self.slots.len() as u64)?;
            self.slots.iter().try_for_each(|slot| put(encoder, slot))
        })
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, AttestationError> {
        let mut decoder = Decoder::new(bytes);
        head(&mut decoder, 10)?;
        let nonce = decoder.bytes()?.to_vec();
        let meter = meter_id(&mut decoder)?;
        let version = decoder.str()?.to_string();
        let (sequence, confirmed, boots) = (decoder.u64()?, decoder.bool()?, decoder.u32()?);
        let (highest, root_version) = (decoder.u64()?, decoder.u64()?);
        if decoder.array()? != Some(2) {
            return Err(AttestationError::Malformed);
        }
        let slots = [get(&mut decoder)?, get(&mut decoder)?];
        let possible = NONCE_BYTES.contains(&nonce.len())
            && version.len() <= MAX_VERSION
            && !version.chars().any(char::is_control);
        let read = Self { nonce, meter, version, sequence, confirmed, boots, highest, root_version, slots };
        if possible && read.to_cbor() == bytes { Ok(read) } else { Err(AttestationError::Malformed) }
    }
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn put(encoder: &mut Encoder<Vec<u8>>, slot: &SlotState) -> Written {
    encoder.array(2)?.bytes(&slot.image.0)?.u64(slot.sequence)?.ok()
}

fn get(decoder: &mut Decoder<'_>) -> Result<SlotState, AttestationError> {
    if decoder.array()? != Some(2) {
        return Err(AttestationError::Malformed);
    }
    let image = Digest384(decoder.bytes()?.try_into().map_err(|_| AttestationError::Malformed)?);
    Ok(SlotState { image, sequence: decoder.u64()? })
}

fn head(decoder: &mut Decoder<'_>, fields: u64) -> Result<(), AttestationError> {
    if decoder.array()? != Some(fields) {
        return Err(AttestationError::Malformed);
    }
    match decoder.u8()? {
        VERSION => Ok(()),
        other => Err(AttestationError::Version(other)),
    }
}

fn meter_id(decoder: &mut Decoder<'_>) -> Result<MeterId, AttestationError> {
    decoder.str()?.parse().map_err(|_| AttestationError::Malformed)
}

fn read_certificate(bytes: &[u8]) -> Result<(MeterId, Digest384, Ground, SealPublicKey), AttestationError> {
    let mut decoder = Decoder::new(bytes);
    head(&mut decoder, 5)?;
    let meter = meter_id(&mut decoder)?;
    let image = Digest384(decoder.bytes()?.try_into().map_err(|_| AttestationError::Malformed)?);
    let ground = match decoder.u8()? {
        0 => Ground::Hardware,
        1 => Ground::Simulated,
        _ => return Err(AttestationError::Malformed),
    };
    let key = SealPublicKey::from_der(decoder.bytes()?).map_err(|_| AttestationError::Malformed)?;
    if decoder.position() != bytes.len() {
        return Err(AttestationError::Malformed);
    }
    Ok((meter, image, ground, key))
}

/// Why an attestation says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationError {
    /// A signature, or what is signed.
    Envelope(EnvelopeError),
    /// Not the CBOR of an attestation or of its certificate.
    Malformed,
    /// Another version of the format.
    Version(u8),
    /// Of another meter.
    OtherMeter,
    /// An answer to another question.
    Nonce,
    /// The image's words do not fit the image that its boot stage certified.
    Contradiction,
}

impl From<EnvelopeError> for AttestationError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

impl From<minicbor::decode::Error> for AttestationError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for AttestationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => write!(f, "attestation: {error}"),
            Self::Malformed => f.write_str("what is signed is no attestation"),
            Self::Version(found) => {
                write!(f, "the attestation has format {found}, this program reads {VERSION}; update it")
            }
            Self::OtherMeter => f.write_str("the attestation is of another meter"),
            Self::Nonce => f.write_str("the attestation answers another question: it may be an old one"),
            Self::Contradiction => f.write_str(
                "the meter attests a version that does not belong to the image that its boot stage started",
            ),
        }
    }
}

impl core::error::Error for AttestationError {}

/// Of both formats.
const VERSION: u8 = 1;

const SALT: &[u8] = b"meterseal boot stage 1";
const BOOT_KEY: &[u8] = b"boot key";
const IMAGE_KEY: &[u8] = b"image key";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const METER: &str = "MSL0000000001";

    fn meter() -> MeterId {
        METER.parse().unwrap()
    }

    fn attestation(image: &Digest384) -> Attestation {
        Attestation {
            nonce: vec![7; 32],
            meter: meter(),
            version: "1.2.3".into(),
            sequence: 9,
            confirmed: true,
            boots: 41,
            highest: 9,
            root_version: 2,
            slots: [
                SlotState { image: *image, sequence: 9 },
                SlotState { image: Digest384([0; 48]), sequence: 0 },
            ],
        }
    }

    #[test]
    fn an_image_attests_as_what_it_is() {
        let (stage, image) = (BootStage::new(&[3; 32]), Digest384([5; 48]));
        let (key, certificate) = stage.image_key(meter(), &image, Ground::Simulated).unwrap();
        let signed = attestation(&image).sign(&key).unwrap();
        let known = Attestation::verify(&signed, &certificate, stage.public(), meter(), &[7; 32]).unwrap();
        assert_eq!(known, Attested { attestation: attestation(&image), image, ground: Ground::Simulated });
        // The same secret gives the same keys at every start.
        let again = BootStage::new(&[3; 32]);
        assert_eq!(again.public(), stage.public());
        assert_eq!(again.image_key(meter(), &image, Ground::Simulated).unwrap().0.public(), key.public());
    }

    #[test]
    fn attack_an_image_cannot_attest_as_another_one_or_for_another_device() {
        let (stage, other) = (BootStage::new(&[3; 32]), BootStage::new(&[4; 32]));
        let (lying, claimed) = (Digest384([5; 48]), Digest384([6; 48]));
        let (key, certificate) = stage.image_key(meter(), &lying, Ground::Hardware).unwrap();
        let (_, claimed_certificate) = stage.image_key(meter(), &claimed, Ground::Hardware).unwrap();
        let verify = |signed: &[u8], certificate: &[u8], boot: &BootStage| {
            Attestation::verify(signed, certificate, boot.public(), meter(), &[7; 32])
        };
        // With its own certificate, it cannot claim the other digest.
        let signed = attestation(&claimed).sign(&key).unwrap();
        assert_eq!(verify(&signed, &certificate, &stage), Err(AttestationError::Contradiction));
        // With the other image's certificate, it lacks the key.
        assert!(matches!(
            verify(&signed, &claimed_certificate, &stage),
            Err(AttestationError::Envelope(EnvelopeError::UnknownKey(_)))
        ));
        // A certificate that another device's boot stage made, or the image itself.
        let signed = attestation(&lying).sign(&key).unwrap();
        assert!(verify(&signed, &certificate, &other).is_err());
        let mut own = Vec::new();
        let payload = written(|encoder| {
            encoder.array(5)?.u8(VERSION)?.str(METER)?.bytes(&claimed.0)?;
            encoder.u8(0)?.bytes(&key.public().to_der())?.ok()
        });
        envelope::sign1(CERTIFICATE_TYPE, &payload, &key, &mut own).unwrap();
        assert!(verify(&signed, &own, &stage).is_err());
        let (foreign, _) = other.image_key(meter(), &lying, Ground::Hardware).unwrap();
        assert_ne!(foreign.public(), key.public());
        let wrong_meter: MeterId = "MSL0000000002".parse().unwrap();
        let judged = Attestation::verify(&signed, &certificate, stage.public(), wrong_meter, &[7; 32]);
        assert_eq!(judged, Err(AttestationError::OtherMeter));
    }

    #[test]
    fn attack_an_old_attestation_is_no_answer_and_no_byte_of_it_can_change() {
        let (stage, image) = (BootStage::new(&[3; 32]), Digest384([5; 48]));
        let (key, certificate) = stage.image_key(meter(), &image, Ground::Hardware).unwrap();
        let signed = attestation(&image).sign(&key).unwrap();
        let judged = Attestation::verify(&signed, &certificate, stage.public(), meter(), &[8; 32]);
        assert_eq!(judged, Err(AttestationError::Nonce));
        for (of_certificate, length) in [(true, certificate.len()), (false, signed.len())] {
            for place in 0..length {
                let (mut signed, mut certificate) = (signed.clone(), certificate.clone());
                let bytes = if of_certificate { &mut certificate } else { &mut signed };
                bytes[place] ^= 1 << (place % 8);
                let judged = Attestation::verify(&signed, &certificate, stage.public(), meter(), &[7; 32]);
                assert!(judged.is_err(), "byte {place}");
            }
        }
    }
}
