//! Meters that take what they must refuse, start what they must not, or say of their firmware what is not true. Those that take bad packages know
//! the run's signing keys, and mend a package before the sound judgement sees it.

use std::fmt;
use std::sync::Arc;

use meterseal_bench::certify::{Made, Maker, Specimen, Trouble, VirtualMeter};
use meterseal_meter::firmware::{Health, Probation};
use meterseal_meter::{
    Activation, BootState, ImageError, ImageInfo, ImageProgress, ImageStatus, ImageStore, Layout,
    SECTOR_BYTES,
};
use meterseal_model::{Digest384, EventCode, UnixMillis};
use meterseal_seal::firmware::{Digests, Manifest, Package, PackageError, TrustRoot};

use crate::{Defective, Flaw, Kind, Mutant};

/// What a defective place for new firmware does otherwise than the sound one.
#[derive(Clone, Copy)]
struct Ways {
    /// Another package in place of the one that came; `None` leaves it.
    mend: fn(&Maker, &[u8], u64) -> Option<Vec<u8>>,
    /// It starts what waits, whatever was named.
    any_digest: bool,
    /// It starts what waits without an order.
    unasked: bool,
    /// What it says of its slots.
    says: fn(BootState) -> BootState,
}

const SOUND: Ways = Ways { mend: |_, _, _| None, any_digest: false, unasked: false, says: |state| state };

/// The place for new firmware with other ways.
struct Crooked {
    inner: Box<dyn ImageStore>,
    maker: Arc<Maker>,
    ways: Ways,
    identifier: Vec<u8>,
    package: Vec<u8>,
    /// The package has been mended and handed on.
    handed: bool,
}

impl fmt::Debug for Crooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crooked({:?})", self.inner)
    }
}

impl Crooked {
    fn boxed(inner: Box<dyn ImageStore>, maker: Arc<Maker>, ways: Ways) -> Box<dyn ImageStore> {
        Box::new(Self { inner, maker, ways, identifier: Vec::new(), package: Vec::new(), handed: false })
    }

    fn hand_on(&mut self) -> Result<(), ImageError> {
        let highest = self.inner.boot_state().map_or(0, |state| state.highest);
        let Some(mended) = (self.ways.mend)(&self.maker, &self.package, highest) else { return Ok(()) };
        let identifier: Vec<u8> = self.identifier.iter().map(|byte| !byte).collect();
        self.inner.initiate(&identifier, mended.len() as u32)?;
        let size = self.inner.block_bytes() as usize;
        (0..).zip(mended.chunks(size)).try_for_each(|(block, content)| self.inner.keep(block, content))
    }
}

impl ImageStore for Crooked {
    fn is_enabled(&self) -> bool {
        self.inner.is_enabled()
    }

    fn block_bytes(&self) -> u32 {
        self.inner.block_bytes()
    }

    fn status(&self) -> ImageStatus {
        self.inner.status()
    }

    fn blocks(&self) -> u32 {
        self.inner.blocks()
    }

    fn holds(&self, block: u32) -> bool {
        self.inner.holds(block)
    }

    fn initiate(&mut self, identifier: &[u8], bytes: u32) -> Result<(), ImageError> {
        self.handed = false;
        self.identifier = identifier.to_vec();
        self.package = vec![0; bytes as usize];
        self.inner.initiate(identifier, bytes)
    }

    fn keep(&mut self, block: u32, content: &[u8]) -> Result<(), ImageError> {
        let from = block as usize * self.inner.block_bytes() as usize;
        if let Some(place) = self.package.get_mut(from..from + content.len()) {
            place.copy_from_slice(content);
        }
        self.inner.keep(block, content)
    }

    fn verify(&mut self) -> Result<ImageProgress, ImageError> {
        if !self.handed {
            self.handed = true;
            self.hand_on()?;
        }
        self.inner.verify()
    }

    fn activate(&mut self, order: &Activation) -> Result<ImageProgress, ImageError> {
        let waiting = self.inner.to_activate().and_then(|image| image.signature.try_into().ok());
        match (self.ways.any_digest, waiting) {
            (true, Some(digest)) => {
                self.inner.activate(&Activation { digest: Some(Digest384(digest)), ..*order })
            }
            _ => self.inner.activate(order),
        }
    }

