//! What the front end delivers: one signed 24-bit count per channel and sampling instant.

use crate::boundary::CHANNELS;

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

    /// A channel's count; voltages come first.
    pub(crate) fn count(&self, channel: usize) -> i32 {
        match channel {
            0..VOLTAGES => self.voltage[channel],
            _ => self.current[channel - VOLTAGES],
        }
    }

    /// The same, to be changed.
    pub(crate) fn count_mut(&mut self, channel: usize) -> &mut i32 {
        match channel {
            0..VOLTAGES => &mut self.voltage[channel],
            _ => &mut self.current[channel - VOLTAGES],
        }
    }

    /// All counts, voltages first.
    #[inline(always)]
    fn counts(&self) -> [i32; CHANNELS] {
        let ([a, b, c], [d, e, f, g]) = (self.voltage, self.current);
        [a, b, c, d, e, f, g]
    }

    /// Whether a count is at or beyond full scale.
    pub(crate) fn is_clipped(&self) -> bool {
        self.beyond() < 0
    }

    /// Negative if a count is at or beyond full scale.
    #[inline(always)]
    fn beyond(&self) -> i32 {
        self.counts().into_iter().fold(0, |all, count| all | beyond(count))
    }

    /// The frame with its counts within full scale.
    pub(crate) fn clamped(&self) -> Self {
        let clamp = |count: i32| count.clamp(-Self::FULL_SCALE, Self::FULL_SCALE);
        Self { voltage: self.voltage.map(clamp), current: self.current.map(clamp) }
    }
}

/// Whether a count of any frame is at or beyond full scale.
pub(crate) fn any_clipped(frames: &[Frame]) -> bool {
    // Four frames at once, whose 28 counts fill whole registers one behind the other; asked after each four, so that compilers leave that order alone.
    let (fours, rest) = frames.as_chunks::<4>();
    fours.iter().any(|[a, b, c, d]| a.beyond() | b.beyond() | c.beyond() | d.beyond() < 0)
        || rest.iter().any(Frame::is_clipped)
}

/// Negative for a count at or beyond full scale: sums and signs are what every processor has in its widest registers, magnitudes are not.
fn beyond(count: i32) -> i32 {
    let largest = Frame::FULL_SCALE - 1;
    count.wrapping_add(largest) | largest.wrapping_sub(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_clipped_from_full_scale_on() {
        let full = Frame::FULL_SCALE;
        for (count, clipped) in [
            (0, false),
            (full - 1, false),
            (1 - full, false),
            (full, true),
            (-full, true),
            (full + 1, true),
            (1 << 30, true),
            (i32::MAX, true),
            (i32::MIN, true),
            (i32::MIN + full, true),
        ] {
            for channel in 0..CHANNELS {
                let mut frames = [Frame::default(); 3];
                *frames[1].count_mut(channel) = count;
                assert_eq!(frames[1].is_clipped(), clipped, "{count}");
                assert_eq!(any_clipped(&frames), clipped, "{count}");
            }
        }
    }
}
