//! The network side of a virtual meter: a second sample of its type that runs as a device, with real sockets on the loopback, its own flash and
//! authorities that are made for the run. Time is the wall's here.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meterseal_device::{Access, Device, LocalAccess, LocalPort, Opened, Place, Settings};
use meterseal_link::client::Limits;
use meterseal_link::device_trust::DeviceTrust;
use meterseal_link::dial::{Target, Tcp};
use meterseal_link::opening::TimeSource;
use meterseal_link::pki::{PkiError, Reason};
use meterseal_link::tls::{self, ServerProfile};
use meterseal_link::{Association, DlmsKeys, Identity, Peer, Pki, Trust, Validity, revocation};
use meterseal_model::{MeterId, Role, Roles, SystemTitle, TimeBase};
use meterseal_world::site::SiteKind;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use super::forge::forge;
use super::meter::{Made, identifier};
use crate::certify::peer::{Shown, Side, TlsPeer};
use crate::certify::{Exchange, Trouble};

/// What stands between the sample and the bench. The sound meter has nothing there; a defective one can have what it does wrong.
pub trait Front: Send {
    /// Where the bench finds the local port of a meter whose own is at `port`.
    ///
    /// # Errors
    /// [`std::io::Error`]: it cannot stand there.
    fn listen(&mut self, inside: &Inside, port: SocketAddr) -> std::io::Result<SocketAddr> {
        let _ = inside;
        Ok(port)
    }

    /// Where the meter dials, so that the bench at `bench` is reached.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    fn dial(&mut self, inside: &Inside, bench: SocketAddr) -> std::io::Result<SocketAddr> {
        let _ = inside;
        Ok(bench)
    }
}

/// Nothing in between.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFront;

impl Front for NoFront {}

/// What is inside the meter's boundary: what a [`Front`] may use, since it is a part of the meter.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Where its tasks run.
    pub runtime: Handle,
    /// Who the meter is.
    pub meter: MeterId,
    /// What the meter shows.
    pub own: Identity,
    /// A caller that the meter's own port takes.
    pub caller: Identity,
    /// The meter's head-end, as the meter wants it, with its time source.
    pub head_end: ServerProfile,
    /// Whom the meter trusts, with the revocations that it knows of.
    pub trust: Trust,
}

/// The sample.
pub(super) struct Sockets {
    made: Made,
    front: Box<dyn Front>,
    device: Option<Device>,
    watching: Option<JoinHandle<()>>,
    own: Identity,
    identities: BTreeMap<(Side, Shown), Identity>,
    inward: Identity,
    time: TimeSource,
    pki: Pki,
    listener: TcpListener,
    reached: Option<SocketAddr>,
    log: Vec<Exchange>,
    begun: std::time::Instant,
    folder: tempfile::TempDir,
    // Last: what runs in it is gone by then.
    runtime: Runtime,
}

/// The head-end that the sample dials.
const HEAD_END: &str = "bench";
/// A meter that is not the sample.
const OTHER_SERIAL: u64 = 2;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Messages that are kept.
const LOG_MAX: usize = 20_000;

impl Sockets {
    pub(super) fn new(made: &Made, front: Box<dyn Front>) -> Result<Self, Trouble> {
        let bench = |error: std::io::Error| Trouble::Bench(format!("no sockets for the sample: {error}"));
        let folder = tempfile::tempdir().map_err(bench)?;
        let pki = Pki::create(&folder.path().join("pki")).map_err(certificates)?;
        let identity = |issued: Result<meterseal_link::pki::IssuedIdentity, PkiError>| {
            issued.and_then(|issued| issued.identity()).map_err(certificates)
        };
        let own = identity(pki.issue_meter(identifier()))?;
        let inward = identity(pki.issue_client("inward", Roles::AUTHENTICATED, Validity::from_now(DAY)))?;
        let time = folder.path().join("time");
        let issued = pki.issue_time(HEAD_END, Validity::from_now(DAY)).map_err(certificates)?;
        issued.save(&time).map_err(certificates)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let mut sockets = Self {
            made: made.clone(),
            front,
            device: None,
            watching: None,
            own,
            identities: BTreeMap::new(),
            inward,
            time: TimeSource::load(&time).map_err(certificates)?,
            pki,
            listener: listener()?,
            reached: None,
            log: Vec::new(),
            begun: std::time::Instant::now(),
            folder,
            runtime: runtime.map_err(bench)?,
        };
        sockets.start()?;
        Ok(sockets)
    }

