//! The maker of virtual meters' firmware: signing keys of the run, trust root, packages good and bad, and the boot stage.
//!
//! Images are data here: what executes is the bench's own program. An image's first line says how a meter behaves that runs it, so that an image
//! that hangs can be tried without one that does.

use std::convert::Infallible;

use embedded_storage::nor_flash::NorFlashErrorKind;
use meterseal_meter::ImageIdentity;
use meterseal_meter::firmware::{FirmwareLayout, FirmwareStore, Target, boot, provision};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::attestation::{BootStage, Ground};
use meterseal_seal::firmware::package::{self, HEADER_LENGTH};
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Package, PackageError, Packing, Role, TrustRoot, TrustedKey, pack,
};
use meterseal_seal::{SealKey, SealPublicKey, Signer as _};

use super::meter::{BEGIN, identifier};
use super::specimen::Memory;
use crate::certify::{Offered, Sample, Trouble};
use crate::random::Random;

/// Who makes and signs a type's firmware.
pub struct Maker {
    signers: [FirmwareKey; 2],
    expired: FirmwareKey,
    revoked: FirmwareKey,
    strangers: [FirmwareKey; 2],
    trust: TrustRoot,
    root: Vec<u8>,
    first: Vec<u8>,
    stage: BootStage,
    seed: u64,
}

/// What a meter does that runs an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Sound,
    Hangs,
    Crashes,
    CrashesLater,
    Unreachable,
    MeasuresWrong,
}

const BEHAVIOURS: [(Behaviour, &str); 6] = [
    (Behaviour::Sound, "sound"),
    (Behaviour::Hangs, "hangs"),
    (Behaviour::Crashes, "crashes"),
    (Behaviour::CrashesLater, "crashes later"),
    (Behaviour::Unreachable, "unreachable"),
    (Behaviour::MeasuresWrong, "measures wrong"),
];

/// What the boot stage has started.
pub(super) struct Program {
    pub(super) identity: ImageIdentity,
    pub(super) key: SealKey,
    pub(super) behaviour: Behaviour,
}

/// Images up to 64 KiB: a bench's are data.
const LAYOUT: FirmwareLayout = FirmwareLayout::STANDARD.with_slot(64 << 10);
/// Bytes of an image.
const IMAGE_BYTES: usize = 12_000;
/// The sequence number of the image that a meter is made with.
pub(super) const FIRST_SEQUENCE: u64 = 10;
const VENDOR: &str = "Meterseal";
const DEVICE_TYPE: &str = "MSV";
const HARDWARE: &str = "virtual";
const DAY_MS: i64 = 86_400_000;

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maker({:?}, keys withheld)", self.stage)
    }
}

impl Maker {
    /// With keys drawn from the run's seed.
    pub(super) fn new(seed: u64) -> Result<Self, Trouble> {
        let mut random = Random::new(seed ^ 0x4649_524D);
        let mut key = || {
            let drawn = FirmwareKey::generate(|bytes| {
                bytes.fill_with(|| random.next() as u8);
                Ok::<(), Infallible>(())
            });
            match drawn {
                Ok(key) => key,
                Err(never) => match never {},
            }
        };
        let (signers, strangers) = ([key(), key()], [key(), key()]);
        let (expired, revoked) = (key(), key());
        let trusted = |key: &FirmwareKey, expires| TrustedKey {
            name: "Signer".to_owned(),
            key: key.public().clone(),
            roles: vec![Role::Root, Role::Release],
            expires: UnixMillis(BEGIN.0 + expires),
        };
        let mut keys = vec![
            trusted(&signers[0], 3650 * DAY_MS),
            trusted(&signers[1], 3650 * DAY_MS),
            trusted(&expired, -DAY_MS),
        ];
        keys.sort_by_key(|trusted| trusted.key.id());
        // The second root: the first had the revoked key too.
        let trust = TrustRoot { version: 2, thresholds: [2, 2, 0], keys };
        let root = trust.sign(&[&signers[0], &signers[1]]).map_err(|error| cannot(&error))?;
        let mut secret = [0; 32];
        secret.fill_with(|| random.next() as u8);
        let stage = BootStage::new(&secret);
        let mut maker =
            Self { signers, expired, revoked, strangers, trust, root, first: Vec::new(), stage, seed };
        maker.first = maker.sign(&maker.image(Behaviour::Sound, FIRST_SEQUENCE), FIRST_SEQUENCE)?;
        Ok(maker)
    }

    /// The keys that count in the trust root, and their threshold.
    pub fn trust(&self) -> &TrustRoot {
        &self.trust
    }

    /// What the maker certifies of a meter's boot stage.
    pub fn boot_key(&self) -> &SealPublicKey {
        self.stage.public()
    }

