//! Telling others of alarms: webhooks and syslog. Each receiver has a queue in the store, filled in the transaction of
//! the alarm's change, and a task that empties it: what was not delivered when the head-end ends is delivered when it
//! starts again, and nothing else.
//!
//! A receiver that cannot be reached is tried again after a pause that doubles each time, by chance a little shorter. A
//! message that a reachable receiver refuses does not hold up those behind it. After [`ATTEMPTS`] attempts or
//! [`LIFE_MILLISECONDS`] it is a dead letter: the page and the API list them, and a person can have them delivered again.

mod dial;
pub mod receiver;
mod syslog;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use meterseal_model::UnixMillis;
use tokio::sync::watch;

pub use receiver::{Receiver, ReceiverError};

use crate::alarms::{Alarms, HeadendCause};
use crate::clock;
use crate::store::{Delivery, StoreError};
use receiver::Kind;

/// Attempts before a message is a dead letter: with these pauses, about 70 minutes of a receiver that refuses it.
pub const ATTEMPTS: u32 = 12;

/// After three days nobody waits for it any more.
pub const LIFE_MILLISECONDS: i64 = 3 * 86_400_000;

/// Messages that wait for one receiver at most; beyond it the oldest are dead letters.
pub const WAITING: u32 = 100_000;

/// Dead letters of one receiver at most; beyond it the oldest go. The alarms' own history keeps all.
pub const DEAD: u32 = 10_000;

/// Why a message was not delivered.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The receiver cannot be reached: whatever else waits for it waits on.
    Unreachable(String),
    /// The receiver does not take this message.
    Refused(String),
}

/// Empties one receiver's queue until the head-end stops.
pub(crate) struct Courier {
    receiver: Receiver,
    name: String,
    alarms: Alarms,
    wire: Wire,
    /// Failures to reach it since it was last reached.
    unreachable: u32,
}

enum Wire {
    Webhook(webhook::Webhook),
    Syslog(syslog::Syslog, Arc<str>),
}

impl Courier {
    pub(crate) fn new(receiver: Receiver, alarms: Alarms) -> Self {
        let wire = match &receiver.kind {
            Kind::Webhook { .. } => Wire::Webhook(webhook::Webhook::default()),
            Kind::Syslog { .. } => Wire::Syslog(syslog::Syslog::default(), syslog::host().into()),
        };
        Self { name: receiver.name(), receiver, alarms, wire, unreachable: 0 }
    }

