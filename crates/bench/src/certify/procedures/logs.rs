//! The logs: those who may read them do, nobody clears the security log, and clearing the event log is an entry of it.

use meterseal_link::Value;
use meterseal_model::{EventCode, Obis, Role};

use super::callers::{Answer, act, answer, entries, local, must, set};
use crate::catalogue::Requirement;
use crate::certify::{Bench, Entry, Limit, Measured, Procedure, Stimulus, Trouble};

const PROFILE_GENERIC: u16 = 7;
const DATA: u16 = 1;

/// Opens and closes covers: so many events.
pub(super) fn events(bench: &mut Bench<'_>, count: u32) -> Result<(), Trouble> {
    for number in 0..count {
        let cover = if number % 4 < 2 { Stimulus::Cover } else { Stimulus::TerminalCover };
        bench.target().stimulate(cover(number % 2 == 0))?;
        bench.pass(2.0)?;
    }
    Ok(())
}

/// The logs can be read by those who may (DEP-01).
pub(super) struct AuditLog;

impl Procedure for AuditLog {
    fn name(&self) -> &'static str {
        "audit-log"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        events(bench, 12)?;
        let whole = bench.log_after(0)?;
        let held = whole.len() as u32;
        let (first, last) =
            (whole.first().map_or(0, |entry| entry.sequence), whole.last().map_or(0, |entry| entry.sequence));
        let mut measured = vec![
            Measured::count("entries of the security log", f64::from(held), Limit::at_least(12.0)),
            Measured::count(
                "numbers that are missing between the first and the last",
                (last + 1 - first) as f64 - f64::from(held),
                Limit::exactly(0.0),
            ),
        ];
        let log = bench.profile().obis(Obis::SECURITY_LOG);
        for role in [Role::Reader, Role::Utility, Role::Bench] {
            bench.step(format!(
                "the {role} reads the security log in pieces, by place and by number, and the event log"
            ));
            let mut speaker = must(bench, role)?;
            let (mut by_place, mut by_number) = (Vec::new(), Vec::new());
            let mut at = 1;
            while at <= held {
                let to = (at + (bench.random() % 7) as u32).min(held);
                let rows = speaker
                    .ask(bench.target(), async |client| client.profile_by_entry(log, at, to, 8).await)?;
                by_place.extend(rows.unwrap_or_default());
                let (from, until) =
                    (Value::U64(first + u64::from(at - 1)), Value::U64(first + u64::from(to - 1)));
                let column = (DATA, Obis::ROW_SEQUENCE, 2);
                let rows = speaker.ask(bench.target(), async |client| {
                    client.profile_by_range(log, column, from, until, 8).await
                })?;
                by_number.extend(rows.unwrap_or_default());
                at = to + 1;
            }
            let events = speaker.ask(bench.target(), async |client| {
                let count = client.get(PROFILE_GENERIC, Obis::EVENT_LOG, 7).await?;
                let rows = client.profile_by_entry(Obis::EVENT_LOG, 1, 0, 1_000).await?;
                Ok((count.as_u64(), rows.len() as u64))
            })?;
            speaker.close(bench.target())?;
            // The utility's own associations log nothing, so the log is as it was.
            for (way, rows) in [("by place", by_place), ("by number", by_number)] {
                let same =
                    rows.len() == whole.len() && rows.iter().zip(&whole).all(|(row, entry)| is(row, entry));
                measured.push(Measured::count(
                    format!("{role}: the log read {way} is the whole log"),
                    f64::from(u8::from(same)),
                    Limit::exactly(1.0),
                ));
            }
            let whole = events.is_ok_and(|(count, rows)| count == Some(rows));
            measured.push(Measured::count(
                format!("{role}: the event log is read as it says it is"),
                f64::from(u8::from(whole)),
                Limit::exactly(1.0),
            ));
        }
        Ok(measured)
    }
}

fn is(row: &[Value], entry: &Entry) -> bool {
    let [time, sequence, code, extreme, ..] = row else { return false };
    (time.as_time(), sequence.as_u64(), code.as_u64(), extreme.as_i64())
        == (Some(entry.time), Some(entry.sequence), Some(entry.code.into()), Some(entry.extreme))
}

/// Nobody clears the security log, and clearing the event log is an entry of it (TMP-11).
pub(super) struct LogClear;

impl Procedure for LogClear {
    fn name(&self) -> &'static str {
        "log-clear"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let log = bench.profile().obis(Obis::SECURITY_LOG);
        let answers = bench.target().get(&[(PROFILE_GENERIC, log, 8)])?;
        let room = answers.first().and_then(|one| one.as_ref().ok()).and_then(Value::as_u64).unwrap_or(0);
        events(bench, 8)?;
        let before = bench.log_after(0)?;
        let mut measured =
            vec![Measured::count("entries that it has room for", room as f64, Limit::at_least(100.0))];
        let (mut done, mut lost) = (0, 0usize);
        for role in Role::ALL {
            bench.step(format!("the {role} invokes each method of the security log and sets each attribute"));
            let Ok(mut speaker) = local(bench, role)? else { continue };
            for method in 0..=3 {
                let outcome = act(bench, &mut speaker, (PROFILE_GENERIC, log, method), Some(Value::I8(0)))?;
                done += u32::from(outcome.is_ok());
            }
            for (attribute, value) in [
                (2, Value::Array(Vec::new())),
                (3, Value::Array(Vec::new())),
                (4, Value::U32(0)),
                (7, Value::U32(0)),
                (8, Value::U32(1)),
            ] {
                let outcome = set(bench, &mut speaker, (PROFILE_GENERIC, log, attribute), value)?;
                done += u32::from(answer(&outcome) == Answer::Taken);
            }
            speaker.close(bench.target())?;
            let now = bench.log_after(0)?;
            let missing = before.iter().filter(|entry| !now.contains(entry)).count();
            if missing > 0 {
                bench.step(format!("{missing} entries are gone"));
            }
            lost = lost.max(missing);
        }
        measured.push(Measured::count(
            "attempts that were not refused",
            f64::from(done),
            Limit::exactly(0.0),
        ));
        measured.push(Measured::count("entries lost", lost as f64, Limit::exactly(0.0)));
        if lost > 0 {
            return Ok(measured);
        }
        let end = bench.log_end()?;
        let mut others = 0;
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Utility) {
            bench.step(format!("the {role} clears the event log"));
            let Ok(mut speaker) = local(bench, role)? else { continue };
            let outcome =
                act(bench, &mut speaker, (PROFILE_GENERIC, Obis::EVENT_LOG, 1), Some(Value::I8(0)))?;
            others += u32::from(outcome.is_ok());
            speaker.close(bench.target())?;
        }
        measured.push(Measured::count(
            "event log cleared by others than the utility",
            f64::from(others),
            Limit::exactly(0.0),
        ));
        bench.step("the utility clears the event log");
        let mut utility = must(bench, Role::Utility)?;
        let cleared =
            act(bench, &mut utility, (PROFILE_GENERIC, Obis::EVENT_LOG, 1), Some(Value::I8(0)))?.is_ok();
        utility.close(bench.target())?;
        let logged = entries(bench, end, EventCode::EventLogCleared)?;
        measured.push(Measured::count(
            "entries in the security log that the event log was cleared",
            logged as f64,
            Limit::exactly(f64::from(u8::from(cleared))),
        ));
        Ok(measured)
    }
}