    fn image(&self, behaviour: Behaviour, sequence: u64) -> Vec<u8> {
        let word = BEHAVIOURS.iter().find(|(known, _)| *known == behaviour).map_or("sound", |(_, word)| word);
        let mut image = format!("MSBENCH {word}\n").into_bytes();
        let mut random = Random::new(self.seed ^ sequence.rotate_left(32));
        image.resize_with(IMAGE_BYTES, || random.next() as u8);
        image
    }

    /// The manifest for such an image.
    pub fn manifest(&self, image: &[u8], sequence: u64) -> Manifest {
        Manifest {
            vendor: VENDOR.to_owned(),
            device_type: DEVICE_TYPE.to_owned(),
            hardware: vec![HARDWARE.to_owned()],
            version: format!("1.0.{sequence}"),
            sequence,
            minimum_previous: 0,
            image: Digests::of(image),
            stored: Digests::of(image),
            packing: Packing::Plain,
            encryption: None,
            not_before: None,
        }
    }

    fn sign(&self, image: &[u8], sequence: u64) -> Result<Vec<u8>, Trouble> {
        self.write(&self.manifest(image, sequence), image).map_err(|error| cannot(&error))
    }

    /// A package signed by all whose signatures count.
    ///
    /// # Errors
    /// As [`package::write`].
    pub fn write(&self, manifest: &Manifest, payload: &[u8]) -> Result<Vec<u8>, PackageError> {
        package::write(manifest, payload, &[&self.signers[0], &self.signers[1]])
    }

    /// A package of a kind, with this sequence number where the kind leaves it open.
    pub(super) fn package(&self, sample: Sample, sequence: u64) -> Result<Offered, Trouble> {
        let behaviour = match sample {
            Sample::Hangs => Behaviour::Hangs,
            Sample::Crashes => Behaviour::Crashes,
            Sample::CrashesLater => Behaviour::CrashesLater,
            Sample::Unreachable => Behaviour::Unreachable,
            Sample::MeasuresWrong => Behaviour::MeasuresWrong,
            _ => Behaviour::Sound,
        };
        let sequence = if sample == Sample::First { FIRST_SEQUENCE } else { sequence };
        let image = self.image(behaviour, sequence);
        let mut manifest = self.manifest(&image, sequence);
        let [anna, ben] = &self.signers;
        let by = |signers: &[&FirmwareKey]| {
            package::write(&manifest, &image, signers).map_err(|error| cannot(&error))
        };
        let bytes = match sample {
            Sample::First => self.first.clone(),
            Sample::Unsigned => without_signatures(&by(&[anna])?)?,
            Sample::EllipticOnly => {
                // What an envelope ends with is its last signer's lattice signature.
                let mut bytes = by(&[anna, ben])?;
                let end = bytes.len() - image.len();
                bytes[end - 1] ^= 1;
                bytes
            }
            Sample::LatticeOnly => {
                let mut bytes = by(&[anna, ben])?;
                let place = elliptic(&bytes[..bytes.len() - image.len()])?;
                bytes[place] ^= 1;
                bytes
            }
            Sample::Stranger => by(&[&self.strangers[0], &self.strangers[1]])?,
            Sample::TooFew => by(&[anna])?,
            Sample::Expired => by(&[anna, &self.expired])?,
            Sample::Revoked => by(&[anna, &self.revoked])?,
            Sample::OtherVendor => {
                manifest.vendor = "Somebody".to_owned();
                self.write(&manifest, &image).map_err(|error| cannot(&error))?
            }
            Sample::OtherType => {
                manifest.device_type = "MS1".to_owned();
                self.write(&manifest, &image).map_err(|error| cannot(&error))?
            }
            Sample::OtherHardware => {
                manifest.hardware = vec!["Z".to_owned()];
                self.write(&manifest, &image).map_err(|error| cannot(&error))?
            }
            Sample::AlteredPayload => {
                let mut bytes = by(&[anna, ben])?;
                let end = bytes.len();
                bytes[end - 100] ^= 0x10;
                bytes[end - IMAGE_BYTES / 2] ^= 1;
                bytes
            }
            Sample::AlteredManifest => {
                let mut bytes = by(&[anna, ben])?;
                let version = manifest.version.as_bytes();
                let place = bytes.windows(version.len()).position(|part| part == version);
                let place = place.ok_or_else(|| cannot(&"the manifest shows no version"))?;
                bytes[place + version.len() - 1] ^= 1;
                bytes
            }
            Sample::Truncated => {
                let mut bytes = by(&[anna, ben])?;
                bytes.truncate(bytes.len() - IMAGE_BYTES / 3);
                bytes
            }
            Sample::Swapped => {
                let (this, that) = (by(&[anna, ben])?, self.first.clone());
                let front = this.len() - image.len();
                [&this[..front], Package::read(&that).map_err(|error| cannot(&error))?.payload()].concat()
            }
            Sample::Bomb => {
                let stored = pack::deflate(&vec![0; 8 << 20]);
                manifest.stored = Digests::of(&stored);
                manifest.packing = Packing::Deflated;
                self.write(&manifest, &stored).map_err(|error| cannot(&error))?
            }
            Sample::Sound
            | Sample::Hangs
            | Sample::Crashes
            | Sample::CrashesLater
            | Sample::Unreachable
            | Sample::MeasuresWrong => by(&[anna, ben])?,
        };
        Ok(Offered { bytes, image: manifest.image.digest, version: manifest.version, sequence })
    }

