//! The head-end's standing connection to a specimen: a real DLMS client over a pipe in memory, and a pump between the pipe and the meter.
//!
//! The meter's time stands still while a request is answered. Where the meter withholds an answer, time passes until it comes.

use meterseal_link::client::{Association, Limits};
use meterseal_link::{ClientError, DlmsClient};
use meterseal_model::{Role, SystemTitle};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Runtime;

use super::specimen::{Line, Specimen};
use crate::certify::{Alarm, Caller, Counters, Credentials, Exchange, Trouble};

/// The connection.
pub(super) struct HeadEnd {
    runtime: Runtime,
    client: Option<DlmsClient<DuplexStream>>,
    far: DuplexStream,
    line: Line,
    pub(super) log: Vec<Exchange>,
    /// When frames arrived that nobody had asked for, in the client's order.
    arrivals: Vec<u64>,
}

/// Longest message either way, with room for what follows it.
const PIPE_BYTES: usize = 256 * 1024;
/// How long a withheld answer is waited for, seconds of the meter's time.
const PATIENCE_SECONDS: f64 = 300.0;
/// The bench in messages: each role has keys of its own, so one title serves them all.
pub const TITLE: SystemTitle = SystemTitle(*b"MSBENCH1");
/// Exchanges that are kept; a run that has more has them counted by its digest.
const LOG_MAX: usize = 20_000;

