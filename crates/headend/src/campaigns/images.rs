//! Firmware packages in the data folder: verified against the trust root when they come in, kept under their digest,
//! and compared with it whenever they are read again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::firmware::{Package, PackageError, TrustError, TrustRoot, manifest};

use super::plan::ImageFacts;

/// The longest package: the largest payload and what stands before it.
pub const PACKAGE_MAX: usize = manifest::MAX_SIZE as usize + (1 << 20);

/// Longest trust root that is read.
const ROOT_MAX: u64 = 1 << 20;

/// Where packages and the trust root lie.
#[derive(Clone, Debug)]
pub struct Images {
    folder: PathBuf,
    root: PathBuf,
}

/// Why a package is not taken, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No trust root.
    #[error(
        "this head-end has no trust root, so it can verify no firmware; put the one that the meters have into {}", .0.display()
    )]
    NoRoot(PathBuf),
    /// A trust root that is none.
    #[error("the trust root {} cannot be used: {source}; put the one that the meters have there", .path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// A package that is none, or not signed by enough.
    #[error("the package is refused, and nothing was kept: {0}")]
    Refused(PackageError),
    /// It is not there any more.
    #[error("the image is gone: {} is not there; upload the package again", .0.display())]
    Gone(PathBuf),
    /// It is another one.
    #[error("the image was altered: {} is not what its name says; remove it and upload the package again", .0.display())]
    Altered(PathBuf),
    /// No room.
    #[error("no room for the package in {}: the disk is full; free some space. Nothing was kept", .0.display())]
    Full(PathBuf),
    /// Anything else.
    #[error("cannot use {}: {source}; nothing was kept", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Images {
    /// Those of a head-end's data folder, and where the trust root belongs.
    pub fn new(data_dir: &Path, root: PathBuf) -> Self {
        Self { folder: data_dir.join("firmware"), root }
    }

    /// Where a package lies, by the digest of its file.
    pub fn path(&self, package: &str) -> PathBuf {
        self.folder.join(format!("{package}.msfw"))
    }

    /// Takes a package in: verified as a meter does, but for its target; then on the disk, or not there at all. The same
    /// package again changes nothing. Waits for the disk.
    ///
    /// # Errors
    /// [`ImageError`]; nothing was kept.
    pub fn take(&self, bytes: &[u8], now: UnixMillis) -> Result<ImageFacts, ImageError> {
        let root = self.root(now)?;
        let package = Package::read(bytes).map_err(ImageError::Refused)?;
        let manifest = package.verify(&root, Some(now)).map_err(ImageError::Refused)?;
        let digest = sha384(bytes);
        let facts = ImageFacts::new(&digest, bytes.len() as u64, &manifest);
        let path = self.path(&facts.package);
        if self.load(&facts.package).is_err() {
            write_whole(&path, bytes).map_err(|source| match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    ImageError::Full(self.folder.clone())
                }
                _ => ImageError::Io { path: path.clone(), source },
            })?;
        }
        Ok(facts)
    }

    /// What a package that was taken in says. It is verified again: signers may have been revoked since.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn facts(&self, package: &str, now: UnixMillis) -> Result<ImageFacts, ImageError> {
        let bytes = self.load(package)?;
        let read = Package::read(&bytes).map_err(ImageError::Refused)?;
        let manifest = read.verify(&self.root(now)?, Some(now)).map_err(ImageError::Refused)?;
        Ok(ImageFacts::new(&sha384(&bytes), bytes.len() as u64, &manifest))
    }

    /// Reads a package, and makes sure that it is the one.
    ///
    /// # Errors
    /// [`ImageError::Gone`], [`ImageError::Altered`], [`ImageError::Io`].
    pub fn load(&self, package: &str) -> Result<Vec<u8>, ImageError> {
        let path = self.path(package);
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ImageError::Gone(path.clone()),
            _ => ImageError::Io { path: path.clone(), source },
        };
        if path.metadata().map_err(io)?.len() > PACKAGE_MAX as u64 {
            return Err(ImageError::Altered(path));
        }
        let bytes = std::fs::read(&path).map_err(io)?;
        if sha384(&bytes).to_string() == package { Ok(bytes) } else { Err(ImageError::Altered(path)) }
    }

    fn root(&self, now: UnixMillis) -> Result<TrustRoot, ImageError> {
        let path = self.root.clone();
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ImageError::NoRoot(path.clone()),
            _ => ImageError::Io { path: path.clone(), source },
        };
        let length = path.metadata().map_err(io)?.len();
        if length > ROOT_MAX {
            return Err(io(std::io::Error::other(format!(
                "it has {length} bytes, more than any trust root"
            ))));
        }
        let bytes = std::fs::read(&path).map_err(io)?;
        TrustRoot::first(&bytes, Some(now)).map_err(|source| ImageError::Root { path: path.clone(), source })
    }
}

fn sha384(bytes: &[u8]) -> Digest384 {
    let mut out = [0; 48];
    out.copy_from_slice(digest::digest(&digest::SHA384, bytes).as_ref());
    Digest384(out)
}

/// Under another name first; what could not be written whole is removed.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let temporary = path.with_extension("part");
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
