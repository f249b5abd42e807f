//! Who belongs to a fleet: identities and DLMS keys of all its meters in one file, made once and then only added to.
//!
//! The file has a line of JSON for each meter, for its owner only, with its keys under AES-256-GCM with the fleet's secret
//! (`fleet.secret` beside it). It is the enrolment too: a fleet's meters are born with operational identities, because
//! ten thousand enrolments over COSEM would take longer than most loads last; a head-end that opens the same data folder
//! knows the meters by it. Files of earlier versions, with keys in the clear, the manufacturer's identities, or without
//! log keys, are rewritten once; identities that are due are renewed at the start. An earlier version of the program
//! refuses a file with log keys.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use meterseal_link::keys::{DeviceSecret, HeldKey};
use meterseal_link::pki::{OPERATIONAL_VALIDITY, write_secret};
use meterseal_link::{Identity, Pki, Validity};
use meterseal_model::MeterId;
use meterseal_seal::attestation::BootStage;
use meterseal_seal::{KeySlot, SealKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::progress::Progress;

/// One meter's enrolment. Keys are wiped when it is dropped.
pub(crate) struct Member {
    pub(crate) meter: MeterName,
    /// Certificate chain in PEM, own certificate first.
    pub(crate) certificates: String,
    /// Private key in PKCS#8 PEM.
    pub(crate) key: String,
    /// Global encryption and authentication key, 64 hexadecimal digits each.
    encryption: String,
    authentication: String,
    /// The firmware role's keys, encryption and then authentication: derived from the fleet's secret, so that head-end and
    /// meters have them without another line in the file.
    firmware: Option<[Zeroizing<[u8; 32]>; 2]>,
    /// What seals its log; none in files of earlier versions, until they are rewritten.
    log: Option<LogKey>,
    /// The device secret of its boot stage, 64 hexadecimal digits; empty in files of earlier versions, until they are renewed.
    boot: String,
    /// The boot key's certificates in DER, as hexadecimal digits.
    boot_certificates: Vec<String>,
}

/// The key that signs a meter's checkpoints, certified by its manufacturer.
struct LogKey {
    /// Private key in PKCS#8 PEM.
    key: String,
    /// Its certificates, its own first, DER.
    certificates: Vec<Vec<u8>>,
}

impl LogKey {
    fn make(pki: &Pki, meter: MeterId) -> Result<Self> {
        let key =
            SealKey::generate(getrandom::fill).context("the operating system gave no random numbers")?;
        let certificates = pki.certify_log_key(meter, key.public())?;
        let pem = key.to_pkcs8_pem().context("a log key cannot be written")?;
        Ok(Self {
            key: pem.as_str().to_owned(),
            certificates: certificates.iter().map(|der| der.to_vec()).collect(),
        })
    }
}

impl Drop for LogKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The device secret of a boot stage, and the certificates of its key.
pub(crate) type BootSecret = (Zeroizing<[u8; 32]>, Vec<Vec<u8>>);

/// A member as it stands in the file: its keys sealed, or, from earlier versions, in the clear.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    meter: MeterName,
    certificates: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    boot_certificates: Vec<String>,
    /// Hexadecimal digits of [`Secrets`], sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    /// The log key's certificates in DER, hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_certificates: Vec<String>,
    #[serde(default, skip_serializing)]
    key: Option<String>,
    #[serde(default, skip_serializing)]
    encryption: Option<String>,
    #[serde(default, skip_serializing)]
    authentication: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Secrets {
    key: String,
    encryption: String,
    authentication: String,
    #[serde(default)]
    boot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.log.zeroize();
        self.key.zeroize();
        self.encryption.zeroize();
        self.authentication.zeroize();
        self.boot.zeroize();
    }
}

