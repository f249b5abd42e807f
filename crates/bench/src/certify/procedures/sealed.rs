//! What the meter has sealed: old memory, forks and cuts are noticed, and a statement can be checked by whoever pays.

use meterseal_link::Value;
use meterseal_model::{EventCode, Obis, Role};
use meterseal_seal::evidence::{Fingerprint, Origin, Statement, Trust, printed_fingerprint};
use meterseal_seal::log::proof::Levels;
use meterseal_seal::log::{Body, Leaf};
use meterseal_world::physics::LoadPoint;

use super::callers::{act, entries, must};
use super::logs::events;
use super::witness::{Witness, Word, hash_of};
use crate::catalogue::Requirement;
use crate::certify::{Bench, Limit, Measured, Procedure, Trouble};

const SCRIPT_TABLE: u16 = 9;

/// A log that was rolled back, forked or cut off is noticed (TMP-12).
pub(super) struct LogRollback;

impl Procedure for LogRollback {
    fn name(&self) -> &'static str {
        "log-rollback"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let memory = bench.target().memory().ok_or(Trouble::Lacks("access to the meter's memory"))?;
        let verdict = |what: &str, word: &Word, accepted: f64| {
            let is = f64::from(u8::from(*word == Word::Grown));
            Measured::count(format!("{what}: accepted by the witness"), is, Limit::exactly(accepted))
        };
        events(bench, 6)?;
        let Some(mut witness) = Witness::pin(bench)? else {
            return Ok(vec![Measured::count("keys that sign the log", 0.0, Limit::exactly(1.0))]);
        };
        let mut measured = Vec::new();
        bench.step("the witness takes the first checkpoint and its leaves");
        let word = witness.look(bench, Role::Reader)?;
        measured.push(verdict("a new log", &word, 1.0));
        if word != Word::Grown {
            bench.step(format!("{word:?}"));
            return Ok(measured);
        }
        off_and_on(bench, |_| ())?;
        let mut earlier = Vec::new();
        bench.target().supply(false)?;
        earlier.clone_from(&memory.bytes());
        bench.target().supply(true)?;
        events(bench, 6)?;
        bench.step("the log grows, over restarts");
        let word = witness.look(bench, Role::Reader)?;
        measured.push(verdict("a log that has grown", &word, 1.0));
        if word != Word::Grown {
            bench.step(format!("{word:?}"));
            return Ok(measured);
        }
        let end = bench.log_end()?;
        bench.step("the memory is put back to what it was before, and other things happen");
        let mut newest = Vec::new();
        off_and_on(bench, |_| {
            let mut bytes = memory.bytes();
            newest.clone_from(&bytes);
            bytes.copy_from_slice(&earlier);
        })?;
        // As somebody whom the meter has not met: to all others its counters say already that something is wrong.
        let word = witness.look(bench, Role::Bench)?;
        bench.step(format!("the witness: {word:?}"));
        measured.push(verdict("memory put back", &word, 0.0));
        // Longer than what is known: only what it says can give it away.
        events(bench, 16)?;
        let word = witness.look(bench, Role::Bench)?;
        bench.step(format!("the witness of the fork: {word:?}"));
        measured.push(verdict("a fork that is longer", &word, 0.0));
        bench.step("the tail of the security log is wiped from the true memory");
        let layout = meterseal_meter::Layout::STANDARD;
        let sector = meterseal_meter::SECTOR_BYTES as usize;
        let from = (1 + layout.state_sectors + layout.register_sectors) as usize * sector;
        off_and_on(bench, |_| {
            let mut bytes = memory.bytes();
            bytes.copy_from_slice(&newest);
            bytes[from..from + layout.log_sectors as usize * sector].fill(0xFF);
        })?;
        let shown = bench.log_after(0)?;
        let missing = (1..=end).filter(|number| !shown.iter().any(|entry| entry.sequence == *number)).count();
        let noticed = entries(bench, 0, EventCode::StorageError)? > 0;
        let word = witness.look(bench, Role::Utility)?;
        bench.step(format!(
            "{missing} entries are missing; logged by the meter: {noticed}; the witness: {word:?}"
        ));
        // The leaves are given as hashes alone: what they said cannot be had any more, and the witness has it.
        let found = noticed || word != Word::Grown || missing > 0;
        measured.push(Measured::count(
            "a tail cut off: noticed",
            f64::from(u8::from(found)),
            Limit::exactly(1.0),
        ));
        Ok(measured)
    }
}

/// A restart, with something done to it while it is off.
fn off_and_on(bench: &mut Bench<'_>, act: impl FnOnce(&mut Bench<'_>)) -> Result<(), Trouble> {
    bench.target().supply(false)?;
    bench.pass(1.0)?;
    act(bench);
    bench.target().supply(true)?;
    bench.pass(2.0)
}

