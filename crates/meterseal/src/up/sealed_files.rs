//! The secrets in a meter's folder, under AES-256-GCM with the device's secret: its TLS key with the certificates that
//! belong to it, each role's two DLMS keys, and what transferred keys are wrapped and kept under. Folders of earlier versions held them in the clear; they are taken over once.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use meterseal_link::keys::DeviceSecret;
use meterseal_link::pki::{IssuedIdentity, read_secret, write_secret};
use meterseal_link::{Identity, PkiError};
use meterseal_model::Role;
use zeroize::Zeroizing;

use super::data_folder::write_private;

/// A meter's folder and the secret that opens what lies in it.
pub(crate) struct SealedFiles {
    folder: PathBuf,
    secret: DeviceSecret,
}

impl SealedFiles {
    /// Opens the folder; makes its secret where nothing was sealed yet.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SECRET_FILE);
        // A new secret would open nothing, and stand in the way of the copy that does.
        if !path.exists()
            && let Some(name) = sealed_file(folder)
        {
            bail!(
                "{} is missing, and {name} opens with nothing else; restore it from a copy",
                path.display()
            );
        }
        Ok(Self { folder: folder.to_owned(), secret: DeviceSecret::open_or_create(&path)? })
    }

    /// The identity in the folder; a new one from `issue` where there is none or it is due for renewal. Key and
    /// certificates are one file, so that a power cut cannot part them; `certificate.pem` is a copy for others.
    pub(crate) fn identity(
        &self,
        issue: impl FnOnce() -> Result<IssuedIdentity, PkiError>,
    ) -> Result<Identity> {
        let found = match self.read(IDENTITY_FILE)? {
            Some(text) => Some(text),
            None => self.plain_identity()?,
        };
        if let Some(text) = found {
            let identity = Identity::from_pem(&text, &text, &self.folder.join(IDENTITY_FILE))?;
            if identity.certificate()?.renewal_due() > SystemTime::now() {
                self.forget(PLAIN_IDENTITY_FILE)?;
                self.publish(text.split(KEY_BEGINS).next().unwrap_or_default())?;
                return Ok(identity);
            }
        }
        let issued = issue()?;
        let text = Zeroizing::new([issued.chain_pem(), issued.key_pem()].join("\n"));
        self.write(IDENTITY_FILE, &text)?;
        self.forget(PLAIN_IDENTITY_FILE)?;
        self.publish(issued.chain_pem())?;
        Ok(issued.identity()?)
    }

    /// Keeps the copy of the certificates true.
    fn publish(&self, chain: &str) -> Result<()> {
        let path = self.folder.join(CERTIFICATE_FILE);
        if fs::read(&path).is_ok_and(|copy| copy.trim_ascii() == chain.trim().as_bytes()) {
            return Ok(());
        }
        write_private(&path, chain.as_bytes())
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The encryption key, then the authentication key, as 128 hexadecimal digits; made where there are none.
    pub(crate) fn dlms_keys(&self) -> Result<Zeroizing<[u8; 64]>> {
        let (text, origin) = match self.read(DLMS_FILE)? {
            Some(text) => (text, DLMS_FILE),
            None if self.folder.join(PLAIN_DLMS_FILE).exists() => {
                (read_secret(&self.folder.join(PLAIN_DLMS_FILE))?, PLAIN_DLMS_FILE)
            }
            None => (new_digits::<64>()?, DLMS_FILE),
        };
        let keys = from_digits(&text).with_context(|| {
            let path = self.folder.join(origin);
            format!("{} does not hold 128 hexadecimal digits; restore it from a copy", path.display())
        })?;
        if !self.folder.join(DLMS_FILE).exists() {
            self.write(DLMS_FILE, &text)?;
        }
        self.forget(PLAIN_DLMS_FILE)?;
        Ok(keys)
    }

    /// A role's encryption key, then its authentication key; made where there are none.
    pub(crate) fn role_keys(&self, role: Role) -> Result<Zeroizing<[u8; 64]>> {
        if role == Role::Utility { self.dlms_keys() } else { self.random(&format!("dlms-{role}.sealed")) }
    }

    /// The key under which the utility transfers keys to the meter; made where there is none.
    pub(crate) fn key_encryption_key(&self) -> Result<Zeroizing<[u8; 32]>> {
        self.random(KEY_ENCRYPTION_FILE)
    }

    /// Whether a folder holds a key under which keys are transferred.
    pub(crate) fn has_key_encryption_key(folder: &Path) -> bool {
        folder.join(KEY_ENCRYPTION_FILE).exists()
    }

    /// The utility's keys that were proposed to the meter and not confirmed; encryption, then authentication.
    pub(crate) fn proposed_keys(&self) -> Result<Option<Zeroizing<[u8; 64]>>> {
        let Some(text) = self.read(PROPOSED_FILE)? else { return Ok(None) };
        let keys = from_digits(&text).with_context(|| {
            format!(
                "{} does not hold keys; restore it from a copy",
                self.folder.join(PROPOSED_FILE).display()
            )
        })?;
        Ok(Some(keys))
    }

    /// Keeps keys that may come into force.
    pub(crate) fn propose_keys(&self, encryption: &[u8; 32], authentication: &[u8; 32]) -> Result<()> {
        let text = Zeroizing::new([digits(encryption).as_str(), digits(authentication).as_str()].concat());
        self.write(PROPOSED_FILE, &text)
    }

    /// The proposed keys take the place of the others.
    pub(crate) fn confirm_keys(&self) -> Result<()> {
        let Some(text) = self.read(PROPOSED_FILE)? else { return Ok(()) };
        self.write(DLMS_FILE, &text)?;
        let marker = self.folder.join(REPLACED_FILE);
        write_private(&marker, b"").with_context(|| format!("cannot write {}", marker.display()))?;
        self.forget(PROPOSED_FILE)
    }

    /// The proposed keys are forgotten.
    pub(crate) fn discard_keys(&self) -> Result<()> {
        self.forget(PROPOSED_FILE)
    }

    /// Whether the keys of the factory were replaced.
    pub(crate) fn were_replaced(&self) -> bool {
        self.folder.join(REPLACED_FILE).exists()
    }

    /// What the meter enciphers keys in its flash with; made where there is none. On a meter of its own it lies beside
    /// the device's secret, never in flash.
    pub(crate) fn vault_key(&self) -> Result<Zeroizing<[u8; 32]>> {
        self.random(VAULT_FILE)
    }

    /// The device secret, from which the boot stage makes its keys; made where there is none. The image never sees it.
    pub(crate) fn boot_secret(&self) -> Result<Zeroizing<[u8; 32]>> {
        self.random(BOOT_FILE)
    }

    /// Random bytes that stay the same from the first time on.
    fn random<const N: usize>(&self, name: &str) -> Result<Zeroizing<[u8; N]>> {
        let text = match self.read(name)? {
            Some(text) => text,
            None => {
                let text = new_digits::<N>()?;
                self.write(name, &text)?;
                text
            }
        };
        from_digits(&text).with_context(|| {
            let path = self.folder.join(name);
            format!("{} does not hold {} hexadecimal digits; restore it from a copy", path.display(), 2 * N)
        })
    }

    /// What is sealed in a file of the folder, if there is one.
    fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let mut sealed = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_FILE).read_to_end(&mut sealed))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("{} cannot be used; restore it from a copy", path.display());
        let plain = self.secret.open(&context(name), &sealed).with_context(wrong)?;
        let text = std::str::from_utf8(&plain).with_context(wrong)?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// On the disk, whole, when it returns.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let sealed = self
            .secret
            .seal(&context(name), text.as_bytes())
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(write_secret(&path, &sealed)?)
    }

    /// Seals what an earlier version left in the clear.
    fn plain_identity(&self) -> Result<Option<Zeroizing<String>>> {
        let key = self.folder.join(PLAIN_IDENTITY_FILE);
        let certificate = self.folder.join(CERTIFICATE_FILE);
        if !key.exists() || !certificate.exists() {
            return Ok(None);
        }
        // Read as a pair first: a key without its certificate is not worth keeping, and is told as such.
        Identity::load(&self.folder)?;
        let chain = fs::read_to_string(&certificate)
            .with_context(|| format!("cannot read {}", certificate.display()))?;
        let text = Zeroizing::new([chain.as_str(), read_secret(&key)?.as_str()].join("\n"));
        self.write(IDENTITY_FILE, &text)?;
        Ok(Some(text))
    }

    /// Removes a secret in the clear; what replaces it is on the disk and opens.
    fn forget(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(());
        }
        fs::remove_file(&path)
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .with_context(|| format!("cannot remove {}, which is sealed now", path.display()))
    }
}

