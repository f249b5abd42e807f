//! A meter behind a network address, with or without instruments.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use meterseal_link::client::AccessError;
use meterseal_link::reach::MeterAddress;
use meterseal_link::{ClientError, Notification, Value};
use meterseal_model::{Obis, Role};
use meterseal_world::physics::LoadPoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::time::{timeout, timeout_at};

use super::connection::{Client, Held, Log, Secret, Tapped, Way, locked, note};
use super::instruments::{Instruments, InstrumentsProfile, today};
use crate::catalogue::Need;
use crate::certify::{
    Alarm, CallId, Called, Caller, Counters, Credentials, Endpoint, Exchange, Laboratory, Memory, Profile,
    Received, Stimulus, Target, Trouble,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Pushes that wait for somebody to ask.
const PUSHES_MAX: usize = 10_000;

/// One real meter, tested one requirement after the other.
pub struct NetworkLaboratory {
    way: Way,
    instruments: InstrumentsProfile,
    simulated: bool,
}

impl NetworkLaboratory {
    /// Looks whether the profile's files and instruments are there. `state` is the folder for invocation counters where the profile names none.
    ///
    /// # Errors
    /// [`Trouble`]: what is missing, and what to do.
    pub fn new(address: MeterAddress, profile: &Profile, state: &Path) -> Result<Self, Trouble> {
        let network = profile.network.clone();
        let state = network.state.clone().unwrap_or_else(|| state.to_owned());
        let way = Way { address, profile: network, state };
        way.check()?;
        // Files that others can read, or that are no keys, are told before anything is asked of the meter.
        drop(way.secret()?);
        let instruments = profile.instruments.clone();
        let connected = Instruments::connect(&instruments, Instant::now())?;
        let simulated = profile.hardware == "virtual" || connected.is_some_and(|all| all.simulated());
        Ok(Self { way, instruments, simulated })
    }

    /// Whether meter or instruments are simulated, as they say: such results are never a laboratory's.
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// What makes some of the results not count, in words.
    pub fn reservation(&self) -> Option<String> {
        self.instruments.overdue(&today()).map(|trouble| trouble.to_string())
    }
}

impl Laboratory for NetworkLaboratory {
    fn places(&self) -> usize {
        1
    }

    fn target(&self, _: u64) -> Result<Box<dyn Target + '_>, Trouble> {
        NetworkTarget::new(self.way.clone(), self.instruments.clone())
            .map(|target| Box::new(target) as Box<dyn Target>)
    }
}

/// The meter, as one requirement's procedure has it.
pub struct NetworkTarget {
    way: Way,
    runtime: Runtime,
    begun: Instant,
    profile: InstrumentsProfile,
    instruments: Option<Instruments>,
    secret: Option<Secret>,
    standing: Option<Client>,
    /// Why the standing connection ended by itself: alarms may be lost with it.
    lost: Option<String>,
    arrived: Vec<(u64, Notification)>,
    calls: Vec<Call>,
    log: Log,
    /// Keys of other roles, read when they are wanted.
    others: RefCell<BTreeMap<usize, Option<Held>>>,
}

struct Call {
    stream: Option<Tapped>,
    closed: String,
}

