//! A meter's life with covers, energy, intervals and checkpoints, cut anywhere: what was promised must be there.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "shared by a test and an example")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::{
    Config, DlmsKeys, Identity, Layout, Meter, OpenError, Random, SealedLeaf, SecretKey, StorageError,
};
use meterseal_metrology::{Frame, Nominal, Scale};
use meterseal_model::{Digest384, EventCode, SensorReadings, UnixMillis};
use meterseal_seal::log::{Body, Checkpoint, Leaf, LogHash, Peaks};
use meterseal_seal::{
    KeySlot, KeyState, KeyStore, KeyStoreError, SealKey, SealPublicKey, Signer as _, key::SIGNATURE_LENGTH,
};
use meterseal_world::flash::{Appetite, Cut, HoldUp, SimulatedFlash, Socket};

/// What a row of the table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub geometry: String,
    pub operations: u64,
    pub runs: u64,
    /// Entries, intervals and readings that were promised before a cut, all found again.
    pub promised: u64,
    /// Events that came twice.
    pub void: u64,
    /// The most energy, in thousandths of a watt-hour, that a cut took of what had flowed.
    pub lost_milliwatt_hours: u64,
    /// Runs in which the last words were written whole, and the most energy that was lost in those.
    pub last_words: u64,
    pub lost_with_last_words: u64,
    /// The most that such a run took of the capacitor, nanojoules.
    pub spent_nanojoules: u64,
}

impl Row {
    /// Both together.
    pub fn with(mut self, other: &Self) -> Self {
        self.runs += other.runs;
        self.promised += other.promised;
        self.void = self.void.max(other.void);
        self.lost_milliwatt_hours = self.lost_milliwatt_hours.max(other.lost_milliwatt_hours);
        self.last_words += other.last_words;
        self.lost_with_last_words = self.lost_with_last_words.max(other.lost_with_last_words);
        self.spent_nanojoules = self.spent_nanojoules.max(other.spent_nanojoules);
        self
    }
}

const NOON: i64 = 1_795_348_800_000;

/// Site time of one step, milliseconds; each has 50 ms of samples at 69 kW.
const STEP_MS: i64 = 250;
const STEPS: i64 = 10;

/// The life begins so long before an interval, and before midnight, so that both end within it.
const BEFORE_MIDNIGHT: i64 = 43_200_000 - 1_100;

struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A store with nothing but a log key.
#[derive(Debug)]
pub struct LogKey(pub SealKey);

impl LogKey {
    pub fn new() -> Self {
        let key = SealKey::generate(|bytes| {
            bytes.fill(0x17);
            Ok::<(), std::convert::Infallible>(())
        });
        Self(key.unwrap())
    }
}

impl KeyStore for LogKey {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        if slot == KeySlot::Log {
            Ok(self.0.public().clone())
        } else {
            Err(KeyStoreError::NoKey(slot, state))
        }
    }

    fn sign(&self, _: KeySlot, _: KeyState, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyStoreError> {
        Ok(self.0.sign(message)?)
    }

    fn certificates(&self, _: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        Ok(Vec::new())
    }

    fn import(&self, _: KeySlot, _: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Certificate)
    }

    fn remove(&self, slot: KeySlot) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Current))
    }
}

type Chip<const W: usize, const E: usize> = SimulatedFlash<W, E>;
type TheMeter<F> = Meter<F, Counting>;
type FlashError = embedded_storage::nor_flash::NorFlashErrorKind;

/// What the meter has promised: it returned, or gave it out.
#[derive(Clone, Debug, Default)]
struct Promised {
    events: BTreeMap<u64, EventCode>,
    rows: u64,
    checkpoint: Option<Checkpoint>,
    /// Registers that were shown, and all that had flowed, thousandths of a watt-hour.
    shown: u64,
    /// Samples that were measured, milliseconds.
    measured_ms: i64,
    /// The last words were written whole.
    went_down: bool,
}

/// A meter's flash between two lives.
#[derive(Clone)]
struct Start<const W: usize, const E: usize> {
    flash: Chip<W, E>,
    promised: Promised,
    /// When the next life begins.
    from: i64,
}

/// The supply fails before this operation, with so much in the capacitor.
#[derive(Clone, Copy, Debug)]
struct Fails {
    at: u64,
    nanojoules: u64,
    appetite: Appetite,
}

/// As many as begin second sectors of registers, log, readings and checkpoints, and drop nothing yet.
const DAYS: i64 = 13;

/// Lives of one meter on one geometry.
pub struct Campaign<const W: usize, const E: usize> {
    frames: Vec<Frame>,
    key: Arc<LogKey>,
    pub operations: u64,
}

