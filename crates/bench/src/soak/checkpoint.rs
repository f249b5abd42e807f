//! The state of a soak in a file: the hours done, and the registers at the end of the last one. Written beside and renamed, so that a power cut leaves
//! the old one or the new one.

use super::Settings;
use meterseal_metrology::Registers;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A soak as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    settings: Settings,
    /// How often the run has been taken up again.
    pub resumed: u32,
    /// Each shift's hours.
    pub shifts: Vec<Shift>,
}

/// A shift as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The hours done.
    pub hours: Vec<Hour>,
    /// Frames that went through the core.
    pub frames: u64,
    /// No register has gone back.
    pub(super) kept: bool,
    /// What the registers hold beside the hours: from the start, and from each time that the run went on.
    pub(super) before_hours_watt_hours: f64,
    /// [`Registers::encode`], two digits a byte; empty before the first hour.
    registers: String,
}

/// One hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hour {
    /// From 0.
    pub number: u32,
    /// (registers − reference) / reference, per cent.
    pub error_percent: f64,
    /// What the registers grew by, net import.
    pub watt_hours: f64,
    /// What it should have been.
    pub reference_watt_hours: f64,
    /// The highest temperature that the unit's thermometer showed, °C.
    pub highest_celsius: f64,
}

/// Why a soak's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error("soak's file {}: {source}; choose another place", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("soak's file {} is damaged ({why}); remove it to begin again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It belongs to another run.
    #[error("soak's file {} is of a run with other settings; give the same ones, or another file", path.display())]
    Other {
        /// Which.
        path: PathBuf,
    },
    /// The registers in it are not registers.
    #[error("soak's file has registers that cannot be read ({0}); remove it to begin again")]
    Registers(String),
}

const FORMAT: u32 = 2;

impl State {
    /// Nothing done.
    pub(super) fn new(settings: &Settings) -> Self {
        let shift = Shift {
            hours: Vec::new(),
            frames: 0,
            kept: true,
            before_hours_watt_hours: 0.0,
            registers: String::new(),
        };
        let count = settings.bounds().len() - 1;
        Self { format: FORMAT, settings: settings.clone(), resumed: 0, shifts: vec![shift; count] }
    }

    /// The state in the file, or nothing done if there is none.
    pub(super) fn open(path: &Path, settings: &Settings) -> Result<Self, CheckpointError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A place that cannot be written is better known now than after an hour.
                let state = Self::new(settings);
                state.save(path)?;
                return Ok(state);
            }
            Err(source) => return Err(CheckpointError::File { path: path.into(), source }),
        };
        let damaged = |why: String| CheckpointError::Damaged { path: path.into(), why };
        // The format first: another one has other fields.
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if value["format"] != FORMAT {
            return Err(damaged(format!("format {}, this software has {FORMAT}", value["format"])));
        }
        let mut state: Self = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        if state.settings != *settings {
            return Err(CheckpointError::Other { path: path.into() });
        }
        let bounds = settings.bounds();
        let fits = state.shifts.len() + 1 == bounds.len()
            && state.shifts.iter().zip(bounds.windows(2)).all(|(shift, bounds)| {
                let numbers = shift.hours.iter().map(|hour| hour.number);
                shift.hours.len() <= (bounds[1] - bounds[0]) as usize
                    && numbers.eq((bounds[0]..).take(shift.hours.len()))
            });
        if !fits {
            return Err(damaged("its hours are not those of its shifts".into()));
        }
        if state.hours_done() > 0 && state.hours_done() < settings.hours {
            state.resumed += 1;
        }
        Ok(state)
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let fails = |source| CheckpointError::File { path: path.into(), source };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let text = serde_json::to_vec(self).map_err(|error| fails(error.into()))?;
        let mut file = std::fs::File::create(&beside).map_err(fails)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(fails)?;
        std::fs::rename(&beside, path).map_err(fails)
    }

    /// Hours done in all shifts.
    pub fn hours_done(&self) -> u32 {
        self.shifts.iter().map(|shift| shift.hours.len() as u32).sum()
    }
}

impl Shift {
    /// What the registers held at the end of the last hour.
    pub(super) fn registers(&self) -> Result<Registers, CheckpointError> {
        if self.registers.is_empty() {
            return Ok(Registers::default());
        }
        let digits =
            |at: usize| self.registers.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..self.registers.len()).step_by(2).map(digits).collect();
        let bytes = bytes.ok_or_else(|| CheckpointError::Registers("not hexadecimal".into()))?;
        Registers::decode(&bytes).map_err(|error| CheckpointError::Registers(error.to_string()))
    }

    pub(super) fn store(&mut self, registers: &Registers) {
        self.registers = registers.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    }

    /// No register went back, and the last ones hold the sum of all hours.
    pub(super) fn is_whole(&self) -> bool {
        let Ok(registers) = self.registers() else { return false };
        let net = registers.total_import_nanowatt_hours as f64 - registers.total_export_nanowatt_hours as f64;
        let sum = self.before_hours_watt_hours + self.hours.iter().map(|hour| hour.watt_hours).sum::<f64>();
        // A nano-watt-hour for each hour's rounding in this sum.
        self.kept && (net * 1e-9 - sum).abs() <= 1e-9 * (self.hours.len() as f64 + 1.0)
    }
}
