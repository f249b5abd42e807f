//! What `/api/v1` says: the JSON that the page, scripts and other programs read. The OpenAPI document and the
//! page's TypeScript types are generated from here. Units stand in the last word of a name; every time is
//! RFC 3339 in UTC with milliseconds.

use meterseal_model::Digest384;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::rfc3339;
use crate::store::AttestedRecord;

/// Whether a meter can be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeterState {
    /// Connected, admitted, and read once a second.
    Online,
    /// Was connected; is not now.
    Offline,
    /// Connected, but not admitted: nothing is read from it or billed. `state_reason` says why.
    Refused,
    /// Has never connected to this head-end.
    Never,
}

/// Which clock a meter's own times follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeBase {
    /// The wall clock.
    Wall,
    /// A simulated run's clock, which may run faster than the wall's.
    Simulated,
}

pub use super::alarm_types::*;
pub use super::campaign_types::*;

/// How urgent an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Notice,
    /// Somebody should look.
    Warning,
    /// Somebody may be altering the meter.
    Critical,
}

/// The life of the alarm that an event raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// The event is for the record and raises no alarm.
    None,
    /// Nobody has acknowledged it yet.
    Raised,
    /// Somebody has: see `acknowledged_by` and `acknowledged_at`.
    Acknowledged,
}

/// A meter, as the head-end knows it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Meter {
    /// Identifier: three letters and ten digits, as printed on the meter.
    #[schema(example = "MSL0000000001")]
    pub id: String,
    /// What people call it.
    #[schema(example = "Factory")]
    pub name: String,
    /// What kind of site it measures: `factory`, `home`, `commercial` or another word.
    #[schema(example = "factory")]
    pub site: String,
    /// Whether it is a simulated meter, whose surroundings the page may change.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    /// What can be done to its surroundings (virtual meters only): values of `kind` in a stimulus.
    pub stimuli: Vec<String>,
    /// Whether it can be read now.
    pub state: MeterState,
    /// Since when it is in this state; null when it has never connected.
    #[schema(required, example = "2026-11-22T19:00:00.000Z")]
    pub since: Option<String>,
    /// Why it is refused or offline, in one sentence.
    #[schema(required)]
    pub state_reason: Option<String>,
    /// When the head-end last heard from it (wall clock).
    #[schema(required)]
    pub last_seen: Option<String>,
    /// Which clock its own times follow.
    pub time_base: TimeBase,
    /// Device type, as the meter says and its mark names.
    #[schema(required)]
    pub device_type: Option<String>,
    /// Version of the running firmware.
    #[schema(required)]
    pub firmware_version: Option<String>,
    /// SHA-384 digest of the running firmware, hexadecimal.
    #[schema(required)]
    pub firmware_digest: Option<String>,
    /// What it attested last of its firmware, by a key that only this image on this meter has; null for one that never
    /// has: then version and digest are what it reports, and nothing proves them.
    #[schema(required)]
    pub attestation: Option<Attestation>,
    /// The mark on which it was admitted; null when it was not.
    #[schema(required)]
    pub mark: Option<Mark>,
    /// The newest reading; null before the first one.
    #[schema(required)]
    pub live: Option<Live>,
    /// Alarms of this meter that nobody has acknowledged.
    pub open_alarms: u64,
    /// For another maker's meter, which carries no mark and does not conform: how it is read, and what it said last.
    /// Null for every other meter.
    #[schema(required)]
    pub other: Option<OtherMeter>,
}

/// What a meter proved of its firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attestation {
    /// When, by the head-end's clock.
    pub at: String,
    /// `hardware`, or `simulated` for a meter inside somebody's process, which vouches for nothing.
    #[schema(example = "simulated")]
    pub ground: String,
    /// Version of the running image.
    pub version: String,
    /// SHA-384 of the running image, hexadecimal.
    pub image: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Whether it is confirmed, or still on probation.
    pub confirmed: bool,
    /// Starts so far.
    pub boots: u32,
    /// The highest sequence number ever confirmed.
    pub highest: u64,
    /// Version of the device's trust root.
    pub root_version: u64,
    /// Both slots.
    pub slots: Vec<FirmwareSlot>,
}