impl<const W: usize, const E: usize> Campaign<W, E> {
    pub fn new() -> Self {
        let mut campaign = Self { frames: frames(), key: Arc::new(LogKey::new()), operations: 0 };
        let mut flash = Chip::new(Layout::TINY.size(), 1);
        campaign.life(&mut flash, 0, &mut Promised::default()).unwrap();
        campaign.operations = flash.operations();
        campaign
    }

    fn open<F: NorFlash<Error = FlashError>>(
        &self,
        flash: F,
        seed: u64,
        at: i64,
    ) -> Result<TheMeter<F>, OpenError<FlashError>> {
        let identity = Identity {
            id: "MSL0000000042".parse().unwrap(),
            device_type: "Meterseal Reference".into(),
            firmware_version: "0.1.0".into(),
            firmware_digest: Digest384([0xD1; 48]),
        };
        let scale = Scale {
            voltage_femtovolts_per_count: [50_000_000_000; 3],
            current_femtoamperes_per_count: [20_000_000_000; 4],
        };
        let config = Config {
            layout: Layout::TINY,
            device_secret: Some(SecretKey::new([0xDE; 32])),
            ..Config::new(meterseal_metrology::Config::new(8_000_000_000, Nominal::Hz50, scale))
        };
        let keys = DlmsKeys { encryption: [0x11; 32], authentication: [0x22; 32] };
        let now = UnixMillis(NOON + BEFORE_MIDNIGHT + at);
        let mut meter = Meter::open(identity, keys, config, flash, Counting(seed), now)?;
        let store: Arc<dyn KeyStore> = Arc::clone(&self.key) as _;
        meter.set_key_store(store, Vec::new());
        Ok(meter)
    }

    /// Lives from `from` on, until the power goes.
    fn life(&self, flash: &mut Chip<W, E>, from: i64, promised: &mut Promised) -> Result<(), ()> {
        let seed = flash.operations();
        let mut meter = self.open(flash, seed, from).map_err(|error| {
            assert!(matches!(error, OpenError::Storage(_)), "{error}");
        })?;
        self.note(&meter, promised);
        for step in 0..STEPS {
            self.step(&mut meter, from, step, promised).map_err(torn)?;
            self.note(&meter, promised);
        }
        Ok(())
    }

    fn step<F: NorFlash<Error = FlashError>>(
        &self,
        meter: &mut TheMeter<F>,
        from: i64,
        step: i64,
        promised: &mut Promised,
    ) -> Result<(), StorageError<FlashError>> {
        let now = UnixMillis(NOON + BEFORE_MIDNIGHT + from + step * STEP_MS);
        meter.sample(&self.frames, now);
        promised.measured_ms += 50;
        let open = SensorReadings { meter_cover_open: step / 3 % 2 == 1, ..SensorReadings::QUIET };
        meter.sense(&open, now)?;
        meter.tick(now)?;
        if let Some(request) = meter.signing_request() {
            let signature = self.key.0.sign(&request.to_be_signed).unwrap();
            meter.signed(request.number, Some(&signature))?;
        }
        Ok(())
    }

    /// The same in a meter that is warned when its supply fails, and then lives on its capacitor.
    fn life_with_warning(&self, chip: &RefCell<Chip<W, E>>, from: i64, promised: &mut Promised) {
        let seed = chip.borrow().operations();
        let Ok(mut meter) = self.open(Socket(chip), seed, from) else {
            assert!(chip.borrow().is_dead(), "only an empty capacitor keeps a meter from starting");
            return;
        };
        let is_failing = || chip.borrow().is_failing();
        for step in 0..STEPS {
            if !chip.borrow().is_dead() {
                self.note(&meter, promised);
            }
            if is_failing() {
                break;
            }
            let lived = self.step(&mut meter, from, step, promised);
            assert!(lived.is_ok() || is_failing(), "{lived:?}");
        }
        let now = UnixMillis(NOON + BEFORE_MIDNIGHT + from + STEPS * STEP_MS);
        if is_failing() && meter.power_fail(now).is_ok() {
            promised.went_down = true;
            self.note(&meter, promised);
            let newest = meter.security_log_entry(*meter.security_log_range().end()).unwrap();
            assert_eq!(newest.map(|entry| entry.code), Some(EventCode::PowerDown), "its last word");
        }
    }

    /// The supply fails at this operation of a life, with so much energy left.
    fn run_with_warning(&self, row: &mut Row, seed: u64, start: &Start<W, E>, failing: Fails) {
        let what = format!("{failing:?} in the life from {} ms on, seed {seed}", start.from);
        let mut promised = start.promised.clone();
        // What was measured in the lives before is not what this is about.
        promised.measured_ms = (promised.shown * 3_600 / 69_000) as i64 + 1;
        let mut flash = start.flash.clone();
        flash.reseed(seed);
        let Fails { at, nanojoules, appetite } = failing;
        flash.fail_after(at, nanojoules, appetite, HoldUp::REFERENCE.idle_microwatts);
        let cell = RefCell::new(flash);
        self.life_with_warning(&cell, start.from, &mut promised);
        let mut flash = cell.into_inner();
        if promised.went_down {
            row.spent_nanojoules = row.spent_nanojoules.max(flash.spent_nanojoules());
        }
        flash.power_on();
        self.come_back(flash, start.from + STEPS * STEP_MS + 777, &mut promised, row, &what);
    }

