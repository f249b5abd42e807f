//! Meters that lose, hide or do not report what they recorded.

use meterseal_bench::certify::{Line, Specimen, Trouble, VirtualMeter};
use meterseal_meter::{Layout, SECTOR_BYTES};

use crate::{Defective, Flaw, Kind, Mutant};

/// Its pushes do not go out.
struct Silent;

impl Flaw for Silent {
    fn receive(&mut self, meter: &mut VirtualMeter, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        // After the wrapper's header, a push begins with the tag of general-glo-ciphering.
        while let Some(frame) = meter.receive(line)? {
            if frame.get(8) != Some(&0xDB) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

/// Its pushes go out two seconds late.
#[derive(Default)]
struct Late(Vec<(f64, Vec<u8>)>);

impl Flaw for Late {
    fn receive(&mut self, meter: &mut VirtualMeter, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        while let Some(frame) = meter.receive(line)? {
            if frame.get(8) != Some(&0xDB) {
                return Ok(Some(frame));
            }
            self.0.push((meter.seconds() + 1.2, frame));
        }
        let due = self.0.first().is_some_and(|(at, _)| *at <= meter.seconds());
        Ok(due.then(|| self.0.remove(0).1))
    }
}

/// At a start its security log is empty.
struct Forgets;

impl Flaw for Forgets {
    fn supply(&mut self, meter: &mut VirtualMeter, on: bool) -> Result<(), Trouble> {
        if on {
            let layout = Layout::STANDARD;
            let from = (1 + layout.state_sectors + layout.register_sectors) as usize * SECTOR_BYTES as usize;
            let length = layout.log_sectors as usize * SECTOR_BYTES as usize;
            meter.memory().bytes()[from..from + length].fill(0xFF);
        }
        meter.supply(on)
    }
}

/// What it keeps is as old as half a minute.
#[derive(Default)]
struct Stale {
    kept: Option<(f64, Vec<u8>)>,
}

impl Flaw for Stale {
    fn pass(&mut self, meter: &mut VirtualMeter, seconds: f64) -> Result<(), Trouble> {
        let now = meter.seconds();
        if self.kept.as_ref().is_none_or(|(at, _)| now - at > 30.0) {
            let bytes = meter.memory().bytes().clone();
            self.kept = Some((now, bytes));
        }
        meter.pass(seconds)
    }

    fn supply(&mut self, meter: &mut VirtualMeter, on: bool) -> Result<(), Trouble> {
        if on && let Some((_, bytes)) = &self.kept {
            meter.memory().bytes().copy_from_slice(bytes);
        }
        meter.supply(on)
    }
}

fn wrapped(
    name: &'static str,
    flaw: &'static str,
    breaks: &'static [&'static str],
    touches: &'static [&'static str],
    wrap: fn(VirtualMeter) -> Box<dyn Specimen>,
) -> Mutant {
    Mutant { name, flaw, breaks, touches, kind: Kind::Wrapped(wrap) }
}

pub(crate) fn mutants() -> Vec<Mutant> {
    vec![
        wrapped("silent", "Events are logged and not alarmed.", &["TMP-10"], &["TMP-0", "DLM-08"], |meter| {
            Defective::boxed(meter, Silent)
        }),
        wrapped("late-alarms", "Alarms go out more than a second late.", &["TMP-10"], &["TMP-0"], |meter| {
            Defective::boxed(meter, Late::default())
        }),
        wrapped(
            "log-truncated",
            "The security log is truncated at power-up.",
            &["TMP-09"],
            &["TMP", "DEV-07", "BIL", "INF-22", "DLM-02"],
            |meter| Defective::boxed(meter, Forgets),
        ),
        wrapped(
            "stale-registers",
            "After a power cut the registers are as they were half a minute before.",
            &["BIL-01"],
            &["TMP-09", "TMP-12", "INF-22", "DEV-07", "DLM-02", "DLM-03"],
            |meter| Defective::boxed(meter, Stale::default()),
        ),
    ]
}
