//! Who belongs to a fleet: identities and DLMS keys of all its meters in one file, made once and then only added to.
//!
//! The file has a line of JSON for each meter, for its owner only. It is the enrolment too: a head-end that opens the
//! same data folder knows the meters by it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use meterseal_link::pki::OPERATIONAL_VALIDITY;
use meterseal_link::{Pki, Validity};
use meterseal_model::MeterId;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::progress::Progress;

/// One meter's enrolment. Keys are wiped when it is dropped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) meter: MeterName,
    /// Certificate chain in PEM, own certificate first.
    pub(crate) certificates: String,
    /// Private key in PKCS#8 PEM.
    pub(crate) key: String,
    /// Global encryption and authentication key, 64 hexadecimal digits each.
    encryption: String,
    authentication: String,
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

impl Drop for Member {
    fn drop(&mut self) {
        self.key.zeroize();
        self.encryption.zeroize();
        self.authentication.zeroize();
    }
}

impl Member {
    /// Encryption key, then authentication key.
    pub(crate) fn dlms_keys(&self) -> Result<([u8; 32], [u8; 32])> {
        let key = |text: &str| {
            let mut key = [0; 32];
            let digits = text.as_bytes().chunks_exact(2);
            let whole = text.len() == 64
                && key.iter_mut().zip(digits).all(|(byte, pair)| {
                    std::str::from_utf8(pair)
                        .ok()
                        .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                        .map(|value| *byte = value)
                        .is_some()
                });
            whole.then_some(key).with_context(|| {
                format!(
                    "a DLMS key of {} is not 64 hexadecimal digits; restore the file from a copy",
                    self.meter.0
                )
            })
        };
        Ok((key(&self.encryption)?, key(&self.authentication)?))
    }

    fn make(pki: &Pki, meter: MeterId) -> Result<Self> {
        let issued = pki.issue_operational(meter, Validity::from_now(OPERATIONAL_VALIDITY))?;
        let random = || -> Result<String> {
            let mut key = Zeroizing::new([0; 32]);
            getrandom::fill(&mut key[..]).context("the operating system gave no random numbers")?;
            Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        Ok(Self {
            meter: MeterName(meter),
            certificates: issued.chain_pem().to_owned(),
            key: issued.key_pem().to_owned(),
            encryption: random()?,
            authentication: random()?,
        })
    }
}

/// The first `count` members in the file; fewer where there are fewer, none where there is no file.
pub(crate) fn read(path: &Path, count: usize) -> Result<Vec<Member>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut members = Vec::new();
    for (number, line) in BufReader::new(file).lines().take(count).enumerate() {
        let place = || {
            format!(
                "{}, line {}, is no fleet member; restore the file from a copy",
                path.display(),
                number + 1
            )
        };
        let line = Zeroizing::new(line.with_context(place)?);
        let member: Member = serde_json::from_str(&line).with_context(place)?;
        // Flash lies in the file in this order.
        if member.meter.0 != meter_id(number) {
            bail!("{}: {} stands where {} belongs", place(), member.meter.0, meter_id(number));
        }
        members.push(member);
    }
    Ok(members)
}

/// Makes members until there are `count`. Keys are made on two threads; what was written stays when it is stopped.
pub(crate) fn enrol(path: &Path, pki: &Pki, count: usize) -> Result<()> {
    let have = read(path, count)?.len();
    if have >= count {
        return Ok(());
    }
    let failed = || format!("cannot write {}; check the room on its disk", path.display());
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).with_context(failed)?;
    let mut out = BufWriter::new(file);
    let progress = Progress::new("meters enrolled", count as f64);
    let mut next = have;
    while next < count {
        let end = count.min(next + BATCH);
        for member in make_all(pki, next..end)? {
            let line = Zeroizing::new(serde_json::to_string(&member)?);
            writeln!(out, "{}", line.as_str()).with_context(failed)?;
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
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::write(&path, both.replacen("\n", "\nx", 1)).unwrap();
        let message = format!("{:#}", read(&path, 100).err().unwrap());
        assert!(message.contains("line 2"), "{message}");
    }
}
