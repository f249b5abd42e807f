//! The meter: what a device hands samples, sensor readings, time and bytes to, and takes bytes from.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_metrology::{
    CalibrationState, EventSettings, Extras, Frame, HarmonicAnalysis, MeteredEnergy, Metrology, Pulse,
    Registers, VOLTAGES, Window,
};
use meterseal_model::{EventCode, Role, Roles, SensorReadings, UnixMillis};
use meterseal_seal::KeyStore;

use crate::attestation::{AttestationRequest, Attestor, ImageIdentity};
use crate::calibration::{CalibrationStatus, refusal_number};
use crate::dlms::{Link, Service};
use crate::firmware::{Health, Probation};
use crate::inner::{Inner, Timing};
use crate::quality::QualityRow;
use crate::records::{ProfileRow, SecurityEntry};
use crate::sealed_log::{SealedLeaf, SigningRequest};
use crate::storage::Storage;
use crate::tamper::{Detector, Moment};
use crate::{
    Config, Connectivity, DlmsKeys, Identity, ImageStore, LinkStatus, OpenError, Peer, ProtocolError, Random,
    StorageError, WifiNetwork,
};

/// One of a meter's connections, until [`Meter::disconnected`]. Never used again: bytes that come late find nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(u32);

/// A meter over its flash and a source of randomness. It never waits and never does I/O beyond that flash.
///
/// Every call that takes `now` moves the meter's time on; `now` is the site's time base ([`Config::time_base`]) and
/// should not go back. An error of the flash leaves the meter usable: what could not be written is kept and tried
/// again by the next call.
pub struct Meter<F: NorFlash, R: Random> {
    /// Away only while a DLMS request is served.
    inner: Option<Box<Inner<F>>>,
    metrology: Metrology,
    analysis: Option<Box<HarmonicAnalysis>>,
    /// The registers as they were when the calibration record was refused: nothing is booked then.
    standing: Option<Registers>,
    detector: Detector,
    /// The core's event settings before the tamper thresholds.
    power_events: Option<EventSettings>,
    random: R,
    links: [Option<(LinkId, Link<F>)>; LINKS_MAX],
    last_link: u32,
    /// After [`Self::power_down`]: nothing that comes is served.
    is_down: bool,
    rate: Rate,
    /// Frames since power-up, lost ones included: time, as the front end counts it.
    position: u64,
    save_interval_ms: u64,
    /// Uptime of the last save.
    last_save_ms: u64,
}

