//! What can go wrong, in words that say what to do.

use core::fmt::Debug;

use meterseal_model::{Role, SystemTitle};

use crate::{Layout, StorageError};

/// Why a meter could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E: Debug> {
    /// The flash failed.
    #[error(transparent)]
    Storage(#[from] StorageError<E>),
    /// The metrology's settings are wrong.
    #[error(transparent)]
    Metrology(meterseal_metrology::ConfigError),
    /// A setting of the meter is out of its range.
    #[error("meter setting {field} is {value}; set it between {min} and {max}")]
    Setting {
        /// The field's name in [`crate::Config`].
        field: &'static str,
        /// What it was set to.
        value: u32,
        /// The smallest value it may have.
        min: u32,
        /// The largest value it may have.
        max: u32,
    },
    /// Sectors or write units that the records do not fit, or a layout with too few sectors.
    #[error(
        "flash erases {erase} bytes and writes {write} at once; sectors must divide 4096 and writes 64, with at least 2 sectors a region (3 for the log)"
    )]
    Geometry {
        /// Bytes that it erases at once.
        erase: usize,
        /// Bytes that it writes at once.
        write: usize,
    },
    /// The flash is too small for the layout.
    #[error("flash has {found} bytes; the layout needs {needed}")]
    TooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes found.
        found: usize,
    },
    /// Written by another version of this software.
    #[error(
        "flash has format version {found}, this software reads {supported}; use the software that wrote it"
    )]
    OtherVersion {
        /// The version found.
        found: u16,
        /// The version that this software reads.
        supported: u16,
    },
    /// Another meter's flash.
    #[error("flash belongs to the meter with system title {:02x?}; give that meter's identity, or another flash", found.0)]
    OtherMeter {
        /// Whose it is.
        found: SystemTitle,
    },
    /// Formatted with another layout.
    #[error("flash is laid out as {found:?}, not as {expected:?}; open it with its own layout")]
    OtherLayout {
        /// The flash's layout.
        found: Layout,
        /// The configured layout.
        expected: Layout,
    },
    /// Neither blank nor a meter's.
    #[error(
        "flash is neither blank nor a meter's; restore the meter's newest flash file, or erase the flash and enrol the meter anew with new keys: under its old keys head-ends refuse a meter that has forgotten its counters"
    )]
    NotAMeter,
    /// Counters and acknowledgements are gone while other records are there.
    #[error(
        "flash has lost the record of used invocation counters; restore its newest flash file, or enrol the meter anew with new keys and a new flash"
    )]
    StateLost,
    /// A record of another version.
    #[error(
        "flash holds records of version {found}, this software reads 1; use the software that wrote them"
    )]
    RecordVersion {
        /// The version found.
        found: u8,
    },
    /// Enciphered keys are there, and the device secret is not the one that opens them.
    #[error(
        "the keys in flash cannot be opened; give the device secret that they were stored under, or enrol the meter anew with new keys and a new flash"
    )]
    SecretsSealed,
    /// A key that was transferred is gone from the flash.
    #[error(
        "flash has lost the {role} key that was transferred last; restore its newest flash file, or enrol the meter anew with new keys and a new flash"
    )]
    KeyLost {
        /// Whose key.
        role: Role,
    },
    /// Two roles were given the same encryption key.
    #[error("the {role} role has the same encryption key as another; give each role keys of its own")]
    SharedKey {
        /// One of them.
        role: Role,
    },
    /// The energy registers cannot be read, though records are there.
    #[error("stored registers: {0}")]
    Registers(meterseal_metrology::DecodeError),
}

/// Why the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Bytes came without a connection.
    #[error("bytes received on a connection that is not up; call connected() first")]
    NotConnected,
    /// As many connections are up as the meter serves at once.
    #[error("the meter serves {limit} connections at once; close one first")]
    TooManyConnections {
        /// How many it serves.
        limit: usize,
    },
    /// Not a DLMS wrapper header.
    #[error("wrapper header has version {found:#06x}, expected 0x0001")]
    WrapperVersion {
        /// The version found.
        found: u16,
    },
    /// A frame larger than the meter accepts.
    #[error("wrapper frame announces {announced} bytes, more than the {limit} that the meter accepts")]
    TooLong {
        /// Bytes announced.
        announced: u16,
        /// Bytes accepted.
        limit: u16,
    },
    /// A message that cannot be decoded.
    #[error("message from client address {client:#x} cannot be decoded")]
    Malformed {
        /// The wrapper's source port.
        client: u16,
    },
    /// The flash failed, so no further invocation counter may be used.
    #[error("flash failed; without it no invocation counter may be used")]
    Storage,
    /// More answers wait than the meter keeps: the peer sends without reading, or goes on while it is slowed down.
    #[error("peer sends requests and does not wait for the answers")]
    Backlog,
}
