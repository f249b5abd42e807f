//! What a meter's sensors say: the only way in which the surroundings reach the tamper detection.

/// One reading of every sensor beside the measuring channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorReadings {
    /// Static magnetic flux density at the case, three axes, microtesla (a strong magnet: 100 000 and more).
    pub magnetic_field_microtesla: [i32; 3],
    /// The switch under the main cover.
    pub meter_cover_open: bool,
    /// The switch under the terminal cover.
    pub terminal_cover_open: bool,
    /// The surge detector's peak hold per phase since the reading before, millivolts from neutral: it catches
    /// what is too short for the samples (1 µs and longer).
    pub surge_peak_millivolts: [u32; 3],
    /// Temperature inside the case, millikelvin.
    pub temperature_millikelvin: u32,
}

impl SensorReadings {
    /// Nothing unusual: covers closed, the earth's field, no surge, 23 °C.
    pub const QUIET: Self = Self {
        magnetic_field_microtesla: [20, 0, -45],
        meter_cover_open: false,
        terminal_cover_open: false,
        surge_peak_millivolts: [0; 3],
        temperature_millikelvin: 296_150,
    };
}
