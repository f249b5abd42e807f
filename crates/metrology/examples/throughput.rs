//! Frames per second of the core on one core, without and with harmonics:
//! `cargo run --release -p meterseal-metrology --example throughput`.

use meterseal_metrology::{Config, Frame, HarmonicAnalysis, Metrology, Nominal, Registers, Scale};
use std::{f64::consts::TAU, time::Instant};

fn main() {
    let scale = Scale {
        voltage_femtovolts_per_count: [64_000_000_000; 3],
        current_femtoamperes_per_count: [18_000_000_000; 4],
    };
    let mut analysis = Box::new(HarmonicAnalysis::new());
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
        let (plain, energy) = frames_per_second(config, &frames, None);
        let (analysed, same) = frames_per_second(config, &frames, Some(&mut analysis));
        assert_eq!(energy, same, "harmonics change no register");
        println!("{rate} Hz: {plain:.3e} frames/s, {analysed:.3e} with harmonics ({energy} nWh)");
    }
    let [core, harmonics] = [size_of::<Metrology>(), size_of::<HarmonicAnalysis>()];
    println!("{core} bytes of state, {harmonics} more with harmonics");
}

/// Over ten million frames, and the energy imported by then.
fn frames_per_second(
    config: Config,
    frames: &[Frame],
    mut analysis: Option<&mut HarmonicAnalysis>,
) -> (f64, u64) {
    let mut metrology = Metrology::new(config, Registers::default()).expect("the settings are in range");
    let mut windows = 0;
    let start = Instant::now();
    for _ in 0..10_000_000 / frames.len() {
        for block in frames.chunks(frames.len() / 10) {
            match &mut analysis {
                Some(analysis) => metrology.push_with_harmonics(block, analysis, &mut |_, found| {
                    windows += usize::from(found.is_some());
                }),
                None => metrology.push(block, &mut |_| windows += 1),
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(windows > 0);
    (metrology.samples() as f64 / seconds, metrology.registers().total_import_nanowatt_hours)
}
