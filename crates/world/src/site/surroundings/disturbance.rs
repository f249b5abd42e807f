//! One thing that happens, and what the page's stimuli are in these terms.

use meterseal_model::Stimulus;

/// Something that happens to a meter's place. It stays until another of its kind says otherwise, unless it says that it
/// passes by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disturbance {
    /// The main cover is open, or not.
    Cover(bool),
    /// The terminal cover is open, or not.
    TerminalCover(bool),
    /// A permanent magnet with this field at the sensor, millitesla, that takes so long to come or go.
    Magnet {
        /// The field once it is there; zero takes the magnet away.
        millitesla: [f32; 3],
        /// How long it needs, seconds: a hand about 0.05.
        seconds: f32,
    },
    /// A coil or a transformer beside the meter.
    AlternatingField {
        /// The amplitude (peak) of each axis.
        millitesla: [f32; 3],
        /// Its frequency.
        hertz: f32,
        /// Its phase when it is switched on, turns.
        turns: f32,
    },
    /// How the meter hangs: what its accelerometer says when nothing moves it, in the earth's acceleration.
    Position([f32; 3]),
    /// A knock, such as from a door: a shake of this strength that dies away within a tenth of a second.
    Knock {
        /// The first swing of each axis, in the earth's acceleration.
        g: [f32; 3],
        /// How fast it shakes.
        hertz: f32,
    },
    /// A 1.2/50 µs surge on the three phases, volts to neutral; it passes.
    Surge([f32; 3]),
    /// The supply's voltages are so many times what they were; currents follow where a voltage falls.
    Voltage([f32; 3]),
    /// L2 and L3 are exchanged before the meter.
    Exchanged(bool),
    /// A load besides the site's own, siemens from each phase to neutral: a welder, a motor that starts.
    Load([f32; 3]),
    /// Current transformers that are turned around, or not.
    Reversed([bool; 3]),
    /// The part of each phase's current that flows past the meter, 0 to 1.
    Bypassed([f32; 3]),
    /// Phases whose voltage is not led to the meter.
    LinksOpen([bool; 3]),
    /// The temperature in the case, °C; `None` leaves it to the weather.
    Temperature(Option<f32>),
}

/// What the page's buttons do. `struck` is a phase.
pub(super) fn of_stimulus(stimulus: Stimulus, struck: usize) -> Option<Disturbance> {
    let one = |value: f32, rest: f32| std::array::from_fn(|k| if k == struck { value } else { rest });
    Some(match stimulus {
        Stimulus::OpenCover => Disturbance::Cover(true),
        Stimulus::CloseCover => Disturbance::Cover(false),
        Stimulus::OpenTerminalCover => Disturbance::TerminalCover(true),
        Stimulus::CloseTerminalCover => Disturbance::TerminalCover(false),
        // A neodymium magnet on the case, at the sensor: well above the 200 mT at which immunity is tested.
        Stimulus::BringMagnet => Disturbance::Magnet { millitesla: [60.0, -40.0, 380.0], seconds: 0.05 },
        Stimulus::RemoveMagnet => Disturbance::Magnet { millitesla: [0.0; 3], seconds: 0.05 },
        Stimulus::BringCoil => {
            Disturbance::AlternatingField { millitesla: [15.0, 5.0, 30.0], hertz: 50.0, turns: 0.0 }
        }
        Stimulus::RemoveCoil => {
            Disturbance::AlternatingField { millitesla: [0.0; 3], hertz: 50.0, turns: 0.0 }
        }
        Stimulus::Tilt => Disturbance::Position([0.6, 0.8, 0.0]),
        Stimulus::Straighten => Disturbance::Position([0.0, 1.0, 0.0]),
        // 4 kV on one phase (IEC 61000-4-5, the level usual for direct connection); the others couple.
        Stimulus::VoltageSpike => Disturbance::Surge(one(4_000.0, 900.0)),
        Stimulus::RaiseVoltage => Disturbance::Voltage(one(1.25, 1.0)),
        Stimulus::LosePhase => Disturbance::Voltage(one(0.0, 1.0)),
        Stimulus::InterruptSupply => Disturbance::Voltage([0.0; 3]),
        Stimulus::LowerVoltage | Stimulus::ReturnPhase | Stimulus::RestoreSupply => {
            Disturbance::Voltage([1.0; 3])
        }
        Stimulus::ExchangePhases => Disturbance::Exchanged(true),
        Stimulus::OrderPhases => Disturbance::Exchanged(false),
        Stimulus::ReverseCurrent => Disturbance::Reversed([true; 3]),
        Stimulus::ForwardCurrent => Disturbance::Reversed([false; 3]),
        Stimulus::BypassMeter => Disturbance::Bypassed([0.5; 3]),
        Stimulus::RemoveBypass => Disturbance::Bypassed([0.0; 3]),
        Stimulus::OpenVoltageLink => Disturbance::LinksOpen(std::array::from_fn(|k| k == struck)),
        Stimulus::CloseVoltageLink => Disturbance::LinksOpen([false; 3]),
        Stimulus::Heat => Disturbance::Temperature(Some(105.0)),
        Stimulus::Cool => Disturbance::Temperature(None),
        // Between the meter and its network: `wifi` has it.
        _ => return None,
    })
}
