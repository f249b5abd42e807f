//! Power cuts, restarts, and flashes that are not this meter's.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use dlms_cosem_rs::axdr::Data;
use meterseal_meter::{Config, Layout, Meter, OpenError, ProfileRow, saved_time};
use meterseal_metrology::Frame;
use meterseal_model::{EventCode, Obis, Role, SensorReadings, UnixMillis};
use support::client::{Client, counter};
use support::flash::{RamFlash, SECTOR};
use support::{Counting, OPEN, QUIET, at, blank, config, frames, identity, open, try_open, utility_keys};

/// What a run has promised by returning.
#[derive(Default)]
struct Promised {
    /// Codes of all events whose call returned, in order.
    events: Vec<EventCode>,
    /// The highest energy that the meter showed.
    shown: u64,
    rows: u64,
    committed: u64,
    /// The invocation counters of every frame that went out, and the client's last.
    counters: Vec<u32>,
    client_counter: u32,
}

/// The head-end comes by, takes the pushes and acknowledges them.
fn visit(meter: &mut support::TestMeter<'_>, promised: &mut Promised) -> Result<(), ()> {
    meter.connected();
    let mut client = Client::new(Role::Utility, &utility_keys(), promised.client_counter, 1024);
    let mut talk = || {
        client.associate(meter).map_err(drop)?;
        client.listen(meter);
        let newest = client.pushes.iter().map(|(_, body)| body.list()[2].number()).max().unwrap_or(0);
        let value = Data::Long64Unsigned(newest as u64);
        match client.try_set(meter, 1, Obis::COMMITTED_SECURITY_LOG, value) {
            Ok(Ok(())) => Ok(newest as u64),
            _ => Err(()),
        }
    };
    let committed = talk();
    promised.counters.extend(client.frames.iter().filter_map(|frame| counter(frame)));
    promised.client_counter = client.session.invocation_counter();
    promised.committed = committed?;
    meter.disconnected();
    Ok(())
}

/// 100 ms of three times 50 A: five whole cycles, so that it can be repeated.
fn supply() -> &'static [Frame] {
    static FRAMES: OnceLock<Vec<Frame>> = OnceLock::new();
    FRAMES.get_or_init(|| frames(0, 800, 50.0))
}

/// A short busy life: a power-up, load, cover and magnet, an interval's end, an orderly stop. Ends when flash fails.
fn live(flash: &mut RamFlash, start: i64, promised: &mut Promised) -> Result<(), ()> {
    let mut meter = try_open(flash, at(start)).map_err(|_| ())?;
    promised.events.push(EventCode::PowerUp);
    let magnet = SensorReadings { magnetic_field_microtesla: [80_000, 0, 0], ..QUIET };
    let surge = SensorReadings { surge_peak_millivolts: [4_000_000, 0, 0], ..QUIET };
    let phases = [
        (QUIET, vec![]),
        (OPEN, vec![EventCode::CoverRemoved]),
        (surge, vec![EventCode::VoltageSpike, EventCode::CoverClosed]),
        (magnet, vec![EventCode::MagnetOn]),
        (QUIET, vec![EventCode::MagnetOff]),
    ];
    for (phase, (readings, events)) in phases.into_iter().enumerate() {
        for step in 0..8 {
            let now = at(start + (phase as i64 * 8 + step) * 100);
            meter.sample(supply(), now);
            let sensed = if step == 0 {
                readings
            } else {
                SensorReadings { surge_peak_millivolts: [0; 3], ..readings }
            };
            meter.sense(&sensed, now).map_err(|_| ())?;
            if step == 0 && readings == surge {
                promised.events.push(EventCode::VoltageSpike);
            }
            if step == 1 {
                promised.events.extend(events.iter().filter(|&&code| code != EventCode::VoltageSpike));
            }
            meter.tick(now).map_err(|_| ())?;
            promised.shown = promised.shown.max(meter.saved_registers().total_import_nanowatt_hours);
            promised.rows = promised.rows.max(*meter.load_profile_range().end());
        }
        visit(&mut meter, promised)?;
    }
    meter.power_down(at(start + 4_000)).map_err(|_| ())?;
    promised.events.push(EventCode::PowerDown);
    Ok(())
}

