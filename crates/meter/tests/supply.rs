//! Disconnecting and reconnecting the supply: by the utility, by its scripts and by the limiter.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use dlms_cosem_rs::xdlms::DataAccessResult;
use meterseal_model::{EventCode, Obis, Role};
use support::axdr::{self, array, noon, nothing, structure};
use support::client::Client;
use support::{TestMeter, at, blank, frames, open};

fn client(meter: &mut TestMeter<'_>, counter: u32) -> Client {
    meter.connected();
    let mut client = Client::new(Role::Utility, &support::utility_keys(), counter, 4096);
    client.associate(meter).unwrap();
    client
}

fn control(meter: &mut TestMeter<'_>, client: &mut Client) -> (i64, bool) {
    let state = client.get(meter, 70, Obis::DISCONNECT_CONTROL, 3).number();
    (state, meter.supply_is_connected())
}

fn log(meter: &TestMeter<'_>) -> Vec<EventCode> {
    let entry = |sequence| meter.security_log_entry(sequence).unwrap().unwrap().code;
    meter.security_log_range().map(entry).collect()
}

/// Lives through so many seconds at this current, without one while the relay is open.
fn seconds(meter: &mut TestMeter<'_>, from: i64, to: i64, amperes: f64) {
    for tenth in from * 10..to * 10 {
        let amperes = if meter.supply_is_connected() { amperes } else { 0.0 };
        meter.sample_at(tenth as u64 * 800, &frames(0, 800, amperes), at((tenth + 1) * 100));
        meter.tick(at((tenth + 1) * 100)).unwrap();
    }
}

#[test]
fn the_utility_disconnects_and_reconnects_and_it_is_logged_before_it_happens() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    assert_eq!(control(&mut meter, &mut utility), (1, true));
    utility.invoke(&mut meter, 70, Obis::DISCONNECT_CONTROL, 1, &nothing()).unwrap();
    assert_eq!(control(&mut meter, &mut utility), (0, false));
    // Twice is once.
    utility.invoke(&mut meter, 70, Obis::DISCONNECT_CONTROL, 1, &nothing()).unwrap();
    assert_eq!(log(&meter), [EventCode::PowerUp, EventCode::RemoteDisconnection]);
    // Over a power cut it stays open.
    drop(meter);
    let mut meter = open(&mut flash, at(1_000));
    assert!(!meter.supply_is_connected());
    let mut utility = client(&mut meter, 1000);
    assert_eq!(control(&mut meter, &mut utility), (0, false));
    utility.invoke(&mut meter, 9, Obis::DISCONNECTOR_SCRIPTS, 1, &axdr::u16(2)).unwrap();
    assert_eq!(control(&mut meter, &mut utility), (1, true));
    utility.invoke(&mut meter, 9, Obis::DISCONNECTOR_SCRIPTS, 1, &axdr::u16(1)).unwrap();
    utility.invoke(&mut meter, 70, Obis::DISCONNECT_CONTROL, 2, &nothing()).unwrap();
    assert_eq!(
        log(&meter)[3..],
        [EventCode::RemoteReconnection, EventCode::RemoteDisconnection, EventCode::RemoteReconnection]
    );
}

