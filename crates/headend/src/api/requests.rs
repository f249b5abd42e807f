//! Calls by which a meter is asked for something at once: submit, list, look (and wait).

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use meterseal_model::Obis;

use super::Api;
use super::error::{ApiError, Body, Path, Query};
use super::types::{self, MeterRequest, NewRequest, Problem, RequestKind, RequestPriority, RequestQuery};
use crate::clock::rfc3339;
use crate::requests::{Full, Priority, Progress, Request, Task};
use crate::words::{show, write};

/// Who asks, where the request does not say. The page has one user, whoever holds its link; names come with user
/// accounts.
pub(super) const OPERATOR: &str = "operator";

/// Longest name of whoever asks.
const NAME: usize = 64;

/// Longest wait for an answer within one call.
const WAIT_SECONDS: u32 = 15;

/// Asks a meter for something: it is served before the next cyclic reading, or once the meter calls, until its deadline.
#[utoipa::path(post, path = "/meters/{id}/requests", tag = "requests",
    params(("id" = String, Path, description = "Meter identifier")),
    request_body = NewRequest,
    responses(
        (status = 202, description = "Taken on; look at it by its `id`", body = MeterRequest),
        (status = 400, description = "A request that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such meter", body = Problem),
        (status = 429, description = "Too many requests wait for this meter", body = Problem)))]
pub(super) async fn submit_request(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(new): Body<NewRequest>,
) -> Result<(StatusCode, Json<MeterRequest>), ApiError> {
    let meter = api.meter(&id)?;
    let within = Duration::from_secs(new.within_s.unwrap_or(60));
    let asked_by = new.asked_by.as_deref().unwrap_or(OPERATOR);
    let asked_by: String = asked_by.chars().filter(|letter| !letter.is_control()).take(NAME).collect();
    let priority = match new.priority.unwrap_or(RequestPriority::Normal) {
        RequestPriority::High => Priority::High,
        RequestPriority::Normal => Priority::Normal,
        RequestPriority::Low => Priority::Low,
    };
    let task = task(&new)?;
    let request = api.requests.submit(meter, task, priority, within, asked_by).map_err(full)?;
    Ok((StatusCode::ACCEPTED, Json(MeterRequest::from(&request))))
}

/// A meter's requests, the newest first: those that wait, and the last that were answered.
#[utoipa::path(get, path = "/meters/{id}/requests", tag = "requests",
    params(("id" = String, Path, description = "Meter identifier")),
    responses(
        (status = 200, description = "In descending order of `id`", body = Vec<MeterRequest>),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn list_requests(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Vec<MeterRequest>>, ApiError> {
    let meter = api.meter(&id)?;
    Ok(Json(api.requests.list(meter).iter().map(MeterRequest::from).collect()))
}

/// One request as it stands; with `wait_s`, once it is answered or that time has passed.
#[utoipa::path(get, path = "/meters/{id}/requests/{request}", tag = "requests",
    params(
        ("id" = String, Path, description = "Meter identifier"),
        ("request" = u64, Path, description = "The request's `id`"),
        RequestQuery),
    responses(
        (status = 200, description = "How it stands", body = MeterRequest),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter or request", body = Problem)))]
pub(super) async fn show_request(
    State(api): State<Api>,
    Path((id, request)): Path<(String, u64)>,
    Query(query): Query<RequestQuery>,
) -> Result<Json<MeterRequest>, ApiError> {
    let meter = api.meter(&id)?;
    if query.wait_s > WAIT_SECONDS {
        return Err(ApiError::bad_query(
            format!("`wait_s` is {}.", query.wait_s),
            format!("Give a number from 0 to {WAIT_SECONDS}."),
        ));
    }
    let wait = Duration::from_secs(query.wait_s.into());
    let mut stopping = api.stopping.clone();
    let found = tokio::select! {
        found = api.requests.get(meter, request, wait) => found,
        () = crate::stopped(&mut stopping) => api.requests.get(meter, request, Duration::ZERO).await,
    };
    found.as_ref().map(|request| Json(MeterRequest::from(request))).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "There is no such request.",
            "Requests end with the head-end, and old answers are forgotten; ask again.",
        )
    })
}

/// A request that was not taken on.
pub(super) fn full(full: Full) -> ApiError {
    match full {
        Full::Queue => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, format!("{full}."), "Look at the meter's requests.")
        }
        Full::Deadline => ApiError::bad_query(format!("{full}."), "Correct `within_s`."),
    }
}

fn task(new: &NewRequest) -> Result<Task, ApiError> {
    let wrong = |what: String, what_to_do: &str| ApiError::bad_query(what, what_to_do);
    let obis: Obis =
        new.obis.parse().map_err(|error| wrong(format!("`obis`: {error}."), "Correct `obis`."))?;
    let (class, index) = (new.class, new.index);
    if index < 1 {
        return Err(wrong(format!("`index` is {index}."), "Attributes and methods count from 1."));
    }
    let value = new.value.as_deref().map(write::parse).transpose();
    let value = value.map_err(|error| wrong(format!("`value`: {error}."), write::SYNTAX))?;
    Ok(match (new.kind, value) {
        (RequestKind::Get, None) => Task::Get { class, obis, attribute: index },
        (RequestKind::Get, Some(_)) => {
            return Err(wrong("A `get` has no `value`.".to_owned(), "Leave it out, or send a `set`."));
        }
        (RequestKind::Set, Some(value)) => Task::Set { class, obis, attribute: index, value },
        (RequestKind::Set, None) => return Err(wrong("A `set` needs a `value`.".to_owned(), write::SYNTAX)),
        (RequestKind::Action, parameter) => Task::Action { class, obis, method: index, parameter },
    })
}

impl From<&Request> for MeterRequest {
    fn from(request: &Request) -> Self {
        let (kind, class, obis, index) = match &request.task {
            Task::Get { class, obis, attribute } => (RequestKind::Get, *class, *obis, *attribute),
            Task::Set { class, obis, attribute, .. } => (RequestKind::Set, *class, *obis, *attribute),
            Task::Action { class, obis, method, .. } => (RequestKind::Action, *class, *obis, *method),
        };
        let (value, error) = match &request.progress {
            Progress::Done(value) => (Some(value), None),
            Progress::Refused(why) | Progress::Failed(why) => (None, Some(why.clone())),
            _ => (None, None),
        };
        Self {
            id: request.id,
            meter: request.meter.to_string(),
            kind,
            class,
            obis: obis.to_string(),
            index,
            priority: match request.priority {
                Priority::High => RequestPriority::High,
                Priority::Normal => RequestPriority::Normal,
                Priority::Low => RequestPriority::Low,
            },
            asked_by: request.asked_by.clone(),
            asked_at: rfc3339(request.asked_at),
            deadline: rfc3339(request.deadline),
            state: match request.progress {
                Progress::Waiting => types::RequestState::Waiting,
                Progress::Running => types::RequestState::Running,
                Progress::Done(_) => types::RequestState::Done,
                Progress::Refused(_) => types::RequestState::Refused,
                Progress::Failed(_) => types::RequestState::Failed,
                Progress::Expired => types::RequestState::Expired,
            },
            answered_at: request.answered_at.map(rfc3339),
            value: value.map(show::json),
            text: value.map(show::text),
            error,
        }
    }
}
