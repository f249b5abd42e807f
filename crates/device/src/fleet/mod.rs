//! A fleet: thousands of meters in one process, for load. Each is the real meter with an identity, flash, TLS session
//! and DLMS association of its own; only its front end is a model that hands over energy in place of samples.
//!
//! Cost: no thread a meter. Connections are tasks of the given runtime, one driver lets all meters live, spread
//! evenly over [`Settings::step`], and one thread signs all their checkpoints. Flash is one sparse file ([`memory`]), so that a fleet which starts again goes on
//! where it stopped; other than a device's it is not forced on to the disk before bytes leave, so the end of the
//! *machine* may take the last moments.

mod events;
mod firmware;
mod load;
mod member;
mod memory;
mod signing;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use meterseal_boot::stage::{Factory, Stage};
use meterseal_link::dial::{self, DialLimits, Target, Tcp};
use meterseal_link::tls::ClientProfile;
use meterseal_meter::firmware::FirmwareLayout;
use meterseal_meter::{DlmsKeys, Identity, Layout, RoleKeys};
use meterseal_model::{SensorReadings, UnixMillis};
use meterseal_seal::KeyStore;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{StartError, wall_clock};
use firmware::{Assembly, Busy};
use member::{Clock, Member};
use memory::{CHIP_BYTES, Memory};
use signing::Signing;

/// One meter of a fleet.
#[derive(Debug)]
pub struct MemberSettings {
    /// Who it is.
    pub identity: Identity,
    /// The keys that it shares with its head-end.
    pub keys: DlmsKeys,
    /// Those of other roles that its head-end takes: the firmware role's, for campaigns.
    pub role_keys: RoleKeys,
    /// Holds the key that signs its checkpoints ([`meterseal_seal::KeySlot::Log`]). Without one it makes none.
    pub log_key: Option<Arc<dyn KeyStore>>,
    /// Its side of the TLS profile, with its certificate.
    pub tls: ClientProfile,
    /// The boot stage below it, over [`PARTITION`]. Without one the meter attests nothing, and has no place for new firmware.
    pub stage: Option<Stage>,
}

/// How a fleet lives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its head-end.
    pub headend: Target,
    /// How often each meter measures and saves; at most a minute.
    pub step: Duration,
    /// Length of a load-profile interval, seconds.
    pub profile_period_seconds: u32,
    /// How many load-profile intervals a meter that starts for the first time has behind it already; at most
    /// [`MAX_HISTORY`].
    pub history: u32,
    /// The first calls are spread over this time.
    pub first_call_within: Duration,
    /// How fast the meters' own time goes: 1 as the wall's. A meter that was ever ahead stays ahead.
    pub speed: f64,
    /// Pauses and deadlines of calls.
    pub limits: DialLimits,
    /// What new meters with a boot stage get at their manufacture.
    pub factory: Option<Arc<Factory>>,
}

impl Settings {
    /// Quarter-hour intervals, a day of history, a step of 15 s, first calls within a second for every 400 meters.
    pub fn new(headend: Target, meters: usize) -> Self {
        Self {
            headend,
            step: Duration::from_secs(15),
            profile_period_seconds: 900,
            history: 96,
            first_call_within: Duration::from_millis(meters as u64 * 1000 / 400),
            speed: 1.0,
            limits: DialLimits::default(),
            factory: None,
        }
    }
}

/// How the flash of each meter is divided: 204 KiB; 448 load-profile rows and 64 log entries are surely held.
pub const LAYOUT: Layout = Layout {
    state_sectors: 4,
    register_sectors: 8,
    log_sectors: 3,
    profile_sectors: 8,
    tree_sectors: 10,
    ..Layout::TINY
};

/// Where the firmware of each meter lies, and how: images up to 1 MiB.
pub const PARTITION: (u32, FirmwareLayout) = (CHIP_BYTES as u32, FirmwareLayout::STANDARD);

const _: () = assert!(LAYOUT.size() <= CHIP_BYTES && LAYOUT.is_usable());

/// The longest history that every meter's flash holds, intervals.
pub const MAX_HISTORY: u32 = 448;

/// Largest fleet in one process.
pub const MAX_METERS: usize = 20_000;

