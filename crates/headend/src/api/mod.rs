//! `/api/v1`: what the page and other programs may ask. [`types`] are its words, [`document`] its OpenAPI 3.1
//! description, from which `web/openapi.json` and the page's types are generated.

mod alarm_convert;
pub mod alarm_types;
mod alarms;
pub mod campaign_types;
mod campaigns;
mod convert;
mod deliveries;
mod error;
mod events;
mod evidence;
pub mod evidence_types;
mod meters;
mod requests;
mod stream;
pub mod types;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use meterseal_model::MeterId;
use tokio::sync::{Semaphore, watch};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use error::ApiError;

use crate::alarms::Alarms;
use crate::campaigns::{Campaigns, images};
use crate::fleet::Fleet;
use crate::requests::Requests;
use crate::store::Store;
use crate::virtual_sites::VirtualSites;

/// Longest body of a request: the API takes short commands only.
const BODY_BYTES: usize = 16 * 1024;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) alarms: Alarms,
    pub(crate) requests: Arc<Requests>,
    pub(crate) campaigns: Arc<Campaigns>,
    /// One package is taken in at a time.
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) virtual_sites: Option<Arc<dyn VirtualSites>>,
    /// Turns true when the head-end stops: streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Api {
    /// Finds a configured meter by its text.
    fn meter(&self, id: &str) -> Result<MeterId, ApiError> {
        id.parse().ok().filter(|&id| self.fleet.record(id).is_some()).ok_or_else(|| {
            // What was asked for is not repeated: it may be anything.
            ApiError::new(
                StatusCode::NOT_FOUND,
                "There is no such meter here.",
                "GET /api/v1/meters lists the meters that this head-end knows.",
            )
        })
    }
}

/// The API's description.
pub fn document() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

/// The router of `/api/v1`, without the guard before it.
pub(crate) fn router(api: Api) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .route("/api/v1/openapi.json", get(move || std::future::ready(Json(document))))
        .route("/api/{*rest}", axum::routing::any(no_such_call))
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

fn routes() -> OpenApiRouter<Api> {
    let v1 = OpenApiRouter::new()
        .routes(routes!(meters::list_meters))
        .routes(routes!(meters::meter_series))
        .routes(routes!(meters::meter_profile))
        .routes(routes!(meters::other_profile))
        .routes(routes!(meters::apply_stimulus))
        .routes(routes!(evidence::list_readings, evidence::request_reading))
        .routes(routes!(evidence::statement))
        .routes(routes!(evidence::log))
        .routes(routes!(evidence::profile_csv))
        .routes(routes!(requests::submit_request, requests::list_requests))
        .routes(routes!(requests::show_request))
        .routes(routes!(events::list_events))
        .routes(routes!(events::acknowledge_event))
        .routes(routes!(alarms::list_alarms))
        .routes(routes!(alarms::list_groups))
        .routes(routes!(alarms::show_alarm))
        .routes(routes!(alarms::acknowledge_alarm))
        .routes(routes!(alarms::clear_alarm))
        .routes(routes!(alarms::acknowledge_group))
        .routes(routes!(alarms::clear_group))
        .routes(routes!(deliveries::list_queues))
        .routes(routes!(deliveries::list_dead))
        .routes(routes!(deliveries::redeliver_one))
        .routes(routes!(deliveries::redeliver_all))
        .routes(routes!(deliveries::discard_one))
        .routes(routes!(campaigns::create_campaign, campaigns::list_campaigns))
        .routes(routes!(campaigns::show_campaign))
        .routes(routes!(campaigns::campaign_meters))
        .routes(routes!(campaigns::pause_campaign))
        .routes(routes!(campaigns::resume_campaign))
        .routes(routes!(campaigns::abort_campaign))
        .routes(routes!(stream::stream));
    let uploads = OpenApiRouter::new()
        .routes(routes!(campaigns::upload_firmware))
        .layer(DefaultBodyLimit::max(images::PACKAGE_MAX));
    let v1 = v1.layer(DefaultBodyLimit::max(BODY_BYTES)).merge(uploads);
    OpenApiRouter::with_openapi(Document::openapi()).nest("/api/v1", v1)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Meterseal head-end",
        description = "Meters, readings, load profiles and alarms of one utility's head-end.",
        version = "1",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    components(schemas(types::LiveUpdate, types::AlarmUpdate))
)]
struct Document;

async fn no_such_call() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "There is no such call.",
        "GET /api/v1/openapi.json describes every call.",
    )
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This address does not take that method.",
        "GET /api/v1/openapi.json describes every call.",
    )
}
