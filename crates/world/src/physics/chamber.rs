//! The climate chamber: ambient temperature against time, repeated.

/// A cycle of ambient temperatures, straight between its corners.
#[derive(Clone, Debug, PartialEq)]
pub struct Chamber {
    corners: Vec<(f64, f64)>,
}

impl Chamber {
    /// Always the same.
    pub fn constant(celsius: f64) -> Self {
        Self { corners: vec![(1.0, celsius)] }
    }

    /// A damp-heat style cycle of 24 h between two extremes: 4 h up, 8 h at the upper, 4 h down, 8 h at the lower one.
    pub fn cycles(lower_celsius: f64, upper_celsius: f64) -> Self {
        const HOUR: f64 = 3600.0;
        let at = |hour: f64, celsius| (hour * HOUR, celsius);
        Self {
            corners: vec![
                at(4.0, upper_celsius),
                at(12.0, upper_celsius),
                at(16.0, lower_celsius),
                at(24.0, lower_celsius),
            ],
        }
    }

    /// The ambient temperature, °C, `seconds` after the start; the cycle begins where it ends.
    pub fn celsius(&self, seconds: f64) -> f64 {
        let Some(&(length, last)) = self.corners.last() else { return 23.0 };
        let time = seconds.rem_euclid(length);
        let mut from = (0.0, last);
        for &to in &self.corners {
            if time <= to.0 {
                return from.1 + (to.1 - from.1) * (time - from.0) / (to.0 - from.0);
            }
            from = to;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_the_chamber_reaches_both_extremes() {
        let chamber = Chamber::cycles(-40.0, 85.0);
        let hour = |hours: f64| chamber.celsius(hours * 3600.0);
        assert_eq!(hour(0.0), -40.0);
        assert_eq!(hour(2.0), 22.5);
        assert_eq!(hour(8.0), 85.0);
        assert_eq!(hour(14.0), 22.5);
        assert_eq!(hour(20.0), -40.0);
        assert_eq!(hour(24.0 + 2.0), 22.5);
        assert_eq!(Chamber::constant(55.0).celsius(1e6), 55.0);
    }
}
