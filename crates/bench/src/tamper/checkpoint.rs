//! The watches of a normal life that are done, in a file: written beside and renamed, so that a power cut leaves the old
//! one or the new one.

use super::life::{Lived, Settings};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Why the file of a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error("the run's file {}: {source}; choose another place", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("the run's file {} is damaged ({why}); remove it to begin again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It belongs to another run.
    #[error("the run's file {} is of other settings or another version; give the same ones, or another file", path.display())]
    Other {
        /// Which.
        path: PathBuf,
    },
}

/// What the file holds. What was lived through with one version says nothing of another.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    version: Cow<'a, str>,
    settings: Cow<'a, Settings>,
    watches: Cow<'a, [Option<Lived>]>,
}

const VERSION: &str = concat!("1 ", env!("CARGO_PKG_VERSION"));

/// The watches that are done, of `count`; none if there is no file, which is then made: a place that cannot be written is
/// better known now than later.
pub(super) fn open(
    path: &Path,
    settings: &Settings,
    count: usize,
) -> Result<Vec<Option<Lived>>, CheckpointError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let none = vec![None; count];
            save(path, settings, &none)?;
            return Ok(none);
        }
        Err(source) => return Err(CheckpointError::File { path: path.into(), source }),
    };
    let damaged = |why: String| CheckpointError::Damaged { path: path.into(), why };
    let kept: Kept<'_> = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if kept.version != VERSION || *kept.settings != *settings {
        return Err(CheckpointError::Other { path: path.into() });
    }
    if kept.watches.len() != count {
        return Err(damaged(format!("{} watches, {count} are expected", kept.watches.len())));
    }
    Ok(kept.watches.into_owned())
}

/// Writes them.
pub(super) fn save(
    path: &Path,
    settings: &Settings,
    watches: &[Option<Lived>],
) -> Result<(), CheckpointError> {
    let fails = |source| CheckpointError::File { path: path.into(), source };
    let kept = Kept { version: VERSION.into(), settings: Cow::Borrowed(settings), watches: watches.into() };
    let text = serde_json::to_vec(&kept).map_err(|error| fails(error.into()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = std::fs::File::create(&beside).map_err(fails)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(fails)?;
    std::fs::rename(&beside, path).map_err(fails)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_comes_back_and_another_run_or_a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.json");
        let settings = Settings { hours: 16, seed: 3, fault: None };
        assert_eq!(open(&path, &settings, 2).expect("a new file"), [None, None]);
        let lived = Lived { watches: 1, frames: 7, happenings: vec![1, 2], ..Lived::default() };
        save(&path, &settings, &[None, Some(lived.clone())]).expect("a place to write");
        assert_eq!(open(&path, &settings, 2).expect("what was written"), [None, Some(lived)]);
        let other = Settings { seed: 4, ..settings.clone() };
        assert!(matches!(open(&path, &other, 2), Err(CheckpointError::Other { .. })));
        assert!(matches!(open(&path, &settings, 3), Err(CheckpointError::Damaged { .. })));
        std::fs::write(&path, b"{").expect("a place to write");
        assert!(matches!(open(&path, &settings, 2), Err(CheckpointError::Damaged { .. })));
    }
}
