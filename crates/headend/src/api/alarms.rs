//! Calls about alarms: the list, groups, one with its history, and what people do about them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use meterseal_model::UnixMillis;
use meterseal_model::event::Severity;

use super::Api;
use super::error::{ApiError, Body, Path, Query};
use super::meters::{time, within};
use super::types::{
    Alarm, AlarmGroup, AlarmGroupNote, AlarmMoment, AlarmNote, AlarmWithHistory, AlarmsChanged, AlarmsQuery,
    Problem,
};
use crate::store::{AlarmAct, AlarmChoice, AlarmShow, Who};

/// Who acts when nobody gives a name. The page has one user, whoever holds its link.
pub(super) const OPERATOR: &str = "operator";

/// Moments in an alarm's history that are shown.
const HISTORY: u32 = 1000;

/// Longest name and comment, characters.
const NAME: usize = 64;
const COMMENT: usize = 1000;

/// Alarms, the one that changed last first.
#[utoipa::path(get, path = "/alarms", tag = "alarms",
    params(AlarmsQuery),
    responses(
        (status = 200, description = "Alarms in descending order of `changed`", body = Vec<Alarm>),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such meter", body = Problem)))]
pub(super) async fn list_alarms(
    State(api): State<Api>,
    Query(query): Query<AlarmsQuery>,
) -> Result<Json<Vec<Alarm>>, ApiError> {
    within("limit", query.limit, 500)?;
    let (open, unacknowledged) = match query.state.as_str() {
        "open" => (true, false),
        "unacknowledged" => (false, true),
        "all" => (false, false),
        _ => {
            return Err(ApiError::bad_query(
                "`state` is none that there is.",
                "Give `open`, `unacknowledged` or `all`.",
            ));
        }
    };
    let show = AlarmShow {
        open,
        unacknowledged,
        meter: query.meter.as_deref().map(|id| api.meter(id)).transpose()?,
        cause: query.cause,
        at_least: query.severity.as_deref().map(severity).transpose()?,
        from: query.from.as_deref().map(|text| time("from", text)).transpose()?,
        to: query.to.as_deref().map(|text| time("to", text)).transpose()?,
        before: query.before,
        limit: query.limit,
    };
    let alarms = api.store.alarms(show).await?;
    Ok(Json(alarms.iter().map(Alarm::from).collect()))
}

/// Open alarms by cause and time: a storm of one cause is one group. A pause of ten minutes begins a new one.
#[utoipa::path(get, path = "/alarms/groups", tag = "alarms",
    responses(
        (status = 200, description = "At most 500 groups, the one that changed last first", body = Vec<AlarmGroup>),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn list_groups(State(api): State<Api>) -> Result<Json<Vec<AlarmGroup>>, ApiError> {
    let groups = api.store.alarm_groups().await?;
    Ok(Json(groups.iter().map(AlarmGroup::from).collect()))
}

/// One alarm with everything that happened to it.
#[utoipa::path(get, path = "/alarms/{id}", tag = "alarms",
    params(("id" = u64, Path, description = "The alarm's number")),
    responses(
        (status = 200, description = "The alarm and its history", body = AlarmWithHistory),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such alarm", body = Problem)))]
pub(super) async fn show_alarm(
    State(api): State<Api>,
    Path(id): Path<u64>,
) -> Result<Json<AlarmWithHistory>, ApiError> {
    let alarm = api.store.alarm(id).await?.ok_or_else(no_such_alarm)?;
    let history = api.store.alarm_history(id, HISTORY).await?;
    Ok(Json(AlarmWithHistory {
        alarm: Alarm::from(&alarm),
        history: history.iter().map(AlarmMoment::from).collect(),
    }))
}

/// Takes note of an alarm. Of one that is over as soon as it has happened (a voltage spike), this is the end. Doing so
/// twice changes nothing.
#[utoipa::path(post, path = "/alarms/{id}/acknowledge", tag = "alarms",
    params(("id" = u64, Path, description = "The alarm's number")),
    request_body = AlarmNote,
    responses(
        (status = 200, description = "The alarm as it is now", body = Alarm),
        (status = 400, description = "A name or comment that is too long", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such alarm", body = Problem)))]
pub(super) async fn acknowledge_alarm(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Body(note): Body<AlarmNote>,
) -> Result<Json<Alarm>, ApiError> {
    let who = who(note.by, note.comment)?;
    api.alarms.acknowledge(AlarmChoice::One(id), who).await?;
    one(&api, id).await
}

/// Declares that what raised an alarm is over. It is reopened when its cause comes again.
#[utoipa::path(post, path = "/alarms/{id}/clear", tag = "alarms",
    params(("id" = u64, Path, description = "The alarm's number")),
    request_body = AlarmNote,
    responses(
        (status = 200, description = "The alarm as it is now", body = Alarm),
        (status = 400, description = "A name or comment that is too long", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such alarm", body = Problem)))]
pub(super) async fn clear_alarm(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Body(note): Body<AlarmNote>,
) -> Result<Json<Alarm>, ApiError> {
    let who = who(note.by, note.comment)?;
    api.alarms.clear(AlarmChoice::One(id), who).await?;
    one(&api, id).await
}

/// Takes note of all open alarms of one cause that were raised between two times.
#[utoipa::path(post, path = "/alarms/acknowledge", tag = "alarms",
    request_body = AlarmGroupNote,
    responses(
        (status = 200, description = "How many were acknowledged now", body = AlarmsChanged),
        (status = 400, description = "A time, name or comment that cannot be taken", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem)))]
pub(super) async fn acknowledge_group(
    State(api): State<Api>,
    Body(note): Body<AlarmGroupNote>,
) -> Result<Json<AlarmsChanged>, ApiError> {
    let (choice, who) = group(note)?;
    let changes = api.alarms.acknowledge(choice, who).await?;
    let changed = changes.iter().filter(|change| change.act == AlarmAct::Acknowledged).count();
    Ok(Json(AlarmsChanged { changed: changed as u64 }))
}

/// Declares that what raised all alarms of one cause between two times is over.
#[utoipa::path(post, path = "/alarms/clear", tag = "alarms",
    request_body = AlarmGroupNote,
    responses(
        (status = 200, description = "How many were cleared now", body = AlarmsChanged),
        (status = 400, description = "A time, name or comment that cannot be taken", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem)))]
pub(super) async fn clear_group(
    State(api): State<Api>,
    Body(note): Body<AlarmGroupNote>,
) -> Result<Json<AlarmsChanged>, ApiError> {
    let (choice, who) = group(note)?;
    let changes = api.alarms.clear(choice, who).await?;
    Ok(Json(AlarmsChanged { changed: changes.len() as u64 }))
}

async fn one(api: &Api, id: u64) -> Result<Json<Alarm>, ApiError> {
    Ok(Json(Alarm::from(&api.store.alarm(id).await?.ok_or_else(no_such_alarm)?)))
}

fn group(note: AlarmGroupNote) -> Result<(AlarmChoice, Who), ApiError> {
    let who = who(note.by, note.comment)?;
    let (from, to): (UnixMillis, UnixMillis) = (time("from", &note.from)?, time("to", &note.to)?);
    Ok((AlarmChoice::Group { cause: note.cause, from, to }, who))
}

/// A name and a comment as they are kept: without control characters at which a log or a terminal would break.
fn who(by: Option<String>, comment: Option<String>) -> Result<Who, ApiError> {
    let clean = |name: &str, text: Option<String>, most: usize| {
        let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        match text {
            Some(text) if text.chars().count() > most => Err(ApiError::bad_query(
                format!("`{name}` is longer than {most} characters."),
                "Make it shorter.",
            )),
            Some(text) if text.chars().any(|c| c.is_control() && c != '\n') => {
                Err(ApiError::bad_query(format!("`{name}` has control characters."), "Send plain text."))
            }
            text => Ok(text),
        }
    };
    let name = clean("by", by, NAME)?.unwrap_or_else(|| OPERATOR.to_owned());
    Ok(Who { name, comment: clean("comment", comment, COMMENT)? })
}

fn severity(text: &str) -> Result<Severity, ApiError> {
    match text {
        "notice" => Ok(Severity::Notice),
        "warning" => Ok(Severity::Warning),
        "critical" => Ok(Severity::Critical),
        _ => Err(ApiError::bad_query(
            "`severity` is none that there is.",
            "Give `notice`, `warning` or `critical`.",
        )),
    }
}

fn no_such_alarm() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "There is no such alarm.",
        "GET /api/v1/alarms?state=all lists the alarms.",
    )
}
