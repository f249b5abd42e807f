//! What a run found, and whether it holds the limits.

use super::Settings;
use crate::points::{Group, Limits, Row};

/// How far a block may be from a measurement at full length, per cent, beyond the full one's own noise.
pub const BLOCK_PERCENT: f64 = 0.005;

/// Mean, deviation and extremes of one row at one temperature over the population; per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Statistics {
    /// Units.
    pub count: u32,
    /// Mean.
    pub mean: f64,
    /// Standard deviation, n − 1; 0 for one unit.
    pub s: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
}

/// How blocks and full measurements of the same points agree: empty unless the run was a full one.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Pairs.
    pub count: u32,
    /// The largest difference, per cent.
    pub worst_percent: f64,
    /// The largest of what is left of a difference once three deviations of the full measurement's noise are taken from it, per cent.
    pub worst_beyond_noise_percent: f64,
    /// Sum of the squares of difference over noise, which is near the count where calculated and real noise are the same.
    pub squared_scores: f64,
}

impl Agreement {
    pub(super) fn add(&mut self, difference_percent: f64, noise_percent: f64) {
        let difference = difference_percent.abs();
        self.count += 1;
        self.worst_percent = self.worst_percent.max(difference);
        self.worst_beyond_noise_percent =
            self.worst_beyond_noise_percent.max(difference - 3.0 * noise_percent);
        self.squared_scores += (difference / noise_percent).powi(2);
    }

    fn with(self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            worst_percent: self.worst_percent.max(other.worst_percent),
            worst_beyond_noise_percent: self.worst_beyond_noise_percent.max(other.worst_beyond_noise_percent),
            squared_scores: self.squared_scores + other.squared_scores,
        }
    }

    /// Whether blocks may stand for full measurements; without any pair, nothing says the contrary.
    pub fn holds(&self) -> bool {
        self.worst_beyond_noise_percent <= BLOCK_PERCENT
    }

    /// Root mean square of difference over calculated noise.
    pub fn score(&self) -> f64 {
        (self.squared_scores / f64::from(self.count.max(1))).sqrt()
    }
}

/// The results of a run.
#[derive(Clone, Debug)]
pub struct Results {
    /// What was run.
    pub settings: Settings,
    /// The rows.
    pub rows: Vec<Row>,
    /// Of a full run.
    pub agreement: Agreement,
    /// For each unit, temperature by temperature, each row's value; NaN where there is none.
    values: Vec<Vec<f32>>,
}

impl Results {
    pub(super) fn new(settings: Settings, rows: Vec<Row>, found: Vec<(Vec<f32>, Agreement)>) -> Self {
        let agreement = found.iter().fold(Agreement::default(), |sum, (_, one)| sum.with(one));
        Self { settings, rows, agreement, values: found.into_iter().map(|(values, _)| values).collect() }
    }

    /// Every value to the bit.
    #[cfg(test)]
    pub(super) fn bits(&self) -> Vec<u32> {
        self.values.iter().flatten().map(|value| value.to_bits()).collect()
    }

    fn value(&self, unit: usize, temperature: usize, row: usize) -> f64 {
        f64::from(self.values[unit][temperature * self.rows.len() + row])
    }

    /// Over the population, of one row at one temperature.
    pub fn statistics(&self, temperature: usize, row: usize) -> Statistics {
        self.over(temperature..temperature + 1, row)
    }

    fn over(&self, temperatures: std::ops::Range<usize>, row: usize) -> Statistics {
        let values = || {
            temperatures
                .clone()
                .flat_map(|at| (0..self.values.len()).map(move |unit| self.value(unit, at, row)))
                .filter(|value| !value.is_nan())
        };
        let count = values().count();
        if count == 0 {
            return Statistics::default();
        }
        let mean = values().sum::<f64>() / count as f64;
        let squares = values().map(|value| (value - mean).powi(2)).sum::<f64>();
        let s = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        let (min, max) = values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        Statistics { count: count as u32, mean, s, min, max }
    }

    /// Over the population and all temperatures, of one row.
    pub fn overall(&self, row: usize) -> Statistics {
        self.over(0..self.settings.temperatures.len(), row)
    }

    /// Over all temperatures: the extremes of one row, and where it is worst, °C: the largest magnitude, or what is nearest to its limits.
    pub fn extremes(&self, row: usize) -> (f64, f64, f64) {
        let mut worst = (f64::INFINITY, f64::NEG_INFINITY, self.settings.temperatures[0]);
        let limits = &self.rows[row].limits;
        // A row that must be large is worst where it is least.
        let from_below = limits.reach.is_some_and(|[least, _]| least > 0.0);
        let badness = |low: f64, high: f64| if from_below { -low } else { low.abs().max(high.abs()) };
        for (at, celsius) in self.settings.temperatures.iter().enumerate() {
            let here = self.statistics(at, row);
            if here.count == 0 {
                continue;
            }
            if worst.0 > worst.1 || badness(here.min, here.max) > badness(worst.0, worst.1) {
                worst.2 = *celsius;
            }
            worst = (f64::min(worst.0, here.min), f64::max(worst.1, here.max), worst.2);
        }
        if worst.0 > worst.1 { (0.0, 0.0, worst.2) } else { worst }
    }

    /// Of each unit the largest magnitude over all rows of a group and all temperatures, per cent.
    pub fn worst_of_units(&self, group: Group) -> Vec<f64> {
        let rows: Vec<usize> = (0..self.rows.len()).filter(|row| self.rows[*row].group == group).collect();
        (0..self.values.len())
            .map(|unit| {
                let all = (0..self.settings.temperatures.len())
                    .flat_map(|at| rows.iter().map(move |row| self.value(unit, at, *row).abs()));
                all.fold(0.0, f64::max)
            })
            .collect()
    }

    /// Of each unit the least value of a row over all temperatures.
    pub fn least_of_units(&self, row: usize) -> Vec<f64> {
        let temperatures = self.settings.temperatures.len();
        let least =
            |unit| (0..temperatures).map(|at| self.value(unit, at, row)).fold(f64::INFINITY, f64::min);
        (0..self.values.len()).map(least).collect()
    }

    /// Whether a row keeps class 0.2 S and CPA-ACC in every unit at every temperature.
    pub fn holds(&self, row: usize) -> bool {
        let Limits { class, cpa, .. } = self.rows[row].limits;
        let cpa = cpa.map(|cpa| [-cpa, cpa]);
        class.into_iter().chain(cpa).all(|limit| self.within(row, limit))
    }

    /// Whether a row keeps what the project must reach; `None` where that is no more than the class.
    pub fn reaches(&self, row: usize) -> Option<bool> {
        self.rows[row].limits.reach.map(|reach| self.within(row, reach))
    }

    /// Whether a row keeps the project's aim; `None` where it has none.
    pub fn keeps_aim(&self, row: usize) -> Option<bool> {
        self.rows[row].limits.aim.map(|aim| self.within(row, aim))
    }

    fn within(&self, row: usize, [least, most]: [f64; 2]) -> bool {
        let (low, high, _) = self.extremes(row);
        // An error that could not be told is none that holds.
        let told = (0..self.settings.temperatures.len()).any(|at| self.statistics(at, row).count > 0);
        let needs_neighbour = matches!(self.rows[row].measure, crate::points::Measure::PerKelvin(_));
        (told || needs_neighbour) && low >= least && high <= most
    }

    /// Whether every limit holds, and everything is reached that must be.
    pub fn passes(&self) -> bool {
        let rows_hold = (0..self.rows.len()).all(|row| self.holds(row) && self.reaches(row) != Some(false));
        rows_hold && self.agreement.holds()
    }
}
