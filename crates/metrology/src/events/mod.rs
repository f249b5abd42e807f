//! Power-quality events: what went out of its limits, from when to when, and how far.
//!
//! RMS values are those of one cycle, new each half cycle, `Urms(1/2)` of IEC 61000-4-30 §5.4; cycles begin at the slots' edges instead of zero
//! crossings, which shifts a time stamp by less than half a cycle. Unbalance and direction of power are seen each cycle at a
//! boundary, the phase sequence in each cycle. Transients are seen in the samples. An event starts beyond its threshold and ends on the other side of threshold and hysteresis.

mod detector;
mod limits;
mod settings;

pub use settings::EventSettings;

pub(crate) use detector::Detector;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A phase's voltage fell below its threshold (IEC 61000-4-30 §5.4.2: dip). The extreme is its lowest RMS value in µV.
    Sag,
    /// A phase's voltage rose above its threshold (§5.4.3). The extreme is its highest RMS value in µV.
    Swell,
    /// The voltages of all phases fell below the threshold (§5.5). The extreme is the lowest RMS value of the largest phase in µV.
    Interruption,
    /// A voltage sample left the line between its neighbours. The extreme is the largest deviation in µV.
    Transient,
    /// Negative over positive sequence of the voltages (§5.7). The extreme is the largest ratio in millionths.
    Unbalance,
    /// The negative sequence is the larger one: two phases are exchanged. The extreme is the largest ratio as above.
    PhaseSequence,
    /// A phase exported more than its threshold. The extreme is the most negative active power in µW.
    ReversePower,
    /// A phase's current rose above its threshold. The extreme is its highest RMS value in µA.
    OverCurrent,
    /// A phase's voltage fell below the interruption's threshold while another has at least half of the sag's. The extreme is its lowest RMS value in µV.
    PhaseLost,
}

/// The start or the end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// 0 to 2 for L1 to L3; `None` for what concerns all phases.
    pub phase: Option<usize>,
    /// The first sample of the cycle that began it, counted from the first sample pushed.
    pub start_sample: u64,
    /// The sample after the cycle that ended it; `None` while it goes on.
    pub end_sample: Option<u64>,
    /// How far it went up to now, in the unit of its [`EventKind`].
    pub extreme: i64,
}

/// Starts and ends that nobody has taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    events: [Option<Event>; QUEUE],
    next: usize,
    length: usize,
    lost: u64,
}

/// Room for a start and an end of each event of all phases at once.
const QUEUE: usize = 46;

impl Queue {
    pub(crate) fn new() -> Self {
        Self { events: [None; QUEUE], next: 0, length: 0, lost: 0 }
    }

    /// Without room the event is counted as lost: what is older stays, because it tells how it began.
    fn put(&mut self, event: Event) {
        if self.length == QUEUE {
            self.lost += 1;
            return;
        }
        self.events[(self.next + self.length) % QUEUE] = Some(event);
        self.length += 1;
    }

    pub(crate) fn take(&mut self) -> Option<Event> {
        if self.length == 0 {
            return None;
        }
        let event = self.events[self.next].take();
        self.next = (self.next + 1) % QUEUE;
        self.length -= 1;
        event
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}
