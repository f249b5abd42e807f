//! What people and programs ask of a meter in between its cyclic reads: a bounded queue per meter, by priority and
//! deadline, whose requests outlive a lost connection as long as their deadline allows.
//!
//! A request is answered exactly once: done, refused by the meter, failed, or expired. A read that a broken connection
//! interrupted is asked again; a setting or an action is not, because nobody knows whether the meter has carried it
//! out. Expiry needs no timer: whoever looks sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meterseal_link::Value;
use meterseal_model::{MeterId, Obis, UnixMillis};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;

/// Requests that may wait or run for one meter.
pub const WAITING: usize = 64;

/// Answers kept for one meter; the oldest are forgotten first.
pub const ANSWERS: usize = 128;

/// The longest that a request may wait.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Read an attribute.
    Get {
        /// Interface class.
        class: u16,
        /// Logical name.
        obis: Obis,
        /// Attribute.
        attribute: i8,
    },
    /// Write an attribute.
    Set {
        /// Interface class.
        class: u16,
        /// Logical name.
        obis: Obis,
        /// Attribute.
        attribute: i8,
        /// What to write.
        value: Value,
    },
    /// Invoke a method.
    Action {
        /// Interface class.
        class: u16,
        /// Logical name.
        obis: Obis,
        /// Method.
        method: i8,
        /// Its parameter.
        parameter: Option<Value>,
    },
}

/// Which comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before everything else: a reconnection of somebody's supply.
    High,
    /// In the order of deadlines.
    Normal,
    /// When nothing else waits.
    Low,
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It waits for the meter.
    Waiting,
    /// It is with the meter.
    Running,
    /// The meter did it, and this is what it answered: [`Value::Null`] for a setting.
    Done(Value),
    /// The meter refused it.
    Refused(String),
    /// It was under way when something broke.
    Failed(String),
    /// Its deadline passed first. Nothing was sent to the meter.
    Expired,
}

impl Progress {
    /// Whether nothing will change any more.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// A request as everybody sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its number, unique in this run of the head-end.
    pub id: u64,
    /// Which meter.
    pub meter: MeterId,
    /// What is asked.
    pub task: Task,
    /// Its priority.
    pub priority: Priority,
    /// Who asks.
    pub asked_by: String,
    /// When it was asked.
    pub asked_at: UnixMillis,
    /// Until when it may be sent.
    pub deadline: UnixMillis,
    /// How it stands.
    pub progress: Progress,
    /// When it was answered.
    pub answered_at: Option<UnixMillis>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The meter's queue is full.
    #[error("{WAITING} requests wait for this meter already; wait until some are answered")]
    Queue,
    /// A deadline that is no time or too far.
    #[error("a request may wait for 1 s to {} days", LONGEST.as_secs() / 86_400)]
    Deadline,
}

/// Every meter's queue.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_id: u64,
    meters: HashMap<MeterId, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// By number: the oldest first.
    requests: BTreeMap<u64, (Request, Instant)>,
    /// Something was added.
    added: Arc<Notify>,
    /// Something was answered.
    answered: Arc<Notify>,
}

impl Requests {
    /// Takes a request on.
    pub(crate) fn submit(
        &self,
        meter: MeterId,
        task: Task,
        priority: Priority,
        within: Duration,
        asked_by: String,
    ) -> Result<Request, Full> {
        if within < Duration::from_secs(1) || within > LONGEST {
            return Err(Full::Deadline);
        }
        let mut inner = self.lock();
        let id = inner.last_id + 1;
        let queue = inner.meters.entry(meter).or_default();
        queue.expire(Instant::now());
        if queue.requests.values().filter(|(request, _)| !request.progress.is_final()).count() >= WAITING {
            return Err(Full::Queue);
        }
        let asked_at = clock::now();
        let wait = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let request = Request {
            id,
            meter,
            task,
            priority,
            asked_by,
            asked_at,
            deadline: UnixMillis(asked_at.0.saturating_add(wait)),
            progress: Progress::Waiting,
            answered_at: None,
        };
        queue.requests.insert(id, (request.clone(), Instant::now() + within));
        queue.forget();
        queue.added.notify_one();
        inner.last_id = id;
        tracing::info!(%meter, id, by = request.asked_by, task = ?request.task.kind(), "request taken on");
        Ok(request)
    }