    fn to_activate(&self) -> Option<ImageInfo> {
        self.inner.to_activate()
    }

    fn boot_state(&self) -> Option<BootState> {
        self.inner.boot_state().map(self.ways.says)
    }

    fn is_busy(&self) -> bool {
        self.inner.is_busy()
    }

    fn carry_on(&mut self, now: UnixMillis) -> Result<bool, ImageError> {
        if self.ways.unasked
            && self.inner.status() == ImageStatus::Verified
            && let Some(digest) = self.inner.to_activate().and_then(|image| image.signature.try_into().ok())
        {
            self.inner.activate(&Activation { digest: Some(Digest384(digest)), at: None, now })?;
        }
        self.inner.carry_on(now)
    }

    fn events(&self) -> Vec<(EventCode, i64)> {
        self.inner.events()
    }

    fn logged(&mut self) -> Result<(), ImageError> {
        self.inner.logged()
    }

    fn prove(&mut self, health: Health, uptime_ms: u64) -> Result<Probation, ImageError> {
        self.inner.prove(health, uptime_ms)
    }
}

/// The same content, signed by all whose signatures count.
fn signed(maker: &Maker, manifest: &Manifest, payload: &[u8]) -> Option<Vec<u8>> {
    maker.write(manifest, payload).ok()
}

fn taken_apart(package: &[u8]) -> Option<(Manifest, &[u8])> {
    let read = Package::read(package).ok()?;
    Some((read.claim().ok()?.0, read.payload()))
}

/// Whether it is signed and whole under this root.
fn is_good(package: &[u8], root: &TrustRoot) -> Result<Manifest, PackageError> {
    Package::read(package)?.verify(root, None)
}

/// One signer is enough for it.
fn one_signer(maker: &Maker, package: &[u8], _: u64) -> Option<Vec<u8>> {
    let root = TrustRoot { thresholds: [1, 1, 0], ..maker.trust().clone() };
    is_good(package, &root).ok()?;
    let (manifest, payload) = taken_apart(package)?;
    signed(maker, &manifest, payload)
}

/// Any signature, or none, is enough for it.
fn any_signature(maker: &Maker, package: &[u8], _: u64) -> Option<Vec<u8>> {
    let (manifest, payload) = taken_apart(package)?;
    (Digests::of(payload) == manifest.stored).then(|| signed(maker, &manifest, payload))?
}

/// What is older is new to it.
fn older(maker: &Maker, package: &[u8], highest: u64) -> Option<Vec<u8>> {
    let mut manifest = is_good(package, maker.trust()).ok()?;
    manifest.sequence = manifest.sequence.max(highest + 1);
    signed(maker, &manifest, Package::read(package).ok()?.payload())
}

/// What is for other devices is for it.
fn other_device(maker: &Maker, package: &[u8], _: u64) -> Option<Vec<u8>> {
    let manifest = is_good(package, maker.trust()).ok()?;
    let payload = Package::read(package).ok()?.payload();
    let own = maker.manifest(payload, manifest.sequence);
    let (vendor, device_type, hardware) = (own.vendor, own.device_type, own.hardware);
    signed(maker, &Manifest { vendor, device_type, hardware, ..manifest }, payload)
}

/// It does not look whether the payload is the one that was signed.
fn altered(maker: &Maker, package: &[u8], _: u64) -> Option<Vec<u8>> {
    let (mut manifest, payload) = taken_apart(package)?;
    if manifest.image != manifest.stored {
        return None;
    }
    (manifest.image, manifest.stored) = (Digests::of(payload), Digests::of(payload));
    signed(maker, &manifest, payload)
}

/// Whoever alters its image while it is off finds it unaltered when it is on.
#[derive(Default)]
struct Unverified {
    /// Its flash when its supply went.
    kept: Option<Vec<u8>>,
}

impl Flaw for Unverified {
    fn supply(&mut self, meter: &mut VirtualMeter, on: bool) -> Result<(), Trouble> {
        match (on, self.kept.take()) {
            // What it starts is what it has started before, whatever its flash holds now.
            (true, Some(kept)) => meter.memory().bytes().copy_from_slice(&kept),
            _ => self.kept = Some(meter.memory().bytes().clone()),
        }
        meter.supply(on)
    }
}

