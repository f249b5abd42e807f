//! The rows of the error table, one after the other.

use super::{Disturbance, Group, HERTZ, IMAX, IN, Limits, Measure, RANGE_STEPS, Row, UN};
use meterseal_world::physics::LoadPoint;

/// PF 0.5 inductive.
pub(super) const LAG_05: f64 = 60.0;
/// PF 0.8 capacitive.
pub(super) const LEAD_08: f64 = -36.869_897_645_844_02;
/// PF 0.25 inductive.
pub(super) const LAG_025: f64 = 75.522_487_814_070_1;

/// All rows, in the order of the table.
pub fn rows() -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    rows.balanced();
    rows.single_phase();
    rows.influences();
    rows.outputs();
    rows.other_quantities();
    rows.0
}

struct Rows(Vec<Row>);

impl Rows {
    fn push(&mut self, name: String, limits: Limits, measure: Measure) -> usize {
        self.0.push(Row { name, balanced: None, group: Group::Other, limits, measure });
        self.0.len() - 1
    }

    fn balanced(&mut self) {
        let currents = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
        for part in currents {
            let (class, goal, group) =
                if part < 0.05 { (0.4, 0.2, Group::Wide) } else { (0.2, 0.1, Group::UnityPowerFactor) };
            self.load(part, "PF 1", 0.0, class, Some(goal), group);
        }
        for (name, lag) in [("PF 0.5 ind", LAG_05), ("PF 0.8 cap", LEAD_08)] {
            for part in [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0] {
                let class = if part < 0.1 { 0.5 } else { 0.3 };
                self.load(part, name, lag, class, Some(0.2), Group::Wide);
            }
        }
        for (name, lag) in [("PF 0.25 ind", LAG_025), ("PF 0.5 cap", -LAG_05)] {
            for part in [0.1, 1.0, 20.0] {
                self.load(part, name, lag, 0.5, None, Group::Other);
            }
        }
        for (name, lag) in [("export, PF 1", 180.0), ("export, PF 0.5 ind", 180.0 + LAG_05)] {
            let (class, goal) = if lag == 180.0 { (0.2, 0.1) } else { (0.3, 0.2) };
            self.load(1.0, name, lag, class, Some(goal), Group::Other);
        }
    }

    fn load(&mut self, part: f64, name: &str, lag: f64, class: f64, goal: Option<f64>, group: Group) {
        // CPA-ACC knows no current below which it does not hold; the class lets errors grow at PF 0.25.
        let cpa = goal.map(|_| 0.2);
        let limits = Limits {
            class: both(class),
            cpa,
            reach: goal.and_then(both),
            aim: goal.and_then(|goal| both(goal / 2.0)),
        };
        let load = LoadPoint::balanced(HERTZ, UN, part * IN, lag);
        self.0.push(Row {
            name: format!("{part} In, {name}"),
            balanced: Some((part, lag)),
            group,
            limits,
            measure: Measure::Error(load),
        });
    }

    fn single_phase(&mut self) {
        let balanced = self.find(1.0, 0.0);
        for phase in 0..3 {
            let mut at_in = None;
            for (name, lag, class, parts) in
                [("PF 1", 0.0, 0.3, &[0.05, 1.0, 20.0]), ("PF 0.5 ind", LAG_05, 0.4, &[0.1, 1.0, 20.0])]
            {
                for part in parts {
                    let mut amperes = [0.0; 3];
                    amperes[phase] = part * IN;
                    let load = LoadPoint::unbalanced(HERTZ, [UN; 3], amperes, lag);
                    let limits = Limits { class: both(class), cpa: Some(0.2), ..Limits::default() };
                    let name = format!("L{} alone, {part} In, {name}", phase + 1);
                    let row = self.push(name, limits, Measure::Error(load));
                    if lag == 0.0 && *part == 1.0 {
                        at_in = Some(row);
                    }
                }
            }
            if let Some(of) = at_in {
                let limits = Limits { class: both(0.4), ..Limits::default() };
                let name = format!("L{} alone less balanced, In", phase + 1);
                self.push(name, limits, Measure::Difference { of, from: balanced });
            }
        }
    }

