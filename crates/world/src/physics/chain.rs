//! One unit's parts as drawn, and what they make of a spectral line on its way from a terminal to the converter.

use super::signal::Lanes;
use super::{Effects, Sensor, Tolerances};
use crate::complex::Complex;
use crate::random::Random;
use std::f64::consts::TAU;

/// Components have their nominal values at 23 °C: IEC 62053-22's reference temperature.
pub(super) const REFERENCE_CELSIUS: f64 = 23.0;
/// The current that curves and heat refer to: Imax of the reference meter.
pub(super) const FULL_CURRENT: f64 = 100.0;
/// Copper's temperature coefficient of resistance, per kelvin.
const COPPER_PER_KELVIN: f64 = 3.9e-3;
/// Part of [`FULL_CURRENT`] at which a core's permeability has halved its rise.
const KNEE: f64 = 0.02;

/// The parts of one unit.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    reference: Drift,
    reference_ageing: f64,
    fault_per_kelvin: f64,
    pub(super) crystal: f64,
    crystal_per_square_kelvin: f64,
    crystal_turn_celsius: f64,
    pub(super) thermometer_kelvin: f64,
    channels: [Channel; 7],
    pub(super) sensors: [SensorParts; 4],
    /// Of the case, by three currents of [`FULL_CURRENT`].
    pub(super) case_rise_kelvin: f64,
    /// Part of each voltage's counts in the counts of each phase's current.
    pub(super) crosstalk: [[f64; 3]; 3],
}

/// `constant + linear·ΔT + quadratic·ΔT²`.
#[derive(Clone, Copy, Debug)]
struct Drift {
    constant: f64,
    linear: f64,
    quadratic: f64,
}

impl Drift {
    fn at(&self, kelvin: f64) -> f64 {
        self.constant + kelvin * (self.linear + kelvin * self.quadratic)
    }
}

#[derive(Clone, Debug)]
struct Channel {
    /// Divider, burden: of 1.
    resistors: Drift,
    ageing: f64,
    offset: Drift,
    second_order: f64,
    third_order: f64,
    skew_seconds: f64,
    filter_hertz: Drift,
}

/// A shunt's alloy, or a transformer's core.
#[derive(Clone, Debug)]
pub(super) struct SensorParts {
    shunt: Drift,
    pub(super) shunt_rise_kelvin: f64,
    ratio: f64,
    ratio_curve: f64,
    phase: f64,
    phase_curve: f64,
    copper: f64,
    hysteresis: f64,
    /// How much of a core's saturation 300 mT beside it reach.
    magnet: f64,
    magnet_loss: f64,
    /// Amperes that an alternating field of 1 mT induces: in phase and in quadrature with L1's voltage.
    pub(super) induced: Complex,
}

/// What acts on the parts at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) celsius: f64,
    pub(super) shunt_kelvin: [f64; 4],
    pub(super) hours: f64,
    pub(super) magnet_millitesla: f64,
    /// −1 to 1: a smaller or a larger current came before.
    pub(super) remanence: [f64; 4],
}

impl Parts {
    pub(super) fn draw(tolerances: &Tolerances, random: &mut Random) -> Self {
        let t = tolerances;
        let mut both = |half_width: f64| (random.uniform() * 2.0 - 1.0) * half_width;
        let reference = Drift {
            constant: both(t.reference),
            linear: both(t.reference_per_kelvin),
            quadratic: both(t.reference_per_square_kelvin),
        };
        let reference_ageing = from(0.5, t.reference_ageing, &mut both) * both(1.0).signum();
        let crystal = both(t.crystal);
        let crystal_turn_celsius = 25.0 + both(t.crystal_turn_kelvin);
        let thermometer_kelvin = both(t.thermometer_kelvin);
        let channels = std::array::from_fn(|channel| {
            let (value, per_kelvin) =
                if channel < 3 { (t.divider, t.divider_per_kelvin) } else { (t.burden, t.burden_per_kelvin) };
            Channel {
                resistors: Drift { constant: both(value), linear: both(per_kelvin), quadratic: 0.0 },
                ageing: both(t.part_ageing),
                offset: Drift {
                    constant: both(t.offset_counts),
                    linear: both(t.offset_counts_per_kelvin),
                    quadratic: 0.0,
                },
                second_order: both(t.nonlinearity),
                third_order: both(t.nonlinearity),
                skew_seconds: both(t.skew_seconds),
                filter_hertz: Drift {
                    constant: t.filter_hertz * (1.0 + both(t.filter)),
                    linear: t.filter_hertz * both(t.filter_per_kelvin),
                    quadratic: 0.0,
                },
            }
        });
        let sensors = std::array::from_fn(|_| SensorParts {
            shunt: Drift {
                constant: both(t.shunt),
                linear: both(t.shunt_per_kelvin),
                quadratic: both(t.shunt_per_square_kelvin),
            },
            shunt_rise_kelvin: from(0.5, t.shunt_rise_kelvin, &mut both),
            ratio: both(t.transformer_ratio),
            ratio_curve: from(0.0, t.transformer_ratio_curve, &mut both),
            phase: from(0.2, t.transformer_phase, &mut both),
            phase_curve: from(0.2, t.transformer_phase_curve, &mut both),
            copper: from(0.5, t.transformer_copper, &mut both),
            hysteresis: t.hysteresis,
            magnet: from(0.3, 1.0, &mut both),
            magnet_loss: t.magnet_loss,
            induced: Complex::new(
                both(t.induced_amperes_per_millitesla),
                both(t.induced_amperes_per_millitesla),
            ),
        });
        // What a channel takes up from its own phase's voltage is nearest to it.
        let crosstalk = std::array::from_fn(|current| {
            std::array::from_fn(|voltage| {
                both(if current == voltage { t.crosstalk } else { t.crosstalk / 4.0 })
            })
        });
        Self {
            reference,
            reference_ageing,
            fault_per_kelvin: t.fault_per_kelvin,
            crystal,
            crystal_per_square_kelvin: t.crystal_per_square_kelvin,
            crystal_turn_celsius,
            thermometer_kelvin,
            channels,
            sensors,
            case_rise_kelvin: t.case_rise_kelvin,
            crosstalk,
        }
    }