impl HeadEnd {
    /// Connects and associates as the utility.
    pub(super) fn open(specimen: &mut dyn Specimen, credentials: Credentials) -> Result<Self, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Trouble::Bench(format!("no runtime for the connection: {error}")))?;
        let line = specimen.connect(Caller::HEAD_END)?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut head_end = Self { runtime, client: None, far, line, log: Vec::new(), arrivals: Vec::new() };
        let association = Association {
            role: Role::Utility,
            meter: credentials.meter,
            client_title: credentials.client,
            keys: credentials.keys,
            invocation_counter: credentials.counters.ours,
            last_response_counter: credentials.counters.answers,
            last_push_counter: credentials.counters.pushes,
            limits: Limits { response: Duration::from_secs(60), queued_pushes: 4096, ..Limits::default() },
        };
        let client = head_end.drive(specimen, DlmsClient::associate(near, association))?;
        head_end.client = Some(client);
        Ok(head_end)
    }

    pub(super) fn counters(&self) -> Counters {
        self.client.as_ref().map_or_else(Counters::default, |client| Counters {
            ours: client.invocation_counter(),
            answers: client.response_counter(),
            pushes: client.push_counter(),
        })
    }

    /// The connection's other end.
    pub(super) fn line(&self) -> Line {
        self.line
    }

    /// Does one thing with the client.
    pub(super) fn ask<T>(
        &mut self,
        specimen: &mut dyn Specimen,
        ask: impl AsyncFnOnce(&mut DlmsClient<DuplexStream>) -> Result<T, ClientError>,
    ) -> Result<T, Trouble> {
        let Some(mut client) = self.client.take() else {
            return Err(Trouble::Meter("the connection is gone".to_owned()));
        };
        let outcome = self.drive(specimen, ask(&mut client));
        self.client = Some(client);
        outcome
    }

    /// Lets something of the client's go on while bytes are carried to and from the meter.
    fn drive<T>(
        &mut self,
        specimen: &mut dyn Specimen,
        client: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Trouble> {
        let Self { runtime, far, line, log, arrivals, .. } = self;
        runtime.block_on(async {
            let pump = async {
                let mut bytes = vec![0; 16 * 1024];
                loop {
                    let length = far.read(&mut bytes).await.map_err(|error| Trouble::Bench(error.to_string()))?;
                    if length == 0 {
                        return Err(Trouble::Bench("the client closed its connection".to_owned()));
                    }
                    note(log, specimen, true, &bytes[..length]);
                    specimen.send(*line, &bytes[..length])?;
                    let until = specimen.seconds() + PATIENCE_SECONDS;
                    while carry(specimen, *line, far, log, arrivals).await? == 0 {
                        if specimen.seconds() > until {
                            return Err(Trouble::Meter("it does not answer".to_owned()));
                        }
                        specimen.pass(0.1)?;
                    }
                }
            };
            tokio::select! {
                biased;
                done = client => done.map_err(|error| Trouble::Meter(error.to_string())),
                failed = pump => { let failed: Result<std::convert::Infallible, Trouble> = failed; match failed { Err(trouble) => Err(trouble) } }
            }
        })
    }

    /// Takes what the meter says by itself.
    pub(super) fn listen(&mut self, specimen: &mut dyn Specimen) -> Result<(), Trouble> {
        let Self { runtime, far, line, log, arrivals, .. } = self;
        runtime.block_on(carry(specimen, *line, far, log, arrivals)).map(|_| ())
    }

    /// The alarms that have arrived.
    pub(super) fn alarms(&mut self, specimen: &mut dyn Specimen) -> Result<Vec<Alarm>, Trouble> {
        self.listen(specimen)?;
        let mut alarms = Vec::new();
        self.take_alarms(nanoseconds(specimen.seconds()), &mut alarms)?;
        Ok(alarms)
    }

    /// Those that had arrived before the meter closed the connection.
    pub(super) fn arrived(&mut self, specimen: &dyn Specimen) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        // The end of the connection, or what came broken at its end, is no alarm.
        let _ = self.take_alarms(nanoseconds(specimen.seconds()), &mut alarms);
        alarms
    }

    fn take_alarms(&mut self, now_ns: u64, alarms: &mut Vec<Alarm>) -> Result<(), Trouble> {
        let mut arrivals = std::mem::take(&mut self.arrivals).into_iter();
        let Some(client) = &mut self.client else { return Ok(()) };
        self.runtime.block_on(async {
            loop {
                // Everything is in the pipe: what is not there at once is not there.
                let next = tokio::time::timeout(Duration::ZERO, client.notification());
                let Ok(push) = next.await else { return Ok(()) };
                let push = push.map_err(|error| Trouble::Meter(error.to_string()))?;
                let event = push.event().map_err(|error| Trouble::Meter(error.to_string()))?;
                let arrived_ns = arrivals.next().unwrap_or(now_ns);
                alarms.push(Alarm {
                    arrived_ns,
                    sequence: event.sequence,
                    code: event.code as u8,
                    time: event.time,
                });
            }
        })
    }
}

/// Carries what the meter wants to say; how many frames.
async fn carry(
    specimen: &mut dyn Specimen,
    line: Line,
    far: &mut DuplexStream,
    log: &mut Vec<Exchange>,
    arrivals: &mut Vec<u64>,
) -> Result<usize, Trouble> {
    let mut count = 0;
    while let Some(frame) = specimen.receive(line)? {
        note(log, specimen, false, &frame);
        if frame.get(WRAPPER_BYTES) == Some(&GENERAL_GLO_CIPHERING) {
            arrivals.push(nanoseconds(specimen.seconds()));
        }
        far.write_all(&frame).await.map_err(|error| Trouble::Bench(error.to_string()))?;
        count += 1;
    }
    Ok(count)
}

/// A push is the only thing that a meter sends under general-glo-ciphering (IEC 62056-5-3).
const GENERAL_GLO_CIPHERING: u8 = 0xDB;
/// Before it is the wrapper's header.
const WRAPPER_BYTES: usize = 8;

pub(super) fn note(log: &mut Vec<Exchange>, specimen: &dyn Specimen, to_meter: bool, bytes: &[u8]) {
    if log.len() < LOG_MAX {
        log.push(Exchange { at_ns: nanoseconds(specimen.seconds()), to_meter, bytes: bytes.to_vec() });
    }
}

pub(super) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
