//! Firmware campaigns end to end: a package comes in, meters with real slots and boot stages are updated over TLS and
//! DLMS, and what counts is what they attest.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::Duration;

use common::firmware::{Maker, Manner, Slots, digest, image};
use common::{Browser, Flash, Order, TestMeter, Utility, Variant, eventually};
use meterseal_headend::{AttestationPolicy, Config, Headend};
use serde_json::{Value, json};

const METERS: [&str; 2] = ["MSL0000000001", "MSL0000000002"];

/// A utility that trusts a maker, its images 1 and 2, and a head-end that admits both.
struct Scene {
    utility: Utility,
    maker: Maker,
    images: [Vec<u8>; 2],
}

impl Scene {
    fn new() -> Self {
        let (utility, maker) = (Utility::new(), Maker::new(1));
        utility.trust_firmware(&maker);
        Self { utility, maker, images: [image(30_000, 1), image(40_000, 2)] }
    }

    fn config(&self) -> Config {
        let config = self.utility.config();
        let marks = self.images.iter().map(|image| self.utility.mark(digest(image))).collect();
        Config { marks, ..config }
    }

    async fn start(&self) -> (Headend, Browser) {
        let headend = Headend::start(self.config()).await.unwrap();
        let browser = Browser::signed_in(&headend).await;
        (headend, browser)
    }

    fn slots(&self, serial: u64, manner: Manner) -> Slots {
        Slots::new(&self.utility, &self.maker, serial, &self.images[0], manner)
    }

    fn meter(&self, headend: &Headend, serial: u64, slots: &Slots, flash: &Flash) -> TestMeter {
        let variant = Variant { slots: Some(slots.clone()), flash: flash.clone(), ..Variant::default() };
        TestMeter::variant(&self.utility, headend, serial, variant)
    }

    fn package(&self) -> Vec<u8> {
        self.maker.package(&self.images[1], 2)
    }
}

async fn upload(browser: &Browser, package: &[u8]) -> common::Answer {
    browser.post_octets("/api/v1/firmware", package).await
}

/// Uploads version 2 and makes a campaign with it; what the plan does not say is as it is by default.
async fn create(scene: &Scene, browser: &Browser, plan: Value) -> Value {
    let image = upload(browser, &scene.package()).await;
    assert_eq!(image.status, 200, "{}", image.text());
    let mut plan = plan;
    plan["package"] = image.json()["package"].clone();
    let made = browser.post("/api/v1/campaigns", &plan.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

async fn campaign(browser: &Browser, id: u64) -> Value {
    browser.get(&format!("/api/v1/campaigns/{id}")).await.json()
}

/// Waits until a campaign looks so.
async fn until(browser: &Browser, id: u64, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let campaign = campaign(browser, id).await;
        wanted(&campaign).then_some(campaign)
    })
    .await
}

async fn member(browser: &Browser, campaign: u64, meter: &str) -> Value {
    let members = browser.get(&format!("/api/v1/campaigns/{campaign}/meters")).await.json();
    members.as_array().unwrap().iter().find(|member| member["meter"] == meter).unwrap().clone()
}

async fn meter(browser: &Browser, meter: &str) -> Value {
    let meters = browser.get("/api/v1/meters").await.json();
    meters.as_array().unwrap().iter().find(|one| one["id"] == meter).unwrap().clone()
}

async fn online(browser: &Browser, name: &str) -> Value {
    eventually("the meter is online", async || {
        let meter = meter(browser, name).await;
        (meter["state"] == "online").then_some(meter)
    })
    .await
}

