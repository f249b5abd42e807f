//! Frames per second of the billing path (3 V + 4 I) on one core, all variants by turns on the same waveform: the median of several runs each.
//!
//! `throughput [RATE]` prints a table; `throughput count VARIANT RATE CYCLES` runs one variant so many cycles and nothing else, for a tool that counts its
//! instructions: two such runs differ by nothing but cycles. `throughput variants RATE` names what can run at a rate.

mod variant;
mod waveform;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::variant::Variant;
use crate::waveform::Waveform;

const RATES: [u32; 3] = [1_000, 8_000, 100_000];
/// Runs of each variant, by turns with the others.
const RUNS: usize = 9;
/// How long a run is, in frames: tens of milliseconds.
const FRAMES: usize = 4_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let known = match arguments[..] {
        [] => {
            RATES.into_iter().for_each(table);
            Some(())
        }
        [rate] => rate.parse().ok().filter(|rate| RATES.contains(rate)).map(table),
        ["variants", rate] => rate.parse().ok().map(|rate| {
            Variant::at(rate).iter().for_each(|variant| println!("{}", variant.name()));
        }),
        ["count", name, rate, cycles] => count(name, rate, cycles),
        _ => None,
    };
    if known.is_none() {
        eprintln!("throughput [RATE | variants RATE | count VARIANT RATE CYCLES]; rates are {RATES:?}");
        std::process::exit(2);
    }
}

/// Runs one variant; what else the process does is the same for any number of cycles.
fn count(name: &str, rate: &str, cycles: &str) -> Option<()> {
    let rate = rate.parse().ok().filter(|rate| RATES.contains(rate))?;
    let variant = Variant::at(rate).into_iter().find(|variant| variant.name() == name)?;
    let mut run = variant.start(rate)?;
    run(&Waveform::new(rate), cycles.parse().ok()?);
    Some(())
}

fn table(rate: u32) {
    let waveform = Waveform::new(rate);
    let variants = Variant::at(rate);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
    for _ in 0..RUNS {
        for (variant, times) in variants.iter().zip(&mut times) {
            let Some(mut run) = variant.start(rate) else { continue };
            let cycles = variant.share(FRAMES) / waveform.cycle();
            let start = processor_time();
            run(&waveform, cycles);
            let seconds = (processor_time() - start).as_secs_f64();
            times.push(seconds / (cycles * waveform.cycle()) as f64);
        }
    }
    for (variant, mut times) in variants.into_iter().zip(times) {
        if times.is_empty() {
            println!("{rate} | {} | not on this processor | ", variant.name());
            continue;
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{rate} | {} | {:.2e} | {:.2e}",
            variant.name(),
            1.0 / times[times.len() / 2],
            1.0 / times[0]
        );
    }
}

/// What this thread has had of a processor: on a shared machine the rest of the time belongs to others.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
