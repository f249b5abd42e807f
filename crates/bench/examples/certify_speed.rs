//! How long each requirement takes on the virtual bench: `cargo run --release -p meterseal-bench --example certify_speed [ID…]`. `FULL=1` for full
//! lengths; `OUT=DIR` writes the reports there.

use meterseal_bench::catalogue::Catalogue;
use meterseal_bench::certify::{
    Effort, Made, Profile, Settings, Verdict, VirtualLaboratory, about, certify, evidence,
};
use std::sync::atomic::AtomicBool;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let catalogue = Catalogue::built_in()?;
    let full = std::env::var_os("FULL").is_some();
    let settings = Settings {
        target: "virtual".to_owned(),
        simulated: true,
        profile: Profile::default(),
        effort: if full { Effort::FULL } else { Effort::REDUCED },
        seed: 1,
        only: std::env::args().skip(1).collect(),
        instruments: vec!["virtual source and reference".to_owned()],
        manual: meterseal_bench::certify::manual::Manual::default(),
    };
    let laboratory = VirtualLaboratory::new(Made::new(settings.seed)?, None, |meter| meter);
    let who = about(&settings, &laboratory)?;
    let done = certify(&settings, who, &catalogue, &laboratory, None, &|_| (), &AtomicBool::new(false))?;
    for (finding, (_, record)) in done.results.findings.iter().zip(&done.records) {
        let (took, messages) = (record.took_ms, record.messages);
        println!("{:<9} {:<25} {took:>7} ms {messages:>6} messages", finding.id, finding.outcome.words());
        for one in finding.measured.iter().filter(|one| one.verdict != Verdict::Accepted) {
            println!("          {}: {} {} ± {}", one.what, one.value, one.unit, one.uncertainty);
        }
        if let Some(why) = finding.outcome.why() {
            println!("          {why}");
        }
    }
    if let Some(folder) = std::env::var_os("OUT").map(std::path::PathBuf::from) {
        std::fs::write(folder.join("report.html"), evidence::html(&done.results, None))?;
        std::fs::write(folder.join("report.pdf"), evidence::pdf(&done.results, None).unwrap_or_default())?;
    }
    Ok(())
}