/// Whoever pays can check a statement (BIL-05).
pub(super) struct BilledStatement;

impl BilledStatement {
    fn reading(bench: &mut Bench<'_>) -> Result<bool, Trouble> {
        let mut utility = must(bench, Role::Utility)?;
        let asked = act(bench, &mut utility, (SCRIPT_TABLE, Obis::READING_SCRIPTS, 1), Some(Value::U16(1)))?;
        utility.close(bench.target())?;
        bench.pass(3.0)?;
        Ok(asked.is_ok())
    }
}

impl Procedure for BilledStatement {
    fn name(&self) -> &'static str {
        "statement"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let Some(mut witness) = Witness::pin(bench)? else {
            return Ok(vec![Measured::count("keys that sign the log", 0.0, Limit::exactly(1.0))]);
        };
        let r = bench.ratings();
        bench.step("a signed reading, an hour of load, another signed reading");
        bench.pass(10.0)?;
        let mut asked = Self::reading(bench)?;
        let joules = bench.target().joules()?;
        bench.target().load(&LoadPoint::unbalanced(
            r.hertz,
            [r.volts; 3],
            [0.4 * r.maximum_amperes; 3],
            20.0,
        ))?;
        bench.pass(if bench.effort().is_reduced() { 300.0 } else { 3600.0 })?;
        bench.target().load(&LoadPoint::unbalanced(r.hertz, [r.volts; 3], [0.0; 3], 0.0))?;
        bench.pass(4.0)?;
        asked &= Self::reading(bench)?;
        let flowed = (bench.target().joules()? - joules) / 3600.0;
        let word = witness.look(bench, Role::Utility)?;
        let mut measured = vec![
            Measured::count("readings taken when asked for", f64::from(u8::from(asked)), Limit::exactly(1.0)),
            Measured::count(
                "the log as signed is the log as given",
                f64::from(u8::from(word == Word::Grown)),
                Limit::exactly(1.0),
            ),
        ];
        let Some((checkpoint, signed)) = witness.newest.clone() else { return Ok(measured) };
        let readings: Vec<Vec<u8>> = witness
            .leaves
            .iter()
            .filter(|leaf| Leaf::decode(leaf).is_ok_and(|leaf| matches!(leaf.body, Body::Reading(_))))
            .cloned()
            .collect();
        let two = readings[readings.len().saturating_sub(2)..].to_vec();
        let origin =
            Origin { meter: checkpoint.meter, log: witness.log, key: witness.key.clone(), chain: Vec::new() };
        let mut tree = Levels::new(witness.leaves.iter().map(|leaf| hash_of(leaf)).collect());
        let statement = match Statement::build(origin, signed, &two, None, &mut tree) {
            Ok(statement) => statement,
            Err(error) => {
                bench.step(format!("no statement can be made: {error}"));
                measured.push(Measured::count("statements made, of 1", 0.0, Limit::exactly(1.0)));
                return Ok(measured);
            }
        };
        bench.step("verified offline, with the fingerprint that would be printed on the meter");
        let trust = Trust {
            fingerprint: printed_fingerprint(&witness.key).parse::<Fingerprint>().ok(),
            ..Trust::default()
        };
        let bytes = statement.encode();
        let verified = Statement::decode(&bytes).map(|statement| statement.verify(&trust));
        let quantities = verified.as_ref().ok().and_then(|verified| verified.quantities());
        measured.push(Measured::count(
            "statements that verify, of 1",
            f64::from(u8::from(quantities.is_some())),
            Limit::exactly(1.0),
        ));
        let stated = quantities
            .iter()
            .flatten()
            .find(|quantity| quantity.obis == Obis::ACTIVE_ENERGY_IMPORT)
            .map_or(f64::NAN, |quantity| quantity.metered() as f64 / 1000.0);
        measured.push(Measured::new(
            "energy stated against the reference standard's",
            (stated / flowed - 1.0) * 100.0,
            "%",
            Limit::within(1.0),
            0.001,
        ));
        bench.step(format!("each of its {} bytes altered by a bit", bytes.len()));
        let step = if bench.effort().is_reduced() { 5 } else { 1 };
        let (mut tried, mut believed) = (0, 0);
        for place in (0..bytes.len()).step_by(step) {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << (bench.random() % 8);
            tried += 1;
            if Statement::decode(&altered)
                .is_ok_and(|statement| statement.verify(&trust).quantities().is_some())
            {
                bench.step(format!("byte {place}: it verifies"));
                believed += 1;
            }
        }
        measured.push(Measured::count(
            format!("altered statements that verify, of {tried}"),
            f64::from(believed),
            Limit::exactly(0.0),
        ));
        Ok(measured)
    }
}
