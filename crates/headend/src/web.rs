//! The page's built files, embedded in the program.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Page;

/// Answers with an embedded file.
pub(crate) async fn file(uri: Uri, request: HeaderMap) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        VERIFIER => return verifier(request).await,
        path => path,
    };
    match Page::get(path) {
        Some(file) => answer(path, file, &request),
        None => (StatusCode::NOT_FOUND, "There is no such page. Go to /.\n").into_response(),
    }
}

/// The verifier of bills, for anybody: it is one file that talks to nobody, and needs no session.
pub(crate) async fn verifier(request: HeaderMap) -> Response {
    let Some(file) = Page::get(VERIFIER) else {
        return (StatusCode::NOT_FOUND, "The verifier is missing in this build.\n").into_response();
    };
    let mut response = answer(VERIFIER, file, &request);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, VERIFIER_POLICY.clone());
    response
}

const VERIFIER: &str = "verify.html";

/// What the verifier's own page allows itself, by hash, and that no other page may hold it in a frame. Where it names
/// nothing, nothing is allowed.
static VERIFIER_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let page = Page::get(VERIFIER).map(|file| file.data).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    let named = page
        .split_once("http-equiv=\"Content-Security-Policy\" content=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let named = named.map_or("default-src 'none'", |(policy, _)| policy);
    HeaderValue::try_from(format!("{named}; frame-ancestors 'none'"))
        .unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

fn answer(path: &str, file: EmbeddedFile, request: &HeaderMap) -> Response {
    // Vite puts a hash of the content into the names in `assets/`: such a name never means other content.
    let cache = if path.starts_with("assets/") { "private, max-age=31536000, immutable" } else { "no-cache" };
    let tag: String = file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let unchanged =
        request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let head = [(header::CACHE_CONTROL, cache.to_owned()), (header::ETAG, tag)];
    if unchanged {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    let kind = match file.metadata.mimetype() {
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    (head, [(header::CONTENT_TYPE, kind)], Body::from(file.data)).into_response()
}