/// The DLMS keys in a meter's folder as digits: sealed, where they are.
pub(crate) fn dlms_digits(folder: &Path) -> Result<Zeroizing<String>> {
    if let Some(text) = SealedFiles::sealed_in(folder)? {
        return Ok(text);
    }
    Ok(read_secret(&folder.join(PLAIN_DLMS_FILE))?)
}

/// A role's keys in a meter's folder, encryption and then authentication; none where there is no such file.
pub(crate) fn held_role_keys(folder: &Path, role: Role) -> Result<Option<Zeroizing<[u8; 64]>>> {
    let name = format!("dlms-{role}.sealed");
    if !folder.join(&name).exists() {
        return Ok(None);
    }
    let Some(text) = SealedFiles::open(folder)?.read(&name)? else { return Ok(None) };
    let wrong = || format!("{} does not hold keys; restore it from a copy", folder.join(&name).display());
    Ok(Some(from_digits(&text).with_context(wrong)?))
}

/// Whether a folder holds DLMS keys.
pub(crate) fn has_dlms_keys(folder: &Path) -> bool {
    [DLMS_FILE, PLAIN_DLMS_FILE].iter().any(|name| folder.join(name).exists())
}

impl SealedFiles {
    fn sealed_in(folder: &Path) -> Result<Option<Zeroizing<String>>> {
        if !folder.join(DLMS_FILE).exists() {
            return Ok(None);
        }
        Self::open(folder)?.read(DLMS_FILE)
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn new_digits<const N: usize>() -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).context("the operating system gave no random numbers")?;
    Ok(digits(&bytes[..]))
}

