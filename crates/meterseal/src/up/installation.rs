//! What the first `up` makes in the data folder and every later one finds: authorities, identities, keys, marks.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use meterseal_boot::stage::Stage;
use meterseal_headend::enrolment::Enrolment;
use meterseal_headend::{AttestationPolicy, Config, MeterEntry, Pace};
use meterseal_link::accept::AcceptLimits;
use meterseal_link::keys::{DeviceSecret, FileKeyStore};
use meterseal_link::opening::TimeSource;
use meterseal_link::own::OwnIdentity;
use meterseal_link::pki::IssuedIdentity;
use meterseal_link::pki::{OPERATIONAL_VALIDITY, read_certificates, write_certificates};
use meterseal_link::tls::Peer;
use meterseal_link::{Identity, Pki};
use meterseal_model::{Digest384, MeterId, Role, SystemTitle, TimeBase, UnixMillis};
use meterseal_seal::attestation::Ground;
use meterseal_seal::{KeySlot, KeyStore, Mark};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::custody::DataCustody;
use super::data_folder::{DataFolder, write_private};
use super::firmware::{self, DevelopmentFirmware};
use super::local::LOCAL_ROLES;
use super::sealed_files::SealedFiles;
use super::upkeep::{self, Own, Owned};
use crate::alarm_options::AlarmOptions;

/// The authorities of this installation and the folder that they live in.
#[derive(Debug)]
pub(crate) struct Installation {
    folder: DataFolder,
    pki: Arc<Pki>,
    /// Its own identities that are in use, to be renewed.
    owned: Owned,
}

/// What one meter owns.
#[derive(Debug)]
pub(crate) struct MeterFiles {
    /// From manufacture: what it calls with until it is enrolled.
    pub(crate) identity: Identity,
    /// The utility's encryption key, then its authentication key.
    pub(crate) dlms: Zeroizing<[u8; 64]>,
    /// Those of the roles that come to the local port.
    pub(crate) role_keys: Vec<(Role, Zeroizing<[u8; 64]>)>,
    /// Under which the utility transfers keys.
    pub(crate) key_encryption_key: Zeroizing<[u8; 32]>,
    /// Under which the meter keeps them in its flash.
    pub(crate) vault_key: Zeroizing<[u8; 32]>,
    /// Keys that the meter makes itself, when its utility enrols it; under a secret of its own.
    pub(crate) key_store: Arc<FileKeyStore>,
    /// The boot stage below its image, with the device secret.
    pub(crate) stage: Stage,
    pub(crate) flash: PathBuf,
    pub(crate) folder: PathBuf,
    /// Which clock its records follow, now and from now on.
    pub(crate) time_base: TimeBase,
}

