//! Where a soak's time goes on one core: generation of frames, the core with a calibration record, both; with either kernel.

use meterseal_bench::accuracy::unit_id;
use meterseal_bench::calibration::{Procedure, calibrate};
use meterseal_bench::instrument::Instrument;
use meterseal_metrology::{Config, ConfigError, Extras, Frame, Kernel, Metrology, Nominal, Registers};
use meterseal_world::physics::{Effects, LoadPoint, SAMPLE_RATE_HZ, Sensor, Tolerances, Unit};
use std::time::Instant;

const CHUNK: usize = 1000;
/// A millisecond at a time: less than a scheduler's slice, so that the best of many is undisturbed on a busy machine too.
const CHUNKS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut unit = Unit::draw(1, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
    let outcome = calibrate(&unit, unit_id(1), &Instrument::draw(1), &Procedure::default(), 1)?;
    let load = LoadPoint::balanced(50.0, 230.0, 5.0, 30.0).with_harmonic(5, 0.02, 0.08);
    let mut signal = unit.signal(&load, 0.0);
    let mut frames = vec![Frame::default(); CHUNK];
    let core = |kernel: Kernel| -> Result<Metrology, ConfigError> {
        let config = Config::new((SAMPLE_RATE_HZ * 1e6) as u64, Nominal::Hz50, Unit::scale());
        let extras = Extras { calibration: Some(Ok(outcome.record)), kernel, ..Extras::default() };
        Metrology::with_extras(config, extras, Registers::default())
    };
    let mut scalar = core(Kernel::SCALAR)?;
    let mut fastest = core(meterseal_metrology_simd::fastest())?;
    let mut best = [f64::INFINITY; 4];
    for _ in 0..150 {
        let mut run = |number: usize, work: &mut dyn FnMut(&mut [Frame])| {
            let start = Instant::now();
            for _ in 0..CHUNKS {
                work(&mut frames);
            }
            best[number] = best[number].min(start.elapsed().as_secs_f64() / (CHUNK * CHUNKS) as f64 * 1e9);
        };
        run(0, &mut |frames| signal.fill(frames));
        run(1, &mut |frames| scalar.push(frames, &mut |_| ()));
        run(2, &mut |frames| fastest.push(frames, &mut |_| ()));
        run(3, &mut |frames| {
            signal.fill(frames);
            fastest.push(frames, &mut |_| ());
        });
    }
    let names = ["generation", "core, portable", "core, widest", "generation and core, widest"];
    for (name, nanoseconds) in names.iter().zip(best) {
        println!("{name:28} {nanoseconds:6.1} ns a frame, {:6.1} million frames/s", 1e3 / nanoseconds);
    }
    Ok(())
}
