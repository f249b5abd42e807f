//! Load points: what is at a meter's terminals, as lines of a spectrum. Every load named in the accuracy standards, phase-fired, half-wave and
//! burst-fired ones included, is a finite sum of cosines here: its true power is then known exactly, and samples of it cost no transcendental.

use std::f64::consts::{PI, TAU};

/// One spectral line: `√2·rms·cos(2π·f·k/4·t + radians)` with the load's frequency *f* and *k* quarter orders; for *k* = 0 the constant
/// `rms·cos(radians)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Four times the harmonic order, so that bursts of two cycles in four have their lines too.
    pub quarter_order: u16,
    /// Volts or amperes, root mean square.
    pub rms: f64,
    /// The phase at time zero.
    pub radians: f64,
}

/// A stationary load on a stationary supply.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPoint {
    /// The supply's frequency.
    pub frequency_hz: f64,
    /// Voltages L1, L2, L3 to neutral.
    pub voltage: [Vec<Tone>; 3],
    /// Currents L1, L2, L3, neutral; import positive.
    pub current: [Vec<Tone>; 4],
}

/// Quarter orders of the fundamental.
pub const FUNDAMENTAL: u16 = 4;
/// Lines of a switched current, from DC on: to the 50th order, which at 60 Hz leaves room for a filter below 4 kHz; of bursts, which have no jumps and
/// whose lines fall with the square, to the 12th.
const SWITCHED_LINES: u16 = 50;

impl LoadPoint {
    /// Three symmetrical voltages, the same current in each phase: `lag_degrees` behind its voltage (negative: ahead of it, capacitive; beyond ±90:
    /// export).
    pub fn balanced(frequency_hz: f64, volts: f64, amperes: f64, lag_degrees: f64) -> Self {
        Self::unbalanced(frequency_hz, [volts; 3], [amperes; 3], lag_degrees)
    }

    /// The same with magnitudes for each phase: a current of zero for a single-phase load, a voltage of zero for a lost phase.
    pub fn unbalanced(frequency_hz: f64, volts: [f64; 3], amperes: [f64; 3], lag_degrees: f64) -> Self {
        let mut load = Self { frequency_hz, voltage: Default::default(), current: Default::default() };
        for phase in 0..3 {
            let angle = phase_angle(phase);
            load.voltage[phase].push(fundamental(volts[phase], angle));
            if amperes[phase] != 0.0 {
                load.current[phase].push(fundamental(amperes[phase], angle - lag_degrees.to_radians()));
            }
        }
        load.with_neutral()
    }

