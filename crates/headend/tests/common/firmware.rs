//! Firmware in a test meter: a partition of its own, a boot stage that runs at each start, and a maker who signs.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use meterseal_meter::firmware::{Booted, FirmwareLayout, FirmwareStore, Target, boot, provision};
use meterseal_meter::{ImageIdentity, Meter, Random};
use meterseal_model::{Digest384, MeterId, UnixMillis};
use meterseal_seal::attestation::{BootStage, Ground};
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Packing, Role as SignerRole, TrustRoot, TrustedKey, package,
};
use meterseal_seal::{Mark, SealKey, Signer as _};

use super::meter::{Flash, wall};
use super::{DEVICE_TYPE, Utility, id};

pub const LAYOUT: FirmwareLayout =
    FirmwareLayout { slot_bytes: 128 << 10, envelope_bytes: 8 << 10, root_bytes: 16 << 10, journal_units: 2 };

/// Who signs firmware.
pub struct Maker {
    key: FirmwareKey,
    pub root: Vec<u8>,
    target: Target,
}

impl Maker {
    /// With a key of its own for each seed.
    pub fn new(seed: u8) -> Self {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(seed);
            Ok::<(), Infallible>(())
        };
        let key = FirmwareKey::generate(fill).unwrap();
        let trusted = TrustedKey {
            name: "Signer".into(),
            key: key.public().clone(),
            roles: vec![SignerRole::Root, SignerRole::Release],
            expires: UnixMillis(4_000_000_000_000),
        };
        let root = TrustRoot { version: 1, thresholds: [1, 1, 0], keys: vec![trusted] };
        let target = Target {
            vendor: "Meterseal".into(),
            device_type: DEVICE_TYPE.into(),
            hardware: "A".into(),
            class_key: None,
        };
        Self { root: root.sign(&[&key]).unwrap(), key, target }
    }

    /// A package with this image, version and sequence number `sequence`.
    pub fn package(&self, image: &[u8], sequence: u64) -> Vec<u8> {
        let manifest = Manifest {
            vendor: "Meterseal".into(),
            device_type: DEVICE_TYPE.into(),
            hardware: vec!["A".into()],
            version: format!("1.0.{sequence}"),
            sequence,
            minimum_previous: 0,
            image: Digests::of(image),
            stored: Digests::of(image),
            packing: Packing::Plain,
            encryption: None,
            not_before: None,
        };
        package::write(&manifest, image, &[&self.key]).unwrap()
    }
}

/// What repeats nowhere.
pub fn image(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| byte()).collect()
}

pub fn digest(image: &[u8]) -> Digest384 {
    Digests::of(image).digest
}

impl Utility {
    /// Puts the maker's trust root where the head-end looks for it.
    pub fn trust_firmware(&self, maker: &Maker) {
        let folder = self.data().join("firmware");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("trust.cbor"), &maker.root).unwrap();
    }

    /// A development mark for an image.
    pub fn mark(&self, image: Digest384) -> Vec<u8> {
        let far = UnixMillis(4_000_000_000_000);
        let mark = Mark::development(DEVICE_TYPE, "virtual", image, "Test authority", UnixMillis(0), far);
        mark.sign(&self.pki.certification_signer().unwrap()).unwrap()
    }
}

/// How a meter treats what it is told to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It starts it, and the image proves itself.
    Honest,
    /// The image finds that it measures wrong, and goes back by itself.
    GoesBack,
    /// The old image goes on running, and says that it is the new one.
    Lies,
    /// It does not say what it runs: software from before attestation.
    Mute,
}

/// The slots of a meter, and its boot stage. They outlive the meter's restarts.
#[derive(Clone)]
pub struct Slots {
    chip: Flash,
    target: Target,
    boot_secret: [u8; 32],
    boot_chain: Vec<Vec<u8>>,
    manner: Manner,
    pub report: Arc<Mutex<Report>>,
}

/// What a test sees of a meter from inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub starts: u32,
    pub runs: Option<Digest384>,
    /// Sequence numbers that ever ran.
    pub ran: BTreeSet<u64>,
    /// What it ran first: version, digest, sequence number.
    pub first: Option<(String, Digest384, u64)>,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").field("manner", &self.manner).finish_non_exhaustive()
    }
}

/// What the boot stage hands to the image that it starts.
pub struct Running {
    pub version: String,
    pub digest: Digest384,
    key: SealKey,
    identity: ImageIdentity,
    slots: Slots,
}

