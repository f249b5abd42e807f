//! Calls for files that others can check: statements for bills, exports of sealed logs, consumption as CSV; and for a
//! reading now, which the meter signs.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use meterseal_link::Value;
use meterseal_model::objects::Class;
use meterseal_model::{MeterId, Obis, UnixMillis};
use meterseal_seal::SealPublicKey;
use meterseal_seal::evidence::{ArchiveError, printed_fingerprint};
use meterseal_seal::log::{Body as LeafBody, Leaf, LeafKind, ReadingReason};
use tokio::sync::mpsc;

use super::Api;
use super::error::{ApiError, Path, Query};
use super::evidence_types::{LogQuery, PeriodQuery, SealedReading, SealedReadings, StatementQuery, WhyRead};
use super::meters::time;
use super::types::{MeterRequest, Problem};
use crate::clock::{self, rfc3339};
use crate::evidence;
use crate::requests::{Priority, Task};
use crate::store::ProfileRow;

/// The readings that a meter has signed, which statements begin and end with, and its key's fingerprint.
#[utoipa::path(get, path = "/meters/{id}/readings", tag = "evidence",
    params(("id" = String, Path, description = "Meter identifier"), PeriodQuery),
    responses(
        (status = 200, description = "Oldest first; without a period, all", body = SealedReadings),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem),
        (status = 409, description = "Nothing of its sealed log has been read yet", body = Problem)))]
pub(super) async fn list_readings(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Json<SealedReadings>, ApiError> {
    let meter = api.meter(&id)?;
    let (from, to) = period(query.from.as_deref(), query.to.as_deref())?;
    let known = api.store.witnessed(meter).await?.ok_or_else(no_log)?;
    let covered = known.newest.map_or(0, |newest| newest.size);
    let key = SealPublicKey::from_der(&known.key)
        .map_err(|error| ApiError::internal("the meter's log key cannot be read", &error))?;
    let leaves = api.store.leaves_of_kind(meter, known.log, LeafKind::Reading, (from, to)).await?;
    let readings = leaves.iter().filter(|leaf| leaf.sequence < covered).filter_map(|leaf| {
        let Leaf { body: LeafBody::Reading(reading), .. } = Leaf::decode(leaf.bytes.as_deref()?).ok()? else {
            return None;
        };
        Some(SealedReading {
            at: rfc3339(reading.time),
            why: match reading.reason {
                ReadingReason::Daily => WhyRead::Midnight,
                ReadingReason::BillingPeriod => WhyRead::BillingPeriod,
                ReadingReason::TariffChange => WhyRead::TariffChange,
                ReadingReason::Requested => WhyRead::Requested,
            },
            import_wh: reading.totals.active_import_milliwatt_hours as f64 / 1e3,
            export_wh: reading.totals.active_export_milliwatt_hours as f64 / 1e3,
        })
    });
    Ok(Json(SealedReadings {
        fingerprint: printed_fingerprint(&key).to_string(),
        certified: !known.chain.is_empty(),
        readings: readings.collect(),
    }))
}

/// Asks a meter for a reading now, which it signs. Look at the request by its `id`; once it is done, the reading appears
/// in `GET /meters/{id}/readings` within seconds.
#[utoipa::path(post, path = "/meters/{id}/readings", tag = "evidence",
    params(("id" = String, Path, description = "Meter identifier")),
    responses(
        (status = 202, description = "Taken on", body = MeterRequest),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such meter", body = Problem),
        (status = 429, description = "Too many requests wait for this meter", body = Problem)))]
pub(super) async fn request_reading(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<MeterRequest>), ApiError> {
    let meter = api.meter(&id)?;
    let task = Task::Action {
        class: Class::ScriptTable.id(),
        obis: Obis::READING_SCRIPTS,
        method: EXECUTE,
        parameter: Some(Value::U16(READ_NOW)),
    };
    let request = api
        .requests
        .submit(meter, task, Priority::Normal, WITHIN, super::requests::OPERATOR.to_owned())
        .map_err(super::requests::full)?;
    Ok((StatusCode::ACCEPTED, Json(MeterRequest::from(&request))))
}

/// A statement for a bill: a meter's readings of a period, with its signature and proofs. It begins with the last reading
/// at or before `from` and ends with the last one at or before `to`.
#[utoipa::path(get, path = "/meters/{id}/statement", tag = "evidence",
    params(("id" = String, Path, description = "Meter identifier"), StatementQuery),
    responses(
        (status = 200, description = "A file for `meterseal verify` and the page under /verify", body = Vec<u8>,
            content_type = "application/cbor"),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem),
        (status = 409, description = "No statement can be made of this period", body = Problem)))]
pub(super) async fn statement(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<StatementQuery>,
) -> Result<Response, ApiError> {
    let meter = api.meter(&id)?;
    let (from, to) = period(Some(&query.from), query.to.as_deref())?;
    let mut archive = evidence::archive(&api.store, meter).await?.ok_or_else(no_log)?;
    let made = tokio::task::spawn_blocking(move || archive.statement(from, to)).await;
    let statement = made
        .map_err(|error| ApiError::internal("the statement could not be made", &error))?
        .map_err(|error| match error {
            ArchiveError::Read(error) => ApiError::from(error),
            other => ApiError::new(
                StatusCode::CONFLICT,
                format!("No statement of this period can be made: {other}."),
                "GET /api/v1/meters/{id}/readings lists the readings that there are.",
            ),
        })?;
    Ok(file(meter, "statement", "cbor", "application/cbor", Body::from(statement.encode())))
}

