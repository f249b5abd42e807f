//! Tamper detection without the command line, for a look or a long run:
//! `cargo run --release -p meterseal-bench --example tamper_speed -- REPEATS HOURS`.

use meterseal_bench::tamper::{self, CASES};
use meterseal_world::site::SiteKind;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>().unwrap_or(0));
    let (repeats, hours) = (numbers.next().unwrap_or(10), numbers.next().unwrap_or(1));
    for case in CASES.iter().take(if repeats > 0 { CASES.len() } else { 0 }) {
        match tamper::detect(case, repeats, 1, None) {
            Ok(found) => println!(
                "{}: {} of {repeats} missed, p50 {:?} ms, max {:?} ms, limit {:?} ms",
                case.name,
                found.missed,
                found.quantile(0.5),
                found.quantile(1.0),
                case.limit_ms
            ),
            Err(error) => println!("{}: {error}", case.name),
        }
    }
    // One hour of each place after another, so that a run that is cut short has all three.
    let places = [SiteKind::Factory, SiteKind::HomeSolar, SiteKind::Commercial];
    for hour in 0..hours {
        let kind = places[hour as usize % 3];
        let begin = Instant::now();
        match tamper::live(kind, 1, u64::from(hour) + 1, None, &|_| {}, &AtomicBool::new(false)) {
            Ok(lived) => println!(
                "{kind:?} {hour}: {} frames in {:.1?}, {} disturbances, alarms {:?}",
                lived.frames,
                begin.elapsed(),
                lived.disturbances,
                lived.alarms
            ),
            Err(error) => println!("{error}"),
        }
    }
}
