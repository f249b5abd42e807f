//! Tampering: each stimulus, its entry in the log, its alarm, and the times of both; and that no other is there.
//!
//! An entry is in the meter's memory before it is sent, so the alarm's arrival bounds the time of the entry from above.

use meterseal_model::EventCode::{self, *};
use meterseal_world::physics::LoadPoint;

use crate::catalogue::Requirement;
use crate::certify::{Bench, Limit, Measured, Procedure, Stimulus, Trouble};

pub(super) fn procedures() -> Vec<Box<dyn Procedure>> {
    let stimulus =
        |name, code, most_ms, act| -> Box<dyn Procedure> { Box::new(Sensed { name, code, most_ms, act }) };
    vec![
        stimulus("magnet", MagnetOn, 20.0, magnet),
        stimulus("alternating-magnet", AlternatingFieldOn, 60.0, coil),
        stimulus("cover", CoverRemoved, 20.0, |_, _, _| {
            (Stimulus::Cover(true), Some(Stimulus::Cover(false)))
        }),
        stimulus("terminal-cover", TerminalCoverRemoved, 20.0, |_, _, _| {
            (Stimulus::TerminalCover(true), Some(Stimulus::TerminalCover(false)))
        }),
        stimulus("spike", VoltageSpike, 20.0, spike),
        stimulus("tilt", Tilted, 1000.0, tilt),
        Box::new(Bypass),
        Box::new(Wiring),
        Box::new(LogComplete),
        Box::new(AlarmInTime),
        Box::new(CrashReport),
    ]
}

