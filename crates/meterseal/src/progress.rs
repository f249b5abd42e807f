//! Progress of long commands on standard error: one line that moves on a terminal, a line for each tenth elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Progress towards a known end.
pub(crate) struct Progress {
    what: &'static str,
    end: f64,
    start: Instant,
    terminal: bool,
    shown: Mutex<(Option<Instant>, u32)>,
}

impl Progress {
    pub(crate) fn new(what: &'static str, end: f64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { what, end, start: Instant::now(), terminal, shown: Mutex::new((None, 0)) }
    }

    /// Shows that `done` of the end are done, but not too often.
    pub(crate) fn show(&self, done: f64) {
        let Ok(mut shown) = self.shown.lock() else { return };
        let tenth = (done / self.end * 10.0) as u32;
        let due = if self.terminal {
            shown.0.is_none_or(|last| last.elapsed() > Duration::from_millis(200)) || done >= self.end
        } else {
            tenth > shown.1
        };
        if !due {
            return;
        }
        *shown = (Some(Instant::now()), tenth);
        let elapsed = self.start.elapsed().as_secs_f64();
        let left = elapsed * (self.end - done) / done.max(1e-9);
        let line = format!("{done} of {} {}, {elapsed:.0} s, {left:.0} s left", self.end, self.what);
        let mut stderr = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to stop.
        let _ = if self.terminal { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") };
        let _ = stderr.flush();
    }

    /// Takes the moving line away.
    pub(crate) fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
