//! `meterseal pki`: authorities and identities, from a folder of keys and certificates.

mod show;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use meterseal_link::pki::{
    Certificate, IssuedIdentity, OPERATIONAL_VALIDITY, Reason, Serial, read_certificates, read_request,
    write_certificates,
};
use meterseal_link::{Pki, Validity};
use meterseal_model::{MeterId, Role, Roles};

/// Make, renew, revoke and show identities
///
/// A root, and below it the manufacturer (makes meters' device identities), the utility (head-ends, clients, time
/// sources and meters' operational identities) and certification (signs marks). P-384 throughout. Private keys stand
/// in files that only their owner can read, and are never printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a root, the intermediates below it, and their empty lists of revoked certificates
    Init {
        /// The folder; it must not exist yet
        dir: PathBuf,
    },
    /// Make a key pair and a certificate for it
    Issue {
        #[command(subcommand)]
        whom: Whom,
    },
    /// Sign a request (PKCS#10) that a meter made for a key pair of its own: its operational identity
    ///
    /// The request must be signed with its own key and be for the meter that is given. Names are made anew, not copied.
    SignRequest {
        /// The request, PEM or DER
        request: PathBuf,
        /// The meter that it must be for, as in MSL0000000001
        #[arg(long, value_name = "ID")]
        meter: MeterId,
        /// The certificate's file, with the utility's below it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Sign as the manufacturer: a device identity
        #[arg(long)]
        device: bool,
        /// How long it lasts; 365 for an operational, 7300 for a device identity where nothing is said
        #[arg(long, value_name = "DAYS", value_parser = days())]
        days: Option<u32>,
        #[command(flatten)]
        authorities: Authorities,
    },
    /// Make a new key pair and certificate with the names and roles of those in a folder, and put them there
    Renew {
        /// Folder with certificate.pem and key.pem
        dir: PathBuf,
        /// How long it lasts; as long as the one before where nothing is said
        #[arg(long, value_name = "DAYS", value_parser = days())]
        days: Option<u32>,
        /// Revoke the certificate that it replaces; else that one stays valid until its end
        #[arg(long)]
        revoke_old: bool,
        #[command(flatten)]
        authorities: Authorities,
    },
    /// Revoke a certificate for good
    ///
    /// A head-end that runs on this folder closes the connection within seconds. Others need the new list
    /// (NAME.crl.pem) in their folder.
    Revoke {
        /// A serial number, as `pki list` shows it, or a certificate's file
        #[arg(value_name = "SERIAL|FILE")]
        which: String,
        /// Why
        #[arg(long, value_enum, default_value_t = ReasonArg::Unspecified)]
        reason: ReasonArg,
        #[command(flatten)]
        authorities: Authorities,
    },
    /// Sign the lists of revoked certificates anew; each is due within a week of the last
    Refresh {
        #[command(flatten)]
        authorities: Authorities,
    },
    /// List issued certificates, newest last
    List {
        /// Only what is valid now and not revoked
        #[arg(long)]
        valid: bool,
        /// JSON in place of a table
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        authorities: Authorities,
    },
    /// Show what a certificate file says
    Show {
        /// A PEM file with one or more certificates
        file: PathBuf,
        /// JSON in place of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Whom {
    /// A meter's device identity, from its manufacturer: lets it enrol at its utility
    Meter {
        /// The meter's identifier, as in MSL0000000001
        id: MeterId,
        #[command(flatten)]
        issue: Issue,
    },
    /// A head-end: roles utility and firmware
    Headend {
        /// Its name: lower-case letters, digits and inner hyphens
        name: String,
        #[command(flatten)]
        issue: Issue,
    },
    /// A person or program at meters' local ports
    Client {
        /// Its name: lower-case letters, digits and inner hyphens
        name: String,
        /// What it may do at a meter; several with commas or by repeating
        #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',')]
        role: Vec<Role>,
        #[command(flatten)]
        issue: Issue,
    },
    /// A time source: signs time for meters that have no clock
    Time {
        /// Its name: lower-case letters, digits and inner hyphens
        name: String,
        #[command(flatten)]
        issue: Issue,
    },
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// Folder for certificate.pem and key.pem
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long it lasts; 7300 for a meter, 730 for a head-end and a time source, 365 for a client
    #[arg(long, value_name = "DAYS", value_parser = days())]
    days: Option<u32>,
    #[command(flatten)]
    authorities: Authorities,
}

#[derive(Debug, clap::Args)]
struct Authorities {
    /// Folder of the authorities
    #[arg(id = "authorities", long = "pki", value_name = "DIR", default_value = "meterseal-data/pki")]
    dir: PathBuf,
}

