//! One connected meter, from association to the last reading: is it what it claims, is it admitted, and then once a
//! second its registers, at once its alarms, and whatever was missed. Each meter has its own task, so that a slow or
//! broken one delays nobody else.

mod admission;
mod attest;
mod enrolment;
mod firmware;
mod on_demand;
mod quarantine;
mod registers;
mod rings;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use meterseal_link::client::{AccessError, Limits, PushError};
use meterseal_link::pki::Certificate;
use meterseal_link::wrapper::FrameError;
use meterseal_link::{Association, ClientError, DlmsClient, DlmsKeys, EventPush, Notification, Value};
use meterseal_model::objects::Class;
use meterseal_model::{MeterId, Obis, Role, SystemTitle};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior};

pub use attest::AttestationPolicy;
pub(crate) use on_demand::serve;

use crate::alarms::{Alarms, HeadendCause};
use crate::campaigns::{Attendance, Campaigns};
use crate::clock;
use crate::config::{MeterEntry, Pace};
use crate::enrolment::{Enroller, EnrolmentError};
use crate::fleet::Fleet;
use crate::products::Products;
use crate::requests::Requests;
use crate::shared::Shared;
use crate::store::{
    AttestedRecord, Committed, ConnectionState, Energies, PeerCounters, SecurityEvent, Store, StoreError,
};
use enrolment::Renewal;
use firmware::Carrier;
use registers::Scalers;
use rings::{Layout, Ring};
use witness::{LogWatch, certificates};

/// When the first reading is tried again, if the meter has measured nothing yet: one measuring window.
const SOON: Duration = Duration::from_millis(200);

/// How long a refused meter may take to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Invocation counters set aside for an association and the questions before admission.
const FIRST_BLOCK: u32 = 96;

/// Invocation counters set aside at a time afterwards: about ten minutes of work.
const BLOCK: u32 = 1024;

/// The next block is set aside before fewer than this are left: the longest operation between two looks.
const MARGIN: u32 = 32;

/// So long after a request it is looked what the meter has new.
const AFTER_REQUEST: Duration = Duration::from_secs(1);

/// Requests served before a cyclic read has its turn.
const REQUESTS_IN_A_ROW: u32 = 16;

/// Farthest that a meter may make the head-end skip its invocation counter forward: what says so is not
/// authenticated beyond TLS, and 2³² counters must last the key's life.
const SKIP: u32 = 1 << 20;

const REGISTER_BACKWARDS: HeadendCause = HeadendCause::RegisterBackwards;

/// Pushes taken together before they are stored.
const PUSH_BATCH: usize = 64;

/// What every meter's task works with.
#[derive(Debug)]
pub(crate) struct Acquisition {
    pub(crate) store: Store,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) alarms: Alarms,
    pub(crate) requests: Arc<Requests>,
    pub(crate) campaigns: Arc<Campaigns>,
    /// The certified product list, by which meters are trusted or not.
    pub(crate) products: Arc<Products>,
    pub(crate) attestation: AttestationPolicy,
    /// Who may vouch for the keys that seal meters' logs: certificates, DER.
    pub(crate) log_authorities: Vec<Vec<u8>>,
    pub(crate) enroller: Option<Arc<Enroller>>,
    /// What meters of one type have in common.
    pub(crate) forms: Forms,
    /// The head-end's own system title.
    pub(crate) system_title: SystemTitle,
    pub(crate) pace: Pace,
}

