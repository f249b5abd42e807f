//! Tamper events through the whole meter: thresholds over DLMS, counters over restarts, covers without supply, faults that
//! the device reports; each from what happens to the entry, its leaf and what DLMS shows.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_meter::{Fault, SealedLeaf, Thresholds};
use meterseal_model::{EventCode, Obis, Role, SensorReadings, TamperCounter};
use meterseal_seal::log::{Body, Event, Leaf};
use support::client::{Client, Value};
use support::{OPEN, QUIET, TestMeter, at, axdr, blank, keys_of, open, run};

/// Weaker than a threshold is by the standard ones.
const WEAK_MAGNET: SensorReadings =
    SensorReadings { magnetic_field_microtesla: [0, 20_000, 0], ..SensorReadings::QUIET };
const DATA: u16 = 1;

/// Codes and extreme values of the security log, and what of it is sealed.
fn log(meter: &TestMeter<'_>) -> Vec<(EventCode, i64)> {
    let entries = meter.security_log_range().map(|sequence| meter.security_log_entry(sequence).unwrap());
    let entries: Vec<_> = entries.map(|entry| entry.expect("every entry held is readable")).collect();
    let sealed = sealed(meter);
    for entry in &entries {
        let leaf = sealed.iter().find(|leaf| leaf.row == entry.sequence).expect("each entry is sealed");
        assert_eq!((leaf.code, leaf.extreme), (entry.code as u8, entry.extreme));
    }
    entries.into_iter().map(|entry| (entry.code, entry.extreme)).collect()
}

fn sealed(meter: &TestMeter<'_>) -> Vec<Event> {
    let leaf = |index| match meter.sealed_leaf(index).unwrap().unwrap() {
        SealedLeaf::Bytes(bytes) => Leaf::decode(&bytes).unwrap(),
        SealedLeaf::Hash(hash) => panic!("leaf {index} is only a hash: {hash}"),
    };
    let bodies = meter.sealed_leaves().map(|index| leaf(index).body);
    bodies
        .filter_map(|body| match body {
            Body::Event(event) => Some(event),
            _ => None,
        })
        .collect()
}

fn as_client_writes(thresholds: &Thresholds) -> Vec<u8> {
    let fields = thresholds.to_fields().map(axdr::u32);
    axdr::structure(&[vec![axdr::u8(1)], fields.to_vec()].concat())
}

fn counters(client: &mut Client, meter: &mut TestMeter<'_>) -> [i64; 8] {
    TamperCounter::ALL
        .map(|counter| client.get(meter, DATA, Obis::TAMPER_COUNTERS[counter.index()], 2).number())
}

#[test]
fn cpa_tamp_thresholds_that_the_utility_sets_are_a_sealed_event_take_effect_and_outlast_a_restart() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 500, 5.0, &WEAK_MAGNET);
    assert_eq!(log(&meter), [(EventCode::PowerUp, 0)]);

    let sharper =
        Thresholds { magnet_on_microtesla: 10_000, magnet_off_microtesla: 5_000, ..Thresholds::STANDARD };
    let set = |meter: &mut TestMeter<'_>, role, value: &[u8]| {
        meter.connected();
        let mut client = Client::new(role, &keys_of(role), meter.clock().0 as u32, 1024);
        client.associate(meter).unwrap();
        client.set_attribute(meter, DATA, Obis::TAMPER_THRESHOLDS, 2, value)
    };
    for role in [Role::Reader, Role::Installer] {
        let refused = set(&mut meter, role, &as_client_writes(&sharper));
        assert_eq!(refused, Err(DataAccessResult::ReadWriteDenied), "{role}");
    }
    let beyond = Thresholds { magnet_off_microtesla: 20_000, ..sharper };
    set(&mut meter, Role::Utility, &as_client_writes(&beyond)).unwrap_err();
    run(&mut meter, 500, 1_000, 5.0, &WEAK_MAGNET);
    let codes: Vec<_> = log(&meter).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [EventCode::PowerUp, EventCode::UnauthorisedAct, EventCode::UnauthorisedAct]);

    set(&mut meter, Role::Utility, &as_client_writes(&sharper)).unwrap();
    assert_eq!(log(&meter)[3..], [(EventCode::ParametersChanged, i64::from(DATA))]);
    run(&mut meter, 1_000, 1_500, 5.0, &WEAK_MAGNET);
    assert_eq!(log(&meter)[4..], [(EventCode::MagnetOn, 20_000)]);
    drop(meter);

    let mut meter = open(&mut flash, at(60_000));
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap_err();
    meter.connected();
    let mut client = Client::new(Role::Utility, &keys_of(Role::Utility), meter.clock().0 as u32, 1024);
    client.associate(&mut meter).unwrap();
    let shown = client.get(&mut meter, DATA, Obis::TAMPER_THRESHOLDS, 2);
    let shown: Vec<_> = shown.list().iter().map(Value::number).collect();
    assert_eq!(shown[1..], sharper.to_fields().map(i64::from));
}

