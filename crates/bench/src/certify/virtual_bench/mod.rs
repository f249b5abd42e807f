//! The virtual bench: steps a virtual meter's time, is the source at its terminals, and knows exactly what flowed.
//!
//! Uncertainty (k = 2): the reference's 10⁻¹² of apparent power; a pulse is placed within a sampling interval; a load's edge cuts a cycle, whose
//! energy is integrated exactly. All stated as [`UNCERTAINTY_PERCENT`] and one sampling interval over the time of measuring.

mod calls;
mod forge;
mod front_end;
mod laboratory;
mod line;
mod log_key;
mod maker;
mod meter;
mod sockets;
mod specimen;

pub(super) use meter::{BEGIN, identifier};

pub use laboratory::VirtualLaboratory;
pub use line::TITLE as CLIENT_TITLE;
pub use maker::Maker;
pub use meter::{Attests, BetweenImages, Made, VirtualMeter};
pub use sockets::{Front, Inside, NoFront};
pub use specimen::{Line, Memory, Specimen};

use meterseal_link::client::AccessError;
use meterseal_link::{DlmsKeys, Value};
use meterseal_model::{Obis, Role};
use meterseal_world::physics::{LoadPoint, SAMPLE_RATE_HZ};

use super::{
    Alarm, CallId, Called, Caller, Counters, Credentials, Endpoint, Exchange, Offered, Received, Sample,
    Stimulus, Target, TlsPeer, Trouble,
};
use crate::catalogue::Need;
use crate::reference;
use calls::Calls;
use line::HeadEnd;
use maker::FIRST_SEQUENCE;
use meterseal_seal::SealPublicKey;
use sockets::Sockets;

/// What the virtual bench's energy is uncertain by whatever the time (k = 2), per cent: reference and double precision of sums over hours.
pub const UNCERTAINTY_PERCENT: f64 = 0.0005;

/// A specimen on the virtual bench.
pub struct VirtualBench<S> {
    specimen: S,
    made: Made,
    load: LoadPoint,
    /// The phase of a quarter of the supply's frequency, turns.
    turns: f64,
    joules: f64,
    watched: bool,
    powered: bool,
    head_end: Option<HeadEnd>,
    calls: Calls,
    /// By role.
    counters: [Counters; Role::ALL.len()],
    pulses: Vec<f64>,
    endpoint: Option<Endpoint>,
    log: Vec<Exchange>,
    alarms: Vec<Alarm>,
    /// The highest sequence number of a package that was given out.
    sequence: u64,
    /// What stands before the sample with sockets, which is made when it is asked for.
    front: fn() -> Box<dyn Front>,
    sockets: Option<Sockets>,
}

/// The longest stretch without a look at what the meter says, seconds.
const UNWATCHED_SECONDS: f64 = 1.0;
/// A reading of the sensors.
const WATCHED_SECONDS: f64 = 0.004;
/// Between two looks at whether an answer has come.
const WAITING_SECONDS: f64 = 0.1;

impl<S: Specimen> VirtualBench<S> {
    /// A bench with this specimen, made from `made`, at its rated voltage and without a load. `endpoint`: where another sample of it serves
    /// real connections.
    pub fn new(specimen: S, made: &Made, endpoint: Option<Endpoint>) -> Self {
        let load = LoadPoint::unbalanced(50.0, [crate::points::UN; 3], [0.0; 3], 0.0);
        let mut bench = Self {
            specimen,
            made: made.clone(),
            load,
            turns: 0.0,
            joules: 0.0,
            watched: false,
            powered: true,
            head_end: None,
            calls: Calls::default(),
            counters: Default::default(),
            pulses: Vec::new(),
            endpoint,
            log: Vec::new(),
            alarms: Vec::new(),
            sequence: FIRST_SEQUENCE,
            front: || Box::new(NoFront),
            sockets: None,
        };
        let load = bench.load.clone();
        bench.specimen.load(&load, 0.0);
        bench
    }

    /// With this between the bench and the sample that has sockets.
    #[must_use]
    pub fn with_front(self, front: fn() -> Box<dyn Front>) -> Self {
        Self { front, ..self }
    }

    /// The standing connection, made if it is not there.
    fn connected(&mut self) -> Result<(&mut HeadEnd, &mut S), Trouble> {
        self.listen();
        if self.head_end.is_none() {
            if !self.powered {
                return Err(Trouble::Meter("it is without supply".to_owned()));
            }
            let credentials = self.credentials(Role::Utility);
            let credentials = credentials.ok_or(Trouble::Lacks("keys of the utility"))?;
            self.head_end = Some(HeadEnd::open(&mut self.specimen, credentials)?);
        }
        match &mut self.head_end {
            Some(head_end) => Ok((head_end, &mut self.specimen)),
            None => Err(Trouble::Bench("no connection".to_owned())),
        }
    }

