//! The certified product list: which device type with which firmware bears a valid mark. It is a folder (`marks/` in the
//! head-end's), so that adding a mark, or taking one back, needs neither a running head-end nor a way into it:
//!
//! - `*.cbor`: signed marks, and the signatories' lists of revoked marks;
//! - `*.pem`: certificates or public keys of further signatories that this utility believes;
//! - `DIGEST.withdrawn`: the utility's own word that it does not believe a mark any more: a line with the time, and why.
//!
//! The head-end looks there every second. Whoever is connected is judged anew at once when something changed.

pub(crate) mod renewal;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::chain::{CertificationKey, certification_key};
use meterseal_seal::mark::RevokedMark;
use meterseal_seal::{KeyId, Mark, MarkRevocations, MarkStore, Refusal, Scope, SealPublicKey, mark};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::{clock, stopped};

/// The folder of the list, in a head-end's data folder.
pub fn folder(data: &Path) -> PathBuf {
    data.join("marks")
}

/// What an entry of the list is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Valid.
    Valid,
    /// Not yet.
    NotYet,
    /// Not any more.
    Expired,
    /// Taken back: when and why.
    Revoked(UnixMillis, String),
    /// A file that is no mark, or one that nobody believed here signed: why.
    Unusable(String),
}

impl Standing {
    /// A short name, stable, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYet => "not_yet_valid",
            Self::Expired => "expired",
            Self::Revoked(..) => "revoked",
            Self::Unusable(_) => "unusable",
        }
    }
}

/// An entry of the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// SHA-384 of the file: the mark's name.
    pub name: Digest384,
    /// The file, in the folder; "built in" for what the head-end was started with.
    pub file: String,
    /// What it says, where it verifies.
    pub mark: Option<Mark>,
    /// The key that signed it.
    pub signer: Option<KeyId>,
    revoked: Option<RevokedMark>,
    problem: Option<String>,
}

impl Listed {
    /// What it is at a moment.
    pub fn standing(&self, now: UnixMillis) -> Standing {
        let Some(mark) = &self.mark else {
            return Standing::Unusable(self.problem.clone().unwrap_or_default());
        };
        match &self.revoked {
            Some(revoked) => Standing::Revoked(revoked.at, revoked.reason.clone()),
            None if now < mark.valid_from => Standing::NotYet,
            None if now >= mark.valid_until => Standing::Expired,
            None => Standing::Valid,
        }
    }
}

/// The list as it was read once. A snapshot: it does not change.
#[derive(Clone, Debug, Default)]
pub struct List {
    marks: MarkStore,
    /// Every entry, in the order of its files' names.
    pub entries: Vec<Listed>,
    /// Files that are neither marks nor keys, or cannot be read: name and what is wrong.
    pub problems: Vec<(String, String)>,
}

impl List {
    /// Reads the folder. `keys` are believed in any case, `built_in` are marks that need no file.
    ///
    /// # Errors
    /// The folder cannot be listed; a folder that is not there holds nothing.
    pub fn read(folder: &Path, keys: &[SealPublicKey], built_in: &[Vec<u8>]) -> std::io::Result<Self> {
        Self::read_with(folder, keys, built_in, Vec::new())
    }

