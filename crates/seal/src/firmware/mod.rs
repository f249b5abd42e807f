//! Firmware packages: what is signed, by whom, for which device, and how its bytes are packed.
//!
//! A package is a [`manifest`] in a COSE_Sign envelope ([`signatures`]) and, after it, the stored payload ([`package`]).
//! The manifest carries the information elements of RFC 9124. Each signer has two keys ([`signer`]): ES384 and
//! ML-DSA-87, and both must verify, so that one broken algorithm opens no meter in twenty years. Who may sign, and how
//! many must, stands in a [`trust`] root with versions, which only rises. [`unpack`] turns the payload into the image,
//! piece by piece, in memory that does not grow with it.
//!
//! Order of checks on a device: signatures, then target and sequence, then the stored payload's digest, and only then
//! is it unpacked, and the image's digest decides.

pub mod manifest;
pub mod pack;
pub mod package;
pub mod signatures;
pub mod signer;
pub mod trust;
pub mod unpack;

pub use manifest::{Digests, Encryption, Manifest, ManifestError, Packing};
pub use package::{Accepted, Package, PackageError, Running};
pub use signatures::{SignError, Signatures};
pub use signer::{FirmwareKey, FirmwarePublicKey};
pub use trust::{Role, TrustError, TrustRoot, TrustedKey};
pub use unpack::{Slots, UnpackError, Unpacker};

#[cfg(test)]
mod tests;
