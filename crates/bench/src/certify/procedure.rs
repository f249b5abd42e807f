//! What a procedure is, and what it has to work with.

use std::sync::atomic::{AtomicBool, Ordering};

use meterseal_link::Value;
use meterseal_model::{Obis, UnixMillis};
use meterseal_world::physics::LoadPoint;
use serde::{Deserialize, Serialize};

use super::{Measured, Profile, Ratings, Target, Trouble};
use crate::catalogue::{Need, Parameter, Requirement};
use crate::random::Random;
use crate::reference::Truth;

/// A way to test requirements. One procedure serves all requirements that name it; their parameters make the difference.
///
/// ```
/// use meterseal_bench::catalogue::Requirement;
/// use meterseal_bench::certify::{Bench, Limit, Measured, Procedure, Trouble};
/// use meterseal_model::Obis;
///
/// /// Does the meter say what time it is?
/// struct ShowsTime;
///
/// impl Procedure for ShowsTime {
///     fn name(&self) -> &'static str {
///         "shows-time"
///     }
///
///     fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
///         bench.step("read the clock");
///         let clock = bench.profile().obis(Obis::CLOCK);
///         let answers = bench.target().get(&[(8, clock, 2)])?;
///         let shown = answers.iter().flatten().filter(|value| value.as_time().is_some()).count();
///         Ok(vec![Measured::count("clocks that show a time", shown as f64, Limit::exactly(1.0))])
///     }
/// }
/// ```
pub trait Procedure: Send + Sync {
    /// The name by which the catalogue calls it.
    fn name(&self) -> &'static str;

    /// What it cannot do without beside the requirement's own needs.
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    /// Tests the requirement. A finding against the meter is a [`Measured`] value beyond its limit, never an error.
    ///
    /// # Errors
    /// [`Trouble`]: it could not be carried out.
    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble>;
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Runs at each load point.
    pub runs: u32,
    /// The shortest run, seconds, and the fewest pulses of one.
    pub least_seconds: f64,
    /// See above.
    pub least_pulses: f64,
    /// Hours of the stability test; 0 leaves it out.
    pub stability_hours: u32,
    /// Repeats of each tamper stimulus.
    pub stimuli: u32,
    /// The time after a change of load in which nothing is measured, seconds.
    pub settling_seconds: f64,
}

impl Effort {
    /// Test practice: five runs of at least 25 pulses and 30 s, 10 s after each change of load.
    pub const FULL: Self = Self {
        runs: 5,
        least_seconds: 30.0,
        least_pulses: 25.0,
        stability_hours: 0,
        stimuli: 5,
        settling_seconds: 10.0,
    };
    /// For development and CI: everything, shortly. A report of it says so.
    pub const REDUCED: Self = Self {
        runs: 3,
        least_seconds: 4.0,
        least_pulses: 8.0,
        stability_hours: 0,
        stimuli: 1,
        settling_seconds: 10.0,
    };

    /// Whether it is less than test practice asks for.
    pub fn is_reduced(&self) -> bool {
        self.runs < 5 || self.least_seconds < 30.0 || self.least_pulses < 25.0 || self.settling_seconds < 10.0
    }
}

/// One thing that was done, for a report to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// By the bench's clock, seconds after the beginning.
    pub seconds: f64,
    /// What.
    pub what: String,
}

/// An entry of the meter's security log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub sequence: u64,
    /// The meter's time.
    pub time: UnixMillis,
    /// The event's number.
    pub code: u8,
    /// The extreme value that goes with it.
    pub extreme: i64,
}

/// What a procedure works with: a meter on its bench, what is declared of it, and the means to say what was done.
pub struct Bench<'a> {
    target: Box<dyn Target + 'a>,
    profile: &'a Profile,
    effort: Effort,
    random: Random,
    steps: Vec<Step>,
    stop: &'a AtomicBool,
    reservation: Option<String>,
}

/// Steps that are kept of one procedure.
const STEPS_MAX: usize = 2_000;
/// Rows that are read at once.
const ROWS_AT_ONCE: u32 = 32;

