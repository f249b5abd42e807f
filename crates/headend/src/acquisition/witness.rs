//! The sealed log at each contact: the meter's newest checkpoint is verified, the leaves behind the known ones are read,
//! and what the database says is compared with what the meter sealed.

use meterseal_link::client::AccessError;
use meterseal_link::{ClientError, Value};
use meterseal_model::objects::Class;
use meterseal_model::{Obis, UnixMillis};
use meterseal_seal::SealPublicKey;
use meterseal_seal::chain::verify_log_key;
use meterseal_seal::log::{Checkpoint, LogHash, LogId};
use tokio::io::{AsyncRead, AsyncWrite};

use super::registers::VALUE;
use super::{AcquisitionError, Session};
use crate::alarms::HeadendCause;
use crate::clock;
use crate::store::{Appended, LeafContent, Proof, Witnessed};
use crate::witness::{self, Breach, Step, judge};

/// Leaves in one request: what a meter puts into one answer of 8 KiB, if all of them are readings.
const PIECE: u64 = 24;

/// Pieces in one go. Between two goes come alarms and live readings.
const PIECES: u32 = 8;

/// Everything is compared at the first contact, when somebody else wrote into the database, and so long after the last
/// time; in between, what each checkpoint brings.
const AUDIT_EVERY_MS: i64 = 3_600_000;

/// Leaves that are asked of a meter again at most, in one go: what a meter holds.
const REFETCH_MAX: u64 = 65_536;

/// What a session remembers of the meter's log between two looks.
#[derive(Debug, Default)]
pub(super) struct LogWatch {
    /// The checkpoint that was dealt with last, as it came.
    seen: Vec<u8>,
    /// When it was last looked whether a checkpoint is overdue, and what was found.
    looked: Option<(i64, bool)>,
    /// When everything was compared last.
    audited: Option<Audited>,
}

/// The last comparison of the database with the leaves.
#[derive(Clone, Copy, Debug)]
struct Audited {
    at_ms: i64,
    /// [`Store::foreign_writes`](crate::store::Store::foreign_writes) before it.
    foreign_writes: u64,
    /// Up to which leaf rows were compared, then or since.
    to: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Follows the meter's sealed log. `true`: there is more to read.
    pub(super) async fn follow_log(&mut self) -> Result<bool, AcquisitionError> {
        self.reserve().await?;
        let signed = match self.read_octets(Obis::LOG_CHECKPOINT).await? {
            // No such object, or nothing signed yet: a meter without a log key.
            None => return Ok(false),
            Some(signed) if signed.is_empty() => {
                self.miss_checkpoint().await?;
                return Ok(false);
            }
            Some(signed) if signed == self.log_watch.seen => {
                self.miss_checkpoint().await?;
                self.audit_when_due(0).await?;
                return Ok(false);
            }
            Some(signed) => signed,
        };
        match self.take_checkpoint(&signed).await? {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(breach) => {
                tracing::error!(meter = %self.meter, cause = breach.cause.name(), "{}", breach.text);
                self.alarms.raise(Some(self.meter), breach.cause, breach.text).await?;
            }
        }
        self.log_watch.seen = signed;
        Ok(false)
    }

    /// `Ok(true)`: not all leaves are read yet.
    async fn take_checkpoint(&mut self, signed: &[u8]) -> Result<Result<bool, Breach>, AcquisitionError> {
        let known = match self.store.witnessed(self.meter).await? {
            Some(known) => known,
            None => match self.pin_log(signed).await? {
                Ok(known) => known,
                Err(breach) => return Ok(Err(breach)),
            },
        };
        let verified = SealPublicKey::from_der(&known.key)
            .map_err(|error| error.to_string())
            .and_then(|key| Checkpoint::verify(signed, &[key]).map_err(|error| error.to_string()));
        let checkpoint = match verified {
            Ok(verified) => *verified.checkpoint(),
            Err(problem) => return Ok(Err(Breach::key(problem))),
        };
        if checkpoint.meter != self.meter {
            return Ok(Err(Breach::key(format!("it is that of {}", checkpoint.meter))));
        }
        match judge(&known, &checkpoint) {
            Err(breach) => return Ok(Err(breach)),
            Ok(Step::Known) => {}
            Ok(Step::Read { from }) => {
                match self.read_leaves(from, checkpoint.size).await? {
                    Ok(true) => {}
                    Ok(false) => return Ok(Ok(true)),
                    Err(breach) => return Ok(Err(breach)),
                }
                let proof =
                    self.store.prove_leaves(self.meter, checkpoint, signed.to_vec(), clock::now()).await?;
                if let Proof::Other(found) = proof {
                    return Ok(Err(Breach::root(&checkpoint, found)));
                }
                // It may have been missed before this session, or in it.
                if self.log_watch.looked.is_none_or(|(_, missed)| missed) {
                    let text = format!("Checkpoint {} has come.", checkpoint.number);
                    self.alarms.end(Some(self.meter), HeadendCause::CheckpointMissing, text).await?;
                }
                self.log_watch.looked = Some((clock::now().0, false));
            }
        }
        self.audit_when_due(checkpoint.size).await?;
        Ok(Ok(false))
    }

