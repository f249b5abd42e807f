//! The head-end's DLMS session with one meter over wrapper frames: HLS-5 (GMAC), security suite 2 and global keys with
//! our own meters ([`DlmsClient::associate`]); suites 0 and 1, a password or nothing with other makers'
//! ([`DlmsClient::open`]).
//!
//! [`DlmsClient::associate`] proves both sides to each other and binds the session to one system title; after it come
//! reads, writes, methods, and the meter's pushes. One request is outstanding at a time. A request that was given up
//! (deadline, cancelled future) leaves an answer under way that belongs to nobody, so the session is then over and
//! says so; waiting for a push may be cancelled at any time.

mod beside;
mod exchange;
mod login;
mod push;
mod services;
mod value;

use std::time::Duration;

use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use meterseal_model::{Obis, Role, SystemTitle};
use thiserror::Error;
use zeroize::Zeroize as _;

pub use beside::{Beside, IN_FLIGHT_MAX, Turn};
pub use exchange::DlmsClient;
pub use login::{GlobalKeys, Gmac, Login, LoginError, MANAGEMENT_LOGICAL_DEVICE, Opening, Password, Suite};
pub use push::{EventPush, Notification, PushError};
pub use value::{CosemDateTime, MAX_ELEMENTS, Value, ValueError};

use crate::wrapper::FrameError;

/// The two global keys of a meter and role, 32 bytes each (suite 2). Wiped when dropped and never printed.
#[derive(Clone)]
pub struct DlmsKeys {
    /// Global unicast encryption key.
    pub encryption: [u8; 32],
    /// Global authentication key.
    pub authentication: [u8; 32],
}

impl Drop for DlmsKeys {
    fn drop(&mut self) {
        self.encryption.zeroize();
        self.authentication.zeroize();
    }
}

impl std::fmt::Debug for DlmsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DlmsKeys(withheld)")
    }
}

/// What an association needs to know.
#[derive(Clone, Debug)]
pub struct Association {
    /// The role to associate as; its address and rights.
    pub role: Role,
    /// The system title that the meter must prove: that of the meter in its certificate.
    pub meter: SystemTitle,
    /// The head-end's own system title: half of every nonce that it sends under.
    pub client_title: SystemTitle,
    /// The meter's keys.
    pub keys: DlmsKeys,
    /// The last invocation counter that this client used under these keys; persist
    /// [`DlmsClient::invocation_counter`] *before* sending on, in blocks, and never go back: a repeated counter
    /// gives the authentication key away.
    pub invocation_counter: u32,
    /// The last invocation counter that a response of the meter was accepted under, 0 for none yet. A response under
    /// this one or a lower one is a replay.
    pub last_response_counter: u32,
    /// The last invocation counter that a push of the meter was accepted under, 0 for none yet. Pushes have a block
    /// of counters of their own, so this one and the response's are compared separately.
    pub last_push_counter: u32,
    /// Time and size limits.
    pub limits: Limits,
}

/// What bounds a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one message may be awaited.
    pub response: Duration,
    /// How long a whole operation may take, all its blocks included.
    pub operation: Duration,
    /// The longest encoded value that is collected from blocks, in bytes.
    pub value_bytes: usize,
    /// The most blocks that one value is collected from: each costs a message and an invocation counter, however short
    /// the meter makes it.
    pub blocks: u32,
    /// How many pushes are held while responses are awaited; beyond it the oldest is dropped and counted, since
    /// the meter's log still has it.
    pub queued_pushes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            response: Duration::from_secs(10),
            operation: Duration::from_secs(60),
            value_bytes: 512 * 1024,
            blocks: 1024,
            queued_pushes: 64,
        }
    }
}

/// The longest APDU that this client receives, proposed in the association.
pub const MAX_APDU: u16 = 4096;

/// A column of a profile: class, logical name, attribute.
pub type CaptureObject = (u16, Obis, i8);

/// Why the meter gave no value for one attribute, or did not do what it was asked (IEC 62056-5-3,
/// Data-Access-Result and Action-Result).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[allow(missing_docs)]
pub enum AccessError {
    #[error("the meter's hardware could not do it")]
    HardwareFault,
    #[error("the meter cannot do it now; try again later")]
    TemporaryFailure,
    #[error("the role's rights forbid it")]
    Denied,
    #[error("the meter cannot answer this selection; ask for less at once, or select otherwise")]
    Selection,
    #[error("the meter has no such object")]
    NoSuchObject,
    #[error("the object has another class")]
    WrongClass,
    #[error("the object is not available now")]
    Unavailable,
    #[error("the value has another type than the attribute")]
    WrongType,
    #[error("the meter answers with reason {0}")]
    Other(u8),
}

