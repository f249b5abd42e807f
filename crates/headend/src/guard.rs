//! What every request must pass before anything answers it: the right host name (against DNS rebinding), our own
//! page as the origin of whatever changes something, a session, a time limit. And the headers that every answer
//! carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::api::ApiError;
use crate::auth::{Gatekeeper, SESSION_IDLE_LIFE, cookie_name, session_in};

/// Longest time for an answer to begin. The event stream begins at once and then goes on.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What the guard knows.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keeper: Gatekeeper,
    /// `host:port` values that name this server.
    hosts: Vec<String>,
    cookie_name: String,
}

impl Guard {
    /// Guards a server that listens on `address`.
    pub(crate) fn new(keeper: Gatekeeper, address: SocketAddr) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if port == 80 {
            // Browsers leave the scheme's own port out.
            hosts.extend([address.ip().to_string(), "localhost".to_owned()]);
        }
        Self { inner: Arc::new(Inner { keeper, hosts, cookie_name: cookie_name(port) }) }
    }

    fn is_us(&self, host: &str) -> bool {
        self.inner.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    fn has_session(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| session_in(value.to_str().ok()?, &self.inner.cookie_name))
            .any(|value| self.inner.keeper.admits(value, Instant::now()))
    }
}

impl Guard {
    /// A command of this machine, which read the token from its file.
    fn is_command(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(|shown| shown.strip_prefix("Bearer "));
        token.is_some_and(|token| self.inner.keeper.is_command(token))
    }
}

/// The outermost layer: host, time limit, headers.
pub(crate) async fn outer(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if !host.is_some_and(|host| guard.is_us(host)) {
        let ours = guard.inner.hosts.first().map_or("", String::as_str);
        ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "This request names another host than this server.",
            format!("Use http://{ours}/ as printed by `meterseal up`."),
        )
        .into_response()
    } else {
        match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The head-end did not answer in time.",
                "Try again; if it stays so, look at the head-end's log and at the disk.",
            )
            .into_response(),
        }
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        // The verifier has a policy of its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// In front of the API: a session or the token of commands, and for whatever is not a read, our own page and JSON.
pub(crate) async fn api(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if !guard.has_session(request.headers()) && !guard.is_command(request.headers()) {
        return ApiError::new(
            StatusCode::UNAUTHORIZED,
            "There is no session.",
            "Open the page with the link that `meterseal up` prints; after it was used, start `meterseal up` again.",
        )
        .into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD)
        && let Err(error) = from_our_page(&guard, request.headers())
    {
        return error.into_response();
    }
    next.run(request).await
}

/// In front of the page: a session.
pub(crate) async fn page(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if guard.has_session(request.headers()) {
        return next.run(request).await;
    }
    let mut response = no_session();
    // A `SameSite=Strict` cookie is held back while a navigation that another site began (a link in a web terminal
    // or a mail) is under way, its redirects included. Coming again from our own page, the browser sends it; that
    // request says `same-origin`, so this happens once.
    let from_elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if from_elsewhere && request.uri().path() == "/" {
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("0; url=/"));
    }
    response
}

/// Token of a link.
#[derive(Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    token: String,
}

/// `/open?token=…`: uses the link up, sets the cookie, goes to the page.
pub(crate) async fn open(State(guard): State<Guard>, link: Query<Link>, headers: HeaderMap) -> Response {
    match guard.inner.keeper.open(&link.token, Instant::now()) {
        Ok(Some(session)) => {
            tracing::info!("the page was opened with its one-time link");
            // No `Secure`: over plain HTTP on the loopback some browsers would not send it back.
            let cookie = format!(
                "{}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}",
                guard.inner.cookie_name,
                session.expose(),
                SESSION_IDLE_LIFE.as_secs()
            );
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        // The same person reloading or using the link twice: they are in already.
        Ok(None) if guard.has_session(&headers) => Redirect::to("/").into_response(),
        Ok(None) => no_session(),
        Err(error) => {
            ApiError::internal("the operating system gave no random numbers", &error).into_response()
        }
    }
}

fn no_session() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], NO_SESSION)
        .into_response()
}

/// A browser says where a request comes from in `Sec-Fetch-Site` and, on POST, in `Origin`; a page elsewhere
/// can forge neither. What says nothing is no browser, and needs no protection from other sites.
fn from_our_page(guard: &Guard, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin_is_us = text("origin")
        .is_none_or(|origin| origin.strip_prefix("http://").is_some_and(|host| guard.is_us(host)));
    let site_is_us = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    if !origin_is_us || !site_is_us {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "This request comes from another site.",
            "Use the head-end's own page.",
        ));
    }
    // Kinds that no form of another site can send unasked (the Fetch standard's safelist has neither; from memory).
    let plain = text("content-type").is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        ["application/json", "application/octet-stream"].iter().any(|ours| kind.eq_ignore_ascii_case(ours))
    });
    if !plain {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The request is neither JSON nor a file.",
            "Send the header `Content-Type: application/json`, also with an empty body.",
        ));
    }
    Ok(())
}

const ALWAYS: [(header::HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const NO_SESSION: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>Meterseal</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}
:root{color-scheme:light dark}</style></head>
<body><h1>This page needs its link</h1>
<p>Open it with the link that <code>meterseal up</code> prints when it starts. The link works once; afterwards
this browser stays signed in for as long as <code>meterseal up</code> runs.</p>
<p>Used it already, in another browser? Stop <code>meterseal up</code> with Ctrl-C and start it again: it prints a
new link, and the meters go on from where they were.</p></body></html>
";
