//! The supply: disconnect control (class 70) and limiter (class 71), from memory of IEC 62056-6-2, not verified against the
//! standard's text. Control mode 4: the utility disconnects and reconnects directly, the limiter disconnects; nobody can
//! reconnect by hand. The security log and the new state are in flash before the relay moves.

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::EventCode;

use crate::StorageError;
use crate::inner::Inner;
use crate::settings::LimiterSettings;
use crate::tariff::TariffState;

/// The class's control states.
pub(crate) const DISCONNECTED: u8 = 0;
pub(crate) const CONNECTED: u8 = 1;
pub(crate) const READY_FOR_RECONNECTION: u8 = 2;

/// Selectors of the disconnector's script table.
pub(crate) const SCRIPT_DISCONNECT: u16 = 1;
pub(crate) const SCRIPT_RECONNECT: u16 = 2;

/// Where the limiter stands.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Uptime since which the power has been above the threshold, or not.
    above: Option<bool>,
    since_ms: u64,
    /// What was due for this side of the threshold has been done.
    acted: bool,
}

/// Who moves the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Utility,
    Limiter,
}

impl<F: NorFlash> Inner<F> {
    /// Opens the relay. Nothing happens when it is open already, except that the utility's word is the stronger one.
    pub(crate) fn disconnect(&mut self, by: By) -> Result<(), StorageError<F::Error>> {
        let (code, control) = match by {
            By::Utility => (EventCode::RemoteDisconnection, DISCONNECTED),
            By::Limiter => (EventCode::LocalDisconnection, READY_FOR_RECONNECTION),
        };
        if self.tariff.control == control || self.tariff.control == DISCONNECTED {
            return Ok(());
        }
        self.log(code, 0)?;
        self.write_tariff(TariffState { control, ..self.tariff })
    }

    /// Closes the relay. The limiter cannot undo what the utility did.
    pub(crate) fn reconnect(&mut self, by: By) -> Result<(), StorageError<F::Error>> {
        let refused = by == By::Limiter && self.tariff.control == DISCONNECTED;
        if refused || self.tariff.control == CONNECTED {
            return Ok(());
        }
        let code = match by {
            By::Utility => EventCode::RemoteReconnection,
            By::Limiter => EventCode::LocalReconnection,
        };
        self.log(code, 0)?;
        // The limiter looks at the load afresh.
        self.limiter = Limiter::default();
        self.write_tariff(TariffState { control: CONNECTED, ..self.tariff })
    }

    /// Runs a script of the disconnector's table. `false`: there is no such script.
    pub(crate) fn run_disconnector_script(
        &mut self,
        selector: u16,
        by: By,
    ) -> Result<bool, StorageError<F::Error>> {
        match selector {
            SCRIPT_DISCONNECT => self.disconnect(by)?,
            SCRIPT_RECONNECT => self.reconnect(by)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the emergency threshold is in force.
    pub(crate) fn emergency_is_active(&self) -> bool {
        let limiter = &self.settings.limiter;
        let heeded = &limiter.emergency_groups[..limiter.emergency_group_count.into()];
        heeded.contains(&limiter.emergency_id)
            && limiter.emergency_at.is_some_and(|at| {
                let end = at.0.saturating_add(i64::from(limiter.emergency_seconds) * 1000);
                (at.0..end).contains(&self.clock().0)
            })
    }

    /// The threshold in force, hundredths of a watt.
    pub(crate) fn active_threshold(&self) -> u32 {
        let LimiterSettings { threshold_normal, threshold_emergency, .. } = self.settings.limiter;
        if self.emergency_is_active() { threshold_emergency } else { threshold_normal }
    }

    /// Watches the latest window's power: over the threshold for long enough, or under it, has its action.
    pub(crate) fn watch_limit(&mut self) -> Result<(), StorageError<F::Error>> {
        let Some(window) = &self.window else { return Ok(()) };
        let threshold = self.active_threshold();
        let power = u64::try_from(window.active_power_microwatts).unwrap_or(0) / 10_000;
        let above = threshold != LimiterSettings::NO_LIMIT && power > u64::from(threshold);
        let uptime_ms = self.uptime_ms();
        if self.limiter.above != Some(above) {
            // Being under from the start is nothing to act upon.
            let acted = self.limiter.above.is_none() && !above;
            self.limiter = Limiter { above: Some(above), since_ms: uptime_ms, acted };
        }
        let LimiterSettings { min_over_seconds, min_under_seconds, action_over, action_under, .. } =
            self.settings.limiter;
        let (wait, action, code) = if above {
            (min_over_seconds, action_over, EventCode::LimitExceeded)
        } else {
            (min_under_seconds, action_under, EventCode::LimitKept)
        };
        if !self.limiter.acted && uptime_ms - self.limiter.since_ms >= u64::from(wait) * 1000 {
            let extreme = i64::try_from(power.saturating_mul(10_000)).unwrap_or(i64::MAX);
            self.event(code, extreme)?;
            self.run_disconnector_script(action, By::Limiter)?;
            self.limiter.acted = true;
        }
        Ok(())
    }

    /// An event of the event log.
    pub(crate) fn event(&mut self, code: EventCode, extreme: i64) -> Result<(), StorageError<F::Error>> {
        let entry = crate::records::SecurityEntry {
            sequence: 0,
            code,
            time: self.clock(),
            uptime_ms: self.uptime_ms(),
            extreme,
        };
        let sequence = self.storage.get_mut().append_event(&entry)?;
        self.newest_event = Some(crate::records::SecurityEntry { sequence: sequence.into(), ..entry });
        Ok(())
    }

    /// Clears the event log. That it was cleared stands in the security log, which nobody can clear, and first in
    /// the cleared one.
    pub(crate) fn clear_events(&mut self) -> Result<(), StorageError<F::Error>> {
        let newest = self.storage.get_mut().events().newest_sequence();
        let lost = newest.saturating_sub(self.tariff.events_cleared);
        self.log(EventCode::EventLogCleared, lost.into())?;
        self.write_tariff(TariffState { events_cleared: newest, ..self.tariff })?;
        self.event(EventCode::EventLogCleared, lost.into())
    }
}
