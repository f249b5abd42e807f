//! How another maker's meter is written down: two files in a folder, made by `meterseal headend add-meter`, so that
//! adding one needs neither a running head-end nor a way into it.
//!
//! `ID.json` says where and how, `ID.key` (0600) holds keys or password. Both appear whole or not at all.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use meterseal_link::client::{GlobalKeys, LoginError, Password, Suite};
use meterseal_link::pki::{PkiError, read_secret, write_secret};
use meterseal_link::reach::MeterAddress;
use meterseal_model::{MeterId, SystemTitle};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The most meters that a folder may hold.
pub const METERS: usize = 1000;

/// Another maker's meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherEntry {
    /// The identifier that this head-end gives it: three letters of its maker and ten digits.
    pub id: MeterId,
    /// What people call it.
    pub name: String,
    /// Where it listens: the plain TCP wrapper.
    pub address: MeterAddress,
    /// The client's address at this meter.
    pub client: u16,
    /// Its logical device.
    pub server: u16,
    /// How the head-end logs in.
    pub security: OtherSecurity,
    /// The system title that it must have, where one was given.
    pub title: Option<SystemTitle>,
    /// Seconds between two readings.
    pub period_seconds: u32,
}

/// How the head-end logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherSecurity {
    /// Low-level security: a password in the clear.
    Low,
    /// HLS-5 (GMAC) with this suite.
    Gmac(Suite),
}

impl OtherSecurity {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Low => "low-level security: a password, nothing encrypted".to_owned(),
            Self::Gmac(suite) => {
                let bits = suite.key_bytes() * 8;
                format!("HLS-5, security suite {} (AES-{bits})", suite.number())
            }
        }
    }
}

/// The secret that belongs to an entry.
#[derive(Clone, Debug)]
pub(crate) enum OtherSecret {
    Password(Password),
    Keys(GlobalKeys),
}

/// Why an entry cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A file or the folder.
    #[error("{path} cannot be used: {source}; check its owner and permissions", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key file.
    #[error(transparent)]
    Secret(#[from] PkiError),
    /// What is in a key file.
    #[error("{path} cannot be used: {source}", path = path.display())]
    Login {
        /// Which.
        path: PathBuf,
        /// Why.
        source: LoginError,
    },
    /// What is in an entry.
    #[error("{path} is damaged: {what}; remove the meter and add it again", path = path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Nobody opted in.
    #[error("{path} does not say that its meter is known not to conform; add it with --i-know-it-does-not-conform", path = path.display())]
    NoOptIn {
        /// Which.
        path: PathBuf,
    },
    /// There is one already.
    #[error("the meter {id} was added before; remove it first")]
    Known {
        /// Which.
        id: MeterId,
    },
    /// There is none.
    #[error("no meter {id} was added")]
    Unknown {
        /// Which.
        id: MeterId,
    },
    /// Too many.
    #[error("more than {METERS} meters of other makers; remove some")]
    TooMany,
}

/// The folder of other makers' meters in a head-end's data folder.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("others")
}

/// Writes an entry down. `secret` are the keys in hexadecimal digits, or the password. Whoever calls has asked the
/// person whether they know that the meter does not conform.
///
/// # Errors
/// [`EntryError`]; nothing is left behind.
pub fn add(folder: &Path, entry: &OtherEntry, secret: &str) -> Result<(), EntryError> {
    check(entry.security, secret)
        .map_err(|source| EntryError::Login { path: "the secret".into(), source })?;
    let io = |source| EntryError::Io { path: folder.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let file = entry_file(folder, entry.id);
    if file.exists() {
        return Err(EntryError::Known { id: entry.id });
    }
    if list(folder)?.len() >= METERS {
        return Err(EntryError::TooMany);
    }
    write_secret(&secret_file(folder, entry.id), secret.as_bytes())?;
    let json = serde_json::to_string_pretty(&Written::from(entry))
        .map_err(|error| EntryError::Malformed { path: file.clone(), what: error.to_string() })?;
    Ok(write_secret(&file, json.as_bytes())?)
}

/// Takes an entry and its secret away. What was read from the meter stays in the store.
///
/// # Errors
/// [`EntryError`].
pub fn remove(folder: &Path, id: MeterId) -> Result<(), EntryError> {
    let file = entry_file(folder, id);
    match fs::remove_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(EntryError::Unknown { id }),
        Err(source) => return Err(EntryError::Io { path: file, source }),
    }
    let secret = secret_file(folder, id);
    fs::remove_file(&secret).map_err(|source| EntryError::Io { path: secret, source })
}

/// Every entry in the order of identifiers, each with what is wrong with it.
///
/// # Errors
/// [`EntryError::Io`] when the folder cannot be listed; a folder that is not there holds none.
pub fn list(folder: &Path) -> Result<Vec<Result<OtherEntry, EntryError>>, EntryError> {
    let io = |source| EntryError::Io { path: folder.to_owned(), source };
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io(source)),
    };
    let mut found = Vec::new();
    for file in files {
        let path = file.map_err(io)?.path();
        let id =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<MeterId>().ok());
        if let Some(id) = id.filter(|_| path.extension().is_some_and(|extension| extension == "json")) {
            found.push((id, path));
        }
    }
    found.sort();
    found.truncate(METERS);
    Ok(found.into_iter().map(|(id, path)| read(&path, id)).collect())
}

/// Reads the secret of an entry.
pub(crate) fn secret(folder: &Path, entry: &OtherEntry) -> Result<OtherSecret, EntryError> {
    let path = secret_file(folder, entry.id);
    let text = read_secret(&path)?;
    check(entry.security, &text).map_err(|source| EntryError::Login { path, source })
}

