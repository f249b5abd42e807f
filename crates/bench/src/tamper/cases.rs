//! The stimuli, each with its ranges, and one run of one of them.

use super::stage::{BLOCK, Failure, Stage};
use crate::random::Random;
use meterseal_meter::Thresholds;
use meterseal_model::{EventCode, UnixMillis};
use meterseal_world::site::{Disturbance, Site, SiteKind};

/// A stimulus of the catalogue.
#[derive(Debug)]
pub struct Case {
    /// What happens.
    pub name: &'static str,
    /// Its ranges, in words.
    pub ranges: &'static str,
    /// The entry that it must make; where phases have entries of their own, L1's: then it makes one for each struck phase.
    pub begins: EventCode,
    /// From the stimulus to the entry in flash, milliseconds of site time; `None` where nobody asks for a time.
    pub limit_ms: Option<f64>,
    /// How it is done, and undone.
    act: fn(&mut Random) -> Act,
}

/// Two cycles of 50 Hz.
const TWO_CYCLES_MS: f64 = 40.0;

/// Every stimulus.
pub const CASES: &[Case] = &[
    Case {
        name: "main cover opened",
        ranges: "for 0.1 to 2 s",
        begins: EventCode::CoverRemoved,
        limit_ms: Some(20.0),
        act: |_| Act::new([Disturbance::Cover(true)], Disturbance::Cover(false)),
    },
    Case {
        name: "terminal cover opened",
        ranges: "for 0.1 to 2 s",
        begins: EventCode::TerminalCoverRemoved,
        limit_ms: Some(20.0),
        act: |_| Act::new([Disturbance::TerminalCover(true)], Disturbance::TerminalCover(false)),
    },
    Case {
        name: "constant magnetic field",
        ranges: "55 to 600 mT, any direction, at once or within 0.1 s",
        begins: EventCode::MagnetOn,
        limit_ms: Some(20.0),
        act: magnet,
    },
    Case {
        name: "alternating magnetic field",
        ranges: "6 to 400 mT, any direction and phase, 49.5 to 50.5 Hz",
        begins: EventCode::AlternatingFieldOn,
        limit_ms: Some(60.0),
        act: |random| {
            let field = scaled(direction(random), log_between(random, 6.0, 400.0));
            let hertz = between(random, 49.5, 50.5);
            let turns = between(random, 0.0, 1.0);
            let of = |millitesla| Disturbance::AlternatingField { millitesla, hertz, turns };
            Act::new([of(field)], of([0.0; 3]))
        },
    },
    Case {
        name: "tilt",
        ranges: "17° to 180° about any axis",
        begins: EventCode::Tilted,
        limit_ms: None,
        act: |random| {
            let (angle, towards) =
                (between(random, 17.0, 180.0).to_radians(), between(random, 0.0, std::f64::consts::TAU));
            let lying = angle.sin();
            let position = [lying * towards.cos(), angle.cos(), lying * towards.sin()];
            Act::new([Disturbance::Position(position)], Disturbance::Position([0.0, 1.0, 0.0]))
        },
    },
    Case {
        name: "voltage surge 1.2/50 µs",
        ranges: "1.6 to 8 kV, either sign, one phase or all",
        begins: EventCode::VoltageSpike,
        limit_ms: Some(20.0),
        act: |random| {
            let peak = log_between(random, 1_600.0, 8_000.0) * if flip(random) { 1.0 } else { -1.0 };
            let peaks = if flip(random) { [peak; 3] } else { only(phase(random), peak, peak * 0.2) };
            Act::passing(Disturbance::Surge(peaks))
        },
    },
    Case {
        name: "swell",
        ranges: "116 to 160 % of the voltage, any phases, for 0.1 to 2 s",
        begins: EventCode::OvervoltageL1,
        limit_ms: Some(TWO_CYCLES_MS),
        act: |random| {
            let factor = between(random, 1.16, 1.6);
            let factors = if flip(random) { [factor; 3] } else { only(phase(random), factor, 1.0) };
            Act::new([Disturbance::Voltage(factors)], Disturbance::Voltage([1.0; 3]))
                .striking(factors.map(|of| of > 1.0))
        },
    },
    Case {
        name: "phase lost",
        ranges: "one or two phases, 0 to 4 % left",
        begins: EventCode::PhaseLostL1,
        limit_ms: Some(TWO_CYCLES_MS),
        act: |random| {
            let left = between(random, 0.0, 0.04);
            let struck = phase(random);
            let factors = if flip(random) { only(struck, left, 1.0) } else { only(struck, 1.0, left) };
            Act::new([Disturbance::Voltage(factors)], Disturbance::Voltage([1.0; 3]))
                .striking(factors.map(|of| of < 1.0))
        },
    },
    Case {
        name: "supply interrupted",
        ranges: "0 to 4 % left on all phases",
        begins: EventCode::SupplyInterrupted,
        limit_ms: Some(TWO_CYCLES_MS),
        act: |random| {
            let left = between(random, 0.0, 0.04);
            Act::new([Disturbance::Voltage([left; 3])], Disturbance::Voltage([1.0; 3]))
        },
    },
    Case {
        name: "phases exchanged",
        ranges: "L2 and L3",
        begins: EventCode::PhaseSequenceWrong,
        limit_ms: Some(TWO_CYCLES_MS),
        act: |_| Act::new([Disturbance::Exchanged(true)], Disturbance::Exchanged(false)),
    },
    Case {
        name: "current reversed",
        ranges: "one phase or all, 1 to 60 A",
        begins: EventCode::CurrentReversedL1,
        limit_ms: None,
        act: |random| {
            let struck = phase(random);
            let reversed = if flip(random) { [true; 3] } else { std::array::from_fn(|k| k == struck) };
            Act::new([Disturbance::Reversed(reversed)], Disturbance::Reversed([false; 3]))
                .loaded(random, 1.0)
                .striking(reversed)
        },
    },
    Case {
        name: "meter bypassed",
        ranges: "30 to 100 % of a phase's current past the meter, 3 to 60 A",
        begins: EventCode::BypassL1,
        limit_ms: None,
        act: |random| {
            let part = between(random, 0.3, 1.0);
            let parts = only(phase(random), part, 0.0);
            Act::new([Disturbance::Bypassed(parts)], Disturbance::Bypassed([0.0; 3]))
                .loaded(random, 3.0)
                .striking(parts.map(|part| part > 0.0))
        },
    },
    Case {
        name: "current without voltage",
        ranges: "the voltage of one phase not led to the meter, 1 to 60 A",
        begins: EventCode::CurrentWithoutVoltageL1,
        limit_ms: None,
        act: |random| {
            let struck = phase(random);
            let open = std::array::from_fn(|k| k == struck);
            Act::new([Disturbance::LinksOpen(open)], Disturbance::LinksOpen([false; 3]))
                .loaded(random, 1.0)
                .striking(open)
        },
    },
    Case {
        name: "over-temperature",
        ranges: "96 to 140 °C",
        begins: EventCode::OverTemperature,
        limit_ms: None,
        act: |random| {
            let celsius = between(random, 96.0, 140.0);
            let mut act = Act::new([Disturbance::Temperature(Some(celsius))], Disturbance::Temperature(None));
            act.seconds = [5.5, 5.5];
            act
        },
    },
];

