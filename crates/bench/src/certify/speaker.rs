//! An ordinary client over a call: the same [`DlmsClient`] that the head-end uses, as any role, while the bench's time passes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use meterseal_link::client::{Association, Limits, Login, MANAGEMENT_LOGICAL_DEVICE, Opening};
use meterseal_link::{ClientError, DlmsClient};
use meterseal_model::Role;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::runtime::Runtime;

use super::{CallId, Called, Caller, Counters, Received, Target, Trouble};

/// Why something asked over a call was not done. A result of the meter, not a trouble.
#[derive(Debug, thiserror::Error)]
pub enum Unserved {
    /// The connection did not come up.
    #[error("the connection was refused: {0}")]
    Refused(String),
    /// The meter closed it.
    #[error("the connection was closed: {0}")]
    Closed(String),
    /// Nothing came.
    #[error("no answer within {PATIENCE_SECONDS} s")]
    Silent,
    /// The meter answered, and with a refusal or with what no client understands.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The bench has no keys of this role.
    #[error("there are no keys for this role")]
    NoKeys,
}

/// A client in an association over a call.
///
/// ```
/// use meterseal_bench::certify::{Caller, Speaker, Target, Trouble};
/// use meterseal_model::{Obis, Role};
///
/// /// Whether a reader at the local port is told the time.
/// fn reader_reads_the_clock(target: &mut dyn Target) -> Result<bool, Trouble> {
///     let mut reader = match Speaker::open(target, Caller::local(Role::Reader))? {
///         Ok(reader) => reader,
///         Err(_) => return Ok(false),
///     };
///     let told = reader.ask(target, async |client| client.get(8, Obis::CLOCK, 2).await)?.is_ok();
///     reader.close(target)?;
///     Ok(told)
/// }
/// ```
pub struct Speaker {
    runtime: Runtime,
    client: Option<DlmsClient<DuplexStream>>,
    far: DuplexStream,
    call: CallId,
    role: Role,
}

/// How long one answer is waited for, seconds of the bench's clock: longer than a meter withholds any.
const PATIENCE_SECONDS: f64 = 150.0;
/// Longest message either way, with room for what follows it.
const PIPE_BYTES: usize = 256 * 1024;

impl Speaker {
    /// Calls the meter and associates as the caller's role with the bench's keys for it.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench.
    pub fn open(target: &mut dyn Target, caller: Caller) -> Result<Result<Self, Unserved>, Trouble> {
        Self::open_as(target, caller, caller.role)
    }

    /// Calls the meter and associates as `role`, whatever role the caller's certificate carries.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench.
    pub fn open_as(
        target: &mut dyn Target,
        caller: Caller,
        role: Role,
    ) -> Result<Result<Self, Unserved>, Trouble> {
        // A call as the utility ends the standing connection, whose counters are known only then.
        let call = match target.call(caller)? {
            Called::Open(call) => call,
            Called::Refused(why) => return Ok(Err(Unserved::Refused(why))),
        };
        let limits = Limits {
            response: Duration::from_secs(600),
            operation: Duration::from_secs(3600),
            ..Limits::default()
        };
        let opening = match target.credentials(role) {
            Some(known) => Association {
                role,
                meter: known.meter,
                client_title: known.client,
                keys: known.keys,
                invocation_counter: known.counters.ours,
                last_response_counter: known.counters.answers,
                last_push_counter: known.counters.pushes,
                limits,
            }
            .into(),
            None if role == Role::Public => Opening {
                client_address: role.client_address(),
                server_address: MANAGEMENT_LOGICAL_DEVICE,
                meter: None,
                login: Login::Public,
                pushes: false,
                limits,
            },
            None => {
                target.hang_up(call)?;
                return Ok(Err(Unserved::NoKeys));
            }
        };
        let opened = Self::open_with(target, call, role, opening)?;
        if opened.is_err() {
            // What was sent has been used, whatever came of it.
            let known = target.credentials(role).map(|known| known.counters).unwrap_or_default();
            target.spent(role, Counters { ours: known.ours.saturating_add(HANDSHAKE_COUNTERS), ..known });
            target.hang_up(call)?;
        }
        Ok(opened)
    }

