//! A calibrated unit's way to the slots: temperature, and frames through offsets and delays.

use super::Metrology;
use crate::{
    Calibration, CalibrationState, ConfigError, Frame, Harmonics, Window,
    delay::{HISTORY, PIECE},
    harmonics::Outlet,
};

impl Metrology {
    /// Takes the temperature of the unit's front end. The calibration's coefficients follow it from the next supply cycle on; until the first call
    /// they are those of the record's reference temperature.
    ///
    /// # Errors
    /// A temperature outside 200 to 400 K, which no unit survives: a broken thermometer. The one before stays.
    pub fn set_temperature(&mut self, millikelvin: u32) -> Result<(), ConfigError> {
        let (min, max) = (Calibration::TEMPERATURE_MIN_MILLIKELVIN, Calibration::TEMPERATURE_MAX_MILLIKELVIN);
        if !(min..=max).contains(&millikelvin) {
            let [value, min, max] = [millikelvin, min, max].map(u64::from);
            return Err(ConfigError { field: "temperature_millikelvin", value, min, max });
        }
        if let Some(correction) = &mut self.correction {
            correction.set_temperature(millikelvin);
            self.calibration = CalibrationState::Valid { extrapolated: correction.is_extrapolated() };
        }
        Ok(())
    }

    /// Whether there is a calibration record, and if not, why.
    pub fn calibration_state(&self) -> CalibrationState {
        self.calibration
    }

    /// The way through offsets and delays. A piece never goes beyond the slot's end, where coefficients may change; around clipped frames and
    /// corrected counts beyond full scale a piece is one frame, so that block sizes change nothing.
    pub(super) fn correct(&mut self, mut frames: &[Frame], whole: bool, outlet: &mut Outlet<'_>) {
        let mut out = [Frame::default(); PIECE];
        while let Some(first) = frames.first() {
            let single = !whole || self.clipped_reach > 0;
            let length = if single { 1 } else { self.slot.missing().min(frames.len()).min(PIECE) };
            let (piece, rest) = frames.split_at(length);
            frames = rest;
            self.clipped_reach = self.clipped_reach.saturating_sub(1);
            let clamped = [first.clamped()];
            if single && first.is_clipped() {
                self.clipped_samples += 1;
                self.clipped_reach = HISTORY + 1;
            }
            let Some(correction) = &mut self.correction else { return };
            let ready =
                correction.conditioner.take(if single { &clamped } else { piece }, &self.kernel, &mut out);
            self.run_corrected(ready, self.clipped_reach > 0, outlet);
        }
    }

    fn run_corrected(&mut self, frames: &[Frame], clipped: bool, outlet: &mut Outlet<'_>) {
        if !(self.kernel.any_clipped)(frames) {
            return self.run(frames, clipped, outlet);
        }
        for frame in frames {
            self.run(&[frame.clamped()], clipped || frame.is_clipped(), outlet);
        }
    }

    /// At the end of a record: the frames that the delays still hold. They may complete a window.
    pub(super) fn finish_correction(&mut self) -> Option<Window> {
        let mut out = [Frame::default(); PIECE];
        let mut completed = None;
        let reach = core::mem::take(&mut self.clipped_reach);
        if let Some(correction) = &mut self.correction {
            let held = correction.conditioner.finish(&self.kernel, &mut out);
            let on_window = &mut |window: &Window, _: Option<&Harmonics>| completed = Some(*window);
            self.run_corrected(held, reach > 0, &mut Outlet { on_window, analysis: None });
        }
        completed
    }
}
