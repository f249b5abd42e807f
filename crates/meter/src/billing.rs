//! The end of a billing period: one row of the billing profile with registers, rates and maximum demand, and then the
//! maxima begin anew. Cut off anywhere, it is made up for at the next start, once.

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::Registers;
use meterseal_model::{EventCode, UnixMillis};
use meterseal_seal::log::ReadingReason;

use crate::StorageError;
use crate::flash::{Cursor, Put};
use crate::inner::{Inner, milli};
use crate::tariff::{Peak, Rates, TariffState};

/// A row of the billing profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BillingRow {
    /// Its number: the first is 1, none is ever used twice or left out.
    pub(crate) sequence: u64,
    /// The end of the period.
    pub(crate) time: UnixMillis,
    pub(crate) active_import_milliwatt_hours: u64,
    pub(crate) active_export_milliwatt_hours: u64,
    pub(crate) reactive_import_millivar_hours: u64,
    pub(crate) reactive_export_millivar_hours: u64,
    pub(crate) rates: Rates,
    pub(crate) maxima: [Peak; 2],
}

impl BillingRow {
    pub(crate) const BYTES: usize = 1 + 8 + 4 * 8 + Rates::BYTES + 2 * 16;
    const VERSION: u8 = 1;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut record = [0; Self::BYTES];
        let mut put = Put::new(&mut record);
        put.u8(Self::VERSION).i64(self.time.0);
        put.u64(self.active_import_milliwatt_hours).u64(self.active_export_milliwatt_hours);
        put.u64(self.reactive_import_millivar_hours).u64(self.reactive_export_millivar_hours);
        self.rates.put(&mut put);
        for peak in &self.maxima {
            put.u64(peak.microwatts).i64(peak.time.0);
        }
        record
    }

    /// `None` for another version or length.
    pub(crate) fn decode(sequence: u32, record: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(record);
        if fields.u8()? != Self::VERSION {
            return None;
        }
        let time = UnixMillis(fields.i64()?);
        let energies = [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
        let rates = Rates::get(&mut fields)?;
        let mut peak = || Some(Peak { microwatts: fields.u64()?, time: UnixMillis(fields.i64()?) });
        Some(Self {
            sequence: sequence.into(),
            time,
            active_import_milliwatt_hours: energies[0],
            active_export_milliwatt_hours: energies[1],
            reactive_import_millivar_hours: energies[2],
            reactive_export_millivar_hours: energies[3],
            rates,
            maxima: [peak()?, peak()?],
        })
    }
}

impl<F: NorFlash> Inner<F> {
    /// Ends the billing period when the schedule says so, also for a time at which the meter had no power.
    pub(crate) fn bill_when_due(&mut self, registers: &Registers) -> Result<(), StorageError<F::Error>> {
        let clock = self.clock();
        let after = self.billing_looked_at.max(self.tariff.billed_until);
        if let Some(instant) = self.settings.billing.latest_due(after, clock) {
            // Saved as of just before: after a cut between this and the row, it is still due.
            self.save_registers_as_of(registers, UnixMillis(instant.0 - 1))?;
            self.bill(instant)?;
        }
        // A clock that was set back looks again from there.
        self.billing_looked_at = clock;
        Ok(())
    }

    /// Ends the billing period at this instant, with the registers that are saved.
    pub(crate) fn bill(&mut self, instant: UnixMillis) -> Result<(), StorageError<F::Error>> {
        let registers = &self.saved.registers;
        let mut row = BillingRow {
            sequence: 0,
            time: instant,
            active_import_milliwatt_hours: milli(registers.total_import_nanowatt_hours),
            active_export_milliwatt_hours: milli(registers.total_export_nanowatt_hours),
            reactive_import_millivar_hours: milli(registers.reactive_import_nanovar_hours()),
            reactive_export_millivar_hours: milli(registers.reactive_export_nanovar_hours()),
            rates: self.saved.rates,
            maxima: self.tariff.maxima,
        };
        row.sequence = self.storage.get_mut().append_billing(&row)?.into();
        self.newest_billing = Some(row);
        self.take_reading(ReadingReason::BillingPeriod, instant)?;
        self.finish_billing(&row)?;
        self.event(EventCode::BillingPeriodEnded, row.sequence as i64)
    }

    /// After a row: the maxima begin anew, and no start will do this row's work again.
    pub(crate) fn finish_billing(&mut self, row: &BillingRow) -> Result<(), StorageError<F::Error>> {
        self.unwritten_maxima = None;
        self.write_tariff(TariffState {
            maxima: [Peak::default(); 2],
            billed_until: self.tariff.billed_until.max(row.time),
            billed_row: row.sequence as u32,
            ..self.tariff
        })
    }
}
