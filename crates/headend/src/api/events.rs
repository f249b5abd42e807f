//! Calls about events and the alarms that they raise.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::alarms::OPERATOR;
use super::error::{ApiError, Path, Query};
use super::meters::within;
use super::types::{Event, EventsQuery, Problem};
use crate::clock;
use crate::store::Who;

/// Events, newest first.
#[utoipa::path(get, path = "/events", tag = "events",
    params(EventsQuery),
    responses(
        (status = 200, description = "Events in descending order of `id`", body = Vec<Event>),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn list_events(
    State(api): State<Api>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Vec<Event>>, ApiError> {
    let meter = query.meter.as_deref().map(|id| api.meter(id)).transpose()?;
    within("limit", query.limit, 500)?;
    let events = api.store.events(meter, query.before, query.limit).await?;
    Ok(Json(events.iter().map(Event::from).collect()))
}

/// Acknowledges the alarm that an event raised, with all that the same cause raised on its meter. Doing so twice changes
/// nothing.
#[utoipa::path(post, path = "/events/{meter}/{sequence}/acknowledge", tag = "events",
    params(
        ("meter" = String, Path, description = "Meter identifier"),
        ("sequence" = u64, Path, description = "Sequence number in its security log")),
    responses(
        (status = 200, description = "The event as it is now", body = Event),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such meter or event", body = Problem),
        (status = 409, description = "The event raises no alarm", body = Problem)))]
pub(super) async fn acknowledge_event(
    State(api): State<Api>,
    Path((meter, sequence)): Path<(String, u64)>,
) -> Result<Json<Event>, ApiError> {
    let meter = api.meter(&meter)?;
    let who = Who { name: OPERATOR.to_owned(), comment: None };
    let acknowledged = api.store.acknowledge(meter, sequence, who, clock::now()).await?;
    let Some((event, changes)) = acknowledged else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("Meter {meter} has no event {sequence}."),
            "GET /api/v1/events lists the events.",
        ));
    };
    if !event.event.raises_alarm() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("Event {sequence} of {meter} is for the record and raises no alarm."),
            "Acknowledge events whose `alarm` is `raised`.",
        ));
    }
    api.fleet.event(&event);
    api.alarms.show_all(&changes).await?;
    Ok(Json(Event::from(&event)))
}
