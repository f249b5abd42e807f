//! Lists in a folder, watched: what `meterseal pki revoke` writes takes effect where it is read.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{ListError, Loaded, Revocations, list_from_pem};
use crate::pki::{moment, read_list_file};

/// Looks every two seconds for new lists (`*.crl.pem`) in `dir` and puts them into effect, for ever. Cancel by
/// dropping. A list that cannot be used is logged (target `meterseal::revocation`) and changes nothing; lists whose
/// successor is overdue go on being applied and are logged once an hour.
pub async fn watch(dir: PathBuf, revocations: Revocations) -> Infallible {
    let mut seen = HashMap::new();
    let mut complained = None;
    loop {
        // Reading and verifying a list of a hundred thousand entries takes some 50 ms: not on a thread of connections.
        let (dir, lists) = (dir.clone(), revocations.clone());
        let looked = tokio::task::spawn_blocking(move || {
            look(&dir, &lists, &mut seen);
            seen
        });
        seen = looked.await.unwrap_or_default();
        let now = SystemTime::now();
        let due =
            complained.is_none_or(|last: SystemTime| now.duration_since(last).is_ok_and(|age| age > HOUR));
        let stale = if due { revocations.stale(now) } else { Vec::new() };
        for list in &stale {
            complained = Some(now);
            tracing::warn!(
                target: LOG, issuer = list.issuer, since = moment(list.since),
                "the list of revoked certificates should have been replaced; it goes on being applied, but later revocations may be missing: run `meterseal pki refresh`"
            );
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Puts the lists that lie in `dir` at this moment into effect, for one who looks once. Lists of other authorities, and
/// older ones, change nothing.
///
/// # Errors
/// [`FolderError`] when a list cannot be read or was damaged: whoever goes on then does so without it.
pub fn load_folder(dir: &Path, revocations: &Revocations) -> Result<(), FolderError> {
    let failed = |path: &Path, why: String| FolderError { path: path.to_owned(), why };
    let entries = fs::read_dir(dir).map_err(|error| failed(dir, error.to_string()))?;
    for path in lists(entries) {
        let text = read_list_file(&path).map_err(|error| failed(&path, error.to_string()))?;
        let der = list_from_pem(&text).map_err(|error| failed(&path, error.to_string()))?;
        match revocations.load(&der) {
            Ok(_) | Err(ListError::UnknownIssuer { .. } | ListError::Older { .. }) => {}
            Err(error) => return Err(failed(&path, error.to_string())),
        }
    }
    Ok(())
}

/// A list in a folder that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of revoked certificates {} cannot be used: {why}; get it anew from its authority", path.display())]
pub struct FolderError {
    /// The file, or the folder.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

/// The files of lists in a folder.
fn lists(entries: fs::ReadDir) -> impl Iterator<Item = PathBuf> {
    entries.flatten().map(|entry| entry.path()).filter(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(".crl.pem") && !name.starts_with('.'))
    })
}

/// What tells a file from its successor without reading it.
type Mark = (SystemTime, u64, u64);

fn look(dir: &Path, revocations: &Revocations, seen: &mut HashMap<PathBuf, Mark>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in lists(entries) {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let mark = (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), metadata.ino());
        if seen.get(&path) == Some(&mark) {
            continue;
        }
        let loaded = read_list_file(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| list_from_pem(&text).map_err(|error| error.to_string()))
            .and_then(|der| revocations.load(&der).map_err(|error| error.to_string()));
        match loaded {
            Ok(Loaded::New { issuer, number, revoked }) => {
                tracing::info!(target: LOG, issuer, number, revoked, "a new list of revoked certificates is in effect");
            }
            Ok(Loaded::Same) => {}
            Err(problem) => tracing::error!(
                target: LOG, path = %path.display(),
                "a list of revoked certificates is not used, and the one before stays in effect: {problem}"
            ),
        }
        seen.insert(path, mark);
    }
}

const LOG: &str = "meterseal::revocation";
/// How soon a new list is noticed.
const PERIOD: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);