fn log(meter: &support::TestMeter<'_>) -> Vec<EventCode> {
    let entries = meter.security_log_range().map(|sequence| meter.security_log_entry(sequence).unwrap());
    entries.map(|entry| entry.expect("every entry held is readable").code).collect()
}

/// The second life ends 2 s into the second quarter of an hour.
const SECOND_LIFE: i64 = 897_000;

fn check(flash: &mut RamFlash, promised: &mut Promised, cut: &str) {
    flash.restore();
    let saved = saved_time(flash, &Layout::TINY).unwrap();
    let start = saved.map_or(at(0), |saved| UnixMillis(saved.0 + 60_000));
    let mut meter = open(flash, start);
    let found = log(&meter);
    // Nothing promised is missing, in order. More may be there: events whose call had not returned, and the power-up now.
    let mut rest = found.iter();
    for (k, code) in promised.events.iter().enumerate() {
        assert!(rest.any(|found| found == code), "{cut}: event {k} {code} lost of {found:?}");
    }
    assert!(found.len() <= promised.events.len() + 3, "{cut}: {found:?}");
    let energy = meter.saved_registers().total_import_nanowatt_hours;
    assert!(energy >= promised.shown, "{cut}: registers went back from {} to {energy}", promised.shown);
    let rows = meter.load_profile_range();
    assert!(*rows.end() >= promised.rows, "{cut}: row lost");
    for sequence in rows {
        let row = meter.load_profile_row(sequence).unwrap().expect("every row held is readable");
        assert!(row.active_import_milliwatt_hours <= energy / 1_000_000, "{cut}: a row above the registers");
    }
    // Once the second life has begun, the quarter of an hour that ends in it is owed its row.
    if saved.is_some_and(|saved| saved >= at(SECOND_LIFE)) {
        let mut rows = meter.load_profile_range().map(|sequence| meter.load_profile_row(sequence).unwrap());
        assert!(rows.any(|row| row.unwrap().time == at(900_000)), "{cut}: the row was never written");
    }
    // An acknowledgement whose answer was cut off may have been kept.
    assert!(meter.committed_security_log() >= promised.committed, "{cut}");
    visit(&mut meter, promised).expect(cut);
    assert!(promised.counters.is_sorted_by(|a, b| a < b), "{cut}: {:?}", promised.counters);
}

#[test]
fn every_single_cut_of_a_busy_life_loses_nothing_promised() {
    let mut cuts = 0;
    loop {
        let mut flash = blank().seed(cuts);
        flash.cut_at = Some(cuts);
        let mut promised = Promised::default();
        let finished = live(&mut flash, 0, &mut promised)
            .and_then(|()| live(&mut flash, SECOND_LIFE, &mut promised))
            .is_ok();
        check(&mut flash, &mut promised, &format!("cut {cuts}"));
        if finished {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 100, "{cuts} cuts");
    println!("{cuts} cuts");
}

#[test]
fn cuts_again_while_recovering_lose_nothing_promised() {
    // First cut anywhere, second within the first operations of what follows.
    for first in (0..150).step_by(3) {
        for second in 0..12 {
            let mut flash = blank().seed(first * 100 + second);
            flash.cut_at = Some(first);
            let mut promised = Promised::default();
            let _ = live(&mut flash, 0, &mut promised);
            flash.cut_at = Some(flash.steps + second);
            let _ = try_open(&mut flash, at(SECOND_LIFE)).map(drop);
            check(&mut flash, &mut promised, &format!("cuts {first} and {second}"));
        }
    }
}

#[test]
fn a_cut_between_saving_and_the_row_still_gives_the_row() {
    // The row of the interval in which the power went is written at power-up, from the registers saved last.
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    support::run(&mut meter, 0, 3_000, 20.0, &QUIET);
    let energy = meter.saved_registers().total_import_nanowatt_hours / 1_000_000;
    drop(meter);
    let meter = open(&mut flash, at(2 * 900_000));
    assert_eq!(meter.load_profile_range(), 1..=1);
    let row = meter.load_profile_row(1).unwrap().unwrap();
    assert_eq!(row.time, at(900_000));
    assert_eq!(row.status, ProfileRow::POWER_DOWN);
    assert_eq!(row.active_import_milliwatt_hours, energy);
    assert!(energy > 0);
}

#[test]
fn rows_follow_the_clock_with_registers_and_mean_voltages() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    support::run(&mut meter, 899_000, 901_000, 20.0, &QUIET);
    let row = meter.load_profile_row(1).unwrap().unwrap();
    assert_eq!(row.time, at(900_000));
    // The first interval began with the meter.
    assert_eq!(row.status, ProfileRow::IRREGULAR);
    for voltage in row.mean_voltage_centivolts {
        assert!((22_900..=23_010).contains(&voltage), "{voltage}");
    }
    assert!(row.active_import_milliwatt_hours > 1_000);
    assert!(row.reactive_import_millivar_hours > 500);
    assert_eq!(row.active_export_milliwatt_hours, 0);
}