impl From<DataAccessResult> for AccessError {
    fn from(result: DataAccessResult) -> Self {
        match result {
            DataAccessResult::HardwareFault => Self::HardwareFault,
            DataAccessResult::TemporaryFailure => Self::TemporaryFailure,
            DataAccessResult::ReadWriteDenied => Self::Denied,
            DataAccessResult::ScopeOfAccessViolated => Self::Selection,
            DataAccessResult::ObjectUndefined => Self::NoSuchObject,
            DataAccessResult::ObjectClassInconsistent => Self::WrongClass,
            DataAccessResult::ObjectUnavailable => Self::Unavailable,
            DataAccessResult::TypeUnmatched => Self::WrongType,
            other => Self::Other(other.as_u8()),
        }
    }
}

impl From<ActionResult> for AccessError {
    fn from(result: ActionResult) -> Self {
        // The two enumerations share their numbers.
        DataAccessResult::from_u8(result.as_u8()).into()
    }
}

/// Why a session or one of its operations failed. Only [`Access`](Self::Access), [`NotSupported`](Self::NotSupported),
/// [`TooManyRows`](Self::TooManyRows) and [`AnswerTooLong`](Self::AnswerTooLong) leave the session usable; see
/// [`is_fatal`](Self::is_fatal).
#[derive(Debug, Error)]
pub enum ClientError {
    /// The meter refused this one thing.
    #[error("{0}")]
    Access(#[from] AccessError),
    /// The meter did not agree to this service, or the request does not fit into a message.
    #[error("the meter does not support this request: {0}")]
    NotSupported(dlms_cosem_rs::Error),
    /// The profile has more rows in this range than were asked for.
    #[error("the range holds more than {limit} rows; ask for a smaller one")]
    TooManyRows {
        /// The bound that was given.
        limit: usize,
    },
    /// The stream or its framing failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No answer within the limit.
    #[error("the meter did not answer within {0:?}")]
    Deadline(Duration),
    /// The association was refused.
    #[error("the meter refused the association: {diagnostic}")]
    Refused {
        /// What the meter said.
        diagnostic: String,
    },
    /// The meter's proof is wrong: it does not hold the key, or it is another meter.
    #[error("the meter could not prove that it holds its key; check the meter's keys at the head-end")]
    NotAuthentic,
    /// Another system title than that of the certificate's meter.
    #[error(
        "the meter says that its system title is {found:02x?}, but the certificate is that of {expected:02x?}"
    )]
    SystemTitle {
        /// That of the certificate.
        expected: [u8; 8],
        /// What the meter said.
        found: [u8; 8],
    },
    /// The meter wants a higher invocation counter than the one we used. The value is not authenticated beyond TLS:
    /// whoever moves to it must only ever move forward.
    #[error("the meter expects invocation counter {expected} or higher; ours is behind")]
    InvocationCounter {
        /// The next counter that it would accept.
        expected: u32,
    },
    /// The same, from a meter that does not say which counter it wants.
    #[error("the meter says that our invocation counter is behind, and not what it expects")]
    CounterBehind,
    /// The invocation counters that the caller allowed are used up.
    #[error(
        "the invocation counters that were set aside are used up by an answer in too many pieces; connect again"
    )]
    CountersSpent,
    /// Two ends with one system title and one key would share their nonces.
    #[error("the meter has our own system title; give the client another one")]
    OwnTitle,
    /// The meter's answer does not fit what it can send.
    #[error("the meter's answer is longer than it can send; ask for less at once")]
    AnswerTooLong,
    /// A message was sent under an invocation counter that had been used before.
    #[error("a {kind} came under invocation counter {counter}, but {highest} had been seen: a replay")]
    Replay {
        /// "response" or "push".
        kind: &'static str,
        /// The counter of the message.
        counter: u32,
        /// The highest one accepted before.
        highest: u32,
    },
    /// A message could not be deciphered, or is none.
    #[error("a message of the meter could not be read: {0}")]
    Unreadable(dlms_cosem_rs::Error),
    /// A value in a message is malformed or too large.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The meter answered something else than what was asked.
    #[error("the meter answered {found} to a {asked}")]
    Unexpected {
        /// The request.
        asked: &'static str,
        /// The answer.
        found: String,
    },
    /// A value from blocks is longer than the limit.
    #[error("the value is longer than the limit of {limit} bytes")]
    ValueTooLong {
        /// [`Limits::value_bytes`].
        limit: usize,
    },
    /// A value comes in more blocks than the limit.
    #[error("the value does not end within {limit} blocks")]
    TooManyBlocks {
        /// [`Limits::blocks`].
        limit: u32,
    },
    /// An earlier request was given up, or failed in a way that makes later answers ambiguous.
    #[error("the session is over, because an earlier request was given up or failed; connect again")]
    Over,
}

impl ClientError {
    /// Whether the session is over.
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::Access(_) | Self::NotSupported(_) | Self::TooManyRows { .. } | Self::AnswerTooLong
        )
    }
}
