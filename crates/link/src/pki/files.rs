//! Files of keys and certificates: written whole or not at all, keys for their owner only, errors that say what to do.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::PkiError;

/// The longest file that is read: a chain of a few P-384 certificates takes 3 KiB.
const MAX_FILE: u64 = 64 * 1024;

/// Writes a file that only its owner may read: whole or not at all.
///
/// # Errors
/// [`PkiError`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    write_whole(path, bytes, 0o600)
}

/// Refuses a file that others could have read.
pub(crate) fn check_private(path: &Path) -> Result<(), PkiError> {
    let file = File::open(path).map_err(|error| cannot(path, "read", &error))?;
    let mode = file.metadata().map_err(|error| cannot(path, "read", &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(PkiError::new(path, format!("can be read by others (mode {:o})", mode & 0o777))
            .hint("make a new key, or run: chmod 600 on it if you are sure that nobody has"));
    }
    Ok(())
}

/// Writes a file that everybody may read.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    write_whole(path, bytes, 0o644)
}

/// Reads a key file, and refuses one that others could have read.
///
/// # Errors
/// [`PkiError`]: missing, unreadable, readable by others, or far too long for a key.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, PkiError> {
    check_private(path)?;
    let file = File::open(path).map_err(|error| cannot(path, "read", &error))?;
    read_bounded(path, file)
}

/// Reads a file that is no secret.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<String>, PkiError> {
    read_bounded(path, File::open(path).map_err(|error| cannot(path, "read", &error))?)
}

/// Reads a chain of certificates in PEM, at least one.
///
/// # Errors
/// [`PkiError`]: missing, unreadable, or no certificates.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let text = read_text(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => {
            Err(PkiError::new(path, "holds no certificate").hint("it must begin with BEGIN CERTIFICATE"))
        }
        Err(error) => Err(PkiError::new(path, format!("is no PEM file: {error}"))),
    }
}

/// Reads a file of up to `max` bytes that is no secret; `None` where there is none.
pub(crate) fn read_long(path: &Path, max: u64) -> Result<Option<String>, PkiError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(path, "read", &error)),
    };
    let mut text = String::new();
    file.take(max + 1).read_to_string(&mut text).map_err(|error| cannot(path, "read", &error))?;
    if text.len() as u64 > max {
        return Err(PkiError::new(path, format!("is longer than {max} bytes")));
    }
    Ok(Some(text))
}

/// Reads a file of any content, up to `max` bytes.
pub(crate) fn read_bytes(path: &Path, max: u64) -> Result<Vec<u8>, PkiError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| cannot(path, "read", &error))?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(|error| cannot(path, "read", &error))?;
    if bytes.len() as u64 > max {
        return Err(PkiError::new(path, format!("is longer than {max} bytes")));
    }
    Ok(bytes)
}

/// Adds to the end of a file that everybody may read, and waits until it is on the disk.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let failed = |error: io::Error| cannot(path, "write", &error);
    let mut file = OpenOptions::new().append(true).create(true).mode(0o644).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(failed)
}

/// Waits until nobody else changes the folder; it is ours until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, PkiError> {
    let path = dir.join("lock");
    let failed = |error: io::Error| cannot(&path, "lock", &error);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// A new empty folder beside `dir`, for its owner only.
pub(super) fn staging_dir(dir: &Path) -> Result<PathBuf, PkiError> {
    let parent = parent_of(dir);
    fs::create_dir_all(parent).map_err(|error| cannot(parent, "create", &error))?;
    let staging = temporary_beside(dir)?;
    fs::DirBuilder::new().mode(0o700).create(&staging).map_err(|error| cannot(&staging, "create", &error))?;
    Ok(staging)
}

/// Gives the staging folder its name.
pub(super) fn publish_dir(staging: &Path, dir: &Path) -> Result<(), PkiError> {
    sync_dir(staging)?;
    fs::rename(staging, dir).map_err(|error| cannot(dir, "create", &error))?;
    sync_dir(parent_of(dir))
}

/// A value in PEM (RFC 7468): base64 in lines of 64 characters between two labels.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = (0..3).fold(0, |bits, k| bits << 8 | u32::from(group.get(k).copied().unwrap_or(0)));
            for k in 0..4 {
                let character = ALPHABET[(bits >> (18 - 6 * k)) as usize & 63];
                text.push(if k <= group.len() { char::from(character) } else { '=' });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let temporary = temporary_beside(path)?;
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // Best effort: the original file is untouched either way.
        let _ = fs::remove_file(&temporary);
        return Err(cannot(path, "write", &error));
    }
    sync_dir(parent_of(path))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away; it cannot have added any.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> Result<(), PkiError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| cannot(dir, "write", &error))
}

fn read_bounded(path: &Path, file: File) -> Result<Zeroizing<String>, PkiError> {
    // Reserved at once, so that a growing buffer leaves no copies of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| cannot(path, "read", &error))?;
    if text.len() as u64 > MAX_FILE {
        return Err(PkiError::new(
            path,
            format!("is longer than {MAX_FILE} bytes; this is no key or certificate"),
        ));
    }
    Ok(text)
}

fn temporary_beside(path: &Path) -> Result<PathBuf, PkiError> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random)
        .map_err(|error| PkiError::new(path, format!("cannot be written: no random numbers: {error}")))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(parent_of(path).join(format!(".{name}.{:016x}.new", u64::from_be_bytes(random))))
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot(path: &Path, act: &str, error: &io::Error) -> PkiError {
    let problem = PkiError::new(path, format!("could not be {}: {error}", past(act)));
    match error.kind() {
        io::ErrorKind::NotFound => {
            problem.hint("it is missing; restore it from a backup, or begin with a new folder")
        }
        io::ErrorKind::PermissionDenied => problem.hint("run as its owner, or correct its permissions"),
        io::ErrorKind::StorageFull => problem.hint("free some space"),
        _ => problem,
    }
}

fn past(act: &str) -> &str {
    match act {
        "write" => "written",
        "create" => "created",
        other => other,
    }
}