#[test]
fn cpa_tamp_a_cover_that_stays_open_over_a_restart_is_logged_once() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    support::run(&mut meter, 0, 500, 0.0, &OPEN);
    drop(meter);
    let mut meter = open(&mut flash, at(60_000));
    support::run(&mut meter, 60_000, 60_500, 0.0, &OPEN);
    assert_eq!(log(&meter), [EventCode::PowerUp, EventCode::CoverRemoved, EventCode::PowerUp]);
    drop(meter);
    // Closed while the power was away: noticed at power-up.
    let mut meter = open(&mut flash, at(120_000));
    support::run(&mut meter, 120_000, 120_500, 0.0, &QUIET);
    assert_eq!(log(&meter)[3..], [EventCode::PowerUp, EventCode::CoverClosed]);
}

#[test]
fn the_gap_without_power_is_recorded() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    support::run(&mut meter, 0, 2_000, 0.0, &QUIET);
    meter.power_down(at(3_000)).unwrap();
    drop(meter);
    let meter = open(&mut flash, at(10_000));
    let down = meter.security_log_entry(2).unwrap().unwrap();
    assert_eq!((down.code, down.time, down.uptime_ms), (EventCode::PowerDown, at(3_000), 3_000));
    let up = meter.security_log_entry(3).unwrap().unwrap();
    assert_eq!((up.code, up.time, up.uptime_ms, up.extreme), (EventCode::PowerUp, at(10_000), 0, 7_000_000));
    drop(meter);
    // Not orderly: the gap counts from what was saved last.
    let meter = open(&mut flash, at(12_000));
    assert_eq!(meter.security_log_entry(4).unwrap().unwrap().extreme, 2_000_000);
}

#[test]
fn cpa_tamp_a_full_log_drops_nothing_unacknowledged_and_keeps_room_for_tamper_events() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    // Power-ups are of the least urgent kind. The log holds 64 entries, an eighth kept for tamper events.
    for boot in 1..80 {
        drop(meter);
        meter = open(&mut flash, at(boot * 1_000));
        // What found no room is counted at the next save.
        meter.tick(at(boot * 1_000 + 1_000)).unwrap();
    }
    let found = log(&meter);
    assert_eq!(meter.security_log_range(), 1..=56);
    assert_eq!(found.iter().filter(|&&code| code == EventCode::LogNearlyFull).count(), 1);
    for turn in 0..60 {
        let readings = if turn % 2 == 0 { OPEN } else { QUIET };
        // Slowly: what comes faster is counted.
        support::run(&mut meter, 100_000 + turn * 8_000, 100_300 + turn * 8_000, 0.0, &readings);
    }
    let found = log(&meter);
    assert_eq!(meter.security_log_range().start(), &1, "nothing is dropped");
    // All 96 slots are taken: after the 56, by the first twenty openings, each with its end.
    assert_eq!(found[56..], [EventCode::CoverRemoved, EventCode::CoverClosed].repeat(20), "{found:?}");

    // The head-end fetches them: there is room again, and the log says how many events are missing.
    meter.connected();
    let mut client = support::client::Client::utility();
    client.associate(&mut meter).unwrap();
    let newest = *meter.security_log_range().end();
    let committed = dlms_cosem_rs::axdr::Data::Long64Unsigned(newest);
    client.set(&mut meter, 1, meterseal_model::Obis::COMMITTED_SECURITY_LOG, committed).unwrap();
    let last = meter.security_log_entry(newest + 1).unwrap().unwrap();
    assert_eq!(last.code, EventCode::EventsNotLogged);
    // 80 power-ups less the 55 that found room, and 60 turns of the cover less 40.
    assert_eq!(last.extreme, 25 + 20);
}

