//! Marks: their keys and certificates, the results that they rest upon, and the text of their QR codes.

use std::path::Path;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use meterseal_link::pki::read_certificates;
use meterseal_model::UnixMillis;
use meterseal_seal::SealPublicKey;
use meterseal_seal::chain::{CertificationKey, certification_key};
use meterseal_seal::evidence::Kind;
use meterseal_seal::mark::check::{self, Known};
use meterseal_seal::mark::code;

use super::show::Shown;
use super::{Given, read};

pub(super) fn check(bytes: &[u8], given: &Given) -> Result<Shown> {
    if given.fingerprint.is_some() || given.earlier.is_some() || given.csv.is_some() {
        bail!("a mark has no meter's fingerprint, no earlier file and no readings; leave those options out");
    }
    let believed = believed(&given.trust)?;
    if believed.keys.is_empty() && believed.certified.is_empty() {
        bail!(
            "a mark does not hold its key; give the certification key's certificate (certification.cert.pem) or public key \
             with --trust"
        );
    }
    let beside = |name: &str| match &given.for_mark.report {
        Some(folder) if folder.join(name).exists() => read(&folder.join(name)).map(Some),
        _ => Ok(None),
    };
    let (results, report) = (beside("results.cbor")?, beside("report.json")?);
    if let Some(folder) = given.for_mark.report.as_deref().filter(|_| results.is_none()) {
        bail!("{} holds no results.cbor; give the folder of the certification's results", folder.display());
    }
    let at = given.for_mark.at.unwrap_or_else(Timestamp::now);
    let known = Known {
        revocations: given.for_mark.revocations.iter().map(|path| read(path)).collect::<Result<_>>()?,
        results,
        report,
        now: UnixMillis(at.as_millisecond()),
        ..believed
    };
    let report = check::check(bytes, &known).0;
    Ok(Shown { kind: Kind::Mark, report, period: None, quantities: Vec::new() })
}

/// The mark in the text of a QR code, or whatever else was given.
pub(super) fn of_code(bytes: Vec<u8>) -> Vec<u8> {
    std::str::from_utf8(&bytes).ok().and_then(code::read).unwrap_or(bytes)
}

/// Keys that may sign marks: bare, or in certificates that say so. A root among them vouches for those.
pub(crate) fn believed<P: AsRef<Path>>(files: &[P]) -> Result<Known> {
    let mut known = Known::default();
    let mut certificates = Vec::new();
    for path in files.iter().map(AsRef::as_ref) {
        let text = String::from_utf8(read(path)?).unwrap_or_default();
        if text.contains("BEGIN PUBLIC KEY") {
            known.keys.push(SealPublicKey::from_pem(&text).with_context(|| path.display().to_string())?);
            continue;
        }
        certificates.extend(read_certificates(path)?.into_iter().map(|der| (path, der.to_vec())));
    }
    let all: Vec<Vec<u8>> = certificates.iter().map(|(_, der)| der.clone()).collect();
    for (path, der) in &certificates {
        match certification_key(der, &all) {
            Ok(key) => known.certified.push(key),
            // The authority of one that is there.
            Err(_) if vouches(der, &all) => {}
            Err(error) => return Err(anyhow::Error::new(error).context(path.display().to_string())),
        }
    }
    Ok(known)
}

fn vouches(authority: &[u8], all: &[Vec<u8>]) -> bool {
    let with = [authority.to_vec()];
    all.iter().any(|der| {
        certification_key(der, &with).is_ok_and(|CertificationKey { issuer, .. }| issuer.is_some())
    })
}