    /// The next request of a meter, which is running from now on. Waits until there is one; cancel-safe.
    pub(crate) async fn next(&self, meter: MeterId) -> Request {
        loop {
            let added = {
                let mut inner = self.lock();
                let queue = inner.meters.entry(meter).or_default();
                if let Some(request) = queue.start_next(Instant::now()) {
                    return request;
                }
                Arc::clone(&queue.added)
            };
            // A permit that came before this is kept, so nothing is missed; one session at a time waits for a meter.
            added.notified().await;
        }
    }

    /// Answers a request.
    pub(crate) fn finish(&self, meter: MeterId, id: u64, progress: Progress) {
        let mut inner = self.lock();
        let Some(queue) = inner.meters.get_mut(&meter) else { return };
        if let Some((request, _)) =
            queue.requests.get_mut(&id).filter(|(request, _)| !request.progress.is_final())
        {
            request.progress = progress;
            request.answered_at = Some(clock::now());
            tracing::info!(%meter, id, by = request.asked_by, outcome = request.progress.name(), "request answered");
        }
        queue.answered.notify_waiters();
    }

    /// The connection broke while a request was under way.
    pub(crate) fn interrupted(&self, meter: MeterId, id: u64, why: &str) {
        let repeatable = {
            let mut inner = self.lock();
            let Some(queue) = inner.meters.get_mut(&meter) else { return };
            let Some((request, _)) = queue.requests.get_mut(&id) else { return };
            let repeatable = matches!(request.task, Task::Get { .. });
            if repeatable && request.progress == Progress::Running {
                request.progress = Progress::Waiting;
                queue.added.notify_one();
            }
            repeatable
        };
        if !repeatable {
            let why = format!("{why}; whether the meter carried it out is not known: read it back");
            self.finish(meter, id, Progress::Failed(why));
        }
    }

    /// The requests of a meter, the newest first.
    pub(crate) fn list(&self, meter: MeterId) -> Vec<Request> {
        let mut inner = self.lock();
        let Some(queue) = inner.meters.get_mut(&meter) else { return Vec::new() };
        queue.expire(Instant::now());
        queue.requests.values().rev().map(|(request, _)| request.clone()).collect()
    }

    /// One request as it stands, once it is answered or after `wait`.
    pub(crate) async fn get(&self, meter: MeterId, id: u64, wait: Duration) -> Option<Request> {
        let until = Instant::now() + wait;
        loop {
            let answered = {
                let mut inner = self.lock();
                let queue = inner.meters.get_mut(&meter)?;
                queue.expire(Instant::now());
                let (request, deadline) = queue.requests.get(&id)?;
                if request.progress.is_final() || Instant::now() >= until {
                    return Some(request.clone());
                }
                // Made under the lock: an answer that comes after it is heard.
                (Arc::clone(&queue.answered).notified_owned(), until.min(*deadline))
            };
            let (answered, wake) = answered;
            // Either way the request is looked at again.
            let _ = tokio::time::timeout_at(wake, answered).await;
        }
    }

    /// A meter is gone for good: nobody will answer.
    pub(crate) fn remove(&self, meter: MeterId) {
        let mut inner = self.lock();
        if let Some(queue) = inner.meters.remove(&meter) {
            queue.answered.notify_waiters();
        }
    }

    /// No code that holds the lock can leave a half-made queue behind, so a poisoned lock is as good as new.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn expire(&mut self, now: Instant) {
        let mut any = false;
        for (request, deadline) in self.requests.values_mut() {
            if request.progress == Progress::Waiting && *deadline <= now {
                request.progress = Progress::Expired;
                request.answered_at = Some(request.deadline);
                any = true;
            }
        }
        if any {
            self.answered.notify_waiters();
        }
    }

    /// By priority, then deadline, then number.
    fn start_next(&mut self, now: Instant) -> Option<Request> {
        self.expire(now);
        let waiting = self.requests.values_mut().filter(|(request, _)| request.progress == Progress::Waiting);
        let (request, _) =
            waiting.min_by_key(|(request, deadline)| (request.priority, *deadline, request.id))?;
        request.progress = Progress::Running;
        Some(request.clone())
    }

    fn forget(&mut self) {
        let answered: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, (request, _))| request.progress.is_final())
            .map(|(&id, _)| id)
            .collect();
        for id in answered.iter().take(answered.len().saturating_sub(ANSWERS)) {
            self.requests.remove(id);
        }
    }
}

