//! One shift: consecutive hours of a soak on one thread.

use super::checkpoint::{Hour, Shift};
use super::{Error, Settings, load};
use crate::reference;
use crate::rig::millikelvin;
use meterseal_metrology::{Calibration, Config, Extras, Frame, Metrology, Nominal, Registers};
use meterseal_world::physics::{Chamber, SAMPLE_RATE_HZ, Unit};
use std::sync::atomic::{AtomicBool, Ordering};

/// Frames at a time: 28 kB, which stay in the cache.
const CHUNK: usize = 1000;
const JOULES_PER_WATT_HOUR: f64 = 3600.0;

/// Runs the hours from where `shift` is up to the end of its bounds; `after_hour` keeps its state.
pub(super) fn run(
    settings: &Settings,
    unit: &Unit,
    record: Calibration,
    mut shift: Shift,
    (from, to): (u32, u32),
    after_hour: &mut dyn FnMut(&Shift) -> Result<(), super::CheckpointError>,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let first = from + shift.hours.len() as u32;
    if first == to {
        return Ok(());
    }
    let chamber = Chamber::cycles(settings.lowest_celsius, settings.highest_celsius);
    let mut unit = unit.clone();
    unit.settle(chamber.celsius(0.0), &load::at(settings.seed, 0, 0, settings.seconds_per_hour));
    for hour in 0..first {
        for second in 0..settings.seconds_per_hour {
            pass(settings, &chamber, &mut unit, hour, second);
        }
    }
    let config = Config::new((SAMPLE_RATE_HZ * 1e6) as u64, Nominal::Hz50, Unit::scale());
    let registers = shift.registers()?;
    let kernel = meterseal_metrology_simd::fastest();
    let extras = Extras { calibration: Some(Ok(record)), kernel, ..Extras::default() };
    let mut core = Metrology::with_extras(config, extras, registers)?;
    let mut frames = vec![Frame::default(); CHUNK];
    let mut turns = warm_up(&mut unit, &mut core, &mut shift, &mut frames);
    for hour in first..to {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let before = *core.registers();
        let (mut joules, mut warmest) = (0.0, f64::NEG_INFINITY);
        for second in 0..settings.seconds_per_hour {
            let load = pass(settings, &chamber, &mut unit, hour, second);
            core.set_temperature(millikelvin(unit.thermometer_celsius()))?;
            warmest = warmest.max(unit.thermometer_celsius());
            let mut signal = unit.signal(&load, turns);
            let count = SAMPLE_RATE_HZ as usize;
            joules += reference::energy(&load, turns, count as f64 * signal.seconds_per_frame());
            for _ in 0..count / CHUNK {
                signal.fill(&mut frames);
                core.push(&frames, &mut |_| ());
            }
            turns = signal.turns();
            shift.frames += count as u64;
        }
        let grown = net(core.registers()) - net(&before);
        // Registers wrap at 18 GWh, which no soak reaches: one that is smaller than before has lost something.
        shift.kept &= grows(&before, core.registers());
        let watt_hours = grown * 1e-9;
        let reference_watt_hours = joules / JOULES_PER_WATT_HOUR;
        shift.hours.push(Hour {
            number: hour,
            error_percent: (watt_hours / reference_watt_hours - 1.0) * 100.0,
            watt_hours,
            reference_watt_hours,
            highest_celsius: warmest,
        });
        shift.store(core.registers());
        after_hour(&shift)?;
    }
    Ok(())
}

/// A core finds its supply before the first hour, in a second without a current: the state in which every hour ends. Gives the supply's phase.
fn warm_up(unit: &mut Unit, core: &mut Metrology, shift: &mut Shift, frames: &mut [Frame]) -> f64 {
    let before = net(core.registers());
    let mut signal = unit.signal(&load::still(), 0.0);
    for _ in 0..SAMPLE_RATE_HZ as usize / CHUNK {
        signal.fill(frames);
        core.push(frames, &mut |_| ());
    }
    shift.before_hours_watt_hours += (net(core.registers()) - before) * 1e-9;
    signal.turns()
}

/// A second of an hour goes by: its part of the hour in temperature and age.
fn pass(
    settings: &Settings,
    chamber: &Chamber,
    unit: &mut Unit,
    hour: u32,
    second: u32,
) -> meterseal_world::physics::LoadPoint {
    let load = load::at(settings.seed, hour, second, settings.seconds_per_hour);
    let step = 3600.0 / f64::from(settings.seconds_per_hour);
    let ambient = chamber.celsius(f64::from(hour) * 3600.0 + f64::from(second) * step);
    unit.pass(step, ambient, &load);
    load
}

fn net(registers: &Registers) -> f64 {
    // Below 2⁵³ nWh, 9 MWh, exact.
    registers.total_import_nanowatt_hours as f64 - registers.total_export_nanowatt_hours as f64
}

fn grows(before: &Registers, after: &Registers) -> bool {
    let all = |registers: &Registers| {
        let mut all = vec![
            registers.total_import_nanowatt_hours,
            registers.total_export_nanowatt_hours,
            registers.sum_of_phase_imports_nanowatt_hours,
            registers.apparent_nanovoltampere_hours,
        ];
        for phase in &registers.phases {
            all.extend([phase.import_nanowatt_hours, phase.export_nanowatt_hours]);
            all.extend(phase.reactive_quadrants_nanovar_hours);
        }
        all.extend(registers.reactive_quadrants_nanovar_hours);
        all
    };
    all(before).iter().zip(all(after)).all(|(before, after)| *before <= after)
}
