//! Tamper detection without the command line, for a look or a long run:
//! `cargo run --release -p meterseal-bench --example tamper_speed -- REPEATS HOURS [FILE]`.
//! The file keeps the hours that are done.

use meterseal_bench::tamper::{self, CASES, Settings};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>().unwrap_or(0));
    let file = std::env::args().nth(3);
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
    let settings = Settings { hours, seed: 1, fault: None };
    let begin = Instant::now();
    match tamper::live(&settings, file.as_deref().map(Path::new), &|_| {}, &AtomicBool::new(false)) {
        Ok(places) => {
            println!("{hours} hours in {:.1?}", begin.elapsed());
            places.iter().flatten().for_each(|lived| println!("{lived:?}"));
        }
        Err(error) => println!("{error}"),
    }
}