/// The stimulus of this number, of a strength from 0 (the weakest that must be sensed) to 1, and what ends it.
type Act = fn(&mut Bench<'_>, u32, f64) -> (Stimulus, Option<Stimulus>);

/// First along each axis, since a sensor that lacks one still feels most directions; then any.
fn direction(bench: &mut Bench<'_>, number: u32) -> [f64; 3] {
    if number < 3 {
        return std::array::from_fn(|axis| f64::from(u8::from(axis as u32 == number)));
    }
    let (z, turn) = (2.0 * bench.uniform() - 1.0, std::f64::consts::TAU * bench.uniform());
    let flat = (1.0 - z * z).sqrt();
    [flat * turn.cos(), flat * turn.sin(), z]
}

/// As often between 1 and 10 as between 10 and 100.
fn between(low: f64, high: f64, strength: f64) -> f64 {
    low * (high / low).powf(strength)
}

fn magnet(bench: &mut Bench<'_>, number: u32, strength: f64) -> (Stimulus, Option<Stimulus>) {
    let millitesla = between(60.0, 600.0, strength);
    (
        Stimulus::Magnet(direction(bench, number).map(|axis| axis * millitesla)),
        Some(Stimulus::Magnet([0.0; 3])),
    )
}

fn coil(bench: &mut Bench<'_>, number: u32, strength: f64) -> (Stimulus, Option<Stimulus>) {
    let millitesla = between(7.0, 300.0, strength);
    let field = direction(bench, number).map(|axis| axis * millitesla);
    (Stimulus::AlternatingField(field), Some(Stimulus::AlternatingField([0.0; 3])))
}

fn spike(bench: &mut Bench<'_>, _: u32, strength: f64) -> (Stimulus, Option<Stimulus>) {
    let peak = between(1_700.0, 6_000.0, strength);
    let mut peaks = [0.2 * peak; 3];
    peaks[(bench.random() % 3) as usize] = if bench.uniform() < 0.5 { peak } else { -peak };
    (Stimulus::Surge(peaks), None)
}

fn tilt(bench: &mut Bench<'_>, _: u32, strength: f64) -> (Stimulus, Option<Stimulus>) {
    let angle = between(18.0, 170.0, strength).to_radians();
    let towards = std::f64::consts::TAU * bench.uniform();
    let lying = angle.sin();
    let position = [lying * towards.cos(), angle.cos(), lying * towards.sin()];
    (Stimulus::Position(position), Some(Stimulus::Position([0.0, 1.0, 0.0])))
}

/// A site's ordinary current, so that nothing gives the bench away.
fn ordinary(bench: &mut Bench<'_>) -> Result<(), Trouble> {
    let r = bench.ratings();
    let mut amperes = [0.0; 3];
    for phase in &mut amperes {
        *phase = 0.3 + 0.2 * r.maximum_amperes * bench.uniform();
    }
    bench.target().load(&LoadPoint::unbalanced(r.hertz, [r.volts; 3], amperes, 20.0))
}

/// What came of one stimulus.
#[derive(Default)]
struct Course {
    entries: usize,
    /// From the stimulus to the alarm's arrival, ms; `None`: no alarm.
    alarm_ms: Option<f64>,
    /// The entry's own time less the stimulus's, ms.
    stamp_ms: Option<f64>,
}

/// Does something and follows it for `seconds`: any of these codes is its entry.
fn follow(
    bench: &mut Bench<'_>,
    codes: &[EventCode],
    seconds: f64,
    act: impl FnOnce(&mut Bench<'_>) -> Result<(), Trouble>,
) -> Result<Course, Trouble> {
    let numbers: Vec<u8> = codes.iter().map(|&code| bench.profile().event(code)).collect();
    let before = bench.log_end()?;
    bench.target().alarms()?;
    // Anywhere in the supply's cycle.
    let pause = 0.2 + 0.3 * bench.uniform();
    bench.pass(pause)?;
    bench.target().watch(true);
    let begun = bench.target().seconds();
    act(bench)?;
    bench.pass(seconds)?;
    bench.target().watch(false);
    let alarms = bench.target().alarms()?;
    let arrival = alarms.iter().find(|alarm| numbers.contains(&alarm.code) && alarm.sequence > before);
    let entries = bench.log_after(before)?;
    let mut of_it = entries.iter().filter(|entry| numbers.contains(&entry.code));
    let first = of_it.next();
    Ok(Course {
        entries: usize::from(first.is_some()) + of_it.count(),
        alarm_ms: arrival.map(|alarm| alarm.arrived_ns as f64 * 1e-6 - begun * 1e3),
        stamp_ms: first
            .map(|entry| (entry.time.0 - crate::certify::virtual_bench::BEGIN.0) as f64 - begun * 1e3),
    })
}

/// One kind of stimulus.
struct Sensed {
    name: &'static str,
    code: EventCode,
    /// From the stimulus to the entry.
    most_ms: f64,
    act: Act,
}

/// How far apart readings of the bench's clock are while it watches, ms.
const RESOLUTION_MS: f64 = 4.0;

impl Procedure for Sensed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let repeats = bench.effort().stimuli.max(4);
        let (mut missed, mut twice, mut silent, mut slowest) = (0, 0, 0, 0.0f64);
        for repeat in 0..repeats {
            ordinary(bench)?;
            bench.pass(2.0)?;
            // Weak ones as often as strong ones.
            let strength = (f64::from(repeat) + bench.uniform()) / f64::from(repeats);
            let (begin, end) = (self.act)(bench, repeat, strength);
            bench.step(format!("{begin:?}"));
            let seconds = 1.5 + bench.uniform();
            let course = follow(bench, &[self.code], seconds, |bench| bench.target().stimulate(begin))?;
            missed += usize::from(course.entries == 0);
            twice += course.entries.saturating_sub(1);
            match course.alarm_ms {
                Some(ms) => slowest = slowest.max(ms),
                None => silent += 1,
            }
            let told = match (course.entries, course.alarm_ms) {
                (0, _) => "no entry".to_owned(),
                (_, None) => "logged, no alarm".to_owned(),
                (_, Some(ms)) => format!("logged, alarm after {ms:.1} ms"),
            };
            bench.step(told);
            if let Some(end) = end {
                bench.target().stimulate(end)?;
            }
            bench.pass(2.5)?;
        }
        Ok(vec![
            Measured::count(
                format!("stimuli without an entry, of {repeats}"),
                missed as f64,
                Limit::exactly(0.0),
            ),
            Measured::count("entries that were there twice", twice as f64, Limit::exactly(0.0)),
            Measured::count(
                format!("stimuli without an alarm, of {repeats}"),
                f64::from(silent),
                Limit::exactly(0.0),
            ),
            Measured::new(
                "from the stimulus to the entry and the alarm, at the most",
                slowest,
                "ms",
                Limit::at_most(self.most_ms),
                0.0,
            ),
        ])
    }
}

/// Current past the meter.
struct Bypass;

impl Procedure for Bypass {
    fn name(&self) -> &'static str {
        "bypass"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let mut missed = 0;
        let repeats = bench.effort().stimuli.max(3);
        for repeat in 0..repeats {
            let phase = repeat as usize % 3;
            let amperes = [0; 3].map(|_: i32| 3.0 + 0.5 * r.maximum_amperes * bench.uniform());
            let load = LoadPoint::unbalanced(r.hertz, [r.volts; 3], amperes, 10.0);
            bench.settle(&load)?;
            let part = 0.3 + 0.7 * bench.uniform();
            let mut past = load.clone();
            past.current[phase].iter_mut().for_each(|tone| tone.rms *= 1.0 - part);
            bench.step(format!(
                "{:.0} % of {:.1} A in L{} past the meter",
                part * 100.0,
                amperes[phase],
                phase + 1
            ));
            let course =
                follow(bench, &[[BypassL1, BypassL2, BypassL3][phase], NeutralMismatch], 6.0, |bench| {
                    bench.target().load(&past)
                })?;
            missed += usize::from(course.entries == 0 || course.alarm_ms.is_none());
            bench.settle(&load)?;
        }
        Ok(vec![Measured::count(
            format!("bypasses not logged or not alarmed, of {repeats}"),
            missed as f64,
            Limit::exactly(0.0),
        )])
    }
}

