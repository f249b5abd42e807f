//! What a meter does while its power is cut: one kind of flash operation after another, each past the end of a sector, and
//! a note of everything that its calls have promised by returning.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use dlms_cosem_rs::axdr::Data;
use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::{Config, Layout, Meter, ProfileRow, SealedLeaf, SecurityEntry};
use meterseal_metrology::{Components, MeteredEnergy, PhaseQuantities, Window};
use meterseal_model::{Obis, Role, SensorReadings};
use meterseal_seal::key::SIGNATURE_LENGTH;
use meterseal_seal::log::{LogHash, Peaks};
use meterseal_seal::{KeySlot, KeyState, KeyStore, KeyStoreError, SealKey, SealPublicKey};
use meterseal_world::flash::CutFlash;

use crate::support::client::{Client, counter};
use crate::support::{Counting, OPEN, QUIET, TestMeter, at, config, identity, utility_keys};

/// A meter over the flash.
pub type Device<'a, const E: usize, const W: usize> = TestMeter<'a, CutFlash<E, W>>;

/// Time between two looks at the sensors.
const STEP_MS: i64 = 100;
/// Imax on three phases, 230 V · 100 A each, over one step.
const PHASE_NANOWATT_HOURS: i64 = 638_888_888;
const STEP_NANOWATT_HOURS: u64 = 3 * PHASE_NANOWATT_HOURS as u64;
/// What flows in a second at full load.
pub const SECOND_NANOWATT_HOURS: u64 = 10 * STEP_NANOWATT_HOURS;

const DAY_MS: i64 = 86_400_000;

/// Kinds of flash operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Registers,
    Log,
    Profile,
    State,
    Checkpoints,
    LastGasp,
}

impl Work {
    pub const ALL: [Self; 6] =
        [Self::Registers, Self::Log, Self::Profile, Self::State, Self::Checkpoints, Self::LastGasp];

    #[allow(dead_code, reason = "the test names them by their debug form")]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers saved each second",
            Self::Log => "security log and its leaves",
            Self::Profile => "load-profile rows and their leaves",
            Self::State => "acknowledgements, counters, alarms (state)",
            Self::Checkpoints => "daily readings, tree, signed checkpoints",
            Self::LastGasp => "orderly stop on the last-gasp supply",
        }
    }
}

/// Layouts with other ring lengths, so that other rings wrap at other times.
pub const ODD: Layout = Layout {
    state_sectors: 3,
    register_sectors: 3,
    log_sectors: 4,
    profile_sectors: 3,
    tree_sectors: 6,
    reading_sectors: 3,
    ..Layout::TINY
};

pub fn settings(layout: Layout) -> Config {
    Config { layout, profile_period_seconds: 60, ..config() }
}

/// What calls have promised by returning, and what has flowed.
#[derive(Clone, Default)]
pub struct Promised {
    pub entries: BTreeMap<u64, SecurityEntry>,
    pub rows: BTreeMap<u64, ProfileRow>,
    /// Every leaf's hash, from the log's first.
    pub leaves: Vec<LogHash>,
    pub peaks: Peaks,
    pub checkpoint: Vec<u8>,
    pub committed: u64,
    /// Energy that the registers are known to have in flash, and that has flowed.
    pub saved: u64,
    pub flowed: u64,
    /// The stop was orderly, and returned.
    pub stopped: bool,
    /// Invocation counters of all frames that went out, and the client's last.
    pub counters: Vec<u32>,
    pub client_counter: u32,
    /// Milliseconds since noon.
    pub now: i64,
}

impl Promised {
    /// Takes down what the meter has since.
    pub fn note<const E: usize, const W: usize>(&mut self, meter: &Device<'_, E, W>) -> Result<(), String> {
        let say = |error| format!("read: {error}");
        let from = self.entries.last_key_value().map_or(1, |(&newest, _)| newest + 1);
        for sequence in from.max(*meter.security_log_range().start())..=*meter.security_log_range().end() {
            let entry = meter.security_log_entry(sequence).map_err(say)?;
            self.entries.insert(sequence, entry.ok_or(format!("entry {sequence} is unreadable"))?);
        }
        let from = self.rows.last_key_value().map_or(1, |(&newest, _)| newest + 1);
        for sequence in from.max(*meter.load_profile_range().start())..=*meter.load_profile_range().end() {
            let row = meter.load_profile_row(sequence).map_err(say)?;
            self.rows.insert(sequence, row.ok_or(format!("row {sequence} is unreadable"))?);
        }
        for index in self.leaves.len() as u64..meter.sealed_leaves().end {
            let leaf = meter.sealed_leaf(index).map_err(say)?.ok_or(format!("leaf {index} is not held"))?;
            self.leaves.push(hash(&leaf));
            self.peaks.append(hash(&leaf));
        }
        if self.checkpoint != meter.checkpoint() {
            self.checkpoint = meter.checkpoint().to_vec();
        }
        self.committed = self.committed.max(meter.committed_security_log());
        self.saved = meter.saved_registers().total_import_nanowatt_hours;
        Ok(())
    }
}

