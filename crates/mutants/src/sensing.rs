//! Meters that do not sense, or sense too late.

use meterseal_bench::certify::{Specimen, Stimulus, Trouble, VirtualMeter};
use meterseal_world::physics::LoadPoint;
use std::f64::consts::PI;

use crate::{Defective, Flaw, Kind, Mutant};

/// A flaw of the sensors: what reaches the meter of a stimulus, if anything.
struct Sensors(fn(Stimulus) -> Option<Stimulus>);

impl Flaw for Sensors {
    fn stimulate(&mut self, meter: &mut VirtualMeter, stimulus: Stimulus) {
        if let Some(stimulus) = (self.0)(stimulus) {
            meter.stimulate(stimulus);
        }
    }
}

/// A cover is noticed a fifth of a second later.
#[derive(Default)]
struct Slow {
    due: Vec<(f64, Stimulus)>,
}

impl Flaw for Slow {
    fn stimulate(&mut self, meter: &mut VirtualMeter, stimulus: Stimulus) {
        match stimulus {
            Stimulus::Cover(_) => self.due.push((meter.seconds() + 0.2, stimulus)),
            other => meter.stimulate(other),
        }
    }

    fn pass(&mut self, meter: &mut VirtualMeter, seconds: f64) -> Result<(), Trouble> {
        let now = meter.seconds();
        let (due, later) = self.due.drain(..).partition(|(at, _)| *at <= now);
        self.due = later;
        let due: Vec<(f64, Stimulus)> = due;
        due.into_iter().for_each(|(_, stimulus)| meter.stimulate(stimulus));
        meter.pass(seconds)
    }
}

/// What is led past it stays unnoticed: the neutral is shown what the phases have.
struct Neutral;

impl Flaw for Neutral {
    fn load(&mut self, meter: &mut VirtualMeter, load: &LoadPoint, turns: f64) {
        meter.load(&load.clone().with_neutral(), turns);
    }
}

/// A single phase's reversed current is turned around again.
struct Reversal;

impl Flaw for Reversal {
    fn load(&mut self, meter: &mut VirtualMeter, load: &LoadPoint, turns: f64) {
        let mut load = load.clone();
        let reversed = |phase: usize| {
            let first =
                |tones: &[meterseal_world::physics::Tone]| tones.first().map_or(0.0, |tone| tone.radians);
            !load.current[phase].is_empty()
                && (first(&load.voltage[phase]) - first(&load.current[phase])).cos() < 0.0
        };
        let which = [0, 1, 2].map(reversed);
        if which.iter().filter(|is| **is).count() == 1 {
            for (tones, _) in load.current.iter_mut().zip(which).filter(|(_, is)| *is) {
                tones.iter_mut().for_each(|tone| tone.radians += PI);
            }
        }
        meter.load(&load, turns);
    }
}

macro_rules! sensors {
    ($($name:literal, $flaw:literal, breaks $breaks:expr, touches $touches:expr, $sense:expr;)*) => {
        vec![$(Mutant {
            name: $name,
            flaw: $flaw,
            breaks: &$breaks,
            touches: &$touches,
            kind: Kind::Wrapped(|meter| -> Box<dyn Specimen> { Defective::boxed(meter, Sensors($sense)) }),
        }),*]
    };
}

fn length(vector: [f64; 3]) -> f64 {
    vector.iter().map(|axis| axis * axis).sum::<f64>().sqrt()
}

pub(crate) fn mutants() -> Vec<Mutant> {
    let mut all = sensors! {
        "weak-magnets", "A magnet is not logged below 200 mT.",
        breaks ["TMP-01"], touches ["TMP-09"],
        |stimulus| match stimulus {
            Stimulus::Magnet(field) if length(field) > 0.0 && length(field) < 200.0 => None,
            other => Some(other),
        };

        "one-axis-magnets", "The magnet's sensor has one axis only.",
        breaks ["TMP-01"], touches ["TMP-09"],
        |stimulus| match stimulus {
            Stimulus::Magnet([x, _, _]) => Some(Stimulus::Magnet([x, 0.0, 0.0])),
            other => Some(other),
        };

        "no-coil", "An alternating field is not noticed.",
        breaks ["TMP-02"], touches ["TMP-09"],
        |stimulus| (!matches!(stimulus, Stimulus::AlternatingField(_))).then_some(stimulus);

        "no-terminal-cover", "The terminal cover has no switch.",
        breaks ["TMP-04"], touches ["TMP-09"],
        |stimulus| (!matches!(stimulus, Stimulus::TerminalCover(_))).then_some(stimulus);

        "weak-spikes", "Spikes are not logged below 3 kV.",
        breaks ["TMP-05"], touches ["TMP-09"],
        |stimulus| match stimulus {
            Stimulus::Surge(peaks) if peaks.iter().all(|peak| peak.abs() < 3_000.0) => None,
            other => Some(other),
        };

        "negative-spikes", "Negative spikes are not noticed.",
        breaks ["INF-21"], touches ["TMP-05", "TMP-09"],
        |stimulus| match stimulus {
            Stimulus::Surge(peaks) => Some(Stimulus::Surge(peaks.map(|peak| peak.max(0.0)))),
            other => Some(other),
        };

        "no-tilt", "Turning it is not noticed.",
        breaks ["TMP-06"], touches [],
        |stimulus| (!matches!(stimulus, Stimulus::Position(_))).then_some(stimulus);
    };
    all.push(Mutant {
        name: "slow-cover",
        flaw: "An opened cover is noticed a fifth of a second late.",
        breaks: &["TMP-03"],
        touches: &["TMP-10"],
        kind: Kind::Wrapped(|meter| Defective::boxed(meter, Slow::default())),
    });
    all.push(Mutant {
        name: "no-neutral",
        flaw: "Current past the meter is not noticed.",
        breaks: &["TMP-07"],
        touches: &[],
        kind: Kind::Wrapped(|meter| Defective::boxed(meter, Neutral)),
    });
    all.push(Mutant {
        name: "one-reversal",
        flaw: "A reversed current in one phase is not noticed.",
        breaks: &["TMP-08"],
        touches: &["ACC-19"],
        kind: Kind::Wrapped(|meter| Defective::boxed(meter, Reversal)),
    });
    all
}
