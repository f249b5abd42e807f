//! A bench of instruments with a virtual meter on it, behind real TCP ports and in real time: source, reference standard, pulse counter and chamber
//! speak SCPI, the meter DLMS without TLS. For testing the way from the bench to real instruments without any.
//!
//! The meter is the [virtual bench](crate::certify::virtual_bench)'s: the device's own code, sample by sample. One thread lives its time in
//! step with the wall's; each connection is served by a thread that asks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use meterseal_model::{MeterId, Role};
use meterseal_world::physics::{FUNDAMENTAL, LoadPoint, Tone};

use crate::certify::{
    CallId, Called, Caller, Made, Received, Specimen, Target, Trouble, VirtualBench, VirtualMeter,
};

/// How each of its instruments begins its answer to `*IDN?`: results of a simulator are never a laboratory's.
pub const MAKER: &str = "METERSEAL,SIMULATOR";

/// How far time goes at once: whole readings of the sensors.
const STEP: Duration = Duration::from_millis(12);
/// What a lagging machine makes up for at most.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Longest line of a command.
const LINE_MAX: u64 = 1024;
/// Errors and pulses that are kept.
const ERRORS_MAX: usize = 20;
const PULSES_MAX: usize = 10_000;

type Work = Box<dyn FnOnce(&mut dyn Target, &mut Console) + Send>;

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The meter's DLMS port, without TLS.
    pub meter: SocketAddr,
    /// SCPI ports.
    pub source: SocketAddr,
    /// See above.
    pub reference: SocketAddr,
    /// See above.
    pub pulses: SocketAddr,
    /// See above.
    pub chamber: SocketAddr,
}

/// The running simulator. It ends when this is dropped.
pub struct Simulator {
    ports: Ports,
    stop: Arc<AtomicBool>,
    keys: Vec<(Role, [u8; 64])>,
}

/// What is set at the instruments.
struct Console {
    volts: [(f64, f64); 3],
    amperes: [(f64, f64); 3],
    hertz: f64,
    on: bool,
    celsius: f64,
    pulses: Vec<f64>,
}

