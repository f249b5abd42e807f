//! Time of use, calendar, demand, billing and the event log: set over DLMS, lived through, read over DLMS.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use meterseal_model::{EventCode, Obis, Role};
use support::axdr::{self, array, day, execution, noon, nothing, octets, season, special_day, week};
use support::client::{Client, Value, by_clock, by_sequence};
use support::{QUIET, TestMeter, at, blank, frames, open, reader_keys, run};

const CALENDAR: u16 = 20;

fn client(meter: &mut TestMeter<'_>, counter: u32) -> Client {
    meter.connected();
    let mut client = Client::new(Role::Utility, &support::utility_keys(), counter, 4096);
    client.associate(meter).unwrap();
    client
}

/// A calendar whose rates change at noon and at two minutes past.
fn program(meter: &mut TestMeter<'_>, client: &mut Client) {
    let mut set = |attribute, value: &[u8]| {
        client.set_attribute(meter, CALENDAR, Obis::ACTIVITY_CALENDAR, attribute, value).unwrap();
    };
    set(6, &octets(b"2026"));
    set(7, &array(&[season("year", 1, 1, "all")]));
    set(8, &array(&[week("all", [1, 1, 1, 1, 1, 1, 1])]));
    set(9, &array(&[day(1, &[(0, 0, 2), (12, 1, 3), (12, 2, 1)]), day(2, &[(0, 0, 4)])]));
}

fn rates(meter: &mut TestMeter<'_>, client: &mut Client) -> [i64; 4] {
    Obis::RATE_IMPORT.map(|obis| client.get(meter, 3, obis, 2).number())
}

#[test]
fn energy_goes_to_one_rate_at_a_time_and_the_rates_sum_up_to_the_total() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    run(&mut meter, 0, 10_000, 20.0, &QUIET);
    let mut utility = client(&mut meter, 0);
    let before = rates(&mut meter, &mut utility);
    assert!(before[0] > 0 && before[1..] == [0; 3], "{before:?}: without a calendar all is rate 1");
    program(&mut meter, &mut utility);
    run(&mut meter, 10_000, 12_000, 20.0, &QUIET);
    assert_eq!(rates(&mut meter, &mut utility)[1..], [0; 3], "the passive calendar does nothing");
    utility.invoke(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 1, &nothing()).unwrap();
    assert_eq!(utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 2), Value::Bytes(b"2026".to_vec()));
    let mut before = rates(&mut meter, &mut utility);
    // Until 12:01 rate 2, until 12:02 rate 3, then rate 1.
    for (from_ms, until_ms, rate) in [(12_000, 60_000, 2), (60_000, 120_000, 3), (120_000, 130_000, 1)] {
        run(&mut meter, from_ms, until_ms, 20.0, &QUIET);
        let after = rates(&mut meter, &mut utility);
        for k in 0..4 {
            let gained = after[k] - before[k];
            // Shown is what is saved once a second: 3.3 Wh of it may still come.
            let expected = k + 1 == rate;
            assert!(if expected { gained > 5_000 } else { gained < 3_400 }, "{before:?} {after:?} {rate}");
        }
        let total = utility.get(&mut meter, 3, Obis::ACTIVE_ENERGY_IMPORT, 2).number();
        assert_eq!(after.iter().sum::<i64>(), total, "exactly");
        assert_eq!(utility.get(&mut meter, 1, Obis::ACTIVE_RATE, 2).number(), [0, 1, 3, 1][rate]);
        before = after;
    }
    // A power cut at any time: both are from one record.
    drop(meter);
    let mut meter = open(&mut flash, at(200_000));
    let mut utility = client(&mut meter, 1000);
    assert_eq!(rates(&mut meter, &mut utility), before);
    assert_eq!(utility.get(&mut meter, 1, Obis::ACTIVE_RATE, 2).number(), 1);
    let name = utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 2);
    assert_eq!(name, Value::Bytes(b"2026".to_vec()), "the calendar too");
}