impl NetworkTarget {
    fn new(way: Way, profile: InstrumentsProfile) -> Result<Self, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::Bench(format!("no runtime for the connection: {error}")))?;
        let begun = Instant::now();
        let instruments = Instruments::connect(&profile, begun)?;
        let secret = Some(way.secret()?);
        Ok(Self {
            way,
            runtime,
            begun,
            profile,
            instruments,
            secret,
            standing: None,
            lost: None,
            arrived: Vec::new(),
            calls: Vec::new(),
            log: Log::default(),
            others: RefCell::default(),
        })
    }

    fn instruments(&mut self) -> Result<&mut Instruments, Trouble> {
        self.instruments
            .as_mut()
            .ok_or(Trouble::Lacks("source of voltage and current with a reference standard"))
    }

    /// Does one thing over the standing connection, which is made where it is not there.
    fn ask<T>(&mut self, ask: impl AsyncFnOnce(&mut Client) -> Result<T, ClientError>) -> Result<T, Trouble> {
        let Self { way, runtime, begun, secret, standing, log, .. } = self;
        let secret = secret.as_mut().ok_or(Trouble::Lacks("credentials of the meter"))?;
        let client = match standing {
            Some(client) => client,
            None => standing.insert(runtime.block_on(way.stand(secret, log, *begun))?),
        };
        if let Secret::Keys(held) = secret {
            client.allow_counters_to(held.last()?);
        }
        let outcome = runtime.block_on(ask(client));
        if let Secret::Keys(held) = secret {
            note(held, client);
        }
        outcome.map_err(|error| {
            if error.is_fatal() {
                *standing = None;
            }
            way.explain(error)
        })
    }

    /// Ends the standing connection with a goodbye.
    fn end_standing(&mut self) {
        let Some(client) = self.standing.take() else { return };
        if let Some(Secret::Keys(held)) = &mut self.secret {
            // The goodbye goes under one more.
            held.used.ours = held.used.ours.max(client.invocation_counter().saturating_add(1));
        }
        // Whether the meter hears it changes nothing.
        let _ = self.runtime.block_on(async { timeout(GOODBYE, client.release()).await });
    }

    /// Hears what the meter says by itself until then.
    fn listen(&mut self, until: Instant) {
        let Self { runtime, standing, arrived, lost, begun, .. } = self;
        let Some(client) = standing else {
            return std::thread::sleep(until.saturating_duration_since(Instant::now()));
        };
        let outcome = runtime.block_on(async {
            loop {
                match timeout_at(until.into(), client.notification()).await {
                    Err(_) => return Ok(()),
                    Ok(Ok(push)) if arrived.len() < PUSHES_MAX => {
                        let at = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        arrived.push((at, push));
                    }
                    Ok(Ok(_)) => return Err(format!("it pushes without end: {PUSHES_MAX} wait")),
                    Ok(Err(error)) => return Err(error.to_string()),
                }
            }
        });
        if let Some(Secret::Keys(held)) = &mut self.secret {
            note(held, client);
        }
        if let Err(why) = outcome {
            (*lost, *standing) = (Some(why), None);
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }

    fn is_standing(&self, role: Role) -> bool {
        self.way.standing_role() == Some(role)
    }

    fn call_of(&mut self, call: CallId) -> Result<&mut Call, Trouble> {
        self.calls
            .get_mut(call.0 as usize)
            .ok_or_else(|| Trouble::Bench(format!("there is no call {}", call.0)))
    }
}

impl Target for NetworkTarget {
    fn offers(&self, need: Need) -> bool {
        match need {
            // The source is the meter's supply.
            Need::Load | Need::Power => self.instruments.is_some(),
            Need::Climate => self.instruments.as_ref().is_some_and(Instruments::has_chamber),
            Need::Peer => self.way.profile.access.is_some(),
            Need::Magnet
            | Need::Covers
            | Need::Surge
            | Need::Tilt
            | Need::Supply
            | Need::Tap
            | Need::Radio
            | Need::Memory => false,
        }
    }

    fn load(&mut self, load: &LoadPoint) -> Result<(), Trouble> {
        if let Some(overdue) = self.profile.overdue(&today()) {
            return Err(overdue);
        }
        self.instruments()?.load(load)
    }

    fn ambient(&mut self, celsius: f64) -> Result<(), Trouble> {
        self.instruments()?.ambient(celsius)
    }

    fn stimulate(&mut self, _: Stimulus) -> Result<(), Trouble> {
        Err(Trouble::Lacks("means for this stimulus; let a person do it and give the result (--manual)"))
    }

