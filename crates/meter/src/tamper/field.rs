//! Magnetic fields: a constant one by what the sensor says at each reading, an alternating one by how far it went in
//! between.
//!
//! A constant field counts once it has been strong, and pointed the same way, for the debounce time. What the sensor went
//! through between two readings is taken off: so a field of 50 Hz, strong at any moment as it may be, is none.
//!
//! An alternating field goes to and fro: over [`SPAN_MS`] its way is long and its displacement short. Two cycles of 50 Hz
//! are a way of eight amplitudes (at least 7.2 of them where readings of 4 ms hide the turns), and a magnet that
//! approaches goes no further than it gets. It is so noticed within two cycles and a reading.

use meterseal_model::SensorReadings;

use super::watch::{Look, Watch};
use super::{Condition, Detection, Moment};

#[derive(Debug)]
pub(super) struct Fields {
    constant: Watch,
    alternating: Watch,
    /// Where the present constant field pointed when it was noticed.
    direction: Option<[i32; 3]>,
    looked_ms: Option<u64>,
    /// The latest readings: uptime, field, length of the swing.
    past: [(u64, [i32; 3], u32); READINGS],
    next: usize,
    known: usize,
}

impl Fields {
    pub(super) const fn new() -> Self {
        Self {
            constant: Watch::new(Condition::Magnet),
            alternating: Watch::new(Condition::AlternatingField),
            direction: None,
            looked_ms: None,
            past: [(0, [0; 3], 0); READINGS],
            next: 0,
            known: 0,
        }
    }

    pub(super) fn look(
        &mut self,
        readings: &SensorReadings,
        moment: &Moment<'_>,
        found: &mut impl FnMut(Detection),
    ) {
        let field = readings.magnetic_field_microtesla;
        let swing = magnitude(readings.magnetic_swing_microtesla.map(i64::from));
        let thresholds = moment.thresholds;

        let strength = magnitude(field.map(i64::from));
        let strong = strength.saturating_sub(swing) >= thresholds.magnet_on_microtesla;
        let same_way = self.direction.is_none_or(|direction| points_with(direction, field));
        self.direction = if strong { self.direction.filter(|_| same_way).or(Some(field)) } else { None };
        let look = Look {
            begins: strong && same_way,
            ends: strength.saturating_add(swing) < thresholds.magnet_off_microtesla,
            value: strength.into(),
            wait_ms: [thresholds.debounce_ms; 2],
        };
        // What the sensor went through is taken off, so it has been strong since the reading before.
        let before_ms = self.looked_ms.replace(moment.uptime_ms).unwrap_or(moment.uptime_ms);
        self.constant.look_since(look, before_ms, moment).into_iter().for_each(&mut *found);

        let amplitude = self.amplitude(field, swing, moment.uptime_ms);
        let look = Look {
            begins: amplitude >= thresholds.alternating_on_microtesla,
            ends: amplitude < thresholds.alternating_off_microtesla,
            value: amplitude.into(),
            wait_ms: [0, SPAN_MS as u32],
        };
        self.alternating.look(look, moment).into_iter().for_each(found);
    }

    /// The amplitude of what goes to and fro, microtesla, and never more than it is.
    fn amplitude(&mut self, field: [i32; 3], swing: u32, now_ms: u64) -> u32 {
        self.past[self.next] = (now_ms, field, swing);
        self.next = (self.next + 1) % READINGS;
        self.known = (self.known + 1).min(READINGS);
        if swing == 0 && self.known > 1 && self.way_is_nothing() {
            return 0;
        }
        let (mut way, mut begin) = (0_u64, field);
        for age in 0..self.known {
            let (at_ms, field, swing) = self.past[(self.next + READINGS - 1 - age) % READINGS];
            begin = field;
            if now_ms - at_ms >= SPAN_MS {
                break;
            }
            way += u64::from(swing);
        }
        let displacement = core::array::from_fn(|axis| i64::from(field[axis]) - i64::from(begin[axis]));
        let excess = way.saturating_sub(magnitude(displacement).into());
        u32::try_from(excess / WAY_IN_AMPLITUDES).unwrap_or(u32::MAX)
    }

    /// Nearly always: no field moved since the oldest reading.
    fn way_is_nothing(&self) -> bool {
        self.past[..self.known].iter().all(|(_, _, swing)| *swing == 0)
    }
}

/// Two cycles of 50 Hz.
const SPAN_MS: u64 = 40;
/// How many amplitudes two cycles go.
const WAY_IN_AMPLITUDES: u64 = 8;
/// Readings in that time, and one before it; with readings closer than 3 ms the span is shorter.
const READINGS: usize = 14;

/// The length of a vector.
fn magnitude(axes: [i64; 3]) -> u32 {
    let square = axes.iter().map(|axis| axis.unsigned_abs().saturating_pow(2)).fold(0, u64::saturating_add);
    u32::try_from(square.isqrt()).unwrap_or(u32::MAX)
}

/// Whether two vectors are less than a quarter turn apart.
fn points_with(a: [i32; 3], b: [i32; 3]) -> bool {
    a.iter().zip(b).map(|(&a, b)| i128::from(a) * i128::from(b)).sum::<i128>() > 0
}
