//! Firmware campaigns: an image brought to chosen meters in stages, with an honest account of what came of it. Done is a
//! meter that attested the image on its own boot key, and nothing else.
//!
//! [`plan`] is what somebody ordered, `course` the decisions (without clock, store or network), [`images`] the packages.
//! What is decided is written to the store before anything irreversible is sent, and after a crash the meters are asked how
//! far they are. A meter's session takes its turns from [`Campaigns::next`] and says what came of each.

mod bandwidth;
mod course;
pub mod images;
pub mod member;
pub mod plan;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meterseal_model::{Digest384, MeterId, UnixMillis};
use meterseal_seal::{MarkStore, Scope};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

pub use images::{ImageError, Images};
pub use member::{CampaignRecord, CampaignState, Counts, MemberRecord, MemberState};
pub use plan::{ImageFacts, Plan, PlanError, Selection, Stage, Window};

use crate::alarms::{Alarms, HeadendCause};
use crate::clock;
use crate::fleet::Fleet;
use crate::store::{AttestedRecord, Store, StoreError};
use bandwidth::Bandwidth;
use course::{Course, Verdict};

/// Meters of a campaign that are read from the store at once.
const ALL_MEMBERS: u32 = u32::MAX >> 1;

/// Between two looks at what time alone changes.
const LOOK: Duration = Duration::from_millis(500);

/// Every campaign that lasts; cheap to share.
#[derive(Debug)]
pub(crate) struct Campaigns {
    store: Store,
    alarms: Alarms,
    fleet: Arc<Fleet>,
    images: Images,
    admission: Admission,
    inner: Mutex<Inner>,
    /// One writes at a time, everything that has changed until then.
    writing: tokio::sync::Mutex<()>,
    /// One campaign is made at a time.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<u64, Open>,
    /// The campaign that a meter belongs to.
    of_meter: HashMap<MeterId, u64>,
    seats: HashMap<MeterId, Seat>,
    last_seat: u64,
}

#[derive(Debug)]
struct Open {
    course: Course,
    plan: Arc<Plan>,
    bandwidth: Arc<Bandwidth>,
    /// The package, as long as it may be sent.
    package: Option<Arc<Vec<u8>>>,
}

/// A connected meter.
#[derive(Debug)]
struct Seat {
    number: u64,
    /// It may be its turn.
    called: Arc<Notify>,
    /// It need not be asked before.
    due: Instant,
}

/// Whether a meter that runs an image would still be admitted.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) marks: Arc<MarkStore>,
    /// The scopes of marks on which each meter is admitted.
    pub(crate) scopes: HashMap<MeterId, Vec<Scope>>,
}

/// A meter's place among those that are connected, as long as its session lasts.
#[derive(Debug)]
pub(crate) struct Attendance {
    campaigns: Arc<Campaigns>,
    meter: MeterId,
    number: u64,
}

/// What a session is to do next about a meter's firmware.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) campaign: u64,
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: MemberState,
    /// What the meter must attest.
    pub(crate) target: Digest384,
    pub(crate) package: Option<Arc<Vec<u8>>>,
    pub(crate) bandwidth: Arc<Bandwidth>,
    /// How often the meter had started when it was told to start the image.
    pub(crate) boots: Option<u32>,
}

/// What came of a turn.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Blocks are with the meter: so many of so many.
    Progress(u32, u32),
    /// The package, or a part of it, is to be sent after all.
    Transferring,
    /// The meter judges the package.
    Verifying,
    /// The meter holds the image, and may be told to start it.
    Ready,
    /// Nothing has changed; ask again then.
    Wait,
    /// It failed, for a reason that may pass.
    FailedForNow(String),
    /// It failed for good.
    Failed(String),
    /// The image is not for it.
    Skipped(String),
}

/// Why a campaign is not made or not changed.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The plan or the selection.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Meters with this image would be refused.
    #[error(
        "{count} of these meters, {meter} among them, would be refused with this image: {why}. Nothing was made"
    )]
    NoMark {
        /// How many.
        count: usize,
        /// One of them.
        meter: MeterId,
        /// Why.
        why: String,
    },
    /// Some of the meters belong to another campaign.
    #[error(
        "{count} of these meters, {meter} among them, belong to campaign {campaign}, which is not over; wait for it, or \
         abort it. Nothing was made"
    )]
    Busy {
        /// How many.
        count: usize,
        /// One of them.
        meter: MeterId,
        /// That campaign.
        campaign: u64,
    },
    /// No such campaign.
    #[error("there is no campaign {0}; `meterseal campaign status` lists them")]
    Unknown(u64),
    /// Not in this state.
    #[error("campaign {id} is {}, and cannot be {wanted}", .state.name())]
    State {
        /// Which.
        id: u64,
        /// How it stands.
        state: CampaignState,
        /// What was asked for: `paused`, `resumed`, `aborted`.
        wanted: &'static str,
    },
}

