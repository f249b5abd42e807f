//! What must outlive a run: the client's system title and invocation counter for a key, and the highest counters of
//! the meters that answered under it.
//!
//! Half of every nonce is the counter, so none may come twice, whatever happens: a block is written down as used before
//! its first number is sent, and the file is locked as long as the program runs. It is named after a digest of the
//! key, so two addresses of one meter share it.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use meterseal_model::SystemTitle;
use thiserror::Error;

use crate::client::GlobalKeys;
use crate::pki::{PkiError, read_secret, write_secret};

/// Counters set aside at a time: more than the longest operation, a profile in thousands of blocks, can spend.
pub const BLOCK: u32 = 8192;

/// Meters remembered under one key.
const METERS: usize = 1000;

/// Why counters cannot be kept.
#[derive(Debug, Error)]
pub enum CountersError {
    /// No folder for them.
    #[error("cannot make the folder {folder} for counters: {why}; choose another (--state)", folder = .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        why: String,
    },
    /// Their file cannot be read or written.
    #[error(transparent)]
    File(#[from] PkiError),
    /// What is in the file are no counters.
    #[error(
        "{path} is damaged; move it away and run again with --recover-counter, which asks the meter where its counter \
         stands",
        path = .0.display()
    )]
    Damaged(PathBuf),
    /// Somebody else uses the keys now.
    #[error(
        "another `meterseal dlms` or `certify` uses these keys now ({path} is locked); wait for it, since no counter may be used twice",
        path = .0.display()
    )]
    Locked(PathBuf),
    /// The lock file cannot be opened.
    #[error("cannot lock {path}: {why}", path = .path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Nothing random for a system title.
    #[error("the operating system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// Four thousand million messages.
    #[error("this key's invocation counters are used up; the meter needs new keys")]
    UsedUp,
}

type Result<T> = std::result::Result<T, CountersError>;

const FORMAT: &str = "meterseal dlms counters 1";

/// The counters of one key, locked.
#[derive(Debug)]
pub struct Counters {
    path: PathBuf,
    _lock: File,
    title: SystemTitle,
    /// The first counter that was never set aside.
    next: u32,
    /// The highest counter of each meter's responses.
    seen: Vec<(SystemTitle, u32)>,
}

impl Counters {
    /// Opens the file of these keys in `folder`, or makes it with a system title drawn at random.
    ///
    /// # Errors
    /// [`CountersError`]: it cannot be used, or somebody uses it.
    pub fn open(folder: &Path, keys: &GlobalKeys) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| CountersError::Folder { folder: folder.to_owned(), why: error.to_string() })?;
        let mut digest = digest::Context::new(&digest::SHA384);
        digest.update(b"meterseal dlms counters\0");
        digest.update(keys.encryption_key());
        let name = hex(&digest.finish().as_ref()[..16]);
        let path = folder.join(format!("{name}.counters"));
        let lock = lock(&folder.join(format!("{name}.lock")))?;
        if path.exists() {
            let text = read_secret(&path)?;
            let (title, next, seen) = parse(&text).ok_or_else(|| CountersError::Damaged(path.clone()))?;
            return Ok(Self { path, _lock: lock, title, next, seen });
        }
        // "MSC": a client of this program. Five random bytes keep two computers with one key apart.
        let mut title = *b"MSC\0\0\0\0\0";
        getrandom::fill(&mut title[3..]).map_err(CountersError::Random)?;
        Ok(Self { path, _lock: lock, title: SystemTitle(title), next: 1, seen: Vec::new() })
    }

    /// The client's system title.
    pub fn title(&self) -> SystemTitle {
        self.title
    }

    /// Where the counter stands: the next that is given.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Sets [`BLOCK`] counters aside and gives the first.
    ///
    /// # Errors
    /// [`CountersError`].
    pub fn reserve(&mut self) -> Result<u32> {
        let first = self.next;
        let next = first.checked_add(BLOCK).ok_or(CountersError::UsedUp)?;
        self.next = next;
        self.write()?;
        Ok(first)
    }

    /// Gives back what was set aside and not used, at the end of an orderly run.
    ///
    /// # Errors
    /// [`CountersError`].
    pub fn settle(&mut self, last_used: u32, meter: Option<(SystemTitle, u32)>) -> Result<()> {
        self.next = last_used.saturating_add(1).clamp(1, self.next);
        if let Some((meter, highest)) = meter {
            match self.seen.iter_mut().find(|(title, _)| *title == meter) {
                Some((_, seen)) => *seen = highest.max(*seen),
                None => {
                    if self.seen.len() >= METERS {
                        self.seen.remove(0);
                    }
                    self.seen.push((meter, highest));
                }
            }
        }
        self.write()
    }

    /// Moves forward so that the next counter is at least `next`; never back.
    ///
    /// # Errors
    /// [`CountersError`].
    pub fn raise(&mut self, next: u32) -> Result<()> {
        self.next = self.next.max(next);
        self.write()
    }

    /// The highest counter of a meter's responses.
    pub fn seen(&self, meter: SystemTitle) -> u32 {
        self.seen.iter().find(|(title, _)| *title == meter).map_or(0, |(_, highest)| *highest)
    }

    fn write(&self) -> Result<()> {
        let mut text = format!("{FORMAT}\ntitle {}\nnext {}\n", hex(&self.title.0), self.next);
        for (meter, highest) in &self.seen {
            // A String takes every write.
            let _ = writeln!(text, "seen {} {highest}", hex(&meter.0));
        }
        Ok(write_secret(&self.path, text.as_bytes())?)
    }
}