    fn target() -> Target {
        Target {
            vendor: VENDOR.to_owned(),
            device_type: DEVICE_TYPE.to_owned(),
            hardware: HARDWARE.to_owned(),
            class_key: None,
        }
    }

    /// The factory's part: the partition behind what the meter itself uses.
    pub(super) fn provision(&self, memory: &Memory, now: UnixMillis) -> Result<(), Trouble> {
        let size =
            base() as usize + LAYOUT.size(<Memory as embedded_storage::nor_flash::NorFlash>::ERASE_SIZE);
        memory.bytes().resize(size, 0xFF);
        provision(memory.clone(), base(), LAYOUT, &Self::target(), &self.root, &self.first, Some(now))
            .map_err(|error| cannot(&error))
    }

    /// One power-on: what the boot stage starts.
    pub(super) fn boot(&self, memory: &Memory) -> Result<Program, Trouble> {
        let refuses = |why: String| Trouble::Meter(format!("its boot stage starts nothing: {why}"));
        let mut loaded = Vec::new();
        let booted = boot(memory.clone(), base(), LAYOUT, &Self::target(), &mut loaded)
            .map_err(|error| refuses(error.to_string()))?;
        let manifest = booted.manifest.ok_or_else(|| refuses("no image in its flash verifies".to_owned()))?;
        let image: Digest384 = manifest.image.digest;
        let key = self.stage.image_key(identifier(), &image, Ground::Simulated);
        let (key, certificate) = key.map_err(|error| refuses(error.to_string()))?;
        let line = loaded.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let word = line.strip_prefix(b"MSBENCH ").unwrap_or_default();
        let behaviour = BEHAVIOURS.iter().find(|(_, known)| known.as_bytes() == word);
        let identity = ImageIdentity {
            boot_chain: Vec::new(),
            certificate,
            key: key.key_id(),
            version: manifest.version,
            image,
            sequence: manifest.sequence,
        };
        // Bytes that are no program hang.
        Ok(Program { identity, key, behaviour: behaviour.map_or(Behaviour::Hangs, |(known, _)| *known) })
    }

    /// What the running image has of the partition.
    pub(super) fn store(&self, memory: &Memory) -> Result<FirmwareStore<Memory>, Trouble> {
        FirmwareStore::open(memory.clone(), base(), LAYOUT, Self::target()).map_err(|error| {
            let error: meterseal_meter::firmware::FirmwareError<NorFlashErrorKind> = error;
            Trouble::Meter(format!("its firmware partition fails: {error}"))
        })
    }
}

/// Where the partition begins.
fn base() -> u32 {
    (meterseal_meter::Layout::STANDARD.size() as u32)
        .next_multiple_of(<Memory as embedded_storage::nor_flash::NorFlash>::ERASE_SIZE as u32)
}

fn cannot(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Bench(format!("a firmware package could not be made: {error}"))
}

/// The same package with an empty list of signatures: the envelope's last item.
fn without_signatures(package: &[u8]) -> Result<Vec<u8>, Trouble> {
    let read = Package::read(package).map_err(|error| cannot(&error))?;
    let (_, signed) = read.claim().map_err(|error| cannot(&error))?;
    let content = signed.unverified_payload();
    let place = read.envelope().windows(content.len()).position(|part| part == content);
    let end = place.ok_or_else(|| cannot(&"its manifest is not found"))? + content.len();
    let mut envelope = read.envelope()[..end].to_vec();
    // An array without elements (RFC 8949).
    envelope.push(0x80);
    let header = &package[..HEADER_LENGTH - 4];
    Ok([header, &(envelope.len() as u32).to_be_bytes(), &envelope, read.payload()].concat())
}

/// Where the last elliptic signature lies: a byte string of 96.
fn elliptic(front: &[u8]) -> Result<usize, Trouble> {
    const SIGNATURE: usize = 96;
    // Before the last lattice signature, which is 4627 bytes long.
    const LATTICE: usize = 4627;
    let until = front.len().saturating_sub(LATTICE);
    let place = front[..until].windows(2).rposition(|head| head == [0x58, SIGNATURE as u8]);
    place.map(|place| place + 2 + SIGNATURE / 2).ok_or_else(|| cannot(&"its elliptic signature is not found"))
}