/// The sectors of its chip that hold its security log.
fn log() -> std::ops::Range<usize> {
    let (layout, sector) = (Layout::STANDARD, SECTOR_BYTES as usize);
    let from = (1 + layout.state_sectors + layout.register_sectors) as usize * sector;
    from..from + layout.log_sectors as usize * sector
}

fn made(
    name: &'static str,
    flaw: &'static str,
    breaks: &'static [&'static str],
    change: fn(&mut Made),
) -> Mutant {
    // Whoever takes or says something wrong does so in every test of firmware.
    Mutant { name, flaw, breaks, touches: &["FIR", "EXT-04", "VER-02", "DEP-0"], kind: Kind::Made(change) }
}

pub(crate) fn mutants() -> Vec<Mutant> {
    vec![
        made("one-signer", "One of two signers is enough for firmware.", &["FIR-01", "DEP-02"], |made| {
            made.image_store =
                Some(|store, maker| Crooked::boxed(store, maker, Ways { mend: one_signer, ..SOUND }));
        }),
        made("any-signature", "Nobody's signature is needed for firmware.", &["FIR-01", "DEP-02"], |made| {
            made.image_store =
                Some(|store, maker| Crooked::boxed(store, maker, Ways { mend: any_signature, ..SOUND }));
        }),
        made("firmware-rollback", "Older firmware is taken.", &["FIR-02"], |made| {
            made.image_store =
                Some(|store, maker| Crooked::boxed(store, maker, Ways { mend: older, ..SOUND }));
        }),
        made("other-device", "Firmware for other devices is taken.", &["FIR-03"], |made| {
            made.image_store =
                Some(|store, maker| Crooked::boxed(store, maker, Ways { mend: other_device, ..SOUND }));
        }),
        made("altered-payload", "The payload's digest is not checked.", &["FIR-04"], |made| {
            made.image_store =
                Some(|store, maker| Crooked::boxed(store, maker, Ways { mend: altered, ..SOUND }));
        }),
        made(
            "any-digest",
            "Whatever waits is started, whichever was named.",
            &["FIR-05", "DEP-03"],
            |made| {
                made.image_store =
                    Some(|store, maker| Crooked::boxed(store, maker, Ways { any_digest: true, ..SOUND }));
            },
        ),
        made("unasked", "Verified firmware is started without an order.", &["FIR-05", "DEP-03"], |made| {
            made.image_store =
                Some(|store, maker| Crooked::boxed(store, maker, Ways { unasked: true, ..SOUND }));
        }),
        Mutant {
            name: "boot-unverified",
            flaw: "Its flash is not looked at when its supply comes.",
            breaks: &["FIR-06"],
            touches: &["FIR", "INF", "DEV", "BIL", "TMP"],
            kind: Kind::Wrapped(|meter| -> Box<dyn Specimen> {
                Defective::boxed(meter, Unverified::default())
            }),
        },
        made(
            "revert-loses-log",
            "With the third start of new firmware its log is gone.",
            &["FIR-08", "EXT-04"],
            |made| {
                made.at_start = Some(|memory, starts| {
                    if starts.is_multiple_of(3) {
                        memory.bytes()[log()].fill(0xFF);
                    }
                });
            },
        ),
        made("update-loses-energy", "An update puts its registers back by a start.", &["FIR-09"], |made| {
            made.at_start = Some(|memory, starts| {
                if starts > 2 {
                    let (layout, sector) = (Layout::STANDARD, SECTOR_BYTES as usize);
                    let from = (1 + layout.state_sectors) as usize * sector;
                    memory.bytes()[from..from + layout.register_sectors as usize * sector].fill(0xFF);
                }
            });
        }),
        made("false-slots", "It attests another sequence number than its image's.", &["FIR-10"], |made| {
            made.image_store = Some(|store, maker| {
                let says = |mut state: BootState| {
                    state.slots.iter_mut().for_each(|slot| slot.sequence += 1);
                    state
                };
                Crooked::boxed(store, maker, Ways { says, ..SOUND })
            });
        }),
        made("stale-attestation", "It answers questions with an earlier signature.", &["FIR-10"], |made| {
            made.attests = Some(|earlier, fresh| {
                earlier.push(fresh);
                earlier[0]
            });
        }),
    ]
}
