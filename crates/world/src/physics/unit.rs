//! One meter's front end in its surroundings: warm or cold, new or old, beside a magnet or not.

use super::chain::{FULL_CURRENT, Parts, REFERENCE_CELSIUS, Surroundings, put};
use super::noise::Noise;
use super::signal::{Converter, Line, Signal};
use super::{Effects, FUNDAMENTAL, LoadPoint, SAMPLE_RATE_HZ, Sensor, Tolerances, Tone};
use crate::complex::Complex;
use crate::random::Random;
use crate::site::FrontEnd;
use meterseal_metrology::{Frame, Scale};
use std::f64::consts::SQRT_2;

/// The case is warmer than the air: by its supply, kelvin.
const CASE_RISE_KELVIN: f64 = 3.0;
/// Time constants of case, shunt and thermometer, seconds.
const CASE_SECONDS: f64 = 1200.0;
const SHUNT_SECONDS: f64 = 120.0;
const THERMOMETER_SECONDS: f64 = 60.0;

/// A virtual unit's front end. What was drawn for it cannot be asked for.
#[derive(Clone, Debug)]
pub struct Unit {
    parts: Parts,
    sensor: Sensor,
    effects: Effects,
    /// By the data sheet, root mean square.
    noise_counts: f64,
    noisy: bool,
    random: Random,
    now: Surroundings,
    /// What the thermometer shows before its own error.
    sensed_celsius: f64,
    alternating_millitesla: f64,
    /// The fundamental currents of the load before, for remanence.
    amperes: [f64; 4],
}

impl Unit {
    /// Draws a unit: the same for the same seed. It is new, at 23 °C, without a load.
    pub fn draw(seed: u64, sensor: Sensor, tolerances: &Tolerances, effects: Effects) -> Self {
        let mut random = Random::new(seed ^ 0x0050_6879_7369_6373);
        let parts = Parts::draw(tolerances, &mut random);
        let full_sine = f64::from(Frame::FULL_SCALE) / SQRT_2;
        let noise_counts = full_sine * 10f64.powf(-tolerances.noise_decibels / 20.0);
        let now = Surroundings { celsius: REFERENCE_CELSIUS, ..Surroundings::default() };
        Self {
            parts,
            sensor,
            effects,
            noise_counts,
            noisy: effects.noise,
            random,
            now,
            sensed_celsius: REFERENCE_CELSIUS,
            alternating_millitesla: 0.0,
            amperes: [0.0; 4],
        }
    }

    /// The name plate: what a count is worth by design, the same for all units.
    pub fn scale() -> Scale {
        let femto = |full_scale: f64| (full_scale * 1e15 / f64::from(Frame::FULL_SCALE)).round() as u64;
        Scale {
            voltage_femtovolts_per_count: [femto(FrontEnd::VOLTS_FULL_SCALE); 3],
            current_femtoamperes_per_count: [femto(FrontEnd::AMPS_FULL_SCALE); 4],
        }
    }

    /// The converter's noise, white part, root mean square, by its data sheet: volts, amperes.
    pub fn noise(&self) -> [f64; 2] {
        let part = self.noise_counts / f64::from(Frame::FULL_SCALE);
        [part * FrontEnd::VOLTS_FULL_SCALE, part * FrontEnd::AMPS_FULL_SCALE]
    }

    /// Frames without noise, or with it again, whatever the unit's effects say: a sum over little time can then take its noise by calculation.
    pub fn set_noise(&mut self, on: bool) {
        self.noisy = on;
    }

    /// What the meter's thermometer shows, °C.
    pub fn thermometer_celsius(&self) -> f64 {
        if self.effects.thermometer {
            self.sensed_celsius + self.parts.thermometer_kelvin
        } else {
            self.now.celsius
        }
    }

    /// Half an hour and more at `ambient` °C with this load: all temperatures settled.
    pub fn settle(&mut self, ambient: f64, load: &LoadPoint) {
        self.warm(ambient, load, [1.0; 3]);
    }

    /// `seconds` at `ambient` °C with this load: temperatures move, parts age.
    pub fn pass(&mut self, seconds: f64, ambient: f64, load: &LoadPoint) {
        let part = |time: f64| 1.0 - (-seconds / time).exp();
        self.warm(ambient, load, [part(CASE_SECONDS), part(SHUNT_SECONDS), part(THERMOMETER_SECONDS)]);
        self.now.hours += seconds / 3600.0;
    }

    fn warm(&mut self, ambient: f64, load: &LoadPoint, [case, shunt, thermometer]: [f64; 3]) {
        let squares = load.current.each_ref().map(|tones| {
            let square: f64 = tones.iter().map(|tone| tone.rms * tone.rms).sum();
            square / (FULL_CURRENT * FULL_CURRENT)
        });
        let heated = if self.effects.self_heating { 1.0 } else { 0.0 };
        let mean = squares.iter().take(3).sum::<f64>() / 3.0;
        let rise = heated * (CASE_RISE_KELVIN + self.parts.case_rise_kelvin * mean);
        self.now.celsius += (ambient + rise - self.now.celsius) * case;
        for (number, square) in squares.iter().enumerate() {
            let settled = heated * square * self.parts.sensors[number].shunt_rise_kelvin;
            self.now.shunt_kelvin[number] += (settled - self.now.shunt_kelvin[number]) * shunt;
        }
        self.sensed_celsius += (self.now.celsius - self.sensed_celsius) * thermometer;
    }

