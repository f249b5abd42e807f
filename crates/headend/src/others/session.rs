//! One connection to another maker's meter, from dialling to the error that ends it.

use std::convert::Infallible;
use std::time::Duration;

use meterseal_link::client::{Gmac, Limits, Login, Opening};
use meterseal_link::reach::{self, ReachError, Wire};
use meterseal_link::{ClientError, DlmsClient};
use tokio::time::{Instant, MissedTickBehavior};

use super::Others;
use super::entry::{self, EntryError, OtherEntry, OtherSecret};
use super::reading::{Profile, Registers};
use crate::acquisition;
use crate::clock;
use crate::store::{ConnectionState, PeerCounters, StoreError};

/// How long TCP may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What such a meter may make the head-end hold and wait for: less than one of ours, which is trusted further.
const LIMITS: Limits = Limits {
    response: Duration::from_secs(10),
    operation: Duration::from_secs(60),
    value_bytes: 256 * 1024,
    blocks: 512,
    queued_pushes: 1,
};

/// Invocation counters set aside at a time, and how many must be left before an operation.
const BLOCK: u32 = 2048;
const MARGIN: u32 = 600;

/// Farthest that a meter may make the head-end skip its invocation counter forward: what says so is not
/// authenticated, and 2³² counters must last the key's life.
const SKIP: u32 = 1 << 20;

/// Requests served before a cyclic read has its turn.
const REQUESTS_IN_A_ROW: u32 = 16;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum OtherError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the meter shows no register that could be read; check the client's address and its rights at the meter"
    )]
    NoRegisters,
    #[error(
        "the meter uses invocation counters again that it had used before: a replay, or its memory was put back; give it new keys"
    )]
    CounterUsed,
    #[error(
        "the meter expects an invocation counter so far ahead that it is not believed; give it new keys if it is genuine"
    )]
    CounterTooFar,
    #[error("another task sets this meter's invocation counters aside")]
    TakenOver,
}

pub(super) struct Session<'a> {
    pub(super) others: &'a Others,
    pub(super) entry: &'a OtherEntry,
    pub(super) client: DlmsClient<Wire>,
    /// The first invocation counter that is not set aside; `None` where nothing is ciphered.
    ceiling: Option<u32>,
}

/// Dials, reads, serves requests. Ends with the reason.
pub(super) async fn run(others: &Others, entry: &OtherEntry) -> Result<Infallible, OtherError> {
    let mut session = Session::open(others, entry).await?;
    let registers = Registers::find(&mut session).await?;
    let mut profile = Profile::find(&mut session).await?;
    let online_since = clock::now();
    others.fleet.set_state(entry.id, ConnectionState::Online, online_since, None);
    others.store.set_state(entry.id, ConnectionState::Online, online_since, None).await?;
    tracing::info!(meter = %entry.id, registers = registers.count(), "another maker's meter is online");

    let period = Duration::from_secs(u64::from(entry.period_seconds));
    let mut ticks = tokio::time::interval_at(Instant::now(), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_a_row = 0;
    loop {
        session.reserve().await?;
        tokio::select! {
            biased;
            request = others.requests.next(entry.id), if in_a_row < REQUESTS_IN_A_ROW => {
                in_a_row += 1;
                acquisition::serve(&mut session.client, &others.requests, request).await?;
            }
            _ = ticks.tick() => {
                in_a_row = 0;
                let shown = registers.read(&mut session).await?;
                others.fleet.registers(entry.id, clock::now(), shown);
                session.reserve().await?;
                if let Some(profile) = &mut profile {
                    profile.close_gap(&mut session).await?;
                }
                session.note_counters().await?;
            }
        }
    }
}

impl<'a> Session<'a> {
    async fn open(others: &'a Others, entry: &'a OtherEntry) -> Result<Self, OtherError> {
        let secret = entry::secret(&others.folder, entry)?;
        let (wire, _) = reach::connect(&entry.address, None, CONNECT_WITHIN).await?;
        let (login, ceiling) = match secret {
            OtherSecret::Password(password) => (Login::Password(password), None),
            OtherSecret::Keys(keys) => {
                let first = others.store.reserve_invocations(entry.id, BLOCK).await?;
                let counters = others.store.peer_counters(entry.id).await?;
                let gmac = Gmac {
                    client_title: others.system_title,
                    keys,
                    invocation_counter: first.saturating_sub(1),
                    last_response_counter: counters.response,
                    last_push_counter: counters.push,
                };
                (Login::Gmac(gmac), Some(first.saturating_add(BLOCK)))
            }
        };
        let opening = Opening {
            client_address: entry.client,
            server_address: entry.server,
            meter: entry.title,
            login,
            pushes: false,
            limits: LIMITS,
        };
        let mut client = match DlmsClient::open(wire, opening).await {
            Ok(client) => client,
            Err(ClientError::InvocationCounter { expected }) => {
                let ours = ceiling.unwrap_or(0);
                if expected.saturating_sub(ours) > SKIP {
                    return Err(OtherError::CounterTooFar);
                }
                others.store.advance_invocations(entry.id, expected.saturating_add(BLOCK)).await?;
                return Err(ClientError::InvocationCounter { expected }.into());
            }
            Err(ClientError::Replay { .. }) => return Err(OtherError::CounterUsed),
            Err(error) => return Err(error.into()),
        };
        if let Some(ceiling) = ceiling {
            client.allow_counters_to(ceiling - 1);
        }
        Ok(Self { others, entry, client, ceiling })
    }

    /// Sees to it that the next operation has invocation counters of its own.
    pub(super) async fn reserve(&mut self) -> Result<(), OtherError> {
        let Some(ceiling) = self.ceiling else { return Ok(()) };
        if ceiling.saturating_sub(self.client.invocation_counter()) > MARGIN {
            return Ok(());
        }
        let first = self.others.store.reserve_invocations(self.entry.id, BLOCK).await?;
        if first != ceiling {
            return Err(OtherError::TakenOver);
        }
        let ceiling = first.saturating_add(BLOCK);
        self.client.allow_counters_to(ceiling - 1);
        self.ceiling = Some(ceiling);
        Ok(())
    }

    async fn note_counters(&self) -> Result<(), OtherError> {
        if self.ceiling.is_none() {
            return Ok(());
        }
        let counters =
            PeerCounters { response: self.client.response_counter(), push: self.client.push_counter() };
        Ok(self.others.store.raise_peer_counters(self.entry.id, counters).await?)
    }
}