    /// Ends the standing connection.
    fn end_standing(&mut self) {
        if let Some(mut head_end) = self.head_end.take() {
            self.spent(Role::Utility, head_end.counters());
            self.log.append(&mut head_end.log);
            self.specimen.disconnect(head_end.line());
        }
    }

    /// Before the meter gets its firmware partition.
    fn end_standing_orderly(&mut self) -> Result<(), Trouble> {
        if self.sequence == FIRST_SEQUENCE {
            if self.head_end.is_some() {
                let alarms = self.alarms()?;
                self.alarms = alarms;
            }
            self.end_standing();
            self.calls.cut();
        }
        Ok(())
    }

    /// Takes what the meter says over the standing connection. One that the meter has closed is over; what had arrived stays arrived.
    fn listen(&mut self) {
        if let Some(head_end) = &mut self.head_end
            && head_end.listen(&mut self.specimen).is_err()
        {
            let arrived = head_end.arrived(&self.specimen);
            self.alarms.extend(arrived);
            self.end_standing();
        }
    }

    /// One stretch of the meter's life, and what flowed meanwhile.
    fn live(&mut self, seconds: f64) -> Result<(), Trouble> {
        let before = self.specimen.seconds();
        self.specimen.pass(seconds)?;
        self.account(before);
        self.specimen.pulses(&mut self.pulses);
        Ok(())
    }

    fn account(&mut self, before: f64) {
        let passed = self.specimen.seconds() - before;
        self.joules += reference::energy(&self.load, self.turns, passed);
        self.turns = (self.turns + self.load.frequency_hz / 4.0 * passed).fract();
    }

    /// Does one thing over the standing connection; withheld answers let time pass, which the reference must know.
    fn over_the_line<T>(
        &mut self,
        ask: impl FnOnce(&mut HeadEnd, &mut S) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let before = self.specimen.seconds();
        let (head_end, specimen) = self.connected()?;
        let outcome = ask(head_end, specimen);
        self.account(before);
        if outcome.is_err() {
            // What failed is over: the next that is asked is asked on a new connection, as a head-end's next would be.
            self.end_standing();
        }
        outcome
    }
}

impl<S: Specimen> Target for VirtualBench<S> {
    fn offers(&self, need: Need) -> bool {
        match need {
            Need::Load
            | Need::Climate
            | Need::Magnet
            | Need::Covers
            | Need::Surge
            | Need::Tilt
            | Need::Supply
            | Need::Power
            | Need::Peer
            | Need::Memory => true,
            // A sample with sockets is started when it is asked for.
            Need::Tap => true,
            Need::Radio => false,
        }
    }

    fn load(&mut self, load: &LoadPoint) -> Result<(), Trouble> {
        self.load = load.clone();
        self.specimen.load(load, self.turns);
        Ok(())
    }

    fn ambient(&mut self, celsius: f64) -> Result<(), Trouble> {
        self.specimen.ambient(celsius);
        Ok(())
    }

    fn stimulate(&mut self, stimulus: Stimulus) -> Result<(), Trouble> {
        self.specimen.stimulate(stimulus);
        Ok(())
    }

    fn supply(&mut self, on: bool) -> Result<(), Trouble> {
        if !on {
            // What had arrived stays arrived.
            if self.head_end.is_some() {
                let alarms = self.alarms()?;
                self.alarms = alarms;
            }
            self.end_standing();
            self.calls.cut();
        }
        self.powered = on;
        self.specimen.supply(on)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        let step = if self.watched { WATCHED_SECONDS } else { UNWATCHED_SECONDS };
        let end = self.specimen.seconds() + seconds;
        loop {
            let left = end - self.specimen.seconds();
            // Half a reading is nothing that could be waited for.
            if left < WATCHED_SECONDS / 2.0 {
                return Ok(());
            }
            self.live(left.min(step))?;
            self.listen();
        }
    }

    fn seconds(&self) -> f64 {
        self.specimen.seconds()
    }

    fn joules(&mut self) -> Result<f64, Trouble> {
        Ok(self.joules)
    }

    fn watts(&mut self) -> Result<f64, Trouble> {
        Ok(reference::Truth::of(&self.load).total_watts())
    }

    fn uncertainty_percent(&self, seconds: f64) -> f64 {
        // The placing of the first and the last pulse: rectangular, half a sample each way.
        let placing = 2.0 * (2.0f64).sqrt() * 0.5 / SAMPLE_RATE_HZ / 3f64.sqrt() / seconds.max(1e-3) * 100.0;
        UNCERTAINTY_PERCENT.hypot(placing)
    }