/// Wrong wiring.
struct Wiring;

impl Procedure for Wiring {
    fn name(&self) -> &'static str {
        "wiring"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let r = bench.ratings();
        let sound = LoadPoint::balanced(r.hertz, r.volts, 2.0 * r.rated_amperes, 10.0);
        let mut reversed_one = sound.clone();
        reversed_one.current[1].iter_mut().for_each(|tone| tone.radians += std::f64::consts::PI);
        let mut without = sound.clone();
        without.voltage[2].iter_mut().for_each(|tone| tone.rms = 0.0);
        let mut measured = Vec::new();
        for (name, load, codes) in [
            ("the current of L2 reversed", reversed_one, [CurrentReversedL2, CurrentReversed]),
            (
                "all currents reversed",
                LoadPoint::balanced(r.hertz, r.volts, 2.0 * r.rated_amperes, 190.0),
                [CurrentReversedL1, CurrentReversed],
            ),
            (
                "L3 without voltage while it carries current",
                without,
                [CurrentWithoutVoltageL3, CurrentWithoutVoltage],
            ),
            ("L2 and L3 exchanged", sound.clone().reversed(), [PhaseSequenceWrong, PhaseSequenceWrong]),
        ] {
            bench.settle(&sound)?;
            bench.step(name);
            let course = follow(bench, &codes, 6.0, |bench| bench.target().load(&load))?;
            let found = course.entries > 0 && course.alarm_ms.is_some();
            measured.push(Measured::count(
                format!("logged and alarmed: {name}"),
                f64::from(u8::from(found)),
                Limit::exactly(1.0),
            ));
        }
        Ok(measured)
    }
}

/// How long a meter of ours waits before it takes a current for tampered with (docs/tamper.md), with room, ms.
const WIRING_WAITS_MS: i64 = 2_000;

/// Stimuli at random, an interruption of the whole supply among them: entries equal stimuli.
struct LogComplete;

impl Procedure for LogComplete {
    fn name(&self) -> &'static str {
        "log-complete"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let count = if bench.effort().is_reduced() { 24 } else { 120 };
        let before = bench.log_end()?;
        let kinds: [(EventCode, Act); 5] = [
            (MagnetOn, magnet),
            (AlternatingFieldOn, coil),
            (CoverRemoved, |_, _, _| (Stimulus::Cover(true), Some(Stimulus::Cover(false)))),
            (TerminalCoverRemoved, |_, _, _| {
                (Stimulus::TerminalCover(true), Some(Stimulus::TerminalCover(false)))
            }),
            (VoltageSpike, spike),
        ];
        let mut given: Vec<u8> = Vec::new();
        for number in 0..count {
            ordinary(bench)?;
            if number % 12 == 11 {
                bench.step("the whole supply goes and comes");
                bench.target().supply(false)?;
                bench.pass(2.0)?;
                bench.target().supply(true)?;
                bench.pass(2.0)?;
            }
            let (code, act) = kinds[(bench.random() % 5) as usize];
            let strength = bench.uniform();
            let (begin, end) = act(bench, number, strength);
            bench.step(format!("{begin:?}"));
            bench.target().stimulate(begin)?;
            given.push(bench.profile().event(code));
            let lasts = 0.3 + bench.uniform();
            bench.pass(lasts)?;
            if let Some(end) = end {
                bench.target().stimulate(end)?;
            }
            let pause = 2.0 + bench.uniform();
            bench.pass(pause)?;
        }
        let known: Vec<u8> = EventCode::ALL
            .iter()
            .filter(|code| {
                matches!(
                    code,
                    MagnetOn
                        | AlternatingFieldOn
                        | CoverRemoved
                        | TerminalCoverRemoved
                        | VoltageSpike
                        | Tilted
                        | CurrentReversed
                        | CurrentReversedL1
                        | CurrentReversedL2
                        | CurrentReversedL3
                        | BypassL1
                        | BypassL2
                        | BypassL3
                        | NeutralMismatch
                        | CurrentWithoutVoltage
                        | PhaseSequenceWrong
                )
            })
            .map(|&code| bench.profile().event(code))
            .collect();
        let entries = bench.log_after(before)?;
        let gaps = entries.windows(2).filter(|pair| pair[1].sequence != pair[0].sequence + 1).count();
        let begins_late = entries.first().is_none_or(|entry| entry.sequence != before + 1);
        let number = |code| bench.profile().event(code);
        let wiring = [
            CurrentReversed,
            CurrentReversedL1,
            CurrentReversedL2,
            CurrentReversedL3,
            BypassL1,
            BypassL2,
            BypassL3,
            NeutralMismatch,
            CurrentWithoutVoltage,
        ]
        .map(number);
        let fields = [MagnetOn, AlternatingFieldOn].map(number);
        let no_fields = [EventCode::MagnetOff, EventCode::AlternatingFieldOff].map(number);
        // A field of hundreds of millitesla disturbs the transducers too: what the meter makes of the currents while it is there, and until its
        // waiting time is over, is the stimulus's doing.
        let (mut field, mut gone) = (false, i64::MIN / 2);
        let found: Vec<u8> = entries
            .iter()
            .filter(|entry| {
                if fields.contains(&entry.code) {
                    field = true;
                } else if no_fields.contains(&entry.code) {
                    (field, gone) = (false, entry.time.0);
                }
                let disturbed = field || entry.time.0 - gone < WIRING_WAITS_MS;
                known.contains(&entry.code) && !(disturbed && wiring.contains(&entry.code))
            })
            .map(|entry| entry.code)
            .collect();
        let (lost, invented) = (surplus(&given, &found), surplus(&found, &given));
        Ok(vec![
            Measured::count(
                format!("stimuli without an entry, of {count}"),
                lost as f64,
                Limit::exactly(0.0),
            ),
            Measured::count("entries without a stimulus", invented as f64, Limit::exactly(0.0)),
            Measured::count(
                "entries in another order than the stimuli",
                f64::from(u8::from(lost + invented == 0 && found != given)),
                Limit::exactly(0.0),
            ),
            Measured::count(
                "gaps in the log's numbers",
                (gaps + usize::from(begins_late)) as f64,
                Limit::exactly(0.0),
            ),
        ])
    }
}

