//! Small corrections of what the engine sends, so that other makers' clients understand it.

use alloc::vec::Vec;

use dlms_cosem_rs::acse::{Aare, Aarq, Diagnostic, UserDiagnostic};
use dlms_cosem_rs::codec::{Decode, Encode, Reader};
use dlms_cosem_rs::security::{
    Protector, RustCryptoProvider, SecurityPolicy, SecuritySuite, SystemTitle as CodecTitle,
};
use dlms_cosem_rs::xdlms::{CipheredService, Conformance, InitiateRequest, InitiateResponse, VAA_NAME_LN};
use meterseal_model::SystemTitle;

use super::REQUEST_MAX;
use super::provider::key_ring;
use crate::DlmsKeys;

pub(super) const TAG_AARQ: u8 = 0x60;
const TAG_AARE: u8 = 0x61;
pub(super) const TAG_RLRQ: u8 = 0x62;
pub(super) const TAG_EXCEPTION: u8 = 0xD8;
const TAG_INITIATE_REQUEST: u8 = 0x01;
const TAG_GLO_INITIATE_REQUEST: u8 = 0x21;
const TAG_INITIATE_RESPONSE: u8 = 0x08;
const TAG_GLO_INITIATE_RESPONSE: u8 = 0x28;
const TAG_GENERAL_GLO: u8 = 0xDB;
const TAG_GENERAL_DED: u8 = 0xDC;

/// While the client's answer to the challenge is outstanding, the AARE must say "authentication required"
/// (diagnostic 14): clients skip the challenge without it. The engine says 0.
pub(super) fn demand_authentication(response: Vec<u8>) -> Vec<u8> {
    if response.first() != Some(&TAG_AARE) {
        return response;
    }
    let corrected = Aare::from_bytes(&response).ok().filter(Aare::is_accepted).and_then(|aare| {
        let aare = Aare { diagnostic: Diagnostic::User(UserDiagnostic::AuthenticationRequired), ..aare };
        let mut bytes = Vec::with_capacity(response.len());
        aare.encode(&mut bytes).ok().map(|()| bytes)
    });
    corrected.unwrap_or(response)
}

/// Puts a service-specific reply into the general form where the client used that: plaintext, nonce and additional
/// data are the same, the general form only adds the system title.
pub(super) fn answer_in_kind(request_tag: Option<u8>, response: Vec<u8>, title: SystemTitle) -> Vec<u8> {
    let general = match (request_tag, response.first()) {
        (Some(TAG_GENERAL_GLO), Some(0xC8..=0xCF)) => TAG_GENERAL_GLO,
        (Some(TAG_GENERAL_DED), Some(0xD0..=0xD7)) => TAG_GENERAL_DED,
        _ => return response,
    };
    let mut bytes = Vec::with_capacity(response.len() + 9);
    bytes.push(general);
    bytes.push(title.0.len() as u8);
    bytes.extend_from_slice(&title.0);
    bytes.extend_from_slice(&response[1..]);
    bytes
}

/// Whether the client that sent this AARQ proposed to be sent notifications. Other makers' clients that did not
/// stumble on them. The engine keeps what it agreed to itself, so the proposal is deciphered once more here.
pub(super) fn asks_for_pushes(aarq: &[u8], keys: &DlmsKeys, policy: SecurityPolicy) -> bool {
    let proposed = || {
        let aarq = Aarq::from_bytes(aarq).ok()?;
        let title = CodecTitle::from_slice(aarq.calling_ap_title?).ok()?;
        open_initiate(aarq.user_information?, title, keys, policy)
    };
    proposed().is_some_and(|initiate| initiate.proposed.contains(Conformance::DATA_NOTIFICATION))
}

/// What a client proposes in the enciphered user-information of an AARQ or RLRQ.
pub(super) struct Initiate {
    pub(super) proposed: Conformance,
    pub(super) counter: u32,
}

