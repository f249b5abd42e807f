//! The whole core inside the meter: frames in, DLMS values out. Calibration, gaps, power quality, pulses.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use meterseal_meter::{CalibrationStatus, Config, ProfileRow, unit_id, write_calibration};
use meterseal_metrology::{Calibration, Frame, MeteredEnergy, PhaseQuantities};
use meterseal_model::event::PowerEvent;
use meterseal_model::{EventCode, Obis, SensorReadings, UnixMillis};
use support::client::{Client, Value, by_sequence};
use support::flash::RamFlash;
use support::{QUIET, RATE, TestMeter, at, blank, config, frames, identity, open, run};

/// The reference meter's settings on the bench's front end.
fn reference(flash: &mut RamFlash, now: UnixMillis) -> TestMeter<'_> {
    let config = Config { layout: config().layout, ..Config::reference(config().metrology) };
    support::try_open_as(config, flash, now).unwrap()
}

fn calibrated(record: &Calibration) -> RamFlash {
    let mut flash = blank();
    write_calibration(&mut flash, identity().id, config().layout, &record.encode()).unwrap();
    flash
}

fn client(meter: &mut TestMeter<'_>) -> Client {
    meter.connected();
    let mut client = Client::utility();
    client.associate(meter).unwrap();
    client
}

fn number(meter: &mut TestMeter<'_>, client: &mut Client, class: u16, obis: Obis) -> i64 {
    client.get(meter, class, obis, 2).number()
}

fn log(meter: &TestMeter<'_>) -> Vec<(EventCode, i64, u64)> {
    meter
        .security_log_range()
        .map(|sequence| meter.security_log_entry(sequence).unwrap().unwrap())
        .map(|entry| (entry.code, entry.extreme, entry.uptime_ms))
        .collect()
}

/// What 10 A add to the register in two seconds, once all is settled.
fn two_seconds(meter: &mut TestMeter<'_>) -> u64 {
    run(meter, 0, 1_000, 10.0, &QUIET);
    let before = meter.saved_registers().total_import_nanowatt_hours;
    run(meter, 1_000, 3_000, 10.0, &QUIET);
    meter.saved_registers().total_import_nanowatt_hours - before
}

#[test]
fn the_factorys_record_corrects_what_dlms_shows_and_what_is_billed() {
    let mut plain = blank();
    let mut meter = open(&mut plain, at(0));
    let uncalibrated = two_seconds(&mut meter);
    assert_eq!(meter.calibration(), CalibrationStatus::Missing);
    let mut reader = client(&mut meter);
    assert_eq!(number(&mut meter, &mut reader, 1, Obis::CALIBRATION_STATUS), 1, "uncalibrated, and says so");

    let mut record = Calibration::nothing(unit_id(identity().id));
    for voltage in &mut record.channels[..3] {
        // One per cent.
        voltage.gain_ppb.constant = 10_000_000;
    }
    record.taken_at_millikelvin[..2].copy_from_slice(&[233_150, 358_150]);
    let mut flash = calibrated(&record);
    let mut meter = open(&mut flash, at(0));
    let energy = two_seconds(&mut meter);
    let mut reader = client(&mut meter);
    assert_eq!(number(&mut meter, &mut reader, 1, Obis::CALIBRATION_STATUS), 0);
    let volts = number(&mut meter, &mut reader, 3, Obis::VOLTAGE[0]);
    assert!((232_290..=232_310).contains(&volts), "{volts} mV");
    let ratio = energy as f64 / uncalibrated as f64;
    assert!((ratio - 1.01).abs() < 1e-6, "{ratio}");
    let mut status_at = |temperature_millikelvin| {
        meter.sense(&SensorReadings { temperature_millikelvin, ..QUIET }, at(3_000)).unwrap();
        number(&mut meter, &mut reader, 1, Obis::CALIBRATION_STATUS)
    };
    assert_eq!(status_at(370_000), 3, "beyond its temperatures");
    assert_eq!(status_at(350_000), 0);
    assert_eq!(status_at(0), 3, "a broken thermometer");
}

