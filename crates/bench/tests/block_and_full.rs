//! A block with calculated noise stands for the whole measurement: 20 units, every frame with its noise, agree within 0.005 %.

use meterseal_bench::accuracy::BLOCK_PERCENT;
use meterseal_bench::calibration::{Procedure, calibrate};
use meterseal_bench::instrument::Instrument;
use meterseal_bench::rig::{Rig, power_noise};
use meterseal_world::physics::{Effects, LoadPoint, Sensor, Tolerances, Unit};

#[test]
fn twenty_units_at_full_length_agree_with_their_blocks() {
    let loads = [
        LoadPoint::balanced(50.0, 230.0, 5.0, 0.0),
        LoadPoint::balanced(50.0, 230.0, 0.25, 60.0),
        LoadPoint::balanced(51.0, 230.0, 100.0, -36.87),
        LoadPoint::balanced(50.0, 230.0, 50.0, 0.0).with_harmonic(5, 0.1, 0.4),
        LoadPoint::bursts(50.0, 230.0, 5.0),
        // Imax/5000: what the dynamic range is told from.
        LoadPoint::balanced(50.0, 230.0, 0.02, 0.0),
    ];
    let mut scores = Vec::new();
    for seed in 1000..1020 {
        let sensor = if seed % 2 == 0 { Sensor::Transformer } else { Sensor::Shunt };
        let unit = Unit::draw(seed, sensor, &Tolerances::REFERENCE, Effects::ALL);
        let instrument = Instrument::draw(seed);
        let record = calibrate(&unit, *b"MSV0000001000\0\0\0", &instrument, &Procedure::default(), seed)
            .unwrap()
            .record;
        let mut rig = Rig::new(unit, Some(record), seed);
        let load = &loads[seed as usize % loads.len()];
        rig.unit.settle(-40.0 + 6.0 * (seed - 1000) as f64, load);
        // What is left is the full measurement's own noise.
        let block = rig.quiet_block(load).unwrap().total_watts();
        let seconds = 30.0;
        let full = rig.full(load, seconds).unwrap().total_watts();
        let difference = (full / block - 1.0) * 100.0;
        let noise =
            (0..3).map(|phase| power_noise(&rig.unit, load, phase, seconds).powi(2)).sum::<f64>().sqrt();
        let noise_percent = noise / block.abs() * 100.0;
        // Three deviations of the noise that a full measurement really has come on top.
        let allowed = BLOCK_PERCENT + 3.0 * noise_percent;
        assert!(difference.abs() < allowed, "unit {seed}: {difference} % of {allowed} %, {load:?}");
        // At small and middle currents noise is most of the difference.
        if load.current[0].iter().all(|tone| tone.quarter_order == 4 && tone.rms < 6.0) {
            scores.push(difference / noise_percent);
        }
    }
    // And the noise that is calculated is the noise that there is: within a factor of 2.5.
    let deviation = (scores.iter().map(|score| score * score).sum::<f64>() / scores.len() as f64).sqrt();
    assert!((0.4..2.5).contains(&deviation), "{deviation}: {scores:?}");
}