    fn supply(&mut self, on: bool) -> Result<(), Trouble> {
        if !on {
            // What had arrived stays arrived; the meter will not say goodbye.
            self.standing = None;
        }
        self.instruments()?.output(on)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, 1e6) } else { 0.0 };
        self.listen(Instant::now() + Duration::from_secs_f64(seconds));
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn joules(&mut self) -> Result<f64, Trouble> {
        self.instruments()?.joules()
    }

    fn watts(&mut self) -> Result<f64, Trouble> {
        self.instruments()?.watts()
    }

    fn uncertainty_percent(&self, seconds: f64) -> f64 {
        self.profile.uncertainty_percent(seconds)
    }

    fn pulses(&mut self) -> Result<Vec<f64>, Trouble> {
        self.instruments()?.pulses()
    }

    fn get(&mut self, items: &[(u16, Obis, i8)]) -> Result<Vec<Result<Value, AccessError>>, Trouble> {
        self.ask(async |client| client.get_list(items).await)
    }

    fn rows(&mut self, profile: Obis, first: u32, last: u32) -> Result<Vec<Vec<Value>>, Trouble> {
        let most = (last.saturating_sub(first) + 1) as usize;
        self.ask(async |client| client.profile_by_entry(profile, first, last, most).await)
    }

    fn alarms(&mut self) -> Result<Vec<Alarm>, Trouble> {
        // An alarm that was lost with its connection is not one that the meter did not send.
        if let Some(why) = self.lost.take() {
            return Err(Trouble::Meter(format!(
                "{}: the standing connection was lost: {why}",
                self.way.address
            )));
        }
        // It is made where it is not there.
        self.ask(async |_| Ok(()))?;
        self.listen(Instant::now() + Duration::from_millis(1));
        let alarm = |(arrived_ns, push): (u64, Notification)| {
            let event = push.event().map_err(|error| Trouble::Meter(error.to_string()))?;
            Ok(Alarm { arrived_ns, sequence: event.sequence, code: event.code as u8, time: event.time })
        };
        self.arrived.drain(..).map(alarm).collect()
    }

    fn watch(&mut self, _closely: bool) {
        // Alarms are stamped as they come.
    }

    fn made_with(&mut self, _: f64) -> Result<(), Trouble> {
        Err(Trouble::Lacks("way to make a real meter anew"))
    }

    fn memory(&self) -> Option<Memory> {
        None
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let access = self.way.profile.access.clone()?;
        let MeterAddress { tls, host, port } = &self.way.address;
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Some(Endpoint { address, tls: *tls, access })
    }

    fn call(&mut self, caller: Caller) -> Result<Called, Trouble> {
        if !self.way.can_call(caller.role) {
            return Err(Trouble::Lacks("certificate of this role for the meter's port"));
        }
        if self.is_standing(caller.role) {
            self.end_standing();
        }
        let dialled = self.runtime.block_on(self.way.dial(Some(caller.role), &self.log, self.begun));
        match dialled {
            Ok((stream, _)) => {
                self.calls.push(Call { stream: Some(stream), closed: String::new() });
                Ok(Called::Open(CallId((self.calls.len() - 1) as u32)))
            }
            Err(Trouble::Meter(why)) => Ok(Called::Refused(why)),
            Err(trouble) => Err(trouble),
        }
    }

    fn send(&mut self, call: CallId, bytes: &[u8]) -> Result<(), Trouble> {
        let within = self.way.within();
        let Call { stream, closed } = self
            .calls
            .get_mut(call.0 as usize)
            .ok_or_else(|| Trouble::Bench(format!("there is no call {}", call.0)))?;
        let Some(open) = stream else { return Ok(()) };
        let sent = self.runtime.block_on(async {
            timeout(within, async {
                open.write_all(bytes).await?;
                open.flush().await
            })
            .await
        });
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => (*stream, *closed) = (None, error.to_string()),
            Err(_) => (*stream, *closed) = (None, "it takes no more bytes".to_owned()),
        }
        Ok(())
    }

    fn receive(&mut self, call: CallId, patience_seconds: f64) -> Result<Received, Trouble> {
        let patience = Duration::from_secs_f64(patience_seconds.clamp(0.0, 1e6));
        let Call { stream, closed } = self
            .calls
            .get_mut(call.0 as usize)
            .ok_or_else(|| Trouble::Bench(format!("there is no call {}", call.0)))?;
        let Some(open) = stream else { return Ok(Received::Closed(closed.clone())) };
        let mut bytes = vec![0; 16 * 1024];
        match self.runtime.block_on(async { timeout(patience, open.read(&mut bytes)).await }) {
            Err(_) => return Ok(Received::Nothing),
            Ok(Ok(length)) if length > 0 => {
                bytes.truncate(length);
                return Ok(Received::Bytes(bytes));
            }
            Ok(Ok(_)) => (*stream, *closed) = (None, "the meter closed it".to_owned()),
            Ok(Err(error)) => (*stream, *closed) = (None, error.to_string()),
        }
        Ok(Received::Closed(closed.clone()))
    }

    fn hang_up(&mut self, call: CallId) -> Result<(), Trouble> {
        let call = self.call_of(call)?;
        if let Some(mut stream) = call.stream.take() {
            call.closed = "the bench closed it".to_owned();
            let _ = self.runtime.block_on(async { timeout(GOODBYE, stream.shutdown()).await });
        }
        Ok(())
    }

    fn credentials(&self, role: Role) -> Option<Credentials> {
        let meter = self.way.profile.title().ok().flatten()?;
        let of = |held: &Held| {
            Some(Credentials { meter, client: held.title(), keys: held.suite_two()?, counters: held.used })
        };
        if self.is_standing(role) {
            return match &self.secret {
                Some(Secret::Keys(held)) => of(held),
                _ => None,
            };
        }
        let mut others = self.others.borrow_mut();
        let held = others.entry(role.index()).or_insert_with(|| self.way.keys(Some(role)).ok().flatten());
        let held = held.as_mut()?;
        held.last().ok()?;
        of(held)
    }

    fn spent(&mut self, role: Role, counters: Counters) {
        if self.is_standing(role) {
            if let Some(Secret::Keys(held)) = &mut self.secret {
                held.used = held.used.and(counters);
            }
        } else if let Some(Some(held)) = self.others.get_mut().get_mut(&role.index()) {
            held.used = held.used.and(counters);
        }
    }

    fn transcript(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut *locked(&self.log))
    }
}

impl Drop for NetworkTarget {
    fn drop(&mut self) {
        self.end_standing();
    }
}