impl Authorities {
    fn open(&self) -> Result<Pki> {
        if !self.dir.exists() {
            bail!(
                "there are no authorities in {}; make them with `meterseal pki init`, or give their folder with --pki",
                self.dir.display()
            );
        }
        Ok(Pki::open(&self.dir)?)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasonArg {
    Unspecified,
    KeyCompromise,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

impl From<ReasonArg> for Reason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::Unspecified => Self::Unspecified,
            ReasonArg::KeyCompromise => Self::KeyCompromise,
            ReasonArg::Superseded => Self::Superseded,
            ReasonArg::CessationOfOperation => Self::CessationOfOperation,
            ReasonArg::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
        }
    }
}

pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<()> {
    match &arguments.command {
        Command::Init { dir } => {
            Pki::create(dir)?;
            writeln!(out, "made root, manufacturer, utility and certification in {}", dir.display())?;
            writeln!(
                out,
                "keep root.key.pem elsewhere: it is needed to revoke an intermediate, and once a week for its list"
            )?;
        }
        Command::Issue { whom } => issue(whom, out)?,
        Command::SignRequest { request, meter, out: file, device, days, authorities } => {
            let pki = authorities.open()?;
            let der = read_request(request)?;
            let chain = if *device {
                pki.sign_device_request(*meter, &der, validity(*days, DEVICE_DAYS))?
            } else {
                let standard = (OPERATIONAL_VALIDITY.as_secs() / DAY) as u32;
                pki.sign_request(*meter, &der, validity(*days, standard))?
            };
            write_certificates(file, &chain)?;
            writeln!(out, "{}\n{}", show::line(&Certificate::read(&chain[0])?), file.display())?;
        }
        Command::Renew { dir, days, revoke_old, authorities } => {
            let pki = authorities.open()?;
            let old = read_certificates(&dir.join("certificate.pem"))?.remove(0);
            let length = Certificate::read(&old)?.validity.length();
            let length = days.map_or(length, |days| Duration::from_secs(u64::from(days) * DAY));
            let new = pki.renew(&old, Validity::from_now(length))?;
            store(&new, dir, out)?;
            if *revoke_old {
                pki.revoke(&old, Reason::Superseded)?;
                writeln!(out, "revoked {}", Certificate::read(&old)?.serial)?;
            }
        }
        Command::Revoke { which, reason, authorities } => {
            let pki = authorities.open()?;
            let certificate = if Path::new(which).is_file() {
                read_certificates(Path::new(which))?.remove(0)
            } else {
                let serial: Serial = which.parse().with_context(|| {
                    format!("`{which}` is neither a certificate's file nor a serial number")
                })?;
                pki.find(&serial)?
            };
            let read = Certificate::read(&certificate)?;
            let done =
                if pki.revoke(&certificate, (*reason).into())? { "revoked" } else { "was revoked before" };
            writeln!(out, "{done}: {}", show::line(&read))?;
        }
        Command::Refresh { authorities } => {
            authorities.open()?.refresh(true)?;
            writeln!(out, "signed the lists in {} anew", authorities.dir.display())?;
        }
        Command::List { valid, json, authorities } => show::list(&authorities.open()?, *valid, *json, out)?,
        Command::Show { file, json } => show::file(file, *json, out)?,
    }
    Ok(())
}

fn issue(whom: &Whom, out: &mut impl Write) -> Result<()> {
    let (Whom::Meter { issue, .. }
    | Whom::Headend { issue, .. }
    | Whom::Client { issue, .. }
    | Whom::Time { issue, .. }) = whom;
    let dir = &issue.out;
    if dir.join("key.pem").exists() {
        bail!(
            "{} holds a key already; renew it with `meterseal pki renew`, or give another folder",
            dir.display()
        );
    }
    let pki = issue.authorities.open()?;
    let issued = match whom {
        Whom::Meter { id, .. } => pki.issue_meter_for(*id, validity(issue.days, DEVICE_DAYS))?,
        Whom::Headend { name, .. } => pki.issue_headend_for(name, validity(issue.days, 730))?,
        Whom::Client { name, role, .. } => {
            let roles: Roles = role.iter().copied().collect();
            pki.issue_client(name, roles, validity(issue.days, 365))?
        }
        Whom::Time { name, .. } => pki.issue_time(name, validity(issue.days, 730))?,
    };
    store(&issued, dir, out)
}

fn store(issued: &IssuedIdentity, dir: &Path, out: &mut impl Write) -> Result<()> {
    issued.save(dir)?;
    let certificate = issued.identity()?.certificate()?;
    writeln!(
        out,
        "{}\n{} and {}",
        show::line(&certificate),
        dir.join("certificate.pem").display(),
        dir.join("key.pem").display()
    )?;
    Ok(())
}

fn validity(days: Option<u32>, standard: u32) -> Validity {
    Validity::from_now(Duration::from_secs(u64::from(days.unwrap_or(standard)) * DAY))
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=20 * 365)
}

const DAY: u64 = 24 * 3600;
/// As long as a meter lives, and no longer than its manufacturer's certificate.
const DEVICE_DAYS: u32 = 20 * 365;