/// A slot for an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FirmwareSlot {
    /// SHA-384 of its image, hexadecimal; null where there is none.
    #[schema(required)]
    pub image: Option<String>,
    /// Its sequence number.
    pub sequence: u64,
}

impl From<&AttestedRecord> for Attestation {
    fn from(said: &AttestedRecord) -> Self {
        let slot = |&(image, sequence): &(Digest384, u64)| FirmwareSlot {
            image: (image != Digest384([0; 48])).then(|| image.to_string()),
            sequence,
        };
        Self {
            at: rfc3339(said.at),
            ground: if said.is_simulated { "simulated" } else { "hardware" }.to_owned(),
            version: said.version.clone(),
            image: said.image.to_string(),
            sequence: said.sequence,
            confirmed: said.is_confirmed,
            boots: said.boots,
            highest: said.highest,
            root_version: said.root_version,
            slots: said.slots.iter().map(slot).collect(),
        }
    }
}

/// Another maker's meter: read because somebody opted in, shown as not conforming, never billed from as marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OtherMeter {
    /// Where it listens.
    #[schema(example = "tcp://192.0.2.7:4059")]
    pub address: String,
    /// How the head-end logs in.
    #[schema(example = "HLS-5, security suite 0 (AES-128)")]
    pub security: String,
    /// Its registers as it said them last.
    pub registers: Vec<OtherRegister>,
}

/// A register of another maker's meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OtherRegister {
    /// Logical name.
    #[schema(example = "1-0:1.8.0*255")]
    pub obis: String,
    /// What it is called.
    #[schema(example = "Active energy import (+A)")]
    pub name: String,
    /// Its value with its unit.
    #[schema(example = "123.456 kWh")]
    pub text: String,
}

/// A row of another maker's load profile.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OtherRow {
    /// The row's time, by the meter's clock.
    #[schema(example = "2026-11-22T19:00:00.000Z")]
    pub at: String,
    /// Its cells, in no particular order.
    pub cells: Vec<OtherRegister>,
}

/// The certification mark on which a meter was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mark {
    /// `development`, `virtual` or `laboratory`.
    #[schema(example = "development")]
    pub scope: String,
    /// Requirements that nobody has tested.
    pub not_tested: Vec<String>,
    /// Who signed it.
    pub signatory: String,
    /// Until when it is valid.
    #[schema(example = "2027-11-22T19:00:00.000Z")]
    pub valid_until: String,
}

/// One phase of a reading.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PhaseReading {
    /// `L1`, `L2` or `L3`.
    #[schema(example = "L1")]
    pub name: String,
    /// RMS voltage to neutral, volts.
    pub v: f64,
    /// RMS current, amperes.
    pub a: f64,
    /// Active power, watts; negative is export.
    pub w: f64,
}

/// One reading of the live registers, all taken by the meter at the same moment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Live {
    /// The meter's clock.
    #[schema(example = "2026-11-22T19:00:00.000Z")]
    pub at: String,
    /// When the head-end received it (wall clock).
    pub received_at: String,
    /// Supply frequency, hertz.
    pub frequency_hz: f64,
    /// The phases.
    pub phases: Vec<PhaseReading>,
    /// Active power, all phases, watts; negative is export.
    pub p_w: f64,
    /// Reactive power of the fundamental, all phases, vars; positive with lagging current.
    pub q_var: f64,
    /// Power factor; null when there is no load to speak of.
    #[schema(required)]
    pub pf: Option<f64>,
    /// Active energy import register, watt-hours.
    pub import_wh: f64,
    /// Active energy export register, watt-hours.
    pub export_wh: f64,
    /// Reactive energy import register, var-hours.
    pub reactive_import_varh: f64,
    /// Reactive energy export register, var-hours.
    pub reactive_export_varh: f64,
}

