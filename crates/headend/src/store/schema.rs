//! Opening the database: lock, version, settings, tables.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// Format number of the database (`PRAGMA user_version`).
pub(super) const FORMAT: i64 = 1;

/// "MSLH": marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x4D53_4C48;

/// Above this size the check at start would take seconds; damage then shows when a page is read.
const CHECK_UP_TO_BYTES: u64 = 256 << 20;

/// Takes the lock that keeps a second head-end out. It is held as long as the file lives.
pub(super) fn lock(database: &Path) -> Result<File, StoreError> {
    let path = database.with_extension("lock");
    let io = |source| StoreError::Io { path: path.clone(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(
            |source| match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    StoreError::ReadOnly { path: database.to_path_buf() }
                }
                std::io::ErrorKind::StorageFull => StoreError::Full { path: database.to_path_buf() },
                _ => io(source),
            },
        )?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: database.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Opens the database for writing, and makes its tables when it is new.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::from_sqlite(path, source);
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
    check_identity(path, &connection)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // FULL: a commit has reached the disk when it returns. The acknowledgement to a meter says just that.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(failed)?;
    // After a burst the write-ahead log shrinks back to this many bytes.
    connection.pragma_update(None, "journal_size_limit", 16 << 20).map_err(failed)?;
    let fresh = version(path, &connection)? == 0;
    if fresh {
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
            ))
            .map_err(failed)?;
    } else {
        // Proves now, not at the first reading, that the file can be written.
        connection
            .execute_batch("BEGIN IMMEDIATE; UPDATE meter SET name = name WHERE 0; COMMIT;")
            .map_err(failed)?;
    }
    // Came after the format and change nothing in it: an older program leaves them alone.
    connection.execute_batch(LATER_TABLES).map_err(failed)?;
    connection.execute_batch(super::alarms::TABLES).map_err(failed)?;
    connection.execute_batch(super::witness::TABLES).map_err(failed)?;
    connection.execute_batch(super::campaigns::TABLES).map_err(failed)?;
    let adopted = connection
        .unchecked_transaction()
        .map_err(super::worker::Failure::from)
        .and_then(|transaction| super::alarms::adopt(&transaction).and_then(|()| Ok(transaction.commit()?)));
    adopted.map_err(|failure| failure.at(path))?;
    Ok(connection)
}

/// Opens a second connection that only reads, so that a long query never delays an alarm.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::from_sqlite(path, source);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
    Ok(connection)
}

/// Refuses a database that is not ours or of another format; writes nothing.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let connection = open_reader(path)?;
    check_identity(path, &connection)?;
    let found = version(path, &connection)?;
    if found == FORMAT {
        return Ok(());
    }
    Err(StoreError::Version { path: path.to_path_buf(), found, expected: FORMAT })
}

/// Refuses a file that is not ours, of another format, or damaged, before anything is written to it.
fn check_identity(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(path, source);
    let found = version(path, connection)?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if found == 0 && application == 0 && tables == 0 {
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_path_buf() });
    }
    if found != FORMAT {
        return Err(StoreError::Version { path: path.to_path_buf(), found, expected: FORMAT });
    }
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    if size <= CHECK_UP_TO_BYTES {
        let verdict: String =
            connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt { path: path.to_path_buf(), detail: verdict });
        }
    }
    Ok(())
}

fn version(path: &Path, connection: &Connection) -> Result<i64, StoreError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|source| StoreError::from_sqlite(path, source))
}

/// Times are Unix milliseconds (`_ms`), energies millionths of a watt-hour or var-hour (`_micro`).
const TABLES: &str = "
CREATE TABLE meter (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    site TEXT NOT NULL,
    is_virtual INTEGER NOT NULL,
    time_base TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'never',
    since_ms INTEGER,
    reason TEXT,
    last_seen_ms INTEGER,
    device_type TEXT,
    firmware_version TEXT,
    firmware_digest BLOB,
    committed_security_log INTEGER NOT NULL DEFAULT 0,
    committed_load_profile INTEGER NOT NULL DEFAULT 0,
    invocation_ceiling INTEGER NOT NULL DEFAULT 1,
    response_counter INTEGER NOT NULL DEFAULT 0,
    push_counter INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE live_reading (
    meter TEXT NOT NULL REFERENCES meter (id),
    at_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    frequency REAL NOT NULL,
    v1 REAL NOT NULL, v2 REAL NOT NULL, v3 REAL NOT NULL,
    a1 REAL NOT NULL, a2 REAL NOT NULL, a3 REAL NOT NULL,
    p1 REAL NOT NULL, p2 REAL NOT NULL, p3 REAL NOT NULL,
    p REAL NOT NULL,
    q REAL NOT NULL,
    power_factor REAL,
    active_import_micro INTEGER NOT NULL,
    active_export_micro INTEGER NOT NULL,
    reactive_import_micro INTEGER NOT NULL,
    reactive_export_micro INTEGER NOT NULL,
    PRIMARY KEY (meter, at_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE load_profile (
    meter TEXT NOT NULL REFERENCES meter (id),
    sequence INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    active_import_micro INTEGER NOT NULL,
    active_export_micro INTEGER NOT NULL,
    reactive_import_micro INTEGER NOT NULL,
    reactive_export_micro INTEGER NOT NULL,
    mean_millivolts_1 INTEGER NOT NULL,
    mean_millivolts_2 INTEGER NOT NULL,
    mean_millivolts_3 INTEGER NOT NULL,
    status INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (meter, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX load_profile_by_time ON load_profile (meter, at_ms);

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    meter TEXT NOT NULL REFERENCES meter (id),
    sequence INTEGER NOT NULL,
    code INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    uptime_ms INTEGER NOT NULL,
    extreme_micro INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    UNIQUE (meter, sequence)
) STRICT;
CREATE INDEX event_by_meter ON event (meter, id);

CREATE TABLE alarm (
    meter TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    raised_ms INTEGER NOT NULL,
    acknowledged_ms INTEGER,
    acknowledged_by TEXT,
    PRIMARY KEY (meter, sequence),
    FOREIGN KEY (meter, sequence) REFERENCES event (meter, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX alarm_open ON alarm (meter) WHERE acknowledged_ms IS NULL;
";

/// Rows of other makers' load profiles: one per time and column, the value × 10^scaler in the unit with this number.
/// Enrolment: the certificate that a meter was last seen to use, and one that was made for it since.
const LATER_TABLES: &str = "
CREATE TABLE IF NOT EXISTS enrolment (
    meter TEXT PRIMARY KEY NOT NULL REFERENCES meter (id),
    state TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    reason TEXT,
    serial TEXT,
    not_before_ms INTEGER,
    not_after_ms INTEGER,
    issued_serial TEXT
) STRICT, WITHOUT ROWID;


CREATE TABLE IF NOT EXISTS other_profile (
    meter TEXT NOT NULL REFERENCES meter (id),
    at_ms INTEGER NOT NULL,
    obis TEXT NOT NULL,
    value INTEGER NOT NULL,
    scaler INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (meter, at_ms, obis)
) STRICT, WITHOUT ROWID;
";
