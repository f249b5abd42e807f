//! What a meter's sensors say: the only way in which the surroundings reach the tamper detection, apart from what is
//! measured of voltages and currents.
//!
//! A device reads its sensors every [`SensorReadings::PERIOD_MS`]; what is shorter than that (a surge, a field of 50 Hz)
//! its sensors hold from one reading to the next.

/// One reading of every sensor beside the measuring channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorReadings {
    /// Magnetic flux density at the case at this moment, three axes, microtesla (a strong magnet: 100 000 and more).
    pub magnetic_field_microtesla: [i32; 3],
    /// How far each axis went since the reading before, highest less lowest, microtesla: an alternating field of 50 Hz
    /// shows here, however the readings fall. Zero where the sensor cannot hold it; such a field then stays unseen.
    pub magnetic_swing_microtesla: [u32; 3],
    /// What the accelerometer says, thousandths of the earth's acceleration: x to the right, y upwards, z to the front.
    pub acceleration_milli_g: [i32; 3],
    /// The switch under the main cover.
    pub meter_cover_open: bool,
    /// The switch under the terminal cover.
    pub terminal_cover_open: bool,
    /// The latch of the main cover, mechanical or battery-backed: set by every opening, with or without supply. The
    /// device resets it whenever the meter has taken note of a reading, so that only what happened without supply is
    /// still in it at the next start.
    pub meter_cover_latched: bool,
    /// The latch of the terminal cover.
    pub terminal_cover_latched: bool,
    /// The surge detector's peak hold per phase since the reading before, millivolts from neutral: it catches
    /// what is too short for the samples (1 µs and longer).
    pub surge_peak_millivolts: [u32; 3],
    /// Temperature inside the case, millikelvin.
    pub temperature_millikelvin: u32,
}

impl SensorReadings {
    /// How often a device reads its sensors, milliseconds. Three readings are longer than half a cycle of 50 Hz, so that
    /// no alternating field passes for a constant one, and short enough to tell of a constant one within 20 ms.
    pub const PERIOD_MS: u32 = 4;

    /// Nothing unusual: covers closed, the earth's field, upright, no surge, 23 °C.
    pub const QUIET: Self = Self {
        magnetic_field_microtesla: [20, 0, -45],
        magnetic_swing_microtesla: [0; 3],
        acceleration_milli_g: [0, 1000, 0],
        meter_cover_open: false,
        terminal_cover_open: false,
        meter_cover_latched: false,
        terminal_cover_latched: false,
        surge_peak_millivolts: [0; 3],
        temperature_millikelvin: 296_150,
    };
}
