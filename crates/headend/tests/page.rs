//! The page's door: who gets in, from where, and what every answer carries. Over real sockets, without a meter.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use common::{Browser, Utility, id};
use meterseal_headend::{Headend, StartError};

#[tokio::test]
async fn without_a_session_there_is_neither_page_nor_api() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let stranger = Browser::new(&headend);
    for path in ["/", "/index.html", "/assets/x.js", "/nothing"] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.text().contains("meterseal up"), "{path}");
    }
    for path in ["/api/v1/meters", "/api/v1/stream", "/api/v1/openapi.json", "/api/v1/nothing", "/api/v2"] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.json()["what_to_do"].as_str().unwrap().contains("link"), "{path}");
    }
    let answer = stranger.post("/api/v1/events/MSL0000000001/1/acknowledge", "").await;
    assert_eq!(answer.status, 401);
    let forged = Browser {
        cookie: Some(format!("meterseal_session_{}={}", stranger.address.port(), "0".repeat(64))),
        ..stranger
    };
    assert_eq!(forged.get("/api/v1/meters").await.status, 401);
    headend.shutdown().await;
}

#[tokio::test]
async fn the_link_opens_once_and_the_cookie_stays() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let stranger = Browser::new(&headend);
    for wrong in ["/open", "/open?token=", "/open?token=0", "/open?tok=1"] {
        assert_eq!(stranger.get(wrong).await.status, 401, "{wrong}");
    }
    let url = headend.page_url();
    let path = &url[url.find("/open").unwrap()..];
    let opened = stranger.get(path).await;
    assert_eq!((opened.status, opened.header("location")), (303, Some("/")));
    let cookie = opened.header("set-cookie").unwrap();
    for property in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(property), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert!(!cookie.contains(path.rsplit('=').next().unwrap()), "the token is not the session");
    assert_eq!(stranger.get(path).await.status, 401, "the link was good once");

    let guest = Browser { cookie: cookie.split(';').next().map(str::to_owned), ..stranger };
    let page = guest.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(guest.get("/api/v1/meters").await.status, 200);
    assert_eq!(guest.get(path).await.status, 303, "whoever is in goes to the page");
    headend.shutdown().await;
}

#[tokio::test]
async fn a_link_clicked_on_another_site_arrives_by_a_second_step() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let stranger = Browser::new(&headend);
    // What a browser sends after the redirect of `/open`, when the click was elsewhere: no strict cookie.
    let held_back = stranger.send("GET", "/", &[("sec-fetch-site", "cross-site")], None).await;
    assert_eq!((held_back.status, held_back.header("refresh")), (401, Some("0; url=/")));
    let second = stranger.send("GET", "/", &[("sec-fetch-site", "same-origin")], None).await;
    assert_eq!((second.status, second.header("refresh")), (401, None), "no endless circle");
    headend.shutdown().await;
}

#[tokio::test]
async fn another_site_can_neither_post_nor_rebind() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let guest = Browser::signed_in(&headend).await;
    let call = "/api/v1/meters/MSL0000000001/stimulus";
    let body = Some("{\"kind\":\"open_cover\"}");
    let json = ("content-type", "application/json");
    let own = format!("http://{}", guest.address);
    let other_port = format!("http://127.0.0.1:{}", guest.address.port() ^ 1);
    for foreign in ["https://evil.example", "null", "http://localhost.evil.example", other_port.as_str()] {
        let answer = guest.send("POST", call, &[json, ("origin", foreign)], body).await;
        assert_eq!(answer.status, 403, "{foreign}");
    }
    for site in ["cross-site", "same-site"] {
        let answer =
            guest.send("POST", call, &[json, ("origin", &own), ("sec-fetch-site", site)], body).await;
        assert_eq!(answer.status, 403, "{site}");
    }
    let form = ("content-type", "text/plain");
    assert_eq!(guest.send("POST", call, &[form, ("origin", &own)], body).await.status, 415);
    assert_eq!(guest.send("POST", call, &[("origin", &own)], body).await.status, 415);
    // From here it passes the guard: the meter is just not running.
    assert_eq!(guest.send("POST", call, &[json, ("origin", &own)], body).await.status, 409);

    for host in ["evil.example", "127.0.0.1", "127.0.0.1:1", ""] {
        let answer = guest.send("GET", "/", &[("host", host)], None).await;
        assert_eq!(answer.status, 421, "{host}");
    }
    let local = format!("LocalHost:{}", guest.address.port());
    assert_eq!(guest.send("GET", "/", &[("host", &local)], None).await.status, 200);
    headend.shutdown().await;
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let guest = Browser::signed_in(&headend).await;
    let stranger = Browser::new(&headend);
    for answer in [
        guest.get("/").await,
        guest.get("/api/v1/meters").await,
        guest.get("/api/v1/nothing").await,
        guest.get("/nothing").await,
        stranger.get("/").await,
        stranger.send("GET", "/", &[("host", "evil.example")], None).await,
    ] {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert!(matches!(answer.header("cache-control"), Some("no-store" | "no-cache")));
    }
    headend.shutdown().await;
}

