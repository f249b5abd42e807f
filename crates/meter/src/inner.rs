//! The meter's own business, apart from measuring and from talking: registers, security log, load profile, clock.
//! While a DLMS request is served, this moves into the object store and back.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{Harmonics, Registers, Window};
use meterseal_model::{EventCode, TimeBase, UnixMillis};
use meterseal_seal::KeyStore;

use crate::allowance::Allowance;
use crate::attestation::Attestor;
use crate::billing::BillingRow;
use crate::calibration::CalibrationStatus;
use crate::demand::Demand;
use crate::dlms::Guard;
use crate::gaps::Gaps;
use crate::interval::Interval;
use crate::keyring::Keyring;
use crate::quality::{Quality, QualityRow};
use crate::records::{KEYED, LastClient, ProfileRow, SavedRegisters, SecurityEntry, State};
use crate::repeats::Repeats;
use crate::sealed_log::Sealed;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::supply::Limiter;
use crate::tamper::{Counts, Thresholds};
use crate::tariff::{Rates, TariffState};
use crate::vault::Item;
use crate::wifi::WifiNetwork;
use crate::{Connectivity, Identity, ImageStore, OpenError, RoleKeys, SecretKey, StorageError};

/// How many invocation counters are reserved at once. A restart skips the rest.
pub(crate) const COUNTER_STEP: u32 = 4096;

/// State records that nobody's right stands behind: so many at once, and one every 20 s, which is 3.2 × 10⁷ in 20 years, or
/// 62 000 erases of each of 16 sectors at 32 records a sector; 2²⁰ starts are another 18 000. Registers' records, each
/// second, hold the clients' counters too.
const STATE_AT_START: u32 = 8;
const STATE_BURST: u32 = 32;
const STATE_REFILL_MS: u64 = 20_000;

/// The demand period: a quarter of an hour, as the load profile's interval is by default.
const DEMAND_PERIOD_SECONDS: u32 = 900;

