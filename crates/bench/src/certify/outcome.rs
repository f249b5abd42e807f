//! What a procedure found: measured values with their limits, uncertainties and verdicts, and what they amount to for a requirement.

use serde::{Deserialize, Serialize};

/// The decision rule, as reports state it (ILAC-G8:09/2019, guard band w = U; ISO/IEC 17025, 7.8.6; not verified against the standards' text).
pub const DECISION_RULE: &str = "A value is accepted only where it lies within its limit by at least its expanded uncertainty (k = 2): \
    a guard band as wide as the uncertainty. A value that is nearer than that, inside or outside, counts as failed.";

/// What came of a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// Every value was accepted.
    Passed,
    /// Some value was not.
    Failed,
    /// Nobody tested it: what is missing. Never counted as passed.
    NotTested(String),
    /// It was begun and could not be carried out: what went wrong. Never counted as passed.
    CouldNot(String),
}

impl Outcome {
    /// In words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotTested(_) => "not tested",
            Self::CouldNot(_) => "could not be carried out",
        }
    }

    /// What is missing or went wrong.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::NotTested(why) | Self::CouldNot(why) => Some(why),
            Self::Passed | Self::Failed => None,
        }
    }
}

/// How a value lies to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Within, by at least the uncertainty.
    Accepted,
    /// Nearer to the limit than the uncertainty: not accepted.
    TooNear,
    /// Beyond, by more than the uncertainty.
    Rejected,
}

/// The lowest and the highest value that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The lowest.
    pub least: Option<f64>,
    /// The highest.
    pub most: Option<f64>,
}

impl Limit {
    /// Plus and minus.
    pub const fn within(value: f64) -> Self {
        Self { least: Some(-value), most: Some(value) }
    }

    /// No more than.
    pub const fn at_most(value: f64) -> Self {
        Self { least: None, most: Some(value) }
    }

    /// No less than.
    pub const fn at_least(value: f64) -> Self {
        Self { least: Some(value), most: None }
    }

    /// Exactly: for counts, which have no uncertainty.
    pub const fn exactly(value: f64) -> Self {
        Self { least: Some(value), most: Some(value) }
    }
}

/// Under which conditions a value was measured, for tables and plots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Current in each loaded phase, amperes.
    pub amperes: f64,
    /// How far it lags, degrees.
    pub lag_degrees: f64,
    /// Ambient temperature, °C.
    pub celsius: f64,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What, and under which conditions.
    pub what: String,
    /// The value.
    pub value: f64,
    /// Its unit; empty for a count.
    pub unit: String,
    /// What is allowed.
    pub limit: Limit,
    /// Expanded uncertainty (k = 2) of the value: the bench's own and, where values scatter, that of their mean.
    pub uncertainty: f64,
    /// The part of it that is the bench's own (k = 2).
    pub bench_uncertainty: f64,
    /// Standard deviation of the runs that the value is the mean of.
    pub deviation: Option<f64>,
    /// How many runs.
    pub runs: u32,
    /// By [`DECISION_RULE`].
    pub verdict: Verdict,
    /// Where it was measured.
    pub place: Option<Place>,
}

impl Measured {
    /// One value with the bench's own uncertainty (k = 2).
    pub fn new(what: impl Into<String>, value: f64, unit: &str, limit: Limit, uncertainty: f64) -> Self {
        let verdict = judge(value, limit, uncertainty);
        // What is no number was rejected; files hold numbers only.
        let (mut what, value, uncertainty) = (what.into(), finite(value), finite(uncertainty));
        if value.is_none() || uncertainty.is_none() {
            what += " (no number came out)";
        }
        let (value, uncertainty) = (value.unwrap_or(0.0), uncertainty.unwrap_or(0.0));
        Self {
            what,
            value,
            unit: unit.to_owned(),
            limit,
            uncertainty,
            bench_uncertainty: uncertainty,
            deviation: None,
            runs: 1,
            verdict,
            place: None,
        }
    }

    /// A count or a yes (1) or no (0), which is what it is.
    pub fn count(what: impl Into<String>, value: f64, limit: Limit) -> Self {
        Self::new(what, value, "", limit, 0.0)
    }

