//! The short way past the detector while nothing happens: products of thresholds instead of divisions and roots of what is measured.
//!
//! It may only say that nothing begins where the long way says so too (tested); where it is not sure, the long way decides.

use super::{Detector, Half};
use crate::{
    VOLTAGES,
    boundary::{Boundary, CHANNELS},
    events::limits::{Hysteresis, Limits, RELATIVE_BITS, RELATIVE_SHIFT},
    sequence::sequences,
    trig::Complex,
};

impl Detector {
    /// Whether no phase is beyond a threshold at which an event of half cycles begins, compared without a division: `⌊a / b⌋ < c` is `a < b·c`. An
    /// interruption's threshold is below a sag's.
    pub(super) fn is_within(&self, before: &Half, squares: &[i128; CHANNELS], weight: i128) -> bool {
        // Below 2⁷⁹ · 2³²; a threshold is below 2⁸⁹ and the weight below 2³³.
        let square = |channel: usize| (before.squares[channel] + squares[channel]).max(0) << 32;
        (0..VOLTAGES).all(|number| {
            let Limits { sag, swell, over_current, .. } = &self.limits[number];
            let volts = square(number);
            let amperes_within = |limit: &Hysteresis| square(VOLTAGES + number) < (limit.enter + 1) * weight;
            volts >= sag.enter * weight
                && volts < (swell.enter + 1) * weight
                && over_current.as_ref().is_none_or(amperes_within)
        })
    }

    /// Whether no event of boundaries can begin, by numbers of 64 bits and no division; `false` where they are too rough to say.
    pub(super) fn is_balanced(&self, boundary: &Boundary) -> bool {
        if self.settings.reverse_power_milliwatts.is_some() && boundary.products.iter().any(|sum| *sum < 0) {
            return false;
        }
        let part =
            |value: i64, relative: i64| ((i128::from(value) * i128::from(relative)) >> RELATIVE_SHIFT) as i64;
        let phasors = core::array::from_fn(|number| {
            let Complex { re, im } = boundary.phasors[number];
            let relative = self.limits[number].relative;
            Complex { re: part(re, relative), im: part(im, relative) }
        });
        let parts = phasors.iter().flat_map(|phasor| [phasor.re, phasor.im]);
        if parts.map(i64::unsigned_abs).max() > Some(4 << RELATIVE_BITS) {
            return false;
        }
        // A part is below 2²⁸ and three of them below 2³⁰.
        let [_, positive, negative] = sequences(phasors).map(|Complex { re, im }| {
            let square = |value: i64| value.unsigned_abs().pow(2);
            square(re) + square(im)
        });
        // Below a tenth of the declared voltage nothing begins. From there on a phasor of up to four times that voltage is known to 10⁻⁵ of the
        // positive sequence, a hundredth of the least limit: a sixteenth of the squares, a thirtieth of the limit, is more than enough.
        let limit = u128::from(self.settings.unbalance_ppm);
        u128::from(negative) * 1_000_000_000_000 < u128::from(positive) * (limit * limit * 15 / 16)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EventKind, EventSettings};
    use super::*;
    use crate::{Event, Scale, kernel::QUANTITIES};
    use proptest::prelude::*;
    use std::vec::Vec;

    const SCALE: Scale = Scale {
        voltage_femtovolts_per_count: [64_000_000_000, 65_000_000_000, 3_000_000_000],
        current_femtoamperes_per_count: [18_000_000_000, 19_000_000_000, 2_000_000_000, 18_000_000_000],
    };

