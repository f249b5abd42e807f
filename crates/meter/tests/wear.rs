//! How often each region's sectors would be erased in 20 years, from what a busy meter writes in half an hour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "support/log_life.rs"]
mod log_life;
mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dlms_cosem_rs::axdr::Data;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use log_life::LogKey;
use meterseal_meter::{Config, Layout, Meter};
use meterseal_model::{Obis, SensorReadings};
use meterseal_seal::Signer as _;
use support::client::Client;
use support::flash::{RamFlash, SECTOR};
use support::{Counting, OPEN, QUIET, TestMeter, at, config, identity, utility_keys};

/// A flash that counts the bytes written to each sector.
struct Worn {
    flash: RamFlash,
    written: Rc<RefCell<Vec<u64>>>,
}

impl ErrorType for Worn {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Worn {
    const READ_SIZE: usize = RamFlash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Worn {
    const WRITE_SIZE: usize = RamFlash::WRITE_SIZE;
    const ERASE_SIZE: usize = RamFlash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.flash.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.written.borrow_mut()[offset as usize / SECTOR] += bytes.len() as u64;
        self.flash.write(offset, bytes)
    }
}

const SECONDS: i64 = 1_800;
const TWENTY_YEARS_SECONDS: i64 = 20 * 31_557_600;
/// What such chips are rated for.
const RATED: u64 = 100_000;

/// The regions in their order on the chip, behind the format's sector.
fn regions(layout: Layout) -> [(&'static str, u16); 14] {
    [
        ("state", layout.state_sectors),
        ("registers", layout.register_sectors),
        ("security log", layout.log_sectors),
        ("load profile", layout.profile_sectors),
        ("calibration", 1),
        ("settings", layout.settings_sectors),
        ("tariff", layout.tariff_sectors),
        ("power quality", layout.quality_sectors),
        ("event log", layout.event_sectors),
        ("billing", layout.billing_sectors),
        ("secrets", layout.secret_sectors),
        ("tree", layout.tree_sectors),
        ("readings", layout.reading_sectors),
        ("checkpoints", layout.checkpoint_sectors),
    ]
}

/// Half an hour, the third of its kind: bursts at the beginning are over.
fn half_an_hour(attack: bool) -> Vec<u64> {
    let layout = Layout::STANDARD;
    let sectors = layout.size() / SECTOR;
    let mut flash =
        Worn { flash: RamFlash::new(layout.size()), written: Rc::new(RefCell::new(vec![0; sectors])) };
    let settings = Config { layout, profile_period_seconds: 60, ..config() };
    // From a quarter of an hour before midnight.
    let start = 12 * 3_600_000 - SECONDS * 500;
    let lead = if attack { SECONDS / 2 } else { 0 };
    let written = Rc::clone(&flash.written);
    let meter =
        Meter::open(identity(), utility_keys(), settings, &mut flash, Counting(1), at(start)).unwrap();
    let mut meter = TestMeter::new(meter, at(start));
    meter.set_key_store(Arc::new(LogKey::new()), Vec::new());
    let key = LogKey::new().0;
    let mut client = Client::utility();
    meter.connected();
    client.associate(&mut meter).unwrap();
    let mut before = Vec::new();
    for second in 1..=lead + SECONDS {
        if second == lead + 1 {
            before = written.borrow().clone();
        }
        for part in 0..if attack { 10 } else { 1 } {
            let now = at(start + second * 1_000 + part * 100);
            let readings = match (attack, part) {
                // As fast as the debounce lets through, everything that hands can reach at once.
                (true, 0..5) => SensorReadings {
                    terminal_cover_open: true,
                    magnetic_field_microtesla: [80_000, 0, 0],
                    surge_peak_millivolts: [if part == 0 { 4_000_000 } else { 0 }; 3],
                    ..OPEN
                },
                (true, _) => QUIET,
                // Debounced, so a beginning and an end each take a few looks.
                (false, _) => {
                    if second % 60 < 20 {
                        OPEN
                    } else {
                        QUIET
                    }
                }
            };
            meter.sense(&readings, now).unwrap();
        }
        meter.tick(at(start + second * 1_000 + 950)).unwrap();
        if let Some(request) = meter.signing_request() {
            let signature = key.sign(&request.to_be_signed).unwrap();
            meter.signed(request.number, Some(&signature)).unwrap();
        }
        if second % if attack { 2 } else { 60 } == 0 {
            client.listen(&mut meter);
            for (obis, newest) in [
                (Obis::COMMITTED_SECURITY_LOG, *meter.security_log_range().end()),
                (Obis::COMMITTED_LOAD_PROFILE, *meter.load_profile_range().end()),
            ] {
                client.set(&mut meter, 1, obis, Data::Long64Unsigned(newest)).unwrap();
            }
        }
    }
    let minutes = SECONDS as u64 / 60;
    assert!(*meter.security_log_range().end() > 2 * minutes, "{:?}", meter.security_log_range());
    assert!(*meter.load_profile_range().end() >= minutes - 1);
    drop(meter);
    written.borrow().iter().zip(before).map(|(after, before)| after - before).collect()
}

/// The busiest schedule: registers saved each second, a row a minute (the shortest interval), each minute a tamper event
/// with its end, checkpoints, and the head-end acknowledging both logs; midnight's reading comes 48 times a day.
/// The attack: the same, and covers, magnet and surges every second, each acknowledged at once.
#[test]
fn twenty_years_of_the_busiest_schedule_and_of_an_attack_stay_within_what_a_chip_is_rated_for() {
    let layout = Layout::STANDARD;
    let runs = [false, true].map(half_an_hour);
    let mut first = 1;
    println!(
        "| region | sectors | erases of each in 20 years, busiest schedule | under attack all the time |\n|---|---|---|---|"
    );
    for (name, count) in regions(layout) {
        let count = usize::from(count);
        let [busy, attacked] = [0, 1].map(|k| {
            let written: u64 = runs[k][first..first + count].iter().sum();
            // Sectors fill up whole before the next one is erased.
            let bytes = written * (TWENTY_YEARS_SECONDS / SECONDS) as u64;
            bytes / (count * SECTOR) as u64
        });
        first += count;
        println!("| {name} | {count} | {busy} | {attacked} |");
        assert!(busy <= RATED && attacked <= RATED, "{name}: {busy} and {attacked} erases of each sector");
    }
    assert_eq!(first, runs[0].len(), "every sector belongs to a region");
}
