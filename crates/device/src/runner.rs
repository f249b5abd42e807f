//! The meter's own thread: samples in step with the clock, sensors, messages, flash.
//!
//! Every 10 ms of wall time the site is advanced by as much site time as has passed (times the site's speed), in
//! blocks of 4 ms of site time; each block is sampled, sensed and saved. A message or a stimulus wakes the thread
//! at once. Bytes leave only after flash is on the disk, so what a peer has seen survives the loss of the machine.
//!
//! Cost at speed 1: 8 000 frames a second, about 1 ms of processor time; one `fdatasync` a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use meterseal_meter::{LinkId, Meter, Peer, ProtocolError};
use meterseal_metrology::Frame;
use meterseal_model::{SensorReadings, Stimulus, TimeBase};
use meterseal_world::site::Site;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tracing::{debug, error, info, warn};

use crate::SystemRandom;
use crate::assembly::{Assembly, Powered};
use crate::flash::{FileFlash, FlashSync};
use crate::link_state::LinkState;
use crate::signer::Signer;
use crate::supply::{Fed, Monitor, Outage};

/// What reaches the meter from outside its thread.
#[derive(Debug)]
pub(crate) enum Input {
    /// A connection is up, under a number of its own, with this peer; frames for it go into the channel.
    Connected(u64, Peer, Sender<Vec<u8>>),
    /// Bytes from a connection's peer.
    Bytes(u64, Vec<u8>),
    /// A connection is gone.
    Disconnected(u64),
    /// Something happens to the site.
    Stimulus(Stimulus),
    /// Save and end.
    Stop,
}

pub(crate) struct Runner {
    pub(crate) name: String,
    /// What the meter is made of, for when it restarts.
    pub(crate) assembly: Assembly,
    pub(crate) meter: Meter<FileFlash, SystemRandom>,
    pub(crate) sync: FlashSync,
    pub(crate) site: Site,
    pub(crate) time_base: TimeBase,
    pub(crate) speed: f64,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) troubles: Troubles,
    pub(crate) disk_troubles: Troubles,
    /// The number of the front end's next frame.
    pub(crate) next_frame: u64,
    pub(crate) pulses: Arc<PulseCounts>,
    /// How the connection fares, for the meter to show.
    pub(crate) link: Arc<LinkState>,
    pub(crate) network: Arc<Fed>,
    /// Watches the supply of the meter's own electronics.
    pub(crate) monitor: Monitor,
    /// Where the supply's relay is.
    pub(crate) supplied: bool,
    /// Signs checkpoints; a meter without keys has none.
    pub(crate) signer: Option<Signer>,
    /// Where it says that it has ended.
    pub(crate) ended: Arc<Ended>,
}

/// Whether a meter has ended by itself.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Whether it wants its boot stage.
    state: OnceLock<bool>,
    news: Notify,
}

impl Ended {
    fn tell(&self, wants_boot_stage: bool) {
        let _ = self.state.set(wants_boot_stage);
        self.news.notify_waiters();
    }

    pub(crate) async fn wait(&self) -> bool {
        loop {
            let news = self.news.notified();
            match self.state.get() {
                Some(&wants) => return wants,
                None => news.await,
            }
        }
    }
}

/// How often each test lamp has blinked.
pub(crate) type PulseCounts = [AtomicU64; 2];

/// Tells of trouble with flash when it begins, changes or ends, not a hundred times a second.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    told: Option<String>,
}

impl Troubles {
    fn note(&mut self, meter: &str, trouble: Option<impl std::fmt::Display>) {
        let trouble = trouble.map(|trouble| trouble.to_string());
        if trouble == self.told {
            return;
        }
        match &trouble {
            Some(trouble) => error!(%meter, "{trouble}"),
            None => warn!(%meter, "flash works again"),
        }
        self.told = trouble;
    }
}