    /// A meter that is connected and has signed before must go on signing: at least daily, whatever happens.
    async fn miss_checkpoint(&mut self) -> Result<(), AcquisitionError> {
        let now = clock::now();
        let (looked_ms, missed) = self.log_watch.looked.unwrap_or((i64::MIN, false));
        if missed || now.0.saturating_sub(looked_ms) < LOOK_EVERY_MS {
            return Ok(());
        }
        let received = self.store.checkpoint_received(self.meter).await?;
        let missing = received.is_some_and(|received| is_overdue(received, now));
        if let Some(received) = received.filter(|_| missing) {
            let text = format!("The newest checkpoint of the meter's log came {}.", clock::rfc3339(received));
            self.alarms.raise(Some(self.meter), HeadendCause::CheckpointMissing, text).await?;
        }
        self.log_watch.looked = Some((now.0, missing));
        Ok(())
    }

    /// The first contact: the log's name and key are remembered for good. Certificates, where there are any, must be
    /// without fault and lead to an authority that this head-end trusts for meters.
    async fn pin_log(&mut self, signed: &[u8]) -> Result<Result<Witnessed, Breach>, AcquisitionError> {
        let log = self.read_octets(Obis::LOG_ID).await?.and_then(|name| name.try_into().ok()).map(LogId);
        let key = self.read_octets(Obis::LOG_KEY).await?.unwrap_or_default();
        let Some(log) = log else { return Ok(Err(Breach::key("the meter does not name its log"))) };
        let (key, chain) = match SealPublicKey::from_der(&key) {
            // Nobody vouches for it: exports and statements say so.
            Ok(key) => (key, Vec::new()),
            Err(_) => {
                let Some(chain) = certificates(&key) else {
                    return Ok(Err(Breach::key("the meter's log key cannot be read")));
                };
                // Signed when the newest checkpoint was, or else now: a meter's own clock may run apart.
                let at = Checkpoint::unverified(signed).map_or_else(clock::now, |claim| claim.time);
                let certified = [at, clock::now()]
                    .into_iter()
                    .map(|at| verify_log_key(&chain, self.meter, at, self.log_authorities))
                    .reduce(|first, second| first.or(second));
                match certified {
                    Some(Ok(certified)) if certified.trusted => (certified.key, chain),
                    Some(Ok(certified)) => {
                        let who = certified.authority;
                        return Ok(Err(Breach::key(format!(
                            "its key is vouched for by {who}, who is not trusted here"
                        ))));
                    }
                    Some(Err(error)) => return Ok(Err(Breach::key(error))),
                    None => return Ok(Err(Breach::key("it has no key"))),
                }
            }
        };
        self.store.pin_log(self.meter, log, key.to_der(), chain).await?;
        tracing::info!(meter = %self.meter, log = %log, key = %key.key_id(), "the meter's log key is pinned");
        let known = self.store.witnessed(self.meter).await?;
        Ok(known.ok_or_else(|| Breach::key("it could not be pinned")))
    }

    /// Reads leaves from `from` up to `end`. `Ok(true)`: all of them are there.
    async fn read_leaves(
        &mut self,
        mut from: u64,
        end: u64,
    ) -> Result<Result<bool, Breach>, AcquisitionError> {
        for _ in 0..PIECES {
            if from >= end {
                break;
            }
            let leaves = self.leaves(from, end.min(from + PIECE)).await?;
            if leaves.is_empty() {
                return Ok(Err(Breach::gap(from, "the meter no longer holds it")));
            }
            match self.store.append_leaves(self.meter, from, leaves).await? {
                Appended::Tail(size) => from = size,
                Appended::Refused(problem) => return Ok(Err(Breach::gap(from, problem))),
            }
        }
        Ok(Ok(from >= end))
    }

    /// Leaves from one place up to another, as far as the meter gives them without a hole.
    async fn leaves(&mut self, from: u64, end: u64) -> Result<Vec<LeafContent>, AcquisitionError> {
        self.reserve().await?;
        let by_sequence = (Class::Data.id(), Obis::ROW_SEQUENCE, VALUE);
        // Rows count from one, leaves from nought.
        let (first, last) = (Value::U64(from + 1), Value::U64(end));
        let rows = self
            .client
            .profile_by_range(Obis::SEALED_LEAVES, by_sequence, first, last, PIECE as usize)
            .await?;
        let mut leaves = Vec::with_capacity(rows.len());
        for (expected, row) in (from + 1..).zip(&rows) {
            let [number, leaf] = row.as_slice() else { return Err(malformed("two columns")) };
            if number.as_u64() != Some(expected) {
                break;
            }
            let bytes = leaf.as_bytes().ok_or(malformed("a leaf"))?;
            leaves.push(match <[u8; LogHash::LENGTH]>::try_from(bytes) {
                Ok(hash) => LeafContent::Hash(LogHash(hash)),
                Err(_) => LeafContent::Bytes(bytes.to_vec()),
            });
        }
        Ok(leaves)
    }

