//! What is signed or chained: one envelope, the log, and the mark.
//!
//! [`envelope`] is COSE_Sign1 (RFC 9052) with exactly one algorithm, ES384. [`key`] holds the P-384 keys that sign
//! and verify; on a device they live in a [`key_store`], which also makes [`request`]s for certificates. [`log`] is
//! the Merkle tree over all that a meter recorded, with its signed checkpoints and proofs. [`mark`] is the certificate
//! of a device type and firmware, [`admission`] decides with marks whether a meter is trusted, [`requirements`] names
//! what a mark can cover. [`evidence`] are the files that anybody can check: statements and exports of the log, with
//! [`chain`] for the certificates in them. Nothing here does I/O or reads a clock.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod admission;
pub mod attestation;
pub mod certificate;
pub mod chain;
mod der;
pub mod envelope;
pub mod evidence;
pub mod firmware;
pub mod key;
pub mod key_store;
pub mod log;
pub mod mark;
pub mod request;
pub mod requirements;
pub mod signed_time;

pub use admission::{MarkStore, Refusal, admit};
pub use envelope::{EnvelopeError, Verified};
pub use key::{KeyError, KeyId, SealKey, SealPublicKey, Signer};
pub use key_store::{KeySlot, KeyState, KeyStore, KeyStoreError};
pub use mark::{Coverage, Mark, MarkError, MarkRevocations, Scope, VerifiedMark};
