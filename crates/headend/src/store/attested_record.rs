//! What the store remembers of a meter's attestations, and of the counters of other roles than the utility.

use meterseal_model::{Digest384, UnixMillis};

/// What a meter attested last: everything here was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedRecord {
    /// The certificates of its boot key, as they came.
    pub boot_chain: Vec<u8>,
    /// The boot key (SubjectPublicKeyInfo, DER), pinned at the first contact.
    pub boot_key: Vec<u8>,
    /// Whether it runs inside somebody's process.
    pub is_simulated: bool,
    /// The running image.
    pub image: Digest384,
    /// Its version, for people.
    pub version: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Whether it is confirmed, or still on probation.
    pub is_confirmed: bool,
    /// Starts so far.
    pub boots: u32,
    /// The highest sequence number ever confirmed.
    pub highest: u64,
    /// The version of the device's trust root.
    pub root_version: u64,
    /// Both slots: digest and sequence number, zeros where there is none.
    pub slots: [(Digest384, u64); 2],
    /// When, by the head-end's clock.
    pub at: UnixMillis,
}

/// Invocation counters under a role's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleCounters {
    /// The next one of the head-end's that was never used.
    pub next: u32,
    /// The highest of the meter's answers.
    pub response: u32,
}
