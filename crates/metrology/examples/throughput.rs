//! Frames per second of the whole core on one core: `cargo run --release -p meterseal-metrology --example throughput`.

use meterseal_metrology::{Config, Frame, Metrology, Nominal, Registers, Scale};
use std::{f64::consts::TAU, time::Instant};

fn main() {
    let scale = Scale {
        voltage_femtovolts_per_count: [64_000_000_000; 3],
        current_femtoamperes_per_count: [18_000_000_000; 4],
    };
    for rate in [1_000_u64, 8_000, 100_000] {
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
        let config = Config::new(rate * 1_000_000, Nominal::Hz50, scale);
        let mut metrology = Metrology::new(config, Registers::default()).expect("the settings are in range");
        let mut windows = 0;
        let repeats = 10_000_000 / rate;
        let start = Instant::now();
        for _ in 0..repeats {
            for block in frames.chunks(rate as usize / 10) {
                metrology.push(block, &mut |_| windows += 1);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let frames = metrology.samples();
        println!(
            "{rate} Hz: {:.3e} frames/s ({windows} windows, {} nWh)",
            frames as f64 / seconds,
            metrology.registers().total_import_nanowatt_hours
        );
    }
    println!("{} bytes of state", size_of::<Metrology>());
}