    /// The phases in the order L1, L3, L2.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.voltage.swap(1, 2);
        self.current.swap(1, 2);
        self
    }

    /// Adds a harmonic to every phase: `volts` and `amperes` as fractions of the fundamental, in phase with it at its positive crossing of zero
    /// (IEC 62053's test: at PF 1 its power is positive).
    #[must_use]
    pub fn with_harmonic(mut self, order: u16, volts: f64, amperes: f64) -> Self {
        for (tones, fraction) in
            self.voltage.iter_mut().zip([volts; 3]).chain(self.current.iter_mut().take(3).zip([amperes; 3]))
        {
            if let Some(first) = tones.iter().find(|tone| tone.quarter_order == FUNDAMENTAL).copied() {
                // cos(θ) = sin(θ + π/2): the crossing of zero is at θ = −π/2.
                let crossing = first.radians + PI / 2.0;
                tones.push(Tone {
                    quarter_order: order * FUNDAMENTAL,
                    rms: first.rms * fraction,
                    radians: crossing * f64::from(order) - PI / 2.0,
                });
            }
        }
        self.with_neutral()
    }

    /// Every phase's current conducts from `firing_degrees` after each crossing of zero of its voltage (a dimmer: IEC 62053 uses 90°): of an
    /// `amperes` resistive load, up to the 50th order.
    pub fn phase_fired(frequency_hz: f64, volts: f64, amperes: f64, firing_degrees: f64) -> Self {
        let from = firing_degrees.to_radians();
        Self::switched(frequency_hz, volts, amperes, 1, &[(from, PI), (PI + from, TAU)])
    }

    /// Every phase's current is one half wave of each cycle, `amperes` being the whole wave's: a DC component of 0.45 of it, and even harmonics.
    pub fn half_wave(frequency_hz: f64, volts: f64, amperes: f64) -> Self {
        Self::switched(frequency_hz, volts, amperes, 1, &[(0.0, PI)])
    }

    /// Every phase's current is on for two cycles and off for two (burst control: IEC 62053's sub-harmonics), `amperes` while on.
    pub fn bursts(frequency_hz: f64, volts: f64, amperes: f64) -> Self {
        Self::switched(frequency_hz, volts, amperes, 4, &[(0.0, 2.0 * TAU)])
    }

    /// `√2·amperes·sin θ` within `windows` of θ, and zero elsewhere, repeating every `cycles` (1, 2 or 4) supply cycles.
    fn switched(frequency_hz: f64, volts: f64, amperes: f64, cycles: u16, windows: &[(f64, f64)]) -> Self {
        let mut load = Self::unbalanced(frequency_hz, [volts; 3], [0.0; 3], 0.0);
        for phase in 0..3 {
            for n in 0..=SWITCHED_LINES {
                let (re, im) = gated_sine(n, cycles, windows);
                // θ of this phase is ωt + angle + π/2, since its voltage is a cosine.
                let shift = (phase_angle(phase) + PI / 2.0) * f64::from(n) / f64::from(cycles);
                let magnitude = re.hypot(im);
                if magnitude < 1e-12 {
                    continue;
                }
                let rms =
                    if n == 0 { std::f64::consts::SQRT_2 * amperes * re } else { 2.0 * amperes * magnitude };
                let radians = if n == 0 { 0.0 } else { im.atan2(re) + shift };
                load.current[phase].push(Tone { quarter_order: n * 4 / cycles, rms, radians });
            }
        }
        load.with_neutral()
    }

    /// Sets the neutral's current to the sum of the phases'.
    #[must_use]
    pub fn with_neutral(mut self) -> Self {
        let mut sums: Vec<(u16, f64, f64)> = Vec::new();
        for tone in self.current.iter().take(3).flatten() {
            let (re, im) = (tone.rms * tone.radians.cos(), tone.rms * tone.radians.sin());
            match sums.iter_mut().find(|sum| sum.0 == tone.quarter_order) {
                Some(sum) => (sum.1, sum.2) = (sum.1 + re, sum.2 + im),
                None => sums.push((tone.quarter_order, re, im)),
            }
        }
        let largest = self.current.iter().take(3).flatten().map(|tone| tone.rms.abs()).fold(0.0, f64::max);
        let tones = sums.into_iter().filter(|sum| sum.1.hypot(sum.2) > 1e-12 * largest);
        self.current[3] = tones
            .map(|(quarter_order, re, im)| Tone { quarter_order, rms: re.hypot(im), radians: im.atan2(re) })
            .collect();
        self
    }
}

/// L2 a third of a turn behind L1, L3 a third ahead.
fn phase_angle(phase: usize) -> f64 {
    [0.0, -TAU / 3.0, TAU / 3.0][phase]
}

fn fundamental(rms: f64, radians: f64) -> Tone {
    Tone { quarter_order: FUNDAMENTAL, rms, radians }
}

/// The Fourier coefficient `1/T ∫ sin θ·e^(−jnθ/cycles) dθ` over the windows, T being `cycles` turns.
fn gated_sine(n: u16, cycles: u16, windows: &[(f64, f64)]) -> (f64, f64) {
    let order = f64::from(n) / f64::from(cycles);
    let (mut re, mut im) = (0.0, 0.0);
    for (from, to) in windows {
        // sin θ = (e^jθ − e^−jθ)/2j, so the integral is that of e^(j(1−m)θ)/2j less that of e^(−j(1+m)θ)/2j.
        let (a, b) = exponential(1.0 - order, *from, *to);
        let (c, d) = exponential(-1.0 - order, *from, *to);
        // (x + jy)/2j = y/2 − jx/2.
        (re, im) = (re + (b - d) / 2.0, im - (a - c) / 2.0);
    }
    let turns = TAU * f64::from(cycles);
    (re / turns, im / turns)
}