/// How meters count and where their profiles' columns stand: the same for all of a type, and kept once.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    scalers: Shared<Scalers>,
    layouts: Shared<Layout>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquisitionError {
    /// The DLMS session.
    #[error(transparent)]
    Client(ClientError),
    /// A message under an invocation counter that the meter had used before. Its text has no numbers, so that a
    /// meter that keeps calling stays in one state for one reason.
    #[error(
        "The meter uses invocation counters again that it had used before: its memory was put back or replaced, so \
         it cannot be trusted under its old keys. Restore its newest flash file, or enrol it anew with new keys"
    )]
    CounterUsed,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The meter is not the one of its certificate.
    #[error("the meter calls itself {found:?}, but its certificate is that of {expected}")]
    OtherMeter {
        /// That of the certificate.
        expected: MeterId,
        /// What it says.
        found: String,
    },
    /// The meter's firmware is not known: it did not prove what it runs.
    #[error("The meter is refused: {0}. Nothing that it reports is believed; find out who did it")]
    NotAttested(String),
    /// A register that cannot be used.
    #[error("the meter's object {obis} has {what}")]
    Register {
        /// Which.
        obis: Obis,
        /// What is wrong.
        what: &'static str,
    },
    /// A row that cannot be used.
    #[error("the meter's {ring} does not hold {what} where it should")]
    Malformed {
        /// Which ring.
        ring: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A ring that is shorter than it was.
    #[error(
        "The meter's {ring} ends at {newest}, but {stored} entries were stored from it: its memory was put back or \
         replaced. Find out who did it, and give the device a new identity"
    )]
    RolledBack {
        /// Which ring.
        ring: &'static str,
        /// Its newest sequence number.
        newest: u64,
        /// The newest that was stored.
        stored: u64,
    },
    /// A ring that says something else than it said.
    #[error(
        "The meter's {ring} says something else under number {sequence} than was stored from it: its memory was put \
         back or replaced, or two devices share one identity. Find out who did it, and give the device a new identity"
    )]
    Contradiction {
        /// Which ring.
        ring: &'static str,
        /// Sequence number of the first such entry.
        sequence: u64,
    },
    /// The meter's certificate no longer carries the connection.
    #[error("The meter is refused: {0}. Find out why; a sound meter gets a new identity")]
    Certificate(meterseal_link::revocation::End),
    /// Enrolment, or the renewal of its identity.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// Another connection of the same meter sets invocation counters aside.
    #[error("another connection of this meter has taken over")]
    TakenOver,
}

impl AcquisitionError {
    /// Whether the meter itself is at fault and must not be read: it stays refused until somebody has looked.
    pub(crate) fn is_refusal(&self) -> bool {
        if let Self::Enrolment(error) = self {
            return error.is_refusal();
        }
        matches!(
            self,
            Self::NotAttested(_)
                | Self::Certificate(_)
                | Self::OtherMeter { .. }
                | Self::CounterUsed
                | Self::RolledBack { .. }
                | Self::Contradiction { .. }
        )
    }

    /// Whether the peer did something else than was agreed, or nothing at all; not so a connection that just ended.
    pub(crate) fn is_breach(&self) -> bool {
        match self {
            Self::Client(ClientError::Frame(error)) => {
                matches!(error, FrameError::Version { .. } | FrameError::TooLong { .. })
            }
            Self::Client(error) => error.is_fatal(),
            Self::Register { .. } | Self::Malformed { .. } => true,
            _ => false,
        }
    }

    /// Whether the connection can go on.
    fn is_fatal(&self) -> bool {
        match self {
            Self::Client(error) => error.is_fatal(),
            Self::Register { .. } | Self::Malformed { .. } => false,
            Self::Enrolment(
                EnrolmentError::Refused { .. } | EnrolmentError::Signer(_) | EnrolmentError::Custody(_),
            ) => false,
            _ => true,
        }
    }
}

impl From<ClientError> for AcquisitionError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Replay { kind, counter, highest } => {
                tracing::debug!(kind, counter, highest, "an invocation counter was used again");
                Self::CounterUsed
            }
            other => Self::Client(other),
        }
    }
}

/// Who called, as its certificate says.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) certificate: Box<Certificate>,
    /// Whether the utility issued it; else the manufacturer did.
    pub(crate) is_operational: bool,
}

/// The association and what belongs to it.
struct Session<'a, S> {
    acquisition: &'a Acquisition,
    meter: MeterId,
    store: &'a Store,
    fleet: &'a Fleet,
    alarms: &'a Alarms,
    requests: &'a Requests,
    pace: Pace,
    renewal: Renewal,
    client: DlmsClient<S>,
    /// The first invocation counter that is not set aside for this session.
    ceiling: u32,
    scalers: Arc<Scalers>,
    security_log: Arc<Layout>,
    load_profile: Arc<Layout>,
    committed: Committed,
    /// What the meter was told in this session.
    told: Committed,
    pushes_dropped: u64,
    last_energies: Option<Energies>,
    last_complaint: Option<String>,
    log_authorities: &'a [Vec<u8>],
    log_watch: LogWatch,
    /// Whether its firmware has a mark, now and later.
    mark: quarantine::Watch,
    firmware_keys: Option<DlmsKeys>,
    carrier: Carrier,
    /// As long as this session lasts, the meter may have its turn in a campaign.
    attendance: Option<Attendance>,
}