    /// Compares the database with the leaves, restores what is missing there, and says what it took. `size`: how many
    /// leaves the meter has signed, where that is new.
    async fn audit_when_due(&mut self, size: u64) -> Result<(), AcquisitionError> {
        let now = clock::now();
        let foreign_writes = self.store.foreign_writes();
        let done = self
            .log_watch
            .audited
            .filter(|done| done.foreign_writes == foreign_writes && now.0 - done.at_ms < AUDIT_EVERY_MS);
        if let Some(done) = done {
            if size > done.to {
                let audit = self.store.audit(self.meter, done.to, now).await?;
                witness::report(self.alarms, self.meter, &audit).await?;
                self.log_watch.audited = Some(Audited { to: size, ..done });
            }
            return Ok(());
        }
        let mut audit = self.store.audit(self.meter, 0, now).await?;
        let end = self.store.witnessed(self.meter).await?.and_then(|known| known.newest);
        let end = end.map_or(0, |newest| newest.size);
        if let Some(from) = audit.refetch {
            let text = format!("Leaves from {from} on were missing from the database, or altered there");
            let text = if self.refetch(from, end).await? {
                let again = self.store.audit(self.meter, 0, now).await?;
                audit = again.after(audit);
                format!("{text}; the meter gave them again.")
            } else {
                format!("{text}; the meter does not give again what it had signed.")
            };
            self.alarms.raise(Some(self.meter), HeadendCause::RowRepaired, text).await?;
        }
        witness::report(self.alarms, self.meter, &audit).await?;
        self.log_watch.audited = Some(Audited { at_ms: now.0, foreign_writes, to: end });
        Ok(())
    }

    /// Asks the meter for leaves again and puts them back. `false`: they are not those that it signed.
    async fn refetch(&mut self, from: u64, end: u64) -> Result<bool, AcquisitionError> {
        let mut leaves = Vec::new();
        let mut next = from;
        while next < end && end - from <= REFETCH_MAX {
            let piece = self.leaves(next, end.min(next + PIECE)).await?;
            if piece.is_empty() {
                break;
            }
            next += piece.len() as u64;
            leaves.extend(piece);
        }
        Ok(next == end && self.store.restore_leaves(self.meter, from, leaves).await?)
    }

    /// An octet string; `None` where the meter has no such object.
    async fn read_octets(&mut self, obis: Obis) -> Result<Option<Vec<u8>>, AcquisitionError> {
        match self.client.get(Class::Data.id(), obis, VALUE).await {
            Ok(value) => Ok(Some(value.as_bytes().ok_or(malformed("an octet string"))?.to_vec())),
            Err(ClientError::Access(AccessError::NoSuchObject | AccessError::Denied)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the next checkpoint should have come, by the head-end's clock: a day, and an hour for what is slow in between.
const fn is_overdue(received: UnixMillis, now: UnixMillis) -> bool {
    now.0.saturating_sub(received.0) > 25 * 3_600_000
}

/// How often it is looked whether a checkpoint is overdue.
const LOOK_EVERY_MS: i64 = 60_000;

fn malformed(what: &'static str) -> AcquisitionError {
    AcquisitionError::Malformed { ring: "sealed log", what }
}

/// Certificates that stand one after another; `None` when they do not.
pub(super) fn certificates(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut chain = Vec::new();
    while !bytes.is_empty() {
        // A certificate is a SEQUENCE of 256 to 65 535 bytes: two bytes of length.
        let &[0x30, 0x82, high, low, ..] = bytes else { return None };
        let (own, rest) = bytes.split_at_checked(4 + usize::from(u16::from_be_bytes([high, low])))?;
        chain.push(own.to_vec());
        bytes = rest;
    }
    (!chain.is_empty()).then_some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_overdue_an_hour_after_its_day() {
        let received = UnixMillis(1_795_348_800_000);
        let after = |hours: i64, millis: i64| UnixMillis(received.0 + hours * 3_600_000 + millis);
        assert!(!is_overdue(received, after(25, 0)));
        assert!(is_overdue(received, after(25, 1)));
        // A clock that was set back misses nothing yet.
        assert!(!is_overdue(received, after(-48, 0)));
    }
}