    pub(super) fn take_log(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.log)
    }

    /// Power on, with what the meter remembers of whom it trusts.
    fn start(&mut self) -> Result<(), Trouble> {
        let does_not = |error: &dyn std::fmt::Display| Trouble::Meter(format!("it does not start: {error}"));
        let trust = DeviceTrust::open(&self.folder.path().join("trust.cbor"), &self.pki.trust());
        let trust = Arc::new(trust.map_err(|error| does_not(&error))?);
        let head_end = self.identity(Side::HeadEnd, Shown::Good)?;
        let profile = |made: Result<ServerProfile, rustls::Error>| made.map_err(|error| does_not(&error));
        let inside = Inside {
            runtime: self.runtime.handle().clone(),
            meter: identifier(),
            own: self.own.clone(),
            caller: self.inward.clone(),
            head_end: profile(tls::gateway_config(&head_end, &self.pki.trust()))?
                .with_time(self.time.clone()),
            trust: trust.trust().clone(),
        };
        // Another port each time: what it dialled before is nobody's call any more.
        self.listener = listener()?;
        let bench = self.listener.local_addr().map_err(|error| does_not(&error))?;
        let dialled = self.front.dial(&inside, bench).map_err(|error| does_not(&error))?;
        let local = profile(tls::local_port_config(&self.own, trust.trust(), trust.clock()))?;
        let settings = Settings {
            identity: self.made.identity(),
            keys: self.made.keys(Role::Utility).ok_or_else(|| does_not(&"no keys for the utility"))?,
            tls: tls::meter_config_with(&self.own, trust.trust(), trust.clock())
                .map_err(|error| does_not(&error))?,
            trust: Some(Arc::clone(&trust)),
            network: Arc::new(Tcp),
            headend: Target { address: dialled.to_string(), headend: HEAD_END.to_owned() },
            access: Access {
                local: Some(LocalPort {
                    address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    access: LocalAccess::Tls(local),
                }),
                ..Access::default()
            },
            flash: self.folder.path().join("flash.bin"),
            firmware: None,
            place: Place::Synthetic(SiteKind::Factory),
            seed: 1,
            time_base: TimeBase::Wall,
            speed: 1.0,
            profile_period_seconds: 900,
        };
        let opened = Opened::new(settings).map_err(|error| does_not(&error))?;
        let device = opened.start(self.runtime.handle()).map_err(|error| does_not(&error))?;
        // As a head-end's neighbour would: lists reach the meter from a folder, as with `up`.
        let (lists, known) = (self.pki.dir().to_owned(), trust.trust().revocations.clone());
        self.watching = Some(self.runtime.spawn(async move {
            revocation::watch(lists, known).await;
        }));
        let port = device.local_address();
        self.device = Some(device);
        self.reached = match port {
            Some(port) => Some(self.front.listen(&inside, port).map_err(|error| does_not(&error))?),
            None => None,
        };
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
        }
        // Saves, and ends its connections.
        self.device = None;
    }

    fn issue(&self, side: Side, shown: Shown) -> Result<Identity, Trouble> {
        let (pki, day) = (&self.pki, Validity::from_now(DAY));
        let other = MeterId::new(*b"MSV", OTHER_SERIAL).map_err(|error| Trouble::Bench(error.to_string()))?;
        let usual = |name: &str, validity: Validity| match side {
            Side::HeadEnd => pki.issue_headend_for(HEAD_END, validity),
            Side::Caller => pki.issue_client(name, Roles::from(Role::Reader), validity),
        };
        let now = SystemTime::now();
        let issued = match shown {
            Shown::Good => usual("reader", day),
            Shown::Spare(number) => usual(&format!("spare-{number}"), day),
            Shown::Expired => usual("reader", Validity { not_before: now - 2 * HOUR, not_after: now - HOUR }),
            Shown::NotYetValid => usual("reader", Validity { not_before: now + HOUR, not_after: now + DAY }),
            Shown::Meter => pki.issue_meter(other),
            Shown::OtherName => pki.issue_headend_for("elsewhere", day),
            Shown::OtherMeter => pki.issue_operational(other, day),
            Shown::SelfSigned | Shown::OtherRoot | Shown::OtherIntermediate => {
                let whom = match side {
                    Side::HeadEnd => Peer::Headend(HEAD_END.to_owned()),
                    Side::Caller => Peer::Client("reader".to_owned()),
                };
                return forge(pki.dir(), side, &whom, shown);
            }
        };
        issued.and_then(|issued| issued.identity()).map_err(certificates)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.stop();
    }
}

