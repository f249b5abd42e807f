//! The firmware of the virtual meters in a data folder: a development signer with its trust root, and the image that new
//! meters are made with.
//!
//! These meters live in this process, so their images are data, which their boot stages verify at every start like any
//! other. The first one names the program that they really run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use meterseal_boot::stage::{FIRMWARE_BASE, Factory, Partition};
use meterseal_link::pki::{read_secret, write_secret};
use meterseal_meter::firmware::{FirmwareLayout, LEAST_PROBATION_MS, Target};
use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::firmware::{
    Digests, FirmwareKey, Manifest, Package, Packing, Role, TrustRoot, TrustedKey, package,
};

use super::DEVICE_TYPE;

/// A data folder's `firmware/`.
#[derive(Debug)]
pub(crate) struct DevelopmentFirmware {
    folder: PathBuf,
    factory: Arc<Factory>,
}

impl DevelopmentFirmware {
    /// Opens the folder, and makes in it what is missing: the signer, its trust root, and the image of this program.
    pub(crate) fn open_or_create(folder: &Path, program: Digest384) -> Result<Self> {
        let key = signer(&folder.join(KEY_FILE))?;
        let root = root(&folder.join(ROOT_FILE), &key)?;
        let image = image(program);
        // By its image: another build of this program makes another one, and meters keep what they were made with.
        let name =
            format!("{PACKAGE_PREFIX}{}{PACKAGE_SUFFIX}", &Digests::of(&image).digest.to_string()[..16]);
        let path = folder.join(name);
        let package = match fs::read(&path) {
            Ok(package) => package,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let package = package(&image, &key)?;
                write_secret(&path, &package)?;
                package
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { folder: folder.to_owned(), factory: Arc::new(Factory { root, package }) })
    }

    /// What a new meter gets.
    pub(crate) fn factory(&self) -> Arc<Factory> {
        Arc::clone(&self.factory)
    }

    /// The digests of all images here: those that meters of this folder were made with, by this program and earlier builds,
    /// and those that somebody put here for a campaign.
    pub(crate) fn images(&self) -> Result<Vec<Digest384>> {
        let cannot = || format!("cannot read {}", self.folder.display());
        let root = TrustRoot::accepted_before(&self.factory.root)?;
        let mut images = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(PACKAGE_SUFFIX) {
                let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let manifest = Package::read(&bytes)
                    .and_then(|package| package.verify(&root, None))
                    .with_context(|| format!("{} is not as it was made; remove it", path.display()))?;
                images.push(manifest.image.digest);
            }
        }
        images.sort_unstable_by_key(|digest| digest.0);
        Ok(images)
    }

    /// The same at another place of a chip.
    pub(crate) fn partition_at(base: u32, layout: FirmwareLayout) -> Partition {
        Partition { base, layout, target: target(), least_probation_ms: LEAST_PROBATION_MS }
    }

    /// Where the firmware of one of `up`'s meters lies, and what it is.
    pub(crate) fn partition() -> Partition {
        Self::partition_at(FIRMWARE_BASE, FirmwareLayout::STANDARD)
    }
}

/// What packages for these meters name.
fn target() -> Target {
    Target {
        vendor: VENDOR.to_owned(),
        device_type: DEVICE_TYPE.to_owned(),
        hardware: HARDWARE.to_owned(),
        class_key: None,
    }
}

/// The bytes that stand for this program: its version and its digest.
fn image(program: Digest384) -> Vec<u8> {
    let mut image = b"\0Meterseal image of a simulated meter\0".to_vec();
    image.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    image.push(0);
    image.extend_from_slice(&program.0);
    image
}

fn package(image: &[u8], key: &FirmwareKey) -> Result<Vec<u8>> {
    let manifest = Manifest {
        vendor: VENDOR.to_owned(),
        device_type: DEVICE_TYPE.to_owned(),
        hardware: vec![HARDWARE.to_owned()],
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: FIRST_SEQUENCE,
        minimum_previous: 0,
        image: Digests::of(image),
        stored: Digests::of(image),
        packing: Packing::Plain,
        encryption: None,
        not_before: None,
    };
    Ok(package::write(&manifest, image, &[key])?)
}

fn signer(path: &Path) -> Result<FirmwareKey> {
    if path.exists() {
        let pem = read_secret(path)?;
        return FirmwareKey::from_pem(&pem).with_context(|| format!("{} holds no signer", path.display()));
    }
    let key =
        FirmwareKey::generate(getrandom::fill).context("the operating system gave no random numbers")?;
    write_secret(path, key.to_pem()?.as_bytes())?;
    Ok(key)
}

fn root(path: &Path, key: &FirmwareKey) -> Result<Vec<u8>> {
    if path.exists() {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970; set it")?;
    let expires = i64::try_from((now + VALIDITY).as_millis()).context("the clock is out of range; set it")?;
    let trusted = TrustedKey {
        name: SIGNER.to_owned(),
        key: key.public().clone(),
        roles: vec![Role::Root, Role::Release],
        expires: UnixMillis(expires),
    };
    let root = TrustRoot { version: 1, thresholds: [1, 1, 0], keys: vec![trusted] };
    let signed = root.sign(&[key])?;
    write_secret(path, &signed)?;
    Ok(signed)
}

/// Its folder in a data folder.
pub(crate) const FOLDER: &str = "firmware";
const KEY_FILE: &str = "development.key.pem";
const ROOT_FILE: &str = "trust.cbor";
const PACKAGE_PREFIX: &str = "factory-";
const PACKAGE_SUFFIX: &str = ".msfw";
const SIGNER: &str = "development";
const VENDOR: &str = "Meterseal";
const HARDWARE: &str = "virtual";
const FIRST_SEQUENCE: u64 = 1;
/// Twenty years, as a meter's own identities.
const VALIDITY: std::time::Duration = std::time::Duration::from_secs(20 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_signer_and_knows_the_images_of_earlier_builds() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |program| DevelopmentFirmware::open_or_create(folder.path(), Digest384([program; 48])).unwrap();
        let (first, second, again) = (open(1), open(2), open(1));
        assert_eq!(first.factory.root, second.factory.root);
        assert_eq!(first.factory.package, again.factory.package);
        assert_eq!(again.images().unwrap().len(), 2);
        let path = folder.path().join("factory-0000.msfw");
        let mut forged = first.factory.package.clone();
        *forged.last_mut().unwrap() ^= 1;
        fs::write(&path, forged).unwrap();
        assert!(again.images().unwrap_err().to_string().contains("factory-0000.msfw"));
    }
}