impl Slots {
    /// A meter as it leaves the factory, with a first image of sequence 1.
    pub fn new(utility: &Utility, maker: &Maker, serial: u64, first: &[u8], manner: Manner) -> Self {
        let mut boot_secret = [7; 32];
        boot_secret[..8].copy_from_slice(&serial.to_be_bytes());
        let stage = BootStage::new(&boot_secret);
        let chain = utility.pki.certify_boot_key(id(serial), stage.public()).unwrap();
        let mut chip = Flash::sized(LAYOUT.size(4096));
        let package = maker.package(first, 1);
        provision(&mut chip, 0, LAYOUT, &maker.target, &maker.root, &package, Some(wall())).unwrap();
        Self {
            chip,
            target: maker.target.clone(),
            boot_secret,
            boot_chain: chain.iter().map(|der| der.to_vec()).collect(),
            manner,
            report: Arc::default(),
        }
    }

    /// The same meter with the boot stage of another: its board was replaced.
    pub fn with_other_boot_stage(&self, utility: &Utility, serial: u64) -> Self {
        let boot_secret = [9; 32];
        let chain = utility.pki.certify_boot_key(id(serial), BootStage::new(&boot_secret).public()).unwrap();
        Self { boot_secret, boot_chain: chain.iter().map(|der| der.to_vec()).collect(), ..self.clone() }
    }

    /// The same meter with other ways.
    pub fn in_manner(&self, manner: Manner) -> Self {
        Self { manner, ..self.clone() }
    }

    /// The flash as it is now: put back later, it is an older state of the same meter.
    pub fn copy(&self) -> Self {
        Self { chip: self.chip.copy(), ..self.clone() }
    }

    /// Power-on.
    pub fn start(&self, meter: MeterId) -> Running {
        let first = self.report.lock().unwrap().first.clone();
        let (version, digest, sequence) = match first {
            // The boot stage has no say: the old image starts itself again.
            Some(first) if self.manner == Manner::Lies => first,
            _ => {
                let mut loaded = Vec::new();
                let Booted { run, manifest, .. } =
                    boot(self.chip.clone(), 0, LAYOUT, &self.target, &mut loaded).unwrap();
                let manifest = manifest.unwrap_or_else(|| panic!("nothing boots: {run:?}"));
                (manifest.version, manifest.image.digest, manifest.sequence)
            }
        };
        let stage = BootStage::new(&self.boot_secret);
        let (key, certificate) = stage.image_key(meter, &digest, Ground::Simulated).unwrap();
        {
            let mut report = self.report.lock().unwrap();
            report.starts += 1;
            report.runs = Some(digest);
            report.ran.insert(sequence);
            report.first.get_or_insert((version.clone(), digest, sequence));
        }
        let identity = ImageIdentity {
            boot_chain: self.boot_chain.clone(),
            certificate,
            key: key.key_id(),
            version: version.clone(),
            image: digest,
            sequence,
        };
        Running { version, digest, key, identity, slots: self.clone() }
    }

    fn store(&self) -> FirmwareStore<Flash> {
        let mut store = FirmwareStore::open(self.chip.clone(), 0, LAYOUT, self.target.clone()).unwrap();
        // A test does not wait the minute and a half that a meter does.
        store.set_least_probation(500);
        store
    }

    /// What a lying image says that it is: the newest one that it holds.
    pub fn claimed(&self, running: &Running) -> (String, Digest384) {
        match self.store().record().images.iter().flatten().max_by_key(|image| image.sequence) {
            Some(newest) if self.manner == Manner::Lies => {
                (format!("1.0.{}", newest.sequence), newest.image.digest)
            }
            _ => (running.version.clone(), running.digest),
        }
    }
}

impl Running {
    pub fn claimed(&self) -> (String, Digest384) {
        self.slots.claimed(self)
    }

    /// Gives the meter its store and its identity.
    pub fn join<R: Random>(&self, meter: &mut Meter<Flash, R>) {
        meter.set_image_store(Box::new(self.slots.store()));
        if self.slots.manner != Manner::Mute {
            meter.set_image_identity(self.identity.clone());
        }
    }

    /// A short step of what goes on beside the measuring. `true`: the meter restarts.
    pub fn carry_on<R: Random>(&self, meter: &mut Meter<Flash, R>) -> bool {
        while let Some(request) = meter.attestation_request() {
            let signature = self.key.sign(&request.to_be_signed).unwrap();
            meter.attested(request.number, Some(&signature));
        }
        if self.identity.sequence > 1 && self.slots.manner == Manner::GoesBack {
            self.slots.store().give_up().unwrap();
            return true;
        }
        let lies_already = self.slots.manner == Manner::Lies && self.slots.report.lock().unwrap().starts > 1;
        // Its own image store goes on asking for the restart that it has had.
        (0..16).any(|_| meter.carry_on_firmware().unwrap()) && !lies_already
    }
}
