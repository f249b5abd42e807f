//! What the device finds in itself, and tells the meter to log.

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;

use crate::{Meter, Random, StorageError};

/// A fault that the device's own checks have found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program in memory is not what it should be.
    ProgramMemory,
    /// The working memory failed its test.
    Ram,
    /// The watchdog has started the device again.
    Watchdog,
    /// Firmware that was to be installed, or that was found at the start, failed its check.
    Firmware,
}

impl<F: NorFlash, R: Random> Meter<F, R> {
    /// Logs a fault that the device has found in itself. When this returns `Ok`, it is in flash.
    ///
    /// # Errors
    /// The flash failed; the event is kept and written by the next call that succeeds.
    pub fn report(&mut self, fault: Fault) -> Result<(), StorageError<F::Error>> {
        let code = match fault {
            Fault::ProgramMemory => EventCode::ProgramMemoryError,
            Fault::Ram => EventCode::RamError,
            Fault::Watchdog => EventCode::WatchdogReset,
            Fault::Firmware => EventCode::FirmwareRefused,
        };
        self.inner_mut().log(code, 0)
    }
}
