//! How long each requirement takes on the virtual bench: `cargo run --release -p meterseal-bench --example certify_speed [ID…]`, full with `FULL=1`.

use meterseal_bench::catalogue::Catalogue;
use meterseal_bench::certify::{
    Earlier, Effort, Finding, Made, Plan, Profile, Record, Verdict, VirtualLaboratory, procedures, run,
};
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let full = std::env::var_os("FULL").is_some();
    let catalogue = Catalogue::built_in()?;
    let (profile, seed) = (Profile::default(), 1);
    let effort = if full { Effort::FULL } else { Effort::REDUCED };
    let plan =
        Plan { catalogue: &catalogue, only: &only, profile: &profile, effort, seed, earlier: Earlier::new() };
    let laboratory = VirtualLaboratory::new(Made::new(seed)?, None, |meter| meter);
    let keep = |finding: &Finding, record: &Record| {
        println!(
            "{:<9} {:<25} {:>7} ms {:>6} messages",
            finding.id,
            finding.outcome.words(),
            record.took_ms,
            record.messages
        );
        for one in finding.measured.iter().filter(|one| one.verdict != Verdict::Accepted) {
            println!(
                "          {}: {} {} ± {} {:?}",
                one.what, one.value, one.unit, one.uncertainty, one.limit
            );
        }
        if let Some(why) = finding.outcome.why() {
            println!("          {why}");
        }
        Ok::<(), Infallible>(())
    };
    run(&plan, &procedures(), &laboratory, &|_| (), &keep, &AtomicBool::new(false))?;
    Ok(())
}