#[test]
fn a_refused_record_is_said_and_logged_and_no_register_moves() {
    let unit = unit_id(identity().id);
    let spoilt = {
        let mut flash = calibrated(&Calibration::nothing(unit));
        let place = flash.bytes.windows(unit.len()).position(|bytes| bytes == unit).unwrap();
        flash.bytes[place + 100] ^= 0x40;
        flash
    };
    let torn = {
        let mut flash = calibrated(&Calibration::nothing(unit));
        let place = flash.bytes.windows(unit.len()).position(|bytes| bytes == unit).unwrap();
        flash.bytes[place + 64..place + 764].fill(0xFF);
        flash
    };
    let mut impossible = Calibration::nothing(unit);
    impossible.channels[0].gain_ppb.constant = 200_000_001;
    let another = Calibration::nothing(*b"MSL0000000043\0\0\0");
    for (mut flash, reason) in
        [(spoilt, 3), (torn, 3), (calibrated(&another), 4), (calibrated(&impossible), 5)]
    {
        let mut meter = reference(&mut flash, at(0));
        assert_eq!(meter.calibration(), CalibrationStatus::Refused);
        run(&mut meter, 898_000, 902_000, 10.0, &QUIET);
        assert_eq!(
            log(&meter).into_iter().map(|(code, extreme, _)| (code, extreme)).collect::<Vec<_>>(),
            [(EventCode::PowerUp, 0), (EventCode::MeasurementError, reason)]
        );
        assert_eq!(*meter.saved_registers(), meterseal_metrology::Registers::default());
        let row = meter.load_profile_row(1).unwrap().unwrap();
        assert_eq!(row.status & ProfileRow::NOT_BOOKED, ProfileRow::NOT_BOOKED);
        let mut pulses = 0;
        meter.take_pulses(&mut |_| pulses += 1);
        assert_eq!(pulses, 0);
        let mut reader = client(&mut meter);
        assert_eq!(number(&mut meter, &mut reader, 1, Obis::CALIBRATION_STATUS), 2);
        assert_eq!(number(&mut meter, &mut reader, 3, Obis::ACTIVE_ENERGY_IMPORT), 0);
        let alarms = number(&mut meter, &mut reader, 1, Obis::ALARM_REGISTER);
        assert_eq!(alarms & (1 << 11), 1 << 11, "measurement");
        // It still shows what it sees.
        let volts = number(&mut meter, &mut reader, 3, Obis::VOLTAGE[0]);
        assert!((229_900..=230_100).contains(&volts), "{volts} mV");
    }
}

#[test]
fn registers_from_before_a_refusal_stand_and_go_on_after_the_factory_has_repaired_it() {
    let record = Calibration::nothing(unit_id(identity().id));
    let mut flash = calibrated(&record);
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 2_000, 10.0, &QUIET);
    let before = *meter.saved_registers();
    drop(meter);
    let place = flash.bytes.windows(16).position(|bytes| bytes == record.unit).unwrap();
    flash.bytes[place + 20] ^= 1;
    let mut meter = open(&mut flash, at(10_000));
    run(&mut meter, 10_000, 12_000, 10.0, &QUIET);
    assert_eq!(*meter.saved_registers(), before);
    drop(meter);
    write_calibration(&mut flash, identity().id, config().layout, &record.encode()).unwrap();
    let mut meter = open(&mut flash, at(20_000));
    assert_eq!(*meter.saved_registers(), before);
    run(&mut meter, 20_000, 22_000, 10.0, &QUIET);
    assert!(meter.saved_registers().total_import_nanowatt_hours > before.total_import_nanowatt_hours);
}

#[test]
fn missing_and_repeated_frames_are_events_with_a_duration_and_never_estimated() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut next = 0u64;
    let mut feed = |meter: &mut TestMeter<'_>, from: u64, now: i64| {
        meter.sample_at(from, &frames(from, 800, 20.0), at(now));
        meter.sense(&QUIET, at(now)).unwrap();
        meter.tick(at(now)).unwrap();
        next = from + 800;
        next
    };
    for block in 0..20 {
        feed(&mut meter, block * 800, (block as i64 + 1) * 100);
    }
    // Half a second is lost, and the last block before it came twice.
    feed(&mut meter, 19 * 800, 2_000);
    for block in 25..40 {
        feed(&mut meter, block * 800, (block as i64 + 1) * 100);
    }
    let found = log(&meter);
    assert_eq!(found[1].0, EventCode::SamplesRepeated);
    assert_eq!(found[1].1, 100_000);
    assert_eq!(found[2], (EventCode::MeasurementGap, 500_000, 2_000), "as long, and since when");
    assert_eq!(found.len(), 3);
    // 3.5 s of 3 · 230 V · 20 A · cos 30°, and not 4 s.
    meter.power_down(at(4_000)).unwrap();
    let energy = meter.saved_registers().total_import_nanowatt_hours as f64 / 1e9;
    let expected = 3.0 * 230.0 * 20.0 * 0.866_025 * 3.5 / 3600.0;
    // What is still in the last two cycles is missing.
    assert!(energy < expected && energy > expected * 0.98, "{energy} of {expected} Wh");
}