    /// Every `stride`-th operation of as many lives, a day each, as it takes to begin new sectors: the supply fails there, with
    /// the capacitor as it was designed, full; and then, and while it starts, with any part of that, as if it were old.
    pub fn warned(&self, stride: usize, appetite: Appetite) -> [Row; 2] {
        let mut rows = [self.row(), self.row()];
        let full = HoldUp::REFERENCE.nanojoules();
        let mut start = Start {
            flash: Chip::<W, E>::new(Layout::TINY.size(), 1),
            promised: Promised::default(),
            from: 0,
        };
        let mut number = 0u64;
        for day in 1..=DAYS {
            let mut after = start.clone();
            self.life(&mut after.flash, start.from, &mut after.promised).unwrap();
            after.from = day * 86_400_000;
            let operations = after.flash.operations() - start.flash.operations();
            let mut opened = start.flash.clone();
            drop(self.open(&mut opened, start.flash.operations(), start.from).unwrap());
            let opening = opened.operations() - start.flash.operations();
            // The first of all writes what is written once.
            for at in (0..if day == 1 { 0 } else { operations }).step_by(stride) {
                number += 1;
                let fails = Fails { at, nanojoules: full, appetite };
                // A meter that is only starting has nothing to lose yet, and may erase several sectors.
                if at >= opening {
                    self.run_with_warning(&mut rows[0], number, &start, fails);
                }
                let seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let part = Fails { nanojoules: seed % full, ..fails };
                self.run_with_warning(&mut rows[1], seed, &start, part);
            }
            for row in &mut rows {
                row.operations = row.operations.max(operations);
            }
            start = after;
        }
        let Layout { state_sectors, register_sectors, .. } = Layout::TINY;
        for (name, first) in [("registers", 1 + state_sectors), ("log", 1 + state_sectors + register_sectors)]
        {
            let second = (usize::from(first) + 1) * 4096 / E;
            assert!(start.flash.erases()[second] > 0, "the {name} have not come to their second sector");
        }
        rows
    }

    /// All that anybody can see now is promised.
    fn note<F: NorFlash<Error = FlashError>>(&self, meter: &TheMeter<F>, promised: &mut Promised) {
        for sequence in meter.security_log_range() {
            if let Some(entry) = meter.security_log_entry(sequence).unwrap() {
                promised.events.insert(sequence, entry.code);
            }
        }
        promised.rows = promised.rows.max(*meter.load_profile_range().end());
        promised.shown = promised.shown.max(meter.saved_registers().total_import_nanowatt_hours / 1_000_000);
        if let Some(checkpoint) = Checkpoint::unverified(meter.checkpoint()) {
            promised.checkpoint = Some(checkpoint);
        }
    }

    fn check<F: NorFlash<Error = FlashError>>(
        &self,
        meter: &TheMeter<F>,
        promised: &Promised,
        row: &mut Row,
        what: &str,
    ) {
        for (&sequence, &code) in &promised.events {
            let found = meter.security_log_entry(sequence).unwrap().map(|entry| entry.code);
            assert_eq!(found, Some(code), "{what}: entry {sequence}");
        }
        assert!(*meter.load_profile_range().end() >= promised.rows, "{what}: an interval is missing");
        for sequence in meter.load_profile_range().filter(|&sequence| sequence > 0) {
            assert!(meter.load_profile_row(sequence).unwrap().is_some(), "{what}: interval {sequence}");
        }
        row.promised += promised.events.len() as u64 + promised.rows;

        let shown = meter.saved_registers().total_import_nanowatt_hours / 1_000_000;
        assert!(shown >= promised.shown, "{what}: registers went back from {} to {shown}", promised.shown);
        // 69 kW for as long as was measured, to the window that a start has not finished.
        let flowed = promised.measured_ms as u64 * 69_000 / 3_600;
        assert!(shown <= flowed + 1, "{what}: {shown} shown of {flowed}");
        let lost = flowed - shown.min(flowed);
        row.lost_milliwatt_hours = row.lost_milliwatt_hours.max(lost);
        if promised.went_down {
            row.last_words += 1;
            row.lost_with_last_words = row.lost_with_last_words.max(lost);
        }

        let leaves: Vec<(LogHash, Leaf)> = meter
            .sealed_leaves()
            .map(|index| match meter.sealed_leaf(index).unwrap() {
                Some(SealedLeaf::Bytes(bytes)) => (LogHash::of_leaf(&bytes), Leaf::decode(&bytes).unwrap()),
                other => panic!("{what}: leaf {index} is {other:?}"),
            })
            .collect();
        let events: Vec<u64> = leaves
            .iter()
            .filter_map(|(_, leaf)| match leaf.body {
                Body::Event(event) => Some(event.row),
                _ => None,
            })
            .collect();
        assert_eq!(events, meter.security_log_range().collect::<Vec<_>>(), "{what}: entries and leaves");
        row.void = row.void.max(leaves.iter().filter(|(_, leaf)| leaf.body == Body::Void).count() as u64);
        if let Some(before) = promised.checkpoint {
            let mut peaks = Peaks::new();
            leaves.iter().take(before.size as usize).for_each(|(hash, _)| peaks.append(*hash));
            assert_eq!(peaks.root(), before.root, "{what}: what was signed");
        }
    }