    /// Opens any association on a call that stands. The call stays the caller's when it fails, and so do the counters.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench.
    pub fn open_with(
        target: &mut dyn Target,
        call: CallId,
        role: Role,
        opening: Opening,
    ) -> Result<Result<Self, Unserved>, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Trouble::Bench(format!("no runtime for the connection: {error}")))?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut speaker = Self { runtime, client: None, far, call, role };
        match speaker.drive(target, DlmsClient::open(near, opening))? {
            Ok(client) => {
                speaker.client = Some(client);
                speaker.note_counters(target);
                Ok(Ok(speaker))
            }
            Err(unserved) => Ok(Err(unserved)),
        }
    }

    /// The call that it speaks over.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The role that it has taken.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Does one thing with the client.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench.
    pub fn ask<T>(
        &mut self,
        target: &mut dyn Target,
        ask: impl AsyncFnOnce(&mut DlmsClient<DuplexStream>) -> Result<T, ClientError>,
    ) -> Result<Result<T, Unserved>, Trouble> {
        let Some(mut client) = self.client.take() else {
            return Ok(Err(Unserved::Client(ClientError::Over)));
        };
        let outcome = self.drive(target, ask(&mut client));
        self.client = Some(client);
        self.note_counters(target);
        outcome
    }

    /// Releases the association, if it still stands, and hangs up.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench.
    pub fn close(mut self, target: &mut dyn Target) -> Result<(), Trouble> {
        if let Some(client) = self.client.take() {
            // One more counter goes with it.
            let known =
                Counters { ours: client.invocation_counter().saturating_add(1), ..Counters::default() };
            // A meter that does not release is left all the same.
            let _ = self.drive(target, client.release())?;
            if self.role != Role::Public {
                target.spent(self.role, known);
            }
        }
        target.hang_up(self.call)
    }

    /// Hangs up without a word.
    ///
    /// # Errors
    /// [`Trouble`]: of the bench.
    pub fn drop_call(self, target: &mut dyn Target) -> Result<(), Trouble> {
        target.hang_up(self.call)
    }

    fn note_counters(&self, target: &mut dyn Target) {
        let Some(client) = self.client.as_ref().filter(|_| self.role != Role::Public) else { return };
        let counters = Counters {
            ours: client.invocation_counter(),
            answers: client.response_counter(),
            pushes: client.push_counter(),
        };
        target.spent(self.role, counters);
    }

    /// Lets something of the client's go on while bytes are carried to and from the meter.
    fn drive<T>(
        &mut self,
        target: &mut dyn Target,
        client: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<Result<T, Unserved>, Trouble> {
        let Self { runtime, far, call, .. } = self;
        let mut client = pin!(client);
        let mut bytes = vec![0; 16 * 1024];
        loop {
            // The client goes as far as it can; then it has said something, or waits for the meter. The target is asked outside the
            // runtime: it may have one of its own.
            let polled = poll_fn(|context| Poll::Ready(client.as_mut().poll(context)));
            if let Poll::Ready(done) = runtime.block_on(polled) {
                return Ok(done.map_err(Unserved::from));
            }
            let mut said = false;
            while let Some(length) = runtime.block_on(at_once(far, &mut bytes))? {
                if length == 0 {
                    // It has closed its side; what it still has to tell comes with its next poll.
                    break;
                }
                target.send(*call, &bytes[..length])?;
                said = true;
            }
            if said {
                continue;
            }
            match target.receive(*call, PATIENCE_SECONDS)? {
                Received::Bytes(bytes) => {
                    let written = runtime.block_on(far.write_all(&bytes));
                    written.map_err(|error| Trouble::Bench(error.to_string()))?;
                }
                Received::Nothing => return Ok(Err(Unserved::Silent)),
                Received::Closed(why) => return Ok(Err(Unserved::Closed(why))),
            }
        }
    }
}

/// An association's two messages of the client's.
const HANDSHAKE_COUNTERS: u32 = 4;

/// What can be read without waiting: `Some(0)` at the end, `None` for nothing now.
async fn at_once(stream: &mut DuplexStream, into: &mut [u8]) -> Result<Option<usize>, Trouble> {
    poll_fn(|context| {
        let mut buffer = ReadBuf::new(into);
        Poll::Ready(match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) => Ok(Some(buffer.filled().len())),
            Poll::Ready(Err(error)) => Err(Trouble::Bench(error.to_string())),
            Poll::Pending => Ok(None),
        })
    })
    .await
}