/// A clock set by more than this is logged, milliseconds (issue 5: beyond 10 s).
const CLOCK_CHANGE_LOGGED_MS: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Inner<F: NorFlash> {
    pub(crate) identity: Identity,
    pub(crate) time_base: TimeBase,
    /// A value is read through a shared reference while the flash wants a unique one to read at all.
    pub(crate) storage: RefCell<Storage<F>>,
    pub(crate) state: State,
    pub(crate) state_changed: bool,
    /// The acknowledgements that the newest state record in flash has.
    pub(crate) written_log: u32,
    state_writes: Allowance,
    pub(crate) repeats: Repeats,
    pub(crate) scrub: crate::scrub::Scrub,
    /// The supply has failed: nothing that can wait is done any more.
    pub(crate) is_failing: bool,
    pub(crate) count_saves: Allowance,
    pub(crate) saved: SavedRegisters,
    pub(crate) window: Option<Window>,
    /// Since the sensors were looked at.
    pub(crate) window_is_new: bool,
    /// Those of the latest window that has some.
    pub(crate) harmonics: Option<Box<Harmonics>>,
    pub(crate) newest_entry: Option<SecurityEntry>,
    pub(crate) newest_row: Option<ProfileRow>,
    pub(crate) interval: Interval,
    pub(crate) keys: Keyring,
    pub(crate) key_store: Option<Arc<dyn KeyStore>>,
    /// Certificates of the authorities whose certificates the meter takes for itself.
    pub(crate) issuers: Vec<Vec<u8>>,
    /// Each role's key: the last invocation counter used.
    pub(crate) used_counters: [u32; KEYED.len()],
    pub(crate) failed_logins: u32,
    /// Acts beyond a role's rights since power-up.
    pub(crate) unauthorised_acts: u32,
    /// Who is to be answered later, for having failed.
    pub(crate) guard: Guard,
    /// The counter in the message being served; spent once the message has been acted upon.
    pub(crate) incoming: Option<(usize, LastClient)>,
    /// Events that wait for a failed flash to work again.
    pub(crate) pending: VecDeque<SecurityEntry>,
    pub(crate) settings: Settings,
    /// The maker's thresholds, where the utility has set none.
    factory_thresholds: Thresholds,
    /// The measuring core has not taken the thresholds over yet.
    pub(crate) thresholds_changed: bool,
    /// Tamper events of the meter's life, as of the newest log entry.
    pub(crate) counts: Counts,
    /// How long before power-up nobody watched, microseconds; −1 where nobody knows.
    pub(crate) unseen_us: i64,
    pub(crate) tariff: TariffState,
    /// Maxima that flash has not taken yet.
    pub(crate) unwritten_maxima: Option<TariffState>,
    /// What has been measured at each rate, and the rate in force.
    pub(crate) rates: Rates,
    pub(crate) rate: u8,
    /// The second for which the rate was looked up.
    pub(crate) rate_looked_up: i64,
    /// Import and export.
    pub(crate) demand: [Demand; 2],
    pub(crate) limiter: Limiter,
    pub(crate) newest_event: Option<SecurityEntry>,
    pub(crate) newest_billing: Option<BillingRow>,
    /// No end of a billing period is outstanding up to here.
    pub(crate) billing_looked_at: UnixMillis,
    pub(crate) quality: Quality,
    pub(crate) newest_quality: Option<QualityRow>,
    pub(crate) gaps: Gaps,
    pub(crate) calibration: CalibrationStatus,
    pub(crate) link: crate::link_status::Known,
    pub(crate) wifi: Option<WifiNetwork>,
    pub(crate) sealed: Sealed,
    /// The utility wants what is pushed now, whether it has been pushed before or not.
    pub(crate) push_asked: bool,
    /// A random number for a push that waits, until it is used.
    pub(crate) push_random: Option<u32>,
    /// The second of the clock for which the communication windows were looked at, and whether one is open.
    push_window: Option<(i64, bool)>,
    pub(crate) connectivity: Connectivity,
    /// Where new firmware goes.
    pub(crate) images: Option<Box<dyn ImageStore>>,
    /// Says what runs; a meter without a boot stage has none.
    pub(crate) attestor: Option<Attestor>,
    /// An association of the utility has stood since power-up, other than by the local port.
    pub(crate) reached_head_end: bool,
    now: UnixMillis,
    uptime_ms: u64,
}

/// The clocks by which a meter lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) base: TimeBase,
    pub(crate) profile_period_seconds: u32,
    pub(crate) sample_rate_microhertz: u64,
    /// When readings become events, where the utility has not set it.
    pub(crate) thresholds: Thresholds,
}