impl Installation {
    /// Opens or makes the installation in `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let folder = DataFolder::open(path)?;
        let pki = Arc::new(Pki::open_or_create(&folder.path().join("pki"))?);
        Ok(Self { folder, pki, owned: Owned::default() })
    }

    /// A folder in the data folder, for its owner only.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        Ok(self.folder.folder(name)?)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The head-end's identity and its folder.
    pub(crate) fn headend(&self) -> Result<(Identity, PathBuf)> {
        let folder = self.folder.folder("headend")?;
        let own = OwnIdentity::open(&folder, Peer::Headend(HEADEND_NAME.to_owned()))?;
        let (own, identity) = Own::headend(own, &self.pki)?;
        self.keep(own);
        Ok((identity, folder))
    }

    /// How meters are enrolled: by the authority in this folder, every one that is configured.
    pub(crate) fn enrolment(&self) -> Enrolment {
        let custody = DataCustody::new(self.folder.path().join("meters"));
        Enrolment {
            custody: Some(Arc::new(custody)),
            ..Enrolment::new(Arc::clone(&self.pki) as _, OPERATIONAL_VALIDITY)
        }
    }

    /// A head-end of this installation: its identity, folder and trust, at the usual pace and without virtual sites.
    pub(crate) fn headend_config(
        &self,
        gateway_listen: SocketAddr,
        page_listen: SocketAddr,
        meters: Vec<MeterEntry>,
        marks: Vec<Vec<u8>>,
        alarms: &AlarmOptions,
    ) -> Result<Config> {
        let (identity, data_dir) = self.headend()?;
        Ok(Config {
            receivers: alarms.receivers(&data_dir)?,
            silent_after: alarms.silent_after(),
            data_dir,
            gateway_listen,
            page_listen,
            identity,
            trust: self.pki.trust(),
            accept: AcceptLimits::default(),
            time: Some(self.time_source()?),
            revocations: Some(self.pki.dir().to_owned()),
            system_title: HEADEND_TITLE,
            meters,
            marks,
            certification_keys: vec![self.pki.certification_key().clone()],
            firmware_root: self.folder.path().join("firmware/trust.cbor"),
            attestation: AttestationPolicy::default(),
            pace: Pace::default(),
            virtual_sites: None,
            enrolment: Some(self.enrolment()),
        })
    }

    /// What signs time for the meters. In this installation it is the same machine; a utility's stands elsewhere.
    pub(crate) fn time_source(&self) -> Result<TimeSource> {
        let folder = self.folder.folder("time")?;
        let own = OwnIdentity::open(&folder, Peer::Time(HEADEND_NAME.to_owned()))?;
        let (own, source) = Own::time(own, &self.pki)?;
        self.keep(own);
        Ok(source)
    }

    /// Renews what is in use before it ends, for ever.
    pub(crate) fn upkeep(&self) -> impl Future<Output = Infallible> + Send + use<> {
        upkeep::keep(self.pki.dir().to_owned(), Arc::clone(&self.owned))
    }

    fn keep(&self, own: Own) {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).push(own);
    }

    /// A meter's identity, keys and flash. One whose clock ever ran at another speed than the wall's keeps a clock
    /// of its own for good: its records may be ahead of the wall's time, and time never goes back.
    pub(crate) fn meter(&self, id: MeterId, speed: f64) -> Result<MeterFiles> {
        let folder = self.folder.folder(&format!("meters/{id}"))?;
        let sealed = SealedFiles::open(&folder)?;
        let identity = sealed.identity(|| self.pki.issue_meter(id))?;
        let dlms = sealed.dlms_keys()?;
        let role_keys = LOCAL_ROLES
            .into_iter()
            .map(|role| Ok((role, sealed.role_keys(role)?)))
            .collect::<Result<Vec<_>>>()?;
        let (key_encryption_key, vault_key) = (sealed.key_encryption_key()?, sealed.vault_key()?);
        let secret = DeviceSecret::open_or_create(&folder.join("device.secret"))?;
        let key_store = FileKeyStore::open(&folder.join("keys.sealed"), &id.to_string(), secret)?;
        self.certify_log_key(id, &key_store)?;
        let stage = self.stage(id, &folder, &*sealed.boot_secret()?)?;
        let simulated = folder.join("simulated-clock");
        if speed != 1.0 && !simulated.exists() {
            write_private(&simulated, b"")
                .with_context(|| format!("cannot write {}", simulated.display()))?;
        }
        let time_base = if simulated.exists() { TimeBase::Simulated } else { TimeBase::Wall };
        Ok(MeterFiles {
            identity,
            dlms,
            role_keys,
            key_encryption_key,
            vault_key,
            key_store: Arc::new(key_store),
            stage,
            flash: folder.join("flash.bin"),
            folder,
            time_base,
        })
    }

    /// What a manufacturer does once: the key that signs the meter's sealed log, made in its store, and certified.
    fn certify_log_key(&self, id: MeterId, store: &dyn KeyStore) -> Result<()> {
        if !store.certificates(KeySlot::Log)?.is_empty() {
            return Ok(());
        }
        let key = store.generate(KeySlot::Log)?;
        let chain = self.pki.certify_log_key(id, &key)?;
        store.import(KeySlot::Log, &chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>())?;
        Ok(())
    }

    /// A meter's boot stage; its key is certified once, as its manufacturer does.
    fn stage(&self, id: MeterId, folder: &Path, secret: &[u8; 32]) -> Result<Stage> {
        let path = folder.join("boot.certificate.pem");
        let partition = DevelopmentFirmware::partition();
        let stage = |chain| Stage::new(id, secret, chain, Ground::Simulated, partition.clone());
        if !path.exists() {
            write_certificates(&path, &self.pki.certify_boot_key(id, stage(Vec::new()).boot_key())?)?;
        }
        Ok(stage(read_certificates(&path)?.iter().map(|der| der.to_vec()).collect()))
    }

    /// The firmware that the meters of this folder are made with.
    pub(crate) fn firmware(&self) -> Result<DevelopmentFirmware> {
        DevelopmentFirmware::open_or_create(&self.folder.folder(firmware::FOLDER)?, own_digest()?)
    }

    /// A development mark for each of these images.
    pub(crate) fn development_marks(
        &self,
        device_type: &str,
        firmware: &[Digest384],
    ) -> Result<Vec<Vec<u8>>> {
        firmware.iter().map(|&firmware| self.development_mark(device_type, firmware)).collect()
    }

    /// A development mark for an image: it claims nothing and lists every requirement as not tested (design, decision 14).
    /// Signed anew at each start, for this image only.
    fn development_mark(&self, device_type: &str, firmware: Digest384) -> Result<Vec<u8>> {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970; set it")?;
        let now = i64::try_from(now.as_millis()).context("the clock is out of range; set it")?;
        let mark = Mark::development(
            device_type,
            "virtual",
            firmware,
            "development authority of this data folder",
            UnixMillis(now - CLOCK_TOLERANCE_MS),
            UnixMillis(now + MARK_VALIDITY_MS),
        );
        let signed = mark.sign(&self.pki.certification_signer()?)?;
        let name = format!("development-{}.mark.cbor", &firmware.to_string()[..16]);
        let path = self.folder.folder("headend/marks")?.join(name);
        write_private(&path, &signed).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(signed)
    }
}