fn check(security: OtherSecurity, text: &str) -> Result<OtherSecret, LoginError> {
    Ok(match security {
        OtherSecurity::Low => {
            OtherSecret::Password(Password::new(text.trim_end_matches(['\r', '\n']).as_bytes())?)
        }
        OtherSecurity::Gmac(suite) => OtherSecret::Keys(GlobalKeys::from_hex(suite, text)?),
    })
}

fn read(path: &Path, id: MeterId) -> Result<OtherEntry, EntryError> {
    let wrong = |what: String| EntryError::Malformed { path: path.to_owned(), what };
    let text: Zeroizing<String> = read_secret(path)?;
    let written: Written = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if !written.known_not_to_conform {
        return Err(EntryError::NoOptIn { path: path.to_owned() });
    }
    let entry = written.entry().map_err(wrong)?;
    if entry.id == id {
        Ok(entry)
    } else {
        Err(wrong(format!("it is named after another meter than {}", entry.id)))
    }
}

fn entry_file(folder: &Path, id: MeterId) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn secret_file(folder: &Path, id: MeterId) -> PathBuf {
    folder.join(format!("{id}.key"))
}

/// An entry as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    name: String,
    address: String,
    client: u16,
    server: u16,
    /// `lls` or `hls5`.
    security: String,
    suite: Option<u8>,
    system_title: Option<String>,
    period_seconds: u32,
    known_not_to_conform: bool,
}

impl From<&OtherEntry> for Written {
    fn from(entry: &OtherEntry) -> Self {
        let (security, suite) = match entry.security {
            OtherSecurity::Low => ("lls", None),
            OtherSecurity::Gmac(suite) => ("hls5", Some(suite.number())),
        };
        Self {
            id: entry.id.to_string(),
            name: entry.name.clone(),
            address: entry.address.to_string(),
            client: entry.client,
            server: entry.server,
            security: security.to_owned(),
            suite,
            system_title: entry.title.map(|title| format!("{:016x}", u64::from_be_bytes(title.0))),
            period_seconds: entry.period_seconds,
            known_not_to_conform: true,
        }
    }
}

impl Written {
    fn entry(self) -> Result<OtherEntry, String> {
        let security = match (self.security.as_str(), self.suite) {
            ("lls", None) => OtherSecurity::Low,
            ("hls5", Some(suite)) => OtherSecurity::Gmac(
                Suite::from_number(suite).ok_or(format!("there is no security suite {suite}"))?,
            ),
            _ => return Err("security is neither lls nor hls5 with a suite".to_owned()),
        };
        let title = self.system_title.map(|text| {
            let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
            let title = u64::from_str_radix(&text, 16).ok().filter(|_| digits);
            title.map(|title| SystemTitle(title.to_be_bytes())).ok_or("the system title is none".to_owned())
        });
        if self.period_seconds == 0 {
            return Err("the period is 0".to_owned());
        }
        Ok(OtherEntry {
            id: self.id.parse().map_err(|error| format!("{error}"))?,
            name: self.name,
            address: self.address.parse().map_err(|error| format!("{error}"))?,
            client: self.client,
            server: self.server,
            security,
            title: title.transpose()?,
            period_seconds: self.period_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> OtherEntry {
        OtherEntry {
            id: id.parse().unwrap(),
            name: "Old meter".to_owned(),
            address: "tcp://192.0.2.7:4059".parse().unwrap(),
            client: 1,
            server: 1,
            security: OtherSecurity::Gmac(Suite::Zero),
            title: Some(SystemTitle(*b"ABC12345")),
            period_seconds: 60,
        }
    }

    #[test]
    fn entries_are_added_listed_and_removed_with_their_secrets() {
        let parent = tempfile::tempdir().unwrap();
        let folder = folder(parent.path());
        assert!(list(&folder).unwrap().is_empty());
        let wrong = add(&folder, &entry("ABC0000000001"), &"11".repeat(64)).unwrap_err();
        assert!(wrong.to_string().contains("suite 0"), "{wrong}");
        for id in ["ABC0000000002", "ABC0000000001"] {
            add(&folder, &entry(id), &"11".repeat(32)).unwrap();
        }
        let again = add(&folder, &entry("ABC0000000001"), &"11".repeat(32));
        assert!(matches!(again, Err(EntryError::Known { .. })));
        let listed: Vec<_> = list(&folder).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(listed, [entry("ABC0000000001"), entry("ABC0000000002")]);
        assert!(matches!(secret(&folder, &listed[0]), Ok(OtherSecret::Keys(_))));
        remove(&folder, listed[0].id).unwrap();
        assert!(matches!(remove(&folder, listed[0].id), Err(EntryError::Unknown { .. })));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn an_entry_without_the_opt_in_or_with_nonsense_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = folder(parent.path());
        let entry = entry("ABC0000000001");
        add(&folder, &entry, &"11".repeat(32)).unwrap();
        let file = entry_file(&folder, entry.id);
        let good = fs::read_to_string(&file).unwrap();
        for (from, to, reason) in [
            (
                "\"known_not_to_conform\": true",
                "\"known_not_to_conform\": false",
                "--i-know-it-does-not-conform",
            ),
            ("ABC0000000001", "ABC0000000009", "another meter"),
            ("\"suite\": 0", "\"suite\": 7", "suite 7"),
            ("\"period_seconds\": 60", "\"period_seconds\": 0", "period"),
            ("tcp:", "http:", "address"),
            ("{", "", "damaged"),
        ] {
            write_secret(&file, good.replacen(from, to, 1).as_bytes()).unwrap();
            let error = list(&folder).unwrap().remove(0).unwrap_err().to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