#[test]
fn a_future_dated_calendar_becomes_active_at_its_time_even_without_power_then() {
    // With and without saying how far it is from UTC.
    for (with_power, deviation) in [(true, [0, 0]), (false, [0x80, 0])] {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        let mut utility = client(&mut meter, 0);
        program(&mut meter, &mut utility);
        let mut time = noon(12, 0, 30);
        time[11..13].copy_from_slice(&deviation);
        utility.set_attribute(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 10, &time).unwrap();
        run(&mut meter, 0, 29_900, 1.0, &QUIET);
        assert_eq!(utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 2), Value::Bytes(vec![]));
        if with_power {
            run(&mut meter, 29_900, 30_500, 1.0, &QUIET);
        } else {
            drop(meter);
            meter = open(&mut flash, at(40_000));
            meter.tick(at(40_100)).unwrap();
            utility = client(&mut meter, 1000);
        }
        let name = utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 2);
        assert_eq!(name, Value::Bytes(b"2026".to_vec()));
        assert_eq!(utility.get(&mut meter, 1, Obis::ACTIVE_RATE, 2).number(), 2);
        let time = utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 10);
        assert_eq!(time, Value::Bytes([&[0xFF; 9][..], &[0x80, 0, 0xFF]].concat()), "not again");
    }
}

#[test]
fn special_days_are_inserted_deleted_and_in_force() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    program(&mut meter, &mut utility);
    utility.invoke(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 1, &nothing()).unwrap();
    // Today, every year.
    utility.invoke(&mut meter, 11, Obis::SPECIAL_DAYS, 1, &special_day(7, 11, 22, 2)).unwrap();
    meter.tick(at(1_000)).unwrap();
    assert_eq!(utility.get(&mut meter, 1, Obis::ACTIVE_RATE, 2).number(), 4);
    let entries = utility.get(&mut meter, 11, Obis::SPECIAL_DAYS, 2);
    assert_eq!(entries.list().len(), 1);
    assert_eq!(entries.list()[0].list()[1], Value::Bytes(vec![0xFF, 0xFF, 11, 22, 0xFF]));
    utility.invoke(&mut meter, 11, Obis::SPECIAL_DAYS, 2, &axdr::u16(7)).unwrap();
    meter.tick(at(2_000)).unwrap();
    assert_eq!(utility.get(&mut meter, 1, Obis::ACTIVE_RATE, 2).number(), 2);
}