impl<F: NorFlash> Inner<F> {
    pub(crate) fn new(
        identity: Identity,
        timing: Timing,
        (keys, key_encryption_key): (RoleKeys, Option<SecretKey>),
        mut storage: Storage<F>,
        newest: crate::storage::Newest,
        now: UnixMillis,
    ) -> Result<Box<Self>, OpenError<F::Error>> {
        let first_start = newest.state.is_none();
        let (log, salt_key) = newest.log;
        let mut state = newest.state.unwrap_or_default();
        let saved = newest.registers.unwrap_or_default();
        for (key, later) in saved.clients.into_iter().enumerate() {
            let client = &mut state.clients[key];
            // Another client, or another key, is recorded in the state at once; the registers' record only follows.
            if client.title == later.title && state.key_generations[key] == saved.key_generations[key] {
                client.highest = client.highest.max(later.highest);
            }
        }
        let generations = state.key_generations;
        let wifi = crate::wifi::kept(&mut storage)?;
        let counts = storage.plain(Item::TamperCounts)?.and_then(|record| Counts::decode(&record));
        let keys = Keyring::open(keys, key_encryption_key, &mut storage, &mut state)?;
        // One step further than reserved: should the newest state record have rotted, the one before it, a step
        // lower, was found.
        let used_counters = if first_start {
            [0; KEYED.len()]
        } else {
            state.reserved_counters.map(|counter| counter.saturating_add(COUNTER_STEP))
        };
        state.reserved_counters = used_counters;
        let mut inner = Box::new(Self {
            identity,
            time_base: timing.base,
            storage: RefCell::new(storage),
            state,
            state_changed: false,
            written_log: 0,
            state_writes: Allowance::new(STATE_AT_START, STATE_BURST, STATE_REFILL_MS),
            repeats: Repeats::default(),
            scrub: Default::default(),
            is_failing: false,
            count_saves: crate::tamper::COUNT_SAVES,
            saved,
            window: None,
            window_is_new: false,
            harmonics: None,
            newest_entry: None,
            newest_row: None,
            interval: Interval::new(timing.profile_period_seconds),
            keys,
            key_store: None,
            issuers: Vec::new(),
            used_counters,
            failed_logins: 0,
            unauthorised_acts: 0,
            guard: Guard::default(),
            incoming: None,
            pending: VecDeque::new(),
            settings: newest.settings.unwrap_or_default(),
            factory_thresholds: timing.thresholds,
            thresholds_changed: false,
            counts: counts.unwrap_or(Counts { latches: state.latches, ..Counts::default() }),
            unseen_us: -1,
            tariff: newest.tariff.unwrap_or_default(),
            unwritten_maxima: None,
            rates: saved.rates,
            rate: 1,
            rate_looked_up: 0,
            demand: [(); 2].map(|()| Demand::new(timing.sample_rate_microhertz, DEMAND_PERIOD_SECONDS)),
            limiter: Limiter::default(),
            newest_event: None,
            newest_billing: None,
            // A meter that has saved nothing yet owes no end of a period.
            billing_looked_at: if saved == SavedRegisters::default() { now } else { saved.time },
            quality: Quality::default(),
            newest_quality: None,
            gaps: Gaps::default(),
            calibration: CalibrationStatus::Missing,
            link: Default::default(),
            wifi,
            sealed: Sealed::new(log, salt_key),
            push_asked: false,
            push_random: None,
            push_window: None,
            connectivity: Connectivity::default(),
            images: None,
            attestor: None,
            reached_head_end: false,
            now,
            uptime_ms: 0,
        });
        if inner.state.key_generations == generations {
            inner.write_state()?;
        } else {
            inner.write_state_twice()?;
        }
        inner.catch_up()?;
        inner.power_up(first_start)?;
        inner.open_log()?;
        // All of it before anything is measured, and so can be lost.
        while inner.prepare_for_power_fail()? {}
        Ok(inner)
    }

    /// The meter's clock.
    pub(crate) const fn clock(&self) -> UnixMillis {
        UnixMillis(self.now.0.saturating_add(self.state.clock_offset_ms))
    }