    fn influences(&mut self) {
        let class = influence;
        let bases = [("PF 1", 0.0, 1.0), ("PF 0.5 ind", LAG_05, 2.0)];
        for (name, lag, factor) in bases {
            let from = self.find(1.0, lag);
            let limits = influence(0.01 * factor);
            self.push(format!("temperature, In, {name}, %/K"), limits, Measure::PerKelvin(from));
            for (part, limit) in [(0.9, 0.1), (1.1, 0.1), (0.8, 0.3), (1.15, 0.3)] {
                let load = LoadPoint::balanced(HERTZ, UN * part, IN, lag);
                self.change(format!("voltage {part} Un, {name}"), class(limit * factor), from, load);
            }
            for part in [0.98, 1.02] {
                let load = LoadPoint::balanced(HERTZ * part, UN, IN, lag);
                self.change(format!("frequency {part} fn, {name}"), class(0.1), from, load);
            }
        }
        let at_in = self.find(1.0, 0.0);
        for part in [0.7, 0.4] {
            let limits = Limits { class: Some([-100.0, 10.0]), ..Limits::default() };
            let load = LoadPoint::balanced(HERTZ, UN * part, IN, 0.0);
            self.change(format!("voltage {part} Un"), limits, at_in, load);
        }
        let tenth = self.find(0.1, 0.0);
        let reversed = LoadPoint::balanced(HERTZ, UN, 0.1 * IN, 0.0).reversed();
        self.change("reversed phase sequence, 0.1 In".into(), class(0.05), tenth, reversed);
        for (name, volts) in [("one voltage lost", [UN, UN, 0.0]), ("two voltages lost", [UN, 0.0, 0.0])] {
            let load = LoadPoint::unbalanced(HERTZ, volts, [IN; 3], 0.0);
            self.change(format!("{name}, In"), class(0.5), at_in, load);
        }
        let half_imax = self.find(10.0, 0.0);
        let harmonics = LoadPoint::balanced(HERTZ, UN, 0.5 * IMAX, 0.0).with_harmonic(5, 0.1, 0.4);
        self.change("5th harmonic, 0.5 Imax".into(), class(0.4), half_imax, harmonics);
        let half = self.find(0.5, 0.0);
        let bursts = LoadPoint::bursts(HERTZ, UN, IN);
        self.change("sub-harmonics (bursts), 0.5 In".into(), class(0.6), half, bursts);
        let fired = LoadPoint::phase_fired(HERTZ, UN, IN, 90.0);
        self.change("phase-fired at 90°, 0.5 In".into(), class(0.6), half, fired);
        // IEC 62053-22 has no limit for DC: transformers pass none.
        let half_wave = LoadPoint::half_wave(HERTZ, UN, IN);
        self.change("half wave (DC), 0.5 In".into(), Limits::default(), half, half_wave);
        let load = || LoadPoint::balanced(HERTZ, UN, IN, 0.0);
        let magnet = Measure::Change { from: at_in, load: load(), disturbance: Disturbance::Magnet(200.0) };
        self.push("continuous magnetic induction, 200 mT, In".into(), class(2.0), magnet);
        let field = Measure::Change { from: at_in, load: load(), disturbance: Disturbance::Field(0.5) };
        self.push("external induction, 0.5 mT, In".into(), class(0.5), field);
        let warm = Measure::SelfHeating(LoadPoint::balanced(HERTZ, UN, IMAX, 0.0));
        self.push("self-heating, Imax".into(), class(0.1), warm);
    }