#[test]
fn what_is_malformed_too_large_or_not_whole_is_refused_and_changes_nothing() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    program(&mut meter, &mut utility);
    let everything = |meter: &mut TestMeter<'_>, utility: &mut Client| {
        let mut values: Vec<_> =
            (2..=10).map(|k| utility.get(meter, CALENDAR, Obis::ACTIVITY_CALENDAR, k)).collect();
        values.push(utility.get(meter, 11, Obis::SPECIAL_DAYS, 2));
        values.push(utility.get(meter, 22, Obis::BILLING_SCHEDULE, 4));
        values.extend((2..=11).map(|k| utility.get(meter, 71, Obis::LIMITER, k)));
        values
    };
    let before = everything(&mut meter, &mut utility);
    let log = *meter.security_log_range().end();
    let (kind, scope) = (DataAccessResult::TypeUnmatched, DataAccessResult::ScopeOfAccessViolated);
    let many = |element: Vec<u8>, count| array(&vec![element; count]);
    let calendar = (CALENDAR, Obis::ACTIVITY_CALENDAR);
    let special = (11, Obis::SPECIAL_DAYS);
    let billing = (22, Obis::BILLING_SCHEDULE);
    let limiter = (71, Obis::LIMITER);
    let wrong_day = axdr::structure(&[
        axdr::u8(1),
        array(&[axdr::structure(&[octets(&[0, 0, 0, 0]), octets(&Obis::CLOCK.0), axdr::u16(1)])]),
    ]);
    let cases = vec![
        (calendar, 6, axdr::u8(1), kind),
        (calendar, 6, octets(b"123456789"), scope),
        (calendar, 7, many(season("s", 1, 1, "w"), 7), scope),
        (calendar, 7, array(&[season("s", 13, 1, "w")]), scope),
        (calendar, 7, array(&[season("s", 2, 0, "w")]), scope),
        (calendar, 7, array(&[octets(b"x")]), kind),
        (calendar, 8, many(week("w", [1; 7]), 7), scope),
        (calendar, 8, array(&[axdr::structure(&[octets(b"w"), axdr::u8(1)])]), kind),
        (calendar, 9, many(day(1, &[]), 17), scope),
        (calendar, 9, array(&[day(1, &[(0, 0, 1); 13])]), scope),
        (calendar, 9, array(&[day(1, &[(24, 0, 1)])]), scope),
        (calendar, 9, array(&[day(1, &[(0, 0, 5)])]), scope),
        (calendar, 9, array(&[day(1, &[(0, 0, 0)])]), scope),
        (calendar, 9, array(&[wrong_day]), scope),
        (calendar, 10, octets(&[0; 11]), kind),
        (calendar, 10, octets(&[0x07, 0xEA, 13, 1, 1, 0, 0, 0, 0, 0, 0, 0]), scope),
        (special, 2, many(special_day(1, 1, 1, 1), 2), scope),
        (special, 2, array(&(0..49).map(|k| special_day(k, 1, 1, 1)).collect::<Vec<_>>()), scope),
        (special, 2, array(&[special_day(1, 1, 32, 1)]), scope),
        (billing, 4, many(execution(0, 0, [0xFF; 5]), 13), scope),
        (billing, 4, array(&[execution(25, 0, [0xFF; 5])]), scope),
        (limiter, 4, octets(b"x"), kind),
        (limiter, 6, axdr::u32(0), scope),
        (limiter, 7, axdr::u32(86_401), scope),
        (limiter, 9, many(axdr::u16(1), 5), scope),
        (limiter, 8, array(&[]), kind),
    ];
    for ((class, obis), attribute, value, expected) in cases {
        let found = utility.set_attribute(&mut meter, class, obis, attribute, &value);
        assert_eq!(found, Err(expected), "{obis} {attribute} {value:?}");
    }
    let elsewhere =
        axdr::structure(&[axdr::script(Obis::TARIFF_SCRIPTS, 1), axdr::script(Obis::TARIFF_SCRIPTS, 1)]);
    assert_eq!(utility.set_attribute(&mut meter, 71, Obis::LIMITER, 11, &elsewhere), Err(scope));
    assert_eq!(everything(&mut meter, &mut utility), before);
    assert_eq!(*meter.security_log_range().end(), log, "and nothing is logged as changed");

    // Each part is sound, and together they leave a day without a profile.
    let bad_week = array(&[week("all", [9; 7])]);
    utility.set_attribute(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 8, &bad_week).unwrap();
    let refused = utility.invoke(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 1, &nothing());
    assert_eq!(refused, Err(ActionResult::OtherReason));
    assert_eq!(utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 2), Value::Bytes(vec![]));
    utility.set_attribute(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 10, &noon(12, 0, 1)).unwrap();
    meter.tick(at(2_000)).unwrap();
    assert_eq!(utility.get(&mut meter, CALENDAR, Obis::ACTIVITY_CALENDAR, 2), Value::Bytes(vec![]));
    assert_eq!(utility.get(&mut meter, 1, Obis::EVENT_LOG_CODE, 2).number(), 207, "and says why");
    // Methods with wrong parameters.
    for (class, obis, method, value, expected) in [
        (20, Obis::ACTIVITY_CALENDAR, 1, octets(b"x"), ActionResult::TypeUnmatched),
        (11, Obis::SPECIAL_DAYS, 1, axdr::u8(1), ActionResult::TypeUnmatched),
        (9, Obis::BILLING_SCRIPTS, 1, axdr::u16(2), ActionResult::ScopeOfAccessViolated),
        (9, Obis::DISCONNECTOR_SCRIPTS, 1, axdr::u16(3), ActionResult::ScopeOfAccessViolated),
        (9, Obis::TARIFF_SCRIPTS, 1, axdr::u16(1), ActionResult::ReadWriteDenied),
        (70, Obis::DISCONNECT_CONTROL, 1, axdr::u8(1), ActionResult::TypeUnmatched),
    ] {
        assert_eq!(utility.invoke(&mut meter, class, obis, method, &value), Err(expected), "{obis}");
    }
}

