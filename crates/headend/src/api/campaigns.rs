//! Calls about firmware: upload a package, make a campaign, see how it goes, pause, resume or abort it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use meterseal_model::MeterId;

use super::Api;
use super::error::{ApiError, Body, Path, Query};
use super::types::{
    Campaign, CampaignAct, CampaignMeter, CampaignMetersQuery, FirmwareImage, NewCampaign, Problem,
};
use crate::campaigns::{
    Act, CampaignError, ImageError, MemberState, Plan, PlanError, Selection, Stage, Window,
};
use crate::clock;

/// Campaigns in a list.
const LISTED: u32 = 100;

/// Who acts, where the request does not say.
const OPERATOR: &str = "operator";

/// Longest name of whoever acts.
const NAME: usize = 64;

/// Uploads a firmware package. It is verified as a meter does; one that is refused is not kept.
#[utoipa::path(post, path = "/firmware", tag = "campaigns",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "Verified and kept; uploading it again changes nothing", body = FirmwareImage),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 409, description = "No trust root", body = Problem),
        (status = 413, description = "Longer than any package", body = Problem),
        (status = 422, description = "Not a package, or not signed by enough", body = Problem),
        (status = 507, description = "The disk is full", body = Problem)))]
pub(super) async fn upload_firmware(
    State(api): State<Api>,
    body: Bytes,
) -> Result<Json<FirmwareImage>, ApiError> {
    // One at a time: a package may have 65 MB, and as much again while it is verified.
    let Ok(_one) = api.uploads.acquire().await else { return Err(ApiError::closing()) };
    let images = api.campaigns.images().clone();
    let taken = tokio::task::spawn_blocking(move || images.take(&body, clock::now())).await;
    let facts = taken.map_err(|error| ApiError::internal("the package could not be looked at", &error))??;
    Ok(Json(FirmwareImage::from(&facts)))
}

/// Makes a campaign, which begins at once.
#[utoipa::path(post, path = "/campaigns", tag = "campaigns",
    request_body = NewCampaign,
    responses(
        (status = 201, description = "Made", body = Campaign),
        (status = 400, description = "A plan that makes no sense, or an empty selection", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such image", body = Problem),
        (status = 409, description = "Some of the meters belong to a campaign that is not over", body = Problem)))]
pub(super) async fn create_campaign(
    State(api): State<Api>,
    Body(new): Body<NewCampaign>,
) -> Result<(StatusCode, Json<Campaign>), ApiError> {
    let is_digest = new.package.len() == 96 && new.package.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digest {
        return Err(ApiError::bad_query("`package` is no SHA-384 digest.", "Upload the package first."));
    }
    let (images, package) = (api.campaigns.images().clone(), new.package.to_ascii_lowercase());
    let found = tokio::task::spawn_blocking(move || images.facts(&package, clock::now())).await;
    let image = found.map_err(|error| ApiError::internal("the image could not be read", &error))??;
    let selection = selection(&new)?;
    let time = |text: &str| {
        clock::parse(text).map_err(|error| {
            ApiError::bad_query(format!("`activate_at`: {error}."), "Write it as 2026-12-01T02:00:00Z.")
        })
    };
    let stages: Vec<_> =
        new.stages.iter().map(|stage| Stage { percent: stage.percent, soak_seconds: stage.soak_s }).collect();
    let plan = Plan {
        name: new.name.clone().unwrap_or_else(|| format!("Version {}", image.version)),
        image,
        selection: selection.to_string(),
        stages: if stages.is_empty() { vec![Stage { percent: 100.0, soak_seconds: 0 }] } else { stages },
        max_failed_percent: new.max_failed_percent.unwrap_or(2.0),
        window: new
            .window
            .as_deref()
            .map(|window| Window::parse(window, new.zone.as_deref()))
            .transpose()
            .map_err(CampaignError::from)?,
        bytes_per_second: new.bytes_per_second,
        activate_at_ms: new.activate_at.as_deref().map(time).transpose()?.map(|time| time.0),
        in_flight: new.in_flight.unwrap_or(50),
        patience_seconds: new.patience_s.unwrap_or(86_400),
    };
    let id = api.campaigns.create(plan, &selection, who(new.by.as_deref())).await?;
    Ok((StatusCode::CREATED, Json(find(&api, id).await?)))
}