impl Acquisition {
    /// Works with a connected meter until the connection ends. Never returns without a reason.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        caller: Caller,
        stream: S,
    ) -> Result<std::convert::Infallible, AcquisitionError> {
        // What is over when the work begins lies in a box, so that it takes no room in the task that stays.
        let mut session = Box::pin(self.begin(entry, caller, stream)).await?;
        session.work().await
    }

    /// Everything up to the first reading: is it what it claims, is it admitted, is its memory what it was.
    async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        caller: Caller,
        stream: S,
    ) -> Result<Box<Session<'_, S>>, AcquisitionError> {
        if !caller.is_operational {
            let Err(end) = self.enrol(entry, stream).await;
            return Err(end);
        }
        let (mut client, ceiling) = self.associate(entry, stream).await?;
        if let Some(enroller) = &self.enroller
            && enroller.in_use(entry.id, &caller.certificate).await??
        {
            let text = "The meter uses a new operational certificate.".to_owned();
            self.alarms.end(Some(entry.id), HeadendCause::EnrolmentFailed, text).await?;
        }
        let (proven, mark) = match self.prove(entry, &mut client).await {
            Ok(found) => found,
            Err(error) => {
                // Said politely; whether the meter hears it changes nothing.
                let _ = tokio::time::timeout(GOODBYE_WITHIN, client.release()).await;
                return Err(error);
            }
        };
        let renewal = Renewal::new(entry.id, self.enroller.clone(), &caller.certificate);
        let mut session = Box::new(self.open(entry, client, ceiling, renewal, mark).await?);
        session.check_tail(Ring::SecurityLog).await?;
        session.check_tail(Ring::LoadProfile).await?;
        let online_since = clock::now();
        self.fleet.set_state(entry.id, ConnectionState::Online, online_since, None);
        let admitted = "The meter is connected.".to_owned();
        // Both go into one commit.
        tokio::try_join!(
            self.store.set_state(entry.id, ConnectionState::Online, online_since, None),
            self.alarms.end(Some(entry.id), HeadendCause::MeterRefused, admitted)
        )?;
        tracing::info!(meter = %entry.id, "meter online");
        if let Some(said) = &proven {
            self.campaigns.attested(entry.id, said).await?;
        }
        session.attendance = Some(self.campaigns.attend(entry.id));
        Ok(session)
    }

    /// What the meter runs, as far as it can prove it, and whether that has a mark.
    async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        client: &mut DlmsClient<S>,
    ) -> Result<(Option<AttestedRecord>, quarantine::Watch), AcquisitionError> {
        let proven = self.attest(entry.id, client).await?;
        let mark = self.admit(entry, client, proven.as_ref()).await?;
        Ok((proven, mark))
    }

    async fn associate<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        stream: S,
    ) -> Result<(DlmsClient<S>, u32), AcquisitionError> {
        let meter = entry.id;
        let first = self.store.reserve_invocations(meter, FIRST_BLOCK).await?;
        let chosen = self.keys(meter).await?;
        let is_next = chosen.as_ref().is_some_and(|chosen| chosen.is_next);
        let is_instead = chosen.as_ref().is_some_and(|chosen| chosen.is_instead);
        // Under new keys a meter's counters begin anew.
        let counters =
            if is_next { PeerCounters::default() } else { self.store.peer_counters(meter).await? };
        let association = Association {
            role: Role::Utility,
            meter: meter.system_title(),
            client_title: self.system_title,
            keys: chosen.map_or_else(|| entry.keys.clone(), |chosen| chosen.keys),
            invocation_counter: first.saturating_sub(1),
            last_response_counter: counters.response,
            last_push_counter: counters.push,
            limits: Limits::default(),
        };
        match DlmsClient::associate(stream, association).await {
            Ok(mut client) => {
                let ceiling = first.saturating_add(FIRST_BLOCK);
                client.allow_counters_to(ceiling - 1);
                if let Some(enroller) = self.enroller.as_ref().filter(|_| is_next) {
                    enroller.keys_in_force(meter).await??;
                }
                if let Some(enroller) = self.enroller.as_ref().filter(|_| is_instead) {
                    enroller.keys_not_in_force(meter)?;
                }
                Ok((client, ceiling))
            }
            Err(ClientError::InvocationCounter { expected }) => {
                // Our database is older than what the meter has seen: an old backup, most likely.
                if expected.saturating_sub(first) <= SKIP {
                    // One block further: what was sent under the lost numbers and never arrived must not come again.
                    self.store.advance_invocations(meter, expected.saturating_add(BLOCK)).await?;
                } else {
                    tracing::error!(
                        %meter, expected, ours = first,
                        "the meter asks for an invocation counter so far ahead that it is not believed; give the meter new keys if it is genuine"
                    );
                }
                Err(ClientError::InvocationCounter { expected }.into())
            }
            Err(error) => {
                if let Some(enroller) = &self.enroller {
                    enroller.keys_failed(meter);
                }
                Err(error.into())
            }
        }
    }

    async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        entry: &MeterEntry,
        mut client: DlmsClient<S>,
        ceiling: u32,
        renewal: Renewal,
        mark: quarantine::Watch,
    ) -> Result<Session<'_, S>, AcquisitionError> {
        let meter = entry.id;
        let scalers = registers::scalers(&values(client.get_list(&registers::scaler_items()).await?))?;
        let scalers = self.forms.scalers.share(scalers);
        let security_log = self.forms.layouts.share(Layout::read(&mut client, Ring::SecurityLog).await?);
        let load_profile = self.forms.layouts.share(Layout::read(&mut client, Ring::LoadProfile).await?);
        let committed = self.store.committed(meter).await?;
        let last_energies = self.store.newest_live(meter).await?.map(|reading| reading.energies);
        Ok(Session {
            acquisition: self,
            meter,
            store: &self.store,
            fleet: &self.fleet,
            alarms: &self.alarms,
            requests: &self.requests,
            pace: self.pace,
            renewal,
            client,
            ceiling,
            scalers,
            security_log,
            load_profile,
            committed,
            told: Committed::default(),
            pushes_dropped: 0,
            last_energies,
            last_complaint: None,
            log_authorities: &self.log_authorities,
            log_watch: LogWatch::default(),
            mark,
            firmware_keys: entry.firmware_keys.clone(),
            carrier: Carrier::default(),
            attendance: None,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Readings, alarms and gaps, until something ends it. Each operation lies in a box while it lasts: a task that
    /// waits, as nearly all do, is small.
    async fn work(&mut self) -> Result<std::convert::Infallible, AcquisitionError> {
        let first_tick = Box::pin(self.first_reading()).await?;
        let mut ticks = tokio::time::interval_at(Instant::now() + first_tick, self.pace.live);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gaps_due = Instant::now();
        let mut in_a_row = 0;
        loop {
            let pushed = tokio::select! {
                biased;
                pushed = self.client.notification() => Some(pushed?),
                // Before anything more is believed.
                () = self.mark.due() => {
                    Box::pin(self.judge_again()).await?;
                    continue;
                }
                // In front of cyclic reads, but not for ever.
                request = self.requests.next(self.meter), if in_a_row < REQUESTS_IN_A_ROW => {
                    in_a_row += 1;
                    Box::pin(self.serve(request)).await?;
                    // What it led to, such as a signed reading, is not left lying until the next look.
                    gaps_due = gaps_due.min(Instant::now() + AFTER_REQUEST);
                    continue;
                }
                _ = ticks.tick() => {
                    Box::pin(self.reserve_and_read_live()).await?;
                    None
                }
                () = tokio::time::sleep_until(self.renewal.look_at) => {
                    Box::pin(self.renew_if_due()).await?;
                    None
                }
                _ = tokio::time::sleep_until(gaps_due) => {
                    // More to read: at once, but alarms and readings go first.
                    let pause = if Box::pin(self.close_gaps()).await? { Duration::ZERO } else { self.pace.gaps };
                    gaps_due = Instant::now() + pause;
                    None
                }
                // Last: new firmware goes between all of it.
                turn = self.acquisition.campaigns.next(self.meter) => {
                    Box::pin(self.carry(turn)).await?;
                    None
                }
            };
            in_a_row = 0;
            if let Some(first) = pushed
                && Box::pin(self.take_pushes(first)).await?
            {
                gaps_due = Instant::now();
            }
            let dropped = self.client.pushes_dropped();
            if dropped != self.pushes_dropped {
                self.pushes_dropped = dropped;
                gaps_due = Instant::now();
            }
        }
    }

    /// The first reading, and what is stored already. Gives the pause before the next reading.
    async fn first_reading(&mut self) -> Result<Duration, AcquisitionError> {
        let pause = if self.reserve_and_read_live().await?.unwrap_or(true) { self.pace.live } else { SOON };
        for ring in [Ring::SecurityLog, Ring::LoadProfile] {
            // The meter sends what it believes unacknowledged again: say first what is here already.
            let outcome = self.acknowledge(ring).await;
            self.tolerate(outcome)?;
        }
        Ok(pause)
    }

    async fn reserve_and_read_live(&mut self) -> Result<Option<bool>, AcquisitionError> {
        self.reserve().await?;
        let outcome = self.read_live().await;
        self.tolerate(outcome)
    }

    /// Reads what both rings hold beyond what is stored. `true`: there is more.
    async fn close_gaps(&mut self) -> Result<bool, AcquisitionError> {
        let mut more = false;
        for ring in [Ring::SecurityLog, Ring::LoadProfile] {
            let outcome = self.close_gap(ring).await;
            more |= self.tolerate(outcome)?.unwrap_or(false);
        }
        // Rows first: what a leaf is compared with should be there.
        let outcome = self.follow_log().await;
        more |= self.tolerate(outcome)?.unwrap_or(false);
        Ok(more)
    }

    /// One reading: stored first, shown then. `false`: the meter has just started and has measured nothing yet.
    async fn read_live(&mut self) -> Result<bool, AcquisitionError> {
        let answers = self.client.get_list(&registers::live_items()).await?;
        if answers.contains(&Err(AccessError::TemporaryFailure)) {
            return Ok(false);
        }
        let reading = registers::live_reading(&values(answers), &self.scalers, clock::now())?;
        self.watch_registers(&reading.energies).await?;
        let counters =
            PeerCounters { response: self.client.response_counter(), push: self.client.push_counter() };
        // Both go into one commit.
        tokio::try_join!(
            self.store.insert_live(self.meter, reading),
            self.store.raise_peer_counters(self.meter, counters)
        )?;
        self.fleet.reading(self.meter, reading);
        Ok(true)
    }

    /// Energy registers only grow; one that shrinks was tampered with, and is said loudly.
    async fn watch_registers(&mut self, now: &Energies) -> Result<(), AcquisitionError> {
        if let Some(before) = self.last_energies {
            let shrunk = now.active_import_microwatt_hours < before.active_import_microwatt_hours
                || now.active_export_microwatt_hours < before.active_export_microwatt_hours
                || now.reactive_import_microvar_hours < before.reactive_import_microvar_hours
                || now.reactive_export_microvar_hours < before.reactive_export_microvar_hours;
            if shrunk {
                tracing::error!(meter = %self.meter, ?before, ?now, "an energy register of the meter went backwards");
                let text = format!(
                    "{} It stood at {before:?}, and stands at {now:?}.",
                    REGISTER_BACKWARDS.sentence()
                );
                self.alarms.raise(Some(self.meter), REGISTER_BACKWARDS, text).await?;
            }
        }
        self.last_energies = Some(*now);
        Ok(())
    }

    /// Stores pushed events and acknowledges them. `true`: the meter's log has more than was pushed.
    async fn take_pushes(&mut self, first: Notification) -> Result<bool, AcquisitionError> {
        let mut events = Vec::new();
        let mut gap = false;
        let mut next = Some(first);
        tracing::trace!(target: "meterseal::commit", meter = %self.meter, "received");
        while let Some(notification) = next.take() {
            match notification.event() {
                Ok(event) => events.push(SecurityEvent::from(event)),
                Err(error) => {
                    gap = true;
                    if !matches!(error, PushError::UnknownEvent { .. }) {
                        tracing::warn!(meter = %self.meter, %error, "a push cannot be read; its log is read instead");
                    }
                }
            }
            if events.len() < PUSH_BATCH {
                // Whatever has arrived already goes into the same commit; nothing is waited for.
                // (A timeout of nought would wait for the next millisecond of the timer.)
                next = tokio::select! {
                    biased;
                    more = self.client.notification() => Some(more?),
                    () = std::future::ready(()) => None,
                };
            }
        }
        let newest = events.iter().map(|event| event.sequence).max().unwrap_or(0);
        self.store_events(events, None).await?;
        gap |= newest > self.committed.security_log;
        self.reserve().await?;
        let outcome = self.acknowledge(Ring::SecurityLog).await;
        self.tolerate(outcome)?;
        Ok(gap)
    }

    /// Commits events, then shows those that are new.
    async fn store_events(
        &mut self,
        events: Vec<SecurityEvent>,
        complete_to: Option<u64>,
    ) -> Result<(), AcquisitionError> {
        let (batch, committed) =
            self.store.insert_events(self.meter, events, clock::now(), complete_to).await?;
        self.committed = committed;
        if let (Some(first), Some(last)) = (batch.new.first(), batch.new.last()) {
            // `RUST_LOG=meterseal::commit=debug`: when each entry was on the disk, for those who measure.
            let (first, last) = (first.event.sequence, last.event.sequence);
            tracing::debug!(target: "meterseal::commit", meter = %self.meter, first, last, "committed");
        }
        self.fleet.hears(self.meter, clock::now());
        batch.new.iter().for_each(|event| self.fleet.event(event));
        batch.alarms.iter().for_each(|change| self.fleet.alarm(change));
        rings::contradiction(Ring::SecurityLog, &batch.contradicted)
    }

    /// Sees to it that the next operations have invocation counters of their own.
    async fn reserve(&mut self) -> Result<(), AcquisitionError> {
        self.reserve_more_than(MARGIN).await
    }

    /// The same, for an operation that may spend many.
    async fn reserve_more_than(&mut self, needed: u32) -> Result<(), AcquisitionError> {
        while self.ceiling.saturating_sub(self.client.invocation_counter()) <= needed {
            let first = self.store.reserve_invocations(self.meter, BLOCK).await?;
            if first != self.ceiling {
                return Err(AcquisitionError::TakenOver);
            }
            self.ceiling = first.saturating_add(BLOCK);
            self.client.allow_counters_to(self.ceiling - 1);
        }
        Ok(())
    }

    /// What one meter cannot answer, or answers wrongly, must not cost the rest: it is said once and tried again.
    fn tolerate<T>(&mut self, outcome: Result<T, AcquisitionError>) -> Result<Option<T>, AcquisitionError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                let complaint = error.to_string();
                if self.last_complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(meter = %self.meter, %error, "part of the meter's data cannot be read");
                    self.last_complaint = Some(complaint);
                }
                Ok(None)
            }
        }
    }
}

impl From<EventPush> for SecurityEvent {
    fn from(push: EventPush) -> Self {
        Self {
            sequence: push.sequence,
            code: push.code as u8,
            at: push.time,
            uptime_milliseconds: push.uptime_milliseconds,
            extreme_micro_units: push.extreme,
        }
    }
}

/// A single refused attribute is as good as an absent one: whoever needs it says so.
fn values(answers: Vec<Result<Value, AccessError>>) -> Vec<Option<Value>> {
    answers.into_iter().map(Result::ok).collect()
}

/// Reads texts and octet strings that say what a device is.
fn data(obis: Obis) -> registers::Item {
    (Class::Data.id(), obis, registers::VALUE)
}