    fn run(&self, row: &mut Row, seed: u64, cuts: &[(u64, Cut)]) {
        let what = format!("{cuts:?}, seed {seed}");
        let mut flash = Chip::<W, E>::new(Layout::TINY.size(), seed);
        let mut promised = Promised::default();
        let mut from = 0;
        for &(after, cut) in cuts {
            flash.cut_after(after, cut);
            let _ = self.life(&mut flash, from, &mut promised);
            flash.power_on();
            from += STEPS * STEP_MS + 777;
        }
        // A second cut that was never reached stays away.
        flash.cut_after(u64::MAX / 2, Cut::Before);
        self.come_back(flash, from, &mut promised, row, &what);
    }

    /// What was promised is there, and the meter lives on.
    fn come_back(
        &self,
        mut flash: Chip<W, E>,
        from: i64,
        promised: &mut Promised,
        row: &mut Row,
        what: &str,
    ) {
        let seed = flash.operations();
        let meter = self.open(&mut flash, seed, from).unwrap_or_else(|error| panic!("{what}: {error}"));
        self.check(&meter, promised, row, what);
        drop(meter);
        self.life(&mut flash, from + 1_000, promised).unwrap_or_else(|()| panic!("{what}: no second life"));
        row.runs += 1;
    }

    fn row(&self) -> Row {
        Row {
            geometry: format!("write {W} B, erase {E} B"),
            operations: self.operations,
            runs: 0,
            promised: 0,
            void: 0,
            lost_milliwatt_hours: 0,
            last_words: 0,
            lost_with_last_words: 0,
            spent_nanojoules: 0,
        }
    }

    /// These cuts, one in each life, with this seed of what is torn.
    pub fn exactly(&self, seed: u64, cuts: &[(u64, Cut)]) -> Row {
        let mut row = self.row();
        self.run(&mut row, seed, cuts);
        row
    }

    /// Every `stride`-th operation, cut once, in every way.
    pub fn single(&self, stride: usize) -> Row {
        let mut row = self.row();
        for operation in (0..self.operations).step_by(stride) {
            for (k, cut) in Cut::ALL.into_iter().enumerate() {
                self.run(&mut row, operation * 3 + k as u64 + 1, &[(operation, cut)]);
            }
        }
        row
    }

    /// So many pairs: the second cut falls into what follows the first, half of the time close behind it.
    pub fn double(&self, pairs: u64, seed: u64) -> Row {
        let mut row = self.row();
        let mut state = seed | 1;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below.max(1)
        };
        for pair in 0..pairs {
            let first = random(self.operations);
            let second = if random(2) == 0 { random(12) } else { random(self.operations) };
            let kind = |k: u64| Cut::ALL[k as usize];
            let cuts = [(first, kind(random(3))), (second, kind(random(3)))];
            self.run(&mut row, seed ^ (pair << 8), &cuts);
        }
        row
    }
}

fn torn(error: StorageError<FlashError>) {
    assert!(matches!(error, StorageError::Flash(_) | StorageError::Map(_)), "{error}");
}

/// 50 ms of a balanced load at 50 Hz: 230 V and 100 A, in phase.
fn frames() -> Vec<Frame> {
    let peak = std::f64::consts::SQRT_2;
    (0..400)
        .map(|k| {
            let angle = |phase: usize| {
                let turns = 50.0 * f64::from(k) / 8000.0 - phase as f64 / 3.0;
                (turns * std::f64::consts::TAU).sin()
            };
            Frame {
                voltage: [0, 1, 2].map(|phase| (230.0 * peak * angle(phase) / 50e-6).round() as i32),
                current: [0, 1, 2, 3].map(|phase| match phase {
                    3 => 0,
                    _ => (100.0 * peak * angle(phase) / 20e-6).round() as i32,
                }),
            }
        })
        .collect()
}