    /// What one step gives, and whether it was quiet: the same detector must give it the long way too.
    fn both(detector: &mut Detector, mut step: impl FnMut(&mut Detector)) -> Vec<Event> {
        let mut long = Detector { open: u64::MAX, ..detector.clone() };
        step(detector);
        step(&mut long);
        let drain = |detector: &mut Detector| core::iter::from_fn(|| detector.queue.take()).collect();
        let (short, long): (Vec<Event>, Vec<Event>) = (drain(detector), drain(&mut long));
        assert_eq!(short, long);
        short
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn half_cycles_give_the_same_events_the_short_way(
            volts in 1_000_u32..2_000_000,
            milliamperes in prop::option::of(1_u32..200_000),
            steps in prop::collection::vec((0_usize..6, 0_usize..3, -3_i128..4, any::<bool>(), 7_u64..2_500), 2..60),
        ) {
            let over_current_milliamperes = milliamperes;
            let settings = EventSettings { over_current_milliamperes, ..EventSettings::new(volts) };
            let mut detector = Detector::new(settings, SCALE, 8_000_000_000);
            let limits = detector.limits.clone();
            for (threshold, phase, near, all, samples) in steps {
                let length = (samples << 20) + samples * 7_919;
                // The declared voltage in all phases, and at a threshold, or just beside it, in one or all: the half cycle before has the same.
                let mut squares = [0; CHANNELS];
                for number in 0..VOLTAGES {
                    let Limits { sag, swell, interruption, over_current, .. } = &limits[number];
                    let levels = [sag.enter, sag.leave, swell.enter, swell.leave, interruption.enter];
                    let level = match levels.get(threshold) {
                        Some(level) if all || number == phase => *level,
                        _ => (sag.leave + swell.leave) / 2,
                    };
                    let sum = |level: i128| ((level * i128::from(length)) >> 32) + near;
                    squares[number] = sum(level);
                    let amperes = over_current.map_or(1 << 60, |limit| limit.enter);
                    squares[VOLTAGES + number] = if number == phase { sum(amperes) } else { sum(amperes / 4) };
                }
                for half in 0..2 {
                    both(&mut detector, |detector| detector.pass_half_cycle(squares, half << 30, length));
                }
            }
        }

        #[test]
        fn boundaries_give_the_same_events_the_short_way(
            volts in 1_000_u32..1_000_000,
            limit in 1_000_u32..200_000,
            watts in prop::option::of(1_u32..1_000_000),
            steps in prop::collection::vec(
                (0.5_f64..1.5, 0.9_f64..1.1, 0_u32..8, any::<bool>(), -10.0_f64..10.0), 1..40),
        ) {
            let settings = EventSettings {
                unbalance_ppm: limit,
                reverse_power_milliwatts: watts,
                ..EventSettings::new(volts)
            };
            let mut detector = Detector::new(settings, SCALE, 8_000_000_000);
            for (level, near, weaker, reversed, active) in steps {
                let mut boundary = Boundary::without_fundamental(&[0; QUANTITIES], 320 << 20, false);
                // A positive and a negative sequence of exactly the limit, or nearly, from full voltage down to where nothing is said any more.
                let positive = f64::from(volts) * 1e12 * level * 2_f64.sqrt() / f64::from(1 << weaker);
                let mut parts = [positive, positive * f64::from(limit) / 1e6 * near];
                if reversed {
                    parts.reverse();
                }
                for number in 0..VOLTAGES {
                    let turn = core::f64::consts::TAU / 3.0 * number as f64;
                    let counts = (1_u64 << 32) as f64 / SCALE.voltage_femtovolts_per_count[number] as f64;
                    boundary.phasors[number] = Complex {
                        re: ((parts[0] + parts[1]) * turn.cos() * counts) as i64,
                        im: ((parts[1] - parts[0]) * turn.sin() * counts) as i64,
                    };
                    boundary.products[number] = (active * 1e18) as i128;
                }
                both(&mut detector, |detector| detector.pass_boundary(&boundary, 1 << 40));
            }
        }
    }

    #[test]
    fn a_steady_supply_takes_the_short_way() {
        let detector = Detector::new(EventSettings::new(230_000), SCALE, 8_000_000_000);
        let mut boundary = Boundary::without_fundamental(&[0; QUANTITIES], 320 << 20, false);
        let mut half = Half { squares: [0; CHANNELS], length: 80 << 20, start: 0 };
        for number in 0..VOLTAGES {
            let peak = 230e15 * 2_f64.sqrt() / SCALE.voltage_femtovolts_per_count[number] as f64;
            let turn = -core::f64::consts::TAU / 3.0 * number as f64;
            let part = |share: f64| (share * peak * (1_u64 << 32) as f64) as i64;
            boundary.phasors[number] = Complex { re: part(turn.cos()), im: part(turn.sin()) };
            half.squares[number] = (peak * peak / 2.0 * half.length as f64) as i128;
        }
        assert!(detector.is_balanced(&boundary));
        let squares = half.squares;
        assert!(detector.is_within(&half, &squares, i128::from(2 * half.length)));
        boundary.phasors[1] = boundary.phasors[2];
        assert!(!detector.is_balanced(&boundary));
        half.squares[1] /= 2;
        assert!(!detector.is_within(&half, &squares, i128::from(2 * half.length)));
        assert_eq!(EventKind::OF_HALF_CYCLES & EventKind::OF_BOUNDARIES, 0);
    }
}