impl Line {
    fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    fn open(self, secret: &DeviceSecret) -> Result<Member> {
        let mut secrets = match (self.sealed, self.key, self.encryption, self.authentication) {
            (Some(sealed), ..) => {
                let sealed = from_hex(&sealed).context("what is sealed is no row of hexadecimal digits")?;
                let plain = secret.open(&context(self.meter.0), &sealed)?;
                serde_json::from_slice(&plain).context("what is sealed are no keys")?
            }
            (None, Some(key), Some(encryption), Some(authentication)) => {
                Secrets { key, encryption, authentication, boot: String::new(), log: None }
            }
            _ => bail!("keys are missing"),
        };
        let log = match secrets.log.take() {
            None => None,
            Some(key) => {
                let certificates = self.log_certificates.iter().map(|digits| from_hex(digits));
                let certificates = certificates.collect::<Option<Vec<_>>>();
                Some(LogKey {
                    key,
                    certificates: certificates.context("a certificate is no row of hexadecimal digits")?,
                })
            }
        };
        Ok(Member {
            meter: self.meter,
            certificates: self.certificates,
            key: std::mem::take(&mut secrets.key),
            encryption: std::mem::take(&mut secrets.encryption),
            authentication: std::mem::take(&mut secrets.authentication),
            firmware: Some(firmware_keys(secret, self.meter.0)),
            boot: std::mem::take(&mut secrets.boot),
            boot_certificates: self.boot_certificates,
            log,
        })
    }
}

/// A meter's identifier as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct MeterName(pub(crate) MeterId);

impl TryFrom<String> for MeterName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|error: <MeterId as std::str::FromStr>::Err| error.to_string())
    }
}

impl From<MeterName> for String {
    fn from(name: MeterName) -> Self {
        name.0.to_string()
    }
}

/// A member's keys of the firmware role.
fn firmware_keys(secret: &DeviceSecret, meter: MeterId) -> [Zeroizing<[u8; 32]>; 2] {
    let key = |which: &str| secret.derive(&format!("firmware role {which} key of {meter}"));
    [key("encryption"), key("authentication")]
}

impl Drop for Member {
    fn drop(&mut self) {
        self.key.zeroize();
        self.encryption.zeroize();
        self.authentication.zeroize();
        self.boot.zeroize();
    }
}

impl Member {
    /// The same of the firmware role; none for a member that was just made and not read from the file.
    pub(crate) fn firmware_keys(&self) -> Option<([u8; 32], [u8; 32])> {
        self.firmware.as_ref().map(|[encryption, authentication]| (**encryption, **authentication))
    }

    /// Encryption key, then authentication key.
    pub(crate) fn dlms_keys(&self) -> Result<([u8; 32], [u8; 32])> {
        let key = |text: &str| self.key_of(text, "a DLMS key");
        Ok((*key(&self.encryption)?, *key(&self.authentication)?))
    }

    /// The device secret of its boot stage, and the certificates of the boot key.
    pub(crate) fn boot(&self) -> Result<BootSecret> {
        let secret = self.key_of(&self.boot, "the boot stage's secret")?;
        let chain = self.boot_certificates.iter().map(|digits| from_hex(digits)).collect::<Option<Vec<_>>>();
        Ok((secret, chain.ok_or_else(|| self.damaged("the boot key's certificate", "hexadecimal digits"))?))
    }

