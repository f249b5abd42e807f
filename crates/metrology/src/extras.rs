//! What a core can do beyond measuring: each is off unless it is asked for, and then costs nothing.

use crate::{Calibration, CalibrationError, Config, ConfigError, PulseSettings, Thresholds, pulses::OUTPUTS};

/// What [`Metrology::with_extras`](crate::Metrology::with_extras) adds to a core. By default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// The unit's calibration record as [`Calibration::decode`] read or refused it; `None` where there is none.
    /// [`Metrology::calibration_state`](crate::Metrology::calibration_state) says which it is.
    pub calibration: Option<Result<Calibration, CalibrationError>>,
    /// From which power on energy is registered; `None` registers all.
    pub thresholds: Option<Thresholds>,
    /// Pulse outputs.
    pub pulses: [Option<PulseSettings>; OUTPUTS],
}

impl Extras {
    /// Checks every setting; a calibration record is checked by [`Calibration::check`].
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self, config: &Config) -> Result<(), ConfigError> {
        self.thresholds.map_or(Ok(()), |thresholds| thresholds.check())?;
        self.pulses.iter().flatten().try_for_each(|pulses| pulses.check(config))
    }
}
