//! The meter's side: whom the bench is to it, the connection, what went over it, and invocation counters that outlive the run.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{io, path::PathBuf};

use meterseal_link::client::{ClientError, GlobalKeys, Gmac, Limits, Login, Opening, Password};
use meterseal_link::counters::{BLOCK, Counters as Kept};
use meterseal_link::pki::read_secret;
use meterseal_link::reach::{self, MeterAddress, TlsSide, Wire};
use meterseal_link::wrapper::FrameError;
use meterseal_link::{DlmsClient, Identity, Peer};
use meterseal_model::{Role, SystemTitle};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::NetworkProfile;
use crate::certify::{Counters, Exchange, Trouble};

/// Exchanges that are kept; a run that has more has the first of them.
const LOG_MAX: usize = 20_000;
/// Counters are renewed before fewer than this are left: more than one operation can spend.
const MARGIN: u32 = BLOCK / 2;
/// Farthest that a meter may make the bench skip its counter forward: what it says of it is not authenticated.
const SKIP: u32 = 1 << 20;

/// What went over all connections.
pub(super) type Log = Arc<Mutex<Vec<Exchange>>>;

/// A stream that notes what passes.
pub(super) struct Tapped {
    wire: Wire,
    log: Log,
    begun: Instant,
}

/// The client of the standing connection.
pub(super) type Client = DlmsClient<Tapped>;

impl Tapped {
    fn note(&self, to_meter: bool, bytes: &[u8]) {
        let mut log = locked(&self.log);
        if log.len() < LOG_MAX && !bytes.is_empty() {
            let at_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            log.push(Exchange { at_ns, to_meter, bytes: bytes.to_vec() });
        }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.wire).poll_read(cx, buffer);
        if outcome.is_ready() {
            self.note(false, buffer.filled().get(before..).unwrap_or_default());
        }
        outcome
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.wire).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = outcome {
            self.note(true, &bytes[..length]);
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keys under which the bench speaks, with their counters.
pub(super) struct Held {
    keys: GlobalKeys,
    file: Kept,
    /// The first counter that is not set aside.
    ceiling: u32,
    pub(super) used: Counters,
    meter: Option<SystemTitle>,
}

impl Held {
    fn open(folder: &std::path::Path, keys: GlobalKeys, meter: Option<SystemTitle>) -> Result<Self, Trouble> {
        let mut file = Kept::open(folder, &keys).map_err(bench)?;
        let first = file.reserve().map_err(bench)?;
        let answers = meter.map_or(0, |meter| file.seen(meter));
        let used = Counters { ours: first.saturating_sub(1), answers, pushes: 0 };
        Ok(Self { keys, file, ceiling: first.saturating_add(BLOCK), used, meter })
    }

    /// Sets more aside where few are left; the last that may be used.
    pub(super) fn last(&mut self) -> Result<u32, Trouble> {
        if self.ceiling.saturating_sub(self.used.ours) < MARGIN {
            self.ceiling = self.file.reserve().map_err(bench)?.saturating_add(BLOCK);
        }
        Ok(self.ceiling.saturating_sub(1))
    }

    /// The meter wants a higher counter.
    fn skip_to(&mut self, next: u32) -> Result<bool, Trouble> {
        if next <= self.used.ours || next - self.used.ours > SKIP {
            return Ok(false);
        }
        self.file.raise(next).map_err(bench)?;
        let first = self.file.reserve().map_err(bench)?;
        (self.used.ours, self.ceiling) = (first.saturating_sub(1), first.saturating_add(BLOCK));
        Ok(true)
    }

    pub(super) fn title(&self) -> SystemTitle {
        self.file.title()
    }

    /// 32 bytes each, where they are of suite 2: those that calls of procedures use.
    pub(super) fn suite_two(&self) -> Option<meterseal_link::DlmsKeys> {
        self.keys.suite_2()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where it cannot be written, what was set aside counts as used: that is safe.
        let seen = self.meter.map(|meter| (meter, self.used.answers));
        let _ = self.file.settle(self.used.ours, seen);
    }
}

/// How the bench reaches a meter: address, TLS, keys.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) address: MeterAddress,
    pub(super) profile: NetworkProfile,
    pub(super) state: PathBuf,
}

/// How the standing connection logs in.
pub(super) enum Secret {
    None,
    Password(Password),
    Keys(Held),
}

