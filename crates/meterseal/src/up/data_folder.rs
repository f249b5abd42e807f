//! The data folder: one per installation, one process at a time, one format version.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A data folder that is ours as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// The layout's version, in the file `VERSION`.
const FORMAT: &str = "meterseal-data 1";

impl DataFolder {
    /// Opens the folder, or makes it where there is none. Everything in it is for its owner only.
    pub(crate) fn open(path: &Path) -> Result<Self, DataFolderError> {
        let fail = |what: &'static str, at: PathBuf| {
            move |source: io::Error| DataFolderError::Io { what, path: at, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail("make", path.to_owned()))?;
        let path = path.canonicalize().map_err(fail("find", path.to_owned()))?;

        let version_file = path.join("VERSION");
        match fs::read_to_string(&version_file) {
            Ok(found) if found.trim_end() == FORMAT => {}
            Ok(found) => {
                let found: String = found.trim_end().chars().take(40).collect();
                return Err(DataFolderError::Version { path, found });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut entries = fs::read_dir(&path).map_err(fail("list", path.clone()))?;
                // `lock` and a half-written VERSION may stand there from a first start that was killed.
                let ours = ["lock", "VERSION.new"];
                if entries.any(|e| e.is_ok_and(|e| !ours.iter().any(|name| e.file_name() == *name))) {
                    return Err(DataFolderError::Foreign { path });
                }
            }
            Err(error) => return Err(fail("read", version_file)(error)),
        }

        let lock_file = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_file)
            .map_err(fail("open", lock_file.clone()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataFolderError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(fail("lock", lock_file)(error)),
        }
        if !version_file.exists() {
            write_private(&version_file, format!("{FORMAT}\n").as_bytes())
                .map_err(fail("write", version_file.clone()))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The folder itself, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder inside, made where it is missing.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, DataFolderError> {
        let path = self.path.join(name);
        Self::private_folder(&path)?;
        Ok(path)
    }

    /// Makes a folder for its owner only, where it is missing.
    pub(crate) fn private_folder(path: &Path) -> Result<(), DataFolderError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| DataFolderError::Io {
            what: "make",
            path: path.to_owned(),
            source,
        })
    }
}

/// Writes a file that only its owner can read: whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// The system refused.
    #[error("cannot {what} {path}: {source}; check its owner, its permissions and the room on its disk, or choose another folder with --data", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// Made by another version of the program.
    #[error("the data folder {path} has the format `{found}`, this program knows `{FORMAT}`; use the program that made it, or choose another folder with --data", path = path.display())]
    Version { path: PathBuf, found: String },
    /// Somebody else's files.
    #[error("{path} is not empty and is not a Meterseal data folder; choose an empty or a new folder with --data", path = path.display())]
    Foreign { path: PathBuf },
    /// Two processes.
    #[error("the data folder {path} is in use by another `meterseal up`; stop that one, or choose another folder with --data", path = path.display())]
    InUse { path: PathBuf },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_opens_again_but_not_twice_at_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataFolder::open(&path).unwrap();
        assert!(matches!(DataFolder::open(&path), Err(DataFolderError::InUse { .. })));
        drop(first);
        let again = DataFolder::open(&path).unwrap();
        assert_eq!(fs::metadata(again.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn another_version_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("VERSION"), "meterseal-data 2\n").unwrap();
        let message = DataFolder::open(parent.path()).unwrap_err().to_string();
        assert!(message.contains("meterseal-data 2") && message.contains("meterseal-data 1"), "{message}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn somebody_elses_folder_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(DataFolder::open(parent.path()), Err(DataFolderError::Foreign { .. })));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