    pub(crate) async fn serve(mut self, mut stopping: watch::Receiver<bool>) {
        let mut changes = self.alarms.fleet.changes();
        loop {
            // Before the look: what is changed after it wakes us.
            changes.mark_unchanged();
            let pause = match self.round().await {
                Ok(pause) => pause,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(receiver = self.name, %error, "deliveries cannot be read; tried again");
                    Some(FIRST_PAUSE)
                }
            };
            // A receiver that is away is not tried sooner because more has happened.
            let woken = self.unreachable == 0;
            tokio::select! {
                biased;
                () = crate::stopped(&mut stopping) => return,
                _ = changes.changed(), if woken => {}
                () = tokio::time::sleep(pause.unwrap_or(IDLE)) => {}
            }
        }
    }

    /// Delivers what is due, and tells how long to wait then.
    async fn round(&mut self) -> Result<Option<Duration>, StoreError> {
        loop {
            let store = self.alarms.store.clone();
            let now = clock::now();
            self.keep_bounds(now).await?;
            let due = store.due_deliveries(self.name.clone(), now, BATCH).await?;
            if due.is_empty() {
                let next = store.next_delivery(self.name.clone()).await?;
                return Ok(next.map(|next| wait_until(next, now)));
            }
            let mut done = Vec::with_capacity(due.len());
            for delivery in due {
                match self.attempt(&delivery).await {
                    Ok(()) => {
                        self.unreachable = 0;
                        done.push(delivery.id);
                    }
                    Err(error) => {
                        // What was delivered stays delivered, whatever comes next.
                        store.delivered(std::mem::take(&mut done)).await?;
                        if let Some(pause) = self.note(&delivery, error).await? {
                            return Ok(Some(pause));
                        }
                    }
                }
            }
            store.delivered(done).await?;
        }
    }

    async fn attempt(&mut self, delivery: &Delivery) -> Result<(), SendError> {
        let place = &self.receiver.place;
        let send = async {
            match (&mut self.wire, &self.receiver.kind) {
                (Wire::Webhook(webhook), Kind::Webhook { path, secret }) => {
                    webhook.send(place, path, secret, delivery, clock::now()).await
                }
                (Wire::Syslog(syslog, host), Kind::Syslog { datagrams }) => {
                    syslog.send(place, *datagrams, delivery, host).await
                }
                _ => Err(SendError::Refused("another kind of receiver".to_owned())),
            }
        };
        match tokio::time::timeout(WITHIN, send).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SendError::Unreachable(format!("no answer within {} s", WITHIN.as_secs()))),
        }
    }

    /// Remembers a failure. With a pause, the receiver is away.
    async fn note(&mut self, delivery: &Delivery, error: SendError) -> Result<Option<Duration>, StoreError> {
        let now = clock::now();
        let attempts = delivery.attempts + 1;
        let over = attempts >= ATTEMPTS || now.0.saturating_sub(delivery.made.0) >= LIFE_MILLISECONDS;
        let (why, away) = match error {
            SendError::Unreachable(why) => (why, true),
            SendError::Refused(why) => (why, false),
        };
        if away && self.unreachable == 0 {
            tracing::warn!(receiver = self.name, why, "a receiver of alarms cannot be reached; tried again");
        }
        let own = pause(attempts, jitter());
        let next = (!over).then(|| UnixMillis(now.0 + i64::try_from(own.as_millis()).unwrap_or(i64::MAX)));
        self.alarms.store.delivery_failed(delivery.id, why.clone(), next, now).await?;
        if over {
            tracing::error!(
                receiver = self.name,
                delivery = delivery.id,
                why,
                "an alarm could not be delivered"
            );
            self.complain().await?;
        }
        if !away {
            return Ok(None);
        }
        self.unreachable = self.unreachable.saturating_add(1);
        Ok(Some(pause(self.unreachable, jitter()).min(LONGEST_AWAY)))
    }

    async fn keep_bounds(&self, now: UnixMillis) -> Result<(), StoreError> {
        let (gave_up, forgotten) =
            self.alarms.store.bound_deliveries(self.name.clone(), WAITING, DEAD, now).await?;
        if gave_up + forgotten > 0 {
            tracing::error!(
                receiver = self.name,
                gave_up,
                forgotten,
                "more waits for this receiver than is kept; the alarms' own history has all of it"
            );
        }
        if gave_up > 0 { self.complain().await } else { Ok(()) }
    }

    async fn complain(&self) -> Result<(), StoreError> {
        let cause = HeadendCause::DeliveryFailed;
        self.alarms.raise(None, cause, cause.sentence().to_owned()).await
    }
}

fn wait_until(next: UnixMillis, now: UnixMillis) -> Duration {
    Duration::from_millis(next.0.saturating_sub(now.0).max(1).unsigned_abs()).min(IDLE)
}

/// The pause after so many failures: it doubles each time up to [`LONGEST_PAUSE`], and is by chance up to half shorter, so
/// that many messages do not all come back at one moment.
fn pause(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE).mul_f64(1.0 - jitter / 2.0)
}

/// From 0 to 1.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers there is no jitter, which is no reason not to deliver.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// A receiver that is away is looked for at least so often.
const LONGEST_AWAY: Duration = Duration::from_secs(60);
/// One attempt, connection included.
const WITHIN: Duration = Duration::from_secs(10);
/// Without a word from anybody, how often the queue is looked at.
const IDLE: Duration = Duration::from_secs(60);
/// Messages taken from the queue at once.
const BATCH: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_within_an_hour_and_are_never_the_same_for_all() {
        let longest: Vec<u64> = (1..=14).map(|n| pause(n, 0.0).as_secs()).collect();
        assert_eq!(longest[..6], [1, 2, 4, 8, 16, 32]);
        assert_eq!(longest[12..], [3600, 3600]);
        assert_eq!(pause(3, 1.0), Duration::from_secs(2));
        assert_eq!(pause(u32::MAX, 0.0), LONGEST_PAUSE);
        let whole: u64 = longest[..ATTEMPTS as usize - 1].iter().sum();
        assert!((2000..5000).contains(&whole), "{whole} s");
        assert!((0.0..=1.0).contains(&jitter()));
    }
}
