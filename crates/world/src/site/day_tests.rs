//! A whole day of each site at the loads' own step, without making samples.

use super::grid::{Grid, State};
use super::load::{Load, STEP_SECONDS};
use super::{commercial::Commercial, factory::Factory, home::Home};
use crate::random::Random;

struct Day {
    imported_kilowatt_hours: f64,
    exported_kilowatt_hours: f64,
    largest_amperes: f64,
    volts: (f64, f64),
    hertz: (f64, f64),
    /// Mean kilowatts in each hour.
    by_hour: [f64; 24],
}

fn day(mut load: impl Load, seed: u64) -> Day {
    let (mut grid, mut random) = (Grid::new(), Random::new(seed));
    let mut day = Day {
        imported_kilowatt_hours: 0.0,
        exported_kilowatt_hours: 0.0,
        largest_amperes: 0.0,
        volts: (f64::MAX, 0.0),
        hertz: (f64::MAX, 0.0),
        by_hour: [0.0; 24],
    };
    let within = |range: &mut (f64, f64), value: f64| *range = (range.0.min(value), range.1.max(value));
    for step in 0..864_000 {
        let hour = f64::from(step) * STEP_SECONDS / 3600.0;
        let demand = load.step(hour, &mut random);
        let State { frequency_hz, volts, amps } = grid.step(&demand, &mut random);
        within(&mut day.hertz, frequency_hz);
        let mut watts = 0.0;
        for phase in 0..3 {
            let power = volts[0][phase] * amps[0][phase].conj();
            watts += power.re;
            within(&mut day.volts, volts[0][phase].re.hypot(volts[0][phase].im));
            let squares: f64 =
                amps.iter().map(|order| order[phase].re.powi(2) + order[phase].im.powi(2)).sum();
            day.largest_amperes = day.largest_amperes.max(squares.sqrt());
        }
        let kilowatt_hours = watts / 1000.0 * STEP_SECONDS / 3600.0;
        day.by_hour[hour as usize] += kilowatt_hours;
        if watts > 0.0 {
            day.imported_kilowatt_hours += kilowatt_hours;
        } else {
            day.exported_kilowatt_hours -= kilowatt_hours;
        }
    }
    assert!(day.hertz.0 > 49.96 && day.hertz.1 < 50.04, "{:?}", day.hertz);
    assert!(day.volts.0 > 207.0 && day.volts.1 < 253.0, "EN 50160: ±10 %, not {:?}", day.volts);
    day
}

#[test]
fn a_home_exports_by_day_and_lives_on_its_battery_in_the_evening() {
    for seed in 0..3 {
        let day = day(Home::new(), seed);
        assert!((3.0..35.0).contains(&day.exported_kilowatt_hours), "{}", day.exported_kilowatt_hours);
        assert!((0.3..12.0).contains(&day.imported_kilowatt_hours), "{}", day.imported_kilowatt_hours);
        assert!(day.by_hour[13] < -0.5, "noon: {:?}", day.by_hour);
        assert!(day.by_hour[20].abs() < 0.3, "after sunset the battery covers the house: {:?}", day.by_hour);
        assert!(day.largest_amperes < 40.0, "{}", day.largest_amperes);
    }
}

#[test]
fn a_factory_and_an_office_stay_within_the_meter() {
    let factory = day(Factory::new(), 1);
    assert!(
        (300.0..1_100.0).contains(&factory.imported_kilowatt_hours),
        "{}",
        factory.imported_kilowatt_hours
    );
    // A motor's start may pass Imax for a second, never the front end's 200 A peak.
    assert!(factory.largest_amperes < 135.0, "{}", factory.largest_amperes);
    let office = day(Commercial::new(), 1);
    assert!((150.0..600.0).contains(&office.imported_kilowatt_hours), "{}", office.imported_kilowatt_hours);
    assert!(office.largest_amperes < 100.0, "{}", office.largest_amperes);
    for day in [factory, office] {
        assert_eq!(day.exported_kilowatt_hours, 0.0);
        assert!(day.by_hour[11] > 1.5 * day.by_hour[3], "{:?}", day.by_hour);
    }
}