    /// The same, as it would be with more files, given as their names and contents.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_with(
        folder: &Path,
        keys: &[SealPublicKey],
        built_in: &[Vec<u8>],
        mut files: Vec<(String, Vec<u8>)>,
    ) -> std::io::Result<Self> {
        let mut list = Self::default();
        for (name, path) in entries(folder)? {
            match read(&path) {
                Ok(bytes) => files.push((name, bytes)),
                Err(error) => list.problems.push((name, error.to_string())),
            }
        }
        files.sort();
        let believed = list.believed(keys, &files);
        let mut sealed: Vec<(String, Vec<u8>)> =
            built_in.iter().map(|bytes| ("built in".to_owned(), bytes.clone())).collect();
        sealed.extend(files.iter().filter(|(name, _)| name.ends_with(".cbor")).cloned());
        for (name, bytes) in &files {
            if let Some(stem) = name.strip_suffix(".withdrawn") {
                match withdrawn(stem, bytes) {
                    Some(revoked) => list.marks.revoke(revoked),
                    None => list.problems.push((name.clone(), "is not named by a mark's digest".to_owned())),
                }
            }
        }
        list.take_revocations(&believed, &sealed);
        for (name, bytes) in sealed {
            list.take_mark(&believed, name, &bytes);
        }
        Ok(list)
    }

    /// The mark that covers this firmware on this type of device; `hardware` where it is known.
    ///
    /// # Errors
    /// The [`Refusal`] that came closest.
    pub fn covers(
        &self,
        device_type: &str,
        hardware: Option<&str>,
        digest: &Digest384,
        scopes: &[Scope],
        now: UnixMillis,
    ) -> Result<&Mark, Refusal> {
        let verified = self.marks.admit(device_type, digest, scopes, now)?;
        match hardware {
            Some(hardware) if verified.mark().hardware != hardware => {
                // Another mark may be for that hardware.
                let other = self.entries.iter().filter(|listed| listed.standing(now) == Standing::Valid);
                let mut other = other.filter_map(|listed| listed.mark.as_ref());
                let fits = |mark: &&Mark| {
                    mark.device_type == device_type
                        && mark.hardware == hardware
                        && mark.firmware_digest == *digest
                        && scopes.contains(&mark.scope)
                };
                other
                    .find(fits)
                    .ok_or_else(|| Refusal::NoMark { device_type: format!("{device_type} ({hardware})") })
            }
            _ => Ok(verified.mark()),
        }
    }

    /// Keys that are believed, and until when, where a certificate says so.
    fn believed(&mut self, keys: &[SealPublicKey], files: &[(String, Vec<u8>)]) -> Believed {
        let mut believed = Believed { keys: keys.to_vec(), certified: Vec::new() };
        for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".pem")) {
            let text = String::from_utf8_lossy(bytes);
            if text.contains("BEGIN PUBLIC KEY") {
                match SealPublicKey::from_pem(&text) {
                    Ok(key) => believed.keys.push(key),
                    Err(error) => self.problems.push((name.clone(), error.to_string())),
                }
                continue;
            }
            match certificates(bytes) {
                Some(ders) if !ders.is_empty() => {
                    for der in &ders {
                        match certification_key(der, &ders) {
                            Ok(key) => believed.certified.push(key),
                            // A root below a certification key's certificate.
                            Err(_) if ders.len() > 1 => {}
                            Err(error) => self.problems.push((name.clone(), error.to_string())),
                        }
                    }
                }
                _ => self.problems.push((name.clone(), "holds no certificate and no public key".to_owned())),
            }
        }
        believed
    }

    /// Of each signatory's lists the newest counts; it speaks for that signatory's marks alone.
    fn take_revocations(&mut self, believed: &Believed, sealed: &[(String, Vec<u8>)]) {
        let keys = believed.all();
        let mut newest: HashMap<KeyId, MarkRevocations> = HashMap::new();
        for (name, bytes) in sealed.iter().filter(|(_, bytes)| is_list(bytes)) {
            match MarkRevocations::verify(bytes, &keys) {
                Ok(verified) => {
                    let known = newest.entry(verified.signer).or_default();
                    if known.number < verified.list.number {
                        *known = verified.list;
                    }
                }
                Err(error) => self.problems.push((name.clone(), error.to_string())),
            }
        }
        for (_, bytes) in sealed.iter().filter(|(_, bytes)| !is_list(bytes)) {
            let Ok(verified) = Mark::verify(bytes, &keys) else { continue };
            let list = newest.get(&verified.signer());
            if let Some(revoked) = list.and_then(|list| list.find(&verified.name())) {
                self.marks.revoke(revoked.clone());
            }
        }
    }

    fn take_mark(&mut self, believed: &Believed, file: String, bytes: &[u8]) {
        let name = mark::name_of(bytes);
        if is_list(bytes) || self.entries.iter().any(|listed| listed.name == name) {
            return;
        }
        let outlives = |mark: &Mark, signer: KeyId| {
            let own = believed.certified.iter().find(|certified| certified.key.key_id() == signer)?;
            let bare = believed.keys.iter().any(|key| key.key_id() == signer);
            let within = own.not_before <= mark.issued && mark.valid_until <= own.not_after;
            (!bare && !within)
                .then(|| format!("its key's certificate ends at {}, before the mark does", own.not_after))
        };
        let verified = match Mark::verify(bytes, &believed.all()) {
            Ok(verified) => match outlives(verified.mark(), verified.signer()) {
                None => Ok(verified),
                Some(problem) => Err(problem),
            },
            Err(error) => Err(error.to_string()),
        };
        let mut listed = Listed { name, file, mark: None, signer: None, revoked: None, problem: None };
        match verified {
            Ok(verified) => {
                listed.revoked = self.marks.revoked(&name).cloned();
                listed.signer = Some(verified.signer());
                listed.mark = Some(verified.mark().clone());
                if let Err(error) = self.marks.add(bytes, &believed.all()) {
                    listed.problem = Some(error.to_string());
                    listed.mark = None;
                }
            }
            Err(problem) => {
                // Remembered, so that a refusal can name the foreign key.
                let _ = self.marks.add(bytes, &believed.keys);
                listed.problem = Some(problem);
            }
        }
        self.entries.push(listed);
    }
}

/// Whom a head-end believes.
struct Believed {
    keys: Vec<SealPublicKey>,
    certified: Vec<CertificationKey>,
}

impl Believed {
    fn all(&self) -> Vec<SealPublicKey> {
        self.keys.iter().chain(self.certified.iter().map(|certified| &certified.key)).cloned().collect()
    }
}

