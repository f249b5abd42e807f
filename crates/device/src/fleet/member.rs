//! One meter of a fleet: the sans-I/O meter behind a lock that is never held while anything is awaited, its life in
//! steps of the energy model, and its connection.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meterseal_link::dial::{Progress, Tcp};
use meterseal_meter::{LinkId, Meter, Peer, ProtocolError, SigningRequest, StorageError};
use meterseal_model::{MeterId, Roles, SensorReadings, UnixMillis};
use meterseal_seal::SealKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::firmware::{Assembly, Powered};
use super::load::Load;
use super::memory::Chip;
use super::signing::Signing;
use crate::link_state::LinkState;
use crate::{StartError, SystemRandom, wall_clock};

/// A meter of the fleet.
pub(super) struct Member {
    pub(super) id: MeterId,
    assembly: Assembly,
    load: Load,
    clock: Clock,
    signing: Signing,
    life: Mutex<Life>,
    /// There may be something to send: a push, or an answer that was withheld for a while.
    news: Notify,
    /// How its connection fares, for the meter to show.
    link: LinkState,
}

struct Life {
    meter: Meter<Chip, SystemRandom>,
    /// Signs for the image that runs.
    image_key: Option<SealKey>,
    /// Power-ons in this process: links of an earlier one are nobody's.
    starts: u32,
    /// Nothing in its flash boots: it stands still.
    is_dead: bool,
    /// Up to when it has lived.
    now: UnixMillis,
    /// What its sensors say until they say something else.
    readings: SensorReadings,
    /// Trouble with the flash has been told.
    told: bool,
}

impl Member {
    /// Powers it on at `now`.
    pub(super) fn new(
        assembly: Assembly,
        clock: Clock,
        signing: Signing,
        now: UnixMillis,
    ) -> Result<Self, StartError> {
        let (meter, image_key) = power_on(&assembly, &signing, now)?;
        let id = assembly.id();
        let readings = SensorReadings::QUIET;
        let life = Life { meter, image_key, starts: 0, is_dead: false, now, readings, told: false };
        let (life, load) = (Mutex::new(life), Load::new(id.serial()));
        let (news, link) = (Notify::new(), LinkState::default());
        Ok(Self { id, assembly, load, clock, signing, life, news, link })
    }

    /// Lets its firmware do some steps of what it has to do, and restarts the meter where it asks for it. `true`: there is
    /// more to do.
    pub(super) fn carry_on(&self, steps: usize) -> bool {
        let mut life = self.life();
        for _ in 0..steps {
            if life.is_dead {
                return false;
            }
            match life.meter.carry_on_firmware() {
                Ok(true) => self.restart(&mut life),
                Ok(false) if life.meter.firmware_is_busy() => {}
                Ok(false) => return false,
                // Told of where it next lives; its events come again.
                Err(_) => return false,
            }
        }
        true
    }

    /// Goes down, saved, and up again with what the boot stage starts. Its connection ends.
    fn restart(&self, life: &mut Life) {
        let now = life.now.max(self.clock.now());
        if let Err(error) = life.meter.power_down(now) {
            tracing::error!(meter = %self.id, "goes down, but not saved: {error}");
        }
        life.starts += 1;
        match power_on(&self.assembly, &self.signing, now) {
            Ok((meter, image_key)) => {
                (life.meter, life.image_key, life.now) = (meter, image_key, self.clock.now().max(now));
            }
            Err(error) => {
                tracing::error!(meter = %self.id, "{error}");
                life.is_dead = true;
            }
        }
        self.news.notify_one();
    }

    /// Hears how its connection fares.
    pub(super) fn observe(&self, progress: Progress<'_>) {
        self.link.observe(progress);
    }

    /// Lives up to its clock's time in one step.
    pub(super) fn live(&self) {
        self.live_until(self.clock.now());
    }

    /// Has a checkpoint signed here and now: for the thread that signs.
    pub(super) fn sign(&self, starts: u32, request: &SigningRequest) {
        self.signing.sign(self, starts, request);
    }

    /// Takes a checkpoint's signature; one that was asked for before a restart is for another checkpoint.
    pub(super) fn signed(&self, starts: u32, number: u64, signature: Option<&[u8; 96]>) {
        let mut life = self.life();
        if life.starts != starts || life.is_dead {
            return;
        }
        let taken = life.meter.signed(number, signature).err();
        self.note(life, taken);
    }

    /// Lives until `now` in one step; a time that has passed changes nothing.
    pub(super) fn live_until(&self, now: UnixMillis) {
        let mut life = self.life();
        if now <= life.now || life.is_dead {
            return;
        }
        let metered = self.load.metered(life.now, now);
        life.now = now;
        life.meter.account(&metered.window, &metered.energy, now);
        let readings = life.readings;
        let lived = life.meter.sense(&readings, now).and_then(|()| life.meter.tick(now)).err();
        self.note(life, lived);
        // A new image that was activated for this time, or whose probation is over.
        if self.carry_on(1) {
            self.assembly.busy.add(self.signing.place);
        }
    }

