//! What the front end delivers: one signed 24-bit count per channel and sampling instant.

/// Voltage channels L1, L2, L3.
pub const VOLTAGES: usize = 3;
/// Current channels L1, L2, L3 and neutral.
pub const CURRENTS: usize = 4;

/// All channels at one sampling instant, in front-end counts within ±[`Frame::FULL_SCALE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frame {
    /// L1, L2, L3 to neutral.
    pub voltage: [i32; VOLTAGES],
    /// L1, L2, L3, neutral.
    pub current: [i32; CURRENTS],
}

impl Frame {
    /// The largest magnitude of a count: 2²³ − 1.
    pub const FULL_SCALE: i32 = (1 << 23) - 1;
}
