//! What can go wrong with the database: each error says what, where and what to do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another head-end has the database open.
    #[error("the database {} is in use by another head-end; stop that one, or use another data folder (--data)", .path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The database was written by another version.
    #[error("the database {} has format {found}, this program reads format {expected}; use the matching version of meterseal, or another data folder (--data)", .path.display())]
    Version {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// What this program reads.
        expected: i64,
    },
    /// The file belongs to another program.
    #[error("{} is an SQLite database of another program; move it away, or use another data folder (--data)", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Not writable.
    #[error("the database {} cannot be written: it or its folder is read-only; give this user write permission, or use another data folder (--data)", .path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// No room.
    #[error("no room to write the database {}: the disk is full; free some space; nothing that the meters hold is lost, it is read again", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Damaged.
    #[error("the database {} is damaged ({detail}); move it away and restore a backup, or start without it: the meters still hold their logs", .path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// The folder or a file in it cannot be used.
    #[error("cannot use {}: {source}; check that the folder exists and that this user may write to it", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A meter that was not registered with the store.
    #[error("the store does not know the meter {meter}; add it to the configuration")]
    UnknownMeter {
        /// The meter.
        meter: meterseal_model::MeterId,
    },
    /// A value that the database cannot hold or that makes no sense there.
    #[error("{what} in the database {} is out of range; this is a defect or a damaged file: keep a copy and report it", .path.display())]
    Value {
        /// The database.
        path: PathBuf,
        /// Which value.
        what: &'static str,
    },
    /// The 32-bit invocation counter of a meter's key is used up.
    #[error("the key of meter {meter} has no unused nonces left; give the meter new keys")]
    KeyUsedUp {
        /// The meter.
        meter: meterseal_model::MeterId,
    },
    /// The store was closed.
    #[error("the store is closed: the head-end is shutting down; start it again")]
    Closed,
    /// Anything else that SQLite reports.
    #[error("the database {} failed: {source}; see the log, and check the disk", .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Sorts SQLite's error by what a person can do about it.
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path },
            Some(ErrorCode::CannotOpen) => {
                Self::Io { source: std::io::Error::other(format!("SQLite cannot open it ({source})")), path }
            }
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, detail: source.to_string() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            _ => Self::Sqlite { path, source },
        }
    }
}