impl Campaigns {
    /// Takes up the campaigns that are not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn open(
        alarms: Alarms,
        images: Images,
        admission: Admission,
    ) -> Result<Arc<Self>, StoreError> {
        let (store, fleet) = (alarms.store.clone(), Arc::clone(&alarms.fleet));
        let campaigns = Arc::new(Self {
            store,
            alarms,
            fleet,
            images,
            admission,
            inner: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            making: tokio::sync::Mutex::default(),
        });
        for record in campaigns.store.open_campaigns().await? {
            campaigns.take_up(record).await?;
        }
        Ok(campaigns)
    }

    /// Packages and their trust root.
    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    async fn take_up(&self, record: CampaignRecord) -> Result<(), StoreError> {
        let members = self.store.campaign_members(record.id, None, 0, ALL_MEMBERS).await?;
        let target = digest(&record.plan.image.image);
        let (id, plan) = (record.id, Arc::new(record.plan.clone()));
        let sends = matches!(record.state, CampaignState::Running | CampaignState::Paused);
        let bandwidth = Arc::new(Bandwidth::new(plan.bytes_per_second));
        let now = clock::now();
        let mut open =
            Open { course: Course::new(record, members, target, now), plan, bandwidth, package: None };
        let problem = if sends { self.load(&mut open).await.err() } else { None };
        {
            let mut inner = self.lock();
            let meters: Vec<MeterId> = open.course.meters().collect();
            for meter in meters {
                inner.of_meter.insert(meter, id);
                let seated = inner.seats.contains_key(&meter);
                open.course.set_online(meter, seated, now);
            }
            inner.open.insert(id, open);
        }
        if let Some(problem) = problem {
            self.stop(id, problem.to_string()).await?;
        }
        self.pump();
        Ok(())
    }

    async fn load(&self, open: &mut Open) -> Result<(), ImageError> {
        let (images, package) = (self.images.clone(), open.plan.image.package.clone());
        let path = images.path(&package);
        let loaded = tokio::task::spawn_blocking(move || images.load(&package)).await;
        // A panic there has been told of.
        open.package = Some(Arc::new(loaded.unwrap_or(Err(ImageError::Gone(path)))?));
        Ok(())
    }

    /// Makes a campaign: all of it is on the disk when this returns, or nothing.
    ///
    /// # Errors
    /// [`CampaignError`].
    pub(crate) async fn create(
        &self,
        plan: Plan,
        selection: &Selection,
        by: String,
    ) -> Result<u64, CampaignError> {
        plan.check()?;
        let _one = self.making.lock().await;
        let at = clock::now();
        let known = self.fleet.types();
        // Another order each time, so that it is not always the same meters that go first.
        let salt = [plan.image.package.as_bytes(), &at.0.to_be_bytes()].concat();
        let meters = selection.choose(&known, &salt)?;
        self.admission.check(&plan.image, &meters, at)?;
        {
            let inner = self.lock();
            let busy = |meter: &&MeterId| {
                let campaign = inner.of_meter.get(meter).and_then(|id| inner.open.get(id));
                campaign.is_some_and(|open| open.course.record.state != CampaignState::Aborted)
            };
            let mut all_busy = meters.iter().filter(busy);
            if let Some(meter) = all_busy.next() {
                let campaign = inner.of_meter.get(meter).copied().unwrap_or_default();
                return Err(CampaignError::Busy { count: 1 + all_busy.count(), meter: *meter, campaign });
            }
        }
        let id = self.store.create_campaign(plan.clone(), meters, by.clone(), at).await?;
        tracing::info!(campaign = id, by, image = plan.image.version, "a firmware campaign was made");
        let (record, _) = self.store.campaign(id).await?.ok_or(CampaignError::Unknown(id))?;
        self.take_up(record).await?;
        self.announce();
        Ok(id)
    }

    /// Pauses, resumes or aborts a campaign, and returns when that is on the disk.
    ///
    /// # Errors
    /// [`CampaignError`].
    pub(crate) async fn change(&self, id: u64, act: Act, by: &str) -> Result<(), CampaignError> {
        if act == Act::Resume {
            self.reload(id).await?;
        }
        if !self.apply(id, act, by)? {
            let (record, _) = self.store.campaign(id).await?.ok_or(CampaignError::Unknown(id))?;
            return Err(CampaignError::State { id, state: record.state, wanted: act.name() });
        }
        tracing::info!(campaign = id, by, act = act.name(), "a firmware campaign was changed");
        self.flush().await?;
        if act != Act::Pause {
            let text = format!("Campaign {id}: {} by {by}.", act.sentence().to_lowercase());
            self.alarms.end(None, HeadendCause::CampaignStopped, text).await?;
        }
        self.pump();
        self.announce();
        Ok(())
    }

    /// `false`: the campaign is over, or there is none.
    fn apply(&self, id: u64, act: Act, by: &str) -> Result<bool, CampaignError> {
        use CampaignState::{Paused, Running, Stopped};
        let mut inner = self.lock();
        let Some(open) = inner.open.get_mut(&id) else { return Ok(false) };
        let (course, now) = (&mut open.course, clock::now());
        let reason = Some(format!("{} by {by}.", act.sentence()));
        match (act, course.record.state) {
            (Act::Pause, Running) => course.set_state(Paused, reason, now),
            (Act::Resume, Paused | Stopped) => course.resume(now),
            (Act::Abort, Running | Paused | Stopped) => course.abort(reason, now),
            (_, state) => return Err(CampaignError::State { id, state, wanted: act.name() }),
        }
        Ok(true)
    }

    /// Reads the package anew before a campaign goes on.
    async fn reload(&self, id: u64) -> Result<(), CampaignError> {
        let package = {
            let inner = self.lock();
            let open = inner.open.get(&id).ok_or(CampaignError::Unknown(id));
            match open {
                Ok(open) => open.plan.image.package.clone(),
                // What it is instead is said by whoever asked.
                Err(_) => return Ok(()),
            }
        };
        let images = self.images.clone();
        let path = images.path(&package);
        let loaded = tokio::task::spawn_blocking(move || images.load(&package)).await;
        let loaded = loaded.unwrap_or(Err(ImageError::Gone(path)))?;
        if let Some(open) = self.lock().open.get_mut(&id) {
            open.package = Some(Arc::new(loaded));
        }
        Ok(())
    }

    /// A meter is connected, admitted and may be spoken to, until what this gives is dropped.
    pub(crate) fn attend(self: &Arc<Self>, meter: MeterId) -> Attendance {
        let number = {
            let mut inner = self.lock();
            inner.last_seat += 1;
            let number = inner.last_seat;
            inner.seats.insert(meter, Seat { number, called: Arc::default(), due: Instant::now() });
            inner.set_online(meter, true);
            number
        };
        self.pump();
        Attendance { campaigns: Arc::clone(self), meter, number }
    }

    /// What there is to do about a meter's firmware. Waits until there is something; cancel-safe.
    pub(crate) async fn next(&self, meter: MeterId) -> Turn {
        loop {
            let (called, due) = match self.now_or_when(meter) {
                Ok(turn) => return turn,
                Err(Some(when)) => when,
                // Another session has taken over; this one is about to end.
                Err(None) => return std::future::pending().await,
            };
            match due {
                // A permit that came before is kept, so nothing is missed; one session at a time waits for a meter.
                Some(due) => drop(tokio::time::timeout_at(due, called.notified()).await),
                None => called.notified().await,
            }
        }
    }

    /// What there is to do, or what to wait for and until when; neither for a meter that is not connected.
    #[allow(clippy::type_complexity, reason = "for the one caller above")]
    fn now_or_when(&self, meter: MeterId) -> Result<Turn, Option<(Arc<Notify>, Option<Instant>)>> {
        let inner = self.lock();
        let seat = inner.seats.get(&meter).ok_or(None)?;
        match inner.turn(meter) {
            Some(turn) if seat.due <= Instant::now() => Ok(turn),
            Some(_) => Err(Some((Arc::clone(&seat.called), Some(seat.due)))),
            None => Err(Some((Arc::clone(&seat.called), None))),
        }
    }

    /// Says what came of a meter's turn, and when it is to be asked again at the earliest.
    ///
    /// # Errors
    /// [`StoreError`]: what was decided is not on the disk.
    pub(crate) async fn report(
        &self,
        meter: MeterId,
        outcome: Outcome,
        again: Duration,
    ) -> Result<(), StoreError> {
        let now = clock::now();
        let durable = {
            let mut inner = self.lock();
            if let Some(seat) = inner.seats.get_mut(&meter) {
                seat.due = Instant::now() + again;
            }
            let Some(course) = inner.course_of(meter) else { return Ok(()) };
            match outcome {
                Outcome::Wait => false,
                Outcome::Progress(held, of) => {
                    course.progress(meter, held, of, now);
                    false
                }
                Outcome::FailedForNow(reason) => {
                    course.failed_for_now(meter, reason, now);
                    true
                }
                Outcome::Transferring => {
                    course.set(meter, MemberState::Transferring, None, now);
                    false
                }
                Outcome::Verifying => {
                    course.set(meter, MemberState::Verifying, None, now);
                    false
                }
                Outcome::Ready => {
                    course.set(meter, MemberState::Ready, None, now);
                    true
                }
                Outcome::Failed(reason) => {
                    tracing::warn!(%meter, reason, "the firmware of a meter was not updated");
                    course.set(meter, MemberState::Failed, Some(reason), now);
                    true
                }
                Outcome::Skipped(reason) => {
                    course.set(meter, MemberState::Skipped, Some(reason), now);
                    true
                }
            }
        };
        if durable {
            self.flush().await?;
            self.pump();
        }
        Ok(())
    }

    /// The meter is about to be told to start the image: on the disk when this returns, so that what comes of it is known
    /// even if the head-end does not live to see it.
    ///
    /// # Errors
    /// [`StoreError`]: then it must not be told.
    pub(crate) async fn ordering(&self, meter: MeterId, boots: Option<u32>) -> Result<(), StoreError> {
        if let Some(course) = self.lock().course_of(meter) {
            course.order(meter, boots, clock::now());
        }
        self.flush().await
    }

    /// A meter attested what it runs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn attested(&self, meter: MeterId, said: &AttestedRecord) -> Result<(), StoreError> {
        match self.lock().course_of(meter) {
            Some(course) => course.attested(meter, said, clock::now()),
            None => return Ok(()),
        }
        self.flush().await?;
        self.pump();
        Ok(())
    }

    /// A campaign as it stands at this moment; `None` for one that is over or not there.
    pub(crate) fn standing(&self, id: u64) -> Option<(CampaignRecord, Counts)> {
        let inner = self.lock();
        let open = inner.open.get(&id)?;
        Some((open.course.record.clone(), open.course.counts()))
    }

    /// Meters of a campaign as they stand at this moment; `None` as above.
    pub(crate) fn members(
        &self,
        id: u64,
        state: Option<MemberState>,
        from: u32,
        limit: u32,
    ) -> Option<Vec<MemberRecord>> {
        Some(self.lock().open.get(&id)?.course.list(state, from, limit))
    }

    /// How far a meter's transfer is: blocks that it holds, of how many.
    pub(crate) fn blocks(&self, id: u64, meter: MeterId) -> Option<(u32, u32)> {
        self.lock().open.get(&id)?.course.blocks(meter)
    }

    /// Looks after what time alone changes, until the head-end stops.
    pub(crate) async fn serve(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = crate::stopped(&mut stopping) => break,
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the state of firmware campaigns could not be stored; it is tried again");
            }
        }
        let _ = self.flush().await;
    }

    async fn look(&self) -> Result<(), StoreError> {
        let now = clock::now();
        let verdicts: Vec<(u64, Verdict)> = {
            let mut inner = self.lock();
            let judged = inner.open.iter_mut().map(|(&id, open)| (id, open.course.judge(now)));
            judged.filter_map(|(id, verdict)| Some((id, verdict?))).collect()
        };
        self.flush().await?;
        for (id, verdict) in verdicts {
            match verdict {
                Verdict::NextStage => {
                    tracing::info!(campaign = id, "the next stage of a firmware campaign begins");
                    // What is to be sent to many must still be what was verified.
                    if let Err(CampaignError::Image(problem)) = self.reload(id).await {
                        self.stop(id, problem.to_string()).await?;
                    }
                }
                Verdict::Finished => tracing::info!(campaign = id, "a firmware campaign is finished"),
                Verdict::Stopped(reason) => self.say_stopped(id, reason).await?,
            }
        }
        self.pump();
        self.announce();
        self.close();
        Ok(())
    }

    /// Stops a campaign because something is wrong, and says so.
    async fn stop(&self, id: u64, reason: String) -> Result<(), StoreError> {
        if let Some(open) = self.lock().open.get_mut(&id) {
            open.course.stop(reason.clone(), clock::now());
        }
        self.flush().await?;
        self.say_stopped(id, reason).await
    }

    async fn say_stopped(&self, id: u64, reason: String) -> Result<(), StoreError> {
        let name = self.lock().open.get(&id).map(|open| open.plan.name.clone()).unwrap_or_default();
        tracing::error!(campaign = id, reason, "a firmware campaign stopped by itself");
        let text = format!("Firmware campaign {id}, \"{name}\", stopped by itself: {reason}.");
        self.alarms.raise(None, HeadendCause::CampaignStopped, text).await
    }

    /// Forgets campaigns that are over and written.
    fn close(&self) {
        let mut inner = self.lock();
        let over: Vec<u64> = inner
            .open
            .iter()
            .filter(|(_, open)| open.course.is_over() && open.course.is_written())
            .map(|(&id, _)| id)
            .collect();
        for id in over {
            inner.open.remove(&id);
            inner.of_meter.retain(|_, campaign| *campaign != id);
        }
    }

    /// Writes everything that has changed; many callers share one commit.
    async fn flush(&self) -> Result<(), StoreError> {
        let _turn = self.writing.lock().await;
        let rows: Vec<_> = {
            let inner = self.lock();
            inner.open.iter().map(|(&id, open)| (id, open.course.unwritten())).collect()
        };
        for (id, (record, members)) in rows {
            match &record {
                Some(record) => self.store.put_campaign(record.clone(), members.clone()).await?,
                None if members.is_empty() => continue,
                None => self.store.put_campaign_members(id, members.clone()).await?,
            }
            if let Some(open) = self.lock().open.get_mut(&id) {
                open.course.written(record.as_ref(), &members);
            }
        }
        Ok(())
    }

    /// Gives free places to meters, and calls those whose turn it may be.
    fn pump(&self) {
        let now = clock::now();
        let mut inner = self.lock();
        let Inner { open, seats, .. } = &mut *inner;
        for open in open.values_mut() {
            for meter in open.course.launch(now) {
                if let Some(seat) = seats.get_mut(&meter) {
                    seat.due = Instant::now();
                    seat.called.notify_one();
                }
            }
            for meter in open.course.to_call(now) {
                if let Some(seat) = seats.get(&meter) {
                    seat.called.notify_one();
                }
            }
        }
    }

    /// Shows what changed to the pages.
    fn announce(&self) {
        let changed: Vec<_> = {
            let mut inner = self.lock();
            let open = inner.open.values_mut().filter_map(|open| {
                open.course.take_changed().then(|| (open.course.record.clone(), open.course.counts()))
            });
            open.collect()
        };
        for (record, counts) in &changed {
            self.fleet.campaign(record, counts);
        }
    }

    /// No code that holds the lock can leave a half-made course behind, so a poisoned lock is as good as new.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Nobody is brought to run what it would be refused for (design, decision 9).
    fn check(&self, image: &ImageFacts, meters: &[MeterId], now: UnixMillis) -> Result<(), CampaignError> {
        let target = digest(&image.image);
        let refusal = |meter: &MeterId| {
            let scopes = self.scopes.get(meter).map(Vec::as_slice).unwrap_or_default();
            self.marks.admit(&image.device_type, &target, scopes, now).err()
        };
        let mut refused = meters.iter().filter_map(|meter| Some((*meter, refusal(meter)?)));
        let Some((meter, why)) = refused.next() else { return Ok(()) };
        Err(CampaignError::NoMark { count: 1 + refused.count(), meter, why: why.to_string() })
    }
}