/// The newest campaigns, the newest first.
#[utoipa::path(get, path = "/campaigns", tag = "campaigns",
    responses(
        (status = 200, description = "In descending order of `id`", body = Vec<Campaign>),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn list_campaigns(State(api): State<Api>) -> Result<Json<Vec<Campaign>>, ApiError> {
    let stored = api.store.campaigns(LISTED).await?;
    let shown = stored.iter().map(|(record, counts)| match api.campaigns.standing(record.id) {
        Some((record, counts)) => Campaign::new(&record, &counts),
        None => Campaign::new(record, counts),
    });
    Ok(Json(shown.collect()))
}

/// One campaign.
#[utoipa::path(get, path = "/campaigns/{id}", tag = "campaigns",
    params(("id" = u64, Path, description = "The campaign's `id`")),
    responses(
        (status = 200, description = "How it stands", body = Campaign),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such campaign", body = Problem)))]
pub(super) async fn show_campaign(
    State(api): State<Api>,
    Path(id): Path<u64>,
) -> Result<Json<Campaign>, ApiError> {
    Ok(Json(find(&api, id).await?))
}

/// Meters of a campaign, in the order in which they are told.
#[utoipa::path(get, path = "/campaigns/{id}/meters", tag = "campaigns",
    params(("id" = u64, Path, description = "The campaign's `id`"), CampaignMetersQuery),
    responses(
        (status = 200, description = "In the order of `rank`", body = Vec<CampaignMeter>),
        (status = 400, description = "A query that cannot be understood", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 404, description = "No such campaign", body = Problem)))]
pub(super) async fn campaign_meters(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Query(query): Query<CampaignMetersQuery>,
) -> Result<Json<Vec<CampaignMeter>>, ApiError> {
    let state = query.state.as_deref().map(|name| {
        MemberState::from_name(name).ok_or_else(|| {
            let names: Vec<_> = MemberState::ALL.iter().map(|state| state.name()).collect();
            ApiError::bad_query("There is no such state.", format!("Give one of {}.", names.join(", ")))
        })
    });
    let state = state.transpose()?;
    if !(1..=1000).contains(&query.limit) {
        return Err(ApiError::bad_query(
            format!("`limit` is {}.", query.limit),
            "Give a number from 1 to 1000.",
        ));
    }
    let (record, counts) = api.store.campaign(id).await?.ok_or(CampaignError::Unknown(id))?;
    let members = match api.campaigns.members(id, state, query.from, query.limit) {
        Some(members) => members,
        None => api.store.campaign_members(id, state, query.from, query.limit).await?,
    };
    let total = usize::try_from(counts.total()).unwrap_or(usize::MAX);
    let stage_of = |rank: u32| {
        (0..record.plan.stages.len()).find(|&stage| (rank as usize) < record.plan.stage_end(stage, total))
    };
    let shown = members.iter().map(|member| {
        let blocks = api.campaigns.blocks(id, member.meter).filter(|_| member.state.is_in_transfer());
        CampaignMeter::new(member, stage_of(member.rank).unwrap_or(0), blocks)
    });
    Ok(Json(shown.collect()))
}

/// Pauses a campaign: nothing is sent until it is resumed. What meters were told to start, they start.
#[utoipa::path(post, path = "/campaigns/{id}/pause", tag = "campaigns",
    params(("id" = u64, Path, description = "The campaign's `id`")), request_body = CampaignAct,
    responses(
        (status = 200, description = "How it stands", body = Campaign),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such campaign", body = Problem),
        (status = 409, description = "It is not running", body = Problem)))]
pub(super) async fn pause_campaign(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Body(act): Body<CampaignAct>,
) -> Result<Json<Campaign>, ApiError> {
    change(&api, id, Act::Pause, &act).await
}

/// Lets a campaign go on that was paused or that stopped by itself; failures so far are accepted then.
#[utoipa::path(post, path = "/campaigns/{id}/resume", tag = "campaigns",
    params(("id" = u64, Path, description = "The campaign's `id`")), request_body = CampaignAct,
    responses(
        (status = 200, description = "How it stands", body = Campaign),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such campaign, or its image has gone", body = Problem),
        (status = 409, description = "It is neither paused nor stopped", body = Problem)))]