    /// The clock's error, of 1: positive is fast.
    pub(super) fn clock(&self, celsius: f64, effects: &Effects) -> f64 {
        if !effects.crystal {
            return 0.0;
        }
        let kelvin = celsius - self.crystal_turn_celsius;
        self.crystal - self.crystal_per_square_kelvin * kelvin * kelvin
    }

    /// What a channel makes of a line of `hertz`, of 1, without its sensor.
    pub(super) fn electronics(
        &self,
        channel: usize,
        hertz: f64,
        now: &Surroundings,
        effects: &Effects,
        sensor: Sensor,
    ) -> Complex {
        let kelvin = now.celsius - REFERENCE_CELSIUS;
        let part = &self.channels[channel];
        let thousand_hours = if effects.ageing { now.hours / 1000.0 } else { 0.0 };
        let mut reference = self.reference_ageing * thousand_hours;
        if effects.reference {
            reference += self.reference.at(kelvin);
        }
        // Sets in with the first operating hour, after the factory.
        reference += self.fault_per_kelvin * kelvin * now.hours.min(1.0);
        let has_resistors =
            if channel < 3 { effects.divider } else { effects.burden && sensor == Sensor::Transformer };
        let mut gain = 1.0 + part.ageing * thousand_hours;
        if has_resistors {
            gain += part.resistors.at(kelvin);
        }
        let mut response = Complex::new(gain / (1.0 + reference), 0.0);
        if effects.filter {
            response = response / Complex::new(1.0, hertz / part.filter_hertz.at(kelvin));
        }
        if effects.skew {
            response = response * Complex::polar(1.0, TAU * hertz * part.skew_seconds);
        }
        response
    }

    /// What the converter of a channel adds: offset and, of full scale, second and third order.
    pub(super) fn converter(&self, channel: usize, celsius: f64, effects: &Effects) -> [f64; 3] {
        let part = &self.channels[channel];
        let offset = if effects.offset { part.offset.at(celsius - REFERENCE_CELSIUS) } else { 0.0 };
        let curved = if effects.nonlinearity { 1.0 } else { 0.0 };
        [offset, part.second_order * curved, part.third_order * curved]
    }
}

/// Uniform between `least` and 1 times `most`.
fn from(least: f64, most: f64, both: &mut impl FnMut(f64) -> f64) -> f64 {
    most * (least + (1.0 - least) * (both(0.5) + 0.5))
}

/// A current sensor at one operating point.
pub(super) struct OperatingPoint {
    gain: f64,
    /// Time constant of a transformer's magnetising inductance; `None` for a shunt.
    seconds: Option<f64>,
    /// Even-order distortion of a core under a magnet: of the signal at [`FULL_CURRENT`].
    pub(super) second_order: f64,
}

impl SensorParts {
    /// The sensor with `amperes` of fundamental frequency `hertz` and `direct` amperes of DC through it.
    pub(super) fn operating_point(
        &self,
        number: usize,
        sensor: Sensor,
        [amperes, direct, hertz]: [f64; 3],
        now: &Surroundings,
        effects: &Effects,
    ) -> OperatingPoint {
        let ideal = OperatingPoint { gain: 1.0, seconds: None, second_order: 0.0 };
        let kelvin = now.celsius - REFERENCE_CELSIUS;
        if sensor == Sensor::Shunt {
            let gain =
                if effects.sensor { 1.0 + self.shunt.at(kelvin + now.shunt_kelvin[number]) } else { 1.0 };
            return OperatingPoint { gain, ..ideal };
        }
        // Permeability rises with the flux from its initial value, so both errors fall with the current.
        let mut curve = 1.0 / (1.0 + (amperes / FULL_CURRENT / KNEE).sqrt());
        if effects.hysteresis {
            curve *= 1.0 + self.hysteresis * now.remanence[number];
        }
        let magnet = if effects.magnet { now.magnet_millitesla / 300.0 * self.magnet } else { 0.0 };
        // A core that DC or a magnet biases towards saturation magnetises with more current: eight times at full bias.
        let bias = magnet + direct / FULL_CURRENT;
        let biased = 1.0 + 7.0 * bias * bias;
        if !effects.sensor && magnet == 0.0 {
            return ideal;
        }
        let phase = (self.phase + self.phase_curve * curve)
            * (1.0 + COPPER_PER_KELVIN * self.copper * kelvin)
            * biased;
        let ratio = self.ratio - self.ratio_curve * curve * biased - self.magnet_loss * magnet * magnet;
        OperatingPoint {
            gain: 1.0 + ratio,
            seconds: Some(1.0 / (TAU * hertz * phase.tan())),
            second_order: self.magnet_loss * magnet,
        }
    }
}

impl OperatingPoint {
    /// What the sensor makes of a line of `hertz`: a transformer is a high-pass and passes no DC.
    pub(super) fn response(&self, hertz: f64) -> Complex {
        let Some(seconds) = self.seconds else { return Complex::new(self.gain, 0.0) };
        let x = TAU * hertz * seconds;
        Complex::new(0.0, x) / Complex::new(1.0, x) * Complex::new(self.gain, 0.0)
    }
}

/// Puts a value into a lane.
pub(super) fn put(re: &mut Lanes, im: &mut Lanes, lane: usize, value: Complex) {
    re[lane] += value.re;
    im[lane] += value.im;
}
