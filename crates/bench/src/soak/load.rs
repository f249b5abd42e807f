//! The load of a soak: three phases of a site whose appliances come and go, with a supply that wanders around 50 Hz. Any second can be asked for at any
//! time, so that a run can go on anywhere.

use crate::random::Random;
use meterseal_world::physics::LoadPoint;

/// Seconds at the end of each hour without a current: the registers are up to two supply cycles behind the frames, and then nothing is missing in them.
const STILL_SECONDS: u32 = 1;

/// Voltages alone.
pub(super) fn still() -> LoadPoint {
    LoadPoint::unbalanced(50.0, [230.0; 3], [0.0; 3], 0.0)
}

/// The load during a second of an hour.
pub(super) fn at(seed: u64, hour: u32, second: u32, seconds_per_hour: u32) -> LoadPoint {
    if second >= seconds_per_hour - STILL_SECONDS {
        return still();
    }
    // Time of the hour, however few seconds of it are run.
    let moment = u64::from(hour) * 3600 + u64::from(second) * 3600 / u64::from(seconds_per_hour);
    let mut amperes = [0.0; 3];
    let mut factor = 0.0;
    for (phase, amperes) in amperes.iter_mut().enumerate() {
        let draw = |every: u64, salt: u64| {
            let phase = phase as u64 + 1;
            Random::new(seed ^ (moment / every).wrapping_mul(0x9E37_79B9) ^ (phase << 48) ^ (salt << 56))
                .uniform()
        };
        let day = std::f64::consts::TAU * (moment % 86_400) as f64 / 86_400.0;
        // Always something; more by day; an oven or a boiler for ten minutes; a motor that starts for a second.
        *amperes = 0.3 + 6.0 * (1.0 - day.cos()) * draw(120, 1);
        if draw(600, 2) < 0.15 {
            *amperes += 12.0;
        }
        if draw(1, 3) < 0.01 {
            *amperes += 60.0;
        }
        factor += draw(60, 4) / 3.0;
    }
    // Between PF 0.77 inductive and 0.94 capacitive.
    let lag = -20.0 + 60.0 * factor;
    let volts = 230.0 * (0.97 + 0.06 * Random::new(seed ^ (moment / 30) ^ (7 << 56)).uniform());
    let frequency = 50.0 + 0.05 * (moment as f64 / 200.0).sin();
    LoadPoint::unbalanced(frequency, [volts; 3], amperes, lag).with_harmonic(5, 0.02, 0.08)
}
