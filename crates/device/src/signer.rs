//! Signs a meter's checkpoints beside its measuring: one thread, one request at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use embedded_storage::nor_flash::NorFlash;
use meterseal_meter::{Meter, Random, SigningRequest, StorageError};
use meterseal_model::MeterId;
use meterseal_seal::{KeySlot, KeyState, KeyStore};

/// The thread that signs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Signer {
    requests: Sender<SigningRequest>,
    signatures: Receiver<(u64, Option<[u8; 96]>)>,
}

impl Signer {
    /// Starts it.
    pub(crate) fn start(meter: MeterId, keys: Arc<dyn KeyStore>) -> std::io::Result<Self> {
        let (requests, waiting) = channel::<SigningRequest>();
        let (done, signatures) = channel();
        std::thread::Builder::new().name(format!("{meter} log")).spawn(move || {
            while let Ok(request) = waiting.recv() {
                let signature = sign(meter, &*keys, &request);
                if done.send((request.number, signature)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { requests, signatures })
    }

    /// Hands signatures to the meter and takes the next request from it. Waits for nothing.
    pub(crate) fn exchange<F: NorFlash, R: Random>(
        &self,
        meter: &mut Meter<F, R>,
    ) -> Result<(), StorageError<F::Error>> {
        let mut outcome = Ok(());
        while let Ok((number, signature)) = self.signatures.try_recv() {
            outcome = outcome.and(meter.signed(number, signature.as_ref()));
        }
        if let Some(request) = meter.signing_request() {
            // The thread ends after this only.
            let _ = self.requests.send(request);
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