pub fn hash(leaf: &SealedLeaf) -> LogHash {
    match leaf {
        SealedLeaf::Bytes(bytes) => LogHash::of_leaf(bytes),
        SealedLeaf::Hash(hash) => *hash,
    }
}

/// Opens the meter. The error says why it does not open, power or not.
pub fn open<const E: usize, const W: usize>(
    flash: &mut CutFlash<E, W>,
    layout: Layout,
    now: i64,
) -> Result<Device<'_, E, W>, String> {
    let seed = flash.erases().iter().map(|&erases| u64::from(erases)).sum::<u64>() ^ now as u64;
    let meter = Meter::open(identity(), utility_keys(), settings(layout), flash, Counting(seed), at(now))
        .map_err(|error| format!("open: {error}"))?;
    let mut meter = TestMeter::new(meter, at(now));
    give_log_key(&mut meter);
    Ok(meter)
}

/// A step of ordinary life. `Err`: the power went.
fn step<const E: usize, const W: usize>(
    meter: &mut Device<'_, E, W>,
    promised: &mut Promised,
    readings: &SensorReadings,
    millis: i64,
) -> Result<(), String> {
    promised.now += millis;
    let now = at(promised.now);
    let energy = MeteredEnergy {
        active_nanowatt_hours: PHASE_NANOWATT_HOURS,
        reactive_nanovar_hours: 0,
        apparent_nanovoltampere_hours: PHASE_NANOWATT_HOURS as u64,
    };
    meter.account(&window(), &[energy; 3], now);
    promised.flowed += STEP_NANOWATT_HOURS;
    let say = |error| format!("{error}");
    meter.sense(readings, now).map_err(say)?;
    promised.note(meter)?;
    meter.tick(now).map_err(say)?;
    sign_what_is_due(meter)?;
    promised.note(meter)
}

/// Signs a checkpoint if one is due.
pub fn sign_what_is_due<F: NorFlash>(meter: &mut TestMeter<'_, F>) -> Result<(), String> {
    let Some(request) = meter.signing_request() else { return Ok(()) };
    let signature = sign(&request.to_be_signed);
    meter.signed(request.number, Some(&signature)).map_err(|error| format!("{error}"))
}

/// Gives a meter the key without which it makes no checkpoints.
pub fn give_log_key<F: NorFlash>(meter: &mut TestMeter<'_, F>) {
    meter.set_key_store(Arc::new(LogKey), Vec::new());
}

/// Does the work, and more than fills a sector with it. `Err`: the power went.
pub fn work<const E: usize, const W: usize>(
    meter: &mut Device<'_, E, W>,
    work: Work,
    promised: &mut Promised,
) -> Result<(), String> {
    match work {
        Work::Registers => (0..100).try_for_each(|_| step(meter, promised, &QUIET, STEP_MS)),
        Work::Log => (0..5).try_for_each(|_| cover(meter, promised)),
        Work::Profile => (0..8).try_for_each(|_| step(meter, promised, &QUIET, 60_000)),
        Work::State => (0..3).try_for_each(|_| {
            cover(meter, promised)?;
            visit(meter, promised)
        }),
        Work::Checkpoints => (0..4).try_for_each(|_| step(meter, promised, &QUIET, DAY_MS)),
        Work::LastGasp => {
            (0..5).try_for_each(|_| step(meter, promised, &QUIET, STEP_MS))?;
            meter.power_down(at(promised.now)).map_err(|error| format!("{error}"))?;
            promised.stopped = true;
            promised.note(meter)
        }
    }
}

/// A bit of everything.
pub fn go_on<const E: usize, const W: usize>(
    meter: &mut Device<'_, E, W>,
    promised: &mut Promised,
) -> Result<(), String> {
    cover(meter, promised)?;
    step(meter, promised, &QUIET, 60_000)?;
    visit(meter, promised)
}

/// A cover is opened and closed.
fn cover<const E: usize, const W: usize>(
    meter: &mut Device<'_, E, W>,
    promised: &mut Promised,
) -> Result<(), String> {
    for readings in [OPEN, QUIET] {
        (0..3).try_for_each(|_| step(meter, promised, &readings, STEP_MS))?;
    }
    Ok(())
}