#[test]
fn another_meters_flash_and_other_flashes_are_refused_unharmed() {
    let mut flash = blank();
    drop(open(&mut flash, at(0)));
    let refused = |flash: &mut RamFlash, identity, config| {
        let before = flash.bytes.clone();
        let error =
            Meter::open(identity, utility_keys(), config, &mut *flash, Counting(1), at(0)).unwrap_err();
        assert!(flash.bytes == before, "{error}");
        error
    };
    let mut other = identity();
    other.id = "MSL0000000043".parse().unwrap();
    let error = refused(&mut flash, other, config());
    assert!(
        matches!(error, OpenError::OtherMeter { found } if found == identity().id.system_title()),
        "{error}"
    );

    let larger = Config { layout: Layout { profile_sectors: 3, ..Layout::TINY }, ..config() };
    let mut grown = RamFlash::new(larger.layout.size());
    grown.bytes[..flash.bytes.len()].copy_from_slice(&flash.bytes);
    let error = refused(&mut grown, identity(), larger);
    assert!(matches!(error, OpenError::OtherLayout { .. }), "{error}");

    let mut newer = flash.clone();
    newer.bytes[8] = 5;
    let error = refused(&mut newer, identity(), config());
    assert!(matches!(error, OpenError::OtherVersion { found: 5, supported: 4 }), "{error}");

    let mut foreign = blank();
    foreign.bytes.fill(0x5A);
    let error = refused(&mut foreign, identity(), config());
    assert!(matches!(error, OpenError::NotAMeter), "{error}");

    let mut small = RamFlash::new(4 * SECTOR);
    let error = refused(&mut small, identity(), config());
    assert!(matches!(error, OpenError::TooSmall { .. }), "{error}");

    // Counters gone: a meter without them must not speak under its keys.
    let mut lost = flash.clone();
    lost.bytes[SECTOR..3 * SECTOR].fill(0xFF);
    let error = refused(&mut lost, identity(), config());
    assert!(matches!(error, OpenError::StateLost), "{error}");

    let period = Config { profile_period_seconds: 30, ..config() };
    let error = refused(&mut flash, identity(), period);
    assert!(matches!(error, OpenError::Setting { field: "profile_period_seconds", .. }), "{error}");
}

#[test]
fn the_standard_layout_holds_what_the_figures_promise() {
    let mut flash = RamFlash::new(Layout::STANDARD.size());
    let config = Config { layout: Layout::STANDARD, ..config() };
    let mut meter = Meter::open(identity(), utility_keys(), config, &mut flash, Counting(1), at(0)).unwrap();
    // 200 days of quarters.
    for quarter in 1..=19_200 {
        meter.tick(at(quarter * 900_000)).unwrap();
    }
    let rows = meter.load_profile_range();
    assert!(rows.end() - rows.start() + 1 >= 19_056, "{rows:?}");
    assert!(meter.load_profile_row(*rows.start()).unwrap().is_some());
}

#[test]
fn cpa_tamp_what_a_failing_flash_refused_is_written_when_it_works_again() {
    let mut flash = blank();
    let broken = flash.broken.clone();
    let mut meter = open(&mut flash, at(0));
    meter.sense(&OPEN, at(100)).unwrap();
    broken.store(true, Ordering::Relaxed);
    let surge = SensorReadings { surge_peak_millivolts: [0, 0, 5_000_000], ..OPEN };
    meter.sense(&surge, at(200)).unwrap_err();
    meter.sense(&OPEN, at(300)).unwrap_err();
    meter.tick(at(1_400)).unwrap_err();
    assert_eq!(log(&meter), [EventCode::PowerUp]);
    broken.store(false, Ordering::Relaxed);
    meter.tick(at(1_500)).unwrap();
    assert_eq!(
        log(&meter),
        [EventCode::PowerUp, EventCode::VoltageSpike, EventCode::CoverRemoved, EventCode::StorageError]
    );
    let spike = meter.security_log_entry(2).unwrap().unwrap();
    assert_eq!((spike.time, spike.extreme), (at(200), 5_000_000_000));
    meter.sense(&OPEN, at(1_600)).unwrap();
    meter.tick(at(2_600)).unwrap();
    assert_eq!(
        log(&meter),
        [EventCode::PowerUp, EventCode::VoltageSpike, EventCode::CoverRemoved, EventCode::StorageError],
        "each once"
    );
}

