//! The firmware partition as the image that runs sees it: takes transfers, judges packages, takes activations, and says
//! whether a new image has proved itself.

use alloc::string::String;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{Digest384, EventCode, Role, UnixMillis};
use meterseal_seal::firmware::{Digests, Manifest, Package, Running, TrustRoot, Unpacker, package};
use sha2::{Digest as _, Sha384};
use zeroize::Zeroizing;

use super::error::{FirmwareError, Refusal};
use super::install::{Next, Ports, Work, installed};
use super::journal::Journal;
use super::layout::FirmwareLayout;
use super::memory::{Memory, Writer};
use super::record::{
    BootRecord, Candidate, MAX_IDENTIFIER, Phase, Reason, RootPlace, Slot, Transfer, TransferStatus,
};
use super::staging::Staging;
use super::{PROBATION_MS, TRIES};

/// What a package must be for.
#[derive(Clone, Debug)]
pub struct Target {
    /// Who made the device.
    pub vendor: String,
    /// Its type, as it states it.
    pub device_type: String,
    /// Its hardware revision.
    pub hardware: String,
    /// The key of its class, for packages that are enciphered.
    pub class_key: Option<Zeroizing<[u8; 32]>>,
}

impl Target {
    pub(super) fn fits(&self, manifest: &Manifest) -> bool {
        manifest.vendor == self.vendor
            && manifest.device_type == self.device_type
            && manifest.hardware.contains(&self.hardware)
    }

    pub(super) fn running<E: core::fmt::Debug>(
        &self,
        record: &BootRecord,
        slot: u32,
        now: Option<UnixMillis>,
    ) -> Result<Running, FirmwareError<E>> {
        let image = record.image(record.active).ok_or(FirmwareError::Unprovisioned)?.image;
        Ok(self.running_image(image, record.highest, slot, now))
    }

    fn running_image(&self, image: Digests, sequence: u64, slot: u32, now: Option<UnixMillis>) -> Running {
        Running {
            vendor: self.vendor.clone(),
            device_type: self.device_type.clone(),
            hardware: self.hardware.clone(),
            sequence,
            image,
            slot: slot.into(),
            now,
        }
    }
}

/// What an image on probation has shown since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// It has measured, within what its own checks take for right.
    pub measured: bool,
    /// Its events and registers are in flash.
    pub logged: bool,
    /// An authenticated association with its head-end stood.
    pub reached_head_end: bool,
}

/// What becomes of an image on probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probation {
    /// It is not on probation.
    None,
    /// It has yet to show something.
    Waiting,
    /// It is confirmed, just now.
    Confirmed,
    /// Its time is over: restart.
    Restart,
}

/// What a step of the verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to do.
    Idle,
    /// There is more to do.
    UnderWay,
    /// The image waits for its activation.
    Verified,
    /// It is none to run.
    Refused(Refusal),
}

/// The firmware partition.
#[derive(Debug)]
pub struct FirmwareStore<F> {
    memory: Memory<F>,
    journal: Journal,
    record: BootRecord,
    target: Target,
    staging: Staging,
    work: Option<Work>,
    least_probation_ms: u64,
}

impl<F: NorFlash> FirmwareStore<F> {
    /// Opens the partition at `base` of a chip, after [`boot`](super::boot). A verification that was under way begins
    /// anew by itself.
    ///
    /// # Errors
    /// [`FirmwareError::Layout`], [`FirmwareError::Unprovisioned`], or the flash's.
    pub fn open(
        flash: F,
        base: u32,
        layout: FirmwareLayout,
        target: Target,
    ) -> Result<Self, FirmwareError<F::Error>> {
        let mut memory = Memory::new(flash, base, layout)?;
        let (journal, record) = Journal::open(&mut memory)?;
        let record = record.ok_or(FirmwareError::Unprovisioned)?;
        let bytes = record.transfer.as_ref().map_or(0, |transfer| transfer.bytes);
        let bytes = if bytes.div_ceil(super::BLOCK_BYTES) > memory.map.blocks() { 0 } else { bytes };
        let staging = Staging::open(&mut memory, record.transfers, bytes)?;
        let verifying = record.transfer.as_ref().is_some_and(|it| it.status == TransferStatus::Verifying);
        let work = verifying.then_some(Work::Envelope);
        let least_probation_ms = super::LEAST_PROBATION_MS;
        Ok(Self { memory, journal, record, target, staging, work, least_probation_ms })
    }