/// Waits for an alarm with this cause.
async fn raised(browser: &Browser, cause: &str) {
    eventually(cause, async || {
        let alarms = browser.get("/api/v1/alarms").await.json();
        let found = alarms.as_array().unwrap().iter().find(|alarm| alarm["cause"] == cause).cloned();
        found.map(|alarm| assert_eq!(alarm["severity"], "critical", "{alarm}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpa_fw_meters_are_updated_in_stages_and_done_is_what_they_attest() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let (one, two) = (scene.slots(1, Manner::Honest), scene.slots(2, Manner::Honest));
    let _meters =
        [scene.meter(&headend, 1, &one, &Flash::blank()), scene.meter(&headend, 2, &two, &Flash::blank())];
    for name in METERS {
        let shown = online(&browser, name).await;
        let said = &shown["attestation"];
        assert_eq!((&said["ground"], &said["sequence"]), (&json!("simulated"), &json!(1)), "{shown}");
        assert_eq!(shown["firmware_digest"], digest(&scene.images[0]).to_string(), "what is attested counts");
    }
    let plan = json!({ "all": true, "stages": [{ "percent": 50.0 }, { "percent": 100.0 }], "by": "a clerk" });
    let made = create(&scene, &browser, plan).await;
    assert_eq!((&made["state"], &made["meters"]), (&json!("running"), &json!(2)), "{made}");
    let id = made["id"].as_u64().unwrap();
    let end =
        until(&browser, id, "the campaign is finished", |campaign| campaign["state"] == "finished").await;
    assert_eq!((&end["counts"]["done"], &end["stage"]), (&json!(2), &json!(2)), "{end}");
    for (name, slots) in METERS.iter().zip([&one, &two]) {
        let shown = meter(&browser, name).await;
        assert_eq!(shown["attestation"]["image"], digest(&scene.images[1]).to_string(), "{shown}");
        assert_eq!(shown["attestation"]["confirmed"], true);
        assert_eq!(slots.report.lock().unwrap().runs, Some(digest(&scene.images[1])));
    }
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_meter_that_lies_about_its_version_is_not_counted_done() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let liar = scene.slots(1, Manner::Lies);
    let _meter = scene.meter(&headend, 1, &liar, &Flash::blank());
    online(&browser, METERS[0]).await;
    let plan = json!({ "meters": [METERS[0]], "patience_s": 4 });
    let id = create(&scene, &browser, plan).await["id"].as_u64().unwrap();
    let stopped = until(&browser, id, "the campaign stops", |campaign| campaign["state"] == "stopped").await;
    assert_eq!(
        (&stopped["counts"]["done"], &stopped["counts"]["failed"]),
        (&json!(0), &json!(1)),
        "{stopped}"
    );
    assert!(liar.report.lock().unwrap().starts > 1, "it pretended to start the new image");
    let member = member(&browser, id, METERS[0]).await;
    assert!(member["reason"].as_str().unwrap().contains("did not attest"), "{member}");
    raised(&browser, "firmware_misreported").await;
    raised(&browser, "campaign_stopped").await;
    // Admitted as what it attests, and shown so.
    let shown = meter(&browser, METERS[0]).await;
    assert_eq!(shown["firmware_digest"], digest(&scene.images[0]).to_string(), "{shown}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_goes_back_by_itself_stops_the_campaign_before_the_next_stage() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let slots = [scene.slots(1, Manner::GoesBack), scene.slots(2, Manner::GoesBack)];
    let _meters = [
        scene.meter(&headend, 1, &slots[0], &Flash::blank()),
        scene.meter(&headend, 2, &slots[1], &Flash::blank()),
    ];
    online(&browser, METERS[0]).await;
    online(&browser, METERS[1]).await;
    let plan = json!({ "all": true, "stages": [{ "percent": 50.0 }, { "percent": 100.0 }] });
    let id = create(&scene, &browser, plan).await["id"].as_u64().unwrap();
    let stopped = until(&browser, id, "the campaign stops", |campaign| campaign["state"] == "stopped").await;
    assert_eq!(
        (&stopped["counts"]["failed"], &stopped["counts"]["waiting"]),
        (&json!(1), &json!(1)),
        "{stopped}"
    );
    assert!(stopped["reason"].as_str().unwrap().contains("went back"), "{stopped}");
    let untouched = slots.iter().filter(|slots| slots.report.lock().unwrap().starts == 1).count();
    assert_eq!(untouched, 1, "the second stage was never told");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_after_the_head_end_and_the_line_were_lost() {
    let scene = Scene::new();
    let (flash, slots) = (Flash::blank(), scene.slots(1, Manner::Honest));
    let (headend, browser) = scene.start().await;
    let first = scene.meter(&headend, 1, &slots, &flash);
    online(&browser, METERS[0]).await;
    // Slow enough to be interrupted: eight seconds for all of it.
    let plan = json!({ "meters": [METERS[0]], "bytes_per_second": 6_000 });
    let id = create(&scene, &browser, plan).await["id"].as_u64().unwrap();
    let blocks = |member: &Value| member["blocks"].as_u64().unwrap_or(0);
    let before = eventually("some blocks are there", async || {
        let member = member(&browser, id, METERS[0]).await;
        (blocks(&member) > 0).then_some(blocks(&member))
    })
    .await;
    first.order(Order::HangUp(Duration::from_millis(50)));
    eventually("it goes on over the next connection", async || {
        let member = member(&browser, id, METERS[0]).await;
        (blocks(&member) > before).then_some(())
    })
    .await;
    drop(first);
    headend.shutdown().await;

    let (headend, browser) = scene.start().await;
    let listed = browser.get("/api/v1/campaigns").await.json();
    assert_eq!((&listed[0]["state"], &listed[0]["id"]), (&json!("running"), &json!(id)), "{listed}");
    let _meter = scene.meter(&headend, 1, &slots, &flash);
    let resumed = eventually("the next head-end hears what the meter has", async || {
        let member = member(&browser, id, METERS[0]).await;
        (blocks(&member) > 0).then_some(blocks(&member))
    })
    .await;
    assert!(resumed > before, "it did not begin anew: {resumed} after {before}");
    let end =
        until(&browser, id, "the campaign is finished", |campaign| campaign["state"] == "finished").await;
    assert_eq!(end["counts"]["done"], 1, "{end}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_in_words_and_nothing_is_half_applied() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let refused = |answer: &common::Answer, status: u16, words: &str| {
        assert_eq!(answer.status, status, "{}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{error}");
    };
    // The wrong file, a stranger's signature, one byte changed, cut short.
    refused(&upload(&browser, b"#!/bin/sh\nexit 0\n").await, 422, "no firmware package");
    let stranger = Maker::new(2).package(&scene.images[1], 2);
    refused(&upload(&browser, &stranger).await, 422, "refused");
    let mut altered = scene.package();
    *altered.last_mut().unwrap() ^= 1;
    refused(&upload(&browser, &altered).await, 422, "not the one that was signed");
    refused(&upload(&browser, &scene.package()[..3000]).await, 422, "ends too early");
    let folder = scene.utility.data().join("firmware");
    let files = || {
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(files(), ["trust.cbor"], "nothing of it was kept");
    // The disk is full while the package is written: the device that always is stands where it is written first.
    let name = meterseal_seal::firmware::Digests::of(&scene.package()).digest.to_string();
    std::os::unix::fs::symlink("/dev/full", folder.join(format!("{name}.part"))).unwrap();
    refused(&upload(&browser, &scene.package()).await, 507, "the disk is full");
    assert_eq!(files(), ["trust.cbor"], "nothing of it was kept");

    let image = upload(&browser, &scene.package()).await.json();
    let package = image["package"].as_str().unwrap().to_owned();
    let with = |more: Value| {
        let mut plan = json!({ "package": package });
        plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plan.to_string()
    };
    for (plan, status, words) in [
        (json!({}), 400, "which meters"),
        (json!({ "device_type": "gas" }), 400, "empty"),
        (json!({ "meters": ["MSL0000000099"] }), 400, "does not know"),
        (json!({ "meters": ["nobody"] }), 400, "meters"),
        (json!({ "all": true, "percent": 0.0 }), 400, "share"),
        (json!({ "all": true, "stages": [{ "percent": 50.0 }] }), 400, "tages"),
        (json!({ "all": true, "window": "dawn" }), 400, "window"),
        (json!({ "all": true, "activate_at": "soon" }), 400, "activate_at"),
        (json!({ "all": true, "max_failed_percent": 101.0 }), 400, "share of failures"),
        (json!({ "all": true, "package": "ff".repeat(48) }), 404, "gone"),
        (json!({ "all": true, "package": "../../etc/passwd" }), 400, "package"),
    ] {
        refused(&browser.post("/api/v1/campaigns", &with(plan)).await, status, words);
    }
    assert_eq!(browser.get("/api/v1/campaigns").await.json(), json!([]), "nothing was made");
    assert_eq!(browser.post("/api/v1/campaigns/7/pause", "{}").await.status, 404);

    // Firmware without a mark: whoever ran it would be refused.
    let unmarked = upload(&browser, &scene.maker.package(b"nobody has tested this", 3)).await.json();
    let plan = json!({ "all": true, "package": unmarked["package"] }).to_string();
    refused(&browser.post("/api/v1/campaigns", &plan).await, 409, "would be refused with this image");
    assert_eq!(browser.get("/api/v1/campaigns").await.json(), json!([]), "nothing was made");

    // One campaign at a time for a meter.
    let first = browser.post("/api/v1/campaigns", &with(json!({ "all": true }))).await;
    assert_eq!(first.status, 201, "{}", first.text());
    refused(
        &browser.post("/api/v1/campaigns", &with(json!({ "meters": [METERS[1]] }))).await,
        409,
        "campaign 1",
    );
    let act = async |act: &str| browser.post(&format!("/api/v1/campaigns/1/{act}"), "{}").await;
    refused(&act("resume").await, 409, "running");
    assert_eq!(act("pause").await.json()["state"], "paused");
    // The image has gone while it was paused.
    std::fs::rename(folder.join(format!("{package}.msfw")), folder.join("away")).unwrap();
    refused(&act("resume").await, 404, "gone");
    std::fs::rename(folder.join("away"), folder.join(format!("{package}.msfw"))).unwrap();
    assert_eq!(act("resume").await.json()["state"], "running");
    let aborted = act("abort").await.json();
    assert_eq!(
        (&aborted["state"], &aborted["counts"]["left_out"]),
        (&json!("aborted"), &json!(2)),
        "{aborted}"
    );
    refused(&act("resume").await, 409, "aborted");
    assert_eq!(browser.post("/api/v1/campaigns", &with(json!({ "all": true }))).await.status, 201);
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_has_gone_when_the_head_end_starts_stops_its_campaign_with_an_alarm() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let made = create(&scene, &browser, json!({ "all": true })).await;
    headend.shutdown().await;
    let package = made["image"]["package"].as_str().unwrap();
    let path = scene.utility.data().join("firmware").join(format!("{package}.msfw"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[1..]).unwrap();
    let (headend, browser) = scene.start().await;
    let stopped = campaign(&browser, 1).await;
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    assert!(stopped["reason"].as_str().unwrap().contains("altered"), "{stopped}");
    raised(&browser, "campaign_stopped").await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_replaced_board_and_memory_that_was_put_back_are_critical_alarms() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let (flash, slots) = (Flash::blank(), scene.slots(1, Manner::Honest));
    let factory_new = slots.copy();
    let meter_one = scene.meter(&headend, 1, &slots, &flash);
    online(&browser, METERS[0]).await;
    let id = create(&scene, &browser, json!({ "meters": [METERS[0]] })).await["id"].as_u64().unwrap();
    until(&browser, id, "the campaign is finished", |campaign| campaign["state"] == "finished").await;
    drop(meter_one);
    // The firmware partition as it left the factory, under the same boot stage.
    let put_back = scene.meter(&headend, 1, &factory_new, &flash);
    raised(&browser, "firmware_rolled_back").await;
    drop(put_back);
    // Another board, whose key the same manufacturer certified for this meter.
    let other = slots.with_other_boot_stage(&scene.utility, 1);
    let _replaced = scene.meter(&headend, 1, &other, &flash);
    let refused = eventually("the other board is refused", async || {
        let meter = meter(&browser, METERS[0]).await;
        (meter["state"] == "refused").then_some(meter)
    })
    .await;
    assert!(refused["state_reason"].as_str().unwrap().contains("another boot key"), "{refused}");
    raised(&browser, "boot_key_changed").await;
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_attested_is_read_by_policy_only_and_who_did_must_go_on() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let (flash, slots) = (Flash::blank(), scene.slots(1, Manner::Mute));
    let mute = scene.meter(&headend, 1, &slots, &flash);
    let shown = online(&browser, METERS[0]).await;
    assert_eq!(shown["attestation"], Value::Null, "older software is shown as what it is");
    drop(mute);
    let honest = scene.meter(&headend, 1, &slots.in_manner(Manner::Honest), &flash);
    eventually("it attests", async || {
        meter(&browser, METERS[0]).await["attestation"].is_object().then_some(())
    })
    .await;
    drop(honest);
    let _mute = scene.meter(&headend, 1, &slots, &flash);
    eventually("it is refused from then on", async || {
        let meter = meter(&browser, METERS[0]).await;
        (meter["state"] == "refused").then_some(())
    })
    .await;
    raised(&browser, "attestation_failed").await;
    headend.shutdown().await;

    // Where nobody is read who cannot attest.
    let scene = Scene::new();
    let config = Config { attestation: AttestationPolicy::Required, ..scene.config() };
    let headend = Headend::start(config).await.unwrap();
    let browser = Browser::signed_in(&headend).await;
    let _mute = scene.meter(&headend, 1, &scene.slots(1, Manner::Mute), &Flash::blank());
    let refused = eventually("it is refused", async || {
        let meter = meter(&browser, METERS[0]).await;
        (meter["state"] == "refused").then_some(meter)
    })
    .await;
    assert!(refused["state_reason"].as_str().unwrap().contains("cannot attest"), "{refused}");
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_leaves_in_the_middle_of_a_stage_holds_nobody_up() {
    let scene = Scene::new();
    let (headend, browser) = scene.start().await;
    let stays = scene.slots(1, Manner::Honest);
    let _stays = scene.meter(&headend, 1, &stays, &Flash::blank());
    let leaves = scene.meter(&headend, 2, &scene.slots(2, Manner::Honest), &Flash::blank());
    online(&browser, METERS[0]).await;
    online(&browser, METERS[1]).await;
    let plan = json!({ "all": true, "bytes_per_second": 20_000, "patience_s": 3 });
    let id = create(&scene, &browser, plan).await["id"].as_u64().unwrap();
    eventually("both are in transfer", async || {
        (campaign(&browser, id).await["counts"]["transferring"] == 2).then_some(())
    })
    .await;
    drop(leaves);
    let end =
        until(&browser, id, "the campaign is finished", |campaign| campaign["state"] == "finished").await;
    assert_eq!((&end["counts"]["done"], &end["counts"]["unreached"]), (&json!(1), &json!(1)), "{end}");
    let left = member(&browser, id, METERS[1]).await;
    assert!(left["reason"].as_str().unwrap().contains("not connected"), "{left}");
    assert_eq!(headend.store().campaign(id).await.unwrap().unwrap().1.total(), 2);
    headend.shutdown().await;
}
