//! A record at work: coefficients for the present temperature and currents, and what they do to a slot's sums.
//!
//! Gain, cross-talk and noise act on a slot's sums, where they cost nothing per frame and are exact: a sum of products is scaled by the product of
//! the gains, and cross-talk is linear in sums that exist already. Offset and delay act on the samples (`delay`). All coefficients change at slot
//! edges only, so that no sum is made with two of them.

use super::{Calibration, CurvePoint, Quadratic, Transducer};
use crate::{
    CURRENTS, Config, VOLTAGES,
    boundary::{Boundary, CHANNELS},
    delay::Conditioner,
    kernel::{IC, II, NEUTRAL, QUANTITIES, VC, VI, VV, phase},
    slot::{EDGE, Halves},
    trig::Complex,
};

/// A calibration record with everything that follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Correction {
    record: Calibration,
    rate_microhertz: u64,
    current_femtoamperes: [u64; CURRENTS],
    millikelvin: u32,
    /// The temperature has changed since the coefficients were made.
    stale: bool,
    /// Factors with 32 fractional bits, 0.5 to 1.5.
    gains: [i64; CHANNELS],
    /// Counts a count, 32 fractional bits.
    crosstalk: [i64; VOLTAGES],
    /// RMS currents at the last boundary, in milliamperes.
    milliamperes: [u64; CURRENTS],
    /// What the square of each current has become behind its heat's time constant: milliamperes squared, 16 fractional bits.
    heat: [u128; CURRENTS],
    pub(crate) conditioner: Conditioner,
}

impl Correction {
    /// At the record's reference temperature, with no current yet.
    pub(crate) fn new(record: Calibration, config: &Config) -> Self {
        let mut correction = Self {
            record,
            rate_microhertz: config.sample_rate_microhertz,
            current_femtoamperes: config.scale.current_femtoamperes_per_count,
            millikelvin: record.reference_millikelvin,
            stale: false,
            gains: [ONE; CHANNELS],
            crosstalk: record.crosstalk_ppb.map(|ppb| (i64::from(ppb) << 32) / 1_000_000_000),
            milliamperes: [0; CURRENTS],
            heat: [0; CURRENTS],
            conditioner: Conditioner::default(),
        };
        correction.evaluate();
        correction
    }

    /// Takes a temperature; it acts from the next slot on.
    pub(crate) fn set_temperature(&mut self, millikelvin: u32) {
        self.stale |= self.millikelvin != millikelvin;
        self.millikelvin = millikelvin;
    }

    pub(crate) fn is_extrapolated(&self) -> bool {
        self.record.is_beyond(self.millikelvin)
    }

    /// Corrects phasors of one order, in counts: cross-talk and gain, as for sums.
    pub(crate) fn correct_phasors(&self, phasors: &mut [Complex<i64>; CHANNELS]) {
        for number in 0..VOLTAGES {
            let Complex { re, im } = phasors[number];
            let current = &mut phasors[VOLTAGES + number];
            current.re -= product_of(re, self.crosstalk[number]);
            current.im -= product_of(im, self.crosstalk[number]);
        }
        for (Complex { re, im }, gain) in phasors.iter_mut().zip(self.gains) {
            (*re, *im) = (product_of(*re, gain), product_of(*im, gain));
        }
    }

    /// Corrects a whole slot.
    pub(crate) fn correct(&self, halves: &mut Halves) {
        let half = halves.length / 2;
        self.correct_sums(&mut halves.down, half);
        self.correct_sums(&mut halves.up, halves.length - half);
        if let Some(squares) = &mut halves.first_half {
            self.correct_first_half(squares);
        }
    }

    /// Events see the first half with its gain alone: noise and cross-talk are far below their thresholds.
    pub(crate) fn correct_first_half(&self, squares: &mut [i128; CHANNELS]) {
        for (square, gain) in squares.iter_mut().zip(self.gains) {
            scale(square, product_of(gain, gain));
        }
    }

    /// Corrects sums over `weight` samples (20 fractional bits). A sum is below 2⁷⁸ and a factor below 2³⁵.
    pub(crate) fn correct_sums(&self, sums: &mut [i128; QUANTITIES], weight: u64) {
        let noise = |channel: usize| {
            let square = self.record.channels[channel].noise_millicounts_squared;
            i128::from(square) * i128::from(weight) / 1000
        };
        for number in 0..VOLTAGES {
            let at = phase(number);
            let crosstalk = i128::from(self.crosstalk[number]);
            let leaked = |value: i128| (value * crosstalk) >> 32;
            sums[at + VV] -= noise(number);
            sums[at + II] -= noise(VOLTAGES + number);
            // (i − χ·v)² = i² − 2χ·v·i + χ²·v²
            let (square, product) = (sums[at + VV], sums[at + VI]);
            sums[at + II] -= leaked(2 * product - leaked(square));
            sums[at + VI] -= leaked(square);
            for n in 0..2 {
                sums[at + IC + n] -= leaked(sums[at + VC + n]);
            }
            let (v, i) = (self.gains[number], self.gains[VOLTAGES + number]);
            scale(&mut sums[at + VV], product_of(v, v));
            scale(&mut sums[at + II], product_of(i, i));
            scale(&mut sums[at + VI], product_of(v, i));
            for n in 0..2 {
                scale(&mut sums[at + VC + n], v);
                scale(&mut sums[at + IC + n], i);
            }
        }
        let gain = self.gains[CHANNELS - 1];
        sums[NEUTRAL] -= noise(CHANNELS - 1);
        scale(&mut sums[NEUTRAL], product_of(gain, gain));
        scale(&mut sums[NEUTRAL + 1], gain);
        scale(&mut sums[NEUTRAL + 2], gain);
    }