/// SHA-384 of the running program, which is the firmware of the meters that run in it.
pub(crate) fn own_digest() -> Result<Digest384> {
    // The link leads to the very file that runs, even where the path now holds another build.
    let mut program = File::open("/proc/self/exe").context("cannot read the running program")?;
    let mut hash = Sha384::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match program.read(&mut chunk).context("cannot read the running program")? {
            0 => return Ok(Digest384(hash.finalize().into())),
            length => hash.update(&chunk[..length]),
        }
    }
}

pub(super) fn identity(
    folder: &Path,
    issue: impl FnOnce() -> Result<IssuedIdentity, meterseal_link::PkiError>,
) -> Result<Identity> {
    if folder.join("certificate.pem").exists() {
        let found = Identity::load(folder)?;
        let certificate = found.certificate()?;
        // Head-ends of version 0.1 have no roles, and meters grant them nothing.
        let outdated = matches!(certificate.peer, Some(Peer::Headend(_))) && certificate.roles.is_empty();
        if certificate.renewal_due() > SystemTime::now() && !outdated {
            return Ok(found);
        }
    }
    issue()?.save(folder)?;
    Ok(Identity::load(folder)?)
}

/// The head-end's name in its certificate.
pub(crate) const HEADEND_NAME: &str = "local";
/// Letters of the meters' maker, then bytes that no serial number has.
const HEADEND_TITLE: SystemTitle = SystemTitle(*b"MSL\xFF\0\0\0\x01");

const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// A development image changes often; a quarter of a year is long for one.
const MARK_VALIDITY_MS: i64 = 90 * 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_once_ran_ahead_stays_simulated() {
        let parent = tempfile::tempdir().unwrap();
        let installation = Installation::open(&parent.path().join("data")).unwrap();
        let id = "MSL0000000002".parse().unwrap();
        let bases = [1.0, 60.0, 1.0].map(|speed| installation.meter(id, speed).unwrap().time_base);
        assert_eq!(bases, [TimeBase::Wall, TimeBase::Simulated, TimeBase::Simulated]);
    }

    #[test]
    fn a_second_opening_finds_the_same_identities() {
        let parent = tempfile::tempdir().unwrap();
        let id = "MSL0000000001".parse().unwrap();
        let chains: Vec<_> = (0..2)
            .map(|_| {
                let installation = Installation::open(&parent.path().join("data")).unwrap();
                let meter = installation.meter(id, 1.0).unwrap().identity;
                let (headend, _) = installation.headend().unwrap();
                (meter.chain().to_vec(), headend.chain().to_vec())
            })
            .collect();
        assert_eq!(chains[0], chains[1]);
    }
}