#[test]
fn a_reader_changes_nothing() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    meter.connected();
    let mut reader = Client::new(Role::Reader, &reader_keys(), 0, 4096);
    reader.associate(&mut meter).unwrap();
    let denied = Err(ActionResult::ReadWriteDenied);
    for (class, obis, method) in [
        (20, Obis::ACTIVITY_CALENDAR, 1),
        (70, Obis::DISCONNECT_CONTROL, 1),
        (70, Obis::DISCONNECT_CONTROL, 2),
        (9, Obis::DISCONNECTOR_SCRIPTS, 1),
        (9, Obis::BILLING_SCRIPTS, 1),
        (7, Obis::EVENT_LOG, 1),
        (7, Obis::SECURITY_LOG, 1),
        (4, Obis::MAXIMUM_DEMAND[0], 1),
    ] {
        assert_eq!(reader.invoke(&mut meter, class, obis, method, &nothing()), denied, "{obis}");
    }
    let set = reader.set_attribute(&mut meter, 71, Obis::LIMITER, 4, &axdr::u32(1));
    assert_eq!(set, Err(DataAccessResult::ReadWriteDenied));
    assert!(meter.supply_is_connected());
}

/// Lives through a time at one step a second, at this current.
fn seconds(meter: &mut TestMeter<'_>, from: i64, to: i64, amperes: f64) {
    let block = frames(0, 8_000, amperes);
    for second in from..to {
        meter.sample_at((second + 60) as u64 * 8_000, &block, at((second + 1) * 1_000));
        meter.tick(at((second + 1) * 1_000)).unwrap();
    }
}

#[test]
fn maximum_demand_is_the_largest_quarters_mean_power_and_survives() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(-60_000));
    // 5 A, then 20 A, then 10 A for a quarter of an hour each, beginning a minute before noon.
    seconds(&mut meter, -60, 0, 50.0);
    for (quarter, amperes) in [5.0, 20.0, 10.0].into_iter().enumerate() {
        let from = quarter as i64 * 900;
        seconds(&mut meter, from, from + 900, amperes);
    }
    seconds(&mut meter, 2_700, 2_705, 10.0);
    let mut utility = client(&mut meter, 0);
    let maximum = utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 2).number();
    // 3 · 230 V · 20 A · cos 30°, in hundredths of a watt.
    assert!((1_194_500..=1_195_700).contains(&maximum), "{maximum}");
    let time = Value::Bytes(vec![0x07, 0xEA, 11, 22, 7, 12, 30, 0, 0, 0, 0, 0]);
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 5), time);
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 4).number(), 0);
    let last = utility.get(&mut meter, 5, Obis::DEMAND[0], 3).number();
    assert!((596_900..=598_500).contains(&last), "{last}");
    assert_eq!(utility.get(&mut meter, 5, Obis::DEMAND[0], 8).number(), 900);
    let current = utility.get(&mut meter, 5, Obis::DEMAND[0], 2).number();
    assert!((2_500..=3_700).contains(&current), "{current}: five seconds' worth");
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[1], 2).number(), 0, "nothing is exported");
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[1], 4).number(), 1);
    drop(meter);
    let mut meter = open(&mut flash, at(3_000_000));
    let mut utility = client(&mut meter, 1000);
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 2).number(), maximum);
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 5), time);
    utility.invoke(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 1, &nothing()).unwrap();
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 2).number(), 0);
}