    /// At a slot's edge: new coefficients, if temperature or currents ask for them.
    pub(crate) fn pass_edge(&mut self, last: Option<&Boundary>, slot_length: u64) {
        let depends = |transducer: &Transducer| *transducer != Transducer::default();
        if self.record.transducers.iter().any(depends) {
            if let Some(boundary) = last {
                self.follow_currents(boundary, slot_length);
            }
            self.stale = true;
        }
        if core::mem::take(&mut self.stale) {
            self.evaluate();
        }
    }

    fn follow_currents(&mut self, boundary: &Boundary, slot_length: u64) {
        // Samples with 20 fractional bits to microseconds: below 2³² · 10¹² · 2⁻²⁰.
        let slot_microseconds =
            (u128::from(slot_length) * 1_000_000_000_000 / u128::from(self.rate_microhertz)) >> EDGE;
        for number in 0..CURRENTS {
            let square = boundary.mean_square(VOLTAGES + number).max(0).unsigned_abs();
            // Counts with 16 fractional bits, below 2⁴⁰; a scale below 2⁴⁷.
            let counts = square.isqrt();
            let milliamperes =
                (counts * u128::from(self.current_femtoamperes[number]) / 1_000_000_000_000) >> 16;
            self.milliamperes[number] = milliamperes as u64;
            // Below 2⁶⁰ with 16 fractional bits.
            let settled = (milliamperes * milliamperes) << 16;
            let time = u128::from(self.record.transducers[number].heating_milliseconds) * 1000;
            let heat = self.heat[number];
            let step = |difference: u128| difference * slot_microseconds / (time + slot_microseconds);
            self.heat[number] =
                if settled >= heat { heat + step(settled - heat) } else { heat - step(heat - settled) };
        }
    }

    fn evaluate(&mut self) {
        let kelvin = i64::from(self.millikelvin) - i64::from(self.record.reference_millikelvin);
        let channels = &self.record.channels;
        let delay = |channel: usize| channels[channel].delay_picoseconds.at(kelvin);
        let mut offsets = [0; CHANNELS];
        let mut delays = [0; CURRENTS];
        for channel in 0..CHANNELS {
            offsets[channel] = channels[channel].offset_millicounts.at(kelvin);
            let mut gain = channels[channel].gain_ppb.at(kelvin);
            if let Some(number) = channel.checked_sub(VOLTAGES) {
                let transducer = &self.record.transducers[number];
                let [curve_gain, curve_delay] = transducer.at(self.milliamperes[number]);
                gain += curve_gain + transducer.heated_gain_ppb(self.heat[number]);
                // The neutral has no voltage of its own and stays with the voltages' nominal time.
                let voltage = if number < VOLTAGES { delay(number) } else { 0 };
                delays[number] = voltage - delay(channel) - curve_delay;
            }
            let gain = gain.clamp(GAIN_MIN_PPB, GAIN_MAX_PPB);
            self.gains[channel] = ONE + (gain << 32) / 1_000_000_000;
        }
        self.conditioner.set(&offsets, &delays, self.rate_microhertz);
    }
}

impl Quadratic {
    /// The value `millikelvin` from the reference temperature, in the field's unit: below 2³¹ + 2⁴⁹ / 1000 + 2⁶⁷ / 10⁶, cut to 2⁵³.
    fn at(&self, millikelvin: i64) -> i64 {
        let [constant, linear, quadratic] = [self.constant, self.linear, self.quadratic].map(i128::from);
        let kelvin = i128::from(millikelvin);
        let exact = constant * 1_000_000_000_000 + linear * kelvin * 1_000_000 + quadratic * kelvin * kelvin;
        (exact / 1_000_000_000_000) as i64
    }
}

impl Transducer {
    /// Gain in 10⁻⁹ and delay in picoseconds at an RMS current.
    fn at(&self, milliamperes: u64) -> [i64; 2] {
        let values = |point: &CurvePoint| [i64::from(point.gain_ppb), i64::from(point.delay_picoseconds)];
        let points = self.points();
        let behind = points.iter().position(|point| u64::from(point.milliamperes) > milliamperes);
        match (behind, points) {
            (_, []) => [0, 0],
            (None, [.., last]) => values(last),
            (Some(0), [first, ..]) => values(first),
            (Some(behind), _) => {
                let (low, high) = (&points[behind - 1], &points[behind]);
                let width = i64::from(high.milliamperes) - i64::from(low.milliamperes);
                let along = milliamperes as i64 - i64::from(low.milliamperes);
                let (from, to) = (values(low), values(high));
                core::array::from_fn(|n| from[n] + (to[n] - from[n]) * along / width)
            }
        }
    }

    /// What the heat of a current squared (milliamperes squared, 16 fractional bits) adds to the gain.
    fn heated_gain_ppb(&self, heat: u128) -> i64 {
        // Below 2⁸⁰ · 2²⁰; amperes squared from milliamperes squared, 10⁻⁹ from 10⁻¹².
        let ppb = (heat as i128 * i128::from(self.heating_ppt_per_square_ampere) / 1_000_000_000) >> 16;
        ppb.clamp(GAIN_MIN_PPB.into(), GAIN_MAX_PPB.into()) as i64
    }
}

/// A factor of one, 32 fractional bits.
const ONE: i64 = 1 << 32;
/// Whatever a record's terms sum up to, a gain stays between 0.5 and 1.5, so that sums keep their bounds.
const GAIN_MIN_PPB: i64 = -500_000_000;
const GAIN_MAX_PPB: i64 = 500_000_000;

fn product_of(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> 32) as i64
}

fn scale(sum: &mut i128, factor: i64) {
    *sum = (*sum * i128::from(factor)) >> 32;
}
