//! The bench's own ends of network connections: hello messages by hand, TLS with any certificate and any algorithm, and what the meter makes of it.

pub(crate) mod hello;
mod inject;
mod relay;
mod tape;
mod tls;
mod wire;

pub(crate) use relay::Alteration;
pub(crate) use tls::{Session, caller, everything, head_end, right, server_name};
pub(crate) use wire::{LOGICAL_DEVICE_NAME, Reaction, Wire};
