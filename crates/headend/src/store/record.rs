//! What the store keeps, in types that say nothing of how: energies are integers, so that what was billed can
//! be added up again without rounding.

use meterseal_model::{Digest384, EventCode, MeterId, Obis, TimeBase, UnixMillis};

/// Energy registers of a meter, in millionths of a watt-hour or var-hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Energies {
    /// Active energy import (+A), microwatt-hours.
    pub active_import_microwatt_hours: i64,
    /// Active energy export (−A), microwatt-hours.
    pub active_export_microwatt_hours: i64,
    /// Reactive energy import (+R), microvar-hours.
    pub reactive_import_microvar_hours: i64,
    /// Reactive energy export (−R), microvar-hours.
    pub reactive_export_microvar_hours: i64,
}

/// One reading of the live registers. Kept for two hours, for the eye; nothing is billed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveReading {
    /// The meter's clock.
    pub at: UnixMillis,
    /// The head-end's clock.
    pub received_at: UnixMillis,
    /// Hertz.
    pub frequency_hz: f64,
    /// RMS to neutral, volts.
    pub voltage_v: [f64; 3],
    /// RMS, amperes.
    pub current_a: [f64; 3],
    /// Active power per phase, watts; negative is export.
    pub power_w: [f64; 3],
    /// Active power, all phases, watts; negative is export.
    pub total_power_w: f64,
    /// Reactive power, all phases, vars.
    pub total_reactive_power_var: f64,
    /// Power factor; none without a load.
    pub power_factor: Option<f64>,
    /// The registers.
    pub energies: Energies,
}

/// A row of the load profile, as the meter keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Sequence number in the meter; starts at 1, never reused.
    pub sequence: u64,
    /// End of the interval, the meter's clock.
    pub at: UnixMillis,
    /// The registers then.
    pub energies: Energies,
    /// Mean RMS voltage over the interval, millivolts.
    pub mean_voltage_millivolts: [u32; 3],
    /// Status bits of the interval (docs/object-model.md).
    pub status: u8,
}

/// A row of the load profile with the time at which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredProfileRow {
    /// The row.
    pub row: ProfileRow,
    /// The head-end's clock.
    pub received_at: UnixMillis,
}

/// An entry of a meter's security log, as the meter keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityEvent {
    /// Sequence number in the log; starts at 1, never reused.
    pub sequence: u64,
    /// Event number; see [`SecurityEvent::kind`].
    pub code: u8,
    /// The meter's clock.
    pub at: UnixMillis,
    /// The meter's monotonic uptime, milliseconds.
    pub uptime_milliseconds: u64,
    /// Extreme value in millionths of the event's quantity; 0 when it has none.
    pub extreme_micro_units: i64,
}

impl SecurityEvent {
    /// What happened, if this head-end knows the number.
    pub fn kind(&self) -> Option<EventCode> {
        EventCode::from_number(self.code)
    }

    /// Whether it raises an alarm: everything that is more than a notice, and everything unknown.
    pub fn raises_alarm(&self) -> bool {
        self.kind().is_none_or(|code| code.severity() > meterseal_model::event::Severity::Notice)
    }
}

/// An entry of a security log as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Order in which it was stored.
    pub id: u64,
    /// Whose log.
    pub meter: MeterId,
    /// The entry.
    pub event: SecurityEvent,
    /// The head-end's clock when it was stored.
    pub received_at: UnixMillis,
    /// Who acknowledged its alarm, and when.
    pub acknowledged: Option<(String, UnixMillis)>,
}

/// What came of storing a batch of log entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredBatch {
    /// Those that were new, in order.
    pub new: Vec<StoredEvent>,
    /// Sequence numbers under which the store holds something else: the meter's log was rewritten, or two
    /// devices use one identity.
    pub contradicted: Vec<u64>,
    /// What became of alarms.
    pub alarms: Vec<super::AlarmChange>,
}

/// What came of storing a batch of load-profile rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRows {
    /// How many were new.
    pub new: usize,
    /// Sequence numbers under which the store holds something else.
    pub contradicted: Vec<u64>,
}

/// A meter's state as the store remembers it over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Never connected.
    Never,
    /// Connected and read.
    Online,
    /// Was connected.
    Offline,
    /// Not admitted.
    Refused,
}

