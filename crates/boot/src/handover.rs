//! What a boot stage hands to the image that it starts: the image's key, its certificate, and who vouches for the boot
//! stage. The device secret is not among it.
//!
//! As bytes it goes through a socket that only the two hold, never through arguments or the environment, which others
//! can read: `length u32 LE | CBOR`. What was sent and received is wiped.

use std::io::{self, Read, Write};

use meterseal_meter::ImageIdentity;
use meterseal_model::{Digest384, MeterId};
use meterseal_seal::{SealKey, Signer as _};
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

/// What the image gets.
#[derive(Debug)]
pub struct Handover {
    /// Which meter it is.
    pub meter: MeterId,
    /// What the image is, as the boot stage has found it.
    pub identity: ImageIdentity,
    /// The image key.
    pub key: SealKey,
}

impl Handover {
    /// Writes it.
    ///
    /// # Errors
    /// Whatever `to` returns.
    pub fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let key = self.key.to_pkcs8_der().map_err(|error| io::Error::other(error.to_string()))?;
        let ImageIdentity { boot_chain, certificate, version, image, sequence, .. } = &self.identity;
        // Never moved to a larger place, which would leave a copy of the key behind.
        let room =
            512 + key.len() + certificate.len() + boot_chain.iter().map(|der| der.len() + 8).sum::<usize>();
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.extend_from_slice(&[0; 4]);
        let mut encoder = Encoder::new(&mut *bytes);
        let written = (|| {
            encoder.array(8)?.u8(VERSION)?.str(&self.meter.to_string())?.bytes(&key)?.bytes(certificate)?;
            encoder.str(version)?.bytes(&image.0)?.u64(*sequence)?;
            encoder.array(boot_chain.len() as u64)?;
            boot_chain.iter().try_for_each(|der| encoder.bytes(der).map(drop))
        })();
        written.map_err(|error: minicbor::encode::Error<_>| io::Error::other(error.to_string()))?;
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is none; else whatever `from` returns.
    pub fn receive(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_BYTES {
            return Err(invalid());
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        from.read_exact(&mut bytes)?;
        decode(&bytes).ok_or_else(invalid)
    }
}

fn decode(bytes: &[u8]) -> Option<Handover> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array().ok()? != Some(8) || decoder.u8().ok()? != VERSION {
        return None;
    }
    let meter = decoder.str().ok()?.parse().ok()?;
    let key = SealKey::from_pkcs8_der(decoder.bytes().ok()?).ok()?;
    let certificate = decoder.bytes().ok()?.to_vec();
    let version = decoder.str().ok()?.to_owned();
    let image = Digest384(decoder.bytes().ok()?.try_into().ok()?);
    let sequence = decoder.u64().ok()?;
    let certificates = decoder.array().ok()?.filter(|&count| count <= MAX_CHAIN)?;
    let boot_chain =
        (0..certificates).map(|_| decoder.bytes().ok().map(<[u8]>::to_vec)).collect::<Option<_>>()?;
    let identity = ImageIdentity { boot_chain, certificate, key: key.key_id(), version, image, sequence };
    (decoder.position() == bytes.len()).then_some(Handover { meter, identity, key })
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came is no handover of a boot stage")
}

const VERSION: u8 = 1;
/// A chain of four certificates of 4 KiB each, and the rest.
const MAX_BYTES: usize = 32 * 1024;
const MAX_CHAIN: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use meterseal_seal::attestation::{BootStage, Ground};

    fn handover() -> Handover {
        let (meter, image) = ("MSL0000000001".parse().unwrap(), Digest384([5; 48]));
        let (key, certificate) =
            BootStage::new(&[3; 32]).image_key(meter, &image, Ground::Simulated).unwrap();
        let identity = ImageIdentity {
            boot_chain: vec![vec![7; 900], vec![8; 800]],
            certificate,
            key: key.key_id(),
            version: "1.2.3".into(),
            image,
            sequence: 9,
        };
        Handover { meter, identity, key }
    }

    #[test]
    fn what_is_handed_over_arrives_and_nothing_else_passes_for_it() {
        let (sent, mut bytes) = (handover(), Vec::new());
        sent.send(&mut bytes).unwrap();
        let received = Handover::receive(&mut &bytes[..]).unwrap();
        assert_eq!((received.meter, &received.identity), (sent.meter, &sent.identity));
        assert_eq!(received.key.public(), sent.key.public());
        for cut in 0..bytes.len() {
            assert!(Handover::receive(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(&[0; 4]);
        longer[..4].copy_from_slice(&((bytes.len()) as u32).to_le_bytes());
        assert!(Handover::receive(&mut &longer[..]).is_err());
        assert!(Handover::receive(&mut &[0xFF; 64][..]).is_err(), "an absurd length is not believed");
    }
}
