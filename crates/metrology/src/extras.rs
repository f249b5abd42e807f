//! What a core can do beyond measuring: each is off unless it is asked for, and then costs nothing.

use crate::{
    Calibration, CalibrationError, Config, ConfigError, EventSettings, Kernel, PulseSettings, Thresholds,
    pulses::OUTPUTS,
};

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
    /// Thresholds of power-quality events; `None` watches none.
    pub events: Option<EventSettings>,
    /// How frames are looked over and summed up: to the same bits, faster or slower.
    pub kernel: Kernel,
}

impl Extras {
    /// Checks every setting; a calibration record is checked by [`Calibration::check`].
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let value = self.kernel.wrong_results();
        if value > 0 {
            return Err(ConfigError { field: "kernel (wrong results)", value, min: 0, max: 0 });
        }
        self.thresholds.map_or(Ok(()), |thresholds| thresholds.check())?;
        self.events.map_or(Ok(()), |events| events.check())?;
        self.pulses.iter().flatten().try_for_each(|pulses| pulses.check(config))
    }
}