/// One stimulus with its strength.
struct Act {
    /// Before it, so that something flows.
    load: [f32; 3],
    begin: Vec<Disturbance>,
    end: Option<Disturbance>,
    /// Which phases it strikes, where each has an entry of its own.
    struck: Option<[bool; 3]>,
    /// Seconds at the beginning that are no stimulus yet.
    approach: f64,
    /// How long it lasts at least, and how long its end may take.
    seconds: [f64; 2],
}

impl Act {
    fn new(begin: impl Into<Vec<Disturbance>>, end: Disturbance) -> Self {
        Self { end: Some(end), ..Self::of(begin.into()) }
    }

    /// One that is over by itself.
    fn passing(begin: Disturbance) -> Self {
        Self::of(vec![begin])
    }

    const fn of(begin: Vec<Disturbance>) -> Self {
        Self { load: [0.0; 3], begin, end: None, struck: None, approach: 0.0, seconds: [0.0, 3.0] }
    }

    /// On these phases, each of which must be named, and no other.
    fn striking(self, struck: [bool; 3]) -> Self {
        Self { struck: Some(struck), ..self }
    }

    /// On a load of up to 60 A a phase, at least so many.
    fn loaded(self, random: &mut Random, amperes: f64) -> Self {
        let load = [(); 3].map(|()| log_between(random, amperes, 60.0) / 230.0);
        Self { load, ..self }
    }
}

/// A magnet counts as there once its field is as strong as the threshold.
fn magnet(random: &mut Random) -> Act {
    let millitesla = log_between(random, 55.0, 600.0);
    let seconds = if flip(random) { 0.0 } else { between(random, 0.01, 0.1) };
    let field = scaled(direction(random), millitesla);
    let mut act = Act::new(
        [Disturbance::Magnet { millitesla: field, seconds }],
        Disturbance::Magnet { millitesla: [0.0; 3], seconds },
    );
    let threshold = Thresholds::STANDARD.magnet_on_microtesla as f32 / 1000.0;
    act.approach = f64::from(seconds * threshold / millitesla);
    act
}