/// A meter's sealed log as the head-end holds it, up to the newest checkpoint.
#[utoipa::path(get, path = "/meters/{id}/log", tag = "evidence",
    params(("id" = String, Path, description = "Meter identifier"), LogQuery),
    responses(
        (status = 200, description = "A file for `meterseal verify` and the page under /verify", body = Vec<u8>,
            content_type = "application/cbor"),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem),
        (status = 409, description = "There is nothing to export yet", body = Problem)))]
pub(super) async fn log(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, ApiError> {
    let meter = api.meter(&id)?;
    let mut archive = evidence::archive(&api.store, meter).await?.ok_or_else(no_log)?;
    let (sender, mut pieces) = mpsc::channel::<std::io::Result<Bytes>>(PIECES_AHEAD);
    // Whoever goes away in the middle ends it: nobody takes the next piece.
    tokio::task::spawn_blocking(move || {
        let withhold = |leaf: &Leaf| query.without_intervals && matches!(leaf.body, LeafBody::Interval(_));
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let written = archive.export(query.first, withhold, |bytes| {
            piece.extend_from_slice(bytes);
            if piece.len() < PIECE_BYTES {
                return Ok(());
            }
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES));
            sender.blocking_send(Ok(full.into())).map_err(|_| "nobody takes it any more")
        });
        let last = match written {
            Ok(()) => Ok(piece.into()),
            Err(error) => Err(std::io::Error::other(error.to_string())),
        };
        // Gone away at the last piece.
        let _ = sender.blocking_send(last);
    });
    // What fails at once is an answer that says so; what fails later breaks the file off.
    let first = pieces.recv().await.unwrap_or_else(|| Err(std::io::Error::other("it could not be made")));
    let first = first.map_err(|error| {
        ApiError::new(
            StatusCode::CONFLICT,
            format!("The log cannot be exported: {error}."),
            "Let the head-end read the meter, or choose an earlier `first`.",
        )
    })?;
    let rest = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let all = futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest);
    Ok(file(meter, "log", "cbor", "application/cbor", Body::from_stream(all)))
}

/// A meter's load profile as CSV (RFC 4180), oldest row first: for whoever pays the bill.
#[utoipa::path(get, path = "/meters/{id}/profile.csv", tag = "evidence",
    params(("id" = String, Path, description = "Meter identifier"), PeriodQuery),
    responses(
        (status = 200, description = "A row for each interval", body = String, content_type = "text/csv"),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn profile_csv(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, ApiError> {
    let meter = api.meter(&id)?;
    let (from, to) = period(query.from.as_deref(), query.to.as_deref())?;
    let rows = api.store.profile(meter, Some(from), Some(to), CSV_ROWS).await?;
    let mut csv = "interval end,active import (kWh),active export (kWh),reactive import (kvarh),reactive export (kvarh),\
                   voltage L1 (V),voltage L2 (V),voltage L3 (V),status\r\n"
        .to_owned();
    rows.iter().for_each(|row| line(&mut csv, &row.row));
    Ok(file(meter, "consumption", "csv", "text/csv; charset=utf-8", Body::from(csv)))
}

fn line(csv: &mut String, row: &ProfileRow) {
    let energies = &row.energies;
    let kilo = |micro: i64| format!("{}.{:06}", micro / 1_000_000_000, micro % 1_000_000_000 / 1000);
    let [l1, l2, l3] = row
        .mean_voltage_millivolts
        .map(|millivolts| format!("{}.{:03}", millivolts / 1000, millivolts % 1000));
    // A String takes every write.
    let _ = write!(
        csv,
        "{},{},{},{},{},{l1},{l2},{l3},{}\r\n",
        rfc3339(row.at),
        kilo(energies.active_import_microwatt_hours),
        kilo(energies.active_export_microwatt_hours),
        kilo(energies.reactive_import_microvar_hours),
        kilo(energies.reactive_export_microvar_hours),
        row.status
    );
}

fn period(from: Option<&str>, to: Option<&str>) -> Result<(UnixMillis, UnixMillis), ApiError> {
    let from = from.map_or(Ok(UnixMillis(i64::MIN)), |text| time("from", text))?;
    let to = to.map_or(Ok(UnixMillis(i64::MAX)), |text| time("to", text))?;
    if from > to {
        return Err(ApiError::bad_query("`from` is later than `to`.", "Exchange them."));
    }
    Ok((from, to))
}

fn no_log() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "The head-end has read no sealed log of this meter yet.",
        "Wait until the meter has called; one without a log key seals nothing.",
    )
}

/// A file to save.
fn file(meter: MeterId, what: &str, ending: &str, kind: &'static str, body: Body) -> Response {
    let day = rfc3339(clock::now());
    let day = day.split('T').next().unwrap_or_default();
    let name = format!("attachment; filename=\"{meter}-{what}-{day}.{ending}\"");
    let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (head, body).into_response()
}

/// Script table (class 9): method *execute* and the script that takes a reading (`0-128:96.4.5.255`).
const EXECUTE: i8 = 1;
const READ_NOW: u16 = 1;
/// How long a meter that is away may take to call.
const WITHIN: Duration = Duration::from_secs(600);
/// Twenty years of quarter-hours are 701 280.
const CSV_ROWS: u32 = 750_000;
/// An export's pieces, and how many may wait for the network.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_AHEAD: usize = 4;