    /// Another least time on probation than [`LEAST_PROBATION_MS`](super::LEAST_PROBATION_MS).
    pub const fn set_least_probation(&mut self, milliseconds: u64) {
        self.least_probation_ms = milliseconds;
    }

    /// What is in force.
    pub const fn record(&self) -> &BootRecord {
        &self.record
    }

    /// Whether a verification is under way, an image waits for the next start, or events wait for the security log.
    pub const fn is_busy(&self) -> bool {
        self.work.is_some()
            || self.record.unlogged != 0
            || matches!(self.record.candidate, Some(Candidate { phase: Phase::Armed, .. }))
    }

    /// Whether a transfer may begin or go on: not while a new image is to be tried, because the slot that it would be
    /// installed in holds the way back.
    pub const fn is_enabled(&self) -> bool {
        !matches!(
            self.record.candidate,
            Some(Candidate { phase: Phase::Scheduled(_) | Phase::Armed | Phase::Probation, .. })
        )
    }

    /// Blocks of the present transfer.
    pub fn blocks(&self) -> u32 {
        self.staging.blocks()
    }

    /// Whether a block of it is there.
    pub fn holds(&self, block: u32) -> bool {
        self.staging.holds(block)
    }

    /// The first block that is missing.
    pub fn first_missing(&self) -> Option<u32> {
        self.staging.first_missing()
    }

    /// Begins a transfer of a package of so many bytes, or goes on with the one of the same name and length. The
    /// identifier should name the content, for example by its digest.
    ///
    /// # Errors
    /// [`FirmwareError::Order`], [`FirmwareError::Bounds`], or the flash's.
    pub fn initiate(&mut self, identifier: &[u8], bytes: u32) -> Result<(), FirmwareError<F::Error>> {
        self.enabled()?;
        let possible = bytes > 0 && bytes.div_ceil(super::BLOCK_BYTES) <= self.memory.map.blocks();
        if !possible || !(1..=MAX_IDENTIFIER).contains(&identifier.len()) {
            return Err(FirmwareError::Bounds);
        }
        let goes_on = self.record.transfer.as_ref().is_some_and(|transfer| {
            use TransferStatus::{Initiated, Verified, Verifying};
            transfer.identifier == identifier
                && transfer.bytes == bytes
                && matches!(transfer.status, Initiated | Verifying | Verified)
        });
        if goes_on {
            return Ok(());
        }
        let mut next = self.record.clone();
        next.transfers = next.transfers.wrapping_add(1);
        let status = TransferStatus::Initiated;
        next.transfer = Some(Transfer { identifier: identifier.to_vec(), bytes, status });
        if next.candidate.is_some() {
            next.clear_candidate();
        }
        next.unlogged |= unlogged::TRANSFER;
        self.put(next)?;
        self.work = None;
        self.staging = Staging::new(self.record.transfers, bytes);
        Ok(())
    }

    /// Puts a block into flash; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`FirmwareError::Order`], [`FirmwareError::Bounds`], or the flash's; the block is then missing.
    pub fn keep(&mut self, block: u32, content: &[u8]) -> Result<(), FirmwareError<F::Error>> {
        self.enabled()?;
        match self.status() {
            Some(TransferStatus::Initiated) => self.staging.keep(&mut self.memory, block, content),
            // What comes again after the last block was there.
            Some(TransferStatus::Verifying | TransferStatus::Verified) if self.holds(block) => Ok(()),
            _ => Err(FirmwareError::Order("no transfer is under way: initiate it")),
        }
    }

    /// Asks for the judgement of the package, which [`step`](Self::step) then comes to.
    ///
    /// # Errors
    /// [`FirmwareError::Order`], [`FirmwareError::Incomplete`], or the flash's.
    pub fn verify(&mut self) -> Result<(), FirmwareError<F::Error>> {
        self.enabled()?;
        use TransferStatus::{
            Activated, ActivationFailed, Initiated, VerificationFailed, Verified, Verifying,
        };
        match self.status() {
            None | Some(Activated) => Err(FirmwareError::Order("no transfer is under way: initiate it")),
            Some(Verifying) => Ok(()),
            Some(Verified) if self.is_ready() => Ok(()),
            Some(
                Initiated | Verified | VerificationFailed | ActivationFailed | TransferStatus::Activating,
            ) => {
                if let Some(first) = self.first_missing() {
                    return Err(FirmwareError::Incomplete { first });
                }
                let mut next = self.record.clone();
                set_status(&mut next, Verifying);
                self.put(next)?;
                self.work = Some(Work::Envelope);
                Ok(())
            }
        }
    }