    /// Changes what the sensors say, and lets the meter look at them at once: what `change` leaves there stays, but a
    /// surge's peak and how far a field went are read once. Where the meter detects an event, it is in flash and on its way
    /// when this returns.
    pub(super) fn feel(&self, change: impl FnOnce(&mut SensorReadings)) {
        let felt = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut life = self.life();
        let before = life.readings.magnetic_field_microtesla;
        change(&mut life.readings);
        if life.is_dead {
            return;
        }
        let (mut readings, now) = (life.readings, life.now.max(self.clock.now()));
        life.readings.surge_peak_millivolts = [0; 3];
        // The sensor holds how far the field went since it was last read. Without that a meter would have to take it that
        // the field had been there since then: in a fleet that is up to a step.
        let after = readings.magnetic_field_microtesla;
        readings.magnetic_swing_microtesla = core::array::from_fn(|axis| before[axis].abs_diff(after[axis]));
        // Its energy is accounted for up to `life.now`, which stays.
        let sensed = life.meter.sense(&readings, now).err();
        // `RUST_LOG=meterseal::stimulus=debug`: when sensors showed something new, for those who measure. DLMS tells times in
        // hundredths of a second; an entry's uptime is that of the look that saw it first.
        let (uptime_ms, at_us) = (life.meter.uptime_ms(), felt.as_micros());
        self.note(life, sensed);
        tracing::debug!(target: "meterseal::stimulus", meter = %self.id, uptime_ms, at_us, "felt");
    }

    /// Tells of trouble with the flash when it begins, has a checkpoint signed that is due, and lets the connection look
    /// what there is to send.
    fn note(&self, mut life: MutexGuard<'_, Life>, trouble: Option<StorageError<crate::flash::FlashError>>) {
        let told = std::mem::replace(&mut life.told, trouble.is_some());
        // The checkpoint's bytes are made here; a meter has at most one under way.
        let (request, starts) = (life.meter.signing_request(), life.starts);
        drop(life);
        if let Some(error) = trouble.filter(|_| !told) {
            tracing::error!(meter = %self.id, "{error}");
        }
        if let Some(request) = request {
            self.signing.ask(starts, request);
        }
        self.news.notify_one();
    }

    /// Saves, and says that it goes down.
    pub(super) fn stop(&self) {
        let mut life = self.life();
        if life.is_dead {
            return;
        }
        let now = life.now.max(self.clock.now());
        life.now = now;
        if let Err(error) = life.meter.power_down(now) {
            tracing::error!(meter = %self.id, "stopped, but not saved: {error}");
        }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        roles: Roles,
        online: &AtomicUsize,
        mut cut: watch::Receiver<u64>,
    ) -> End {
        cut.mark_unchanged();
        let (link, starts) = match self.connect(Peer { roles, local: false }) {
            Ok(connected) => connected,
            Err(error) => return End::ByMeter(error),
        };
        let _connected = Connected::new(self, link, starts, online);
        let mut inbound = [0; CHUNK];
        loop {
            let silence = self.silence();
            let read = tokio::select! {
                read = timeout(silence, stream.read(&mut inbound)) => match read {
                    Err(_) => return End::Silence(silence),
                    Ok(Ok(0)) => return End::ByPeer,
                    Ok(Ok(length)) => length,
                    Ok(Err(error)) => return End::Broken(error),
                },
                () = self.news.notified() => 0,
                // Cut as a line is: nothing is said about it.
                _ = cut.changed() => return End::Cut,
            };
            self.link.bytes.incoming.fetch_add(read as u64, Ordering::Relaxed);
            let (outbound, outcome) = self.exchange(link, starts, &inbound[..read]);
            let written = timeout(silence, async {
                stream.write_all(&outbound).await?;
                stream.flush().await
            });
            match written.await {
                Err(_) => return End::Silence(silence),
                Ok(Ok(())) => {
                    self.link.bytes.outgoing.fetch_add(outbound.len() as u64, Ordering::Relaxed);
                }
                Ok(Err(error)) => return End::Broken(error),
            }
            if let Err(error) = outcome {
                return End::ByMeter(error);
            }
        }
    }

    /// A new link, and of which power-on it is.
    fn connect(&self, peer: Peer) -> Result<(LinkId, u32), ProtocolError> {
        let mut life = self.life();
        if life.is_dead {
            return Err(ProtocolError::NotConnected);
        }
        Ok((life.meter.connected(peer)?, life.starts))
    }

    fn silence(&self) -> Duration {
        Duration::from_secs(self.life().meter.inactivity_seconds().into())
    }

