//! What a procedure has before it: a meter on a bench. [`Target`] is all that the laboratory does to the meter and sees of it, and nothing of
//! what is inside.
//!
//! Two things implement it: a [virtual bench](super::virtual_bench), where time is stepped and the reference is exact, and a real one behind a
//! network and instruments. A procedure cannot tell which it has.

use meterseal_link::client::AccessError;
use meterseal_link::{DlmsKeys, Value};
use meterseal_model::{Obis, Role, SystemTitle, UnixMillis};
use meterseal_world::physics::LoadPoint;

use crate::catalogue::Need;

/// Why something could not be done: of the target, the bench or an instrument. Never a result of the meter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The bench has no means for it.
    #[error("the bench has no {0}")]
    Lacks(&'static str),
    /// The meter does not answer, or answers what no meter does.
    #[error("the meter: {0}")]
    Meter(String),
    /// An instrument reports an error or does not answer.
    #[error("instrument {name}: {problem}")]
    Instrument {
        /// Which.
        name: String,
        /// What it says, and what to do.
        problem: String,
    },
    /// The bench itself.
    #[error("the bench: {0}")]
    Bench(String),
}

/// What can be done to a meter beside its load. A state stays until it is set otherwise; a surge passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stimulus {
    /// The main cover is open, or not.
    Cover(bool),
    /// The terminal cover is open, or not.
    TerminalCover(bool),
    /// A permanent magnet's field at the meter, millitesla; zero takes it away.
    Magnet([f64; 3]),
    /// The amplitude of a 50 Hz field at the meter, millitesla; zero switches it off.
    AlternatingField([f64; 3]),
    /// Which way the meter hangs: the earth's acceleration as it feels it, `[0, 1, 0]` upright.
    Position([f64; 3]),
    /// A 1.2/50 µs surge on the phases, peak volts to neutral.
    Surge([f64; 3]),
}

/// An alarm that the utility received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// When it arrived, by the bench's clock, nanoseconds after the beginning.
    pub arrived_ns: u64,
    /// The security log's sequence number.
    pub sequence: u64,
    /// The event's number in the meter's log.
    pub code: u8,
    /// The time that the meter gives it.
    pub time: UnixMillis,
}

/// A message that went over a line, for the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// By the bench's clock, nanoseconds after the beginning.
    pub at_ns: u64,
    /// To the meter, or from it.
    pub to_meter: bool,
    /// As on the line, inside TLS.
    pub bytes: Vec<u8>,
}

/// Where the meter's network side is, for probes that open connections of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port of the local port.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The folder with a subfolder for each role: certificate, key, authorities, DLMS keys (as `up --local-port` writes them).
    pub access: std::path::PathBuf,
}

/// Who calls the meter, and by which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The role that its certificate carries. What it then says in its messages is another matter.
    pub role: Role,
    /// It comes in by the local port, not over the connection that the meter dials.
    pub local: bool,
}

impl Caller {
    /// Whom the meter dials.
    pub const HEAD_END: Self = Self { role: Role::Utility, local: false };

    /// Over the network.
    pub const fn network(role: Role) -> Self {
        Self { role, local: false }
    }

    /// At the local port.
    pub const fn local(role: Role) -> Self {
        Self { role, local: true }
    }
}

/// A connection to the meter that a procedure has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub u32);

/// What came of calling the meter. A refusal is a result of the meter, not a trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The connection stands, inside TLS.
    Open(CallId),
    /// It does not, and why.
    Refused(String),
}

/// What was heard on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes: on the virtual bench whole frames of the wrapper, on a real one what the network gave.
    Bytes(Vec<u8>),
    /// Nothing came in the time that was waited.
    Nothing,
    /// The meter has closed the connection, and why as far as that is known. It stays so.
    Closed(String),
}

/// What the bench has for a role: whom it speaks to, as whom, and under which keys.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The meter's system title.
    pub meter: SystemTitle,
    /// The client's own.
    pub client: SystemTitle,
    /// The role's keys of suite 2.
    pub keys: DlmsKeys,
    /// How far its counters are.
    pub counters: Counters,
}

/// Invocation counters under one role's keys, 0 for none used yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The last that the client used.
    pub ours: u32,
    /// The last of the meter's answers.
    pub answers: u32,
    /// The last of its pushes.
    pub pushes: u32,
}

impl Counters {
    /// Those and these: never back.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ours: self.ours.max(other.ours),
            answers: self.answers.max(other.answers),
            pushes: self.pushes.max(other.pushes),
        }
    }
}

/// A meter on a bench.
///
/// Time is the bench's: it passes in [`pass`](Self::pass) and, on a real bench, in everything.
///
/// ```
/// use meterseal_bench::certify::{Target, Trouble};
/// use meterseal_world::physics::LoadPoint;
///
/// /// The error over a minute at a load, per cent, by the meter's pulses.
/// fn error(meter: &mut dyn Target, load: &LoadPoint, impulses_per_kilowatt_hour: f64) -> Result<f64, Trouble> {
///     meter.load(load)?;
///     meter.pass(10.0)?;
///     meter.pulses()?;
///     meter.watts()?;
///     meter.pass(60.0)?;
///     let watts = meter.watts()?;
///     let pulses = meter.pulses()?;
///     let [first, .., last] = pulses[..] else { return Ok(-100.0) };
///     let joules = (pulses.len() - 1) as f64 / impulses_per_kilowatt_hour * 3.6e6;
///     Ok((joules / (watts * (last - first)) - 1.0) * 100.0)
/// }
/// ```
pub trait Target {
    /// Whether the bench has the means for this need.
    fn offers(&self, need: Need) -> bool;