    fn key_of(&self, text: &str, what: &str) -> Result<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0; 32]);
        let digits = text.as_bytes().chunks_exact(2);
        let whole = text.len() == 64
            && key.iter_mut().zip(digits).all(|(byte, pair)| {
                std::str::from_utf8(pair)
                    .ok()
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                    .map(|value| *byte = value)
                    .is_some()
            });
        if whole { Ok(key) } else { Err(self.damaged(what, "64 hexadecimal digits")) }
    }

    fn damaged(&self, what: &str, wanted: &str) -> anyhow::Error {
        anyhow::anyhow!("{what} of {} is not {wanted}; restore the file from a copy", self.meter.0)
    }

    /// Gives it a boot stage's secret, and has its key certified, as its manufacturer does.
    fn make_boot_stage(&mut self, pki: &Pki) -> Result<()> {
        self.boot = random_digits()?;
        let stage = BootStage::new(&*self.key_of(&self.boot, "the boot stage's secret")?);
        let chain = pki.certify_boot_key(self.meter.0, stage.public())?;
        let digits = |der: &[u8]| der.iter().map(|byte| format!("{byte:02x}")).collect();
        self.boot_certificates = chain.iter().map(|der| digits(der)).collect();
        Ok(())
    }

    fn make(pki: &Pki, meter: MeterId) -> Result<Self> {
        let issued = pki.issue_operational(meter, Validity::from_now(OPERATIONAL_VALIDITY))?;
        let mut made = Self {
            meter: MeterName(meter),
            certificates: issued.chain_pem().to_owned(),
            key: issued.key_pem().to_owned(),
            encryption: random_digits()?,
            authentication: random_digits()?,
            firmware: None,
            log: Some(LogKey::make(pki, meter)?),
            boot: String::new(),
            boot_certificates: Vec::new(),
        };
        made.make_boot_stage(pki)?;
        Ok(made)
    }

    /// What signs its checkpoints.
    pub(crate) fn log_key(&self) -> Result<HeldKey> {
        let meter = self.meter.0;
        let log = self.log.as_ref().with_context(|| {
            format!(
                "{meter} has no key for its sealed log, because an earlier version enrolled it; enrol the fleet again, \
                 with --enrol or --serve: it gets one"
            )
        })?;
        HeldKey::new(KeySlot::Log, &log.key, log.certificates.clone())
            .with_context(|| format!("the log key of {meter} cannot be used; restore the file from a copy"))
    }

    /// Gives it a log key where it has none. `true`: done.
    fn certify_log_key(&mut self, pki: &Pki) -> Result<bool> {
        if self.log.is_none() {
            self.log = Some(LogKey::make(pki, self.meter.0)?);
            return Ok(true);
        }
        Ok(false)
    }

    /// Gives it a new identity where its own is its manufacturer's or due for renewal; the DLMS keys stay. `true`: done.
    fn renew_if_due(&mut self, pki: &Pki, origin: &Path) -> Result<bool> {
        let lacks_boot_stage = self.boot.is_empty();
        if lacks_boot_stage {
            self.make_boot_stage(pki)?;
        }
        let own = Identity::from_pem(&self.certificates, &self.key, origin)?.certificate()?;
        if pki.is_operational(&own) && own.renewal_due() > SystemTime::now() {
            return Ok(lacks_boot_stage);
        }
        let issued = pki.issue_operational(self.meter.0, Validity::from_now(OPERATIONAL_VALIDITY))?;
        self.certificates = issued.chain_pem().to_owned();
        self.key.zeroize();
        self.key = issued.key_pem().to_owned();
        Ok(true)
    }

    /// Its line in the file.
    fn line(&self, secret: &DeviceSecret) -> Result<String> {
        let secrets = Secrets {
            key: self.key.clone(),
            encryption: self.encryption.clone(),
            authentication: self.authentication.clone(),
            boot: self.boot.clone(),
            log: self.log.as_ref().map(|log| log.key.clone()),
        };
        let plain = Zeroizing::new(serde_json::to_vec(&secrets)?);
        let sealed = secret.seal(&context(self.meter.0), &plain)?;
        let line = Line {
            meter: self.meter,
            certificates: self.certificates.clone(),
            boot_certificates: self.boot_certificates.clone(),
            sealed: Some(to_hex(&sealed)),
            log_certificates: self
                .log
                .as_ref()
                .map_or_else(Vec::new, |log| log.certificates.iter().map(|der| to_hex(der)).collect()),
            key: None,
            encryption: None,
            authentication: None,
        };
        Ok(serde_json::to_string(&line)?)
    }
}