    fn pulses(&mut self) -> Result<Vec<f64>, Trouble> {
        let now = self.specimen.seconds();
        // A pulse that the meter has announced and that is not due yet stays for the next time.
        let (due, ahead): (Vec<f64>, Vec<f64>) = self.pulses.drain(..).partition(|&at| at <= now);
        self.pulses = ahead;
        Ok(due)
    }

    fn get(&mut self, items: &[(u16, Obis, i8)]) -> Result<Vec<Result<Value, AccessError>>, Trouble> {
        self.over_the_line(|line, specimen| line.ask(specimen, async |client| client.get_list(items).await))
    }

    fn rows(&mut self, profile: Obis, first: u32, last: u32) -> Result<Vec<Vec<Value>>, Trouble> {
        let most = (last.saturating_sub(first) + 1) as usize;
        self.over_the_line(|line, specimen| {
            line.ask(specimen, async |client| client.profile_by_entry(profile, first, last, most).await)
        })
    }

    fn alarms(&mut self) -> Result<Vec<Alarm>, Trouble> {
        let fresh = self.over_the_line(|line, specimen| line.alarms(specimen))?;
        let mut alarms = std::mem::take(&mut self.alarms);
        alarms.extend(fresh);
        Ok(alarms)
    }

    fn watch(&mut self, closely: bool) {
        self.watched = closely;
    }

    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble> {
        self.end_standing();
        self.calls.cut();
        self.specimen.made_with(kilowatt_hours)?;
        // Another sample, of which nothing was used yet.
        self.counters = Default::default();
        (self.joules, self.turns) = (0.0, 0.0);
        self.pulses.clear();
        let load = self.load.clone();
        self.specimen.load(&load, 0.0);
        Ok(())
    }

    fn memory(&self) -> Option<Memory> {
        Some(self.specimen.memory())
    }

    fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.clone()
    }

    fn peer(&mut self) -> Result<&mut dyn TlsPeer, Trouble> {
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::new(&self.made, (self.front)())?,
        };
        Ok(self.sockets.insert(sockets))
    }

    fn call(&mut self, caller: Caller) -> Result<Called, Trouble> {
        if caller == Caller::HEAD_END || caller.role == Role::Utility {
            if self.head_end.is_some() {
                let alarms = self.alarms()?;
                self.alarms = alarms;
            }
            self.end_standing();
        }
        Ok(self.calls.open(&mut self.specimen, caller))
    }

    fn send(&mut self, call: CallId, bytes: &[u8]) -> Result<(), Trouble> {
        self.calls.send(&mut self.specimen, &mut self.log, call, bytes)
    }

    fn receive(&mut self, call: CallId, patience_seconds: f64) -> Result<Received, Trouble> {
        let until = self.specimen.seconds() + patience_seconds;
        loop {
            match self.calls.receive(&mut self.specimen, &mut self.log, call)? {
                Received::Nothing if self.powered && self.specimen.seconds() < until => {}
                received => return Ok(received),
            }
            self.pass((until - self.specimen.seconds()).clamp(WATCHED_SECONDS, WAITING_SECONDS))?;
        }
    }

    fn hang_up(&mut self, call: CallId) -> Result<(), Trouble> {
        self.calls.close(&mut self.specimen, call)
    }

    fn credentials(&self, role: Role) -> Option<Credentials> {
        let keys = self.made.keys(role)?;
        Some(Credentials {
            meter: meter::identifier().system_title(),
            client: line::TITLE,
            keys: DlmsKeys { encryption: keys.encryption, authentication: keys.authentication },
            counters: self.counters[role.index()],
        })
    }

    fn spent(&mut self, role: Role, counters: Counters) {
        let known = &mut self.counters[role.index()];
        *known = known.and(counters);
    }

    fn package(&mut self, sample: Sample) -> Result<Offered, Trouble> {
        self.end_standing_orderly()?;
        self.specimen.equip()?;
        self.sequence += u64::from(sample != Sample::First);
        self.made.maker()?.package(sample, self.sequence)
    }

    fn boot_key(&self) -> Option<SealPublicKey> {
        self.made.maker().ok().map(|maker| maker.boot_key().clone())
    }

    fn transcript(&mut self) -> Vec<Exchange> {
        if let Some(sockets) = &mut self.sockets {
            self.log.append(&mut sockets.take_log());
        }
        if let Some(head_end) = &mut self.head_end {
            self.log.append(&mut head_end.log);
        }
        std::mem::take(&mut self.log)
    }
}