/// A running fleet. Its meters stop, saved, with [`Self::stop`]; when it is dropped, connections end and what was not
/// yet due to be saved is lost, as with the power.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Arc<Member>>,
    online: Arc<AtomicUsize>,
    cut: watch::Sender<u64>,
    happened: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
    lock: Option<std::fs::File>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Opens every meter's flash in `flash`, a file of at most 256 KiB for each meter in the order of `members`, which
    /// must therefore stay the same; lets new meters live through their history; then starts to dial. `opened` is told
    /// how many meters are open. Blocks while it opens them: a minute for 20 000.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(
        members: Vec<MemberSettings>,
        settings: &Settings,
        flash: &Path,
        runtime: &Handle,
        mut opened: impl FnMut(usize),
    ) -> Result<Self, StartError> {
        let memory = Memory::open(flash)?;
        let (requests, waiting) = channel();
        let mut open = Vec::with_capacity(members.len());
        let busy = Arc::new(Busy::default());
        for (place, member) in members.into_iter().enumerate() {
            let MemberSettings { identity, keys, role_keys, log_key, tls, stage } = member;
            let signing = Signing { keys: log_key, requests: requests.clone(), place };
            let chip = memory.chip(place);
            let keys = (keys, role_keys);
            let assembly = Assembly::new(identity, keys, stage, chip, flash, settings, Arc::clone(&busy));
            let member = open_member(assembly, signing, settings)?;
            open.push((Arc::new(member), tls));
            opened(place + 1);
        }
        let (cut, _) = watch::channel(0);
        let online = Arc::new(AtomicUsize::new(0));
        let members: Vec<_> = open.iter().map(|(member, _)| Arc::clone(member)).collect();
        // What was asked for while the meters opened waits in the channel.
        signing::start(waiting, &members).map_err(StartError::Thread)?;
        let mut tasks = vec![
            runtime.spawn(drive(members.clone(), settings.step)),
            runtime.spawn(firmware::carry_on(members.clone(), busy)),
        ];
        tasks.extend(open.into_iter().map(|(member, tls)| {
            runtime.spawn(call(member, tls, settings.clone(), Arc::clone(&online), cut.subscribe()))
        }));
        Ok(Self { members, online, cut, happened: Arc::default(), tasks, lock: None })
    }

    /// Holds a lock for as long as meters may write their flash.
    pub fn keep(&mut self, lock: std::fs::File) {
        self.lock = Some(lock);
    }

    /// How many meters it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many have a TLS session with the head-end at this moment.
    pub fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed)
    }

    /// Cuts every connection, as a line is cut: nobody says goodbye. The meters call again at once, each after its own
    /// jittered pause.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Lets something happen to a meter, by its place: `change` alters what its sensors say, and the meter looks at them
    /// at once. What it leaves there stays, but a surge's peak is read once. Switches and fields become events once they
    /// have lasted for the debounce time: change nothing then, to let the meter look again. An event that the meter
    /// detects is in flash and on its way when this returns. Its clock is the wall's.
    ///
    /// # Panics
    /// Beyond [`Self::len`].
    pub fn feel(&self, place: usize, change: impl FnOnce(&mut SensorReadings)) {
        self.members[place].feel(change);
    }

    /// Surges, opened covers and magnets at random meters, so many events a second on average, from now on.
    pub fn keep_happening(&mut self, events_per_second: f64, runtime: &Handle) {
        let happened = Arc::clone(&self.happened);
        let task = events::keep_happening(self.members.clone(), events_per_second, happened);
        self.tasks.push(runtime.spawn(task));
    }

    /// A surge at every meter at once. Blocks until each has it in flash: about a second for ten thousand.
    pub fn strike_all(&self) {
        self.members.iter().for_each(|member| events::strike(member));
        self.happened.fetch_add(self.members.len() as u64, Ordering::Relaxed);
    }

    /// Events that [`Self::keep_happening`] and [`Self::strike_all`] have made.
    pub fn happened(&self) -> u64 {
        self.happened.load(Ordering::Relaxed)
    }

    /// Ends all connections and saves every meter.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            // Aborted is how they end.
            let _ = task.await;
        }
        let members = self.members;
        let saved = tokio::task::spawn_blocking(move || members.iter().for_each(|member| member.stop()));
        if saved.await.is_err() {
            tracing::error!("the fleet did not stop in order; its registers are as of the last save");
        }
        drop(self.lock);
    }
}

fn open_member(assembly: Assembly, signing: Signing, settings: &Settings) -> Result<Member, StartError> {
    let wall = wall_clock();
    let period_ms = i64::from(settings.profile_period_seconds) * 1000;
    let saved = assembly.saved_time()?;
    // One that ran before goes on; a new one begins a day ago and lives through it now.
    let history_ms = i64::from(settings.history.min(MAX_HISTORY)) * period_ms;
    let begin = saved.map_or(UnixMillis(wall.0 - history_ms), |saved| saved.max(wall));
    let clock = Clock { site: begin.max(wall), wall, speed: settings.speed };
    let member = Member::new(assembly, clock, signing, begin)?;
    let mut edge = begin.0.div_euclid(period_ms) * period_ms + period_ms;
    while edge <= wall.0 {
        member.live_until(UnixMillis(edge));
        edge += period_ms;
    }
    member.live();
    Ok(member)
}

/// Lets every meter live, each once in `step`, evenly spread.
async fn drive(members: Vec<Arc<Member>>, step: Duration) {
    let begin = Instant::now();
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lived = 0_u128;
    loop {
        ticks.tick().await;
        // How many turns all meters together should have had by now.
        let nanos = begin.elapsed().as_nanos();
        let due = nanos * members.len() as u128 / step.as_nanos().max(1);
        // After a standstill each gets one turn, not all that it missed: a step may be of any length.
        lived = lived.max(due.saturating_sub(members.len() as u128));
        while lived < due {
            let place = (lived % members.len() as u128) as usize;
            members[place].live();
            lived += 1;
            if lived.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Calls the head-end for as long as the task lives.
async fn call(
    member: Arc<Member>,
    tls: ClientProfile,
    settings: Settings,
    online: Arc<AtomicUsize>,
    cut: watch::Receiver<u64>,
) {
    sleep(settings.first_call_within.mul_f64(dial::random_jitter())).await;
    let (member, online, cut) = (&member, &online, &cut);
    let session = |stream, roles| member.serve(stream, roles, online, cut.clone());
    let (target, limits) = (&settings.headend, settings.limits);
    let observe = |progress: dial::Progress<'_>| member.observe(progress);
    dial::keep_connected(target, &Tcp, &tls, limits, dial::random_jitter, observe, session).await;
}

/// How often the driver looks who is due.
const BEAT: Duration = Duration::from_millis(50);
/// Meters that live in one go before connections get their turn: about a millisecond.
const TURN: u128 = 32;