impl Inner {
    fn course_of(&mut self, meter: MeterId) -> Option<&mut Course> {
        let id = self.of_meter.get(&meter)?;
        Some(&mut self.open.get_mut(id)?.course)
    }

    fn set_online(&mut self, meter: MeterId, online: bool) {
        if let Some(course) = self.course_of(meter) {
            course.set_online(meter, online, clock::now());
        }
    }

    fn turn(&self, meter: MeterId) -> Option<Turn> {
        let id = *self.of_meter.get(&meter)?;
        let open = self.open.get(&id)?;
        let state = open.course.turn(meter, clock::now())?;
        Some(Turn {
            campaign: id,
            plan: Arc::clone(&open.plan),
            state,
            target: open.course.target,
            package: open.package.clone(),
            bandwidth: Arc::clone(&open.bandwidth),
            boots: open.course.member(meter).and_then(|member| member.boots),
        })
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        {
            let mut inner = self.campaigns.lock();
            if inner.seats.get(&self.meter).is_none_or(|seat| seat.number != self.number) {
                return;
            }
            inner.seats.remove(&self.meter);
            inner.set_online(self.meter, false);
        }
        self.campaigns.pump();
    }
}

/// What somebody does to a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing is sent until it is resumed.
    Pause,
    /// It goes on. Failures so far are accepted.
    Resume,
    /// It is given up.
    Abort,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Abort => "aborted",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Pause => "Paused",
            Self::Resume => "Resumed",
            Self::Abort => "Aborted",
        }
    }
}

/// A digest that was written by ourselves.
fn digest(text: &str) -> Digest384 {
    let mut bytes = [0; 48];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte =
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    Digest384(bytes)
}
