//! Time of use: energy goes to exactly one rate at a time, and the rates' sum is the total, exactly, as both are shown.

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::Registers;
use meterseal_model::{EventCode, Obis, UnixMillis};

use crate::StorageError;
use crate::calendar::CalendarError;
use crate::flash::{Cursor, Put};
use crate::inner::{Inner, milli};
use crate::settings::Settings;

/// Rates of a tariff.
pub(crate) const RATES: usize = 4;
const _: () = assert!(RATES == Obis::RATE_IMPORT.len());

/// Energy by rate, in thousandths of a watt-hour: the unit in which the totals are shown, so that both agree to the
/// last digit. What a rate leaves of a thousandth goes to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) import_milliwatt_hours: [u64; RATES],
    pub(crate) export_milliwatt_hours: [u64; RATES],
}

impl Rates {
    pub(crate) const BYTES: usize = 2 * RATES * 8;

    pub(crate) fn put(&self, put: &mut Put<'_>) {
        for &energy in self.import_milliwatt_hours.iter().chain(&self.export_milliwatt_hours) {
            put.u64(energy);
        }
    }

    pub(crate) fn get(fields: &mut Cursor<'_>) -> Option<Self> {
        let mut rates = Self::default();
        for energy in rates.import_milliwatt_hours.iter_mut().chain(&mut rates.export_milliwatt_hours) {
            *energy = fields.u64()?;
        }
        Some(rates)
    }

    /// All that the registers hold at rate 1.
    pub(crate) fn of_one(registers: &Registers) -> Self {
        let mut rates = Self::default();
        rates.book(1, registers);
        rates
    }

    /// The register of a rate.
    pub(crate) fn energy(&self, obis: Obis) -> Option<u64> {
        let find = |codes: &[Obis; RATES], energies: &[u64; RATES]| {
            codes.iter().position(|&code| code == obis).map(|k| energies[k])
        };
        find(&Obis::RATE_IMPORT, &self.import_milliwatt_hours)
            .or_else(|| find(&Obis::RATE_EXPORT, &self.export_milliwatt_hours))
    }

    /// Gives a rate what the totals have more than all rates together.
    fn book(&mut self, rate: u8, registers: &Registers) {
        let k = usize::from(rate - 1).min(RATES - 1);
        let totals =
            [registers.total_import_nanowatt_hours, registers.total_export_nanowatt_hours].map(milli);
        for (energies, total) in
            [&mut self.import_milliwatt_hours, &mut self.export_milliwatt_hours].into_iter().zip(totals)
        {
            // A total that has wrapped after its 18.4 GWh stands below the sum: the rates then wait for it.
            energies[k] += total.saturating_sub(energies.iter().sum());
        }
    }
}

/// What tariffs, demand, switching and the event log must remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TariffState {
    /// The largest mean power of a period since the last reset, import and export.
    pub(crate) maxima: [Peak; 2],
    /// The latest end of a billing period.
    pub(crate) billed_until: UnixMillis,
    /// The billing row whose reset is done.
    pub(crate) billed_row: u32,
    /// The event log has been cleared up to here.
    pub(crate) events_cleared: u32,
    /// The disconnect control's state (class 70): 0 disconnected, 1 connected, 2 ready for reconnection.
    pub(crate) control: u8,
}

/// A maximum of mean power, and the end of its period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) microwatts: u64,
    /// 1970 before the first.
    pub(crate) time: UnixMillis,
}

impl Default for TariffState {
    fn default() -> Self {
        Self {
            maxima: [Peak::default(); 2],
            billed_until: UnixMillis(i64::MIN),
            billed_row: 0,
            events_cleared: 0,
            control: 1,
        }
    }
}

impl TariffState {
    pub(crate) const BYTES: usize = 1 + 2 * 16 + 8 + 4 + 4 + 1;
    const VERSION: u8 = 1;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(Self::VERSION);
        for peak in &self.maxima {
            put.u64(peak.microwatts).i64(peak.time.0);
        }
        put.i64(self.billed_until.0).u32(self.billed_row).u32(self.events_cleared).u8(self.control);
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != Self::VERSION {
            return None;
        }
        let mut peak = || Some(Peak { microwatts: fields.u64()?, time: UnixMillis(fields.i64()?) });
        let maxima = [peak()?, peak()?];
        Some(Self {
            maxima,
            billed_until: UnixMillis(fields.i64()?),
            billed_row: fields.u32()?,
            events_cleared: fields.u32()?,
            control: fields.u8().filter(|&control| control <= 2)?,
        })
    }
}