pub(super) async fn resume_campaign(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Body(act): Body<CampaignAct>,
) -> Result<Json<Campaign>, ApiError> {
    change(&api, id, Act::Resume, &act).await
}

/// Gives a campaign up. Meters that were not told to start the image keep what they run.
#[utoipa::path(post, path = "/campaigns/{id}/abort", tag = "campaigns",
    params(("id" = u64, Path, description = "The campaign's `id`")), request_body = CampaignAct,
    responses(
        (status = 200, description = "How it stands", body = Campaign),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such campaign", body = Problem),
        (status = 409, description = "It is over", body = Problem)))]
pub(super) async fn abort_campaign(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Body(act): Body<CampaignAct>,
) -> Result<Json<Campaign>, ApiError> {
    change(&api, id, Act::Abort, &act).await
}

async fn change(api: &Api, id: u64, act: Act, by: &CampaignAct) -> Result<Json<Campaign>, ApiError> {
    api.campaigns.change(id, act, &who(by.by.as_deref())).await?;
    Ok(Json(find(api, id).await?))
}

async fn find(api: &Api, id: u64) -> Result<Campaign, ApiError> {
    if let Some((record, counts)) = api.campaigns.standing(id) {
        return Ok(Campaign::new(&record, &counts));
    }
    let (record, counts) = api.store.campaign(id).await?.ok_or(CampaignError::Unknown(id))?;
    Ok(Campaign::new(&record, &counts))
}

fn selection(new: &NewCampaign) -> Result<Selection, ApiError> {
    let meters = new.meters.iter().map(|text| {
        text.parse::<MeterId>().map_err(|error| {
            ApiError::bad_query(
                format!("`meters`: {error}."),
                "Identifiers have three letters and ten digits.",
            )
        })
    });
    Ok(Selection {
        all: new.all,
        meters: meters.collect::<Result<_, _>>()?,
        device_type: new.device_type.clone(),
        percent: new.percent,
    })
}

fn who(by: Option<&str>) -> String {
    let name: String =
        by.unwrap_or(OPERATOR).chars().filter(|letter| !letter.is_control()).take(NAME).collect();
    if name.trim().is_empty() { OPERATOR.to_owned() } else { name }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        let (status, what_to_do) = match &error {
            ImageError::NoRoot(_) | ImageError::Root { .. } => {
                (StatusCode::CONFLICT, "See docs/campaigns.md, what it takes.")
            }
            ImageError::Refused(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "`meterseal firmware verify` says more of a package.")
            }
            ImageError::Gone(_) => (StatusCode::NOT_FOUND, "Upload the package."),
            ImageError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "Free some space and upload it again."),
            ImageError::Altered(_) | ImageError::Io { .. } => {
                tracing::error!(%error, "a firmware package cannot be used");
                (StatusCode::INTERNAL_SERVER_ERROR, "Look at the head-end's disk.")
            }
        };
        Self::new(status, sentence(&error), what_to_do)
    }
}

impl From<CampaignError> for ApiError {
    fn from(error: CampaignError) -> Self {
        let (status, what_to_do) = match error {
            CampaignError::Store(error) => return error.into(),
            CampaignError::Image(error) => return error.into(),
            CampaignError::Plan(PlanError::Unknown(_) | PlanError::Empty { .. }) => {
                (StatusCode::BAD_REQUEST, "Choose other meters; GET /api/v1/meters lists them.")
            }
            CampaignError::Plan(_) => (StatusCode::BAD_REQUEST, "Correct the plan."),
            CampaignError::Unknown(_) => (StatusCode::NOT_FOUND, "GET /api/v1/campaigns lists them."),
            CampaignError::NoMark { .. } => (
                StatusCode::CONFLICT,
                "Put a mark for the image where the head-end looks for marks, and start it again.",
            ),
            CampaignError::Busy { .. } | CampaignError::State { .. } => {
                (StatusCode::CONFLICT, "GET /api/v1/campaigns shows how each stands.")
            }
        };
        Self::new(status, sentence(&error), what_to_do)
    }
}

/// An error's text as a sentence of its own.
fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
