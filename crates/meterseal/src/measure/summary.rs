//! Many windows in one: mean squares of RMS values, means of powers, vector means of phasors, each window by its
//! duration.

use super::harmonics::Orders;
use meterseal_metrology::{Harmonics, PhaseQuantities, Window};

/// Quantities over a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    whole: Sums,
    /// Windows of less than a cycle: used only where there is nothing better.
    short: Sums,
    orders: Orders,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    seconds: f64,
    frequency: f64,
    frequency_seconds: f64,
    phases: [PhaseSums; 3],
    neutral_squared: f64,
}

#[derive(Clone, Debug, Default)]
struct PhaseSums {
    volts_squared: f64,
    amperes_squared: f64,
    watts: f64,
    vars: f64,
    voltage: Fundamental,
    current: Fundamental,
}

/// Mean square and direction of a fundamental.
#[derive(Clone, Debug, Default)]
struct Fundamental {
    squared: f64,
    cosine: f64,
    sine: f64,
}

/// A phase's quantities, in volts, amperes, watts, vars, degrees.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase {
    pub(super) volts: f64,
    pub(super) amperes: f64,
    pub(super) watts: f64,
    pub(super) vars: f64,
    pub(super) volt_amperes: f64,
    pub(super) power_factor: f64,
    pub(super) volts_degrees: f64,
    pub(super) amperes_degrees: f64,
    pub(super) volts_thd: f64,
    pub(super) amperes_thd: f64,
}

/// The three phases together.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) watts: f64,
    pub(super) vars: f64,
    pub(super) volt_amperes: f64,
    pub(super) power_factor: f64,
}

impl Summary {
    pub(super) fn add(&mut self, window: &Window, harmonics: Option<&Harmonics>, rate_hz: f64) {
        let sums = if window.cycles == 0 { &mut self.short } else { &mut self.whole };
        let seconds = window.samples as f64 / rate_hz;
        sums.seconds += seconds;
        if let Some(harmonics) = harmonics {
            self.orders.add(harmonics, seconds);
        }
        if let Some(microhertz) = window.frequency_microhertz {
            sums.frequency += microhertz as f64 * 1e-6 * seconds;
            sums.frequency_seconds += seconds;
        }
        sums.neutral_squared += (window.neutral_current_rms_microamperes as f64 * 1e-6).powi(2) * seconds;
        for (sums, phase) in sums.phases.iter_mut().zip(&window.phases) {
            sums.add(phase, seconds);
        }
    }

    pub(super) fn orders(&self) -> &Orders {
        &self.orders
    }

    fn sums(&self) -> &Sums {
        if self.has_whole_cycle() { &self.whole } else { &self.short }
    }

    pub(super) fn has_whole_cycle(&self) -> bool {
        self.whole.seconds > 0.0
    }

    pub(super) fn frequency_hz(&self) -> Option<f64> {
        let sums = self.sums();
        (sums.frequency_seconds > 0.0).then(|| sums.frequency / sums.frequency_seconds)
    }

    pub(super) fn neutral_amperes(&self) -> f64 {
        let sums = self.sums();
        mean(sums.neutral_squared, sums.seconds).sqrt()
    }

    pub(super) fn phase(&self, k: usize) -> Phase {
        let sums = self.sums();
        sums.phases.get(k).map(|phase| phase.means(sums.seconds)).unwrap_or_default()
    }

    pub(super) fn total(&self) -> Total {
        let mut total = Total::default();
        for k in 0..3 {
            let phase = self.phase(k);
            total.watts += phase.watts;
            total.vars += phase.vars;
            total.volt_amperes += phase.volt_amperes;
        }
        total.power_factor = mean(total.watts, total.volt_amperes);
        total
    }
}

impl PhaseSums {
    fn add(&mut self, phase: &PhaseQuantities, seconds: f64) {
        let unit = |micro: u64| micro as f64 * 1e-6;
        self.volts_squared += unit(phase.voltage_rms_microvolts).powi(2) * seconds;
        self.amperes_squared += unit(phase.current_rms_microamperes).powi(2) * seconds;
        self.watts += phase.active_power_microwatts as f64 * 1e-6 * seconds;
        self.vars += phase.reactive_power_microvars as f64 * 1e-6 * seconds;
        self.voltage.add(
            unit(phase.voltage_fundamental_microvolts),
            phase.voltage_angle_microdegrees,
            seconds,
        );
        self.current.add(
            unit(phase.current_fundamental_microamperes),
            phase.current_angle_microdegrees,
            seconds,
        );
    }

    fn means(&self, seconds: f64) -> Phase {
        let volts = mean(self.volts_squared, seconds).sqrt();
        let amperes = mean(self.amperes_squared, seconds).sqrt();
        let watts = mean(self.watts, seconds);
        let volt_amperes = volts * amperes;
        Phase {
            volts,
            amperes,
            watts,
            vars: mean(self.vars, seconds),
            volt_amperes,
            power_factor: mean(watts, volt_amperes),
            volts_degrees: self.voltage.degrees(),
            amperes_degrees: self.current.degrees(),
            volts_thd: self.voltage.distortion(self.volts_squared),
            amperes_thd: self.current.distortion(self.amperes_squared),
        }
    }
}

impl Fundamental {
    fn add(&mut self, rms: f64, microdegrees: i32, seconds: f64) {
        let angle = (f64::from(microdegrees) * 1e-6).to_radians();
        self.squared += rms * rms * seconds;
        self.cosine += rms * angle.cos() * seconds;
        self.sine += rms * angle.sin() * seconds;
    }

    fn degrees(&self) -> f64 {
        // Adding zero makes a negative zero positive.
        self.sine.atan2(self.cosine).to_degrees() + 0.0
    }

    /// All that is not fundamental over the fundamental.
    fn distortion(&self, all_squared: f64) -> f64 {
        if self.squared > 0.0 { (all_squared / self.squared - 1.0).max(0.0).sqrt() } else { 0.0 }
    }
}

/// A quotient that is 0 over nothing.
fn mean(sum: f64, weight: f64) -> f64 {
    if weight > 0.0 { sum / weight + 0.0 } else { 0.0 }
}