impl Simulator {
    /// Starts it on free ports of the loopback. `wrap` may put something around the meter, a flaw for example.
    ///
    /// # Errors
    /// [`Trouble`]: the meter does not start, or there are no ports.
    pub fn start<S, W>(made: &Made, wrap: W) -> Result<Self, Trouble>
    where
        S: Specimen + 'static,
        W: FnOnce(VirtualMeter) -> S + Send + 'static,
    {
        let keys = Role::ALL
            .into_iter()
            .filter_map(|role| {
                let keys = made.keys(role)?;
                let mut both = [0; 64];
                both[..32].copy_from_slice(&keys.encryption);
                both[32..].copy_from_slice(&keys.authentication);
                Some((role, both))
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (work, waiting) = channel::<Work>();
        let made = made.clone();
        let (say, started) = channel();
        let ends = Arc::clone(&stop);
        std::thread::spawn(move || match made.specimen(0) {
            Ok(meter) => {
                let mut bench = VirtualBench::new(wrap(meter), &made, None);
                let _ = say.send(Ok(()));
                live(&mut bench, &waiting, &ends);
            }
            Err(trouble) => {
                let _ = say.send(Err(trouble));
            }
        });
        started.recv().map_err(|_| Trouble::Bench("the simulated meter does not start".to_owned()))??;
        let listen = |serve: fn(TcpStream, &Sender<Work>)| listen(serve, &work, &stop);
        let ports = Ports {
            meter: listen(serve_meter)?,
            source: listen(|stream, work| serve_scpi(stream, work, source))?,
            reference: listen(|stream, work| serve_scpi(stream, work, reference))?,
            pulses: listen(|stream, work| serve_scpi(stream, work, pulses))?,
            chamber: listen(|stream, work| serve_scpi(stream, work, chamber))?,
        };
        Ok(Self { ports, stop, keys })
    }

    /// Where everything listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The meter's identifier.
    pub fn meter(&self) -> MeterId {
        crate::certify::virtual_bench::identifier()
    }

    /// The meter's keys of each role, in hexadecimal as a key file has them.
    pub fn keys(&self) -> impl Iterator<Item = (Role, String)> {
        self.keys.iter().map(|(role, keys)| (*role, keys.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// A target profile for it; `access` is where [`keys`](Self::keys) were written, as `ROLE/METER.key`.
    pub fn profile(&self, access: &std::path::Path) -> String {
        let Ports { source, reference, pulses, chamber, .. } = self.ports;
        let mut text = format!(
            "hardware = \"virtual\"\n\n[network]\nplain = true\nmeter = \"{}\"\naccess = {:?}\nclient = \"utility\"\n",
            self.meter(),
            access.display().to_string()
        );
        for (name, address, uncertainty, more) in [
            ("source", source, 0.0, ""),
            ("reference", reference, 0.0005, ""),
            ("pulses", pulses, 0.0, "resolution_seconds = 1e-9\n"),
            ("chamber", chamber, 0.0, "soak_seconds = 0\n"),
        ] {
            text += &format!(
                "\n[instruments.{name}]\naddress = \"tcp://{address}\"\nserial = \"{SERIAL}\"\ncertificate = \"none: simulated\"\n\
                 calibrated = \"2026-01-01\"\ndue = \"9999-12-31\"\nuncertainty_percent = {uncertainty}\n{more}"
            );
        }
        text
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Ports { meter, source, reference, pulses, chamber } = self.ports;
        for port in [meter, source, reference, pulses, chamber] {
            // Wakes whoever waits for a connection.
            let _ = TcpStream::connect(port);
        }
    }
}

/// Every instrument's serial number.
const SERIAL: &str = "SIM1";

/// The bench's life: time in step with the wall's, and what is asked in between.
fn live(target: &mut dyn Target, waiting: &Receiver<Work>, stop: &AtomicBool) {
    let mut console = Console {
        volts: [(crate::points::UN, 0.0), (crate::points::UN, -120.0), (crate::points::UN, 120.0)],
        amperes: [(0.0, 0.0); 3],
        hertz: crate::points::HERTZ,
        on: true,
        celsius: 23.0,
        pulses: Vec::new(),
    };
    let mut lived = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match waiting.recv_timeout(STEP) {
            Ok(work) => work(target, &mut console),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let behind = lived.elapsed();
        if behind > CATCH_UP {
            lived = Instant::now() - CATCH_UP;
        }
        if behind >= STEP {
            if target.pass(STEP.as_secs_f64()).is_err() {
                return;
            }
            lived += STEP;
            console.pulses.extend(target.pulses().unwrap_or_default());
            let surplus = console.pulses.len().saturating_sub(PULSES_MAX);
            console.pulses.drain(..surplus);
        }
    }
}

/// Has something done in the bench's thread, and waits for what comes of it.
fn ask<T: Send + 'static>(
    work: &Sender<Work>,
    what: impl FnOnce(&mut dyn Target, &mut Console) -> T + Send + 'static,
) -> Option<T> {
    let (say, said) = channel();
    let what: Work = Box::new(move |target, console| {
        let _ = say.send(what(target, console));
    });
    work.send(what).ok()?;
    said.recv().ok()
}

fn listen(
    serve: fn(TcpStream, &Sender<Work>),
    work: &Sender<Work>,
    stop: &Arc<AtomicBool>,
) -> Result<SocketAddr, Trouble> {
    let cannot = |error: std::io::Error| Trouble::Bench(format!("no port for the simulator: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let (work, stop) = (work.clone(), Arc::clone(stop));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let work = work.clone();
            std::thread::spawn(move || serve(stream, &work));
        }
    });
    Ok(address)
}

/// Carries bytes between a connection and the meter. Without TLS nobody's role is certified: it is the one that the first frame names, as at a
/// plain local port.
fn serve_meter(mut stream: TcpStream, work: &Sender<Work>) {
    const HEADER: usize = 8;
    let mut bytes = [0; 16 * 1024];
    let mut call: Option<CallId> = None;
    let _ = stream.set_read_timeout(Some(Duration::from_millis(2)));
    let mut begun = Vec::new();
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => begun.extend_from_slice(&bytes[..length]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        if call.is_none() && begun.len() >= HEADER {
            let address = u16::from_be_bytes([begun[2], begun[3]]);
            let role = Role::from_client_address(address).unwrap_or(Role::Public);
            let Some(Ok(Called::Open(open))) = ask(work, move |target, _| target.call(Caller::local(role)))
            else {
                break;
            };
            call = Some(open);
        }
        let Some(open) = call else { continue };
        let said = std::mem::take(&mut begun);
        let heard = ask(work, move |target, _| {
            if !said.is_empty() {
                target.send(open, &said)?;
            }
            let mut heard = Vec::new();
            loop {
                match target.receive(open, 0.0)? {
                    Received::Bytes(bytes) => heard.extend(bytes),
                    Received::Nothing => return Ok::<_, Trouble>(Some(heard)),
                    Received::Closed(_) if heard.is_empty() => return Ok(None),
                    Received::Closed(_) => return Ok(Some(heard)),
                }
            }
        });
        match heard {
            Some(Ok(Some(heard))) if stream.write_all(&heard).is_ok() => {}
            _ => break,
        }
    }
    if let Some(open) = call {
        ask(work, move |target, _| target.hang_up(open));
    }
}

/// What an instrument answers: nothing, a line, or an error of SCPI-1999.
type Answer = Result<Option<String>, (i32, &'static str)>;

const UNDEFINED: (i32, &str) = (-113, "Undefined header");
const NOT_NUMERIC: (i32, &str) = (-120, "Numeric data error");
const OUT_OF_RANGE: (i32, &str) = (-222, "Data out of range");
const HARDWARE: (i32, &str) = (-240, "Hardware error");

/// Serves one connection of an instrument.
fn serve_scpi(stream: TcpStream, work: &Sender<Work>, instrument: fn(&str, &Sender<Work>) -> Answer) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut lines = BufReader::new(stream);
    let mut errors: Vec<(i32, &str)> = Vec::new();
    loop {
        let mut line = String::new();
        match (&mut lines).take(LINE_MAX).read_line(&mut line) {
            Ok(length) if length > 0 && line.ends_with('\n') => {}
            _ => return,
        }
        let line = line.trim().to_ascii_uppercase();
        let answer = match line.as_str() {
            "" => Ok(None),
            "*IDN?" => Ok(Some(format!("{MAKER},{SERIAL},{}", env!("CARGO_PKG_VERSION")))),
            "*CLS" | "*RST" => {
                errors.clear();
                Ok(None)
            }
            "SYST:ERR?" | "SYSTEM:ERROR?" => {
                let (code, text) = if errors.is_empty() { (0, "No error") } else { errors.remove(0) };
                Ok(Some(format!("{code},\"{text}\"")))
            }
            line => instrument(line, work),
        };
        match answer {
            Ok(None) => {}
            Ok(Some(answer)) => {
                if out.write_all(format!("{answer}\n").as_bytes()).is_err() {
                    return;
                }
            }
            Err(error) if errors.len() < ERRORS_MAX => errors.push(error),
            Err(_) => {}
        }
    }
}

fn value(text: &str, least: f64, most: f64) -> Result<f64, (i32, &'static str)> {
    let value: f64 = text.trim().parse().map_err(|_| NOT_NUMERIC)?;
    if (least..=most).contains(&value) { Ok(value) } else { Err(OUT_OF_RANGE) }
}

fn source(line: &str, work: &Sender<Work>) -> Answer {
    let on = match line {
        "OUTP ON" | "OUTP 1" => Some(true),
        "OUTP OFF" | "OUTP 0" => Some(false),
        _ => None,
    };
    if let Some(on) = on {
        let outcome = ask(work, move |target, console| {
            console.on = on;
            target.supply(on)?;
            target.load(&console.load())
        });
        return outcome.and_then(Result::ok).map(|()| None).ok_or(HARDWARE);
    }
    let (header, text) = line.split_once(' ').ok_or(UNDEFINED)?;
    let change: Box<dyn FnOnce(&mut Console) + Send> = if header == "SOUR:FREQ" {
        let hertz = value(text, 45.0, 65.0)?;
        Box::new(move |console| console.hertz = hertz)
    } else {
        let (voltage, rest) = match (header.strip_prefix("SOUR:VOLT"), header.strip_prefix("SOUR:CURR")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(UNDEFINED),
        };
        let (digit, angle) = rest.strip_suffix(":PHAS").map_or((rest, false), |digit| (digit, true));
        let phase = match digit {
            "1" => 0,
            "2" => 1,
            "3" => 2,
            _ => return Err(UNDEFINED),
        };
        let most = if voltage { 300.0 } else { 120.0 };
        let value = if angle { value(text, -720.0, 720.0)? } else { value(text, 0.0, most)? };
        Box::new(move |console| {
            let set = if voltage { &mut console.volts[phase] } else { &mut console.amperes[phase] };
            *(if angle { &mut set.1 } else { &mut set.0 }) = value;
        })
    };
    let outcome = ask(work, move |target, console| {
        change(console);
        target.load(&console.load())
    });
    outcome.and_then(Result::ok).map(|()| None).ok_or(HARDWARE)
}

fn reference(line: &str, work: &Sender<Work>) -> Answer {
    match line {
        "MEAS:ENER?" => {
            let read = ask(work, |target, _| target.joules().map(|joules| (joules, target.seconds())));
            let (joules, seconds) = read.and_then(Result::ok).ok_or(HARDWARE)?;
            Ok(Some(format!("{joules:.12E},{seconds:.12E}")))
        }
        _ => Err(UNDEFINED),
    }
}

fn pulses(line: &str, work: &Sender<Work>) -> Answer {
    match line {
        "FETC:TST?" => {
            let stamps = ask(work, |_, console| std::mem::take(&mut console.pulses)).ok_or(HARDWARE)?;
            Ok(Some(stamps.iter().map(|at| format!("{at:.9}")).collect::<Vec<_>>().join(",")))
        }
        "SYST:TIM?" => {
            let now = ask(work, |target, _| target.seconds()).ok_or(HARDWARE)?;
            Ok(Some(format!("{now:.9}")))
        }
        _ => Err(UNDEFINED),
    }
}

fn chamber(line: &str, work: &Sender<Work>) -> Answer {
    match line {
        "OUTP ON" | "OUTP OFF" => Ok(None),
        "MEAS:TEMP?" => {
            let now = ask(work, |_, console| console.celsius).ok_or(HARDWARE)?;
            Ok(Some(format!("{now:.2}")))
        }
        line => {
            let celsius = value(line.strip_prefix("SOUR:TEMP ").ok_or(UNDEFINED)?, -45.0, 90.0)?;
            let outcome = ask(work, move |target, console| {
                console.celsius = celsius;
                target.ambient(celsius)
            });
            outcome.and_then(Result::ok).map(|()| None).ok_or(HARDWARE)
        }
    }
}

impl Console {
    /// What is at the terminals.
    fn load(&self) -> LoadPoint {
        let tone = |&(rms, degrees): &(f64, f64)| Tone {
            quarter_order: FUNDAMENTAL,
            rms,
            radians: degrees.to_radians(),
        };
        let mut load = LoadPoint::unbalanced(self.hertz, [0.0; 3], [0.0; 3], 0.0);
        for phase in 0..3 {
            let on = if self.on { 1.0 } else { 0.0 };
            load.voltage[phase] = vec![tone(&(self.volts[phase].0 * on, self.volts[phase].1))];
            let current = (self.amperes[phase].0 * on, self.amperes[phase].1);
            load.current[phase] = if current.0 == 0.0 { Vec::new() } else { vec![tone(&current)] };
        }
        load.with_neutral()
    }
}
