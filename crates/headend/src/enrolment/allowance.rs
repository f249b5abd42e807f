//! An operator's word that a meter is to be enrolled, for the first time or anew: an empty file with its name in the
//! head-end's folder, so that giving it needs neither a running head-end nor a way into it. It ends when the meter uses
//! its new identity.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use meterseal_model::MeterId;

/// The folder of allowances in a head-end's data folder.
pub fn folder(headend: &Path) -> PathBuf {
    headend.join("enrol")
}

/// Allows a meter to be enrolled once. `false`: it was allowed already.
///
/// # Errors
/// The system's.
pub fn give(folder: &Path, meter: MeterId) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(meter.to_string()));
    match file {
        Ok(file) => file.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a meter may be enrolled.
pub fn stands(folder: &Path, meter: MeterId) -> bool {
    folder.join(meter.to_string()).exists()
}

/// Takes the word back. `false`: there was none.
///
/// # Errors
/// The system's.
pub fn withdraw(folder: &Path, meter: MeterId) -> io::Result<bool> {
    match fs::remove_file(folder.join(meter.to_string())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