/// The list of a running head-end.
#[derive(Debug)]
pub(crate) struct Products {
    folder: PathBuf,
    keys: Vec<SealPublicKey>,
    built_in: Vec<Vec<u8>>,
    list: RwLock<Arc<List>>,
    /// What the folder looked like when it was read.
    seen: Mutex<Vec<Look>>,
    changed: watch::Sender<u64>,
}

/// A file's name, length and time of its last change.
type Look = (String, u64, Option<SystemTime>);

impl Products {
    /// Reads the list of a data folder.
    pub(crate) fn open(data: &Path, keys: Vec<SealPublicKey>, built_in: Vec<Vec<u8>>) -> Self {
        let products = Self {
            folder: folder(data),
            keys,
            built_in,
            list: RwLock::default(),
            seen: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        products.read();
        products
    }

    /// The list as it is now.
    pub(crate) fn list(&self) -> Arc<List> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes when the list changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Follows the folder until the head-end stops.
    pub(crate) async fn watch(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let products = Arc::clone(&self);
            // A panic there has been told of; it is looked at again.
            let _ = tokio::task::spawn_blocking(move || products.look()).await;
        }
    }

    /// Withdraws a mark, at once.
    pub(crate) fn withdraw(&self, mark: &Digest384, reason: &str) -> std::io::Result<()> {
        write_withdrawal(&self.folder, mark, reason)?;
        self.read();
        Ok(())
    }

    fn look(&self) {
        let now = looks(&self.folder);
        if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != now {
            self.read();
        }
    }

    fn read(&self) {
        let seen = looks(&self.folder);
        let list = match List::read(&self.folder, &self.keys, &self.built_in) {
            Ok(list) => list,
            Err(error) => {
                // What was known goes on being known.
                tracing::error!(folder = %self.folder.display(), %error, "the marks cannot be read");
                return;
            }
        };
        for (file, problem) in &list.problems {
            tracing::warn!(file, problem, "a file among the marks cannot be used");
        }
        for listed in &list.entries {
            if let Some(problem) = &listed.problem {
                tracing::warn!(
                    file = listed.file,
                    problem,
                    "a mark cannot be used; meters that need it are in quarantine"
                );
            }
        }
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.changed.send_modify(|number| *number += 1);
    }
}

/// Writes the utility's word that it does not believe a mark any more.
///
/// # Errors
/// The file cannot be written.
pub fn withdraw(data: &Path, mark: &Digest384, reason: &str) -> std::io::Result<()> {
    write_withdrawal(&folder(data), mark, reason)
}

fn write_withdrawal(folder: &Path, mark: &Digest384, reason: &str) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{mark}.withdrawn"));
    let staged = path.with_extension("new");
    fs::write(&staged, format!("{}\n{reason}\n", clock::rfc3339(clock::now())))?;
    fs::rename(staged, path)
}

fn withdrawn(stem: &str, bytes: &[u8]) -> Option<RevokedMark> {
    let mark = digest(stem)?;
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let at = lines.next().and_then(|line| line.parse::<jiff::Timestamp>().ok());
    // Without a time it is withdrawn all the same.
    let at = at.map_or(UnixMillis(0), |at| UnixMillis(at.as_millisecond()));
    let words: String =
        lines.next().unwrap_or_default().chars().filter(|letter| !letter.is_control()).take(200).collect();
    let reason =
        if words.trim().is_empty() { "this utility withdrew it".to_owned() } else { words.trim().to_owned() };
    Some(RevokedMark { mark, at, reason })
}

/// A digest from its 96 hexadecimal digits.
pub fn digest(text: &str) -> Option<Digest384> {
    let mut bytes = [0; 48];
    if text.len() != 96 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(Digest384(bytes))
}

/// Whether a sealed file says that it is a list of revoked marks: its content type stands at its beginning.
fn is_list(bytes: &[u8]) -> bool {
    let wanted = mark::revocation::CONTENT_TYPE.as_bytes();
    bytes[..bytes.len().min(128)].windows(wanted.len()).any(|part| part == wanted)
}

fn certificates(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let read = CertificateDer::pem_slice_iter(bytes);
    read.map(|der| der.ok().map(|der| der.to_vec())).take(MAX_FILES).collect()
}

/// The files of the folder, sorted.
fn entries(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in listing.take(MAX_FILES) {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let ours = [".cbor", ".pem", ".withdrawn"].iter().any(|end| name.ends_with(end));
        if ours {
            found.push((name.to_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

fn looks(folder: &Path) -> Vec<Look> {
    let look = |(name, path): (String, PathBuf)| {
        let data = fs::metadata(path).ok();
        let length = data.as_ref().map_or(0, fs::Metadata::len);
        (name, length, data.and_then(|data| data.modified().ok()))
    };
    entries(folder).unwrap_or_default().into_iter().map(look).collect()
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other(format!("is longer than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// A mark that is taken back is out of effect within this time and the judging of those connected.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files that are looked at; a product list is far shorter.
const MAX_FILES: usize = 8192;

/// The longest file: a sealed one is at most 64 KiB.
const MAX_BYTES: u64 = 128 << 10;
