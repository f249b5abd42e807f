//! The supply of the meter's own electronics. It hangs on the phases that the meter measures: when they have all gone, the
//! reference design's capacitor carries it through short interruptions; then its monitor warns, the meter writes its last words
//! ([`Meter::power_fail`](meterseal_meter::Meter::power_fail)), and nothing runs until a phase is back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;

use meterseal_link::dial::{Network, Way};
use meterseal_world::flash::HoldUp;
use meterseal_world::site::Site;
use tracing::{error, info};

use crate::runner::{Connection, Input, Pace, Runner, SLICE};

/// Watches how long no phase has fed the meter.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    unfed_frames: u64,
}

impl Monitor {
    /// So many frames passed, with a phase that feeds or without. `true`: the supply is failing.
    pub(crate) fn pass(&mut self, is_fed: bool, frames: usize) -> bool {
        self.unfed_frames = if is_fed { 0 } else { self.unfed_frames + frames as u64 };
        self.unfed_frames >= WARNS_AFTER_FRAMES
    }
}

/// The monitor warns when a capacitor that nothing feeds has come down to the voltage for that: half a second.
const WARNS_AFTER_FRAMES: u64 =
    HoldUp::REFERENCE.microseconds_to_warning() * Site::SAMPLE_RATE as u64 / 1_000_000;

/// A network whose modem is fed with the meter.
#[derive(Debug)]
pub(crate) struct Fed {
    network: Arc<dyn Network>,
    is_fed: AtomicBool,
}

impl Fed {
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        Self { network, is_fed: AtomicBool::new(true) }
    }

    fn feed(&self, is_fed: bool) {
        self.is_fed.store(is_fed, Ordering::Relaxed);
    }
}

impl Network for Fed {
    fn connect<'a>(&'a self, address: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Way>> + Send + 'a>> {
        if self.is_fed.load(Ordering::Relaxed) {
            return self.network.connect(address);
        }
        let dark = io::Error::new(io::ErrorKind::NotConnected, "the meter has no supply");
        Box::pin(async { Err(dark) })
    }

    fn signal_dbm(&self) -> Option<i8> {
        self.network.signal_dbm()
    }
}

/// How an outage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The meter is up again.
    Over,
    /// Its boot stage, outside, is to start it.
    BootStage,
    /// Somebody stopped the device meanwhile.
    Stopped,
    /// Nothing in its flash starts.
    Dead,
}

impl Runner {
    /// The supply fails: last words, then nothing until it is back.
    pub(crate) fn lose_supply(&mut self, pace: &mut Pace, connections: &mut Vec<Connection>) -> Outage {
        let said = self.meter.power_fail(self.site.now());
        match (said, self.sync.sync()) {
            (Ok(()), Ok(())) => info!(meter = %self.name, "its supply has failed; registers saved"),
            (Err(error), _) => {
                error!(meter = %self.name, "its supply has failed, and not all is saved: {error}")
            }
            (_, Err(error)) => {
                error!(meter = %self.name, "its supply has failed, and perhaps not all is saved: {error}");
            }
        }
        self.network.feed(false);
        connections.clear();
        self.signer = None;
        while !self.site.feeds_meter() {
            match self.inputs.recv_timeout(SLICE) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Outage::Stopped,
                Ok(Input::Stimulus(stimulus)) => self.site.apply(stimulus),
                // Without its sender a connection closes itself; there is nobody to hear what comes.
                Ok(Input::Connected(..) | Input::Bytes(..) | Input::Disconnected(_))
                | Err(RecvTimeoutError::Timeout) => {}
            }
            self.skip(pace);
            // The watchdog is for images that hang, not for a supply that is away.
            self.assembly.beat();
        }
        self.monitor = Monitor::default();
        self.network.feed(true);
        if self.assembly.starts_elsewhere() {
            return Outage::BootStage;
        }
        if self.power_up(pace) { Outage::Over } else { Outage::Dead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_shorter_than_the_capacitor_lasts_is_ridden_through() {
        let half_a_second = Site::SAMPLE_RATE as usize / 2;
        let mut monitor = Monitor::default();
        assert!(!monitor.pass(false, half_a_second));
        assert!(!monitor.pass(true, 1));
        assert!(!monitor.pass(false, half_a_second));
        assert!(monitor.pass(false, half_a_second));
    }
}