    /// Carries a verification on by one short step; to be called between two blocks of samples, or by whoever has time.
    /// A package that is refused is recorded as refused.
    ///
    /// # Errors
    /// The flash's. The verification begins anew with the next start.
    pub fn step(&mut self, now: Option<UnixMillis>) -> Result<Step, FirmwareError<F::Error>> {
        let Some(work) = self.work.take() else { return Ok(Step::Idle) };
        match work.step(&mut self.memory, &self.staging, &self.record, &self.target, now) {
            Ok(Next::Work(work)) => {
                self.work = Some(work);
                Ok(Step::UnderWay)
            }
            Ok(Next::Clear(manifest)) => {
                let mut next = self.record.clone();
                next.clear_candidate();
                self.put(next)?;
                self.work = Some(Work::Clear { manifest });
                Ok(Step::UnderWay)
            }
            Ok(Next::Installed(installed)) => {
                let mut next = self.record.clone();
                next.set_candidate(installed);
                set_status(&mut next, TransferStatus::Verified);
                next.refusal = 0;
                next.unlogged |= unlogged::READY;
                self.put(next)?;
                Ok(Step::Verified)
            }
            Err(FirmwareError::Refused(refusal)) => {
                let mut next = self.record.clone();
                set_status(&mut next, TransferStatus::VerificationFailed);
                next.refusal = refusal.number();
                next.unlogged |= unlogged::REFUSED;
                self.put(next)?;
                Ok(Step::Refused(refusal))
            }
            Err(error) => Err(error),
        }
    }

    /// The image that may be activated.
    pub fn ready(&self) -> Option<&super::Installed> {
        self.is_ready().then(|| self.record.image(self.record.active.other())).flatten()
    }

    /// Activates the image that waits, named by its digest, at once or at a given time. For the firmware role only.
    ///
    /// # Errors
    /// [`FirmwareError::Role`], [`FirmwareError::Order`] when nothing waits, [`FirmwareError::Refused`], or the flash's.
    pub fn activate(
        &mut self,
        role: Role,
        digest: &Digest384,
        at: Option<UnixMillis>,
        now: Option<UnixMillis>,
    ) -> Result<(), FirmwareError<F::Error>> {
        if role != Role::Firmware {
            return Err(FirmwareError::Role(role));
        }
        let Some(waiting) = self.ready() else {
            return Err(FirmwareError::Order("no verified image waits: verify one first"));
        };
        let due = at.or(now);
        let refusal = if waiting.image.digest != *digest {
            Some(Refusal::Digest { have: waiting.image.digest })
        } else if waiting.root.digest != self.record.root.digest {
            Some(Refusal::RootChanged)
        } else if waiting.not_before.is_some_and(|earliest| due.is_none_or(|due| due < earliest)) {
            Some(Refusal::TooEarly)
        } else {
            None
        };
        let mut next = self.record.clone();
        if let Some(refusal) = refusal {
            next.refusal = refusal.number();
            next.unlogged |= unlogged::REFUSED;
            self.put(next)?;
            return Err(refusal.into());
        }
        let later = at.filter(|&at| now.is_none_or(|now| at > now));
        let phase = later.map_or(Phase::Armed, Phase::Scheduled);
        next.candidate = Some(Candidate { phase, tries: TRIES });
        set_status(&mut next, TransferStatus::Activating);
        next.unlogged |= unlogged::ORDERED;
        self.put(next)
    }

    /// Whether the device shall restart to try a new image: it is activated, and its time has come.
    ///
    /// # Errors
    /// The flash's.
    pub fn wants_restart(&mut self, now: Option<UnixMillis>) -> Result<bool, FirmwareError<F::Error>> {
        if let Some(Candidate { phase: Phase::Scheduled(at), tries }) = self.record.candidate
            && now.is_some_and(|now| now >= at)
        {
            let mut next = self.record.clone();
            next.candidate = Some(Candidate { phase: Phase::Armed, tries });
            self.put(next)?;
        }
        Ok(matches!(self.record.candidate, Some(Candidate { phase: Phase::Armed, .. })))
    }

