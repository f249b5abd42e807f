//! The network side of the certification on the virtual bench: a sound meter passes what the bench has for encryption and identities, twice with
//! the same results, whatever the network's timing was.
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

use meterseal_bench::catalogue::Catalogue;
use meterseal_bench::certify::{
    Earlier, Effort, Finding, Made, Outcome, Plan, Profile, Record, VirtualLaboratory, procedures, run,
};

const REQUIREMENTS: [&str; 11] = [
    "ENC-01", "ENC-02", "ENC-03", "ENC-04", "ENC-05", "MUT-01", "MUT-02", "MUT-03", "MUT-04", "MUT-06",
    "MUT-08",
];

fn certify(only: &[String], places: usize) -> Vec<(Finding, Record)> {
    let catalogue = Catalogue::built_in().unwrap();
    let profile = Profile::default();
    let plan = Plan {
        catalogue: &catalogue,
        only,
        profile: &profile,
        effort: Effort::REDUCED,
        seed: 7,
        earlier: Earlier::new(),
    };
    let laboratory = VirtualLaboratory::new(Made::new(7).unwrap(), None, |meter| meter).with_places(places);
    let keep = |_: &Finding, _: &Record| Ok::<(), Infallible>(());
    run(&plan, &procedures(), &laboratory, &|_| (), &keep, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_sound_meter_passes_and_its_results_repeat() {
    let only = REQUIREMENTS.map(str::to_owned);
    let first = certify(&only, 2);
    for (finding, record) in &first {
        println!("{} {:?} {} ms, {} messages", finding.id, finding.outcome, record.took_ms, record.messages);
        for step in &finding.steps {
            println!("    {}", step.what);
        }
    }
    for (finding, record) in &first {
        assert_eq!(finding.outcome, Outcome::Passed, "{}: {:#?}", finding.id, finding.steps);
        assert!(record.messages > 4, "{}: what went over the wire is kept", finding.id);
    }
    let again = certify(&only, 3);
    let findings =
        |all: &[(Finding, Record)]| all.iter().map(|(finding, _)| finding.clone()).collect::<Vec<_>>();
    assert_eq!(findings(&first), findings(&again));
}
