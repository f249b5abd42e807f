//! Deliberately bad units: for every limit one that must exceed it, so that a test which could not fail is found out.

use crate::points;
use crate::rig::Rig;
use meterseal_metrology::Calibration;
use meterseal_world::physics::{LoadPoint, Tolerances};

macro_rules! faults {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        /// What is wrong with a unit. It sets in after calibration, which therefore cannot mend it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Fault {
            $(#[doc = $what] $variant,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What it is called.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What is wrong, in words.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }
    };
}

faults! {
    Phase = "phase", "Each current 10 µs late: 0.54 % at PF 0.5.";
    Gain = "gain", "A gain of L1's current that is 0.8 % too large.";
    Drift = "drift", "A reference that drifts by 60 ppm/K, which acts on voltage and current.";
    Noise = "noise", "A converter with 23 dB in place of 101 dB.";
    Crosstalk = "crosstalk", "Voltages that reach the current channels two hundred times as strongly.";
    Creep = "creep", "Start thresholds that let noise through, and offsets of current that swing with the supply.";
    Start = "start", "Start thresholds three times as high.";
    Pulses = "pulses", "A pulse output of 9 990 impulses a kilowatt-hour in place of 10 000.";
    Curvature = "curvature", "Converters that are far from straight.";
    Filter = "filter", "Anti-alias filters at 200 Hz in place of 20 kHz, which drift by 0.6 %/K.";
    Field = "field", "Current loops that an alternating field reaches two hundred times as strongly, and a supply transformer whose own field is there always.";
    Magnet = "magnet", "Transformers that a magnet saturates.";
    Heat = "heat", "Shunts that warm up by ten times as much, in a case that does by four times as much.";
    Remanence = "remanence", "Remanence four times as large as what the transformers' curves themselves change.";
}

impl Fault {
    /// The parts of the unit that was `sound` in the factory.
    pub(super) fn tolerances(self, sound: &Tolerances) -> Tolerances {
        let mut parts = *sound;
        match self {
            Self::Drift => parts = parts.drifting(),
            Self::Noise => parts.noise_decibels -= 78.0,
            Self::Crosstalk | Self::Creep => parts.crosstalk *= 200.0,
            Self::Curvature => parts.nonlinearity *= 3e5,
            Self::Filter => {
                parts.filter_hertz = 200.0;
                parts.filter_per_kelvin *= 100.0;
            }
            Self::Field => parts.induced_amperes_per_millitesla *= 200.0,
            Self::Magnet => parts.magnet_loss *= 10.0,
            Self::Heat => {
                parts.shunt_rise_kelvin *= 10.0;
                parts.case_rise_kelvin *= 4.0;
            }
            Self::Remanence => parts.hysteresis *= 80.0,
            Self::Phase | Self::Gain | Self::Start | Self::Pulses => {}
        }
        parts
    }

    /// What happened to its record.
    pub(super) fn spoil(self, record: &mut Calibration) {
        match self {
            Self::Phase => {
                record.channels[3..6]
                    .iter_mut()
                    .for_each(|channel| channel.delay_picoseconds.constant -= 10_000_000);
            }
            Self::Gain => record.channels[3].gain_ppb.constant += 8_000_000,
            _ => {}
        }
    }

    /// The alternating field that the meter makes itself, millitesla.
    pub(super) fn stray_millitesla(self) -> f64 {
        if self == Self::Field { 0.01 } else { 0.0 }
    }

    /// What is wrong with its settings, and an hour of operation in which the fault sets in.
    pub(super) fn set_in(self, rig: &mut Rig) {
        match self {
            Self::Start => {
                rig.thresholds.active_start_microwatts *= 3;
                rig.thresholds.reactive_start_microvars *= 3;
            }
            Self::Creep => {
                rig.thresholds.active_start_microwatts = 1;
                rig.thresholds.active_stop_microwatts = 0;
            }
            Self::Pulses => rig.impulses_per_kilowatt_hour = 9_990,
            _ => {}
        }
        let still = LoadPoint::unbalanced(points::HERTZ, [points::UN; 3], [0.0; 3], 0.0);
        rig.unit.pass(3600.0, 23.0, &still);
    }
}