    /// Judges an image on probation by what it has shown `uptime_ms` after its start. Only when it has shown everything,
    /// and lived for the least time, is it confirmed; after [`PROBATION_MS`] its try is over.
    ///
    /// # Errors
    /// The flash's; it is then not confirmed.
    pub fn probation(
        &mut self,
        health: Health,
        uptime_ms: u64,
    ) -> Result<Probation, FirmwareError<F::Error>> {
        if !self.is_on_probation() {
            return Ok(Probation::None);
        }
        let Health { measured, logged, reached_head_end } = health;
        if uptime_ms < self.least_probation_ms || !(measured && logged && reached_head_end) {
            return Ok(if uptime_ms < PROBATION_MS { Probation::Waiting } else { Probation::Restart });
        }
        let mut next = self.record.clone();
        next.active = next.active.other();
        next.highest = next.image(next.active).map_or(next.highest, |image| image.sequence.max(next.highest));
        next.candidate = None;
        set_status(&mut next, TransferStatus::Activated);
        next.unlogged |= unlogged::ACTIVATED;
        self.put(next)?;
        Ok(Probation::Confirmed)
    }

    /// The image on probation says of itself that it does not work. Restart then: the confirmed one comes back.
    ///
    /// # Errors
    /// The flash's.
    pub fn give_up(&mut self) -> Result<(), FirmwareError<F::Error>> {
        if !self.is_on_probation() {
            return Ok(());
        }
        let mut next = self.record.clone();
        next.give_up(Reason::Unfit);
        self.put(next)
    }

    /// Puts the next trust root in force. An image that waits must then be verified again.
    ///
    /// # Errors
    /// [`FirmwareError::Refused`] with why; [`FirmwareError::Order`] while a new image is to be tried.
    pub fn update_root(
        &mut self,
        bytes: &[u8],
        now: Option<UnixMillis>,
    ) -> Result<(), FirmwareError<F::Error>> {
        self.enabled()?;
        let present = self.memory.read_root(self.record.root)?;
        let present = present.ok_or(FirmwareError::Verify { offset: self.memory.map.roots[0].offset })?;
        let root = present.next(bytes, now).map_err(Refusal::from)?;
        let running = self.record.image(self.record.active).map_or(0, |image| image.root.place);
        let taken = [self.record.root.place, running];
        let place = (0..3).find(|place| !taken.contains(place)).unwrap_or(0);
        let area = self.memory.map.roots[usize::from(place)];
        let mut next = self.record.clone();
        next.clear_candidate();
        if self.status() == Some(TransferStatus::Verified) {
            set_status(&mut next, TransferStatus::Initiated);
        }
        // What is under way was judged by the former root.
        if self.status() == Some(TransferStatus::Verifying) {
            self.work = Some(Work::Envelope);
        }
        self.memory.fill(area, bytes)?;
        next.root = RootPlace { place, bytes: bytes.len() as u32, digest: digest_of(bytes) };
        next.root_version = root.version;
        next.unlogged |= unlogged::ROOT;
        self.put(next)
    }

    /// Events that the security log does not have yet, with their extreme values. They come again, even after a restart,
    /// until [`logged`](Self::logged) says that they are in flash.
    pub fn events(&self) -> Vec<(EventCode, i64)> {
        let record = &self.record;
        let sequence = record.image(record.active.other()).map_or(0, |image| image.sequence as i64);
        let reason = match record.candidate {
            Some(Candidate { phase: Phase::GivenUp(reason), .. }) => reason as i64,
            _ => 0,
        };
        let bytes = record.transfer.as_ref().map_or(0, |transfer| transfer.bytes.into());
        let all = [
            (unlogged::NOT_INTACT, EventCode::ProgramMemoryError, 0),
            (unlogged::ROOT, EventCode::TrustRootChanged, record.root_version as i64),
            (unlogged::TRANSFER, EventCode::FirmwareTransferBegun, bytes),
            (unlogged::REFUSED, EventCode::FirmwareRefused, record.refusal.into()),
            (unlogged::READY, EventCode::FirmwareReady, sequence),
            (unlogged::ORDERED, EventCode::FirmwareActivationOrdered, sequence),
            (unlogged::ACTIVATED, EventCode::FirmwareActivated, record.highest as i64),
            (unlogged::REVERTED, EventCode::FirmwareGivenUp, reason),
        ];
        let due = all.into_iter().filter(|(bit, ..)| record.unlogged & bit != 0);
        due.map(|(_, code, extreme)| (code, extreme)).collect()
    }

    /// What [`events`](Self::events) gave is in the security log.
    ///
    /// # Errors
    /// The flash's; they come again then.
    pub fn logged(&mut self) -> Result<(), FirmwareError<F::Error>> {
        if self.record.unlogged == 0 {
            return Ok(());
        }
        let next = BootRecord { unlogged: 0, ..self.record.clone() };
        self.put(next)
    }

