//! How many frames a second the physical model makes on one core.

use meterseal_metrology::Frame;
use meterseal_world::physics::{Effects, LoadPoint, Sensor, Tolerances, Unit};
use std::time::Instant;

fn main() {
    let loads = [
        ("fundamental only", LoadPoint::balanced(50.0, 230.0, 5.0, 30.0)),
        ("with the 5th", LoadPoint::balanced(50.0, 230.0, 5.0, 30.0).with_harmonic(5, 0.1, 0.4)),
        ("phase-fired", LoadPoint::phase_fired(50.0, 230.0, 5.0, 90.0)),
        ("bursts", LoadPoint::bursts(50.0, 230.0, 5.0)),
    ];
    let mut frames = vec![Frame::default(); 8000];
    for (name, load) in loads {
        let mut unit = Unit::draw(1, Sensor::Transformer, &Tolerances::REFERENCE, Effects::ALL);
        let mut signal = unit.signal(&load, 0.0);
        signal.fill(&mut frames);
        let start = Instant::now();
        let mut made = 0;
        while start.elapsed().as_secs_f64() < 1.0 {
            signal.fill(&mut frames);
            made += frames.len();
        }
        println!("{name:20} {:.1} million frames/s", made as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
}
