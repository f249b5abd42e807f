//! Runs the bench on each mutant and on a sound meter, and says whether it saw what is wrong and nothing else.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use meterseal_bench::certify::{Effort, Made};
use meterseal_mutants::{Judged, Mutant, judge, mutants};

/// Runs the certification on deliberately defective meters
#[derive(Parser)]
struct Arguments {
    /// Only mutants whose name begins so; `sound`: the sound meters alone
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// Each mutant through all requirements, not only through those that it breaks
    #[arg(long)]
    all: bool,
    /// Each mutant through the requirements that begin so, in place of those that it breaks
    #[arg(long, value_name = "ID", conflicts_with = "all", value_delimiter = ',')]
    on: Vec<String>,
    /// Sound meters that must pass, each with a seed of its own
    #[arg(long, default_value_t = 1)]
    sound: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Test practice's full lengths
    #[arg(long)]
    full: bool,
    /// Print the list
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let effort = if arguments.full { Effort::FULL } else { Effort::REDUCED };
    let wanted = |name: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| name.starts_with(only.as_str()))
    };
    let mutants = mutants();
    if arguments.list {
        for mutant in &mutants {
            println!("{:<26} {} Breaks {}.", mutant.name, mutant.flaw, mutant.breaks.join(", "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let made = Made::new(arguments.seed)?;
    let mutants: Vec<&Mutant> = mutants.iter().filter(|mutant| wanted(mutant.name)).collect();
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let told = Mutex::new(());
    let tell = |name: &str, judged: &Judged, begun: Instant| {
        wrong.fetch_add(usize::from(!judged.is_right()), Ordering::Relaxed);
        // Whole entries, whoever is at it.
        let _whole = told.lock().unwrap_or_else(PoisonError::into_inner);
        show(name, judged, begun);
    };
    // Some mostly wait, for a limit of a minute to pass on a real connection: a few at a time.
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let only: Vec<String> = match arguments.all {
                        true => Vec::new(),
                        false if !arguments.on.is_empty() => arguments.on.clone(),
                        false => mutant.breaks.iter().map(|id| (*id).to_owned()).collect(),
                    };
                    let begun = Instant::now();
                    tell(mutant.name, &judge(Some(mutant), &made, &only, effort, arguments.seed), begun);
                }
            });
        }
    });
    if arguments.only.is_empty() || arguments.only.iter().any(|only| only == SOUND) {
        for seed in arguments.seed..arguments.seed + arguments.sound {
            let begun = Instant::now();
            let judged = judge(None, &Made::new(seed)?, &arguments.on, effort, seed);
            tell(&format!("sound, seed {seed}"), &judged, begun);
        }
    }
    let wrong = wrong.into_inner();
    println!("{} mutants, {wrong} wrong", mutants.len());
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The name that means those with no flaw.
const SOUND: &str = "sound";
/// So many mutants are judged at a time.
const AT_ONCE: usize = 4;

fn show(name: &str, judged: &Judged, begun: Instant) {
    let verdict = if judged.is_right() { "right" } else { "WRONG" };
    let failed = judged.failed.join(" ");
    println!("{name:<26} {verdict}  fails {failed:<20} {:>5.1} s", begun.elapsed().as_secs_f64());
    if !judged.unseen.is_empty() {
        println!("    not seen: {}", judged.unseen.join(", "));
    }
    if !judged.beside.is_empty() {
        println!("    beside the flaw: {}", judged.beside.join(", "));
    }
}
