//! Calls about the certified product list.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::error::{ApiError, Path};
use super::types::{ListedMark, Problem, Withdrawal};
use crate::{clock, products};

/// The certified product list: every mark in the head-end's folder, and whether it counts.
#[utoipa::path(get, path = "/marks", tag = "marks",
    responses(
        (status = 200, description = "Every mark, in the order of its files' names", body = Vec<ListedMark>),
        (status = 401, description = "No session", body = Problem)))]
pub(super) async fn list_marks(State(api): State<Api>) -> Json<Vec<ListedMark>> {
    let (list, now, firmwares) = (api.products.list(), clock::now(), api.fleet.firmwares());
    Json(list.entries.iter().map(|listed| ListedMark::new(listed, now, &firmwares)).collect())
}

/// Takes a mark out of effect at this head-end, for good: its meters are in quarantine within seconds, unless another mark
/// covers them. Whoever signed it is not told.
#[utoipa::path(post, path = "/marks/{name}/withdraw", tag = "marks",
    params(("name" = String, Path, description = "The mark's name: SHA-384 of its file, 96 hexadecimal digits")),
    request_body = Withdrawal,
    responses(
        (status = 204, description = "Withdrawn, on the disk"),
        (status = 400, description = "No reason, or one that is too long", body = Problem),
        (status = 401, description = "No session", body = Problem),
        (status = 403, description = "Not from this page", body = Problem),
        (status = 404, description = "No such mark", body = Problem)))]
pub(super) async fn withdraw_mark(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(withdrawal): Json<Withdrawal>,
) -> Result<StatusCode, ApiError> {
    let known = |name| api.products.list().entries.iter().any(|listed| listed.name == name);
    let name = products::digest(&name).filter(|&name| known(name)).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "There is no such mark here.", "GET /api/v1/marks lists them.")
    })?;
    let reason = withdrawal.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "A reason of one line and at most 200 characters is needed.",
            "Say in a few words why this mark is not believed any more.",
        ));
    }
    let products = std::sync::Arc::clone(&api.products);
    let written = tokio::task::spawn_blocking(move || products.withdraw(&name, &reason)).await;
    match written {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) => {
            tracing::error!(%error, "a withdrawn mark could not be written down");
            Err(unwritten())
        }
        Err(_) => Err(unwritten()),
    }
}

fn unwritten() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The withdrawal could not be written, and the mark counts as before.",
        "See the head-end's log; check the disk.",
    )
}
