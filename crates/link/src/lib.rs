//! The way between a meter and its head-end: TLS 1.3 with certificates both ways, and DLMS/COSEM inside.
//!
//! Read in this order: [`pki`] makes identities, [`keys`] holds a device's, [`revocation`] takes them back, [`tls`] says which peers are
//! accepted, [`dial`] is the meter's side of the connection and [`accept`] the gateway's, with [`opening`] between
//! them for meters without a clock, who remember in [`device_trust`]; [`reach`] dials a meter that listens. On the stream that both hand over, [`wrapper`]
//! frames messages and [`client`] is the head-end's DLMS session, whose invocation counters outlive it in [`counters`]; [`sparing`] keeps logs short. The DLMS library stays
//! behind these types.

#![forbid(unsafe_code)]

pub mod accept;
pub mod client;
pub mod counters;
pub mod device_trust;
pub mod dial;
pub mod enrolled;
pub mod keys;
mod limits;
pub mod opening;
pub mod own;
pub mod pki;
pub mod reach;
pub mod revocation;
pub mod sparing;
pub mod tls;
pub mod wrapper;

pub use client::{Association, ClientError, DlmsClient, DlmsKeys, EventPush, Notification, Value};
pub use pki::{Identity, Pki, PkiError, Validity};
pub use tls::{Peer, PeerError, Trust};
