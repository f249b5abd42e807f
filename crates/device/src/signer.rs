//! Signs a meter's checkpoints and attestations beside its measuring: one thread, one request at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::{AttestationRequest, Meter, Random, SigningRequest, StorageError};
use meterseal_model::MeterId;
use meterseal_seal::{KeySlot, KeyState, KeyStore, SealKey, Signer as _};

/// The thread that signs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Signer {
    requests: Sender<Request>,
    signatures: Receiver<Signature>,
}

#[derive(Debug)]
enum Request {
    Checkpoint(SigningRequest),
    Attestation(AttestationRequest),
}

#[derive(Debug)]
enum Signature {
    Checkpoint(u64, Option<[u8; 96]>),
    Attestation(u64, Option<[u8; 96]>),
}

impl Signer {
    /// Starts it. A meter without a key store signs no checkpoints, one without an image key attests nothing.
    pub(crate) fn start(
        meter: MeterId,
        keys: Option<Arc<dyn KeyStore>>,
        image_key: Option<SealKey>,
    ) -> std::io::Result<Self> {
        let (requests, waiting) = channel();
        let (done, signatures) = channel();
        std::thread::Builder::new().name(format!("{meter} log")).spawn(move || {
            while let Ok(request) = waiting.recv() {
                let signature = match request {
                    Request::Checkpoint(request) => {
                        let signature = keys.as_ref().and_then(|keys| sign(meter, &**keys, &request));
                        Signature::Checkpoint(request.number, signature)
                    }
                    Request::Attestation(request) => {
                        let signature = image_key.as_ref().and_then(|key| attest(meter, key, &request));
                        Signature::Attestation(request.number, signature)
                    }
                };
                if done.send(signature).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { requests, signatures })
    }

    /// Hands signatures to the meter and takes the next requests from it. Waits for nothing.
    pub(crate) fn exchange<F: NorFlash, R: Random>(
        &self,
        meter: &mut Meter<F, R>,
    ) -> Result<(), StorageError<F::Error>> {
        let mut outcome = Ok(());
        while let Ok(signature) = self.signatures.try_recv() {
            match signature {
                Signature::Checkpoint(number, signature) => {
                    outcome = outcome.and(meter.signed(number, signature.as_ref()));
                }
                Signature::Attestation(number, signature) => meter.attested(number, signature.as_ref()),
            }
        }
        // The thread ends after this only.
        if let Some(request) = meter.signing_request() {
            let _ = self.requests.send(Request::Checkpoint(request));
        }
        if let Some(request) = meter.attestation_request() {
            let _ = self.requests.send(Request::Attestation(request));
        }
        outcome
    }
}

/// Signs with the log key; a key that cannot sign is said, and the meter asks again with its next checkpoint.
pub(crate) fn sign(meter: MeterId, keys: &dyn KeyStore, request: &SigningRequest) -> Option<[u8; 96]> {
    match keys.sign(KeySlot::Log, KeyState::Current, &request.to_be_signed) {
        Ok(signature) => Some(signature),
        Err(error) => {
            tracing::error!(%meter, number = request.number, "a checkpoint could not be signed: {error}");
            None
        }
    }
}

/// Signs with the image key.
pub(crate) fn attest(meter: MeterId, key: &SealKey, request: &AttestationRequest) -> Option<[u8; 96]> {
    match key.sign(&request.to_be_signed) {
        Ok(signature) => Some(signature),
        Err(error) => {
            tracing::error!(%meter, "an attestation could not be signed: {error}");
            None
        }
    }
}
