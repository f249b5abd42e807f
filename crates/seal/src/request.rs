//! The certification request (PKCS#10, RFC 2986) that a device makes for a key pair of its own: it says who asks,
//! with which key, and proves by its signature that the asker holds the private half.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use meterseal_model::MeterId;

use crate::der::{self, value};
use crate::key::{KeyError, SIGNATURE_LENGTH, SealPublicKey, signature_to_der};

/// A meter's request for an operational certificate: common name and URI are the meter's identifier. About 330 bytes.
/// `sign` makes the ES384 signature with the private half of `key`.
///
/// # Errors
/// What `sign` returns; [`KeyError::CannotSign`] when it gives no signature.
pub fn certificate_request<E: From<KeyError>>(
    meter: MeterId,
    key: &SealPublicKey,
    sign: impl FnOnce(&[u8]) -> Result<[u8; SIGNATURE_LENGTH], E>,
) -> Result<Vec<u8>, E> {
    let name = value(
        der::SEQUENCE,
        &[&value(
            der::SET,
            &[&value(
                der::SEQUENCE,
                &[
                    &value(der::OID, &[COMMON_NAME]),
                    &value(der::UTF8_STRING, &[meter.to_string().as_bytes()]),
                ],
            )],
        )],
    );
    let names =
        value(der::SEQUENCE, &[&value(der::URI, &[format!("urn:meterseal:meter:{meter}").as_bytes()])]);
    let extension = value(
        der::SEQUENCE,
        &[&value(der::OID, &[SUBJECT_ALTERNATIVE_NAME]), &value(der::OCTET_STRING, &[&names])],
    );
    let attribute = value(
        der::SEQUENCE,
        &[&value(der::OID, &[EXTENSION_REQUEST]), &value(der::SET, &[&value(der::SEQUENCE, &[&extension])])],
    );
    let info = value(
        der::SEQUENCE,
        &[&value(der::INTEGER, &[&[0]]), &name, &key.to_der(), &value(der::CONTEXT_0, &[&attribute])],
    );
    let signature = signature_to_der(&sign(&info)?).ok_or(KeyError::CannotSign)?;
    let algorithm = value(der::SEQUENCE, &[&value(der::OID, &[ECDSA_WITH_SHA384])]);
    // No unused bits in the last byte.
    let signature = value(der::BIT_STRING, &[&[0], &signature]);
    Ok(value(der::SEQUENCE, &[&info, &algorithm, &signature]))
}

/// The public key that a certificate is for, without judging the certificate. `None` when it is none of P-384.
pub fn certified_key(certificate: &[u8]) -> Option<SealPublicKey> {
    SealPublicKey::from_der(der::public_key_info(certificate)?).ok()
}

/// 2.5.4.3 (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17 (RFC 5280, 4.2.1.6).
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1D, 0x11];
/// 1.2.840.113549.1.9.14 (RFC 2985, 5.4.2).
const EXTENSION_REQUEST: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x0E];
/// 1.2.840.10045.4.3.3 (RFC 5758, 3.2).
pub(crate) const ECDSA_WITH_SHA384: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03];