impl<F: NorFlash> Inner<F> {
    /// Gives the present rate what has been measured up to now, then looks up which rate is in force from now on.
    pub(crate) fn book_rates(&mut self, registers: &Registers) {
        self.rates.book(self.rate, registers);
        if self.rate_looked_up != self.clock().seconds() {
            self.look_rate_up();
        }
    }

    /// Which rate is in force by the clock as it is now.
    pub(crate) fn look_rate_up(&mut self) {
        self.rate_looked_up = self.clock().seconds();
        self.rate = self.settings.active.rate_at(&self.settings.special_days, self.clock());
    }

    /// Makes the passive calendar the active one when its time has come.
    pub(crate) fn activate_when_due(&mut self) -> Result<(), StorageError<F::Error>> {
        if self.settings.activate_at.is_some_and(|time| time <= self.clock()) {
            let activated = self.activate_passive_calendar()?;
            if activated.is_err() {
                // Not tried again until the utility sets another time.
                let settings = Settings { activate_at: None, ..self.settings.clone() };
                self.event(EventCode::CalendarRefused, 0)?;
                self.write_settings(settings)?;
            }
        }
        Ok(())
    }

    /// Makes the passive calendar the active one, if it is whole.
    pub(crate) fn activate_passive_calendar(
        &mut self,
    ) -> Result<Result<(), CalendarError>, StorageError<F::Error>> {
        if let Err(error) = self.settings.passive.check() {
            return Ok(Err(error));
        }
        let active = self.settings.passive.clone();
        self.event(EventCode::CalendarActivated, 0)?;
        self.write_settings(Settings { active, activate_at: None, ..self.settings.clone() })?;
        Ok(Ok(()))
    }

    /// Replaces the settings: in flash first, then in force.
    pub(crate) fn write_settings(&mut self, settings: Settings) -> Result<(), StorageError<F::Error>> {
        self.storage.get_mut().append_settings(&settings)?;
        self.settings = settings;
        self.push_settings_changed();
        // All that was measured has been booked at the rate before.
        self.look_rate_up();
        Ok(())
    }

    /// Replaces what tariffs and switching remember: in flash first.
    pub(crate) fn write_tariff(&mut self, tariff: TariffState) -> Result<(), StorageError<F::Error>> {
        self.storage.get_mut().append_tariff(&tariff)?;
        self.tariff = tariff;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_always_sum_up_to_what_the_total_shows() {
        let mut rates = Rates::default();
        let mut registers = Registers::default();
        for step in 0..10_000u64 {
            registers.total_import_nanowatt_hours += 7_777_777 * (step % 5);
            registers.total_export_nanowatt_hours += 333_333;
            rates.book((step % 4 + 1) as u8, &registers);
            let sum: u64 = rates.import_milliwatt_hours.iter().sum();
            assert_eq!(sum, milli(registers.total_import_nanowatt_hours));
            let sum: u64 = rates.export_milliwatt_hours.iter().sum();
            assert_eq!(sum, milli(registers.total_export_nanowatt_hours));
        }
        assert!(rates.import_milliwatt_hours.iter().all(|&energy| energy > 0));
    }

    #[test]
    fn the_state_comes_back_as_it_was() {
        let state = TariffState {
            maxima: [
                Peak { microwatts: 1, time: UnixMillis(2) },
                Peak { microwatts: 3, time: UnixMillis(-4) },
            ],
            billed_until: UnixMillis(5),
            billed_row: 6,
            events_cleared: 7,
            control: 2,
        };
        assert_eq!(TariffState::decode(&state.encode()), Some(state));
        assert_eq!(TariffState::decode(&state.encode()[..TariffState::BYTES - 1]), None);
    }
}