    /// Hours of operation so far.
    pub fn hours(&self) -> f64 {
        self.now.hours
    }

    /// A magnet's field at the transformers, millitesla; 300 mT saturate the most sensitive ones.
    pub fn set_magnet(&mut self, millitesla: f64) {
        self.now.magnet_millitesla = millitesla;
    }

    /// A field of the supply's frequency around the meter, millitesla (IEC 62053-22's test: 0.5).
    pub fn set_alternating_field(&mut self, millitesla: f64) {
        self.alternating_millitesla = millitesla;
    }

    /// Frames of this load, from `turns` of a quarter of the supply's frequency on (0 for a first one, [`Signal::turns`] for one that follows).
    pub fn signal(&mut self, load: &LoadPoint, turns: f64) -> Signal {
        let amperes = load.current.each_ref().map(|tones| fundamental_rms(tones));
        for ((remanence, before), after) in self.now.remanence.iter_mut().zip(self.amperes).zip(amperes) {
            let larger = before.max(after);
            if larger > 0.0 && before != after {
                *remanence = (before - after) / larger;
            }
        }
        self.amperes = amperes;
        let rate = SAMPLE_RATE_HZ * (1.0 + self.parts.clock(self.now.celsius, &self.effects));
        let (lines, second_order) = self.lines(load);
        let converter = self.converter(second_order);
        let noise = Noise::new(self.random.next());
        Signal::new(load.frequency_hz, rate, turns, lines, converter, noise)
    }

    /// The load's lines in counts at the converter, and what a magnet adds to each current's second order.
    fn lines(&self, load: &LoadPoint) -> (Vec<Line>, [f64; 4]) {
        let mut orders: Vec<u16> =
            load.voltage.iter().chain(&load.current).flatten().map(|tone| tone.quarter_order).collect();
        orders.sort_unstable();
        orders.dedup();
        let full = f64::from(Frame::FULL_SCALE);
        let (per_volt, per_ampere) = (full / FrontEnd::VOLTS_FULL_SCALE, full / FrontEnd::AMPS_FULL_SCALE);
        let points = std::array::from_fn::<_, 4, _>(|number| {
            let tones = &load.current[number];
            let direct = tones.iter().find(|tone| tone.quarter_order == 0).map_or(0.0, |tone| tone.rms.abs());
            let through = [fundamental_rms(tones), direct, load.frequency_hz];
            self.parts.sensors[number].operating_point(number, self.sensor, through, &self.now, &self.effects)
        });
        let lines = orders.into_iter().map(|quarter_order| {
            let hertz = load.frequency_hz * f64::from(quarter_order) / 4.0;
            let electronics =
                |channel| self.parts.electronics(channel, hertz, &self.now, &self.effects, self.sensor);
            let mut line = Line { quarter_order, re: [0.0; 8], im: [0.0; 8] };
            let mut volts = [Complex::default(); 3];
            for (phase, volts) in volts.iter_mut().enumerate() {
                *volts = amplitude(&load.voltage[phase], quarter_order).scaled(per_volt);
                put(&mut line.re, &mut line.im, phase, *volts * electronics(phase));
            }
            for (number, point) in points.iter().enumerate() {
                let mut amperes = amplitude(&load.current[number], quarter_order);
                if quarter_order == FUNDAMENTAL && self.alternating_millitesla != 0.0 {
                    let induced = self.parts.sensors[number].induced;
                    amperes = amperes + induced.scaled(SQRT_2 * self.alternating_millitesla);
                }
                let mut counts = amperes.scaled(per_ampere) * point.response(hertz);
                if self.effects.crosstalk && number < 3 {
                    for (volts, part) in volts.iter().zip(self.parts.crosstalk[number]) {
                        counts = counts + volts.scaled(part);
                    }
                }
                put(&mut line.re, &mut line.im, 3 + number, counts * electronics(3 + number));
            }
            line
        });
        (lines.collect(), points.map(|point| point.second_order))
    }

    fn converter(&self, magnet: [f64; 4]) -> Converter {
        let full = f64::from(Frame::FULL_SCALE);
        let noise = if self.noisy { self.noise_counts } else { 0.0 };
        let mut converter = Converter { noise, ..Converter::default() };
        for channel in 0..7 {
            let [offset, second, third] = self.parts.converter(channel, self.now.celsius, &self.effects);
            converter.offset[channel] = offset;
            converter.second_order[channel] = second / full;
            converter.third_order[channel] = third / (full * full);
            if let Some(number) = channel.checked_sub(3) {
                let at_full_current = full * FULL_CURRENT * SQRT_2 / FrontEnd::AMPS_FULL_SCALE;
                converter.second_order[channel] += magnet[number] / at_full_current;
            }
        }
        converter
    }
}

fn fundamental_rms(tones: &[Tone]) -> f64 {
    tones.iter().find(|tone| tone.quarter_order == FUNDAMENTAL).map_or(0.0, |tone| tone.rms)
}

/// The peak amplitude of the tones of one order; of order zero, the constant.
fn amplitude(tones: &[Tone], quarter_order: u16) -> Complex {
    tones.iter().filter(|tone| tone.quarter_order == quarter_order).fold(Complex::default(), |sum, tone| {
        if quarter_order == 0 {
            return sum + Complex::new(tone.rms * tone.radians.cos(), 0.0);
        }
        sum + Complex::polar(SQRT_2 * tone.rms, tone.radians)
    })
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