impl Way {
    /// What is wrong with address and profile together.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        let Self { address, profile, .. } = self;
        if !address.tls && !profile.plain {
            return Err(Trouble::Bench(format!(
                "{address} is without TLS; say `plain = true` under [network] in the target profile if that line is the laboratory's own"
            )));
        }
        if address.tls && profile.access.is_none() && profile.trust.is_empty() {
            return Err(Trouble::Bench(format!(
                "{address} speaks TLS: give [network] access or trust in the target profile, the authorities that the meter is trusted by"
            )));
        }
        Ok(())
    }

    pub(super) fn within(&self) -> Duration {
        Duration::from_secs(self.profile.timeout_seconds)
    }

    pub(super) fn limits(&self) -> Limits {
        let limits = Limits { response: self.within(), queued_pushes: 4096, ..Limits::default() };
        Limits { operation: limits.operation.max(limits.response * 2), ..limits }
    }

    /// The role of the standing connection, where its address is a role's.
    pub(super) fn standing_role(&self) -> Option<Role> {
        Role::from_client_address(self.profile.client_address().ok()?)
    }

    /// The keys of a role, where the bench has them.
    pub(super) fn keys(&self, role: Option<Role>) -> Result<Option<Held>, Trouble> {
        let profile = &self.profile;
        let suite = profile.security_suite().map_err(Trouble::Bench)?;
        let path = match (&profile.access, role, profile.identifier()) {
            (Some(_), Some(Role::Public), _) => return Ok(None),
            (Some(access), Some(role), Some(meter)) => access.join(role.name()).join(format!("{meter}.key")),
            (Some(_), ..) => return Ok(None),
            (None, ..) if role == self.standing_role() => match &profile.keys {
                Some(path) => path.clone(),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        if !path.exists() && role != self.standing_role() {
            return Ok(None);
        }
        let text = read_secret(&path).map_err(bench)?;
        let keys = GlobalKeys::from_hex(suite, &text)
            .map_err(|error| Trouble::Bench(format!("{} cannot be used: {error}", path.display())))?;
        Held::open(&self.state, keys, profile.title().map_err(Trouble::Bench)?).map(Some)
    }

    /// What the standing connection logs in by.
    pub(super) fn secret(&self) -> Result<Secret, Trouble> {
        if let Some(held) = self.keys(self.standing_role())? {
            return Ok(Secret::Keys(held));
        }
        let Some(path) = &self.profile.password else { return Ok(Secret::None) };
        let text = read_secret(path).map_err(bench)?;
        let password = Password::new(text.trim_end_matches(['\r', '\n']).as_bytes())
            .map_err(|error| Trouble::Bench(format!("{} cannot be used: {error}", path.display())))?;
        Ok(Secret::Password(password))
    }

    /// Whether the bench can call as this role: over TLS it needs its certificate.
    pub(super) fn can_call(&self, role: Role) -> bool {
        let own = |access: &PathBuf| access.join(role.name()).is_dir() || role == Role::Public;
        !self.address.tls || self.profile.access.as_ref().map_or(Some(role) == self.standing_role(), own)
    }

    /// Connects, and as this role over TLS. The title is that of the meter's certificate.
    pub(super) async fn dial(
        &self,
        role: Option<Role>,
        log: &Log,
        begun: Instant,
    ) -> Result<(Tapped, Option<SystemTitle>), Trouble> {
        let tls = if self.address.tls { Some(self.tls(role)?) } else { None };
        let reached = reach::connect(&self.address, tls.as_ref(), self.within()).await;
        let (wire, peer) = reached.map_err(|error| Trouble::Meter(error.to_string()))?;
        let title = match peer {
            Some(Peer::Meter(meter)) => Some(meter.system_title()),
            _ => None,
        };
        Ok((Tapped { wire, log: Arc::clone(log), begun }, title))
    }

    fn tls(&self, role: Option<Role>) -> Result<TlsSide, Trouble> {
        let profile = &self.profile;
        let (identity, trust) = match &profile.access {
            Some(access) => {
                // The public has no certificate; it shows the standing role's.
                let role = role.filter(|role| *role != Role::Public).or(self.standing_role());
                let own =
                    access.join(role.map_or_else(|| profile.client.clone(), |role| role.name().to_owned()));
                (Some(own.clone()), vec![own.join(AUTHORITIES_FILE)])
            }
            None => (profile.identity.clone(), profile.trust.clone()),
        };
        let identity = identity.as_deref().map(Identity::load).transpose().map_err(bench)?;
        reach::trusting(identity.as_ref(), &trust, profile.identifier()).map_err(bench)
    }

    /// Opens the standing connection. A counter that is behind, as after a lost state folder, is put forward once.
    pub(super) async fn stand(
        &self,
        secret: &mut Secret,
        log: &Log,
        begun: Instant,
    ) -> Result<Client, Trouble> {
        match self.try_stand(secret, log, begun).await? {
            Ok(client) => Ok(client),
            Err(ClientError::InvocationCounter { expected }) => {
                let Secret::Keys(held) = secret else {
                    return Err(self.explain(ClientError::InvocationCounter { expected }));
                };
                if !held.skip_to(expected)? {
                    return Err(self.explain(ClientError::InvocationCounter { expected }));
                }
                self.try_stand(secret, log, begun).await?.map_err(|error| self.explain(error))
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    async fn try_stand(
        &self,
        secret: &mut Secret,
        log: &Log,
        begun: Instant,
    ) -> Result<Result<Client, ClientError>, Trouble> {
        let (wire, certified) = self.dial(self.standing_role(), log, begun).await?;
        let expected = self.profile.title().map_err(Trouble::Bench)?.or(certified);
        let login = match secret {
            Secret::None => Login::Public,
            Secret::Password(password) => Login::Password(password.clone()),
            Secret::Keys(held) => {
                held.last()?;
                Login::Gmac(Gmac {
                    client_title: held.title(),
                    keys: held.keys.clone(),
                    invocation_counter: held.used.ours,
                    last_response_counter: held.used.answers,
                    last_push_counter: held.used.pushes,
                })
            }
        };
        let opening = Opening {
            client_address: self.profile.client_address().map_err(Trouble::Bench)?,
            server_address: self.profile.server,
            meter: expected,
            login,
            // Only the utility is told of alarms.
            pushes: self.standing_role() == Some(Role::Utility),
            limits: self.limits(),
        };
        let opened = DlmsClient::open(wire, opening).await;
        if let Secret::Keys(held) = secret {
            match &opened {
                Ok(client) => {
                    held.meter = client.meter();
                    note(held, client);
                }
                // What was sent has been used, whatever came of it.
                Err(_) => held.used.ours = held.used.ours.saturating_add(HANDSHAKE_COUNTERS),
            }
        }
        Ok(opened)
    }

    /// What went wrong, and what it may be.
    pub(super) fn explain(&self, error: ClientError) -> Trouble {
        let hint = match &error {
            ClientError::Frame(FrameError::Version { .. }) => {
                "it speaks no DLMS wrapper (IEC 62056-46); HDLC, a web server and others are no target: check scheme and port"
            }
            // In TLS 1.3 a refused certificate shows only after the handshake.
            ClientError::Frame(_) if self.address.tls => {
                "it may not accept the bench's certificate, or this role"
            }
            ClientError::Frame(_) => "it may be no DLMS server, or speak TLS, or not accept this role",
            ClientError::Deadline(_) => {
                "it may be no DLMS server; a slow one needs network.timeout_seconds in the target profile"
            }
            ClientError::InvocationCounter { .. } | ClientError::CounterBehind => {
                "the bench's counters are lost; use the state folder of before, or give the meter new keys"
            }
            ClientError::Refused { .. } | ClientError::NotAuthentic => {
                "check client, keys or password, and suite under [network] in the target profile"
            }
            _ => return Trouble::Meter(format!("{}: {error}", self.address)),
        };
        Trouble::Meter(format!("{}: {error}; {hint}", self.address))
    }
}

/// How far a client's counters are.
pub(super) fn note(held: &mut Held, client: &Client) {
    held.used = held.used.and(Counters {
        ours: client.invocation_counter(),
        answers: client.response_counter(),
        pushes: client.push_counter(),
    });
}

/// An association's messages of the client's.
const HANDSHAKE_COUNTERS: u32 = 4;
/// In a role's folder.
const AUTHORITIES_FILE: &str = "authorities.pem";

fn bench(error: impl std::fmt::Display) -> Trouble {
    Trouble::Bench(error.to_string())
}