#[test]
fn a_billing_period_ends_on_schedule_once_and_resets_the_maximum() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    // Every day at 12:16.
    let times = array(&[execution(12, 16, [0xFF; 5])]);
    utility.set_attribute(&mut meter, 22, Obis::BILLING_SCHEDULE, 4, &times).unwrap();
    assert_eq!(utility.get(&mut meter, 22, Obis::BILLING_SCHEDULE, 3).number(), 1);
    meter.disconnected();
    seconds(&mut meter, -10, 970, 10.0);
    let mut utility = client(&mut meter, 100);
    let mut buffer = [0; 128];
    let rows = utility
        .try_get(&mut meter, 7, Obis::BILLING_PROFILE, 2, Some(by_sequence(&mut buffer, 1, 9)))
        .unwrap();
    assert_eq!(rows.list().len(), 1, "{rows:?}");
    let row = rows.list()[0].list();
    assert_eq!(row.len(), 18);
    assert_eq!(row[0], Value::Bytes(vec![0x07, 0xEA, 11, 22, 7, 12, 16, 0, 0, 0, 0, 0]));
    let total = row[2].number();
    assert!(total > 1_500_000, "{total} mWh");
    assert_eq!(row[6..10].iter().map(Value::number).sum::<i64>(), total);
    assert!((596_900..=598_500).contains(&row[14].number()), "{row:?}");
    assert_eq!(row[15], Value::Bytes(vec![0x07, 0xEA, 11, 22, 7, 12, 15, 0, 0, 0, 0, 0]));
    assert_eq!(utility.get(&mut meter, 4, Obis::MAXIMUM_DEMAND[0], 2).number(), 0, "begins anew");
    // By time as well.
    let mut buffer = [0; 128];
    let (from, to) =
        ([0x07, 0xEA, 11, 22, 7, 12, 17, 0, 0, 0, 0, 0], [0x07, 0xEA, 11, 23, 1, 0, 0, 0, 0, 0, 0, 0]);
    let none = utility
        .try_get(&mut meter, 7, Obis::BILLING_PROFILE, 2, Some(by_clock(&mut buffer, &from, &to)))
        .unwrap();
    assert!(none.list().is_empty());
    // Without power at two more ends: one row for the latest, at the next start.
    drop(meter);
    let mut meter = open(&mut flash, at(2 * 86_400_000));
    meter.tick(at(2 * 86_400_000 + 100)).unwrap();
    meter.tick(at(2 * 86_400_000 + 200)).unwrap();
    let mut utility = client(&mut meter, 1000);
    assert_eq!(utility.get(&mut meter, 7, Obis::BILLING_PROFILE, 7).number(), 2);
    // And by the utility's word.
    utility.invoke(&mut meter, 9, Obis::BILLING_SCRIPTS, 1, &axdr::u16(1)).unwrap();
    assert_eq!(utility.get(&mut meter, 7, Obis::BILLING_PROFILE, 7).number(), 3);
}

#[test]
fn clearing_the_event_log_is_sealed_in_the_security_log() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    for _ in 0..3 {
        utility.invoke(&mut meter, 9, Obis::BILLING_SCRIPTS, 1, &axdr::u16(1)).unwrap();
    }
    assert_eq!(utility.get(&mut meter, 7, Obis::EVENT_LOG, 7).number(), 3);
    utility.invoke(&mut meter, 7, Obis::EVENT_LOG, 1, &nothing()).unwrap();
    let rows = utility.get(&mut meter, 7, Obis::EVENT_LOG, 2);
    assert_eq!(rows.list().len(), 1);
    let row = rows.list()[0].list();
    assert_eq!((row[1].number(), row[2].number(), row[3].number()), (4, 255, 3), "numbers go on");
    let newest = *meter.security_log_range().end();
    let entry = meter.security_log_entry(newest).unwrap().unwrap();
    assert_eq!((entry.code, entry.extreme), (EventCode::EventLogCleared, 3));
    let denied = utility.invoke(&mut meter, 7, Obis::SECURITY_LOG, 1, &nothing());
    assert_eq!(denied, Err(ActionResult::ReadWriteDenied), "that one nobody clears");
    drop(meter);
    let mut meter = open(&mut flash, at(1_000));
    let mut utility = client(&mut meter, 1000);
    assert_eq!(utility.get(&mut meter, 7, Obis::EVENT_LOG, 7).number(), 1, "still cleared");
}
