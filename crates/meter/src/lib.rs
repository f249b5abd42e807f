//! The meter, sans-I/O: it takes samples, sensor readings, time and bytes from a connection, and gives bytes.
//!
//! Read [`Meter`] first: it is all that a device needs. Behind it, in this order: `tamper` turns sensor readings into
//! events, `inner` keeps registers, load profile and clock, `security_log` the log's rules, `records` and `flash` put
//! them through any power cut, `cosem` shows them as the objects of `meterseal_model::objects`, and `dlms` speaks with
//! the head-end.
//!
//! Nothing here waits, and nothing is sent that is not in flash first.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod allowance;
mod attestation;
mod billing;
mod calendar;
mod calibration;
mod clock;
mod config;
mod cosem;
mod demand;
mod dlms;
mod error;
pub mod firmware;
mod flash;
mod gaps;
mod image;
mod inner;
mod interval;
mod keyring;
mod link_status;
mod meter;
mod push_setup;
mod quality;
mod reading;
mod records;
mod repeats;
mod scrub;
mod sealed_log;
mod security_log;
mod settings;
mod storage;
mod supply;
mod tamper;
mod tariff;
mod vault;
mod wifi;

pub use attestation::{AttestationRequest, BootState, ImageIdentity};
pub use calibration::{CalibrationStatus, unit_id, write_calibration};
pub use config::{Config, DlmsKeys, Identity, Peer, Random, RoleKeys, SecretKey};
pub use error::{OpenError, ProtocolError};
pub use flash::{Layout, SECTOR_BYTES, StorageError};
pub use image::{
    Activation, BLOCK_BYTES_MAX, BLOCKS_MAX, ImageError, ImageInfo, ImageProgress, ImageStatus, ImageStore,
};
pub use link_status::{Connectivity, LinkStatus};
pub use meter::{LinkId, Meter};
pub use quality::QualityRow;
pub use records::{ProfileRow, SecurityEntry};
pub use sealed_log::{SealedLeaf, SigningRequest};
pub use storage::saved_time;
pub use tamper::{Fault, ThresholdError, Thresholds};
pub use wifi::WifiNetwork;
