//! Figures, not verdicts: how fast an alarm reaches the page, and what watching three meters costs. Run with
//! `cargo test --release -p meterseal-headend --test figures -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use std::time::{Duration, Instant};

use common::{Browser, Flash, TestMeter, Utility, id};
use meterseal_headend::{Headend, MeterEntry};

async fn three_meters(utility: &Utility) -> (Headend, Vec<TestMeter>) {
    let mut config = utility.config();
    let third = MeterEntry { id: id(3), ..config.meters[0].clone() };
    config.meters.push(third);
    let headend = Headend::start(config).await.unwrap();
    let meters = (1..=3).map(|serial| TestMeter::start(utility, &headend, serial, &Flash::blank())).collect();
    (headend, meters)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute and depends on the machine"]
async fn from_the_button_to_the_page() {
    let utility = Utility::new();
    let (headend, _meters) = three_meters(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let mut stream = browser.stream().await;
    for _ in 0..6 {
        stream.next("live").await;
    }
    let mut times = Vec::new();
    for press in 0..100 {
        let kind = if press % 2 == 0 { "open_cover" } else { "close_cover" };
        let began = Instant::now();
        let call = "/api/v1/meters/MSL0000000001/stimulus";
        assert_eq!(browser.post(call, &format!("{{\"kind\":\"{kind}\"}}")).await.status, 204);
        stream.next("event").await;
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    times.sort();
    println!(
        "button to page, 100 presses, the meter looking every 10 ms with 10 ms debounce: p50 {:?}, p95 {:?}, worst {:?}",
        times[49], times[94], times[99]
    );
    headend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute and depends on the machine"]
async fn watching_three_meters() {
    let utility = Utility::new();
    let (headend, _meters) = three_meters(&utility).await;
    let browser = Browser::signed_in(&headend).await;
    let mut stream = browser.stream().await;
    for _ in 0..6 {
        stream.next("live").await;
    }
    let (before, began) = (headend_ticks(), Instant::now());
    for _ in 0..60 {
        stream.next("live").await;
    }
    // Ticks are hundredths of a second (sysconf(_SC_CLK_TCK) on every Linux).
    let used = Duration::from_millis(10 * (headend_ticks() - before));
    println!(
        "three meters at 1 Hz, one page: {:.2} % of a core over {:?}",
        100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64(),
        began.elapsed()
    );
    headend.shutdown().await;
}

/// Processor time of the head-end's threads and the runtime's, not of the meters'.
fn headend_ticks() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter_map(|stat| {
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let ours = name.starts_with("tokio") || name.starts_with("store-");
            let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<u64>().unwrap());
            ours.then(|| fields.next().unwrap() + fields.next().unwrap())
        })
        .sum()
}
