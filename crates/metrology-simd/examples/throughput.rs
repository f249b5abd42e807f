//! Frames per second of the whole core on one core, scalar and fastest in turn, the best of several runs each:
//! `cargo run --release -p meterseal-metrology-simd --example throughput [rate [variant [runs]]]`.

use meterseal_metrology::{Config, EventSettings, Extras, Frame, Metrology, Nominal, Registers, Scale};
use meterseal_metrology_simd::fastest;
use std::{f64::consts::TAU, time::Instant};

const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000; 3],
    current_femtoamperes_per_count: [18_000_000_000; 4],
};

fn main() {
    let mut wanted = std::env::args().skip(1);
    let (wanted_rate, wanted_variant) = (wanted.next(), wanted.next());
    let runs = wanted.next().and_then(|runs| runs.parse().ok()).unwrap_or(7);
    for rate in [1_000_u64, 8_000, 100_000] {
        if wanted_rate.as_ref().is_some_and(|wanted| *wanted != rate.to_string()) {
            continue;
        }
        let frames: Vec<Frame> = (0..rate)
            .map(|n| {
                let turns = n as f64 / rate as f64 * 50.0;
                let count = |peak: f64, phase: f64| (peak * (turns * TAU + phase).cos()) as i32;
                Frame {
                    voltage: [0.0, -TAU / 3.0, TAU / 3.0].map(|phase| count(5e6, phase)),
                    current: [0.5, 0.5 - TAU / 3.0, 0.5 + TAU / 3.0, 0.0].map(|phase| count(1e6, phase)),
                }
            })
            .collect();
        let events = Some(EventSettings::new(230_000));
        let mut variants = vec![
            ("scalar", Extras::default()),
            ("fastest", Extras { kernel: fastest(), ..Extras::default() }),
            ("scalar + events", Extras { events, ..Extras::default() }),
            ("fastest + events", Extras { kernel: fastest(), events, ..Extras::default() }),
        ];
        variants.retain(|(name, _)| wanted_variant.as_ref().is_none_or(|wanted| wanted == name));
        let mut best = vec![0.0_f64; variants.len()];
        for _ in 0..runs {
            for ((_, extras), best) in variants.iter().zip(&mut best) {
                *best = best.max(frames_per_second(rate, *extras, &frames));
            }
        }
        for ((name, _), best) in variants.iter().zip(best) {
            println!("{rate:>6} Hz, {name}: {best:.3e} frames/s");
        }
    }
}

fn frames_per_second(rate: u64, extras: Extras, frames: &[Frame]) -> f64 {
    let config = Config::new(rate * 1_000_000, Nominal::Hz50, SCALE);
    let mut metrology = Metrology::with_extras(config, extras, Registers::default()).expect("in range");
    let repeats = 3_000_000 / rate;
    let start = Instant::now();
    for _ in 0..repeats {
        for block in frames.chunks(rate as usize / 10) {
            metrology.push(block, &mut |_| ());
        }
    }
    metrology.samples() as f64 / start.elapsed().as_secs_f64()
}