    /// What the meter answers to these bytes, and what it has to push.
    fn exchange(&self, link: LinkId, starts: u32, inbound: &[u8]) -> (Vec<u8>, Result<(), ProtocolError>) {
        let mut outbound = Vec::new();
        let mut life = self.life();
        if life.starts != starts {
            return (outbound, Err(ProtocolError::NotConnected));
        }
        life.meter.set_link_status(self.link.status(&Tcp));
        let outcome = life.meter.receive(link, inbound);
        // Here nothing is measured that a signature could hold up.
        let Life { meter, image_key, .. } = &mut *life;
        while let (Some(key), Some(request)) = (&image_key, meter.attestation_request()) {
            meter.attested(request.number, crate::signer::attest(self.id, key, &request).as_ref());
        }
        // A head-end that is reached confirms an image; what takes longer has its own time.
        let restart = matches!(meter.carry_on_firmware(), Ok(true));
        if restart || meter.firmware_is_busy() {
            self.assembly.busy.add(self.signing.place);
        }
        loop {
            match life.meter.transmit(link) {
                Ok(Some(frame)) if outbound.is_empty() => outbound = frame,
                Ok(Some(frame)) => outbound.extend_from_slice(&frame),
                Ok(None) => return (outbound, outcome),
                Err(error) => return (outbound, outcome.and(Err(error))),
            }
        }
    }

    /// The meter is whole between any two calls, also where one panicked.
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A meter's own time: what it was at a moment of the wall clock's, and how fast it goes since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) site: UnixMillis,
    pub(super) wall: UnixMillis,
    pub(super) speed: f64,
}

impl Clock {
    fn now(&self) -> UnixMillis {
        let passed = wall_clock().0.saturating_sub(self.wall.0);
        // Exact at the speed of the wall: an interval's length in milliseconds is far below 2⁵³.
        UnixMillis(self.site.0.saturating_add((passed as f64 * self.speed) as i64))
    }
}

/// One power-on, with what the meter signs its checkpoints with. Without issuers it takes certificates from nobody: its
/// identity is renewed with the fleet's file.
fn power_on(assembly: &Assembly, signing: &Signing, now: UnixMillis) -> Result<Powered, StartError> {
    let (mut meter, image_key) = assembly.power_on(now)?;
    if let Some(keys) = &signing.keys {
        meter.set_key_store(Arc::clone(keys), Vec::new());
    }
    Ok((meter, image_key))
}

/// While this is there, the meter is connected.
struct Connected<'a> {
    member: &'a Member,
    link: LinkId,
    starts: u32,
    online: &'a AtomicUsize,
}

impl<'a> Connected<'a> {
    fn new(member: &'a Member, link: LinkId, starts: u32, online: &'a AtomicUsize) -> Self {
        online.fetch_add(1, Ordering::Relaxed);
        Self { member, link, starts, online }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let mut life = self.member.life();
        if life.starts == self.starts {
            life.meter.disconnected(self.link);
        }
        self.online.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    ByPeer,
    ByMeter(ProtocolError),
    Silence(Duration),
    Cut,
    Broken(std::io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the head-end closed the connection"),
            Self::ByMeter(error) => write!(f, "the meter closed the connection: {error}"),
            Self::Silence(longest) => write!(f, "nothing came through for {longest:?}"),
            Self::Cut => f.write_str("the line was cut"),
            Self::Broken(error) => {
                write!(f, "the connection broke: {}", meterseal_link::tls::explain_io(error))
            }
        }
    }
}

/// Bytes read at once.
const CHUNK: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meterseal_link::dial::Target;
    use meterseal_link::{Pki, tls};
    use meterseal_meter::{DlmsKeys, Identity, RoleKeys};
    use meterseal_model::{Digest384, EventCode};

    use super::super::{Fleet, MemberSettings, Settings};
    use super::*;

    #[test]
    fn a_magnet_at_a_meter_that_looks_seldom_is_dated_when_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(&folder.path().join("pki")).unwrap();
        let id = "MSL0000000042".parse().unwrap();
        let member = MemberSettings {
            identity: Identity {
                id,
                device_type: "test".to_owned(),
                firmware_version: "0".to_owned(),
                firmware_digest: Digest384([1; 48]),
            },
            keys: DlmsKeys { encryption: [1; 32], authentication: [2; 32] },
            role_keys: RoleKeys::NONE,
            log_key: None,
            tls: tls::meter_config(&pki.issue_meter(id).unwrap().identity().unwrap(), &pki.trust()).unwrap(),
            stage: None,
        };
        let nobody = Target { address: "127.0.0.1:1".to_owned(), headend: "local".to_owned() };
        let settings = Settings { step: Duration::from_secs(60), history: 0, ..Settings::new(nobody, 1) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let flash = folder.path().join("flash.bin");
        let fleet = Fleet::start(vec![member], &settings, &flash, runtime.handle(), |_| ()).unwrap();
        let member = &fleet.members[0];
        for (field, code) in [([0, 0, 300_000], EventCode::MagnetOn), ([0; 3], EventCode::MagnetOff)] {
            // So long nobody looks.
            std::thread::sleep(Duration::from_millis(300));
            let came = wall_clock();
            member.feel(|readings| readings.magnetic_field_microtesla = field);
            std::thread::sleep(Duration::from_millis(13));
            member.feel(|_| {});
            let life = member.life();
            let newest = *life.meter.security_log_range().end();
            let entry = life.meter.security_log_entry(newest).unwrap().unwrap();
            drop(life);
            assert_eq!(entry.code, code);
            assert!(entry.time >= came, "{code:?} is dated {} ms before it came", came.0 - entry.time.0);
        }
    }
}