    /// Sets what is at the terminals.
    ///
    /// # Errors
    /// [`Trouble`]: the source refuses or does not answer.
    fn load(&mut self, load: &LoadPoint) -> Result<(), Trouble>;

    /// Sets the chamber to this temperature and waits until everything in the meter has it.
    ///
    /// # Errors
    /// [`Trouble`].
    fn ambient(&mut self, celsius: f64) -> Result<(), Trouble>;

    /// Does something to the meter.
    ///
    /// # Errors
    /// [`Trouble`]: there is no means for it.
    fn stimulate(&mut self, stimulus: Stimulus) -> Result<(), Trouble>;

    /// Switches the meter's whole supply. Off is a cut without warning: what is not in its memory is gone.
    ///
    /// # Errors
    /// [`Trouble`]: there is no switch, or the meter does not start again.
    fn supply(&mut self, on: bool) -> Result<(), Trouble>;

    /// Lets time pass, at least so much.
    ///
    /// # Errors
    /// [`Trouble`]: the meter or an instrument failed meanwhile.
    fn pass(&mut self, seconds: f64) -> Result<(), Trouble>;

    /// The bench's clock: seconds since the beginning.
    fn seconds(&self) -> f64;

    /// The reference standard's net active energy since the beginning, joules; import positive.
    ///
    /// # Errors
    /// [`Trouble`]: the standard does not answer.
    fn joules(&mut self) -> Result<f64, Trouble>;

    /// The reference standard's mean active power over whole cycles since this was last asked, watts; import positive. For a load that stays.
    ///
    /// # Errors
    /// As [`joules`](Self::joules).
    fn watts(&mut self) -> Result<f64, Trouble>;

    /// What the bench's energy and time are uncertain by over so many seconds (k = 2), per cent.
    fn uncertainty_percent(&self, seconds: f64) -> f64;

    /// When the active-import pulse output gave its pulses since this was last asked, seconds by the bench's clock, ascending.
    ///
    /// # Errors
    /// [`Trouble`]: there is no pulse input.
    fn pulses(&mut self) -> Result<Vec<f64>, Trouble>;

    /// Reads attributes as the utility's head-end over its standing connection; one answer each.
    ///
    /// # Errors
    /// [`Trouble::Meter`] when there is no connection or the request as a whole fails.
    fn get(&mut self, items: &[(u16, Obis, i8)]) -> Result<Vec<Result<Value, AccessError>>, Trouble>;

    /// Rows of a profile by position, 1 being the oldest.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn rows(&mut self, profile: Obis, first: u32, last: u32) -> Result<Vec<Vec<Value>>, Trouble>;

    /// Alarms that arrived on the head-end's standing connection since this was last asked.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn alarms(&mut self) -> Result<Vec<Alarm>, Trouble>;

    /// From now on time passes in steps so short that the arrival of alarms is known to 4 ms; otherwise as is fastest.
    fn watch(&mut self, closely: bool);

    /// Sets the meter's energy register ahead in its factory, for tests near the end of its range: kilowatt-hours that it has metered.
    ///
    /// # Errors
    /// [`Trouble::Lacks`]: only a virtual meter can be made anew.
    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble>;

    /// The meter's memory, where the bench can reach it while the meter is off.
    fn memory(&self) -> Option<super::Memory>;

    /// Where the meter's network side is.
    fn endpoint(&self) -> Option<Endpoint>;

    /// The meter as a peer on the network, with what the bench needs to take the place of its head-end and of its callers.
    ///
    /// # Errors
    /// [`Trouble`]: the bench has no way to it, or its network side does not start.
    fn peer(&mut self) -> Result<&mut dyn super::TlsPeer, Trouble> {
        Err(Trouble::Lacks("network address and credentials of the meter for callers of its own"))
    }

    /// Opens a connection inside TLS, with a certificate of this role. The meter serves a role's key on one connection at a time: the
    /// utility's standing connection ends before the utility calls, and is made anew when something is asked over it.
    ///
    /// # Errors
    /// [`Trouble`]: the bench has no means for it. What the meter refuses is [`Called::Refused`].
    fn call(&mut self, caller: Caller) -> Result<Called, Trouble>;

    /// Sends bytes. Where the meter closes the connection for them, [`receive`](Self::receive) tells.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench, never of the meter.
    fn send(&mut self, call: CallId, bytes: &[u8]) -> Result<(), Trouble>;

    /// Waits until something comes, at most so many seconds of the bench's clock.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn receive(&mut self, call: CallId, patience_seconds: f64) -> Result<Received, Trouble>;

    /// Closes the connection without a word.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn hang_up(&mut self, call: CallId) -> Result<(), Trouble>;

    /// What the bench has for a role; `None`: no keys, as always for the public.
    fn credentials(&self, role: Role) -> Option<Credentials>;

    /// Says how far the counters under a role's keys were used, so that nobody uses one again without wanting to.
    fn spent(&mut self, role: Role, counters: Counters);

    /// A firmware package of this kind for this meter. The standing connection and calls may end with the first, when a virtual meter gets its
    /// firmware partition.
    ///
    /// # Errors
    /// [`Trouble::Lacks`]: nobody has given the bench such packages.
    fn package(&mut self, sample: super::Sample) -> Result<super::Offered, Trouble> {
        let _ = sample;
        Err(Trouble::Lacks("firmware packages of its maker"))
    }

    /// The public half of the meter's boot key, as its maker certifies it.
    fn boot_key(&self) -> Option<meterseal_seal::SealPublicKey> {
        None
    }

    /// What went over the head-end's line and over calls since this was last asked.
    fn transcript(&mut self) -> Vec<Exchange>;
}