#[test]
fn a_front_end_that_stumbles_all_the_time_makes_one_event_a_minute() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    for block in 0..700i64 {
        // Every tenth of a second lacks its last millisecond.
        meter.sample_at(block as u64 * 800, &frames(0, 792, 0.0), at(block * 100));
        meter.tick(at(block * 100)).unwrap();
    }
    let gaps: Vec<_> = log(&meter).into_iter().filter(|entry| entry.0 == EventCode::MeasurementGap).collect();
    assert_eq!(gaps.iter().map(|gap| gap.1).collect::<Vec<_>>(), [1_000, 600_000]);
}

/// A supply whose L1 is this part of its voltage.
fn sagging(first: u64, part: f64) -> Vec<Frame> {
    let mut frames = frames(first, 800, 5.0);
    for frame in &mut frames {
        frame.voltage[0] = (f64::from(frame.voltage[0]) * part).round() as i32;
    }
    frames
}

#[test]
fn a_sag_is_in_the_power_quality_log_with_start_end_and_extreme() {
    let mut flash = blank();
    let mut meter = reference(&mut flash, at(0));
    for block in 0..20u64 {
        let now = at((block as i64 + 1) * 100);
        // From 1.0 s to 1.3 s L1 has half its voltage.
        let part = if (10..13).contains(&block) { 0.5 } else { 1.0 };
        meter.sample_at(block * 800, &sagging(block * 800, part), now);
        meter.tick(now).unwrap();
    }
    let mut reader = client(&mut meter);
    let mut buffer = [0; 128];
    let all = by_sequence(&mut buffer, 1, 1000);
    let rows = reader.try_get(&mut meter, 7, Obis::POWER_QUALITY_LOG, 2, Some(all)).unwrap();
    let sag = i64::from(PowerEvent::Sag as u8);
    let sags: Vec<_> = rows.list().iter().map(Value::list).filter(|row| row[2].number() == sag).collect();
    assert_eq!(sags.len(), 2, "{rows:?}");
    for row in &sags {
        assert_eq!(row[3].number(), 1, "L1");
        let began = row[6].number();
        assert!((980..=1_020).contains(&began), "uptime {began} ms");
    }
    assert_eq!(sags[0][4].number(), 0, "it goes on");
    let duration = sags[1][4].number();
    assert!((290..=340).contains(&duration), "{duration} ms");
    let lowest = sags[1][5].number();
    assert!((114_000_000..=116_000_000).contains(&lowest), "{lowest} µV");
    // An unbalance came with it.
    assert!(rows.list().iter().any(|row| row.list()[2].number() == i64::from(PowerEvent::Unbalance as u8)));
    let in_use = reader.get(&mut meter, 7, Obis::POWER_QUALITY_LOG, 7).number();
    assert_eq!(in_use as usize, rows.list().len());
    // It is in flash.
    drop(meter);
    let meter = reference(&mut flash, at(60_000));
    assert_eq!(*meter.power_quality_range().end(), in_use as u64);
}

#[test]
fn a_flickering_supply_cannot_wear_the_flash_out_and_what_is_left_out_is_counted() {
    let mut flash = blank();
    let mut meter = reference(&mut flash, at(0));
    for block in 0..1000u64 {
        let now = at((block as i64 + 1) * 100);
        let part = if block % 2 == 0 { 0.5 } else { 1.0 };
        meter.sample_at(block * 800, &sagging(block * 800, part), now);
        meter.tick(now).unwrap();
    }
    // 64 at once, and one more every 10 s, eight together.
    let rows = *meter.power_quality_range().end();
    assert!((64..=74).contains(&rows), "{rows}");
    let told: Vec<_> = (1..=rows)
        .map(|sequence| meter.power_quality_row(sequence).unwrap().unwrap())
        .filter(|row| row.event == PowerEvent::NotRecorded)
        .collect();
    assert!(told.iter().map(|row| row.extreme).sum::<i64>() > 100, "{told:?}");
}