impl TlsPeer for Sockets {
    fn name(&self) -> Option<MeterId> {
        Some(identifier())
    }

    fn local_port(&mut self) -> Result<SocketAddr, Trouble> {
        self.reached.ok_or(Trouble::Lacks("local port of the meter"))
    }

    fn dialled(&mut self) -> Result<TcpListener, Trouble> {
        self.listener
            .try_clone()
            .map_err(|error| Trouble::Bench(format!("the port that the meter dials: {error}")))
    }

    fn redial(&mut self) -> Result<(), Trouble> {
        self.stop();
        self.start()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn identity(&mut self, side: Side, shown: Shown) -> Result<Identity, Trouble> {
        if let Some(known) = self.identities.get(&(side, shown)) {
            return Ok(known.clone());
        }
        let identity = self.issue(side, shown)?;
        self.identities.insert((side, shown), identity.clone());
        Ok(identity)
    }

    fn time(&mut self) -> Result<Option<ServerProfile>, Trouble> {
        let good = self.identity(Side::HeadEnd, Shown::Good)?;
        // The lists that a head-end passes on are not the sample's business here: it gets them from its folder.
        let trust = Trust { revocations: self.pki.trust().revocations.separate(), ..self.pki.trust() };
        let profile = tls::gateway_config(&good, &trust);
        let profile = profile.map_err(|error| Trouble::Bench(error.to_string()))?;
        Ok(Some(profile.with_time(self.time.clone())))
    }

    fn revoke(&mut self, side: Side, shown: Shown) -> Result<(), Trouble> {
        let identity = self.identity(side, shown)?;
        self.pki.revoke(&identity.chain()[0], Reason::KeyCompromise).map_err(certificates)?;
        Ok(())
    }

    fn secrets(&self) -> Vec<(String, Vec<u8>)> {
        let id = identifier();
        let mut secrets: Vec<(String, Vec<u8>)> = vec![
            ("the meter's identifier".to_owned(), id.to_string().into_bytes()),
            ("the same in small letters".to_owned(), id.to_string().to_lowercase().into_bytes()),
            ("its system title".to_owned(), id.system_title().0.to_vec()),
            ("names in certificates".to_owned(), b"urn:meterseal".to_vec()),
            ("names in certificates (DNS)".to_owned(), b"meterseal.internal".to_vec()),
            ("its device type".to_owned(), self.made.device_type.clone().into_bytes()),
        ];
        if let Some(keys) = self.made.keys(Role::Utility) {
            secrets.push(("its encryption key".to_owned(), keys.encryption.to_vec()));
            secrets.push(("its authentication key".to_owned(), keys.authentication.to_vec()));
        }
        secrets.extend(self.own.chain().iter().map(|der| ("a certificate of its".to_owned(), der.to_vec())));
        secrets
    }

    fn utility(&mut self) -> Option<Association> {
        let keys = self.made.keys(Role::Utility)?;
        Some(Association {
            role: Role::Utility,
            meter: identifier().system_title(),
            client_title: SystemTitle(*b"MSBENCH2"),
            keys: DlmsKeys { encryption: keys.encryption, authentication: keys.authentication },
            invocation_counter: 0,
            last_response_counter: 0,
            last_push_counter: 0,
            limits: Limits::default(),
        })
    }

    fn note(&mut self, to_meter: bool, bytes: &[u8]) {
        if self.log.len() < LOG_MAX {
            let at_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.log.push(Exchange { at_ns, to_meter, bytes: bytes.to_vec() });
        }
    }
}

fn listener() -> Result<TcpListener, Trouble> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| Trouble::Bench(format!("no port for the sample to dial: {error}")))
}

fn certificates(error: PkiError) -> Trouble {
    Trouble::Bench(format!("the run's certificates: {error}"))
}