#[test]
fn the_limiter_disconnects_after_its_time_over_the_threshold_and_the_utility_reconnects() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    let limit = (71, Obis::LIMITER);
    // 3 kW for at most 5 s; 10 A are 5.98 kW.
    utility.set_attribute(&mut meter, limit.0, limit.1, 4, &axdr::u32(300_000)).unwrap();
    utility.set_attribute(&mut meter, limit.0, limit.1, 6, &axdr::u32(5)).unwrap();
    assert_eq!(utility.get(&mut meter, 71, Obis::LIMITER, 3).number(), 300_000);
    seconds(&mut meter, 0, 4, 10.0);
    seconds(&mut meter, 4, 6, 4.0);
    seconds(&mut meter, 6, 10, 10.0);
    assert!(meter.supply_is_connected(), "never five seconds together");
    seconds(&mut meter, 10, 13, 10.0);
    assert_eq!(control(&mut meter, &mut utility), (2, false), "ready for reconnection");
    assert_eq!(log(&meter).last(), Some(&EventCode::LocalDisconnection));
    let power = utility.get(&mut meter, 7, Obis::EVENT_LOG, 2).list().last().unwrap().list()[3].number();
    assert!((5_900_000_000..=6_000_000_000).contains(&power), "{power} µW");
    seconds(&mut meter, 13, 100, 10.0);
    assert!(!meter.supply_is_connected(), "not by itself");
    utility.invoke(&mut meter, 70, Obis::DISCONNECT_CONTROL, 2, &nothing()).unwrap();
    assert_eq!(control(&mut meter, &mut utility), (1, true));
    seconds(&mut meter, 100, 104, 10.0);
    assert!(meter.supply_is_connected());
    seconds(&mut meter, 104, 107, 10.0);
    assert!(!meter.supply_is_connected(), "and again");
}

#[test]
fn an_under_threshold_script_reconnects_what_the_limiter_disconnected_and_nothing_else() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    let mut set = |attribute, value: &[u8]| {
        utility.set_attribute(&mut meter, 71, Obis::LIMITER, attribute, value).unwrap();
    };
    set(4, &axdr::u32(300_000));
    set(6, &axdr::u32(2));
    set(7, &axdr::u32(10));
    let script = |selector| axdr::script(Obis::DISCONNECTOR_SCRIPTS, selector);
    set(11, &structure(&[script(1), script(2)]));
    seconds(&mut meter, 0, 4, 10.0);
    assert_eq!(control(&mut meter, &mut utility), (2, false));
    seconds(&mut meter, 4, 15, 2.0);
    assert_eq!(control(&mut meter, &mut utility), (1, true));
    assert_eq!(log(&meter).last(), Some(&EventCode::LocalReconnection));
    // What the utility disconnected stays so.
    utility.invoke(&mut meter, 70, Obis::DISCONNECT_CONTROL, 1, &nothing()).unwrap();
    seconds(&mut meter, 15, 60, 2.0);
    assert_eq!(control(&mut meter, &mut utility), (0, false));
}

#[test]
fn an_emergency_profile_holds_for_its_time_and_only_for_meters_that_heed_it() {
    let mut flash = blank();
    let mut meter = open(&mut flash, at(0));
    let mut utility = client(&mut meter, 0);
    let mut set = |meter: &mut TestMeter<'_>, attribute, value: &[u8]| {
        utility.set_attribute(meter, 71, Obis::LIMITER, attribute, value)
    };
    set(&mut meter, 5, &axdr::u32(100_000)).unwrap();
    // From 12:00:10 for 20 s.
    let profile = structure(&[axdr::u16(7), noon(12, 0, 10), axdr::u32(20)]);
    set(&mut meter, 8, &profile).unwrap();
    seconds(&mut meter, 0, 15, 1.0);
    assert_eq!(utility.get(&mut meter, 71, Obis::LIMITER, 10).number(), 0, "it heeds none");
    let groups = array(&[axdr::u16(3), axdr::u16(7)]);
    utility.set_attribute(&mut meter, 71, Obis::LIMITER, 9, &groups).unwrap();
    assert_eq!(utility.get(&mut meter, 71, Obis::LIMITER, 10).number(), 1);
    assert_eq!(utility.get(&mut meter, 71, Obis::LIMITER, 3).number(), 100_000);
    seconds(&mut meter, 15, 31, 1.0);
    assert_eq!(utility.get(&mut meter, 71, Obis::LIMITER, 10).number(), 0, "over");
    assert_eq!(utility.get(&mut meter, 71, Obis::LIMITER, 3).number(), i64::from(u32::MAX));
    let denied = utility.set_attribute(&mut meter, 71, Obis::LIMITER, 10, &[3, 1]);
    assert_eq!(denied, Err(DataAccessResult::ReadWriteDenied));
}
