//! Meters that measure or register wrongly.

use meterseal_bench::certify::{Specimen, Stimulus, Trouble, VirtualMeter};
use meterseal_world::physics::{FUNDAMENTAL, LoadPoint};
use std::collections::VecDeque;
use std::f64::consts::PI;

use crate::{Defective, Flaw, Kind, Mutant};

/// What a flaw can know of the meter's surroundings.
struct Around {
    celsius: f64,
    magnet_millitesla: f64,
    /// When the load changed, seconds: the last few times.
    changes: VecDeque<f64>,
    /// Seconds now.
    now: f64,
}

/// A flaw between the terminals and the meter: what is made of a load.
struct Terminals {
    around: Around,
    alter: fn(LoadPoint, &Around) -> LoadPoint,
    /// The load as it is.
    load: Option<LoadPoint>,
}

impl Flaw for Terminals {
    fn load(&mut self, meter: &mut VirtualMeter, load: &LoadPoint, turns: f64) {
        self.around.now = meter.seconds();
        self.around.changes.push_back(self.around.now);
        while self.around.changes.len() > 16 {
            self.around.changes.pop_front();
        }
        self.load = Some(load.clone());
        meter.load(&(self.alter)(load.clone(), &self.around), turns);
    }

    fn ambient(&mut self, meter: &mut VirtualMeter, celsius: f64) {
        self.around.celsius = celsius;
        meter.ambient(celsius);
        self.again(meter);
    }

    fn stimulate(&mut self, meter: &mut VirtualMeter, stimulus: Stimulus) {
        if let Stimulus::Magnet(field) = stimulus {
            self.around.magnet_millitesla = field.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
        }
        meter.stimulate(stimulus);
        self.again(meter);
    }
}

impl Terminals {
    /// The load as it now appears. Where in its cycle the supply is, only the bench knows: a balanced load does not mind.
    fn again(&mut self, meter: &mut VirtualMeter) {
        if let Some(load) = &self.load {
            meter.load(&(self.alter)(load.clone(), &self.around), 0.0);
        }
    }
}

fn at_terminals(meter: VirtualMeter, alter: fn(LoadPoint, &Around) -> LoadPoint) -> Box<dyn Specimen> {
    let around = Around { celsius: 23.0, magnet_millitesla: 0.0, changes: VecDeque::new(), now: 0.0 };
    Defective::boxed(meter, Terminals { around, alter, load: None })
}

/// Currents of all phases times a factor; the neutral with them.
fn scaled(mut load: LoadPoint, factor: f64) -> LoadPoint {
    load.current.iter_mut().flatten().for_each(|tone| tone.rms *= factor);
    load
}

/// Degrees that a phase's current lags.
fn lag(load: &LoadPoint, phase: usize) -> Option<f64> {
    let of = |tones: &[meterseal_world::physics::Tone]| {
        tones.iter().find(|tone| tone.quarter_order == FUNDAMENTAL).map(|tone| tone.radians)
    };
    let degrees = (of(&load.voltage[phase])? - of(&load.current[phase])?).to_degrees();
    Some((degrees + 540.0).rem_euclid(360.0) - 180.0)
}

fn volts(load: &LoadPoint, phase: usize) -> f64 {
    load.voltage[phase].iter().map(|tone| tone.rms * tone.rms).sum::<f64>().sqrt()
}

fn amperes(load: &LoadPoint, phase: usize) -> f64 {
    load.current[phase].iter().map(|tone| tone.rms * tone.rms).sum::<f64>().sqrt()
}

fn rotated(mut load: LoadPoint, phase: usize, radians: f64) -> LoadPoint {
    load.current[phase].iter_mut().for_each(|tone| tone.radians += radians);
    load
}