type Parsed = (SystemTitle, u32, Vec<(SystemTitle, u32)>);

fn parse(text: &str) -> Option<Parsed> {
    let mut lines = text.lines();
    if lines.next() != Some(FORMAT) {
        return None;
    }
    let title = system_title(lines.next()?.strip_prefix("title ")?)?;
    let next = lines.next()?.strip_prefix("next ")?.parse().ok().filter(|&next| next > 0)?;
    let seen = lines
        .map(|line| {
            let (meter, highest) = line.strip_prefix("seen ")?.split_once(' ')?;
            Some((system_title(meter)?, highest.parse().ok()?))
        })
        .collect::<Option<Vec<_>>>()?;
    Some((title, next, seen))
}

/// Sixteen hexadecimal digits.
pub fn system_title(text: &str) -> Option<SystemTitle> {
    let digits = text.as_bytes();
    if digits.len() != 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(|title| SystemTitle(title.to_be_bytes()))
}

fn lock(path: &Path) -> Result<File> {
    let cannot = |why: String| CountersError::Lock { path: path.to_owned(), why };
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = open.map_err(|error| cannot(error.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CountersError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(cannot(error.to_string())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Suite;
    use std::os::unix::fs::PermissionsExt as _;

    fn keys(byte: u8) -> GlobalKeys {
        GlobalKeys::new(Suite::Two, &[byte; 32], &[byte; 32]).unwrap()
    }

    #[test]
    fn no_counter_is_given_twice_even_by_a_run_that_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Counters::open(folder.path(), &keys(1)).unwrap();
        let title = run.title();
        assert_eq!(run.reserve().unwrap(), 1);
        drop(run); // killed: nothing is given back
        let mut run = Counters::open(folder.path(), &keys(1)).unwrap();
        assert_eq!((run.title(), run.reserve().unwrap()), (title, 1 + BLOCK));
        run.settle(BLOCK + 5, Some((SystemTitle(*b"abcdefgh"), 7))).unwrap();
        drop(run);
        let mut run = Counters::open(folder.path(), &keys(1)).unwrap();
        assert_eq!(run.reserve().unwrap(), BLOCK + 6);
        assert_eq!((run.seen(SystemTitle(*b"abcdefgh")), run.seen(title)), (7, 0));
        run.raise(5).unwrap();
        assert_eq!(run.next(), 2 * BLOCK + 6, "never back");
    }

    #[test]
    fn two_runs_at_once_are_kept_apart_and_other_keys_are_not_disturbed() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Counters::open(folder.path(), &keys(1)).unwrap();
        let error = Counters::open(folder.path(), &keys(1)).unwrap_err();
        assert!(error.to_string().contains("another `meterseal dlms`"), "{error}");
        Counters::open(folder.path(), &keys(2)).unwrap();
    }

    #[test]
    fn the_file_is_private_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Counters::open(folder.path(), &keys(1)).unwrap();
        run.reserve().unwrap();
        let path = run.path.clone();
        drop(run);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for damaged in [
            "",
            "title",
            "meterseal dlms counters 1\ntitle zz\nnext 1\n",
            "meterseal dlms counters 1\ntitle 0011223344556677\nnext 0\n",
        ] {
            write_secret(&path, damaged.as_bytes()).unwrap();
            let error = Counters::open(folder.path(), &keys(1)).unwrap_err();
            assert!(format!("{error:#}").contains("--recover-counter"), "{error:#}");
        }
    }

    #[test]
    fn a_used_up_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Counters::open(folder.path(), &keys(1)).unwrap();
        run.raise(u32::MAX - 3).unwrap();
        assert!(run.reserve().unwrap_err().to_string().contains("new keys"));
    }
}
