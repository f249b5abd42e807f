//! The image's folder: its identity for TLS, its DLMS keys, and whom it trusts. Everything secret lies under AES-256-GCM
//! with the folder's own secret. The device secret of the boot stage is not here: that one no image sees.
//!
//! `device.secret`, `keys.sealed` (private keys), `dlms.sealed` (what the roles and the flash are keyed with), `utility.pem`
//! (the authorities of its utility), `trust.cbor` (what it remembers of them).

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use meterseal_link::device_trust::DeviceTrust;
use meterseal_link::keys::{DeviceSecret, FileKeyStore};
use meterseal_link::pki::{
    OPERATIONAL_VALIDITY, Pki, Validity, read_certificates, write_certificates, write_secret,
};
use meterseal_link::revocation::Revocations;
use meterseal_link::tls::Trust;
use meterseal_model::{MeterId, Role, Roles};
use meterseal_seal::key_store::certificate_request;
use meterseal_seal::{KeySlot, KeyStore};
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

/// A role's encryption key, then its authentication key.
pub type RoleKeyPair = Zeroizing<[u8; 64]>;

/// A meter's folder, opened.
pub struct DeviceFolder {
    /// Its private keys.
    pub key_store: Arc<dyn KeyStore>,
    /// Each role's DLMS keys.
    pub role_keys: Vec<(Role, RoleKeyPair)>,
    /// Under which the utility transfers keys.
    pub key_encryption_key: Zeroizing<[u8; 32]>,
    /// Under which keys lie in the meter's flash.
    pub vault_key: Zeroizing<[u8; 32]>,
    /// Whom it trusts, and what it remembers of them.
    pub trust: DeviceTrust,
}

impl DeviceFolder {
    /// What a maker does once: makes the folder, the meter's keys in it, and has them certified. Gives the opened folder, from
    /// which the head-end's copies of the DLMS keys are taken.
    ///
    /// # Errors
    /// The folder is there already, or something cannot be written or certified.
    pub fn make(path: &Path, meter: MeterId, pki: &Pki) -> Result<Self> {
        if path.exists() {
            bail!("{} is there already; give another folder", path.display());
        }
        let cannot = || format!("cannot make {}", path.display());
        DirBuilder::new().mode(0o700).recursive(true).create(path).with_context(cannot)?;
        let store = key_store(path, meter)?;
        store.generate(KeySlot::Operational)?;
        let request = certificate_request(&store, KeySlot::Operational, meter)?;
        let own = pki.sign_request(meter, &request, Validity::from_now(OPERATIONAL_VALIDITY))?;
        store.import(KeySlot::Operational, &own.iter().map(|der| der.to_vec()).collect::<Vec<_>>())?;
        let log = pki.certify_log_key(meter, &store.generate(KeySlot::Log)?)?;
        store.import(KeySlot::Log, &log.iter().map(|der| der.to_vec()).collect::<Vec<_>>())?;
        write_certificates(&path.join(UTILITY_FILE), &pki.trust().headends)?;
        let mut keys = Encoder::new(Vec::new());
        let roles = Roles::AUTHENTICATED;
        keys.array(3)?.array(roles.iter().count() as u64)?;
        for role in roles.iter() {
            keys.array(2)?.u16(role.client_address())?.bytes(&random::<64>()?[..])?;
        }
        keys.bytes(&random::<32>()?[..])?.bytes(&random::<32>()?[..])?;
        let plain = Zeroizing::new(keys.into_writer());
        let sealed = secret(path)?.seal(&context(meter), &plain)?;
        write_secret(&path.join(DLMS_FILE), &sealed)?;
        Self::open(path, meter)
    }

    /// Opens a meter's folder.
    ///
    /// # Errors
    /// Something in it is missing, altered, or of another meter.
    pub fn open(path: &Path, meter: MeterId) -> Result<Self> {
        let file = path.join(DLMS_FILE);
        if !file.exists() {
            bail!("{} is missing: this is no meter's folder", file.display());
        }
        let sealed = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let unusable = || format!("{} cannot be used; restore it from a copy", file.display());
        let plain = secret(path)?.open(&context(meter), &sealed).with_context(unusable)?;
        let (role_keys, key_encryption_key, vault_key) = decode(&plain).with_context(unusable)?;
        let headends = read_certificates(&path.join(UTILITY_FILE))?;
        let trust = Trust { meters: Vec::new(), revocations: Revocations::new(&headends), headends };
        Ok(Self {
            key_store: Arc::new(key_store(path, meter)?),
            role_keys,
            key_encryption_key,
            vault_key,
            trust: DeviceTrust::open(&path.join(TRUST_FILE), &trust)?,
        })
    }

    /// A role's DLMS keys.
    pub fn keys_of(&self, role: Role) -> Option<&RoleKeyPair> {
        self.role_keys.iter().find(|(own, _)| *own == role).map(|(_, keys)| keys)
    }
}

impl std::fmt::Debug for DeviceFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceFolder").finish_non_exhaustive()
    }
}

type Keys = (Vec<(Role, RoleKeyPair)>, Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>);

fn decode(plain: &[u8]) -> Option<Keys> {
    let mut decoder = Decoder::new(plain);
    let mut roles = Vec::new();
    (decoder.array().ok()? == Some(3)).then_some(())?;
    for _ in 0..decoder.array().ok()?.filter(|&count| count <= Role::ALL.len() as u64)? {
        (decoder.array().ok()? == Some(2)).then_some(())?;
        let address = decoder.u16().ok()?;
        let role = Role::ALL.into_iter().find(|role| role.client_address() == address)?;
        roles.push((role, Zeroizing::new(decoder.bytes().ok()?.try_into().ok()?)));
    }
    let mut key = || Some(Zeroizing::new(decoder.bytes().ok()?.try_into().ok()?));
    Some((roles, key()?, key()?))
}

fn secret(path: &Path) -> Result<DeviceSecret> {
    Ok(DeviceSecret::open_or_create(&path.join(SECRET_FILE))?)
}

fn key_store(path: &Path, meter: MeterId) -> Result<FileKeyStore> {
    let file: PathBuf = path.join(STORE_FILE);
    Ok(FileKeyStore::open(&file, &meter.to_string(), secret(path)?)?)
}

fn context(meter: MeterId) -> String {
    format!("meterseal virtual meter {meter}")
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).context("the operating system gave no random numbers")?;
    Ok(bytes)
}

const SECRET_FILE: &str = "device.secret";
const STORE_FILE: &str = "keys.sealed";
const DLMS_FILE: &str = "dlms.sealed";
const UTILITY_FILE: &str = "utility.pem";
const TRUST_FILE: &str = "trust.cbor";
