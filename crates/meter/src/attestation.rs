//! What the running image says of itself, with the key that its boot stage gave it: nonces are asked with, one for each
//! association, and what is to be signed for them is handed to the device, as checkpoints are. Signing takes long; nothing
//! here waits for it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::Digest384;
use meterseal_seal::KeyId;
use meterseal_seal::attestation::{Attestation, NONCE_BYTES, SlotState};
use meterseal_seal::envelope::Draft;

use crate::inner::Inner;

/// The identity of the image that runs, from the boot stage that started it. Its private key is the device's to keep; what
/// here is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageIdentity {
    /// The boot key's certificates (DER), its own first.
    pub boot_chain: Vec<Vec<u8>>,
    /// The boot stage's certificate of the image key
    /// ([`BootStage::image_key`](meterseal_seal::attestation::BootStage::image_key)).
    pub certificate: Vec<u8>,
    /// The image key's name.
    pub key: KeyId,
    /// The version in the image's manifest.
    pub version: String,
    /// The image's digest.
    pub image: Digest384,
    /// Its sequence number.
    pub sequence: u64,
}

/// What the boot stage's record says besides: it changes while the image runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootState {
    /// Starts so far.
    pub boots: u32,
    /// The confirmed image.
    pub confirmed: Digest384,
    /// The highest sequence number ever confirmed.
    pub highest: u64,
    /// The version of the trust root in force.
    pub root_version: u64,
    /// Both slots.
    pub slots: [SlotState; 2],
}

/// An attestation that waits for its signature.
#[derive(Clone, Debug)]
pub struct AttestationRequest {
    /// Which one: hand it back with the signature.
    pub number: u64,
    /// What the image key signs (ES384 over SHA-384 of these bytes).
    pub to_be_signed: Vec<u8>,
}

/// Questions that have been asked, the oldest first.
#[derive(Debug)]
pub(crate) struct Attestor {
    pub(crate) identity: ImageIdentity,
    questions: VecDeque<Question>,
    asked: u64,
}

#[derive(Debug)]
struct Question {
    number: u64,
    nonce: Vec<u8>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Waiting,
    Drafted(Draft),
    Signed(Vec<u8>),
}

/// Questions that are remembered: each of four connections has one of each role that may ask, if it wants; the oldest give
/// way.
const QUESTIONS_MAX: usize = 12;

impl Attestor {
    pub(crate) const fn new(identity: ImageIdentity) -> Self {
        Self { identity, questions: VecDeque::new(), asked: 0 }
    }

    /// Takes a question in place of an association's former one; `None`: that is no nonce.
    pub(crate) fn ask(&mut self, former: Option<u64>, nonce: &[u8]) -> Option<u64> {
        if !NONCE_BYTES.contains(&nonce.len()) {
            return None;
        }
        self.questions.retain(|question| Some(question.number) != former);
        if self.questions.len() == QUESTIONS_MAX {
            self.questions.pop_front();
        }
        self.asked += 1;
        let (number, nonce) = (self.asked, nonce.to_vec());
        self.questions.push_back(Question { number, nonce, answer: Answer::Waiting });
        Some(number)
    }

    pub(crate) fn nonce(&self, number: u64) -> &[u8] {
        self.find(number).map_or(&[], |question| &question.nonce)
    }

    /// Empty until it is signed.
    pub(crate) fn answer(&self, number: u64) -> &[u8] {
        match self.find(number).map(|question| &question.answer) {
            Some(Answer::Signed(bytes)) => bytes,
            _ => &[],
        }
    }

    fn find(&self, number: u64) -> Option<&Question> {
        self.questions.iter().find(|question| question.number == number)
    }
}

impl<F: NorFlash> Inner<F> {
    /// What is to be signed next, if nothing is being signed.
    pub(crate) fn attestation_request(&mut self) -> Option<AttestationRequest> {
        let attestor = self.attestor.as_mut()?;
        if attestor.questions.iter().any(|question| matches!(question.answer, Answer::Drafted(_))) {
            return None;
        }
        let waits = |question: &&mut Question| matches!(question.answer, Answer::Waiting);
        let question = attestor.questions.iter_mut().find(waits)?;
        let state = self.images.as_ref()?.boot_state()?;
        let identity = &attestor.identity;
        let attestation = Attestation {
            nonce: question.nonce.clone(),
            meter: self.identity.id,
            version: identity.version.clone(),
            sequence: identity.sequence,
            confirmed: state.confirmed == identity.image,
            boots: state.boots,
            highest: state.highest,
            root_version: state.root_version,
            slots: state.slots,
        };
        // An attestation is shorter than an envelope may be: a nonce and a version are bounded.
        let draft = attestation.draft(identity.key).ok()?;
        let request = AttestationRequest { number: question.number, to_be_signed: draft.to_be_signed() };
        question.answer = Answer::Drafted(draft);
        Some(request)
    }

    /// Takes a signature; without one the question stays unanswered, and whoever wants it asks anew.
    pub(crate) fn attested(&mut self, number: u64, signature: Option<&[u8; 96]>) {
        let Some(attestor) = &mut self.attestor else { return };
        let Some(place) = attestor.questions.iter().position(|question| question.number == number) else {
            return;
        };
        match (&attestor.questions[place].answer, signature) {
            (Answer::Drafted(draft), Some(signature)) => {
                attestor.questions[place].answer = Answer::Signed(draft.finish(signature));
            }
            (Answer::Drafted(_), None) => drop(attestor.questions.remove(place)),
            _ => {}
        }
    }
}
