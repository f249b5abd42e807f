//! The computation alone: what the core errs by behind an ideal 24-bit front end, which has nothing but steps. The same for all units.

use crate::points;
use crate::reference::Truth;
use crate::rig::{Reading, Rig};
use meterseal_metrology::ConfigError;
use meterseal_world::physics::{Effects, LoadPoint, Sensor, Tolerances, Unit};

/// One figure of the computation.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figure {
    /// What errs.
    pub name: &'static str,
    /// Of what the values are.
    pub unit: &'static str,
    /// What must be reached, plus and minus.
    pub reach: f64,
    /// What is aimed at.
    pub aim: f64,
    /// The largest magnitude found.
    pub worst: f64,
    /// Where it was found.
    pub at: String,
    /// Loads looked at.
    pub loads: u32,
}

impl Figure {
    /// Whether the reach is kept.
    pub fn holds(&self) -> bool {
        self.worst <= self.reach
    }

    fn new(name: &'static str, unit: &'static str, reach: f64, aim: f64) -> Self {
        Self { name, unit, reach, aim, worst: 0.0, at: String::new(), loads: 0 }
    }

    fn take(&mut self, error: f64, at: impl FnOnce() -> String) {
        self.loads += 1;
        // What cannot be told is no error within any limit.
        let error = if error.is_nan() { f64::INFINITY } else { error.abs() };
        if error > self.worst {
            (self.worst, self.at) = (error, at());
        }
    }
}

/// The supply's frequencies: 47.5 to 52.5 and 57 to 63 Hz.
const HERTZ: [f64; 10] = [47.5, 48.7, 50.0, 51.3, 52.5, 57.0, 58.9, 60.0, 61.2, 63.0];
/// The time of one measurement, seconds.
const SECONDS: f64 = 1.0;
/// The highest harmonic: 2.5 kHz at 63 Hz, below 0.4 of the rate.
const HIGHEST: u16 = 40;

/// Measures all figures: about 5 million frames.
///
/// # Errors
/// The core refuses a setting.
pub fn figures() -> Result<Vec<Figure>, ConfigError> {
    let mut active = Figure::new("active power", "%", 2e-3, 5e-4);
    let mut reactive = Figure::new("fundamental reactive power", "% of S", 5e-3, 1e-3);
    let mut rig = ideal();
    for hertz in HERTZ {
        for (part, lag) in points::rows().iter().filter_map(|row| row.balanced) {
            let pure = LoadPoint::balanced(hertz, points::UN, part * points::IN, lag);
            for (name, load) in [("pure", pure.clone()), ("harmonics to the 40th", distorted(pure))] {
                let at = || format!("{hertz} Hz, {part} In, {lag:.0}°, {name}");
                let reading = rig.quiet_full(&load, SECONDS)?;
                let truth = Truth::of(&load);
                active.take((reading.total_watts() / truth.total_watts() - 1.0) * 100.0, at);
                for phase in 0..3 {
                    let apparent = truth.volts[phase] * truth.amperes[phase];
                    reactive.take((reading.vars[phase] - truth.vars[phase]) / apparent * 100.0, at);
                }
            }
        }
    }
    let mut frequency = Figure::new("frequency, 7 % THD, all phases or one or two lost", "mHz", 0.5, 0.05);
    for hertz in HERTZ {
        for lost in 0..3 {
            let volts = std::array::from_fn(|phase| if phase < lost { 0.0 } else { points::UN });
            let load = LoadPoint::unbalanced(hertz, volts, [points::IN; 3], 30.0);
            let load = load.with_harmonic(5, 0.05, 0.1).with_harmonic(7, 0.05, 0.1);
            let Reading { hertz: [lowest, highest], .. } = rig.quiet_full(&load, SECONDS)?;
            let worst = (hertz - lowest).abs().max((highest - hertz).abs());
            frequency.take(worst * 1e3, || format!("{hertz} Hz, {lost} phases lost"));
        }
    }
    Ok(vec![active, reactive, frequency])
}

/// All orders from the second on: 1 % of the voltage, and of the current a tenth over the order.
fn distorted(load: LoadPoint) -> LoadPoint {
    (2..=HIGHEST).fold(load, |load, order| load.with_harmonic(order, 0.01, 0.1 / f64::from(order)))
}

fn ideal() -> Rig {
    let unit = Unit::draw(0, Sensor::Transformer, &Tolerances::REFERENCE, Effects::NONE);
    Rig::new(unit, None, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_errs_by_less_than_a_tenth_of_the_best_meters() {
        for figure in figures().unwrap() {
            assert!(figure.holds(), "{figure:?}");
            // 10 frequencies, and not one load forgotten.
            assert!(figure.loads >= 30, "{figure:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_told_holds_no_limit() {
        let mut figure = Figure::new("nothing", "%", 1.0, 0.5);
        figure.take(-0.5, String::new);
        assert!(figure.holds());
        figure.take(f64::NAN, String::new);
        assert!(!figure.holds());
    }
}