#[test]
fn cpa_tamp_counters_outlast_a_power_cut() {
    let mut flash = blank();
    let surge = SensorReadings { surge_peak_millivolts: [0, 2_000_000, 0], ..QUIET };
    for life in 0..3 {
        let start = life * 10_000;
        let mut meter = open(&mut flash, at(start));
        run(&mut meter, start, start + 500, 5.0, &OPEN);
        run(&mut meter, start + 500, start + 600, 5.0, &surge);
        run(&mut meter, start + 600, start + 1_500, 5.0, &QUIET);
        meter.report(Fault::Ram).unwrap();
        meter.connected();
        let mut client = Client::new(Role::Utility, &keys_of(Role::Utility), start as u32 + 10, 1024);
        client.associate(&mut meter).unwrap();
        let found = counters(&mut client, &mut meter);
        assert_eq!(found, [life + 1, 0, 0, 0, 0, 0, 0, life + 1], "in life {life}");
    }
}

#[test]
fn cpa_tamp_a_cover_opened_without_supply_is_logged_at_power_up_with_the_uncertainty_of_its_time() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 2_000, 5.0, &QUIET);
    meter.power_down(at(2_000)).unwrap();
    drop(meter);

    // Opened and closed again in the minute without supply.
    let mut meter = open(&mut flash, at(62_000));
    let latched = SensorReadings { meter_cover_latched: true, ..QUIET };
    meter.sense(&latched, at(62_004)).unwrap();
    let found = log(&meter);
    let away = 60_000_000;
    assert_eq!(
        found[1..],
        [
            (EventCode::PowerDown, 0),
            (EventCode::PowerUp, away),
            (EventCode::CoverRemoved, away),
            (EventCode::CoverClosed, away)
        ]
    );
    let removed = sealed(&meter).into_iter().find(|event| event.code == EventCode::CoverRemoved as u8);
    assert_eq!(removed.map(|event| (event.time, event.extreme)), Some((at(62_004), away)), "as sealed");
    drop(meter);

    // Without an orderly stop, and still open: unseen since the last save.
    let mut meter = open(&mut flash, at(122_000));
    let opened = SensorReadings { terminal_cover_open: true, terminal_cover_latched: true, ..QUIET };
    run(&mut meter, 122_000, 122_500, 5.0, &opened);
    let (code, uncertainty) = log(&meter)[6];
    assert_eq!(code, EventCode::TerminalCoverRemoved);
    assert!((59_900_000..=60_000_000).contains(&uncertainty), "{uncertainty}");
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    assert_eq!(counters(&mut client, &mut meter)[..2], [1, 1]);
}

#[test]
fn a_cover_found_opened_at_the_very_first_start_is_of_an_unknown_time() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let latched = SensorReadings { terminal_cover_latched: true, ..QUIET };
    meter.sense(&latched, at(4)).unwrap();
    assert_eq!(
        log(&meter)[1..],
        [(EventCode::TerminalCoverRemoved, -1), (EventCode::TerminalCoverClosed, -1)]
    );
}

#[test]
fn cpa_tamp_faults_that_the_device_reports_are_sealed_and_raise_their_alarms() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let faults = [
        (Fault::ProgramMemory, EventCode::ProgramMemoryError),
        (Fault::Ram, EventCode::RamError),
        (Fault::Watchdog, EventCode::WatchdogReset),
        (Fault::Firmware, EventCode::FirmwareRefused),
    ];
    let mut alarms = EventCode::PowerUp.alarm();
    for (fault, code) in faults {
        meter.report(fault).unwrap();
        assert_eq!(log(&meter).last(), Some(&(code, 0)), "{fault:?}");
        alarms |= code.alarm();
    }
    meter.connected();
    let mut client = Client::utility();
    client.associate(&mut meter).unwrap();
    assert_eq!(client.get(&mut meter, DATA, Obis::ALARM_REGISTER, 2).number(), i64::from(alarms));
}