#[test]
fn pulses_are_the_registers_energy_times_the_constant() {
    let mut flash = blank();
    let mut meter = reference(&mut flash, at(0));
    let mut pulses = [0u64; 2];
    for block in 0..100u64 {
        let now = at((block as i64 + 1) * 100);
        meter.sample_at(block * 800, &frames(block * 800, 800, 80.0), now);
        meter.tick(now).unwrap();
        meter.take_pulses(&mut |pulse| pulses[pulse.output] += 1);
    }
    let registers = meter.saved_registers();
    let energies = [registers.total_import_nanowatt_hours, registers.reactive_import_nanovar_hours()];
    for (pulses, energy) in pulses.into_iter().zip(energies) {
        let expected = energy as f64 / 1e12 * 10_000.0;
        // A window's worth of pulses is still to come.
        assert!((pulses as f64 - expected).abs() <= 0.05 * expected, "{pulses} for {expected}");
        assert!(pulses > 700);
    }
}

#[test]
fn neutral_current_sequences_and_distortion_are_shown() {
    let mut flash = blank();
    let mut meter = reference(&mut flash, at(0));
    for block in 0..20u64 {
        let now = at((block as i64 + 1) * 100);
        let mut block_frames = frames(block * 800, 800, 10.0);
        for (k, frame) in block_frames.iter_mut().enumerate() {
            // A third of the fundamental as fifth harmonic on L2's current, and a neutral current of 2 A.
            let turns = 50.0 * (block * 800 + k as u64) as f64 / f64::from(RATE);
            let fifth = (turns * 5.0 * std::f64::consts::TAU).sin() * 10.0 * std::f64::consts::SQRT_2 / 3.0;
            frame.current[1] += (fifth / 20e-6).round() as i32;
            let neutral = (turns * std::f64::consts::TAU).sin() * 2.0 * std::f64::consts::SQRT_2;
            frame.current[3] = (neutral / 20e-6).round() as i32;
        }
        meter.sample_at(block * 800, &block_frames, now);
        meter.tick(now).unwrap();
    }
    let mut reader = client(&mut meter);
    let mut near = |obis, expected: i64, by: i64| {
        let found = number(&mut meter, &mut reader, 3, obis);
        assert!((expected - by..=expected + by).contains(&found), "{obis}: {found}, expected {expected}");
    };
    near(Obis::NEUTRAL_CURRENT, 2_000_000, 200);
    near(Obis::VOLTAGE_SEQUENCE[1], 230_000, 20);
    near(Obis::VOLTAGE_SEQUENCE[0], 0, 20);
    near(Obis::VOLTAGE_SEQUENCE[2], 0, 20);
    near(Obis::CURRENT_SEQUENCE[1], 10_000_000, 1_000);
    near(Obis::CURRENT_THD[1], 333_333, 100);
    near(Obis::CURRENT_THD[0], 0, 1_000);
    near(Obis::VOLTAGE_THD[0], 0, 1_000);
    near(Obis::VOLTAGE_UNBALANCE, 0, 50);
}

#[test]
fn below_the_start_threshold_nothing_is_booked() {
    let mut flash = blank();
    let mut meter = reference(&mut flash, at(0));
    // 2 mA at 230 V and 30°: 0.4 W a phase; the meter starts at 0.69 W.
    run(&mut meter, 0, 3_000, 0.002, &QUIET);
    assert_eq!(meter.saved_registers().total_import_nanowatt_hours, 0);
    run(&mut meter, 3_000, 6_000, 0.005, &QUIET);
    assert!(meter.saved_registers().total_import_nanowatt_hours > 0);
}

/// One phase's kilowatt for a second, and what a window of it looks like.
fn kilowatt_second() -> (meterseal_metrology::Window, [MeteredEnergy; 3]) {
    let phase = PhaseQuantities { voltage_rms_microvolts: 230_000_000, ..PhaseQuantities::default() };
    let window = meterseal_metrology::Window {
        first_sample: 0,
        samples: 8000,
        cycles: 50,
        frequency_microhertz: Some(50_000_000),
        phases: [phase; 3],
        neutral_current_rms_microamperes: 0,
        active_power_microwatts: 1_000_000_000,
        reactive_power_microvars: 0,
        apparent_power_microvoltamperes: 1_000_000_000,
        power_factor_ppm: 1_000_000,
        clipped: false,
        disturbed: false,
        components: meterseal_metrology::Components::default(),
    };
    let phase = |active: i64, reactive: i64| MeteredEnergy {
        active_nanowatt_hours: active,
        reactive_nanovar_hours: reactive,
        apparent_nanovoltampere_hours: active.unsigned_abs(),
    };
    (window, [phase(400_000_000, -10), phase(-100_000_000, 30), phase(-22_222_223, 0)])
}