/// Lets a stimulus happen once: the latency of its entry, milliseconds; `None` where its beginning or its end was missed.
pub(super) fn once(case: &Case, random: &mut Random, thresholds: Thresholds) -> Result<Option<f64>, Failure> {
    let kind = if flip(random) { SiteKind::Factory } else { SiteKind::Commercial };
    // Any hour of a day.
    let start = UnixMillis((random.uniform() * 86_400_000.0) as i64);
    let mut stage = Stage::open(kind, random.next(), thresholds, start)?;
    let act = (case.act)(random);
    stage.site.disturb(Disturbance::Load(act.load));
    settle(&mut stage, random)?;
    if stage.has_entries() {
        return Ok(None);
    }
    let offset = (random.next() % u64::from(BLOCK)) as u32;
    let since = stage.frames() + u64::from(offset) + (act.approach * RATE) as u64;
    stage.step_with(offset, &act.begin)?;
    let lasting = act.seconds[0] + random.uniform() * 1.9 + 0.1;
    // Currents are judged by windows of 0.2 s, a tilt by its mean: those last longer than a cover needs.
    let lasting = match (&act.end, case.limit_ms) {
        // It is over by itself soon after: the end must not be taken for the beginning's.
        (None, _) => 0.1,
        (_, None) => lasting + 1.8,
        (_, Some(_)) => lasting,
    };
    let begun = live_for(&mut stage, lasting)?;
    let is_begin = |code: EventCode| same(case.begins).contains(&code);
    if !named(&begun, act.struck, same(case.begins)) {
        return Ok(None);
    }
    let Some(&(first, _)) = begun.iter().find(|(_, code)| is_begin(*code)) else { return Ok(None) };
    let latency = first.saturating_sub(since) as f64 * 1000.0 / RATE;
    let Some(end) = act.end else { return Ok(Some(latency)) };
    let offset = (random.next() % u64::from(BLOCK)) as u32;
    stage.step_with(offset, &[end])?;
    let over = live_for(&mut stage, act.seconds[1] + 0.5)?;
    let mut begins = begun.iter().map(|(_, code)| *code).filter(|code| is_begin(*code));
    let all_over = begins.all(|begin| over.iter().any(|(_, code)| code.ends() == Some(begin)));
    Ok(all_over.then_some(latency))
}

/// Whether an entry names each phase that was struck, and none another one.
fn named(begun: &[(u64, EventCode)], struck: Option<[bool; 3]>, codes: [EventCode; 3]) -> bool {
    let Some(struck) = struck else { return true };
    let is_begun = |wanted| begun.iter().any(|&(_, code)| code == wanted);
    codes.into_iter().zip(struck).all(|(code, struck)| is_begun(code) == struck)
}

/// The core finds the supply, at any place of the supply's cycle.
fn settle(stage: &mut Stage, random: &mut Random) -> Result<(), Failure> {
    for _ in 0..120 + random.next() % 40 {
        stage.step()?;
    }
    Ok(())
}

/// Lives for so long, and says which entries were in flash at which frame.
fn live_for(stage: &mut Stage, seconds: f64) -> Result<Vec<(u64, EventCode)>, Failure> {
    let end = stage.frames() + (seconds * RATE) as u64;
    let mut found = Vec::new();
    loop {
        if stage.has_entries() {
            let at = stage.frames();
            found.extend(stage.take_entries()?.into_iter().map(|entry| (at, entry.code)));
        }
        if stage.frames() >= end {
            return Ok(found);
        }
        stage.step()?;
    }
}

/// The same event of L1, L2 and L3.
const fn same(code: EventCode) -> [EventCode; 3] {
    use EventCode as E;
    match code {
        E::OvervoltageL1 => [E::OvervoltageL1, E::OvervoltageL2, E::OvervoltageL3],
        E::PhaseLostL1 => [E::PhaseLostL1, E::PhaseLostL2, E::PhaseLostL3],
        E::CurrentReversedL1 => [E::CurrentReversedL1, E::CurrentReversedL2, E::CurrentReversedL3],
        E::BypassL1 => [E::BypassL1, E::BypassL2, E::BypassL3],
        E::CurrentWithoutVoltageL1 => {
            [E::CurrentWithoutVoltageL1, E::CurrentWithoutVoltageL2, E::CurrentWithoutVoltageL3]
        }
        code => [code; 3],
    }
}

const RATE: f64 = Site::SAMPLE_RATE as f64;

fn between(random: &mut Random, low: f64, high: f64) -> f32 {
    (low + (high - low) * random.uniform()) as f32
}

/// As often between 1 and 10 as between 10 and 100.
fn log_between(random: &mut Random, low: f64, high: f64) -> f32 {
    (low * (high / low).powf(random.uniform())) as f32
}

fn flip(random: &mut Random) -> bool {
    random.uniform() < 0.5
}

fn phase(random: &mut Random) -> usize {
    (random.next() % 3) as usize
}

fn only(phase: usize, value: f32, rest: f32) -> [f32; 3] {
    std::array::from_fn(|k| if k == phase { value } else { rest })
}

/// Any direction, all alike.
fn direction(random: &mut Random) -> [f32; 3] {
    let axes = [random.normal(), random.normal(), random.normal()];
    let length = axes.iter().map(|axis| axis * axis).sum::<f64>().sqrt().max(1e-9);
    axes.map(|axis| (axis / length) as f32)
}

fn scaled(direction: [f32; 3], length: f32) -> [f32; 3] {
    direction.map(|axis| axis * length)
}
