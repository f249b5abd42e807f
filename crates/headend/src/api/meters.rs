//! Calls about meters: their state, their recent past, their load profile, and a virtual one's surroundings.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use meterseal_model::{Stimulus, UnixMillis};

use super::Api;
use super::error::{ApiError, Body, Path, Query};
use super::types::{
    Meter, OtherProfileQuery, OtherRow, Problem, ProfileQuery, ProfileRow, Series, SeriesQuery,
    StimulusRequest,
};
use crate::clock;
use crate::virtual_sites::StimulusError;

/// Rows of a series at most: more than a screen has pixels helps nobody.
const SERIES_POINTS: u32 = 1200;

/// Every meter that this head-end knows.
#[utoipa::path(get, path = "/meters", tag = "meters",
    responses(
        (status = 200, description = "Every configured meter, in the order of the configuration", body = Vec<Meter>),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn list_meters(State(api): State<Api>) -> Json<Vec<Meter>> {
    Json(api.fleet.list())
}

/// A meter's recent past, averaged to at most 1 200 rows.
#[utoipa::path(get, path = "/meters/{id}/series", tag = "meters",
    params(("id" = String, Path, description = "Meter identifier"), SeriesQuery),
    responses(
        (status = 200, description = "Columns of equal length", body = Series),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn meter_series(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<Series>, ApiError> {
    let meter = api.meter(&id)?;
    within("minutes", query.minutes, 120)?;
    let (step, points) = api.store.series(meter, query.minutes, SERIES_POINTS).await?;
    Ok(Json(Series::from_points(step, &points)))
}

/// Rows of a meter's load profile, oldest first.
#[utoipa::path(get, path = "/meters/{id}/profile", tag = "meters",
    params(("id" = String, Path, description = "Meter identifier"), ProfileQuery),
    responses(
        (status = 200, description = "Rows in the order of their sequence numbers", body = Vec<ProfileRow>),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn meter_profile(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<ProfileQuery>,
) -> Result<Json<Vec<ProfileRow>>, ApiError> {
    let meter = api.meter(&id)?;
    within("limit", query.limit, 5000)?;
    let from = query.from.as_deref().map(|text| time("from", text)).transpose()?;
    let to = query.to.as_deref().map(|text| time("to", text)).transpose()?;
    let rows = api.store.profile(meter, from, to, query.limit).await?;
    let quarantines = api.store.quarantines(meter).await?;
    Ok(Json(rows.iter().map(|row| ProfileRow::of(row, &quarantines)).collect()))
}

/// The newest rows of another maker's load profile, oldest first.
#[utoipa::path(get, path = "/meters/{id}/other-profile", tag = "meters",
    params(("id" = String, Path, description = "Meter identifier"), OtherProfileQuery),
    responses(
        (status = 200, description = "Rows by time; empty for a meter that calls", body = Vec<OtherRow>),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn other_profile(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<OtherProfileQuery>,
) -> Result<Json<Vec<OtherRow>>, ApiError> {
    let meter = api.meter(&id)?;
    within("limit", query.limit, 5000)?;
    let cells = api.store.other_rows(meter, query.limit).await?;
    Ok(Json(OtherRow::from_cells(&cells)))
}

/// Changes the surroundings of a virtual meter; the meter must notice by itself.
#[utoipa::path(post, path = "/meters/{id}/stimulus", tag = "meters",
    params(("id" = String, Path, description = "Meter identifier")),
    request_body = StimulusRequest,
    responses(
        (status = 204, description = "Done; an event follows if the meter notices"),
        (status = 400, description = "Unknown stimulus", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such meter", body = Problem),
        (status = 409, description = "Not a virtual meter, or it is not running", body = Problem)))]
pub(super) async fn apply_stimulus(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(request): Body<StimulusRequest>,
) -> Result<StatusCode, ApiError> {
    let meter = api.meter(&id)?;
    let stimulus: Stimulus = request.kind.parse().map_err(|error| {
        ApiError::bad_query(format!("{error}."), "Send one of the kinds in the meter's `stimuli`.")
    })?;
    let conflict = |error: String, what_to_do: &str| ApiError::new(StatusCode::CONFLICT, error, what_to_do);
    let is_virtual = api.fleet.record(meter).is_some_and(|record| record.is_virtual);
    let Some(sites) = api.virtual_sites.as_ref().filter(|_| is_virtual) else {
        return Err(conflict(
            format!("{meter} is not a virtual meter of this program: its surroundings are the real world."),
            "Choose a meter whose `virtual` is true.",
        ));
    };
    match sites.apply(meter, stimulus) {
        Ok(()) => {
            tracing::info!(%meter, %stimulus, "stimulus applied to the virtual site");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(StimulusError::UnknownSite) => Err(conflict(
            format!("{meter} does not run in this program."),
            "Choose a virtual meter that `meterseal up` started.",
        )),
        Err(StimulusError::NotRunning) => Err(conflict(
            format!("{meter}'s simulated site is not running."),
            "Wait until it is started, or start `meterseal up` again.",
        )),
    }
}

/// A number in a query, from 1.
pub(super) fn within(name: &str, value: u32, most: u32) -> Result<(), ApiError> {
    if (1..=most).contains(&value) {
        Ok(())
    } else {
        Err(ApiError::bad_query(format!("`{name}` is {value}."), format!("Give a number from 1 to {most}.")))
    }
}

/// A time in a request.
pub(super) fn time(name: &str, text: &str) -> Result<UnixMillis, ApiError> {
    clock::parse(text).map_err(|_| {
        ApiError::bad_query(
            format!("`{name}` is not a time."),
            "Give RFC 3339, for example 2026-11-22T19:00:00Z (a `+` is written %2B in an address).",
        )
    })
}
