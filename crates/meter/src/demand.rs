//! Demand (classes 5 and 4): mean power over periods that end with the clock's quarters, and the largest since the last
//! reset. A period that a power cut, a clock change or a start cut short is given up, never estimated.

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{DemandSettings, MaximumDemand, Registers};
use meterseal_model::UnixMillis;

use crate::StorageError;
use crate::inner::Inner;
use crate::tariff::{Peak, TariffState};

/// One direction's demand.
#[derive(Debug)]
pub(crate) struct Demand {
    settings: DemandSettings,
    /// Follows the register once a period has begun on the clock.
    follower: Option<MaximumDemand>,
    /// The reading before: sample, register, clock.
    before: Option<(u64, u64, UnixMillis)>,
    /// The register at the beginning of the present period, and when that was.
    began: (u64, UnixMillis),
    /// What the present period would come to if no more energy came, microwatts.
    pub(crate) current_microwatts: u64,
    /// The last period's mean power and end.
    pub(crate) last: Peak,
}

impl Demand {
    pub(crate) fn new(sample_rate_microhertz: u64, period_seconds: u32) -> Self {
        Self {
            settings: DemandSettings {
                sample_rate_microhertz,
                subinterval_seconds: period_seconds,
                subintervals: 1,
            },
            follower: None,
            before: None,
            began: (0, UnixMillis(0)),
            current_microwatts: 0,
            last: Peak::default(),
        }
    }

    /// The period's length, seconds.
    pub(crate) const fn period_seconds(&self) -> u32 {
        self.settings.subinterval_seconds
    }

    /// When the present period began; `None` while no whole one goes on.
    pub(crate) fn began(&self) -> Option<UnixMillis> {
        self.follower.as_ref().map(|_| self.began.1)
    }

    /// Gives up the period that goes on: the clock has been set.
    pub(crate) fn give_up(&mut self) {
        self.follower = None;
        self.before = None;
        self.current_microwatts = 0;
    }

    /// Takes a reading: the register after so many samples, lost ones included, at this time. Returns the last period
    /// that ended, if one did.
    pub(crate) fn advance(&mut self, sample: u64, register: u64, clock: UnixMillis) -> Option<Peak> {
        let period_ms = i64::from(self.settings.subinterval_seconds) * 1000;
        let ended = match &mut self.follower {
            Some(follower) => {
                let mut ended = None;
                let rate = self.settings.sample_rate_microhertz;
                follower.advance(sample, register, &mut |demand| {
                    let ago_ms = u128::from(sample - demand.end_sample) * 1_000_000_000 / u128::from(rate);
                    // Samples and clock are one: what is left is the rounding to a sample and a millisecond.
                    let end = clock.0 - ago_ms as i64 + period_ms / 2;
                    let time = UnixMillis(end - end.rem_euclid(period_ms));
                    ended = Some(Peak { microwatts: demand.microwatts, time });
                });
                if let Some(peak) = ended {
                    self.last = peak;
                    self.began = (register, peak.time);
                }
                ended
            }
            None => {
                self.begin_on_the_clock(sample, register, clock, period_ms);
                None
            }
        };
        self.before = Some((sample, register, clock));
        if self.follower.is_some() {
            // nWh over seconds: 3 600 nW each.
            let energy = u128::from(register.wrapping_sub(self.began.0)) * 3600;
            let microwatts = energy / (u128::from(self.settings.subinterval_seconds) * 1000);
            self.current_microwatts = u64::try_from(microwatts).unwrap_or(u64::MAX);
        }
        ended
    }

