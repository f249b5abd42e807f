//! Calls about what is delivered to receivers outside: how their queues stand, dead letters, and what to do with them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::error::{ApiError, Path, Query};
use super::meters::within;
use super::types::{DeadLetter, DeadLettersQuery, LettersMoved, Problem, ReceiverQueue};
use crate::alarms::HeadendCause;
use crate::clock;

/// Who is told of alarms, and what waits for them.
#[utoipa::path(get, path = "/deliveries", tag = "deliveries",
    responses(
        (status = 200, description = "Every receiver that is configured or has dead letters", body = Vec<ReceiverQueue>),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn list_queues(State(api): State<Api>) -> Result<Json<Vec<ReceiverQueue>>, ApiError> {
    let queues = api.store.delivery_queues().await?;
    Ok(Json(queues.iter().map(ReceiverQueue::from).collect()))
}

/// What no receiver took, the newest first.
#[utoipa::path(get, path = "/deliveries/dead", tag = "deliveries",
    params(DeadLettersQuery),
    responses(
        (status = 200, description = "Dead letters in descending order of `id`", body = Vec<DeadLetter>),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn list_dead(
    State(api): State<Api>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Json<Vec<DeadLetter>>, ApiError> {
    within("limit", query.limit, 500)?;
    let letters = api.store.dead_letters(query.before, query.limit).await?;
    Ok(Json(letters.iter().map(DeadLetter::from).collect()))
}

/// Has one dead letter delivered again, from the first attempt.
#[utoipa::path(post, path = "/deliveries/dead/{id}/redeliver", tag = "deliveries",
    params(("id" = u64, Path, description = "The letter's number")),
    responses(
        (status = 200, description = "How many wait again", body = LettersMoved),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such letter, or its receiver is no longer configured", body = Problem)))]
pub(super) async fn redeliver_one(
    State(api): State<Api>,
    Path(id): Path<u64>,
) -> Result<Json<LettersMoved>, ApiError> {
    let moved = api.store.redeliver(Some(id), clock::now()).await?;
    moved_one(&api, moved).await
}

/// Has all dead letters of configured receivers delivered again.
#[utoipa::path(post, path = "/deliveries/dead/redeliver", tag = "deliveries",
    responses(
        (status = 200, description = "How many wait again", body = LettersMoved),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem)))]
pub(super) async fn redeliver_all(State(api): State<Api>) -> Result<Json<LettersMoved>, ApiError> {
    let moved = api.store.redeliver(None, clock::now()).await?;
    after(&api).await?;
    Ok(Json(LettersMoved { moved: moved as u64 }))
}

/// Throws one dead letter away. What happened to the alarm stays in its history.
#[utoipa::path(post, path = "/deliveries/dead/{id}/discard", tag = "deliveries",
    params(("id" = u64, Path, description = "The letter's number")),
    responses(
        (status = 200, description = "How many are gone", body = LettersMoved),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such letter", body = Problem)))]
pub(super) async fn discard_one(
    State(api): State<Api>,
    Path(id): Path<u64>,
) -> Result<Json<LettersMoved>, ApiError> {
    let moved = api.store.discard(Some(id)).await?;
    moved_one(&api, moved).await
}

async fn moved_one(api: &Api, moved: usize) -> Result<Json<LettersMoved>, ApiError> {
    if moved == 0 {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "There is no such dead letter, or its receiver is no longer configured.",
            "GET /api/v1/deliveries/dead lists the dead letters.",
        ));
    }
    after(api).await?;
    Ok(Json(LettersMoved { moved: moved as u64 }))
}

/// Couriers look again, and with the last dead letter the alarm about them ends.
async fn after(api: &Api) -> Result<(), ApiError> {
    api.fleet.wake_couriers();
    if api.store.dead_letter_count().await? == 0 {
        let text = "There are no dead letters any more.".to_owned();
        api.alarms.end(None, HeadendCause::DeliveryFailed, text).await?;
    }
    Ok(())
}
