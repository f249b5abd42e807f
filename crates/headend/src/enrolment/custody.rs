//! Where the DLMS keys of a utility's meters lie, and their replacement: proposed, sent, confirmed. Between the second
//! and the third nobody knows which are in force, so both are kept and tried in turn.

use std::fmt;

use meterseal_link::DlmsKeys;
use meterseal_model::MeterId;
use zeroize::Zeroizing;

/// Where keys lie. Calls may wait for a disk.
pub trait KeyCustody: fmt::Debug + Send + Sync {
    /// What is held of a meter; nothing of one whose keys are the configuration's alone.
    ///
    /// # Errors
    /// [`CustodyError`].
    fn keys(&self, meter: MeterId) -> Result<Option<HeldKeys>, CustodyError>;

    /// Keeps keys that may come into force; on the disk when it returns, beside those in force.
    ///
    /// # Errors
    /// [`CustodyError`].
    fn propose(&self, meter: MeterId, keys: &DlmsKeys) -> Result<(), CustodyError>;

    /// The proposed keys are in force: they take the place of the others.
    ///
    /// # Errors
    /// [`CustodyError`].
    fn confirm(&self, meter: MeterId) -> Result<(), CustodyError>;
}

/// The keys of a meter.
#[derive(Clone, Debug)]
pub struct HeldKeys {
    /// Those in force, as far as is known.
    pub current: DlmsKeys,
    /// Those that were sent without an answer, if there are any.
    pub next: Option<DlmsKeys>,
    /// What keys are wrapped under.
    pub key_encryption_key: Option<Zeroizing<[u8; 32]>>,
    /// Whether `current` are those of the factory: they are replaced at enrolment.
    pub are_initial: bool,
}

/// Keys to log in with.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) keys: DlmsKeys,
    /// Whether a login with them proves that they have come into force.
    pub(crate) is_next: bool,
}

impl HeldKeys {
    pub(super) fn choose(&self, turn: usize) -> Chosen {
        match &self.next {
            // The proposed ones first: most likely only the answer was lost.
            Some(next) if turn.is_multiple_of(2) => Chosen { keys: next.clone(), is_next: true },
            _ => Chosen { keys: self.current.clone(), is_next: false },
        }
    }
}

/// The keys of a meter cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("the keys of {meter} cannot be {act}: {why}")]
pub struct CustodyError {
    /// Whose.
    pub meter: MeterId,
    /// `read` or `kept`.
    pub act: &'static str,
    /// Why, and what to do.
    pub why: String,
}