macro_rules! at_terminals {
    ($($name:literal, $flaw:literal, breaks $breaks:expr, touches $touches:expr, |$load:ident, $around:ident| $alter:expr;)*) => {
        vec![$(Mutant {
            name: $name,
            flaw: $flaw,
            breaks: &$breaks,
            touches: &$touches,
            kind: Kind::Wrapped(|meter| at_terminals(meter, |#[allow(unused_mut)] mut $load, $around| { let _ = &$around; $alter })),
        }),*]
    };
}

pub(crate) fn mutants() -> Vec<Mutant> {
    let mut all = at_terminals! {
        "gain-drift", "A gain that drifts by 60 ppm/K.",
        breaks ["ACC-18"], touches ["CPA-STAB", "INF-01", "INF-02"],
        |load, around| scaled(load, 1.0 + 60e-6 * (around.celsius - 23.0));

        "phase-lost-at-half", "The energy of L2 is dropped at power factor 0.5.",
        breaks ["ACC-05"], touches ["ACC-03", "ACC-08", "ACC-10", "ACC-12", "ACC-18", "INF-02", "INF-04", "INF-06", "INF-08", "INF-15"],
        |load, around| {
            if lag(&load, 1).is_some_and(|lag| (lag.to_radians().cos() - 0.5).abs() < 0.02) {
                load.current[1].clear();
            }
            load
        };

        "harmonics-ignored", "Only the fundamental is measured.",
        breaks ["INF-11"], touches ["INF-12", "ACC-16", "CPA-STAB"],
        |load, around| {
            let tones = load.voltage.iter_mut().chain(&mut load.current);
            tones.for_each(|tones| tones.retain(|tone| tone.quarter_order == FUNDAMENTAL));
            load
        };

        "creeping", "Without a current it registers 30 W.",
        breaks ["ACC-14"], touches ["ACC-13", "ACC-15", "ACC-16", "ACC-17", "ACC-19", "INF-21", "INF-22", "INF-23", "BIL-01"],
        |load, around| {
            if load.current.iter().all(Vec::is_empty) && volts(&load, 0) > 1.0 {
                let volts = std::array::from_fn(|phase| volts(&load, phase));
                return LoadPoint::unbalanced(load.frequency_hz, volts, [30.0 / 690.0; 3], 0.0);
            }
            load
        };

        "behaves-when-watched", "It registers 1 % less when the load has changed often of late, as no test bench's does.",
        breaks ["ACC-16"], touches ["INF-23", "CPA-STAB"],
        |load, around| {
            let busy = around.changes.len() >= 8 && around.changes.front().is_some_and(|first| around.now - first < 60.0);
            scaled(load, if busy { 0.99 } else { 1.0 })
        };

        "honest-at-nominal-voltage", "It registers 1 % less wherever the voltage is not the rated one within 0.5 %.",
        breaks ["INF-03", "ACC-16"], touches ["INF", "CPA-STAB", "TMP-08"],
        |load, around| {
            let away = (volts(&load, 0) / 230.0 - 1.0).abs() > 0.005;
            scaled(load, if away { 0.99 } else { 1.0 })
        };

        "one-phase-gain", "The gain of L1 is 0.8 % too large.",
        breaks ["ACC-09", "ACC-11"], touches ["ACC", "INF-10", "INF-23", "CPA-STAB", "TMP-07"],
        |load, around| {
            load.current[0].iter_mut().for_each(|tone| tone.rms *= 1.008);
            load
        };

        "delay", "Currents arrive 10 µs late.",
        breaks ["ACC-05"], touches ["ACC", "INF", "CPA-STAB"],
        |load, around| {
            let turn = 2.0 * PI * load.frequency_hz * 10e-6;
            (0..3).fold(load, |load, phase| rotated(load, phase, -turn))
        };

        "late-start", "It registers nothing below 0.002 In.",
        breaks ["ACC-13"], touches [],
        |load, around| {
            let most = (0..3).map(|phase| amperes(&load, phase)).fold(0.0, f64::max);
            if most < 0.01 { load.current.iter_mut().for_each(Vec::clear); }
            load
        };

        "nonlinear", "It registers 0.5 % less above 0.8 Imax.",
        breaks ["ACC-02"], touches ["ACC", "INF-15", "INF-23", "CPA-STAB"],
        |load, around| {
            let most = (0..3).map(|phase| amperes(&load, phase)).fold(0.0, f64::max);
            scaled(load, if most > 80.0 { 0.995 } else { 1.0 })
        };

        "small-currents", "It registers 1 % too much below 0.03 In.",
        breaks ["ACC-01"], touches ["ACC-03", "ACC-04", "ACC-13", "ACC-17", "ACC-18"],
        |load, around| {
            let most = (0..3).map(|phase| amperes(&load, phase)).fold(0.0, f64::max);
            scaled(load, if most < 0.15 { 1.01 } else { 1.0 })
        };

        "capacitive", "Leading currents are registered 0.5 % too low.",
        breaks ["ACC-06"], touches ["ACC-04", "ACC-08", "ACC-16", "ACC-18", "CPA-STAB"],
        |load, around| {
            let leads = lag(&load, 0).is_some_and(|lag| lag < -5.0);
            scaled(load, if leads { 0.995 } else { 1.0 })
        };

        "export-as-import", "Exported energy is registered as imported.",
        breaks ["ACC-19"], touches ["TMP-08"],
        |load, around| {
            for phase in 0..3 {
                if lag(&load, phase).is_some_and(|lag| lag.abs() > 90.0) {
                    load = rotated(load, phase, PI);
                }
            }
            load
        };

        "temperature-at-half", "The phase displacement drifts by 0.4 µs/K.",
        breaks ["INF-02"], touches ["ACC-18", "CPA-STAB"],
        |load, around| {
            let turn = 2.0 * PI * load.frequency_hz * 0.4e-6 * (around.celsius - 23.0);
            (0..3).fold(load, |load, phase| rotated(load, phase, -turn))
        };

        "low-voltage", "It registers 1 % less below 0.85 Un.",
        breaks ["INF-05", "INF-06"], touches ["INF-22"],
        |load, around| { let low = volts(&load, 0) < 0.85 * 230.0; scaled(load, if low { 0.99 } else { 1.0 }) };

        "frequency", "It registers 0.3 % less away from 50 Hz.",
        breaks ["INF-08"], touches [],
        |load, around| { let away = (load.frequency_hz - 50.0).abs() > 0.5; scaled(load, if away { 0.997 } else { 1.0 }) };

        "sequence", "It registers 0.2 % less with the phases exchanged.",
        breaks ["INF-09"], touches [],
        |load, around| {
            let turn = |phase: usize| load.voltage[phase].first().map_or(0.0, |tone| tone.radians);
            let reversed = (turn(1) - turn(0)).sin() > 0.5;
            scaled(load, if reversed { 0.998 } else { 1.0 })
        };

        "unbalance", "It registers 1 % less when a voltage is missing.",
        breaks ["INF-10"], touches [],
        |load, around| {
            let missing = (0..3).any(|phase| volts(&load, phase) < 1.0);
            scaled(load, if missing { 0.99 } else { 1.0 })
        };

        "bursts", "Of burst-fired loads it registers 2 % less.",
        breaks ["INF-12"], touches [],
        |load, around| {
            let between = load.current.iter().flatten().any(|tone| tone.quarter_order % FUNDAMENTAL != 0);
            scaled(load, if between { 0.98 } else { 1.0 })
        };

        "magnet-slows", "A magnet of 100 mT slows it by 5 %.",
        breaks ["INF-13"], touches [],
        |load, around| scaled(load, if around.magnet_millitesla > 100.0 { 0.95 } else { 1.0 });
    };
    all.push(Mutant {
        name: "pulse-constant",
        flaw: "It gives 9 990 pulses a kilowatt-hour in place of 10 000.",
        breaks: &["ACC-15"],
        touches: &["ACC-06", "ACC-02"],
        kind: Kind::Made(|made| made.impulses_per_kilowatt_hour = 9_990),
    });
    all.push(Mutant {
        name: "clock-drift",
        flaw: "Its clock is 40 ppm fast.",
        breaks: &["ACC-21"],
        touches: &[],
        kind: Kind::Made(|made| made.clock_ppm = 40.0),
    });
    all.push(Mutant {
        name: "five-digits",
        flaw: "Its register begins again after 100 000 kWh.",
        breaks: &["ACC-20"],
        touches: &[],
        kind: Kind::Wrapped(|meter| Defective::boxed(meter, FiveDigits)),
    });
    all
}

struct FiveDigits;

impl Flaw for FiveDigits {
    fn made_with(&mut self, meter: &mut VirtualMeter, kilowatt_hours: f64) -> Result<(), Trouble> {
        meter.made_with(kilowatt_hours.rem_euclid(100_000.0))
    }
}