impl<F: NorFlash, R: Random> Meter<F, R> {
    /// Opens a meter: formats a blank flash, mounts one of its own, and logs that it has started.
    ///
    /// # Errors
    /// Another format version, another meter's flash, wrong settings, or a flash that fails.
    pub fn open(
        identity: Identity,
        keys: DlmsKeys,
        config: Config,
        flash: F,
        mut random: R,
        now: UnixMillis,
    ) -> Result<Self, OpenError<F::Error>> {
        let range = |field, value, min, max| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(OpenError::Setting { field, value, min, max })
            }
        };
        range("profile_period_seconds", config.profile_period_seconds, 60, 86_400)?;
        range("register_save_interval_ms", config.register_save_interval_ms, 100, 60_000)?;
        config.thresholds.check().map_err(|error| OpenError::Setting {
            field: error.field,
            value: error.value,
            min: error.min,
            max: error.max,
        })?;
        config.metrology.check().map_err(OpenError::Metrology)?;
        let keys = config.role_keys.with(Role::Utility, keys);
        for role in Roles::AUTHENTICATED.iter() {
            if keys.get(role).is_some_and(|own| keys.uses(&own.encryption, Some(role))) {
                return Err(OpenError::SharedKey { role });
            }
        }
        let mut salt = [0; 4];
        random.fill(&mut salt);
        let secret = config.device_secret.as_ref();
        let mut fresh = ([0; 16], [0; 32]);
        random.fill(&mut fresh.0);
        random.fill(&mut fresh.1);
        let (storage, newest) = Storage::open(flash, identity.id, config.layout, secret, salt, &fresh)?;
        let calibration = newest.calibration;
        let thresholds = newest.settings.as_ref().and_then(|set| set.thresholds).unwrap_or(config.thresholds);
        let extras = Extras {
            calibration,
            thresholds: config.start_thresholds,
            // A test lamp must not blink for energy that is not booked.
            pulses: if matches!(calibration, Some(Err(_))) { [None; 2] } else { config.pulses },
            events: config.power_events.map(|events| thresholds.on(events)),
            kernel: config.kernel,
        };
        extras.check(&config.metrology).map_err(OpenError::Metrology)?;
        let timing = Timing {
            base: config.time_base,
            profile_period_seconds: config.profile_period_seconds,
            sample_rate_microhertz: config.metrology.sample_rate_microhertz,
            thresholds: config.thresholds,
        };
        let mut inner =
            Inner::new(identity, timing, (keys, config.key_encryption_key), storage, newest, now)?;
        let metrology = Metrology::with_extras(config.metrology, extras, inner.saved.registers)
            .map_err(OpenError::Metrology)?;
        inner.calibration = metrology.calibration_state().into();
        let mut standing = None;
        if let CalibrationState::Refused(error) = metrology.calibration_state() {
            standing = Some(inner.saved.registers);
            inner.log(EventCode::MeasurementError, refusal_number(&error))?;
        }
        Ok(Self {
            inner: Some(inner),
            metrology,
            analysis: config.harmonics.then(|| Box::new(HarmonicAnalysis::new())),
            standing,
            detector: Detector::new(),
            power_events: config.power_events,
            random,
            links: [const { None }; LINKS_MAX],
            last_link: 0,
            is_down: false,
            position: 0,
            rate: Rate(config.metrology.sample_rate_microhertz),
            save_interval_ms: config.register_save_interval_ms.into(),
            last_save_ms: 0,
        })
    }

    /// Gives the meter its private keys: what the certificate methods of Security setup work on. Without one they are
    /// refused. `issuers` are the certificates (DER) of its utility's authorities: it takes a certificate from none
    /// other, and without any from nobody.
    pub fn set_key_store(&mut self, keys: Arc<dyn KeyStore>, issuers: Vec<Vec<u8>>) {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.key_store = Some(keys);
        inner.issuers = issuers;
    }

    /// Gives the meter a place for new firmware. Without one, Image transfer says that there is none.
    pub fn set_image_store(&mut self, images: Box<dyn ImageStore>) {
        self.inner.as_deref_mut().expect(INNER).images = Some(images);
    }

    /// The place for new firmware, for whoever carries on what it has under way.
    pub fn image_store(&mut self) -> Option<&mut (dyn ImageStore + 'static)> {
        self.inner.as_deref_mut().expect(INNER).images.as_deref_mut()
    }

    /// Gives the meter the identity of the image that runs, from the boot stage. Without it, and without a place for new
    /// firmware that knows the boot stage's record, the meter attests nothing.
    pub fn set_image_identity(&mut self, identity: ImageIdentity) {
        self.inner.as_deref_mut().expect(INNER).attestor = Some(Attestor::new(identity));
    }

    /// The attestation that somebody has asked for, to be signed with the image key; `None` when nobody has, or one is being
    /// signed. Signing takes long: do it beside the measuring, and hand the signature to [`Self::attested`].
    pub fn attestation_request(&mut self) -> Option<AttestationRequest> {
        self.inner.as_deref_mut().expect(INNER).attestation_request()
    }

    /// Takes the signature of an attestation. `None`: it could not be signed; whoever wants it asks anew.
    pub fn attested(&mut self, number: u64, signature: Option<&[u8; 96]>) {
        self.inner.as_deref_mut().expect(INNER).attested(number, signature);
    }

    /// Carries on by one short step what the place for new firmware has under way, puts its events into the security log, and
    /// lets an image on probation prove itself. True: restart the device, to try a new image or to end a try.
    ///
    /// # Errors
    /// The meter's flash failed; its events come again. A firmware partition that fails stays as it is.
    pub fn carry_on_firmware(&mut self) -> Result<bool, StorageError<F::Error>> {
        let is_saved = self.last_save_ms > 0;
        let inner = self.inner.as_deref_mut().expect(INNER);
        let Some(mut images) = inner.images.take() else { return Ok(false) };
        let health = Health {
            measured: inner.window.is_some() && inner.calibration != CalibrationStatus::Refused,
            logged: is_saved && inner.pending.is_empty(),
            reached_head_end: inner.reached_head_end,
        };
        let over = images.prove(health, inner.uptime_ms()).is_ok_and(|end| end == Probation::Restart);
        let restart = images.carry_on(inner.clock()).unwrap_or(false);
        let events = images.events();
        let logged = events.iter().try_for_each(|&(code, extreme)| inner.log(code, extreme));
        if logged.is_ok() && !events.is_empty() {
            // Where this fails they are logged twice, which is better than not at all.
            let _ = images.logged();
        }
        inner.images = Some(images);
        logged.map(|()| over || restart)
    }

    /// Whether [`Self::carry_on_firmware`] has something to do now: for a device that calls it seldom otherwise.
    pub fn firmware_is_busy(&self) -> bool {
        self.inner().images.as_ref().is_some_and(|images| images.is_busy())
    }

    /// Tells the meter how its connection to the head-end fares, for DLMS to show. When the connection changed is taken
    /// from the meter's clock.
    pub fn set_link_status(&mut self, status: LinkStatus) {
        let inner = self.inner.as_deref_mut().expect(INNER);
        let now = inner.clock();
        inner.link.take(status, now);
    }

    /// Tells the meter how its device speaks TCP, for DLMS to show.
    pub fn set_connectivity(&mut self, connectivity: Connectivity) {
        self.inner.as_deref_mut().expect(INNER).connectivity = connectivity;
    }

    /// After so long without a byte the device is to give a connection up, seconds. It may change with every
    /// [`Self::receive`].
    pub fn inactivity_seconds(&self) -> u16 {
        self.inner().inactivity_seconds()
    }

    /// The wireless network that the installer has set, for the device's radio to join; `None` until then. It may change
    /// with every [`Self::receive`].
    pub fn wifi_network(&self) -> Option<&WifiNetwork> {
        self.inner().wifi.as_ref()
    }

    /// Measures these frames. Costs no flash access. For a front end that does not number its frames: otherwise use
    /// [`Self::sample_at`], and only that.
    pub fn sample(&mut self, frames: &[Frame], now: UnixMillis) {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        match &mut self.analysis {
            None => self.metrology.push(frames, &mut |window| inner.on_window(window)),
            Some(analysis) => {
                self.metrology.push_with_harmonics(frames, analysis, &mut |window, harmonics| {
                    inner.on_window(window);
                    inner.on_harmonics(harmonics);
                })
            }
        }
        self.position = self.position.saturating_add(frames.len() as u64);
        self.take_events();
    }

    /// Measures frames that the front end has numbered, the first of them `sequence`. Frames that came before are left
    /// out; frames that are missing end the record, and their energy is never estimated. Both become an event of the
    /// security log with its duration at the next [`Self::tick`].
    pub fn sample_at(&mut self, sequence: u64, frames: &[Frame], now: UnixMillis) {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        let before = self.metrology.continuity().duplicated_samples;
        let missing = match &mut self.analysis {
            None => self.metrology.push_at(sequence, frames, &mut |window| inner.on_window(window)),
            Some(analysis) => {
                self.metrology.push_at_with_harmonics(sequence, frames, analysis, &mut |window, harmonics| {
                    inner.on_window(window);
                    inner.on_harmonics(harmonics);
                })
            }
        };
        let repeated = self.metrology.continuity().duplicated_samples - before;
        let [lost_us, repeated_us, block_us] =
            [missing, repeated, frames.len() as u64].map(|frames| self.rate.microseconds(frames));
        let since = |ago_us: u64| inner.uptime_ms().saturating_sub(ago_us / 1000);
        let (lost_since, repeated_since) = (since(block_us.saturating_add(lost_us)), since(block_us));
        inner.gaps.missing(lost_us, lost_since);
        inner.gaps.repeated(repeated_us, repeated_since);
        self.position = self.position.saturating_add(missing + frames.len() as u64 - repeated);
        if missing > 0 {
            inner.interval.disturb(ProfileRow::GAP);
        }
        self.take_events();
    }

    /// Takes what a front end has metered itself, a metering circuit in place of a converter: the energy that L1 to L3
    /// gained since the last call, and the window that it is of, for the quantities that DLMS shows. Costs no flash
    /// access. A meter is fed by this or by samples, not by both: with this, start thresholds, pulses and
    /// power-quality events are the front end's.
    pub fn account(&mut self, window: &Window, energy: &[MeteredEnergy; VOLTAGES], now: UnixMillis) {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        self.metrology.book(energy);
        inner.on_window(window);
    }

    /// Books what was measured at its rate, and takes over the core's power-quality events.
    fn take_events(&mut self) {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.book_rates(self.standing.as_ref().unwrap_or(self.metrology.registers()));
        let samples = self.metrology.samples();
        while let Some(event) = self.metrology.take_event() {
            let ago_ms = |sample: u64| self.rate.microseconds(samples.saturating_sub(sample)) / 1000;
            let uptime_ms = inner.uptime_ms();
            self.detector.note(&event, |sample| uptime_ms.saturating_sub(ago_ms(sample)));
            inner.note_power_event(&event, ago_ms);
        }
    }

    /// Gives out the pulses of the test lamps: what the registers gained in one window, evenly over the next. Called
    /// less often than every fourth window they come later, and none is lost.
    pub fn take_pulses(&mut self, on_pulse: &mut dyn FnMut(Pulse)) {
        self.metrology.take_pulses(on_pulse);
    }

    /// Whether the supply's relay is closed. The device follows it after every call; the state survives restarts.
    pub fn supply_is_connected(&self) -> bool {
        self.inner().tariff.control == crate::supply::CONNECTED
    }

    /// Whether what the meter shows and books is calibrated.
    pub fn calibration(&self) -> CalibrationStatus {
        self.inner().calibration
    }

    /// Looks at the sensors, every [`SensorReadings::PERIOD_MS`], and at what was measured since the call before. The
    /// calibration follows the temperature. Every tamper event that these amount to is in flash when this returns `Ok`,
    /// and is pushed from there; the device then resets the covers' latches.
    ///
    /// # Errors
    /// The flash failed; the events are kept and written by the next call that succeeds.
    pub fn sense(
        &mut self,
        readings: &SensorReadings,
        now: UnixMillis,
    ) -> Result<(), StorageError<F::Error>> {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        let possible = self.metrology.set_temperature(readings.temperature_millikelvin);
        inner.calibration = match self.metrology.calibration_state() {
            // A broken thermometer: the coefficients stay as they are, and nobody knows whether they are right.
            CalibrationState::Valid { .. } if possible.is_err() => CalibrationStatus::Extrapolated,
            state => state.into(),
        };
        let mut outcome = inner.write_pending();
        let window = core::mem::take(&mut inner.window_is_new).then_some(inner.window).flatten();
        let thresholds = inner.thresholds();
        let moment = Moment {
            thresholds: &thresholds,
            latched: inner.latches(),
            uptime_ms: inner.uptime_ms(),
            unseen_us: inner.unseen_us,
            declared_millivolts: self
                .power_events
                .map_or(DECLARED_MILLIVOLTS, |events| events.declared_millivolts),
        };
        for event in self.detector.sense(readings, window.as_ref(), &moment) {
            outcome = outcome.and(inner.log_since(event.code, event.extreme, event.since_ms));
        }
        if outcome.is_err() {
            inner.storage_failed();
        }
        outcome
    }

    /// Does what is due: saves the registers, closes the load profile's interval. Call it every 100 ms or so.
    ///
    /// # Errors
    /// The flash failed; what is due stays due.
    pub fn tick(&mut self, now: UnixMillis) -> Result<(), StorageError<F::Error>> {
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        if inner.push_random.is_none() && inner.settings.push.randomisation_seconds > 0 {
            let mut random = [0; 4];
            self.random.fill(&mut random);
            inner.push_random = Some(u32::from_be_bytes(random));
        }
        let served = if self.is_down { 0 } else { LINKS_MAX };
        for slot in 0..served {
            // A link on which this fails says so when it is next asked.
            let _ = self.serve(slot, None);
        }
        let outcome = self.do_what_is_due();
        if outcome.is_err() {
            self.inner.as_deref_mut().expect(INNER).storage_failed();
        }
        outcome
    }

    fn do_what_is_due(&mut self) -> Result<(), StorageError<F::Error>> {
        let inner = self.inner.as_deref_mut().expect(INNER);
        if core::mem::take(&mut inner.thresholds_changed)
            && let Some(events) = self.power_events
        {
            // In their ranges, as they were when they were set: the core takes them.
            let _ = self.metrology.set_event_settings(inner.thresholds().on(events));
        }
        let registers = self.standing.as_ref().unwrap_or(self.metrology.registers());
        inner.write_pending()?;
        inner.log_gaps()?;
        inner.log_repeats(false)?;
        inner.save_counts_when_due()?;
        inner.book_rates(registers);
        inner.advance_demand(self.position, registers)?;
        inner.activate_when_due()?;
        inner.bill_when_due(registers)?;
        inner.close_interval(registers)?;
        inner.read_when_due(registers)?;
        inner.seal_rows()?;
        inner.watch_limit()?;
        inner.write_quality()?;
        inner.prepare_for_power_fail()?;
        if inner.uptime_ms() - self.last_save_ms >= self.save_interval_ms {
            inner.save_registers(registers)?;
            self.last_save_ms = inner.uptime_ms();
            inner.scrub()?;
            if inner.state_changed {
                inner.write_state_when_allowed()?;
            }
        }
        Ok(())
    }

    /// The checkpoint that is due, to be signed with the key in slot [`KeySlot::Log`](meterseal_seal::KeySlot::Log) of the
    /// key store; `None` when none is due, one is being signed already, or the meter has no such key. Signing takes long:
    /// do it beside the measuring, and hand the signature to [`Self::signed`].
    pub fn signing_request(&mut self) -> Option<SigningRequest> {
        self.inner.as_deref_mut().expect(INNER).signing_request()
    }

    /// Takes the signature of a checkpoint; when this returns `Ok`, the checkpoint is in flash. `None`: it could not be
    /// signed; it is asked for again.
    ///
    /// # Errors
    /// The flash failed; the checkpoint is asked for again.
    pub fn signed(
        &mut self,
        number: u64,
        signature: Option<&[u8; 96]>,
    ) -> Result<(), StorageError<F::Error>> {
        self.inner.as_deref_mut().expect(INNER).signed(number, signature)
    }

    /// The newest signed checkpoint of the sealed log; empty before the first.
    pub fn checkpoint(&self) -> &[u8] {
        &self.inner().sealed.newest_bytes
    }

    /// The sealed log's leaves that are held: from the oldest to one past the newest.
    pub fn sealed_leaves(&self) -> core::ops::Range<u64> {
        let storage = self.inner().storage.borrow();
        storage.tree().oldest()..storage.tree().peaks().size()
    }

    /// A leaf of the sealed log; `None` when it is not held.
    ///
    /// # Errors
    /// The flash failed.
    pub fn sealed_leaf(&self, index: u64) -> Result<Option<SealedLeaf>, StorageError<F::Error>> {
        self.inner().leaf(index)
    }

    /// A connection has come up: no association yet, nothing sent yet. Who is at its other end, as TLS has found out,
    /// decides which associations it may open.
    ///
    /// # Errors
    /// [`ProtocolError::TooManyConnections`]; close the connection.
    pub fn connected(&mut self, peer: Peer) -> Result<LinkId, ProtocolError> {
        let slot = self.links.iter_mut().find(|slot| slot.is_none());
        let slot = slot.ok_or(ProtocolError::TooManyConnections { limit: LINKS_MAX })?;
        self.last_link = self.last_link.wrapping_add(1);
        let id = LinkId(self.last_link);
        *slot = Some((id, Link::new(peer)));
        Ok(id)
    }

    /// A connection has gone. What was not acknowledged is pushed again on the next one.
    pub fn disconnected(&mut self, link: LinkId) {
        if let Some(slot) = self.slot_of(link) {
            self.links[slot] = None;
        }
    }

    /// Takes bytes from a connection's peer, in pieces of any size.
    ///
    /// # Errors
    /// Close the connection and call [`Self::disconnected`].
    pub fn receive(&mut self, link: LinkId, bytes: &[u8]) -> Result<(), ProtocolError> {
        let slot = self.slot_of(link).filter(|_| !self.is_down).ok_or(ProtocolError::NotConnected)?;
        self.serve(slot, Some(bytes))
    }

    /// The next wrapper frame for a connection's peer: answers first, then pushes. `None`: nothing for now. What is
    /// withheld from a peer that has failed comes after a later [`Self::tick`].
    ///
    /// # Errors
    /// Close the connection and call [`Self::disconnected`].
    pub fn transmit(&mut self, link: LinkId) -> Result<Option<Vec<u8>>, ProtocolError> {
        let slot = self.slot_of(link).ok_or(ProtocolError::NotConnected)?;
        let Some((_, link)) = &mut self.links[slot] else { return Err(ProtocolError::NotConnected) };
        link.transmit(self.inner.as_deref_mut().expect(INNER))
    }

    fn slot_of(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|slot| slot.as_ref().is_some_and(|(taken, _)| *taken == id))
    }

    /// Serves what has come, or else what was held back until now.
    fn serve(&mut self, slot: usize, received: Option<&[u8]>) -> Result<(), ProtocolError> {
        let mut elsewhere = Roles::NONE;
        for (k, link) in self.links.iter().enumerate() {
            if let Some((_, link)) = link.as_ref().filter(|_| k != slot) {
                elsewhere = elsewhere.union(link.associated());
            }
        }
        let Some((_, link)) = &mut self.links[slot] else { return Err(ProtocolError::NotConnected) };
        let mut service = Service { random: &mut self.random, elsewhere };
        let inner = self.inner.take().expect(INNER);
        let (inner, outcome) = match received {
            Some(bytes) => link.receive(inner, &mut service, bytes),
            None => link.tick(inner, &mut service),
        };
        let inner = self.inner.insert(inner);
        // Under a key that was replaced nobody is served any more, the one who replaced it included.
        let replaced = core::mem::take(&mut inner.keys.replaced);
        inner.keys.restarted = Roles::NONE;
        self.links.iter_mut().flatten().for_each(|(_, link)| link.end(replaced));
        let Some((_, link)) = &mut self.links[slot] else { return outcome };
        // An association that has only begun gives way: its engine must not use a counter that another now uses.
        let begun = link.begun().without(Role::Public);
        for (k, link) in self.links.iter_mut().enumerate() {
            if let Some((_, link)) = link.as_mut().filter(|_| k != slot) {
                link.end(begun);
            }
        }
        outcome
    }

    /// What the latest window measured; `None` before the first.
    pub fn live(&self) -> Option<&Window> {
        self.inner().window.as_ref()
    }

    /// The energy registers that are in flash: what DLMS shows, and what a power cut cannot take back.
    pub fn saved_registers(&self) -> &Registers {
        &self.inner().saved.registers
    }

    /// The security log's sequence numbers that are held, oldest to newest; empty (1 to 0) before the first entry.
    pub fn security_log_range(&self) -> core::ops::RangeInclusive<u64> {
        let sequences = self.inner().storage.borrow().log().sequences();
        (*sequences.start()).into()..=(*sequences.end()).into()
    }

    /// Reads an entry of the security log; `None` when it is not held.
    ///
    /// # Errors
    /// The flash failed.
    pub fn security_log_entry(&self, sequence: u64) -> Result<Option<SecurityEntry>, StorageError<F::Error>> {
        let Ok(sequence) = u32::try_from(sequence) else { return Ok(None) };
        self.inner().storage.borrow_mut().log_entry(sequence)
    }

    /// The power-quality log's sequence numbers that are held, oldest to newest; empty (1 to 0) before the first row.
    pub fn power_quality_range(&self) -> core::ops::RangeInclusive<u64> {
        let sequences = self.inner().storage.borrow().quality().sequences();
        (*sequences.start()).into()..=(*sequences.end()).into()
    }

    /// Reads a row of the power-quality log; `None` when it is not held.
    ///
    /// # Errors
    /// The flash failed.
    pub fn power_quality_row(&self, sequence: u64) -> Result<Option<QualityRow>, StorageError<F::Error>> {
        let Ok(sequence) = u32::try_from(sequence) else { return Ok(None) };
        self.inner().storage.borrow_mut().quality_row(sequence)
    }

    /// The load profile's sequence numbers that are held, oldest to newest; empty (1 to 0) before the first row.
    pub fn load_profile_range(&self) -> core::ops::RangeInclusive<u64> {
        let sequences = self.inner().storage.borrow().profile().sequences();
        (*sequences.start()).into()..=(*sequences.end()).into()
    }

    /// Reads a row of the load profile; `None` when it is not held.
    ///
    /// # Errors
    /// The flash failed.
    pub fn load_profile_row(&self, sequence: u64) -> Result<Option<ProfileRow>, StorageError<F::Error>> {
        let Ok(sequence) = u32::try_from(sequence) else { return Ok(None) };
        self.inner().storage.borrow_mut().profile_row(sequence)
    }

    /// The highest security-log sequence that the head-end has acknowledged.
    pub fn committed_security_log(&self) -> u64 {
        self.inner().state.committed_log.into()
    }

    /// What the meter says about itself.
    pub fn identity(&self) -> &Identity {
        &self.inner().identity
    }

    /// Milliseconds since power-up, up to the last call that took `now`; log entries tell them too.
    pub fn uptime_ms(&self) -> u64 {
        self.inner().uptime_ms()
    }

    /// The meter's clock: the time that it was last given, as set by the utility.
    pub fn clock(&self) -> UnixMillis {
        self.inner().clock()
    }

    /// An orderly stop: saves everything and logs it. After `Ok` nothing is lost by cutting the power. The meter listens to
    /// nobody any more; what it says last, that it goes down, is for [`Self::transmit`].
    ///
    /// # Errors
    /// The flash failed.
    pub fn power_down(&mut self, now: UnixMillis) -> Result<(), StorageError<F::Error>> {
        self.is_down = true;
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        let registers = self.standing.as_ref().unwrap_or(self.metrology.registers());
        inner.write_pending()?;
        inner.log_gaps()?;
        inner.log_repeats(true)?;
        inner.close_interval(registers)?;
        inner.save_registers(registers)?;
        inner.write_quality()?;
        inner.log(EventCode::PowerDown, 0)?;
        // A second copy: until the next start nothing else could mend the first, should it rot.
        inner.save_registers(registers)?;
        // Their leaves too: so the numbers of the last records are not given again, should those rot.
        inner.seal_rows()?;
        inner.save_counts()?;
        inner.write_state()
    }

    /// The supply is failing: what matters most is written at once, while the supply's capacitor lasts. Call it from the
    /// supply's early warning, and nothing after it. Two writes of registers of 512 bytes and one log entry of 128 bytes, and
    /// no erase: sectors are erased ahead. Whatever of it succeeds, the meter comes up again with all that it has
    /// shown; docs/sealed-log.md says how much energy may be missing.
    ///
    /// # Errors
    /// The flash failed, or the capacitor was empty before all was written.
    pub fn power_fail(&mut self, now: UnixMillis) -> Result<(), StorageError<F::Error>> {
        self.is_down = true;
        let inner = self.inner.as_deref_mut().expect(INNER);
        inner.advance(now);
        inner.last_words(self.standing.as_ref().unwrap_or(self.metrology.registers()))
    }

    fn inner(&self) -> &Inner<F> {
        self.inner.as_deref().expect(INNER)
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Inner<F> {
        self.inner.as_deref_mut().expect(INNER)
    }
}

impl<F: NorFlash, R: Random> core::fmt::Debug for Meter<F, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Meter").field("id", &self.identity().id).finish_non_exhaustive()
    }
}

/// Connections that are served at once: the head-end's, and a few at the local port.
pub(crate) const LINKS_MAX: usize = 4;
/// Frames a second, in microhertz.
#[derive(Clone, Copy, Debug)]
struct Rate(u64);

impl Rate {
    /// How long so many frames take.
    fn microseconds(self, frames: u64) -> u64 {
        let microseconds = u128::from(frames) * 1_000_000_000_000 / u128::from(self.0);
        u64::try_from(microseconds).unwrap_or(u64::MAX)
    }
}

/// The supply's voltage where the core watches none: 230 V to neutral.
const DECLARED_MILLIVOLTS: u32 = 230_000;

const INNER: &str = "the meter's state only leaves while receive() serves a request, and comes back with it";
