//! The load profile when link or head-end fail.

use meterseal_link::Value;
use meterseal_model::{Obis, Role};
use meterseal_world::physics::LoadPoint;

use super::callers::{Forger, get_request, must, set};
use crate::catalogue::Requirement;
use crate::certify::{Bench, Called, Caller, Limit, Measured, Procedure, Trouble};

const PROFILE_GENERIC: u16 = 7;
const DATA: u16 = 1;

/// No interval is lost or doubled when link or head-end fail (BIL-04).
pub(super) struct GapRepair;

impl Procedure for GapRepair {
    fn name(&self) -> &'static str {
        "gap-repair"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let minutes = if bench.effort().is_reduced() { 65 } else { 365 };
        let profile = bench.profile().obis(Obis::LOAD_PROFILE);
        let period = bench.target().get(&[(PROFILE_GENERIC, profile, 4)])?;
        let period = period.first().and_then(|one| one.as_ref().ok()).and_then(Value::as_u64);
        let period = period.filter(|seconds| *seconds > 0);
        let period =
            period.ok_or_else(|| Trouble::Meter("it shows no period of its load profile".to_owned()))?;
        bench.step(format!("no connection for {minutes} minutes, under loads that change"));
        // The utility's call ends the standing connection, and nobody makes it anew meanwhile.
        if let Called::Open(call) = bench.target().call(Caller::local(Role::Utility))? {
            bench.target().hang_up(call)?;
        }
        let r = bench.ratings();
        for _ in 0..minutes {
            let mut amperes = [0.0; 3];
            amperes.fill_with(|| 0.2 + 0.3 * r.maximum_amperes * bench.uniform());
            bench.target().load(&LoadPoint::unbalanced(r.hertz, [r.volts; 3], amperes, 20.0))?;
            bench.pass(60.0)?;
        }
        bench.step("the head-end reads what it lacks, and is killed at random between");
        let in_use = bench.target().get(&[(PROFILE_GENERIC, profile, 7)])?;
        let in_use =
            in_use.first().and_then(|one| one.as_ref().ok()).and_then(Value::as_u64).unwrap_or(0) as u32;
        let mut rows: Vec<(u64, i64, u64)> = Vec::new();
        let (mut kills, mut kill) = (0, false);
        while (rows.len() as u32) < in_use {
            let first = rows.len() as u32 + 1;
            let last = (first + (bench.random() % 4) as u32).min(in_use);
            let mut speaker = must(bench, Role::Utility)?;
            kill = !kill;
            if kill {
                // It has asked, and does not live to hear the answer.
                let mut forger = Forger::of(bench, &speaker)?;
                let frame = forger.request(bench, &get_request((PROFILE_GENERIC, profile, 3)));
                bench.target().send(speaker.call(), &frame)?;
                speaker.drop_call(bench.target())?;
                kills += 1;
                continue;
            }
            let read = speaker
                .ask(bench.target(), async |client| client.profile_by_entry(profile, first, last, 4).await)?;
            let read =
                read.map_err(|why| Trouble::Meter(format!("its load profile cannot be read: {why}")))?;
            let stored = read.iter().filter_map(|row| {
                let [time, sequence, _, import, ..] = row.as_slice() else { return None };
                Some((sequence.as_u64()?, time.as_time()?.0, import.as_u64()?))
            });
            let before = rows.len();
            rows.extend(stored);
            if rows.len() == before {
                return Err(Trouble::Meter(
                    "rows of its load profile are not time, number, status, energy".to_owned(),
                ));
            }
            let newest = rows.last().map_or(0, |row| row.0);
            // What is stored is acknowledged, as a head-end does.
            let _ = set(bench, &mut speaker, (DATA, Obis::COMMITTED_LOAD_PROFILE, 2), Value::U64(newest))?;
            speaker.close(bench.target())?;
        }
        let pairs = || rows.windows(2).map(|pair| (pair[0], pair[1]));
        let holes: u64 = pairs().map(|(a, b)| b.0.saturating_sub(a.0 + 1)).sum();
        let doubles = pairs().filter(|(a, b)| b.0 <= a.0 || b.1 <= a.1).count();
        let uneven = pairs().filter(|(a, b)| (b.1 - a.1) as u64 != period * 1000).count();
        let back = pairs().filter(|(a, b)| b.2 < a.2).count();
        let least = (minutes * 60 / period as i64 - 1).max(1) as f64;
        let exactly = |what: &str, value: f64| Measured::count(what, value, Limit::exactly(0.0));
        Ok(vec![
            Measured::count("rows read", rows.len() as f64, Limit::at_least(least)),
            Measured::count("times that the head-end was killed", f64::from(kills), Limit::at_least(1.0)),
            exactly("rows missing", holes as f64),
            exactly("rows doubled", doubles as f64),
            exactly("intervals of another length", uneven as f64),
            exactly("registers that went back", back as f64),
        ])
    }
}
