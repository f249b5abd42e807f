//! What passes between the head-end and a meter's Security setup (class 64): a new key pair and its certificate, and
//! the replacement of the factory's DLMS keys.

use std::sync::Arc;

use meterseal_link::keys::wrap_key;
use meterseal_link::pki::{Certificate, Validity};
use meterseal_link::{ClientError, DlmsClient, DlmsKeys, Value};
use meterseal_model::objects::Class;
use meterseal_model::{MeterId, Obis, Role};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{CustodyError, Enroller, EnrolmentError};
use crate::acquisition::AcquisitionError;

impl Enroller {
    /// Has the meter make a key pair, has its request signed, and gives it the certificate. The one in use stays valid.
    pub(crate) async fn certify<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        meter: MeterId,
        client: &mut DlmsClient<S>,
    ) -> Result<Certificate, AcquisitionError> {
        invoke(client, GENERATE_KEY_PAIR, Value::Enum(TLS), "make a key pair").await?;
        let request =
            invoke(client, GENERATE_REQUEST, Value::Enum(TLS), "make a certification request").await?;
        let request = request.as_bytes().map(<[u8]>::to_vec).ok_or(EnrolmentError::Refused {
            step: "make a certification request",
            why: "it gave something else".to_owned(),
        })?;
        let signer = Arc::clone(&self.how.signer);
        let validity = Validity::from((self.how.clock)(), self.how.validity);
        let signed =
            tokio::task::spawn_blocking(move || signer.sign_request(meter, &request, validity)).await;
        let chain = match signed {
            Ok(signed) => signed.map_err(|error| EnrolmentError::Signer(error.to_string()))?,
            Err(_) => return Err(EnrolmentError::Signer("the signer failed".to_owned()).into()),
        };
        let unreadable = || EnrolmentError::Signer("what came back is no certificate".to_owned());
        let own = chain.first().ok_or_else(unreadable)?;
        let certificate = Certificate::read(own).map_err(|_| unreadable())?;
        self.issued(meter, &certificate).await?;
        let chain = chain.iter().flat_map(|der| der.iter().copied()).collect();
        invoke(client, IMPORT, Value::Bytes(chain), "import its certificate").await?;
        Ok(certificate)
    }

    /// Replaces the keys of the factory, where they are in force still and there is a key to wrap others under.
    /// Afterwards the meter has ended the association.
    pub(crate) async fn replace_keys<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        meter: MeterId,
        client: &mut DlmsClient<S>,
    ) -> Result<bool, AcquisitionError> {
        let Some(custody) = &self.how.custody else { return Ok(false) };
        let held = custody.keys(meter).map_err(EnrolmentError::Custody)?;
        let Some(held) = held else { return Ok(false) };
        let Some(kek) = held.key_encryption_key.as_deref().filter(|_| held.are_initial) else {
            return Ok(false);
        };
        let mut new = DlmsKeys { encryption: [0; 32], authentication: [0; 32] };
        for key in [&mut new.encryption, &mut new.authentication] {
            getrandom::fill(key)
                .map_err(|error| CustodyError {
                    meter,
                    act: "made",
                    why: format!("the operating system gave no random numbers: {error}"),
                })
                .map_err(EnrolmentError::Custody)?;
        }
        custody.propose(meter, &new).map_err(EnrolmentError::Custody)?;
        let item = |number, key| {
            Value::Structure(vec![Value::Enum(number), Value::Bytes(wrap_key(kek, key).to_vec())])
        };
        let both =
            Value::Array(vec![item(UNICAST, &new.encryption), item(AUTHENTICATION, &new.authentication)]);
        invoke(client, KEY_TRANSFER, both, "take its new keys").await?;
        self.keys_in_force(meter).await??;
        tracing::info!(%meter, "the factory's DLMS keys were replaced");
        Ok(true)
    }
}

/// Invokes a method of the utility's Security setup.
async fn invoke<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut DlmsClient<S>,
    method: i8,
    parameter: Value,
    step: &'static str,
) -> Result<Value, AcquisitionError> {
    let setup = Obis::security_setup(Role::Utility);
    match client.action(Class::SecuritySetup.id(), setup, method, Some(parameter)).await {
        Ok(value) => Ok(value),
        Err(ClientError::Access(refused)) => {
            Err(EnrolmentError::Refused { step, why: refused.to_string() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Methods of class 64, the type of key, and numbers of keys: as in the meter's Security setup.
const KEY_TRANSFER: i8 = 2;
const GENERATE_KEY_PAIR: i8 = 4;
const GENERATE_REQUEST: i8 = 5;
const IMPORT: i8 = 6;
const TLS: u8 = 2;
const UNICAST: u8 = 0;
const AUTHENTICATION: u8 = 2;
