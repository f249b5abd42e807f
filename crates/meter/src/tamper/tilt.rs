//! Tilt: the angle between the accelerometer's mean over [`MEAN_MS`] and the way that is up. Knocks and a cupboard's door
//! shake the mean little; what is left of them does not last.

use super::watch::{Look, Watch};
use super::{Condition, Detection, Moment};

#[derive(Debug)]
pub(super) struct Tilt {
    watch: Watch,
    /// Thousandths of the reading's unit; `None` before the first reading.
    mean: Option<[i64; 3]>,
    looked_ms: u64,
}

impl Tilt {
    pub(super) const fn new() -> Self {
        Self { watch: Watch::new(Condition::Tilt), mean: None, looked_ms: 0 }
    }

    pub(super) fn look(&mut self, milli_g: [i32; 3], moment: &Moment<'_>) -> Option<Detection> {
        let now = milli_g.map(|axis| i64::from(axis.clamp(-FULL_SCALE, FULL_SCALE)) * 1000);
        let share = moment.uptime_ms.saturating_sub(self.looked_ms).min(MEAN_MS) as i64;
        self.looked_ms = moment.uptime_ms;
        let mean = self.mean.get_or_insert(now);
        for (mean, now) in mean.iter_mut().zip(now) {
            *mean += (now - *mean) * share / MEAN_MS as i64;
        }
        let thresholds = moment.thresholds;
        let angle = angle(*mean, thresholds.upright_axis, thresholds.tilt_off_degrees);
        let degrees = |degrees: u32| i64::from(degrees) * 1_000_000;
        let look = Look {
            begins: angle >= degrees(thresholds.tilt_on_degrees),
            ends: angle < degrees(thresholds.tilt_off_degrees),
            value: angle,
            wait_ms: [thresholds.tilt_ms; 2],
        };
        self.watch.look(look, moment)
    }
}

/// The mean's time, milliseconds.
const MEAN_MS: u64 = 300;
/// Nothing beyond 16 g is measured.
const FULL_SCALE: i32 = 16_000;
/// Below 0.3 g a meter falls, or its sensor is broken: no direction is up then.
const LEAST_SQUARE: i64 = 300_000 * 300_000;

/// The angle from upright, millionths of a degree; 0 for what is surely below `least_degrees`, which is nearly always.
fn angle(mean: [i64; 3], upright_axis: u32, least_degrees: u32) -> i64 {
    let square: i64 = mean.iter().map(|axis| axis * axis).sum();
    if square < LEAST_SQUARE {
        return 0;
    }
    let along =
        mean[(upright_axis / 2).min(2) as usize] * if upright_axis.is_multiple_of(2) { 1 } else { -1 };
    // cos α ≈ (4·90² − 4·α²) / (4·90² + α²) for α in degrees up to 90 (Bhāskara), to 0.002.
    let alpha = i64::from(least_degrees);
    let (top, bottom) = (32_400 - 4 * alpha * alpha, 32_400 + alpha * alpha);
    let sure = i128::from(along) * i128::from(along) * i128::from(bottom * bottom)
        > i128::from(square) * i128::from(top * top);
    if along > 0 && sure {
        return 0;
    }
    // α² = 4·90² · (1 − cos α) / (4 + cos α), and beyond a right angle the rest of two.
    let root = square.unsigned_abs().isqrt().max(1) as i64;
    let cosine = i128::from(along.abs()) * 1_000_000 / i128::from(root);
    let square = 32_400 * 1_000_000 * 1_000_000 * (1_000_000 - cosine).max(0) / (4_000_000 + cosine);
    let angle = square.unsigned_abs().isqrt() as i64;
    if along < 0 { 180_000_000 - angle } else { angle }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn angles_are_right_to_a_third_of_a_degree() {
        for degrees in 0..=180 {
            let radians = f64::from(degrees).to_radians();
            let at = [(radians.sin() * 1e6) as i64, (radians.cos() * 1e6) as i64, 0];
            let found = angle(at, 2, 1) as f64 / 1e6;
            assert!((found - f64::from(degrees)).abs() < 0.34 || degrees < 2, "{degrees}: {found}");
            let down = angle(at.map(|axis| -axis), 3, 1) as f64 / 1e6;
            assert!((down - found).abs() < 1e-6);
        }
        assert_eq!(angle([0, 100_000, 0], 3, 1), 0, "a meter that falls");
        assert_eq!(angle([140_000, 990_000, 0], 2, 10), 0, "surely below");
    }
}