impl<'a> Bench<'a> {
    /// With this meter; `seed` is the requirement's own.
    pub fn new(
        target: Box<dyn Target + 'a>,
        profile: &'a Profile,
        effort: Effort,
        seed: u64,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            target,
            profile,
            effort,
            random: Random::new(seed),
            steps: Vec::new(),
            stop,
            reservation: None,
        }
    }

    /// The meter.
    pub fn target(&mut self) -> &mut dyn Target {
        &mut *self.target
    }

    /// What is declared of it.
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// Its name plate.
    pub fn ratings(&self) -> Ratings {
        self.profile.ratings
    }

    /// How much is to be measured.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Notes what is done now.
    pub fn step(&mut self, what: impl Into<String>) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(Step { seconds: self.target.seconds(), what: what.into() });
        }
    }

    /// Everything that was noted.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Says that what is being done is less than the requirement asks for, and what: it can then fail, but not pass.
    pub fn reserve(&mut self, what_is_missing: impl Into<String>) {
        self.reservation = Some(what_is_missing.into());
    }

    /// What is missing, if something is.
    pub fn reservation(&self) -> Option<&str> {
        self.reservation.as_deref()
    }

    /// A random number, 0 to 1, of the requirement's own sequence.
    pub fn uniform(&mut self) -> f64 {
        self.random.uniform()
    }

    /// 64 random bits of the same.
    pub fn random(&mut self) -> u64 {
        self.random.next()
    }

    /// Lets time pass. A run that is to be stopped ends here.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        // In pieces, so that a stop does not wait for an hour.
        const PIECE: f64 = 60.0;
        let mut left = seconds;
        while left > 0.0 {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Trouble::Bench("stopped".to_owned()));
            }
            self.target.pass(left.min(PIECE))?;
            left -= PIECE;
        }
        Ok(())
    }

    /// Sets a load and lets it settle.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn settle(&mut self, load: &LoadPoint) -> Result<(), Trouble> {
        self.target.load(load)?;
        self.pass(self.effort.settling_seconds)
    }

    /// How long one run at a load takes: pulses enough and no less than the shortest run.
    pub fn run_seconds(&self, load: &LoadPoint) -> f64 {
        let watts = Truth::of(load).total_watts().abs().max(1e-9);
        // One more than the fewest: the run begins between two pulses.
        let seconds =
            (self.effort.least_pulses + 1.0) * 3.6e6 / self.ratings().impulses_per_kilowatt_hour / watts;
        seconds.max(self.effort.least_seconds)
    }

    /// What the bench is uncertain by in one run at a load (k = 2), per cent.
    pub fn uncertainty_percent(&self, load: &LoadPoint) -> f64 {
        self.target.uncertainty_percent(self.run_seconds(load))
    }

    /// One run at the load that is set: the error by the pulse output, per cent, between its first and its last pulse. Without pulses it is
    /// no number: two errors of a dead meter must not differ by nothing.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn error_percent(&mut self, seconds: f64) -> Result<f64, Trouble> {
        self.target.pulses()?;
        self.target.watts()?;
        self.pass(seconds)?;
        let watts = self.target.watts()?;
        let pulses = self.target.pulses()?;
        let [first, .., last] = pulses[..] else { return Ok(f64::NAN) };
        let joules = (pulses.len() - 1) as f64 / self.ratings().impulses_per_kilowatt_hour * 3.6e6;
        Ok((joules / (watts * (last - first)) - 1.0) * 100.0)
    }

    /// Several runs at a load after it has settled.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn errors(&mut self, load: &LoadPoint, runs: u32) -> Result<Vec<f64>, Trouble> {
        self.settle(load)?;
        let seconds = self.run_seconds(load);
        (0..runs).map(|_| self.error_percent(seconds)).collect()
    }

    /// A register in its unit (watt-hours and the like), by its scaler.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it has none.
    pub fn register(&mut self, obis: Obis) -> Result<f64, Trouble> {
        const REGISTER: u16 = 3;
        let obis = self.profile.obis(obis);
        let answers = self.target.get(&[(REGISTER, obis, 2), (REGISTER, obis, 3)])?;
        let [Ok(value), Ok(scale)] = &answers[..] else {
            return Err(Trouble::Meter(format!("it shows no register {obis} to the utility")));
        };
        let scaler = scale.as_list().and_then(|pair| pair.first()).and_then(Value::as_i64);
        match (value.as_i64(), scaler.and_then(|scaler| i32::try_from(scaler).ok())) {
            (Some(value), Some(scaler)) => Ok(value as f64 * 10f64.powi(scaler)),
            _ => Err(Trouble::Meter(format!("its register {obis} holds no number"))),
        }
    }

    /// The entries of the security log after this number, oldest first.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it shows no log, or rows that are none.
    pub fn log_after(&mut self, sequence: u64) -> Result<Vec<Entry>, Trouble> {
        const PROFILE_GENERIC: u16 = 7;
        let log = self.profile.obis(Obis::SECURITY_LOG);
        let answers = self.target.get(&[(PROFILE_GENERIC, log, 7)])?;
        let in_use = answers.first().and_then(|answer| answer.as_ref().ok()).and_then(Value::as_u64);
        let mut last = in_use
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| Trouble::Meter("it does not say how long its security log is".to_owned()))?;
        let mut entries = Vec::new();
        while last > 0 {
            let first = last.saturating_sub(ROWS_AT_ONCE - 1).max(1);
            let rows = self.target.rows(log, first, last)?;
            let mut read =
                rows.iter().map(|row| entry(row)).collect::<Option<Vec<_>>>().ok_or_else(|| {
                    Trouble::Meter("rows of its security log are not time, number, event, extreme".to_owned())
                })?;
            let reached = read.iter().any(|entry| entry.sequence <= sequence) || read.is_empty();
            read.retain(|entry| entry.sequence > sequence);
            read.append(&mut entries);
            entries = read;
            if reached {
                break;
            }
            last = first - 1;
        }
        Ok(entries)
    }

    /// The newest number of the security log; 0 for none.
    ///
    /// # Errors
    /// As [`log_after`](Self::log_after).
    pub fn log_end(&mut self) -> Result<u64, Trouble> {
        Ok(self.log_after(0)?.last().map_or(0, |entry| entry.sequence))
    }
}

fn entry(row: &[Value]) -> Option<Entry> {
    let [time, sequence, code, extreme, ..] = row else { return None };
    Some(Entry {
        time: time.as_time()?,
        sequence: sequence.as_u64()?,
        code: u8::try_from(code.as_u64()?).ok()?,
        extreme: extreme.as_i64()?,
    })
}

/// A requirement's number.
///
/// # Errors
/// [`Trouble::Bench`]: the catalogue lacks it.
pub fn number(requirement: &Requirement, name: &str) -> Result<f64, Trouble> {
    match requirement.parameters.get(name) {
        Some(Parameter::Number(value)) => Ok(*value),
        _ => Err(Trouble::Bench(format!("the catalogue gives {} no number \"{name}\"", requirement.id))),
    }
}

/// A requirement's word.
///
/// # Errors
/// [`Trouble::Bench`]: the catalogue lacks it.
pub fn word<'a>(requirement: &'a Requirement, name: &str) -> Result<&'a str, Trouble> {
    match requirement.parameters.get(name) {
        Some(Parameter::Name(value)) => Ok(value),
        _ => Err(Trouble::Bench(format!("the catalogue gives {} no word \"{name}\"", requirement.id))),
    }
}