fn from_digits<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let digits = text.trim_end().as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; N]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A file of the folder that only its secret opens, if there is one.
fn sealed_file(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".sealed")).min()
}

/// One file cannot take the place of the other.
fn context(name: &str) -> String {
    format!("meterseal {name}")
}

const SECRET_FILE: &str = "device.secret";
const IDENTITY_FILE: &str = "identity.sealed";
const DLMS_FILE: &str = "dlms.sealed";
const KEY_ENCRYPTION_FILE: &str = "key-encryption.sealed";
/// The utility's next keys, while nobody knows whether the meter has them.
const PROPOSED_FILE: &str = "dlms-next.sealed";
/// Stands there once the keys of the factory were replaced.
const REPLACED_FILE: &str = "dlms.replaced";
const VAULT_FILE: &str = "vault.sealed";
const BOOT_FILE: &str = "boot.sealed";
const CERTIFICATE_FILE: &str = "certificate.pem";
/// PKCS#8 in PEM (RFC 7468), which stands behind the certificates.
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";
/// As earlier versions left them, and as an operator may put DLMS keys there.
const PLAIN_IDENTITY_FILE: &str = "key.pem";
const PLAIN_DLMS_FILE: &str = "dlms.key";
/// A chain of four certificates and a key take 8 KiB at the most.
const MAX_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use meterseal_link::Pki;

    #[test]
    fn secrets_in_the_clear_are_taken_over_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
        let meter = folder.path().join("meter");
        let issued = pki.issue_meter("MSL0000000002".parse().unwrap()).unwrap();
        issued.save(&meter).unwrap();
        let digits = "5a".repeat(64);
        write_secret(&meter.join(PLAIN_DLMS_FILE), digits.as_bytes()).unwrap();
        assert_eq!(*dlms_digits(&meter).unwrap(), digits);

        let open = || {
            let files = SealedFiles::open(&meter).unwrap();
            let identity = files.identity(|| panic!("the one that is there is good")).unwrap();
            assert_eq!(identity.chain(), issued.identity().unwrap().chain());
            assert_eq!(*files.dlms_keys().unwrap(), [0x5a; 64]);
            assert_eq!(*dlms_digits(&meter).unwrap(), digits);
            for file in fs::read_dir(&meter).unwrap() {
                let path = file.unwrap().path();
                let content = fs::read(&path).unwrap();
                let holds = |secret: &[u8]| content.windows(secret.len()).any(|window| window == secret);
                assert!(!holds(b"PRIVATE KEY") && !holds(b"5a5a5a5a"), "{}", path.display());
            }
        };
        open();
        // The power went after the sealed files were there and before the others had gone.
        issued.save(&meter).unwrap();
        write_secret(&meter.join(PLAIN_DLMS_FILE), digits.as_bytes()).unwrap();
        open();
        fs::write(meter.join(CERTIFICATE_FILE), "of an earlier one").unwrap();
        open();
        assert_eq!(
            fs::read_to_string(meter.join(CERTIFICATE_FILE)).unwrap().trim(),
            issued.chain_pem().trim(),
            "the copy is made true again"
        );
        assert!(!meter.join(PLAIN_IDENTITY_FILE).exists() && !meter.join(PLAIN_DLMS_FILE).exists());
    }

    #[test]
    fn damage_and_a_missing_secret_are_told_and_nothing_is_made_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = SealedFiles::open(folder.path()).unwrap();
        let made = files.dlms_keys().unwrap();
        assert_ne!(*made, [0; 64]);
        assert_eq!(files.dlms_keys().unwrap(), made);
        let path = folder.path().join(DLMS_FILE);
        let sound = fs::read(&path).unwrap();
        for at in [0, 10, sound.len() - 1] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let message = format!("{:#}", files.dlms_keys().unwrap_err());
            assert!(message.contains("dlms.sealed"), "{message}");
        }
        fs::write(&path, &sound).unwrap();
        fs::rename(folder.path().join(SECRET_FILE), folder.path().join("away")).unwrap();
        let message = format!("{:#}", SealedFiles::open(folder.path()).err().unwrap());
        assert!(message.contains("device.secret"), "{message}");
        assert!(!folder.path().join(SECRET_FILE).exists());
    }

    #[test]
    fn digits_in_the_clear_that_are_none_are_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = SealedFiles::open(folder.path()).unwrap();
        for damaged in ["", "00", &"zz".repeat(64), &"é".repeat(64)] {
            write_secret(&folder.path().join(PLAIN_DLMS_FILE), damaged.as_bytes()).unwrap();
            let message = format!("{:#}", files.dlms_keys().unwrap_err());
            assert!(message.contains("dlms.key"), "{message}");
            assert!(!folder.path().join(DLMS_FILE).exists() && folder.path().join(PLAIN_DLMS_FILE).exists());
        }
    }
}