/// The head-end comes by and acknowledges the log.
pub fn visit<const E: usize, const W: usize>(
    meter: &mut Device<'_, E, W>,
    promised: &mut Promised,
) -> Result<(), String> {
    meter.connected();
    let mut client = Client::new(Role::Utility, &utility_keys(), promised.client_counter, 1024);
    let newest = *meter.security_log_range().end();
    let done = client.associate(meter).and_then(|()| {
        client.listen(meter);
        let value = Data::Long64Unsigned(newest);
        match client.try_set(meter, 1, Obis::COMMITTED_SECURITY_LOG, value) {
            Ok(Ok(())) => Ok(()),
            other => Err(format!("acknowledgement: {other:?}")),
        }
    });
    promised.counters.extend(client.frames.iter().filter_map(|frame| counter(frame)));
    promised.client_counter = client.session.invocation_counter();
    done?;
    meter.disconnected();
    promised.note(meter)
}

/// A flash with a history: every ring has gone round, and the one that the work fills is about to begin a sector.
pub fn aged<const E: usize, const W: usize>(
    layout: Layout,
    wanted: Work,
    seed: u64,
) -> Result<(CutFlash<E, W>, Promised), String> {
    let mut flash = CutFlash::new(layout.size(), seed);
    let mut promised = Promised::default();
    let mut meter = open(&mut flash, layout, 0)?;
    let life = &mut promised;
    for _ in 0..22 {
        (0..3).try_for_each(|_| cover(&mut meter, life))?;
        visit(&mut meter, life)?;
        (0..9).try_for_each(|_| step(&mut meter, life, &QUIET, 60_000))?;
        step(&mut meter, life, &QUIET, DAY_MS)?;
    }
    // No slot was torn, so that a record's number says where it lies.
    while wanted == Work::Log && !(22..27).contains(&(meter.security_log_range().end() % 32)) {
        cover(&mut meter, life)?;
        visit(&mut meter, life)?;
    }
    while wanted == Work::Profile && meter.load_profile_range().end() % 64 != 60 {
        step(&mut meter, life, &QUIET, 60_000)?;
    }
    while wanted == Work::Checkpoints && meter.sealed_leaves().end % 64 < 53 {
        step(&mut meter, life, &QUIET, 60_000)?;
    }
    drop(meter);
    Ok((flash, promised))
}

fn window() -> Window {
    let phase = PhaseQuantities { voltage_rms_microvolts: 230_000_000, ..PhaseQuantities::default() };
    Window {
        first_sample: 0,
        samples: 800,
        cycles: 5,
        frequency_microhertz: Some(50_000_000),
        phases: [phase; 3],
        neutral_current_rms_microamperes: 0,
        active_power_microwatts: 69_000_000_000,
        reactive_power_microvars: 0,
        apparent_power_microvoltamperes: 69_000_000_000,
        power_factor_ppm: 1_000_000,
        clipped: false,
        disturbed: false,
        components: Components::default(),
    }
}

/// A log key whose signatures cost nothing: what is tried here is the flash, and the meter never checks its own.
#[derive(Debug)]
struct LogKey;

fn sign(message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
    let hash = LogHash::of_leaf(message).0;
    std::array::from_fn(|k| hash[k % hash.len()])
}

impl KeyStore for LogKey {
    fn generate(&self, slot: KeySlot) -> Result<SealPublicKey, KeyStoreError> {
        Err(KeyStoreError::NoKey(slot, KeyState::Pending))
    }

    fn public_key(&self, slot: KeySlot, state: KeyState) -> Result<SealPublicKey, KeyStoreError> {
        static KEY: OnceLock<SealPublicKey> = OnceLock::new();
        if slot != KeySlot::Log {
            return Err(KeyStoreError::NoKey(slot, state));
        }
        Ok(KEY
            .get_or_init(|| {
                let key = SealKey::generate(|bytes| {
                    bytes.fill(0x17);
                    Ok::<(), std::convert::Infallible>(())
                });
                key.unwrap().public().clone()
            })
            .clone())
    }

    fn sign(&self, _: KeySlot, _: KeyState, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], KeyStoreError> {
        Ok(sign(message))
    }

    fn certificates(&self, _: KeySlot) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        Ok(Vec::new())
    }

    fn remove(&self, _: KeySlot) -> Result<(), KeyStoreError> {
        Ok(())
    }

    fn import(&self, _: KeySlot, _: &[Vec<u8>]) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Certificate)
    }
}

const _: () = assert!(CutFlash::<4096, 4>::WRITE_SIZE == 4 && CutFlash::<1024, 16>::ERASE_SIZE == 1024);