/// A time in which a meter's firmware had no valid mark, as far as this head-end knew. Nothing is billed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when, by the head-end's clock.
    pub since: UnixMillis,
    /// Until when; none while it lasts.
    pub until: Option<UnixMillis>,
    /// By the meter's clock: what it recorded after this moment falls under it.
    pub after: UnixMillis,
    /// By the meter's clock: and up to this one, which counts; none while it lasts.
    pub upto: Option<UnixMillis>,
    /// Why, in a sentence.
    pub reason: String,
}

impl Quarantine {
    /// Whether what the meter recorded at a moment of its clock falls under it.
    pub fn covers(&self, at: UnixMillis) -> bool {
        self.overlaps(at, at)
    }

    /// Whether anything of a period of the meter's clock, its ends included, does.
    pub fn overlaps(&self, from: UnixMillis, to: UnixMillis) -> bool {
        to > self.after && self.upto.is_none_or(|upto| from <= upto)
    }
}

/// What a meter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Device type.
    pub device_type: String,
    /// Firmware version.
    pub firmware_version: String,
    /// SHA-384 digest of the running firmware.
    pub firmware_digest: Digest384,
}

/// A configured meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterRecord {
    /// Identifier.
    pub id: MeterId,
    /// What people call it.
    pub name: String,
    /// Kind of site.
    pub site: String,
    /// Whether it is simulated.
    pub is_virtual: bool,
    /// Its clock.
    pub time_base: TimeBase,
}

/// What the store remembers of a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterHistory {
    /// State when the head-end last ran.
    pub state: ConnectionState,
    /// Since when.
    pub since: Option<UnixMillis>,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// When it was last heard.
    pub last_seen: Option<UnixMillis>,
    /// What it said of itself.
    pub facts: Option<DeviceFacts>,
    /// Alarms that nobody has acknowledged.
    pub open_alarms: u64,
    /// The quarantine that it was in.
    pub quarantine: Option<Quarantine>,
}

/// The highest invocation counters under which a meter's messages were accepted: whatever comes under these or
/// lower ones is a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Of its responses.
    pub response: u32,
    /// Of its pushes.
    pub push: u32,
}

/// Up to where a meter's rings are stored without a hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Security log.
    pub security_log: u64,
    /// Load profile.
    pub load_profile: u64,
}

/// Averages over one step of a series, `None` where nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesPoint {
    /// Start of the step, Unix seconds.
    pub at_seconds: i64,
    /// Averages; energies as they stood at the end.
    pub mean: LiveReading,
}

/// One cell of another maker's load profile: its value × 10^scaler is in the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherCell {
    /// The row's time, the meter's clock.
    pub at: UnixMillis,
    /// The column.
    pub obis: Obis,
    /// The number as the meter gave it.
    pub value: i64,
    /// Power of ten.
    pub scaler: i8,
    /// Number of the unit (IEC 62056-6-2).
    pub unit: u8,
}

/// How a meter's enrolment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolmentState {
    /// A certificate was made for it, and it has not called with it yet.
    Enrolling,
    /// It calls with an operational identity.
    Enrolled,
    /// A newer certificate was made for it, and it has not called with it yet.
    Renewing,
    /// The last attempt failed; the reason stands beside.
    Failed,
}

impl EnrolmentState {
    const ALL: [Self; 4] = [Self::Enrolling, Self::Enrolled, Self::Renewing, Self::Failed];

    /// Its name in the store and in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enrolling => "enrolling",
            Self::Enrolled => "enrolled",
            Self::Renewing => "renewing",
            Self::Failed => "failed",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A meter's certificates and how its enrolment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentRecord {
    /// Which meter.
    pub meter: MeterId,
    /// How it stands.
    pub state: EnrolmentState,
    /// Since when.
    pub since: UnixMillis,
    /// Why it failed.
    pub reason: Option<String>,
    /// Serial number of the operational certificate that it was last seen to use, in hexadecimal digits.
    pub serial: Option<String>,
    /// From when that one is valid.
    pub not_before: Option<UnixMillis>,
    /// Until when it is.
    pub not_after: Option<UnixMillis>,
    /// Serial number of one that was made since.
    pub issued_serial: Option<String>,
}