    /// How far the transfer is.
    pub fn status(&self) -> Option<TransferStatus> {
        self.record.transfer.as_ref().map(|transfer| transfer.status)
    }

    const fn is_on_probation(&self) -> bool {
        matches!(self.record.candidate, Some(Candidate { phase: Phase::Probation, .. }))
    }

    const fn is_ready(&self) -> bool {
        matches!(self.record.candidate, Some(Candidate { phase: Phase::Ready, .. }))
    }

    const fn enabled(&self) -> Result<(), FirmwareError<F::Error>> {
        if self.is_enabled() {
            Ok(())
        } else {
            Err(FirmwareError::Order("a new image is being tried: wait until it is confirmed or given up"))
        }
    }

    /// In flash first, in force then.
    fn put(&mut self, next: BootRecord) -> Result<(), FirmwareError<F::Error>> {
        self.journal.append(&mut self.memory, &next)?;
        self.record = next;
        Ok(())
    }
}

const fn set_status(record: &mut BootRecord, status: TransferStatus) {
    if let Some(transfer) = &mut record.transfer {
        transfer.status = status;
    }
}

fn digest_of(bytes: &[u8]) -> Digest384 {
    Digest384(Sha384::digest(bytes).into())
}

/// The factory's part, once: the first trust root, and the first image in slot A. Until this has returned, the partition
/// boots nothing; cut off, it is begun anew.
///
/// # Errors
/// [`FirmwareError::Order`] when the partition is provisioned already; [`FirmwareError::Refused`]; or the flash's.
pub fn provision<F: NorFlash>(
    flash: F,
    base: u32,
    layout: FirmwareLayout,
    target: &Target,
    root: &[u8],
    package: &[u8],
    now: Option<UnixMillis>,
) -> Result<(), FirmwareError<F::Error>> {
    let mut memory = Memory::new(flash, base, layout)?;
    if Journal::open(&mut memory)?.1.is_some() {
        return Err(FirmwareError::Order("the partition is provisioned already"));
    }
    let trust = TrustRoot::first(root, now).map_err(Refusal::from)?;
    let package = Package::read(package).map_err(Refusal::from)?;
    let manifest = package.verify(&trust, now).map_err(Refusal::from)?;
    // A factory has nothing that the image would have to follow.
    let running = target.running_image(
        Digests { digest: Digest384([0; 48]), size: 0 },
        manifest.minimum_previous,
        memory.map.image(Slot::A).length,
        now,
    );
    package::accept(package.envelope(), &trust, &running).map_err(Refusal::from)?;
    let class_key = target.class_key.as_deref();
    let mut unpacker = Unpacker::new(&manifest, class_key).map_err(FirmwareError::unpacking)?;
    let writer = Writer::new(memory.map.image(Slot::A));
    let base = memory.map.image(Slot::B);
    let mut ports = Ports { memory: &mut memory, base, writer, written: 0 };
    unpacker.push(package.payload(), &mut ports).map_err(FirmwareError::unpacking)?;
    unpacker.finish(&mut ports).map_err(FirmwareError::unpacking)?;
    ports.writer.finish(ports.memory)?;
    memory.fill(memory.map.envelope(Slot::A), package.envelope())?;
    memory.fill(memory.map.roots[0], root)?;
    let mut record = BootRecord {
        boots: 0,
        active: Slot::A,
        highest: manifest.sequence,
        images: [None, None],
        candidate: None,
        root: RootPlace { place: 0, bytes: root.len() as u32, digest: digest_of(root) },
        root_version: trust.version,
        transfer: None,
        transfers: 0,
        refusal: 0,
        unlogged: 0,
    };
    let envelope_bytes = package.envelope().len() as u32;
    record.images[Slot::A as usize] = Some(installed(&manifest, envelope_bytes, &record));
    let (mut journal, _) = Journal::open(&mut memory)?;
    journal.append(&mut memory, &record)
}

/// Events that wait for the security log.
pub(super) mod unlogged {
    pub(in super::super) const NOT_INTACT: u16 = 1;
    pub(in super::super) const ROOT: u16 = 1 << 1;
    pub(in super::super) const TRANSFER: u16 = 1 << 2;
    pub(in super::super) const REFUSED: u16 = 1 << 3;
    pub(in super::super) const READY: u16 = 1 << 4;
    pub(in super::super) const ORDERED: u16 = 1 << 5;
    pub(in super::super) const ACTIVATED: u16 = 1 << 6;
    pub(in super::super) const REVERTED: u16 = 1 << 7;
}