/// Deciphers an AARQ's or RLRQ's user-information; `None` where it is not enciphered under these keys.
pub(super) fn open_initiate(
    user_information: &[u8],
    client: CodecTitle,
    keys: &DlmsKeys,
    policy: SecurityPolicy,
) -> Option<Initiate> {
    let (&tag, ciphered) = user_information.split_first()?;
    if tag != TAG_GLO_INITIATE_REQUEST {
        return None;
    }
    let ciphered = CipheredService::decode(&mut Reader::new(ciphered)).ok()?;
    policy.check_received(ciphered.security_control).ok()?;
    let counter = ciphered.invocation_counter;
    let mut body = ciphered.payload.to_vec();
    let plain = Protector::new(RustCryptoProvider::new(key_ring(keys)), policy)
        .unprotect(ciphered.security_control, &client, counter, &keys.authentication, &mut body)
        .ok()?;
    let (&tag, initiate) = plain.split_first()?;
    let initiate = InitiateRequest::decode(&mut Reader::new(initiate)).ok()?;
    (tag == TAG_INITIATE_REQUEST).then_some(Initiate { proposed: initiate.proposed_conformance, counter })
}

/// The enciphered user-information of an RLRE: an InitiateResponse.
pub(super) fn seal_initiate(
    negotiated: Conformance,
    meter: SystemTitle,
    counter: u32,
    keys: &DlmsKeys,
    policy: SecurityPolicy,
) -> Option<Vec<u8>> {
    let response = InitiateResponse {
        negotiated_conformance: negotiated,
        server_max_receive_pdu_size: REQUEST_MAX,
        vaa_name: VAA_NAME_LN,
        ..Default::default()
    };
    let mut plain = alloc::vec![TAG_INITIATE_RESPONSE];
    response.encode(&mut plain).ok()?;
    let mut body = alloc::vec![0; plain.len() + SecuritySuite::TAG_LEN];
    let protector = Protector::new(RustCryptoProvider::new(key_ring(keys)), policy);
    let title = CodecTitle(meter.0);
    let payload = protector.protect(&title, counter, &keys.authentication, &plain, &mut body).ok()?;
    let mut bytes = alloc::vec![TAG_GLO_INITIATE_RESPONSE];
    let ciphered =
        CipheredService { security_control: policy.control(), invocation_counter: counter, payload };
    ciphered.encode(&mut bytes).ok()?;
    Some(bytes)
}

/// The invocation counter in a ciphered request's header: not yet authenticated when this reads it.
pub(super) fn counter_of(request: &[u8]) -> Option<u32> {
    let (&tag, mut rest) = request.split_first()?;
    match tag {
        TAG_GENERAL_GLO | TAG_GENERAL_DED => {
            let (&len, after) = rest.split_first()?;
            rest = after.get(usize::from(len)..)?;
        }
        0xC8..=0xD7 => {}
        _ => return None,
    }
    // The length of what follows: one byte, or 0x80 + n and n bytes.
    let (&len, after) = rest.split_first()?;
    let skipped = if len < 0x80 { 0 } else { usize::from(len & 0x7F) };
    let header = after.get(skipped..)?.get(1..5)?;
    Some(u32::from_be_bytes(header.try_into().ok()?))
}

/// "Service not allowed, operation not possible": the plain answer to whoever has no association.
pub(super) const REFUSAL: [u8; 3] = [TAG_EXCEPTION, 1, 1];

/// "Service not allowed, deciphering error".
pub(super) const UNDECIPHERABLE: [u8; 3] = [TAG_EXCEPTION, 1, 5];

/// "Service not allowed, PDU too long": the answer does not fit what the meter can build at once.
pub(super) const TOO_LONG: [u8; 3] = [TAG_EXCEPTION, 1, 4];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_both_forms_and_never_beyond_the_end() {
        let service = [0xC8, 7, 0x32, 0, 0, 1, 2, 0xAA, 0xBB];
        assert_eq!(counter_of(&service), Some(258));
        let mut general = alloc::vec![0xDB, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        general.extend_from_slice(&[0x82, 0, 7, 0x32, 0, 0, 1, 3, 0xAA, 0xBB]);
        assert_eq!(counter_of(&general), Some(259));
        for end in 0..general.len() - 2 {
            assert_eq!(counter_of(&general[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_reply_takes_the_general_form_only_when_asked_in_it() {
        let title = SystemTitle(*b"MSL\0\0\0\0\x01");
        let reply = alloc::vec![0xCC, 2, 0x32, 9];
        assert_eq!(answer_in_kind(Some(0xC8), reply.clone(), title), reply);
        let general = answer_in_kind(Some(0xDB), reply, title);
        assert_eq!(general, [0xDB, 8, b'M', b'S', b'L', 0, 0, 0, 0, 1, 2, 0x32, 9]);
    }
}