/// How many of `a` have no counterpart in `b`.
fn surplus(a: &[u8], b: &[u8]) -> usize {
    let mut rest = b.to_vec();
    a.iter()
        .filter(|code| match rest.iter().position(|other| other == *code) {
            Some(place) => {
                rest.swap_remove(place);
                false
            }
            None => true,
        })
        .count()
}

/// The utility is alerted within a second.
struct AlarmInTime;

impl Procedure for AlarmInTime {
    fn name(&self) -> &'static str {
        "alarm"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let repeats = bench.effort().stimuli.max(2);
        let (mut silent, mut slowest, mut off) = (0, 0.0f64, 0.0f64);
        for _ in 0..repeats {
            ordinary(bench)?;
            for (code, stimulus) in
                [(CoverRemoved, Stimulus::Cover(true)), (CoverClosed, Stimulus::Cover(false))]
            {
                bench.step(format!("{stimulus:?}"));
                let course = follow(bench, &[code], 1.5, |bench| bench.target().stimulate(stimulus))?;
                match course.alarm_ms {
                    Some(ms) => slowest = slowest.max(ms),
                    None => silent += 1,
                }
                off = off.max(course.stamp_ms.unwrap_or_default().abs());
            }
        }
        Ok(vec![
            Measured::count(
                format!("events without an alarm, of {}", 2 * repeats),
                f64::from(silent),
                Limit::exactly(0.0),
            ),
            Measured::new(
                "from the stimulus to the alarm, at the most",
                slowest,
                "ms",
                Limit::at_most(1000.0),
                RESOLUTION_MS,
            ),
            Measured::new(
                "the entry's time less the stimulus's, at the most",
                off,
                "ms",
                Limit::at_most(100.0),
                10.0,
            ),
        ])
    }
}

/// A restart leaves a trace.
struct CrashReport;

impl Procedure for CrashReport {
    fn name(&self) -> &'static str {
        "crash-report"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let up = bench.profile().event(PowerUp);
        let (mut without, restarts) = (0, 3);
        for _ in 0..restarts {
            let before = bench.log_end()?;
            bench.step("the supply goes without warning, and comes");
            bench.target().supply(false)?;
            bench.pass(1.0)?;
            bench.target().supply(true)?;
            bench.pass(2.0)?;
            let entries = bench.log_after(before)?;
            without += usize::from(!entries.iter().any(|entry| entry.code == up));
        }
        bench.reserve("a restart by the watchdog cannot be brought about from outside");
        Ok(vec![Measured::count(
            format!("restarts without an entry, of {restarts}"),
            without as f64,
            Limit::exactly(0.0),
        )])
    }
}
