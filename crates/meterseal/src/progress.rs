//! Progress of long commands on standard error: one bar that moves on a terminal, a line for each tenth elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Progress towards a known end.
pub(crate) struct Progress {
    what: &'static str,
    end: f64,
    start: Instant,
    terminal: bool,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    last: Option<Instant>,
    tenth: u32,
    /// What was done, and when, at the first call: a run that goes on had begun before.
    first: Option<(f64, Duration)>,
}

/// Between two looks at a terminal.
const PAUSE: Duration = Duration::from_millis(200);
const BAR: usize = 30;

impl Progress {
    pub(crate) fn new(what: &'static str, end: f64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { what, end, start: Instant::now(), terminal, shown: Mutex::default() }
    }

    /// Shows that `done` of the end are done, but not too often.
    pub(crate) fn show(&self, done: f64) {
        let Ok(mut shown) = self.shown.lock() else { return };
        let elapsed = self.start.elapsed();
        let (first, then) = *shown.first.get_or_insert((done, elapsed));
        let tenth = (done / self.end * 10.0) as u32;
        let due = if self.terminal {
            shown.last.is_none_or(|last| last.elapsed() > PAUSE) || done >= self.end
        } else {
            tenth > shown.tenth
        };
        if !due {
            return;
        }
        (shown.last, shown.tenth) = (Some(Instant::now()), tenth);
        let mut line = format!("{done} of {} {}, {}", self.end, self.what, clock(elapsed.as_secs_f64()));
        if done > first {
            let left = (elapsed - then).as_secs_f64() * (self.end - done) / (done - first);
            line += &format!(", {} left", clock(left));
        }
        let mut stderr = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to stop.
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[K{} {line}", bar(done / self.end))
        } else {
            writeln!(stderr, "{line}")
        };
        let _ = stderr.flush();
    }

    /// Takes the moving bar away.
    pub(crate) fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn bar(part: f64) -> String {
    let full = ((part * BAR as f64) as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

/// Seconds as hours, minutes and seconds, the larger ones where there are any.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_and_a_clock_is_short() {
        assert_eq!(bar(0.0), format!("[{}]", "-".repeat(30)));
        assert_eq!(bar(0.5), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!(bar(1.2), format!("[{}]", "#".repeat(30)));
        assert_eq!([clock(59.4), clock(61.0), clock(7260.0)], ["59 s", "1 min 1 s", "2 h 1 min"]);
    }
}
