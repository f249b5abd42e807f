//! How fast a meter lives: `cargo run --release -p meterseal-bench --example tamper_speed`.

use meterseal_bench::tamper;
use meterseal_world::site::SiteKind;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn main() {
    for kind in [SiteKind::Factory, SiteKind::HomeSolar, SiteKind::Commercial] {
        let begin = Instant::now();
        let lived = tamper::live(kind, 1, 1, None, &|_| {}, &AtomicBool::new(false));
        match lived {
            Ok(lived) => println!(
                "{kind:?}: {} frames in {:.2?}, {} disturbances, alarms {:?}",
                lived.frames,
                begin.elapsed(),
                lived.disturbances,
                lived.alarms
            ),
            Err(error) => println!("{error}"),
        }
    }
}
