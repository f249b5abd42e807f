//! Axes with round ticks.

/// A range of values on a line of the drawing.
pub(super) struct Axis {
    low: f64,
    high: f64,
    /// Between two ticks.
    pub(super) step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// From 0 to exactly `high`.
    pub(super) fn from_zero(high: f64, from: f64, to: f64) -> Self {
        Self { low: 0.0, high, step: round_step(high / 8.0), from, to }
    }

    /// From −peak to +peak, up to the next tick.
    pub(super) fn around_zero(peak: f64, from: f64, to: f64) -> Self {
        let peak = if peak > 0.0 { peak } else { 1.0 };
        let step = round_step(peak / 3.0);
        let high = (peak / step * 1.02).ceil() * step;
        Self { low: -high, high, step, from, to }
    }

    /// Where a value lies on the drawing.
    pub(super) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The values that get a line, at most a few dozen.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, high) = (self.step, self.high);
        let first = (self.low / step).ceil() as i32;
        // Adding zero makes a negative zero positive.
        (first..first + 32)
            .map(move |k| f64::from(k) * step + 0.0)
            .take_while(move |tick| *tick <= high * (1.0 + 1e-9))
    }
}

/// 1, 2 or 5 times a power of ten, at least this much.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= least * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

/// A tick's number with the decimals that its step needs.
pub(super) fn number(value: f64, step: f64) -> String {
    let places = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.places$}").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_peak() {
        for (peak, expected) in
            [(491.0, "-600 -400 -200 0 200 400 600"), (0.23, "-0.3 -0.2 -0.1 0 0.1 0.2 0.3")]
        {
            let axis = Axis::around_zero(peak, 0.0, 100.0);
            let ticks: Vec<String> =
                axis.ticks().map(|tick| format!("{}", (tick * 1e6).round() / 1e6)).collect();
            assert_eq!(ticks.join(" "), expected);
            assert!((axis.place(0.0) - 50.0).abs() < 1e-9);
        }
        assert_eq!(number(-0.5, 0.5), "−0.5");
        assert_eq!(number(-200.0, 200.0), "−200");
    }
}
