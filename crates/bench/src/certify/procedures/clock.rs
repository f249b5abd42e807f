//! The clock: what is set by more than ten seconds is logged before and after, and reported (DLM-08).

use meterseal_link::Value;
use meterseal_link::client::CosemDateTime;
use meterseal_model::{EventCode, Obis, Role, UnixMillis};

use super::callers::{must, set};
use super::rights::time;
use crate::catalogue::Requirement;
use crate::certify::{Bench, Limit, Measured, Procedure, Trouble};

/// See the module.
pub(super) struct Clock;

impl Procedure for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn run(&self, bench: &mut Bench<'_>, _: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let clock = bench.profile().obis(Obis::CLOCK);
        let codes = [EventCode::ClockBefore, EventCode::ClockAfter].map(|code| bench.profile().event(code));
        let mut measured = Vec::new();
        for seconds in [9i64, -9, 11, -11] {
            bench.step(format!("the utility sets the clock by {seconds} s"));
            let before = bench.log_end()?;
            bench.target().alarms()?;
            let (shown, asked) = (time(bench)?, bench.target().seconds());
            let wanted = UnixMillis(shown.0 + seconds * 1000);
            let wanted = CosemDateTime::from_unix(wanted)
                .ok_or_else(|| Trouble::Meter("its year is none".to_owned()))?;
            let mut utility = must(bench, Role::Utility)?;
            let done = set(bench, &mut utility, (8, clock, 2), Value::Bytes(wanted.0.to_vec()))?;
            utility.close(bench.target())?;
            done.map_err(|why| Trouble::Meter(format!("it does not let the utility set its clock: {why}")))?;
            bench.pass(3.0)?;
            // The standing connection comes back, and what was logged meanwhile is reported over it.
            let now = time(bench)?;
            let passed = (bench.target().seconds() - asked) * 1000.0;
            measured.push(Measured::new(
                format!("change by {seconds} s: what it came to"),
                ((now.0 - shown.0) as f64 - passed) / 1000.0 - seconds as f64,
                "s",
                Limit::within(1.0),
                0.02,
            ));
            if seconds.abs() < 10 {
                continue;
            }
            bench.pass(3.0)?;
            let alarms = bench.target().alarms()?;
            let log = bench.log_after(before)?;
            for (code, what, expected) in
                [(codes[0], "before", shown), (codes[1], "after", UnixMillis(shown.0 + seconds * 1000))]
            {
                let found: Vec<_> = log.iter().filter(|entry| entry.code == code).collect();
                measured.push(Measured::count(
                    format!("change by {seconds} s: entries {what} it"),
                    found.len() as f64,
                    Limit::exactly(1.0),
                ));
                let off = found.first().map_or(f64::NAN, |entry| (entry.time.0 - expected.0) as f64 / 1000.0);
                measured.push(Measured::new(
                    format!("change by {seconds} s: time of the entry {what} it"),
                    off,
                    "s",
                    Limit::within(2.0),
                    0.02,
                ));
            }
            let alarmed =
                alarms.iter().filter(|alarm| alarm.sequence > before && codes.contains(&alarm.code)).count();
            measured.push(Measured::count(
                format!("change by {seconds} s: alarms that the utility received"),
                alarmed as f64,
                Limit::at_least(1.0),
            ));
        }
        Ok(measured)
    }
}
