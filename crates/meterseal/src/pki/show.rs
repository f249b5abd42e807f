//! Certificates for people and, as JSON, for programs.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use meterseal_link::Pki;
use meterseal_link::pki::{Certificate, moment, read_certificates};
use meterseal_link::tls::Peer;
use serde::Serialize;

/// One certificate as JSON: field names are part of the interface.
#[derive(Serialize)]
struct Shown<'a> {
    serial: String,
    kind: &'static str,
    name: String,
    roles: Vec<&'static str>,
    issuer: &'a str,
    not_before: String,
    not_after: String,
    state: &'static str,
    revocation: Option<String>,
    key_fingerprint: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(certificate: &'a Certificate, revocation: Option<String>) -> Self {
        let (kind, name) = kind_and_name(certificate);
        let now = SystemTime::now();
        let state = match &revocation {
            Some(_) => "revoked",
            None if certificate.validity.not_after < now => "expired",
            None if certificate.validity.not_before > now => "not valid yet",
            None if certificate.renewal_due() < now => "renew",
            None => "valid",
        };
        Self {
            serial: certificate.serial.to_string(),
            kind,
            name,
            roles: certificate.roles.iter().map(|role| role.name()).collect(),
            issuer: &certificate.issuer,
            not_before: moment(certificate.validity.not_before),
            not_after: moment(certificate.validity.not_after),
            state,
            revocation,
            key_fingerprint: certificate.key_fingerprint.map(|fingerprint| fingerprint.to_string()),
        }
    }
}

/// One line for one certificate.
pub(super) fn line(certificate: &Certificate) -> String {
    let (kind, name) = kind_and_name(certificate);
    let roles =
        if certificate.roles.is_empty() { String::new() } else { format!(", roles {}", certificate.roles) };
    format!(
        "{kind} {name}{roles}, serial {}, until {}",
        certificate.serial,
        moment(certificate.validity.not_after)
    )
}

/// Every issued certificate, oldest first.
pub(super) fn list(pki: &Pki, valid: bool, json: bool, out: &mut impl Write) -> Result<()> {
    let revoked = pki.revoked()?;
    let certificates = pki.issued()?.iter().map(Certificate::read).collect::<Result<Vec<_>, _>>()?;
    let shown: Vec<_> = certificates
        .iter()
        .map(|certificate| Shown::new(certificate, revoked.of(certificate).map(|entry| entry.describe())))
        .filter(|shown| !valid || matches!(shown.state, "valid" | "renew"))
        .collect();
    if json {
        serde_json::to_writer_pretty(&mut *out, &shown)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "{:<32}  {:<13}  {:<8}  {:<15}  {:<20}  ROLES",
        "SERIAL", "STATE", "KIND", "NAME", "UNTIL"
    )?;
    for one in shown {
        let (serial, state, kind, name) = (&one.serial, one.state, one.kind, &one.name);
        let roles = one.roles.join(",");
        writeln!(out, "{serial:<32}  {state:<13}  {kind:<8}  {name:<15}  {:<20}  {roles}", one.not_after)?;
    }
    Ok(())
}

/// What a file's certificates say. Whether somebody revoked them is not in the file.
pub(super) fn file(path: &Path, json: bool, out: &mut impl Write) -> Result<()> {
    let chain = read_certificates(path)?;
    let certificates = chain.iter().map(Certificate::read).collect::<Result<Vec<_>, _>>()?;
    if json {
        let shown: Vec<_> = certificates.iter().map(|certificate| Shown::new(certificate, None)).collect();
        serde_json::to_writer_pretty(&mut *out, &shown)?;
        writeln!(out)?;
        return Ok(());
    }
    for (place, certificate) in certificates.iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        let shown = Shown::new(certificate, None);
        let roles = if shown.roles.is_empty() { "none".to_owned() } else { shown.roles.join(", ") };
        writeln!(out, "{:<10}{}", shown.kind, shown.name)?;
        writeln!(out, "roles     {roles}")?;
        writeln!(out, "serial    {}", shown.serial)?;
        writeln!(out, "issuer    {}", shown.issuer)?;
        writeln!(out, "valid     {} to {} ({})", shown.not_before, shown.not_after, shown.state)?;
        writeln!(out, "renew     from {}", moment(certificate.renewal_due()))?;
        writeln!(out, "key       {}", shown.key_fingerprint.as_deref().unwrap_or("not P-384"))?;
    }
    Ok(())
}

fn kind_and_name(certificate: &Certificate) -> (&'static str, String) {
    match &certificate.peer {
        Some(Peer::Meter(meter)) => ("meter", meter.to_string()),
        Some(Peer::Headend(name)) => ("head-end", name.clone()),
        Some(Peer::Client(name)) => ("client", name.clone()),
        Some(Peer::Time(name)) => ("time", name.clone()),
        None if certificate.is_authority => ("authority", certificate.subject.clone()),
        None => ("log-key", certificate.subject.clone()),
    }
}
