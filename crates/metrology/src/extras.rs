//! What a core can do beyond measuring: each is off unless it is asked for, and then costs nothing.

use crate::{Calibration, CalibrationError};

/// What [`Metrology::with_extras`](crate::Metrology::with_extras) adds to a core. By default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// The unit's calibration record as [`Calibration::decode`] read or refused it; `None` where there is none.
    /// [`Metrology::calibration_state`](crate::Metrology::calibration_state) says which it is.
    pub calibration: Option<Result<Calibration, CalibrationError>>,
}