/// `∫ e^(jkθ) dθ`.
fn exponential(k: f64, from: f64, to: f64) -> (f64, f64) {
    if k.abs() < 1e-9 {
        return (to - from, 0.0);
    }
    (((k * to).sin() - (k * from).sin()) / k, ((k * from).cos() - (k * to).cos()) / k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tones: &[Tone], frequency_hz: f64, seconds: f64) -> f64 {
        tones
            .iter()
            .map(|tone| {
                if tone.quarter_order == 0 {
                    return tone.rms * tone.radians.cos();
                }
                let angle = TAU * frequency_hz * f64::from(tone.quarter_order) / 4.0 * seconds + tone.radians;
                2f64.sqrt() * tone.rms * angle.cos()
            })
            .sum()
    }

    #[test]
    fn half_wave_current_follows_the_positive_half_of_its_voltage() {
        let load = LoadPoint::half_wave(50.0, 230.0, 10.0);
        for phase in 0..3 {
            for step in 0..200 {
                let seconds = f64::from(step) * 1e-4;
                let volts = at(&load.voltage[phase], 50.0, seconds);
                let expected = (volts / 23.0).max(0.0);
                let amperes = at(&load.current[phase], 50.0, seconds);
                assert!((amperes - expected).abs() < 0.1, "phase {phase} at {seconds}: {amperes} {expected}");
            }
        }
    }

    #[test]
    fn bursts_are_on_for_two_cycles_of_four() {
        let load = LoadPoint::bursts(50.0, 230.0, 10.0);
        // L1's voltage crosses zero upwards a quarter cycle before time zero, where the burst begins.
        for step in 0..800 {
            let seconds = f64::from(step) * 1e-4;
            let theta = TAU * 50.0 * seconds + PI / 2.0;
            let on = !(2.0 * TAU..=4.0 * TAU).contains(&theta);
            let expected = if on { 2f64.sqrt() * 10.0 * theta.sin() } else { 0.0 };
            let amperes = at(&load.current[0], 50.0, seconds);
            assert!((amperes - expected).abs() < 0.5, "at {seconds}: {amperes} {expected}");
        }
    }

    #[test]
    fn a_dimmer_at_90_degrees_jumps_to_the_crest() {
        let load = LoadPoint::phase_fired(50.0, 230.0, 10.0, 90.0);
        // With all orders to infinity the mean square is half of the whole wave's; what lies above the 50th is missing.
        let square: f64 = load.current[0].iter().map(|tone| tone.rms * tone.rms).sum();
        assert!((48.5..50.0).contains(&square), "{square}");
        let fundamental = load.current[0].iter().find(|tone| tone.quarter_order == 4).unwrap();
        // a1 = 1/2, b1 = 1/π of the amplitude: the textbook's 0.593.
        assert!((fundamental.rms - 10.0 * (0.25 + 1.0 / (PI * PI)).sqrt()).abs() < 1e-9, "{fundamental:?}");
    }

    #[test]
    fn the_neutral_carries_what_the_phases_do_not_cancel() {
        assert!(LoadPoint::balanced(50.0, 230.0, 10.0, 30.0).current[3].is_empty());
        let single = LoadPoint::unbalanced(50.0, [230.0; 3], [0.0, 10.0, 0.0], 0.0);
        assert_eq!(single.current[3].len(), 1);
        assert!((single.current[3][0].rms - 10.0).abs() < 1e-9);
        let third = LoadPoint::balanced(50.0, 230.0, 10.0, 0.0).with_harmonic(3, 0.0, 0.1);
        assert!((third.current[3][0].rms - 3.0).abs() < 1e-9, "{:?}", third.current[3]);
    }
}