    /// The mean of several runs: their scatter goes into the uncertainty, by Student's factor for so few.
    pub fn mean(what: impl Into<String>, values: &[f64], unit: &str, limit: Limit, bench: f64) -> Self {
        let (mean, deviation) = mean_and_deviation(values);
        let of_mean = deviation / (values.len().max(1) as f64).sqrt() * student(values.len());
        let own = finite(bench).unwrap_or(0.0);
        Self {
            bench_uncertainty: own,
            deviation: finite(deviation).filter(|_| values.len() > 1),
            runs: values.len() as u32,
            ..Self::new(what, mean, unit, limit, bench.hypot(of_mean))
        }
    }

    /// Where it was measured.
    #[must_use]
    pub fn at(self, amperes: f64, lag_degrees: f64, celsius: f64) -> Self {
        Self { place: Some(Place { amperes, lag_degrees, celsius }), ..self }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The rule in [`DECISION_RULE`].
pub fn judge(value: f64, limit: Limit, uncertainty: f64) -> Verdict {
    if !value.is_finite() || !uncertainty.is_finite() {
        return Verdict::Rejected;
    }
    let inside = |by: f64| {
        limit.least.is_none_or(|least| value - by >= least)
            && limit.most.is_none_or(|most| value + by <= most)
    };
    if inside(uncertainty) {
        Verdict::Accepted
    } else if inside(-uncertainty) {
        Verdict::TooNear
    } else {
        Verdict::Rejected
    }
}

/// What measured values amount to. Nothing measured is nothing tested.
pub fn amount(values: &[Measured]) -> Outcome {
    if values.is_empty() {
        Outcome::CouldNot("the procedure measured nothing".to_owned())
    } else if values.iter().all(|value| value.verdict == Verdict::Accepted) {
        Outcome::Passed
    } else {
        Outcome::Failed
    }
}

/// Mean and standard deviation, n − 1; of one value, 0.
pub(super) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0)).sqrt())
}

/// Student's factor for 95.45 % and so many values (JCGM 100:2008, table G.2).
fn student(count: usize) -> f64 {
    const FACTORS: [f64; 10] = [13.97, 4.53, 3.31, 2.87, 2.65, 2.52, 2.43, 2.37, 2.32, 2.28];
    match count {
        0 | 1 => 0.0,
        count => FACTORS.get(count - 2).copied().unwrap_or(2.2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_must_keep_its_uncertainty_from_the_limit() {
        let limit = Limit::within(0.2);
        assert_eq!(judge(0.1949, limit, 0.005), Verdict::Accepted);
        assert_eq!(judge(0.1951, limit, 0.005), Verdict::TooNear);
        assert_eq!(judge(-0.2049, limit, 0.005), Verdict::TooNear);
        assert_eq!(judge(-0.2051, limit, 0.005), Verdict::Rejected);
        assert_eq!(judge(f64::NAN, limit, 0.005), Verdict::Rejected);
        assert_eq!(judge(0.0, limit, f64::NAN), Verdict::Rejected);
        assert_eq!(judge(0.0, Limit::exactly(0.0), 0.0), Verdict::Accepted);
    }

    #[test]
    fn scatter_widens_the_uncertainty_and_nothing_measured_never_passes() {
        let steady = Measured::mean("x", &[0.1; 5], "%", Limit::within(0.2), 0.003);
        assert_eq!((steady.verdict, steady.uncertainty), (Verdict::Accepted, 0.003));
        let scattered = Measured::mean("x", &[0.02, 0.18, 0.1, 0.16, 0.04], "%", Limit::within(0.15), 0.003);
        assert!((scattered.value - 0.1).abs() < 1e-12 && scattered.uncertainty > 0.08, "{scattered:?}");
        assert_eq!(scattered.verdict, Verdict::TooNear);
        assert!(matches!(amount(&[]), Outcome::CouldNot(_)));
        assert_eq!(amount(&[steady.clone(), scattered]), Outcome::Failed);
        assert_eq!(amount(&[steady]), Outcome::Passed);
    }
}