impl Runner {
    /// Runs until [`Input::Stop`] or until nobody can send any more.
    pub(crate) fn run(mut self) {
        let mut pace = Pace::new(self.speed, self.time_base);
        let mut connections = Vec::new();
        let mut beaten: Option<Instant> = None;
        let mut wants_boot_stage = None;
        loop {
            self.meter.set_link_status(self.link.status(&*self.network));
            self.link.silence.set(self.meter.inactivity_seconds());
            match self.inputs.recv_timeout(SLICE) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => self.accept(input, &mut connections),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let next = self.advance(&mut pace);
            self.flush(&mut connections);
            match next {
                Next::GoOn => {}
                Next::Restart if self.assembly.restarts_itself() => {
                    if !self.restart(&mut pace, &mut connections) {
                        // It is down already, and what is in its flash is no longer what it knows.
                        self.ended.tell(false);
                        return;
                    }
                }
                Next::Restart => {
                    wants_boot_stage = Some(true);
                    break;
                }
                Next::SupplyFails => match self.lose_supply(&mut pace, &mut connections) {
                    Outage::Over => {}
                    // In each of these it is down already.
                    Outage::BootStage => return self.ended.tell(true),
                    Outage::Dead => return self.ended.tell(false),
                    Outage::Stopped => return,
                },
            }
            // The watchdog hears of a meter that lives through blocks of samples, not of one that merely runs.
            if beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT) {
                self.assembly.beat();
                beaten = Some(Instant::now());
            }
        }
        let saved = self.meter.power_down(self.site.now());
        // What it says last, that it goes down, is under way before the connections end.
        self.flush(&mut connections);
        match (saved, self.sync.sync()) {
            (Ok(()), Ok(())) => info!(meter = %self.name, "stopped, registers saved"),
            (Err(error), _) => error!(meter = %self.name, "stopped, but not saved: {error}"),
            (_, Err(error)) => error!(meter = %self.name, "stopped, but perhaps not saved: {error}"),
        }
        // In this order: a connection that ends finds nobody to tell, and knows that it need not dial again.
        drop(self.inputs);
        drop(connections);
        if let Some(wants) = wants_boot_stage {
            self.ended.tell(wants);
        }
    }

    fn accept(&mut self, input: Input, connections: &mut Vec<Connection>) {
        match input {
            Input::Connected(number, peer, outbound) => match self.meter.connected(peer) {
                Ok(link) => connections.push(Connection { number, link, outbound }),
                // Without its sender the connection closes itself.
                Err(error) => warn!(meter = %self.name, "refusing a connection: {error}"),
            },
            Input::Bytes(number, bytes) => {
                // After a protocol error the connection is on its way down: what still arrives is of no use.
                if let Some(k) = connections.iter().position(|connection| connection.number == number)
                    && let Err(error) = self.meter.receive(connections[k].link, &bytes)
                {
                    self.close(connections.swap_remove(k), &error);
                }
            }
            Input::Disconnected(number) => {
                if let Some(k) = connections.iter().position(|connection| connection.number == number) {
                    self.meter.disconnected(connections.swap_remove(k).link);
                }
            }
            Input::Stimulus(stimulus) => {
                debug!(meter = %self.name, %stimulus, "stimulus");
                self.site.apply(stimulus);
            }
            Input::Stop => {}
        }
    }

    /// Goes down, saved, and up again with what the boot stage starts; `false` when nothing does. What the site lives
    /// through meanwhile nobody measures: the power-up entry says how long it was, and a measurement gap how long the
    /// meter took to open.
    fn restart(&mut self, pace: &mut Pace, connections: &mut Vec<Connection>) -> bool {
        info!(meter = %self.name, "restarts for new firmware");
        if let Err(error) = self.meter.power_down(self.site.now()) {
            error!(meter = %self.name, "goes down, but not saved: {error}");
        }
        self.flush(connections);
        connections.clear();
        self.signer = None;
        self.power_up(pace)
    }

    /// Up, with what the boot stage starts; `false` when nothing does.
    pub(crate) fn power_up(&mut self, pace: &mut Pace) -> bool {
        let down = Instant::now();
        let booted = self.assembly.boot(self.site.now());
        self.skip(pace);
        let powered = booted.and_then(|booted| self.assembly.open(booted, self.site.now()));
        match powered {
            Ok(Powered { meter, signer }) => {
                (self.meter, self.signer, self.next_frame) = (meter, signer, 0);
                // Numbered from before the meter had opened: what it missed since is a gap in its record.
                self.meter.sample_at(self.next_frame, &[], self.site.now());
                self.next_frame += self.skip(pace);
                info!(meter = %self.name, milliseconds = down.elapsed().as_millis(), "is up again");
                true
            }
            Err(error) => {
                error!(meter = %self.name, "{error}");
                false
            }
        }
    }

    /// Lets the site live through the time that has passed, unmeasured. Gives the number of frames.
    pub(crate) fn skip(&mut self, pace: &mut Pace) -> u64 {
        let mut block = [Frame::default(); BLOCK];
        let mut skipped = 0;
        loop {
            let frames = pace.due().min(BLOCK);
            if frames == 0 {
                return skipped;
            }
            self.site.frames(&mut block[..frames]);
            pace.lived(frames);
            skipped += frames as u64;
        }
    }

    /// Lives through the site time that is due.
    fn advance(&mut self, pace: &mut Pace) -> Next {
        let mut block = [Frame::default(); BLOCK];
        let begin = Instant::now();
        let mut due = pace.due();
        while due > 0 {
            let frames = &mut block[..due.min(BLOCK)];
            self.site.frames(frames);
            let now = self.site.now();
            self.meter.sample_at(self.next_frame, frames, now);
            self.next_frame += frames.len() as u64;
            let sensed = self.meter.sense(&self.site.sensors(), now);
            if sensed.is_ok() {
                self.site.reset_latches();
            }
            let saved = self.meter.tick(now);
            let sealed = self.signer.as_ref().map_or(Ok(()), |signer| signer.exchange(&mut self.meter));
            let carried = self.meter.carry_on_firmware();
            let restart = matches!(carried, Ok(true));
            self.troubles.note(&self.name, sensed.and(saved).and(sealed).and(carried.map(drop)).err());
            self.follow_relay();
            let fails = self.monitor.pass(self.site.feeds_meter(), frames.len());
            due -= frames.len();
            pace.lived(frames.len());
            self.count_pulses();
            if fails {
                return Next::SupplyFails;
            }
            if restart {
                return Next::Restart;
            }
            if begin.elapsed() > BUSY {
                // A site faster than this machine: messages first, then the rest.
                pace.yield_time();
                break;
            }
        }
        Next::GoOn
    }

    /// Moves the supply's relay to where the meter wants it, once the reason is on the disk.
    fn follow_relay(&mut self) {
        let wanted = self.meter.supply_is_connected();
        if wanted == self.supplied {
            return;
        }
        let synced = self.sync.sync();
        let failed = synced.is_err();
        self.disk_troubles.note(&self.name, synced.err());
        if !failed {
            info!(meter = %self.name, "the relay {}", if wanted { "closes" } else { "opens" });
            self.site.set_supply(wanted);
            self.supplied = wanted;
        }
    }

    fn count_pulses(&mut self) {
        let Self { meter, pulses, .. } = self;
        meter.take_pulses(&mut |pulse| {
            if let Some(count) = pulses.get(pulse.output) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    fn close(&mut self, connection: Connection, error: &ProtocolError) {
        warn!(meter = %self.name, "closing a connection: {error}");
        self.meter.disconnected(connection.link);
    }

    /// Hands over what the meter wants to say, as far as the connections take it.
    fn flush(&mut self, connections: &mut Vec<Connection>) {
        if connections.is_empty() {
            return;
        }
        let synced = self.sync.sync();
        let failed = synced.is_err();
        self.disk_troubles.note(&self.name, synced.err());
        if failed {
            // Nothing may be told that could be forgotten.
            return;
        }
        let mut k = 0;
        while k < connections.len() {
            match self.hand_over(&connections[k]) {
                Ok(()) if connections[k].outbound.is_closed() => {
                    self.meter.disconnected(connections.swap_remove(k).link);
                }
                Ok(()) => k += 1,
                Err(error) => self.close(connections.swap_remove(k), &error),
            }
        }
    }

    fn hand_over(&mut self, connection: &Connection) -> Result<(), ProtocolError> {
        while let Ok(permit) = connection.outbound.try_reserve() {
            let Some(frame) = self.meter.transmit(connection.link)? else { break };
            // A push may just have reserved counters.
            self.sync.sync().map_err(|_| ProtocolError::Storage)?;
            permit.send(frame);
        }
        Ok(())
    }
}

/// What comes after some site time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    /// The meter wants to restart.
    Restart,
    /// Its supply is failing.
    SupplyFails,
}

/// A connection that the meter serves.
#[derive(Debug)]
pub(crate) struct Connection {
    number: u64,
    link: LinkId,
    outbound: Sender<Vec<u8>>,
}

/// Keeps site time in step with the monotonic clock: never a frame too many, never one left out.
#[derive(Debug)]
pub(crate) struct Pace {
    origin: Instant,
    frames_per_second: f64,
    lived: u64,
    /// A simulated clock may fall behind its speed; a wall clock must catch up.
    simulated: bool,
}

impl Pace {
    fn new(speed: f64, time_base: TimeBase) -> Self {
        let frames_per_second = f64::from(Site::SAMPLE_RATE) * speed;
        Self {
            origin: Instant::now(),
            frames_per_second,
            lived: 0,
            simulated: time_base == TimeBase::Simulated,
        }
    }

    fn due(&self) -> usize {
        let target = (self.origin.elapsed().as_secs_f64() * self.frames_per_second) as u64;
        target.saturating_sub(self.lived) as usize
    }

    fn lived(&mut self, frames: usize) {
        self.lived += frames as u64;
    }

    fn yield_time(&mut self) {
        if self.simulated && self.due() as f64 > self.frames_per_second {
            self.origin = Instant::now();
            self.lived = 0;
        }
    }
}

/// How often the watchdog is told.
const BEAT: Duration = Duration::from_secs(1);
/// How often the meter looks at its surroundings when nothing wakes it.
pub(crate) const SLICE: Duration = Duration::from_millis(10);
/// Frames per block: the sensors are read after each.
const BLOCK: usize = (SensorReadings::PERIOD_MS * Site::SAMPLE_RATE / 1000) as usize;
/// Longest time away from messages.
const BUSY: Duration = Duration::from_millis(40);