#[test]
fn a_front_end_that_meters_itself_feeds_registers_profile_and_dlms() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let (window, energy) = kilowatt_second();
    for second in 1..=901 {
        meter.account(&window, &energy, at(second * 1000));
        meter.tick(at(second * 1000)).unwrap();
    }
    let registers = *meter.saved_registers();
    assert_eq!(registers.total_import_nanowatt_hours, 901 * 277_777_777);
    assert_eq!(registers.total_export_nanowatt_hours, 0);
    assert_eq!(registers.sum_of_phase_imports_nanowatt_hours, 901 * 400_000_000);
    assert_eq!(registers.phases[1].export_nanowatt_hours, 901 * 100_000_000);
    assert_eq!(registers.reactive_quadrants_nanovar_hours, [901 * 20, 0, 0, 0]);
    assert_eq!(registers.phases[0].reactive_quadrants_nanovar_hours, [0, 0, 0, 901 * 10]);
    assert_eq!(registers.apparent_nanovoltampere_hours, 901 * 522_222_223);

    let row = meter.load_profile_row(1).unwrap().unwrap();
    assert_eq!((row.time, row.mean_voltage_centivolts), (at(900_000), [23_000; 3]));
    let mut client = client(&mut meter);
    assert_eq!(number(&mut meter, &mut client, 3, Obis::ACTIVE_POWER_IMPORT), 100_000);

    // What was saved goes on after a restart.
    drop(meter);
    let mut meter = open(&mut flash, at(902_000));
    meter.account(&window, &energy, at(903_000));
    meter.tick(at(904_000)).unwrap();
    assert_eq!(meter.saved_registers().total_import_nanowatt_hours, 902 * 277_777_777);
}

#[test]
fn harmonics_are_shown_order_by_order_and_those_of_a_torn_window_are_not() {
    let mut flash = blank();
    let config = Config { harmonics: true, ..config() };
    let mut meter = support::try_open_as(config, &mut flash, at(0)).unwrap();
    let mut reader = client(&mut meter);
    let shown = |meter: &mut TestMeter<'_>, reader: &mut Client, channel: usize| -> Vec<Value> {
        reader.get(meter, 1, Obis::HARMONICS[channel], 2).list().to_vec()
    };
    assert!(shown(&mut meter, &mut reader, 0).is_empty(), "before the first window");

    // A tenth of the voltage L1 and half of the current L2 at the third and the fifth order.
    let supply = |first: u64, count: u64| -> Vec<Frame> {
        let mut all = frames(first, count as usize, 10.0);
        for (k, frame) in (first..).zip(&mut all) {
            let turn = |order: f64| (order * 50.0 * k as f64 / f64::from(RATE) * std::f64::consts::TAU).sin();
            frame.voltage[0] += (23.0 * std::f64::consts::SQRT_2 / 50e-6 * turn(3.0)) as i32;
            frame.current[1] += (5.0 * std::f64::consts::SQRT_2 / 20e-6 * turn(5.0)) as i32;
        }
        all
    };
    meter.sample_at(0, &supply(0, 16_000), at(2_000));
    for (channel, fundamental, order, extra) in
        [(0, 230_000_000, 3, 23_000_000), (4, 10_000_000, 5, 5_000_000)]
    {
        let orders = shown(&mut meter, &mut reader, channel);
        assert_eq!(orders.len(), 50);
        for (k, value) in orders.iter().enumerate() {
            let rms = value.list()[0].number();
            let expected = match k + 1 {
                1 => fundamental,
                number if number == order => extra,
                _ => 0,
            };
            assert!(
                (rms - expected).abs() <= fundamental / 10_000,
                "channel {channel} order {}: {rms}",
                k + 1
            );
        }
        let angle = &orders[0].list()[1];
        assert!(channel != 0 || angle.number().abs() < 1_000, "L1 is the reference: {angle:?}");
        assert_eq!(orders[48].list()[1], Value::Other, "no angle of noise");
    }
    // Frames are missing: no numbers of before pass for those of now.
    meter.sample_at(16_100, &supply(16_100, 40), at(2_020));
    assert!(shown(&mut meter, &mut reader, 0).is_empty());
    meter.sample_at(16_140, &supply(16_140, 8_000), at(3_020));
    assert_eq!(shown(&mut meter, &mut reader, 0).len(), 50);
}