/// 32 random bytes as hexadecimal digits.
fn random_digits() -> Result<String> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut key[..]).context("the operating system gave no random numbers")?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One member's keys cannot take the place of another's.
fn context(meter: MeterId) -> String {
    format!("meterseal fleet member {meter}")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit))
        .then(|| digits.chunks_exact(2).map(pair).collect())?
}

/// The fleet's secret. A new one opens nothing: it is made only for a file without sealed keys.
fn secret(path: &Path, make: bool) -> Result<DeviceSecret> {
    let path = path.with_file_name("fleet.secret");
    if !make && !path.exists() {
        bail!(
            "{} is missing, and the fleet's keys open with nothing else; restore it from a copy",
            path.display()
        );
    }
    Ok(DeviceSecret::open_or_create(&path)?)
}

/// The first `count` members in the file; fewer where there are fewer, none where there is no file.
pub(crate) fn read(path: &Path, count: usize) -> Result<Vec<Member>> {
    Ok(read_lines(path, count)?.0)
}

/// The same, and whether any had its keys in the clear.
fn read_lines(path: &Path, count: usize) -> Result<(Vec<Member>, bool)> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let (mut members, mut opens, mut plain) = (Vec::new(), None, false);
    for (number, line) in BufReader::new(file).lines().take(count).enumerate() {
        let place = || {
            format!(
                "{}, line {}, is no fleet member; restore the file from a copy",
                path.display(),
                number + 1
            )
        };
        let line = Zeroizing::new(line.with_context(place)?);
        let line: Line = serde_json::from_str(&line).with_context(place)?;
        plain |= !line.is_sealed();
        if opens.is_none() {
            opens = Some(secret(path, !line.is_sealed())?);
        }
        let Some(secret) = &opens else { bail!(place()) };
        let member = line.open(secret).with_context(place)?;
        // Flash lies in the file in this order.
        if member.meter.0 != meter_id(number) {
            bail!("{}: {} stands where {} belongs", place(), member.meter.0, meter_id(number));
        }
        members.push(member);
    }
    Ok((members, plain))
}

/// Rewrites the file where something in it is in the clear or due: whole or not at all.
fn renew(path: &Path, pki: &Pki) -> Result<()> {
    let (mut members, mut changed) = read_lines(path, usize::MAX)?;
    for member in &mut members {
        changed |= member.renew_if_due(pki, path)?;
        changed |= member.certify_log_key(pki)?;
    }
    if !changed {
        return Ok(());
    }
    let secret = secret(path, true)?;
    let mut text = String::new();
    for member in &members {
        text += &member.line(&secret)?;
        text.push('\n');
    }
    Ok(write_secret(path, text.as_bytes())?)
}

/// Makes members until there are `count`. Keys are made on two threads; what was written stays when it is stopped.
pub(crate) fn enrol(path: &Path, pki: &Pki, count: usize) -> Result<()> {
    renew(path, pki)?;
    let have = read(path, count)?.len();
    if have >= count {
        return Ok(());
    }
    let secret = secret(path, have == 0)?;
    let failed = || format!("cannot write {}; check the room on its disk", path.display());
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).with_context(failed)?;
    let mut out = BufWriter::new(file);
    let progress = Progress::new("meters enrolled", count as f64);
    let mut next = have;
    while next < count {
        let end = count.min(next + BATCH);
        for member in make_all(pki, next..end)? {
            writeln!(out, "{}", member.line(&secret)?).with_context(failed)?;
        }
        out.flush().with_context(failed)?;
        next = end;
        progress.show(next as f64);
    }
    progress.end();
    out.get_ref().sync_all().with_context(failed)
}

fn make_all(pki: &Pki, numbers: std::ops::Range<usize>) -> Result<Vec<Member>> {
    let next = AtomicUsize::new(numbers.start);
    let work = || {
        let mut made = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return Ok(made);
            }
            made.push((number, Member::make(pki, meter_id(number))?));
        }
    };
    let halves: Vec<Result<Vec<(usize, Member)>>> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread that makes keys panicked")))
            .into()
    });
    let mut made: Vec<_> = halves.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    made.sort_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, member)| member).collect())
}