impl Task {
    /// `get`, `set` or `action`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Set { .. } => "set",
            Self::Action { .. } => "action",
        }
    }
}

impl Progress {
    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn meter() -> MeterId {
        "MSL0000000001".parse().unwrap()
    }

    fn read() -> Task {
        Task::Get { class: 3, obis: Obis::ACTIVE_ENERGY_IMPORT, attribute: 2 }
    }

    fn submit(requests: &Requests, task: Task, priority: Priority, within: Duration) -> u64 {
        requests.submit(meter(), task, priority, within, "test".to_owned()).unwrap().id
    }

    #[tokio::test(start_paused = true)]
    async fn priority_then_deadline_then_age_decide() {
        let requests = Requests::default();
        let late = submit(&requests, read(), Priority::Normal, 2 * MINUTE);
        let soon = submit(&requests, read(), Priority::Normal, MINUTE);
        let low = submit(&requests, read(), Priority::Low, Duration::from_secs(30));
        let high = submit(&requests, read(), Priority::High, 3 * MINUTE);
        for expected in [high, soon, late, low] {
            let request = requests.next(meter()).await;
            assert_eq!(request.id, expected);
            requests.finish(meter(), request.id, Progress::Done(Value::Null));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_request_is_answered_as_expired_and_never_sent() {
        let requests = Requests::default();
        let id = submit(&requests, read(), Priority::High, Duration::from_secs(5));
        let answer = requests.get(meter(), id, MINUTE).await.unwrap();
        assert_eq!(answer.progress, Progress::Expired);
        assert!(tokio::time::timeout(MINUTE, requests.next(meter())).await.is_err());
        assert_eq!(
            requests.submit(meter(), read(), Priority::Low, Duration::ZERO, String::new()),
            Err(Full::Deadline)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_read_is_asked_again_and_a_setting_is_not() {
        let requests = Requests::default();
        let get = submit(&requests, read(), Priority::Normal, MINUTE);
        assert_eq!(requests.next(meter()).await.id, get);
        requests.interrupted(meter(), get, "the connection broke");
        assert_eq!(requests.next(meter()).await.id, get);
        requests.finish(meter(), get, Progress::Done(Value::U8(1)));
        requests.finish(meter(), get, Progress::Failed("late".to_owned()));
        assert_eq!(requests.get(meter(), get, MINUTE).await.unwrap().progress, Progress::Done(Value::U8(1)));

        let set = Task::Set { class: 1, obis: Obis::ALARM_REGISTER, attribute: 2, value: Value::U32(0) };
        let set = submit(&requests, set, Priority::Normal, MINUTE);
        assert_eq!(requests.next(meter()).await.id, set);
        requests.interrupted(meter(), set, "the connection broke");
        let answer = requests.get(meter(), set, Duration::ZERO).await.unwrap();
        assert!(matches!(answer.progress, Progress::Failed(why) if why.contains("not known")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_and_its_answers_are_bounded() {
        let requests = Requests::default();
        for _ in 0..WAITING {
            submit(&requests, read(), Priority::Normal, MINUTE);
        }
        let refused = requests.submit(meter(), read(), Priority::High, MINUTE, "test".to_owned());
        assert_eq!(refused, Err(Full::Queue));
        for _ in 0..10 * ANSWERS {
            let request = requests.next(meter()).await;
            requests.finish(meter(), request.id, Progress::Refused("no".to_owned()));
            submit(&requests, read(), Priority::Normal, MINUTE);
        }
        assert!(requests.list(meter()).len() <= ANSWERS + WAITING);
    }
}
