//! What a window of 10/12 cycles measured: the quantities that a meter shows.

use crate::{Components, VOLTAGES};

/// The quantities over one window.
///
/// Powers and RMS values are IEEE 1459's: `P` is the mean product and includes harmonics, `Q` is the fundamental's `Q1`, `S` of a phase is
/// `Vrms·Irms`. Import with lagging current has positive `P` and `Q`. A total `S` is the arithmetic sum of the phases' (IEEE 1459 §3.2.2.5):
/// it is what utilities bill and, unlike the effective `Se`, needs no assumption about the neutral's resistance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first sample of the window, counted from the first sample pushed. Windows follow each other without a gap. The
    /// first begins half a cycle into the stream, or as soon as the supply's frequency is found.
    pub first_sample: u64,
    /// The window's length in samples (rounded: edges fall between samples).
    pub samples: u64,
    /// Supply cycles in it: 10 or 12, fewer in the last one of a record; 0 when the record is shorter than one cycle.
    pub cycles: u16,
    /// The supply frequency: mean over the time from the last boundary of the window before to the last of this one, so its middle is half a cycle
    /// before the window's. `None` without a supply voltage, and when there are less than three whole cycles to see a
    /// phase advance between.
    pub frequency_microhertz: Option<u64>,
    /// L1, L2, L3.
    pub phases: [PhaseQuantities; VOLTAGES],
    /// RMS current of the neutral channel.
    pub neutral_current_rms_microamperes: u64,
    /// Sum of the phases' active powers; import positive.
    pub active_power_microwatts: i64,
    /// Sum of the phases' fundamental reactive powers.
    pub reactive_power_microvars: i64,
    /// Arithmetic sum of the phases' apparent powers.
    pub apparent_power_microvoltamperes: u64,
    /// `P/S` of the totals in millionths, −1 000 000 to 1 000 000; 0 where S is 0.
    pub power_factor_ppm: i32,
    /// At least one count in the cycles that contribute was at or beyond full scale: the values are too small.
    pub clipped: bool,
    /// Symmetrical components, and active power split into fundamental and harmonics.
    pub components: Components,
    /// The supply did not stand still: in a cycle that contributes a voltage was lost, came back or stepped by more than a factor of 1.4 from one
    /// cycle to the next, phase or frequency jumped by more than 1/256 of a cycle, or, where events are watched, a sag, a swell or an
    /// interruption went on (IEC 61000-4-30 §4.7, flagging; not verified against the standard's text). Energy counts as ever.
    pub disturbed: bool,
}

/// The quantities of one phase over one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseQuantities {
    /// RMS voltage, harmonics and DC included.
    pub voltage_rms_microvolts: u64,
    /// RMS current, harmonics and DC included.
    pub current_rms_microamperes: u64,
    /// RMS of the voltage's fundamental.
    pub voltage_fundamental_microvolts: u64,
    /// RMS of the current's fundamental.
    pub current_fundamental_microamperes: u64,
    /// Mean of voltage times current; import positive.
    pub active_power_microwatts: i64,
    /// `Q1 = V1·I1·sin φ1`; positive where the current lags an importing voltage.
    pub reactive_power_microvars: i64,
    /// `Vrms·Irms`.
    pub apparent_power_microvoltamperes: u64,
    /// `P/S` in millionths; 0 where S is 0.
    pub power_factor_ppm: i32,
    /// Angle of the voltage's fundamental to that of V1, or of the first phase that has a voltage: −180° to 180°. 0 without a fundamental.
    pub voltage_angle_microdegrees: i32,
    /// Angle of the current's fundamental to the same reference.
    pub current_angle_microdegrees: i32,
    /// All that is not fundamental over the fundamental, `√(rms²/fundamental² − 1)`, in millionths; 0 without a fundamental.
    pub voltage_thd_ppm: u32,
    /// The same of the current.
    pub current_thd_ppm: u32,
}