/// The fleet's meters have serial numbers of their own, from one million on.
pub(crate) fn meter_id(number: usize) -> MeterId {
    MeterId::new(*b"MSL", 1_000_000 + number as u64).expect("three capital letters and seven digits")
}

/// Members written at once.
const BATCH: usize = 250;

#[cfg(test)]
mod tests {
    use meterseal_seal::{KeyState, KeyStore as _};

    use super::*;

    #[test]
    fn members_are_made_once_and_more_are_added() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
        let path = folder.path().join("members.jsonl");
        enrol(&path, &pki, 3).unwrap();
        let first = std::fs::read_to_string(&path).unwrap();
        enrol(&path, &pki, 5).unwrap();
        let both = std::fs::read_to_string(&path).unwrap();
        assert!(both.starts_with(&first));
        let members = read(&path, 100).unwrap();
        assert_eq!(members.len(), 5);
        let keys: std::collections::HashSet<_> =
            members.iter().flat_map(|m| <[_; 2]>::from(m.dlms_keys().unwrap())).collect();
        assert_eq!(keys.len(), 10, "no key twice");
        for (number, member) in members.iter().enumerate() {
            assert_eq!(member.meter.0, meter_id(number));
            meterseal_link::Identity::from_pem(&member.certificates, &member.key, &path).unwrap();
        }
        assert_eq!(read(&path, 2).unwrap().len(), 2);
        for member in &members {
            let secrets =
                [&member.encryption, &member.authentication, &member.key.lines().nth(1).unwrap().to_owned()];
            assert!(secrets.iter().all(|secret| !both.contains(secret.as_str())), "sealed");
        }
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::write(&path, both.replacen("\n", "\nx", 1)).unwrap();
        let message = format!("{:#}", read(&path, 100).err().unwrap());
        assert!(message.contains("line 2"), "{message}");
        std::fs::remove_file(path.with_file_name("fleet.secret")).unwrap();
        let message = format!("{:#}", read(&path, 100).err().unwrap());
        assert!(message.contains("fleet.secret"), "{message}");
    }

    #[test]
    fn a_file_of_an_earlier_version_is_sealed_and_its_meters_are_enrolled() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
        let path = folder.path().join("members.jsonl");
        // As version 0.1 wrote them.
        let lines: Vec<_> = (0..2)
            .map(|number| {
                let issued = pki.issue_meter(meter_id(number)).unwrap();
                serde_json::json!({
                    "meter": meter_id(number).to_string(), "certificates": issued.chain_pem(), "key": issued.key_pem(),
                    "encryption": format!("{number}1").repeat(32), "authentication": format!("{number}2").repeat(32),
                })
                .to_string()
            })
            .collect();
        write_secret(&path, (lines.join("\n") + "\n").as_bytes()).unwrap();
        enrol(&path, &pki, 3).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("PRIVATE KEY") && !text.contains(&"01".repeat(32)), "{text}");
        let members = read(&path, 10).unwrap();
        assert_eq!(members[1].dlms_keys().unwrap(), ([0x11; 32], [0x12; 32]));
        for member in &members {
            let own = Identity::from_pem(&member.certificates, &member.key, &path).unwrap();
            assert!(pki.is_operational(&own.certificate().unwrap()));
            let log = member.log_key().unwrap();
            let chain = log.certificates(KeySlot::Log).unwrap();
            let at = meterseal_model::UnixMillis(jiff::Timestamp::now().as_millisecond());
            let trusted: Vec<_> = pki.trust().meters.iter().map(|der| der.to_vec()).collect();
            let certified =
                meterseal_seal::chain::verify_log_key(&chain, member.meter.0, at, &trusted).unwrap();
            assert!(certified.trusted);
            assert_eq!(Ok(certified.key), log.public_key(KeySlot::Log, KeyState::Current));
        }
        enrol(&path, &pki, 3).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "once");
    }
}
