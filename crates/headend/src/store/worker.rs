//! Two threads beside the async world: one writes, with as many waiting jobs as there are in one commit; one
//! reads, so that a chart never holds up an alarm. A job's answer is sent only after its commit.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{StoreError, schema};

/// Jobs that may wait before callers do.
const QUEUE: usize = 1024;

/// Jobs in one commit: enough to make commits cheap, few enough that the first does not wait long.
const BATCH: usize = 256;

/// What is left to do once the batch's fate is known: tell the caller.
type Finish = Box<dyn FnOnce(Option<StoreError>) + Send>;

/// Work inside a transaction; without a connection there is no transaction, and the work is not done.
type Job = Box<dyn FnOnce(Option<&Connection>) -> Finish + Send>;

/// A thread that owns one connection.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    path: PathBuf,
}

impl Worker {
    /// Starts the thread that writes.
    pub(super) fn writer(path: &Path, connection: Connection) -> Result<(Self, JoinHandle<()>), StoreError> {
        Self::spawn("store-writer", path, move |path, jobs| write(path, connection, jobs))
    }

    /// Starts the thread that reads.
    pub(super) fn reader(path: &Path) -> Result<(Self, JoinHandle<()>), StoreError> {
        let connection = schema::open_reader(path)?;
        Self::spawn("store-reader", path, move |_, mut jobs| {
            while let Some(job) = jobs.blocking_recv() {
                job(Some(&connection))(None);
            }
        })
    }

    fn spawn(
        name: &str,
        path: &Path,
        body: impl FnOnce(&Path, mpsc::Receiver<Job>) + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let owned = path.to_path_buf();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(&owned, receiver))
            .map_err(|source| StoreError::Io { path: path.to_path_buf(), source })?;
        Ok((Self { jobs: sender, path: path.to_path_buf() }, thread))
    }

    /// Runs `work` on the thread and waits until its outcome is durable.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |connection| {
            let result = match connection {
                Some(connection) => in_savepoint(connection, work).map_err(|failure| failure.at(&path)),
                None => Err(StoreError::Closed),
            };
            Box::new(move |batch_failed| {
                let result = match batch_failed {
                    Some(error) => Err(error),
                    None => result,
                };
                // A caller that went away no longer cares; what it asked for is done all the same.
                let _ = answer.send(result);
            })
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }
}

/// Why a job failed, before the path is known.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Value(&'static str),
    Store(StoreError),
}

impl Failure {
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(source) => StoreError::from_sqlite(path, source),
            Self::Value(what) => StoreError::Value { path: path.to_path_buf(), what },
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

/// One job's failure undoes that job only, not its neighbours in the batch.
fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    connection.execute_batch("SAVEPOINT job")?;
    let result = work(connection);
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    // After some errors (a full disk) SQLite has already rolled everything back: then the commit fails too.
    let ended = connection.execute_batch(end);
    let value = result?;
    ended?;
    Ok(value)
}

fn write(path: &Path, connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut finishes = Vec::with_capacity(BATCH);
    while let Some(first) = jobs.blocking_recv() {
        let mut failed = connection.execute_batch("BEGIN IMMEDIATE").err();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            // A full disk makes SQLite roll the whole transaction back by itself: what follows must not run
            // outside one.
            let in_transaction = failed.is_none() && !connection.is_autocommit();
            finishes.push(job(in_transaction.then_some(&connection)));
            if finishes.len() < BATCH {
                next = jobs.try_recv().ok();
            }
        }
        if failed.is_none() {
            failed = connection.execute_batch("COMMIT").err();
        }
        if failed.is_some() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        for finish in finishes.drain(..) {
            finish(failed.as_ref().map(|error| StoreError::from_sqlite(path, again(error))));
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, database = %path.display(), "the database did not close cleanly; it is repaired at the next start");
    }
}

/// `rusqlite::Error` cannot be cloned; everyone in a failed batch gets the code and the text.
fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}
