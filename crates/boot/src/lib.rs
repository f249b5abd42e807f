//! What stands below a meter's image on Linux: its flash in a file ([`flash`]), its boot stage ([`stage`]), and what the
//! stage hands to the image that it starts ([`handover`], [`image`]). [`execute`] runs the bytes that were verified, and
//! [`supervise`] watches them.
//!
//! The boot decision itself is `meter::firmware::decide`; nothing here decides anything again.

#![forbid(unsafe_code)]

pub mod command;
pub mod execute;
pub mod flash;
pub mod handover;
pub mod image;
pub mod stage;
pub mod supervise;
