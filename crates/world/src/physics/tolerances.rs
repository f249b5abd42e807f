//! What the parts' data sheets allow: the ranges that a unit is drawn from.
//!
//! The temperature coefficients are those of the project's error budget (`reference/metrology.md`, 65 K away from 23 °C); the rest are typical values of
//! 0.1 % thin-film resistors, nanocrystalline transformers and 24-bit metering converters, from general knowledge of such parts and not of one maker's
//! data sheet.

/// How currents are sensed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sensor {
    /// Current transformers with a burden resistor.
    #[default]
    Transformer,
    /// Shunts: no phase error, but warm by the current's square, and DC is seen.
    Shunt,
}

/// Half-widths: a part's value is uniform within plus and minus, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Shared reference: initial error, of 1.
    pub reference: f64,
    /// Shared reference: 10 ppm/K.
    pub reference_per_kelvin: f64,
    /// Shared reference: the parabola of a band gap, 0.04 ppm/K².
    pub reference_per_square_kelvin: f64,
    /// Divider: ratio of 0.1 % resistors.
    pub divider: f64,
    /// Divider: tracking 25 ppm/K.
    pub divider_per_kelvin: f64,
    /// Burden: 0.1 %.
    pub burden: f64,
    /// Burden: 10 ppm/K.
    pub burden_per_kelvin: f64,
    /// Shunt: 1 %.
    pub shunt: f64,
    /// Shunt: 50 ppm/K.
    pub shunt_per_kelvin: f64,
    /// Shunt: the alloy's parabola, 0.1 ppm/K².
    pub shunt_per_square_kelvin: f64,
    /// Shunt: rise of its temperature at 100 A, kelvin; drawn from half of it upwards.
    pub shunt_rise_kelvin: f64,
    /// Transformer: error of its ratio.
    pub transformer_ratio: f64,
    /// Transformer: how much its ratio falls from large to vanishing current; drawn from nothing upwards.
    pub transformer_ratio_curve: f64,
    /// Transformer: phase at large current, radians ahead; drawn from a fifth of it upwards.
    pub transformer_phase: f64,
    /// Transformer: what is added at vanishing current, radians; drawn from a fifth of it upwards.
    pub transformer_phase_curve: f64,
    /// Part of the copper winding in the secondary's resistance, to which the phase is proportional; drawn from half of it upwards.
    pub transformer_copper: f64,
    /// Remanence: how much of the curves' current-dependent part it moves.
    pub hysteresis: f64,
    /// Transformer: part of its ratio that a magnet of 300 mT takes away from the most sensitive one (not a tolerance).
    pub magnet_loss: f64,
    /// Current loop: amperes that an alternating field of 1 mT induces, in phase and in quadrature, each.
    pub induced_amperes_per_millitesla: f64,
    /// Case: how much warmer three currents of 100 A make it, kelvin (not a tolerance).
    pub case_rise_kelvin: f64,
    /// Converter: white noise below a full-scale sine, decibels: 101 dB.
    pub noise_decibels: f64,
    /// Converter: offset, counts.
    pub offset_counts: f64,
    /// Converter: drift of the offset, counts per kelvin.
    pub offset_counts_per_kelvin: f64,
    /// Converter: integral non-linearity at full scale, of full scale: second and third order, each.
    pub nonlinearity: f64,
    /// Skew between channels, seconds.
    pub skew_seconds: f64,
    /// Anti-alias filter: corner, hertz (not a tolerance).
    pub filter_hertz: f64,
    /// Anti-alias filter: spread of the corner.
    pub filter: f64,
    /// Anti-alias filter: drift of the corner.
    pub filter_per_kelvin: f64,
    /// Crystal at its turning point.
    pub crystal: f64,
    /// Crystal: its parabola, 0.034 ppm/K² (not a tolerance; a tuning fork is slower on both sides).
    pub crystal_per_square_kelvin: f64,
    /// Crystal: the turning point's distance from 25 °C, kelvin.
    pub crystal_turn_kelvin: f64,
    /// Part of a voltage channel's count that appears in another channel's: −120 dB.
    pub crosstalk: f64,
    /// Thermometer: 0.5 K.
    pub thermometer_kelvin: f64,
    /// Ageing of the reference in 1 000 h: 50 ppm; drawn from half of it upwards, with either sign.
    pub reference_ageing: f64,
    /// Ageing of each divider, burden or shunt in 1 000 h.
    pub part_ageing: f64,
    /// A fault to test the tests with: drift that sets in after calibration, per kelvin from 23 °C, at its full value in the reference.
    pub fault_per_kelvin: f64,
}

impl Tolerances {
    /// The reference meter's parts.
    pub const REFERENCE: Self = Self {
        reference: 1e-3,
        reference_per_kelvin: 10e-6,
        reference_per_square_kelvin: 0.04e-6,
        divider: 2e-3,
        divider_per_kelvin: 25e-6,
        burden: 1e-3,
        burden_per_kelvin: 10e-6,
        shunt: 10e-3,
        shunt_per_kelvin: 50e-6,
        shunt_per_square_kelvin: 0.1e-6,
        shunt_rise_kelvin: 15.0,
        transformer_ratio: 2e-3,
        transformer_ratio_curve: 0.5e-3,
        transformer_phase: 2.5e-3,
        transformer_phase_curve: 1e-3,
        transformer_copper: 0.4,
        hysteresis: 0.05,
        magnet_loss: 0.02,
        induced_amperes_per_millitesla: 2e-3,
        case_rise_kelvin: 5.0,
        noise_decibels: 101.0,
        offset_counts: 500.0,
        offset_counts_per_kelvin: 1.0,
        nonlinearity: 5e-6,
        skew_seconds: 0.5e-6,
        filter_hertz: 20e3,
        filter: 0.05,
        filter_per_kelvin: 60e-6,
        crystal: 20e-6,
        crystal_per_square_kelvin: 0.034e-6,
        crystal_turn_kelvin: 5.0,
        crosstalk: 1e-6,
        thermometer_kelvin: 0.5,
        reference_ageing: 50e-6,
        part_ageing: 10e-6,
        fault_per_kelvin: 0.0,
    };

    /// Parts that age ten times as fast: a soak must find them.
    #[must_use]
    pub fn ageing_tenfold(mut self) -> Self {
        self.reference_ageing *= 10.0;
        self.part_ageing *= 10.0;
        self
    }

    /// A reference that drifts by 60 ppm/K once calibrated: a soak must find it.
    #[must_use]
    pub fn drifting(mut self) -> Self {
        self.fault_per_kelvin = 60e-6;
        self
    }
}

impl Default for Tolerances {
    fn default() -> Self {
        Self::REFERENCE
    }
}
