//! The engine with real procedures on virtual meters.

use super::*;
use crate::catalogue::Catalogue;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

fn certify(only: &[&str], seed: u64) -> Vec<Finding> {
    let catalogue = Catalogue::built_in().unwrap();
    let only: Vec<_> = only.iter().map(|id| (*id).to_owned()).collect();
    let profile = Profile::default();
    let plan = Plan {
        catalogue: &catalogue,
        only: &only,
        profile: &profile,
        effort: Effort::REDUCED,
        seed,
        earlier: BTreeMap::new(),
    };
    let laboratory = VirtualLaboratory::new(Made::new(seed).unwrap(), None, |meter| meter);
    let keep = |_: &Finding, _: &Record| Ok::<(), Infallible>(());
    let found = run(&plan, &procedures(), &laboratory, &|_| (), &keep, &AtomicBool::new(false)).unwrap();
    found.into_iter().map(|(finding, _)| finding).collect()
}

#[test]
fn a_sound_meter_passes_at_its_load_points_and_the_findings_repeat_to_the_bit() {
    let found = certify(&["ACC-02", "ACC-11"], 5);
    for finding in &found {
        assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
        assert!(finding.measured.iter().all(|one| one.bench_uncertainty <= 0.005), "{finding:#?}");
    }
    assert_eq!(found.len(), 2);
    assert_eq!(certify(&["ACC-11", "ACC-02"], 5), found);
}

#[test]
fn a_sound_meter_fails_nothing() {
    // What takes no longer than a second each; all of it is `cargo xtask mutants`' sound meter.
    let only = [
        "ACC-11", "ACC-19", "ACC-20", "INF-03", "INF-09", "INF-13", "INF-2", "TMP", "BIL", "CPA-STAB",
        "DEV-07",
    ];
    for finding in certify(&only, 3) {
        let sound = !matches!(finding.outcome, Outcome::Failed | Outcome::CouldNot(_));
        assert!(sound, "{finding:#?}");
    }
}