#[test]
fn no_invocation_counter_comes_back_when_the_newest_record_of_them_rots() {
    const SLOT: usize = 128;
    let state = SECTOR..3 * SECTOR;
    let mut flash = blank();
    let mut promised = Promised::default();
    let mut meter = open(&mut flash, at(0));
    visit(&mut meter, &mut promised).unwrap();
    drop(meter);
    let mut counters = promised.counters;
    for boot in 1..30 {
        let mut meter = open(&mut flash, at(boot * 1_000));
        // One counter is spent, just after it was reserved: in the AARE. Then the power goes.
        meter.connected();
        let mut client =
            Client::new(Role::Utility, &utility_keys(), promised.client_counter + boot as u32, 1024);
        let mut aarq = [0; 512];
        let len = client.session.associate_request(&mut aarq).unwrap();
        client.exchange(&mut meter, &aarq[..len]).unwrap();
        counters.push(counter(&client.frames[0]).unwrap());
        drop(meter);
        // The newest record: the last slot in use before one that is erased, or at the end of its sector.
        let newest = state
            .clone()
            .step_by(SLOT)
            .filter(|&slot| flash.bytes[slot] != 0xFF)
            .max_by_key(|&slot| u32::from_le_bytes(flash.bytes[slot..slot + 4].try_into().unwrap()))
            .unwrap();
        flash.bytes[newest + 9] ^= 0x10;
        // Spoilt for good: its number must not look like the newest one's next time.
        flash.bytes[newest..newest + 4].fill(0);
    }
    assert!(counters.is_sorted_by(|a, b| a < b), "{counters:?}");
}

#[test]
fn a_meter_may_run_in_a_thread() {
    fn is_send<T: Send>() {}
    is_send::<Meter<RamFlash, Counting>>();
}

/// A flash as format version 1 left it: a busy life in the first four regions, and nothing behind them.
fn version_1() -> RamFlash {
    let mut flash = blank();
    live(&mut flash, 0, &mut Promised::default()).unwrap();
    let mut record = b"MTRSEAL\0\x01\0".to_vec();
    record.extend(identity().id.system_title().0);
    let layout = Layout::TINY;
    for sectors in [layout.state_sectors, layout.register_sectors, layout.log_sectors, layout.profile_sectors]
    {
        record.extend(sectors.to_le_bytes());
    }
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&record);
    record.extend(checksum.to_le_bytes());
    flash.bytes[..SECTOR].fill(0xFF);
    flash.bytes[..record.len()].copy_from_slice(&record);
    flash.bytes[layout.former_size(1)..].fill(0xFF);
    flash
}

#[test]
fn a_flash_of_format_version_1_is_taken_over_whole_at_any_cut() {
    let before = version_1();
    let events = log(&open(&mut before.clone(), at(5_000)));
    let mut cuts = 0;
    loop {
        let mut flash = before.clone().seed(cuts);
        flash.cut_at = Some(flash.steps + cuts);
        let finished = try_open(&mut flash, at(5_000)).is_ok();
        flash.restore();
        let meter = open(&mut flash, at(5_000));
        assert_eq!(log(&meter)[..events.len() - 1], events[..events.len() - 1], "cut {cuts}");
        assert!(meter.saved_registers().total_import_nanowatt_hours > 0, "cut {cuts}");
        drop(meter);
        // Taken over once, it stays so, and another meter's is refused as ever.
        open(&mut flash, at(6_000));
        if finished {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts} cuts");
    let mut short = RamFlash::new(Layout::TINY.former_size(1));
    short.bytes.copy_from_slice(&before.bytes[..Layout::TINY.former_size(1)]);
    assert!(matches!(try_open(&mut short, at(5_000)), Err(OpenError::TooSmall { .. })));
}
