//! What the calls about signed readings, statements and exports take and say.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Why a reading was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyRead {
    /// The end of a day, UTC.
    Midnight,
    /// The end of a billing period.
    BillingPeriod,
    /// The utility asked for it.
    Requested,
    /// The tariff or its calendar was about to change.
    TariffChange,
}

/// A reading that the meter has sealed and signed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SealedReading {
    /// When, by the meter's clock.
    pub at: String,
    /// Why.
    pub why: WhyRead,
    /// Active energy imported, watt-hours, to the milliwatt-hour.
    pub import_wh: f64,
    /// Active energy exported, watt-hours, to the milliwatt-hour.
    pub export_wh: f64,
}

/// A meter's signed readings, and who signs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SealedReadings {
    /// The fingerprint of the log key, as it is printed on the meter.
    pub fingerprint: String,
    /// Whether the meter's maker vouches for that key.
    pub certified: bool,
    /// Oldest first.
    pub readings: Vec<SealedReading>,
}

/// A period; both ends may be left out.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// Not before this time, RFC 3339.
    pub from: Option<String>,
    /// Not after this time, RFC 3339.
    pub to: Option<String>,
}

/// The period of a statement.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementQuery {
    /// Begins with the last reading at or before this time, RFC 3339.
    pub from: String,
    /// Ends with the last reading at or before this time, RFC 3339; without it, with the last there is.
    pub to: Option<String>,
}

/// What of a log is exported.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The first entry; the file says what lies before it only as hashes.
    #[serde(default)]
    pub first: u64,
    /// Leave out what somebody consumed when: intervals stand in the file only as their hashes.
    #[serde(default)]
    pub without_intervals: bool,
}
