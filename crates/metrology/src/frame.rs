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

    /// The largest magnitude of all counts.
    pub(crate) fn peak(&self) -> u32 {
        let largest = |counts: &[i32]| counts.iter().fold(0, |all: u32, count| all.max(count.unsigned_abs()));
        largest(&self.voltage).max(largest(&self.current))
    }

    /// The frame with its counts within full scale.
    pub(crate) fn clamped(&self) -> Self {
        let clamp = |count: i32| count.clamp(-Self::FULL_SCALE, Self::FULL_SCALE);
        Self { voltage: self.voltage.map(clamp), current: self.current.map(clamp) }
    }
}