/// A meter's recent past in columns of equal length. Rows are averages over `step_s`; a row of nulls marks a
/// time without readings, so that a chart does not draw a line across it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Series {
    /// Seconds that one row averages over.
    pub step_s: u32,
    /// Start of each row, Unix seconds on the meter's clock, ascending.
    pub t: Vec<i64>,
    /// Active power, watts; negative is export.
    pub p_w: Vec<Option<f64>>,
    /// Reactive power, vars.
    pub q_var: Vec<Option<f64>>,
    /// Supply frequency, hertz.
    pub frequency_hz: Vec<Option<f64>>,
    /// Voltage of L1, volts.
    pub v1: Vec<Option<f64>>,
    /// Voltage of L2, volts.
    pub v2: Vec<Option<f64>>,
    /// Voltage of L3, volts.
    pub v3: Vec<Option<f64>>,
    /// Current of L1, amperes.
    pub a1: Vec<Option<f64>>,
    /// Current of L2, amperes.
    pub a2: Vec<Option<f64>>,
    /// Current of L3, amperes.
    pub a3: Vec<Option<f64>>,
    /// Active energy import register at the end of the row, watt-hours.
    pub import_wh: Vec<Option<f64>>,
    /// Active energy export register at the end of the row, watt-hours.
    pub export_wh: Vec<Option<f64>>,
}

/// One row of a load profile: the registers at the end of an interval.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ProfileRow {
    /// Sequence number in the meter; never reused.
    pub sequence: u64,
    /// End of the interval, the meter's clock.
    pub at: String,
    /// Active energy import register, watt-hours.
    pub import_wh: f64,
    /// Active energy export register, watt-hours.
    pub export_wh: f64,
    /// Reactive energy import register, var-hours.
    pub reactive_import_varh: f64,
    /// Reactive energy export register, var-hours.
    pub reactive_export_varh: f64,
    /// Mean voltage of L1, L2, L3 over the interval, volts.
    pub mean_v: [f64; 3],
    /// Status bits of the interval (docs/object-model.md); 0 when nothing is special.
    pub status: u8,
    /// When the head-end received it (wall clock).
    pub received_at: String,
}

/// An entry of a meter's security log, and the alarm that it raised.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Order in which the head-end received it; `before` in the list takes it.
    pub id: u64,
    /// Whose log.
    pub meter: String,
    /// Sequence number in that log; never reused.
    pub sequence: u64,
    /// Event number (DSMR and IDIS numbers; 200 and above are Meterseal's own).
    pub code: u8,
    /// Short stable name.
    #[schema(example = "meter_cover_removed")]
    pub name: String,
    /// What it means, for a person.
    #[schema(example = "The meter's cover was opened.")]
    pub sentence: String,
    /// How urgent it is.
    pub severity: Severity,
    /// The meter's clock when it happened.
    pub at: String,
    /// The meter's monotonic uptime then, milliseconds.
    pub uptime_ms: u64,
    /// The extreme value that was sensed, in `extreme_unit`; null when the event has none.
    #[schema(required)]
    pub extreme: Option<f64>,
    /// Unit of `extreme`.
    #[schema(required, example = "V")]
    pub extreme_unit: Option<String>,
    /// When the head-end had stored it (wall clock).
    pub received_at: String,
    /// The alarm's life.
    pub alarm: AlarmState,
    /// Who acknowledged the alarm.
    #[schema(required)]
    pub acknowledged_by: Option<String>,
    /// When.
    #[schema(required)]
    pub acknowledged_at: Option<String>,
}

/// An act upon a virtual meter's surroundings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StimulusRequest {
    /// `open_cover`, `close_cover`, `bring_magnet`, `remove_magnet` or `voltage_spike`.
    #[schema(example = "open_cover")]
    pub kind: String,
}

/// Data of a `live` message on the stream.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LiveUpdate {
    /// Which meter.
    pub meter: String,
    /// Its newest reading.
    pub live: Live,
}

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What is wrong, and where.
    pub error: String,
    /// What to do.
    pub what_to_do: String,
}