#[tokio::test]
async fn the_page_is_cached_by_its_content() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let guest = Browser::signed_in(&headend).await;
    let page = guest.get("/").await;
    let tag = page.header("etag").unwrap().to_owned();
    let again = guest.send("GET", "/", &[("if-none-match", &tag)], None).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    // Whatever the page loads is there, with a type that `nosniff` lets through.
    let mut assets = 0;
    for part in page.text().split(['"', '\'']).filter(|part| part.starts_with("/assets/")) {
        let asset = guest.get(part).await;
        assert_eq!(asset.status, 200, "{part}");
        let expected = if part.ends_with(".css") { "text/css" } else { "text/javascript" };
        assert!(asset.header("content-type").unwrap().starts_with(expected), "{part}");
        assert!(asset.header("cache-control").unwrap().contains("immutable"));
        assets += 1;
    }
    assert!(assets > 0 || !page.text().contains("script"), "the page names no assets");
    assert_eq!(guest.get("/../Cargo.toml").await.status, 404);
    headend.shutdown().await;
}

#[tokio::test]
async fn questions_that_make_no_sense_get_an_answer_that_does() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let guest = Browser::signed_in(&headend).await;
    for (path, status) in [
        ("/api/v1/meters/MSL0000000009/series", 404),
        ("/api/v1/meters/x/series", 404),
        ("/api/v1/meters/%FF/series", 400),
        ("/api/v1/meters/MSL0000000001/series?minutes=0", 400),
        ("/api/v1/meters/MSL0000000001/series?minutes=121", 400),
        ("/api/v1/meters/MSL0000000001/series?minutes=-1", 400),
        ("/api/v1/meters/MSL0000000001/profile?from=yesterday", 400),
        ("/api/v1/meters/MSL0000000001/profile?limit=5001", 400),
        ("/api/v1/events?limit=501", 400),
        ("/api/v1/events?meter=MSL0000000009", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/events/MSL0000000001/1/acknowledge", 405),
    ] {
        let answer = guest.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let problem = answer.json();
        assert!(problem["error"].is_string() && problem["what_to_do"].is_string(), "{path}");
    }
    let stimulus = "/api/v1/meters/MSL0000000001/stimulus";
    for (path, body, status) in [
        (stimulus, "{\"kind\":\"hammer\"}", 400),
        (stimulus, "{\"kind\":\"open_cover\",\"force\":1}", 400),
        (stimulus, "{", 400),
        (stimulus, "", 400),
        ("/api/v1/meters/MSL0000000002/stimulus", "{\"kind\":\"open_cover\"}", 409),
        ("/api/v1/meters/MSL0000000003/stimulus", "{\"kind\":\"open_cover\"}", 404),
        ("/api/v1/events/MSL0000000001/1/acknowledge", "", 404),
        ("/api/v1/events/MSL0000000001/-1/acknowledge", "", 400),
    ] {
        let answer = guest.post(path, body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert!(answer.json()["what_to_do"].is_string(), "{path} {body}");
    }
    let long = format!("{{\"kind\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(guest.post(stimulus, &long).await.status, 413);
    headend.shutdown().await;
}

#[tokio::test]
async fn the_api_describes_itself() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let guest = Browser::signed_in(&headend).await;
    let document = guest.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["info"]["version"], "1");
    assert!(document["paths"]["/api/v1/events/{meter}/{sequence}/acknowledge"]["post"].is_object());
    headend.shutdown().await;
}

#[tokio::test]
async fn a_meter_that_never_called_is_shown_so() {
    let utility = Utility::new();
    let headend = utility.start().await;
    let guest = Browser::signed_in(&headend).await;
    let meters = guest.get("/api/v1/meters").await.json();
    assert_eq!(meters.as_array().unwrap().len(), 2);
    assert_eq!(meters[0]["id"], id(1).to_string());
    assert_eq!(meters[0]["state"], "never");
    assert_eq!(meters[0]["stimuli"].as_array().unwrap().len(), meterseal_model::Stimulus::ALL.len());
    assert_eq!(meters[1]["stimuli"].as_array().unwrap().len(), 0);
    assert!(meters[0]["live"].is_null() && meters[0]["since"].is_null());
    let series = guest.get("/api/v1/meters/MSL0000000001/series").await.json();
    assert_eq!(series["t"].as_array().unwrap().len(), 0);
    headend.shutdown().await;
}

#[tokio::test]
async fn a_wrong_address_is_named_with_what_to_do() {
    let utility = Utility::new();
    let headend = utility.start().await;

    let other = Utility::new();
    let mut config = other.config();
    config.page_listen = headend.page_addr();
    let error = Headend::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::AddressInUse { .. }));
    assert!(
        error.to_string().contains(&headend.page_addr().to_string())
            && error.to_string().contains("--listen")
    );

    let mut config = other.config();
    config.page_listen = "0.0.0.0:8080".parse().unwrap();
    let error = Headend::start(config).await.unwrap_err();
    assert!(
        matches!(error, StartError::NotLoopback { .. }) && error.to_string().contains("--listen"),
        "{error}"
    );
    assert!(!other.data().exists(), "a start that is refused writes nothing");

    let mut config = other.config();
    config.meters.push(config.meters[0].clone());
    assert!(matches!(Headend::start(config).await, Err(StartError::MeterTwice { .. })));
    let second = Headend::start(utility.config()).await.unwrap_err();
    assert!(second.to_string().contains("in use by another head-end"), "{second}");
    headend.shutdown().await;
}

#[test]
fn the_schema_that_the_page_uses_is_current() {
    let current = meterseal_headend::api::document().to_pretty_json().unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed.trim_end() == current.trim_end(),
        "run: cargo run -p meterseal-headend --example openapi > web/openapi.json"
    );
}