    /// Begins a period if the clock has passed into one since the reading before.
    fn begin_on_the_clock(&mut self, sample: u64, register: u64, clock: UnixMillis, period_ms: i64) {
        let Some((sample_before, register_before, clock_before)) = self.before else { return };
        let begin = clock.0 - clock.0.rem_euclid(period_ms);
        if !(clock_before.0 < begin && clock.0 - clock_before.0 < period_ms) {
            return;
        }
        // Energy between two readings is taken as steady.
        let (span, part) =
            (u128::from(clock.0.abs_diff(clock_before.0)), u128::from(begin.abs_diff(clock_before.0)));
        let share =
            |from: u64, to: u64| from.wrapping_add((u128::from(to.wrapping_sub(from)) * part / span) as u64);
        let began = (share(register_before, register), UnixMillis(begin));
        // The settings' ranges are checked when the meter is opened.
        if let Ok(mut follower) = MaximumDemand::new(self.settings, share(sample_before, sample), began.0) {
            follower.advance(sample, register, &mut |_| {});
            self.began = began;
            self.follower = Some(follower);
        }
    }
}

impl<F: NorFlash> Inner<F> {
    /// Takes a reading of the registers, and keeps what is a new maximum.
    pub(crate) fn advance_demand(
        &mut self,
        sample: u64,
        registers: &Registers,
    ) -> Result<(), StorageError<F::Error>> {
        let clock = self.clock();
        let totals = [registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours];
        let mut tariff = self.unwritten_maxima.unwrap_or(self.tariff);
        for ((demand, total), maximum) in self.demand.iter_mut().zip(totals).zip(&mut tariff.maxima) {
            if let Some(peak) = demand.advance(sample, total, clock)
                && peak.microwatts > maximum.microwatts
            {
                *maximum = peak;
            }
        }
        if tariff.maxima != self.tariff.maxima {
            // Kept until flash takes it.
            self.unwritten_maxima = Some(tariff);
            self.write_tariff(TariffState { maxima: tariff.maxima, ..self.tariff })?;
            self.unwritten_maxima = None;
        }
        Ok(())
    }

    /// Begins to look for a new maximum.
    pub(crate) fn reset_maxima(&mut self, which: [bool; 2]) -> Result<(), StorageError<F::Error>> {
        self.unwritten_maxima = None;
        let mut tariff = self.tariff;
        for (maximum, reset) in tariff.maxima.iter_mut().zip(which) {
            if reset {
                *maximum = Peak::default();
            }
        }
        self.write_tariff(tariff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 8_000_000_000;
    /// 3.6 kW: 1 mWh in a millisecond.
    const NWH_A_MS: u64 = 1_000_000;

    fn run(demand: &mut Demand, from_ms: u64, to_ms: u64, register: &mut u64) -> Vec<Peak> {
        let mut peaks = Vec::new();
        for ms in (from_ms..to_ms).step_by(100) {
            *register += 100 * NWH_A_MS;
            let ms = ms + 100;
            peaks.extend(demand.advance(ms * 8, *register, UnixMillis(ms as i64)));
        }
        peaks
    }

    #[test]
    fn periods_end_with_the_clocks_quarters_and_the_first_begins_with_one() {
        let mut demand = Demand::new(RATE, 900);
        let mut register = 0;
        // From 10:01.5 minutes; the first quarter is cut short and gives nothing.
        let peaks = run(&mut demand, 90_030, 900_000 * 3 + 50, &mut register);
        assert_eq!(peaks.len(), 2, "{peaks:?}");
        for (peak, end) in peaks.iter().zip([1_800_000, 2_700_000]) {
            assert_eq!(peak.time, UnixMillis(end));
            // 3.6 kW to the millionth.
            assert!(peak.microwatts.abs_diff(3_600_000_000) < 5_000, "{peak:?}");
        }
        assert_eq!(demand.began(), Some(UnixMillis(2_700_000)));
    }

    #[test]
    fn a_clock_that_is_set_gives_the_period_up() {
        let mut demand = Demand::new(RATE, 900);
        let mut register = 0;
        run(&mut demand, 800_000, 1_000_000, &mut register);
        assert!(demand.began().is_some());
        demand.give_up();
        assert_eq!((demand.began(), demand.current_microwatts), (None, 0));
        assert_eq!(run(&mut demand, 1_000_000, 2_600_000, &mut register), [], "only a piece of one");
        assert_eq!(run(&mut demand, 2_600_000, 2_800_000, &mut register).len(), 1);
    }

    use alloc::vec::Vec;
}
