//! The power is cut at every single flash operation of a life full of tariffs, billing and switching: what a call has
//! promised by returning is there, what was interrupted is there as a whole or not at all.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use meterseal_meter::saved_time;
use meterseal_model::{EventCode, Obis, Role, UnixMillis};
use support::axdr::{self, array, day, nothing, octets, season, week};
use support::client::{Client, Value};
use support::flash::RamFlash;
use support::{TestMeter, at, blank, config, frames, open, try_open, utility_keys};

/// What a run has promised by returning, and what it was about to do when it ended.
#[derive(Default)]
struct Promised {
    named: bool,
    activated: bool,
    limited: bool,
    rows: i64,
    /// A billing was asked for and not answered.
    billing: bool,
    /// Where the relay was promised to be, and whether a move was asked for and not answered.
    connected: Option<bool>,
    moving: bool,
    cleared: bool,
    shown: i64,
    counter: u32,
}

const CALENDAR: (u16, Obis) = (20, Obis::ACTIVITY_CALENDAR);

fn live(flash: &mut RamFlash, promised: &mut Promised) -> Result<(), ()> {
    let mut meter = try_open(flash, at(0)).map_err(drop)?;
    meter.connected();
    let mut utility = Client::new(Role::Utility, &utility_keys(), promised.counter, 4096);
    let outcome = act(&mut meter, &mut utility, promised);
    promised.counter = utility.session.invocation_counter();
    outcome
}

fn act(meter: &mut TestMeter<'_>, utility: &mut Client, promised: &mut Promised) -> Result<(), ()> {
    utility.associate(meter).map_err(drop)?;
    promised.connected = Some(true);
    let mut now = 0;
    let mut run = |meter: &mut TestMeter<'_>, tenths: i64, promised: &mut Promised| {
        for _ in 0..tenths {
            meter.sample(&frames(0, 800, 50.0), at(now + 100));
            now += 100;
            meter.tick(at(now)).map_err(drop)?;
            let shown = meter.saved_registers().total_import_nanowatt_hours / 1_000_000;
            promised.shown = promised.shown.max(shown as i64);
        }
        Ok(())
    };
    run(meter, 12, promised)?;
    let tables = [
        (7, array(&[season("year", 1, 1, "all")])),
        (8, array(&[week("all", [1; 7])])),
        (9, array(&[day(1, &[(0, 0, 2)])])),
        (6, octets(b"2026")),
    ];
    for (attribute, table) in tables {
        utility.set_attribute(meter, CALENDAR.0, CALENDAR.1, attribute, &table).map_err(drop)?;
    }
    promised.named = true;
    utility.invoke(meter, CALENDAR.0, CALENDAR.1, 1, &nothing()).map_err(drop)?;
    promised.activated = true;
    run(meter, 12, promised)?;
    utility.set_attribute(meter, 71, Obis::LIMITER, 4, &axdr::u32(123_456_789)).map_err(drop)?;
    promised.limited = true;
    for _ in 0..2 {
        promised.billing = true;
        utility.invoke(meter, 9, Obis::BILLING_SCRIPTS, 1, &axdr::u16(1)).map_err(drop)?;
        promised.billing = false;
        promised.rows += 1;
        for (method, connected) in [(1, false), (2, true)] {
            promised.moving = true;
            utility.invoke(meter, 70, Obis::DISCONNECT_CONTROL, method, &nothing()).map_err(drop)?;
            promised.moving = false;
            promised.connected = Some(connected);
        }
        run(meter, 5, promised)?;
    }
    utility.invoke(meter, 7, Obis::EVENT_LOG, 1, &nothing()).map_err(drop)?;
    promised.cleared = true;
    run(meter, 12, promised)?;
    meter.power_down(at(now + 100)).map_err(drop)
}

fn check(flash: &mut RamFlash, promised: &Promised, cut: &str) {
    flash.restore();
    let saved = saved_time(flash, &config().layout).unwrap();
    let start = saved.map_or(at(0), |saved| UnixMillis(saved.0 + 60_000));
    let mut meter = open(flash, start);
    let connected = meter.supply_is_connected();
    meter.connected();
    let mut utility = Client::new(Role::Utility, &utility_keys(), promised.counter, 4096);
    utility.associate(&mut meter).unwrap();
    let mut get = |class, obis, attribute| utility.get(&mut meter, class, obis, attribute);

    let energy = get(3, Obis::ACTIVE_ENERGY_IMPORT, 2).number();
    let rates = Obis::RATE_IMPORT.map(|obis| get(3, obis, 2).number());
    assert_eq!(rates.iter().sum::<i64>(), energy, "{cut}: {rates:?}");
    assert!(energy >= promised.shown, "{cut}: {energy} after {}", promised.shown);

    let (whole, empty) = (Value::Bytes(b"2026".to_vec()), Value::Bytes(vec![]));
    let passive = get(CALENDAR.0, CALENDAR.1, 6);
    assert!(passive == whole || (passive == empty && !promised.named), "{cut}: {passive:?}");
    let active = get(CALENDAR.0, CALENDAR.1, 2);
    assert!(active == whole || (active == empty && !promised.activated), "{cut}: {active:?}");
    let tables = [3, 4, 5].map(|attribute| get(CALENDAR.0, CALENDAR.1, attribute).list().len());
    assert_eq!(tables, if active == whole { [1; 3] } else { [0; 3] }, "{cut}: a calendar is whole");
    assert_eq!(get(1, Obis::ACTIVE_RATE, 2).number(), if active == whole { 2 } else { 1 }, "{cut}");

    let limit = get(71, Obis::LIMITER, 4).number();
    assert!(limit == 123_456_789 || (limit == i64::from(u32::MAX) && !promised.limited), "{cut}: {limit}");

    let rows = get(7, Obis::BILLING_PROFILE, 7).number();
    let most = promised.rows + i64::from(promised.billing);
    assert!((promised.rows..=most).contains(&rows), "{cut}: {rows} rows, {} promised", promised.rows);

    if !promised.moving {
        assert_eq!(connected, promised.connected.unwrap_or(true), "{cut}");
    }
    let in_use = get(7, Obis::EVENT_LOG, 7).number();
    if promised.cleared {
        assert_eq!(in_use, 1, "{cut}: the event log was cleared");
    }
    // What moved the relay is in the log that nobody clears; so is that the other one was cleared.
    let sequences = meter.security_log_range();
    let log: Vec<_> = sequences.map(|k| meter.security_log_entry(k).unwrap().unwrap().code).collect();
    let count = |code| log.iter().filter(|&&found| found == code).count();
    let (opened, closed) = (count(EventCode::RemoteDisconnection), count(EventCode::RemoteReconnection));
    assert!(opened >= closed && (connected || opened > 0), "{cut}: {log:?}");
    assert!(count(EventCode::EventLogCleared) >= usize::from(promised.cleared), "{cut}: {log:?}");
}

#[test]
fn every_single_cut_of_a_life_with_tariffs_leaves_each_thing_whole() {
    let mut cuts = 0;
    loop {
        let mut flash = blank().seed(cuts);
        flash.cut_at = Some(cuts);
        let mut promised = Promised::default();
        let finished = live(&mut flash, &mut promised).is_ok();
        check(&mut flash, &promised, &format!("cut {cuts}"));
        if finished {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 60, "{cuts} cuts");
    println!("{cuts} cuts");
}
