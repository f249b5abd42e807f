//! What a head-end needs to start, and why it may not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meterseal_link::accept::AcceptLimits;
use meterseal_link::opening::TimeSource;
use meterseal_link::{DlmsKeys, Identity, Trust};
use meterseal_model::{MeterId, SystemTitle, TimeBase};
use meterseal_seal::{Scope, SealPublicKey};

use crate::acquisition::AttestationPolicy;
use crate::deliveries::Receiver;
use crate::enrolment::Enrolment;
use crate::store::StoreError;
use crate::virtual_sites::VirtualSites;

/// How a head-end is set up.
#[derive(Debug)]
pub struct Config {
    /// Folder for the database; made where it is missing.
    pub data_dir: PathBuf,
    /// Where meters call. Any address: everything there is TLS 1.3 with certificates both ways.
    pub gateway_listen: SocketAddr,
    /// Where the page and the API answer: an address of this machine's loopback only, since they speak plain HTTP.
    pub page_listen: SocketAddr,
    /// The head-end's certificate and key.
    pub identity: Identity,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// What bounds connections at the gateway. Raise those of addresses that many meters share.
    pub accept: AcceptLimits,
    /// What signs time for meters without a clock; without it, they cannot connect.
    pub time: Option<TimeSource>,
    /// How meters are enrolled and their identities renewed; without it, only those with an operational identity are
    /// served.
    pub enrolment: Option<Enrolment>,
    /// Folder in which the authorities' lists of revoked certificates (`*.crl.pem`) appear; a new one is in effect
    /// within seconds.
    pub revocations: Option<PathBuf>,
    /// The head-end's own DLMS system title: half of every nonce that it sends. One head-end, one title.
    pub system_title: SystemTitle,
    /// The meters that may call.
    pub meters: Vec<MeterEntry>,
    /// Signed marks.
    pub marks: Vec<Vec<u8>>,
    /// The trust root that the meters have: firmware for campaigns is verified with it. Looked for whenever a package comes
    /// in.
    pub firmware_root: PathBuf,
    /// Keys by which marks are trusted.
    pub certification_keys: Vec<SealPublicKey>,
    /// Whether meters that cannot prove what they run are read.
    pub attestation: AttestationPolicy,
    /// How often meters are read.
    pub pace: Pace,
    /// Who outside is told of alarms.
    pub receivers: Vec<Receiver>,
    /// How long a meter may be silent before that is an alarm; longer than the pace at which it is read.
    pub silent_after: Duration,
    /// Simulated sites in the same program, if there are any.
    pub virtual_sites: Option<Arc<dyn VirtualSites>>,
}

/// How often a connected meter is read. What it pushes comes at once, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two live readings, above 0.
    pub live: Duration,
    /// Between two looks at the ends of its security log and load profile, above 0.
    pub gaps: Duration,
}

impl Default for Pace {
    /// For a few meters that somebody watches: a reading a second, a look every ten.
    fn default() -> Self {
        Self { live: Duration::from_secs(1), gaps: Duration::from_secs(10) }
    }
}

/// A meter that may call.
#[derive(Clone, Debug)]
pub struct MeterEntry {
    /// Its identifier, as in its certificate.
    pub id: MeterId,
    /// What people call it.
    pub name: String,
    /// What kind of site it measures: `factory`, `home`, `commercial` or another word.
    pub site: String,
    /// Whether it is simulated.
    pub is_virtual: bool,
    /// Which clock it follows.
    pub time_base: TimeBase,
    /// The utility's global keys of this meter.
    pub keys: DlmsKeys,
    /// The firmware role's global keys of this meter; without them, campaigns cannot reach it.
    pub firmware_keys: Option<DlmsKeys>,
    /// Scopes of marks on which it is admitted; by policy only `laboratory`, except for the meters of `up`.
    pub allowed_scopes: Vec<Scope>,
}

/// Why a head-end did not start. Each says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file for commands of this machine.
    #[error("cannot write {} for the commands of this machine: {why}; check the folder", .path.display())]
    Commands {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An address is taken.
    #[error(
        "{what} cannot listen on {address}: the address is in use; stop the other program, or choose another address ({option})"
    )]
    AddressInUse {
        /// The page or the gateway.
        what: &'static str,
        /// Which address.
        address: SocketAddr,
        /// The option that changes it.
        option: &'static str,
    },
    /// An address cannot be used.
    #[error("{what} cannot listen on {address}: {source}; choose an address of this machine ({option})")]
    Listen {
        /// The page or the gateway.
        what: &'static str,
        /// Which address.
        address: SocketAddr,
        /// The option that changes it.
        option: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The page may not leave this machine without TLS.
    #[error("the page cannot listen on {address}: it speaks plain HTTP, which may not leave this machine; use a loopback address such as 127.0.0.1:{} (--listen), and an SSH tunnel to reach it from elsewhere", .address.port())]
    NotLoopback {
        /// Which address.
        address: SocketAddr,
    },
    /// The same meter twice.
    #[error("meter {meter} stands twice in the configuration; remove one of the two")]
    MeterTwice {
        /// Which.
        meter: MeterId,
    },
    /// The operating system gave no random numbers.
    #[error(
        "the operating system gave no random numbers ({0}); without them nothing is safe: check the system"
    )]
    Random(getrandom::Error),
    /// The identity or the trust cannot be used.
    #[error("the head-end's certificate or trust cannot be used: {0}; check the files in the pki folder")]
    Tls(String),
}