    /// What the meter's clock would have shown at an uptime that has passed.
    pub(crate) fn clock_at(&self, uptime_ms: u64) -> UnixMillis {
        let ago = self.uptime_ms.saturating_sub(uptime_ms);
        UnixMillis(self.clock().0.saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)))
    }

    pub(crate) const fn uptime_ms(&self) -> u64 {
        self.uptime_ms
    }

    /// When readings and measurements become events: as the utility has set it, or else the maker.
    pub(crate) fn thresholds(&self) -> Thresholds {
        self.settings.thresholds.unwrap_or(self.factory_thresholds)
    }

    /// Takes the time over. Uptime only ever grows, whatever the clock does.
    pub(crate) fn advance(&mut self, now: UnixMillis) {
        self.uptime_ms += u64::try_from(now.0.saturating_sub(self.now.0)).unwrap_or(0);
        self.now = now;
    }

    /// Whether something may be pushed now. Looked up once a second: a pattern may lie far back.
    pub(crate) fn push_is_open(&mut self) -> bool {
        let second = self.clock().0.div_euclid(1000);
        match self.push_window {
            Some((looked_up, open)) if looked_up == second => open,
            _ => {
                let open = self.settings.push.is_open(self.clock());
                self.push_window = Some((second, open));
                open
            }
        }
    }

    /// The windows may be others.
    pub(crate) fn push_settings_changed(&mut self) {
        self.push_window = None;
    }

    pub(crate) fn write_state(&mut self) -> Result<(), StorageError<F::Error>> {
        self.storage.get_mut().append_state(&self.state)?;
        self.state_changed = false;
        self.written_log = self.state.committed_log;
        Ok(())
    }

    /// Writes what has changed of the state, where losing it would cost no more than an acknowledgement that comes again, or
    /// what the log tells anew at a start: as often as flash can bear, otherwise later.
    pub(crate) fn write_state_when_allowed(&mut self) -> Result<(), StorageError<F::Error>> {
        self.state_changed = true;
        if self.state_writes.take(self.uptime_ms) { self.write_state() } else { Ok(()) }
    }

    /// Saves the registers; from now on these are what DLMS shows.
    pub(crate) fn save_registers(&mut self, registers: &Registers) -> Result<(), StorageError<F::Error>> {
        self.save_registers_as_of(registers, self.clock())
    }

    pub(crate) fn save_registers_as_of(
        &mut self,
        registers: &Registers,
        time: UnixMillis,
    ) -> Result<(), StorageError<F::Error>> {
        self.book_rates(registers);
        let saved = SavedRegisters {
            time,
            registers: *registers,
            rates: self.rates,
            clients: self.state.clients,
            key_generations: self.state.key_generations,
        };
        self.storage.get_mut().append_registers(&saved)?;
        self.saved = saved;
        Ok(())
    }

    /// Keeps ready what a failing supply leaves no time for.
    pub(crate) fn prepare_for_power_fail(&mut self) -> Result<bool, StorageError<F::Error>> {
        self.storage.get_mut().prepare(self.written_log)
    }

    /// The last words of a meter whose supply has failed, in the order of their worth: the registers, that it goes down, the
    /// registers once more (until the supply is back nothing else could mend them should they rot), then what has only been
    /// counted.
    pub(crate) fn last_words(&mut self, registers: &Registers) -> Result<(), StorageError<F::Error>> {
        self.is_failing = true;
        self.save_registers(registers)?;
        // An erase would take all that is left. Without the entry, the start says how long the supply was away all the same.
        if self.storage.get_mut().log().is_prepared(1) {
            self.log(EventCode::PowerDown, 0)?;
        }
        if self.storage.get_mut().registers().is_prepared(1) {
            self.save_registers(registers)?;
        }
        while self.storage.get_mut().log().is_prepared(1)
            && let Some(extreme) = self.repeats.take_due(self.uptime_ms, true)
        {
            self.log(EventCode::EventsRepeated, extreme)?;
        }
        Ok(())
    }

    /// The head-end has stored the log up to here. `false`: not between what it had and what there is.
    pub(crate) fn commit_log(&mut self, sequence: u64) -> Result<bool, StorageError<F::Error>> {
        let newest = self.storage.get_mut().log().newest_sequence();
        let Some(sequence) = within(self.state.committed_log, sequence, newest) else { return Ok(false) };
        if sequence == self.state.committed_log {
            return Ok(true);
        }
        self.state.committed_log = sequence;
        self.spend_incoming_counter();
        self.write_state_when_allowed()?;
        self.report_not_logged()?;
        Ok(true)
    }

    /// The same for the load profile.
    pub(crate) fn commit_profile(&mut self, sequence: u64) -> Result<bool, StorageError<F::Error>> {
        let newest = self.storage.get_mut().profile().newest_sequence();
        let Some(sequence) = within(self.state.committed_profile, sequence, newest) else { return Ok(false) };
        if sequence == self.state.committed_profile {
            return Ok(true);
        }
        self.state.committed_profile = sequence;
        self.spend_incoming_counter();
        self.write_state_when_allowed()?;
        Ok(true)
    }

    /// Sets the meter's clock. A change of more than 10 s is logged, before and after.
    pub(crate) fn set_clock(&mut self, time: UnixMillis) -> Result<(), StorageError<F::Error>> {
        let before = self.clock();
        let change = time.0.saturating_sub(before.0);
        let logged = change.unsigned_abs() > CLOCK_CHANGE_LOGGED_MS;
        if logged {
            self.log(EventCode::ClockBefore, change.saturating_mul(1000))?;
        }
        if let Some(row) = self.interval.clock_changes(before, time) {
            self.append_row(row)?;
        }
        self.demand.iter_mut().for_each(Demand::give_up);
        self.state.clock_offset_ms = time.0.saturating_sub(self.now.0);
        self.look_rate_up();
        self.spend_incoming_counter();
        self.write_state()?;
        if self.tariff.billed_until > time {
            // Set back behind the end of a billing period: periods end again from here on.
            self.billing_looked_at = time;
            self.write_tariff(TariffState { billed_until: time, ..self.tariff })?;
        }
        if logged {
            self.log(EventCode::ClockAfter, change.saturating_mul(1000))?;
        }
        Ok(())
    }

    /// Clears the alarms whose bits are not set in `kept`.
    pub(crate) fn clear_alarms(&mut self, kept: u32) -> Result<(), StorageError<F::Error>> {
        self.state.alarms &= kept;
        self.spend_incoming_counter();
        self.write_state()
    }

    /// Closes the load profile's interval when it is over.
    pub(crate) fn close_interval(&mut self, registers: &Registers) -> Result<(), StorageError<F::Error>> {
        if self.interval.is_over(self.clock()) {
            // A row never says more than the saved registers: they must not go back behind it. Saved as of the
            // interval that ends, so that after a cut between both writes the row is still owed.
            self.save_registers_as_of(registers, self.clock().min(self.interval.last_millisecond()))?;
            if let Some(row) = self.interval.close(self.clock()) {
                self.append_row(row)?;
            }
            self.interval.begin(self.clock(), 0);
        }
        Ok(())
    }

    pub(crate) fn on_window(&mut self, window: &Window) {
        self.interval.add(window);
        if self.calibration == CalibrationStatus::Refused {
            self.interval.disturb(ProfileRow::NOT_BOOKED);
        }
        self.window = Some(*window);
        self.window_is_new = true;
    }

    /// What a window holds order by order; `None` where frames of it are missing.
    pub(crate) fn on_harmonics(&mut self, harmonics: Option<&Harmonics>) {
        match (harmonics, &mut self.harmonics) {
            (Some(new), Some(kept)) => (**kept).clone_from(new),
            (Some(new), None) => self.harmonics = Some(Box::new(new.clone())),
            (None, kept) => *kept = None,
        }
    }

    /// Makes sure that this many counters more may be used under a role's key.
    pub(crate) fn reserve_counters(&mut self, key: usize, count: u32) -> Result<(), StorageError<F::Error>> {
        let needed = self.used_counters[key].saturating_add(count);
        if needed > self.state.reserved_counters[key] {
            self.state.reserved_counters[key] = needed.saturating_add(COUNTER_STEP);
            self.write_state()?;
        }
        Ok(())
    }

    /// What is acted upon cannot be replayed after a restart either.
    pub(crate) fn spend_incoming_counter(&mut self) {
        self.spend_incoming_counter_if(|_| true);
    }

    /// The same, if its key is one of these.
    pub(crate) fn spend_incoming_counter_if(&mut self, wanted: impl Fn(usize) -> bool) {
        if let Some((key, client)) = self.incoming.filter(|(key, _)| wanted(*key)) {
            self.state.clients[key] = client;
        }
    }

    /// So that, should the newest record rot, the one before it knows the keys' generations too.
    pub(crate) fn write_state_twice(&mut self) -> Result<(), StorageError<F::Error>> {
        self.write_state()?;
        self.write_state()
    }

    /// Brings latches and alarms up to the newest log entry: the state's record may be older than the log's.
    fn catch_up(&mut self) -> Result<(), StorageError<F::Error>> {
        let sequences = self.storage.get_mut().log().sequences();
        // The tamper record tells latches and counts as of its entry; the state's own latches are not all. A meter from
        // before there was such a record has not counted: its log is counted now.
        self.state.latches = self.counts.latches;
        let from = self.state.latched_up_to.min(self.counts.up_to);
        for sequence in sequences.clone() {
            let is_newest = sequence == *sequences.end();
            if (sequence > from || is_newest)
                && let Some(entry) = self.storage.get_mut().log_entry(sequence)?
            {
                if sequence > self.state.latched_up_to {
                    self.raise(&entry);
                }
                if sequence > self.counts.up_to {
                    self.count(entry.code);
                }
                self.newest_entry = Some(entry);
            }
        }
        let newest = self.storage.get_mut().events().newest_sequence();
        self.newest_event = self.storage.get_mut().event(newest)?;
        let newest = self.storage.get_mut().billing().newest_sequence();
        self.newest_billing = self.storage.get_mut().billing_row(newest)?;
        if let Some(row) = self.newest_billing.filter(|_| newest > self.tariff.billed_row) {
            // The power went between the row and the reset of the maxima.
            self.finish_billing(&row)?;
        }
        self.look_rate_up();
        let newest = self.storage.get_mut().quality().newest_sequence();
        self.newest_quality = self.storage.get_mut().quality_row(newest)?;
        let newest = self.storage.get_mut().profile().newest_sequence();
        self.newest_row = self.storage.get_mut().profile_row(newest)?;
        Ok(())
    }

    fn power_up(&mut self, first_start: bool) -> Result<(), StorageError<F::Error>> {
        let clock = self.clock();
        let last_seen = self.newest_entry.map_or(self.saved.time, |entry| entry.time.max(self.saved.time));
        let never_saved = self.saved == SavedRegisters::default();
        let gap =
            if first_start || last_seen == UnixMillis(0) { 0 } else { clock.0.saturating_sub(last_seen.0) };
        let gap_us = gap.max(0).saturating_mul(1000);
        self.unseen_us = if first_start { -1 } else { gap_us };
        self.log(EventCode::PowerUp, gap_us)?;
        if first_start || never_saved {
            self.interval.begin(clock, ProfileRow::IRREGULAR);
            return Ok(());
        }
        self.interval.begin(self.saved.time, ProfileRow::POWER_DOWN);
        if self.interval.is_over(clock) {
            // Not when the clock comes back earlier than it went: that interval is not over.
            let owed =
                clock > self.saved.time && self.newest_row.is_none_or(|row| row.time <= self.saved.time);
            if owed && let Some(row) = self.interval.close_first() {
                self.append_row(row)?;
            }
            self.interval.begin(clock, ProfileRow::POWER_DOWN | ProfileRow::IRREGULAR);
        }
        Ok(())
    }

    fn append_row(&mut self, row: crate::interval::Closed) -> Result<(), StorageError<F::Error>> {
        let registers = &self.saved.registers;
        let mut row = ProfileRow {
            sequence: 0,
            time: row.end,
            status: row.status,
            active_import_milliwatt_hours: milli(registers.total_import_nanowatt_hours),
            active_export_milliwatt_hours: milli(registers.total_export_nanowatt_hours),
            reactive_import_millivar_hours: milli(registers.reactive_import_nanovar_hours()),
            reactive_export_millivar_hours: milli(registers.reactive_export_nanovar_hours()),
            mean_voltage_centivolts: row.mean_voltage_centivolts,
        };
        row.sequence = self.storage.get_mut().append_profile(&row)?.into();
        self.newest_row = Some(row);
        self.seal_rows()
    }
}

/// From nano- to thousandths, as registers are shown.
pub(crate) const fn milli(nano: u64) -> u64 {
    nano / 1_000_000
}

/// An acknowledgement between what was acknowledged and what exists.
fn within(lowest: u32, sequence: u64, highest: u32) -> Option<u32> {
    u32::try_from(sequence).ok().filter(|sequence| (lowest..=highest).contains(sequence))
}