    /// What registers and pulses do: start, creep, dips, meter constant, repeatability, dynamic range.
    fn outputs(&mut self) {
        for (part, name, lag, limit) in [
            (1.0, "PF 1", 0.0, 0.2),
            (20.0, "PF 1", 0.0, 0.2),
            (0.05, "PF 1", 0.0, 0.2),
            (0.01, "PF 1", 0.0, 0.4),
            (1.0, "PF 0.5 ind", LAG_05, 0.3),
            (0.02, "PF 0.5 ind", LAG_05, 0.5),
        ] {
            // A tenth of the limit.
            let limits = Limits { class: Some([0.0, limit / 10.0]), ..Limits::default() };
            let load = LoadPoint::balanced(HERTZ, UN, part * IN, lag);
            self.push(format!("repeatability, {part} In, {name}, s"), limits, Measure::Repeatability(load));
        }
        let tenth = Limits { class: both(0.02), ..Limits::default() };
        let load = LoadPoint::balanced(HERTZ, UN, IMAX, 0.0);
        self.push("pulses less register, Imax".into(), tenth, Measure::MeterConstant(load));
        // One pulse at most.
        let none = Limits { class: Some([0.0, 1.0]), ..Limits::default() };
        let creep = LoadPoint::unbalanced(HERTZ, [1.15 * UN; 3], [0.0; 3], 0.0);
        self.push("creep, 1.15 Un, pulses".into(), none, Measure::Creep(creep));
        // The standard says "starts and continues to register"; half of the energy in the first second is our reading of it.
        let starts = Limits { class: both(50.0), ..Limits::default() };
        let start = LoadPoint::balanced(HERTZ, UN, 0.001 * IN, 0.0);
        self.push("start, 0.001 In".into(), starts, Measure::Start(start));
        // m·Un·Imax·10⁻⁶ kWh.
        let most = 3.0 * UN * IMAX * 1e-3;
        let limits = Limits { class: Some([0.0, most]), aim: Some([0.0, 0.0]), ..Limits::default() };
        self.push("dips, no current, Wh".into(), limits, Measure::Dips);
        let [.., aim, most] = RANGE_STEPS;
        let range = Limits { reach: Some([5000.0, most]), aim: Some([aim, most]), ..Limits::default() };
        self.push("dynamic range (±0.1 %, 100 s, 2σ), n:1".into(), range, Measure::DynamicRange);
    }

    /// Reactive energy (IEC 62053-24, 0.5 S; not verified against the standard's text), and the neutral's current, which no class limits.
    fn other_quantities(&mut self) {
        for (part, limit) in [(0.01, 1.0), (0.02, 1.0), (0.05, 0.5), (0.1, 0.5), (1.0, 0.5), (20.0, 0.5)] {
            for (name, lag) in [("ind", 90.0), ("cap", -90.0)] {
                let load = LoadPoint::balanced(HERTZ, UN, part * IN, lag);
                let limits = Limits { class: both(limit), ..Limits::default() };
                self.push(format!("reactive, {part} In, sin 1 {name}"), limits, Measure::Reactive(load));
            }
        }
        let half_imax = LoadPoint::balanced(HERTZ, UN, 0.5 * IMAX, 90.0).with_harmonic(5, 0.1, 0.4);
        let limits = Limits { class: both(0.5), ..Limits::default() };
        self.push("reactive, 0.5 Imax, 5th harmonic".into(), limits, Measure::Reactive(half_imax));
        for part in [0.1, 1.0, 20.0] {
            let load = LoadPoint::unbalanced(HERTZ, [UN; 3], [part * IN, 0.0, 0.0], 0.0);
            let limits = Limits { reach: both(0.2), aim: both(0.1), ..Limits::default() };
            self.push(format!("neutral current, {part} In"), limits, Measure::Neutral(load));
        }
    }

    fn change(&mut self, name: String, limits: Limits, from: usize, load: LoadPoint) {
        self.push(name, limits, Measure::Change { from, load, disturbance: Disturbance::None });
    }

    /// The row of a balanced load; every one that is asked for is made before.
    fn find(&self, part: f64, lag: f64) -> usize {
        self.0.iter().position(|row| row.balanced == Some((part, lag))).unwrap_or_default()
    }
}

fn both(limit: f64) -> Option<[f64; 2]> {
    Some([-limit, limit])
}

/// An influence's limit, and a third of it.
fn influence(limit: f64) -> Limits {
    Limits { class: both(limit), aim: both(limit / 3.0), ..Limits::default() }
}