/// How much of the past a series covers.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// Minutes before the newest reading, 1 to 120.
    #[serde(default = "an_hour")]
    #[param(default = 60, minimum = 1, maximum = 120)]
    pub minutes: u32,
}

fn an_hour() -> u32 {
    60
}

/// Which rows of a load profile.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProfileQuery {
    /// First time, RFC 3339; without it, the oldest row.
    pub from: Option<String>,
    /// Last time, RFC 3339; without it, the newest row.
    pub to: Option<String>,
    /// At most so many rows, the newest of the range, 1 to 5 000.
    #[serde(default = "a_thousand")]
    #[param(default = 1000, minimum = 1, maximum = 5000)]
    pub limit: u32,
}

fn a_thousand() -> u32 {
    1000
}

/// Which events.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only this meter's.
    pub meter: Option<String>,
    /// Only events received before the one with this `id`.
    pub before: Option<u64>,
    /// At most so many, 1 to 500.
    #[serde(default = "a_hundred")]
    #[param(default = 100, minimum = 1, maximum = 500)]
    pub limit: u32,
}

fn a_hundred() -> u32 {
    100
}

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Read an attribute.
    Get,
    /// Write an attribute.
    Set,
    /// Invoke a method.
    Action,
}

/// Which request comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestPriority {
    /// Before everything else.
    High,
    /// In the order of deadlines.
    Normal,
    /// When nothing else waits.
    Low,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// It waits for the meter.
    Waiting,
    /// It is with the meter.
    Running,
    /// The meter did it: see `value`.
    Done,
    /// The meter refused it: see `error`.
    Refused,
    /// Something broke while it was under way: see `error`.
    Failed,
    /// Its deadline passed before it was done.
    Expired,
}

/// Something to ask of a meter.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Read, write or invoke.
    pub kind: RequestKind,
    /// COSEM interface class.
    #[schema(example = 3)]
    pub class: u16,
    /// Logical name.
    #[schema(example = "1-0:1.8.0")]
    pub obis: String,
    /// Attribute of a `get` or `set`, method of an `action`.
    #[schema(example = 2)]
    pub index: i8,
    /// What to write, or the method's parameter: `TYPE:VALUE`, for example `u16:5` or `struct(u8:1,bytes:00ff)`.
    #[serde(default)]
    pub value: Option<String>,
    /// Which comes first; `normal` where it is left out.
    #[serde(default)]
    pub priority: Option<RequestPriority>,
    /// Seconds until the request expires; 60 where it is left out.
    #[serde(default)]
    pub within_s: Option<u64>,
    /// Who asks.
    #[serde(default)]
    pub asked_by: Option<String>,
}

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MeterRequest {
    /// Its number.
    pub id: u64,
    /// Meter identifier.
    pub meter: String,
    /// Read, write or invoke.
    pub kind: RequestKind,
    /// COSEM interface class.
    pub class: u16,
    /// Logical name.
    pub obis: String,
    /// Attribute or method.
    pub index: i8,
    /// Which comes first.
    pub priority: RequestPriority,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: String,
    /// Until when it may be sent to the meter.
    pub deadline: String,
    /// How it stands.
    pub state: RequestState,
    /// When it was answered.
    #[schema(required)]
    pub answered_at: Option<String>,
    /// What the meter answered: numbers as they came, octet strings in hexadecimal digits, structures as lists.
    #[schema(required)]
    pub value: Option<serde_json::Value>,
    /// The same as people read it.
    #[schema(required)]
    pub text: Option<String>,
    /// Why it was refused or failed.
    #[schema(required)]
    pub error: Option<String>,
}

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestQuery {
    /// Seconds, 0 to 15.
    #[serde(default)]
    #[param(default = 0, maximum = 15)]
    pub wait_s: u32,
}

/// How many rows of another maker's load profile.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OtherProfileQuery {
    /// Rows, 1 to 5000.
    #[serde(default = "rows_by_default")]
    #[param(default = 96, minimum = 1, maximum = 5000)]
    pub limit: u32,
}

fn rows_by_default() -> u32 {
    96
}
