//! Security setup (class 64, version 1; numbers not verified against the standard's text): what protects a role's
//! association, the transfer of keys, and the meter's certificates over its key store.

use alloc::vec::Vec;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::Object;
use meterseal_model::{EventCode, Obis, Role};
use meterseal_seal::certificate::{CertificateNames, split_certificates};
use meterseal_seal::key_store::{KeySlot, KeyStore, KeyStoreError, certificate_request};

use super::{put, put_array, put_structure};
use crate::inner::Inner;
use crate::keyring::{KeyId, TransferError};
use crate::records::{KEYED, LastClient, key_index};

/// Requests and responses authenticated and encrypted (bits 2, 3, 5, 6).
const POLICY_ALL: u8 = 0b0110_1100;
/// Suite 2: AES-256-GCM.
const SUITE: u8 = 2;
/// The keys that one transfer may hold: unicast encryption and authentication.
const KEYS_MAX: usize = 2;

/// Whose security setup an object is.
fn role_of(object: &Object) -> Option<Role> {
    KEYED.into_iter().find(|&role| Obis::security_setup(role) == object.obis)
}

pub(super) fn get<F: NorFlash>(
    inner: &Inner<F>,
    object: &Object,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    let role = role_of(object).ok_or(DataAccessResult::ObjectUndefined)?;
    match attribute {
        2 => put(w, Data::Enum(POLICY_ALL)),
        3 => put(w, Data::Enum(SUITE)),
        4 => {
            let client = key_index(role).map(|key| inner.state.clients[key]).unwrap_or_default();
            put(w, Data::OctetString(if client == LastClient::default() { &[] } else { &client.title }))
        }
        5 => put(w, Data::OctetString(&inner.identity.id.system_title().0)),
        6 => certificates(inner, role, w),
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// Invokes a method. The engine has checked that the role may. `true` when a value was written.
pub(super) fn invoke<F: NorFlash>(
    inner: &mut Inner<F>,
    object: &Object,
    method: i8,
    parameters: Option<Data<'_>>,
    w: &mut dyn Writer,
) -> Result<bool, ActionResult> {
    let role = role_of(object).ok_or(ActionResult::ObjectUndefined)?;
    let parameters = parameters.ok_or(ActionResult::TypeUnmatched)?;
    match method {
        2 => key_transfer(inner, role, &parameters).map(|()| false),
        4 => {
            let slot = slot_of(&parameters)?;
            store(inner)?.generate(slot).map_err(refusal)?;
            changed(inner).map(|()| false)
        }
        5 => {
            let slot = slot_of(&parameters)?;
            let request = certificate_request(store(inner)?, slot, inner.identity.id).map_err(refusal)?;
            put(w, Data::OctetString(&request)).map_err(|_| ActionResult::OtherReason).map(|()| true)
        }
        6 => {
            let der = parameters.as_bytes().ok_or(ActionResult::TypeUnmatched)?;
            let chain = split_certificates(der).ok_or(ActionResult::TypeUnmatched)?;
            store(inner)?.import(KeySlot::Operational, &chain).map_err(refusal)?;
            changed(inner).map(|()| false)
        }
        7 => {
            let certificate = export(inner, &parameters)?;
            put(w, Data::OctetString(&certificate)).map_err(|_| ActionResult::OtherReason).map(|()| true)
        }
        _ => Err(ActionResult::ObjectUndefined),
    }
}

/// An array of structures: which key, and the key wrapped under the key encryption key (RFC 3394).
fn key_transfer<F: NorFlash>(
    inner: &mut Inner<F>,
    role: Role,
    parameters: &Data<'_>,
) -> Result<(), ActionResult> {
    let list = parameters.as_array().ok_or(ActionResult::TypeUnmatched)?;
    let mut keys = Vec::with_capacity(KEYS_MAX);
    for item in &list {
        let item = item.map_err(|_| ActionResult::TypeUnmatched)?;
        let item = item.as_structure().ok_or(ActionResult::TypeUnmatched)?;
        let field = |k| item.get(k).map_err(|_| ActionResult::TypeUnmatched);
        let id = field(0)?.as_u64().ok_or(ActionResult::TypeUnmatched)?;
        let id = KeyId::from_number(id).ok_or(ActionResult::ObjectUnavailable)?;
        let wrapped = field(1)?.as_bytes().ok_or(ActionResult::TypeUnmatched)?;
        if keys.len() == KEYS_MAX {
            return Err(ActionResult::ScopeOfAccessViolated);
        }
        keys.push((id, wrapped));
    }
    inner.transfer_keys(role, &keys).map_err(|error| match error {
        TransferError::Unprepared => ActionResult::ObjectUnavailable,
        TransferError::Forged => {
            // Whoever may transfer keys, and wraps them under another key, has somebody else's: worth a line.
            inner.forged_keys();
            ActionResult::ReadWriteDenied
        }
        TransferError::Unusable => ActionResult::ScopeOfAccessViolated,
        TransferError::Storage(_) => ActionResult::HardwareFault,
    })
}

impl<F: NorFlash> Inner<F> {
    fn forged_keys(&mut self) {
        // What cannot be written now waits for the flash.
        let _ = self.log(EventCode::UndecryptableMessage, 0);
    }
}

fn store<F: NorFlash>(inner: &Inner<F>) -> Result<&dyn KeyStore, ActionResult> {
    inner.key_store.as_deref().ok_or(ActionResult::ObjectUnavailable)
}

fn changed<F: NorFlash>(inner: &mut Inner<F>) -> Result<(), ActionResult> {
    inner.spend_incoming_counter();
    let written = inner.write_state().and_then(|()| inner.log(EventCode::CertificateChanged, 0));
    written.map_err(|_| ActionResult::HardwareFault)
}

/// Key pairs by their number: 0 digital signature, 1 key agreement, 2 TLS. The meter makes TLS keys; its others are not
/// certified this way.
fn slot_of(parameters: &Data<'_>) -> Result<KeySlot, ActionResult> {
    match parameters.as_u64() {
        Some(2) => Ok(KeySlot::Operational),
        Some(_) => Err(ActionResult::ObjectUnavailable),
        None => Err(ActionResult::TypeUnmatched),
    }
}

fn refusal(error: KeyStoreError) -> ActionResult {
    match error {
        KeyStoreError::NoKey(..) | KeyStoreError::OtherKey(_) => ActionResult::ScopeOfAccessViolated,
        KeyStoreError::Certificate => ActionResult::TypeUnmatched,
        KeyStoreError::Key(_) => ActionResult::OtherReason,
        KeyStoreError::Storage(_) => ActionResult::HardwareFault,
    }
}

/// Entity: 0 server, 2 certification authority. Type: 2 TLS.
const SERVER: u8 = 0;
const AUTHORITY: u8 = 2;
const TLS: u8 = 2;

/// The meter's certificates, each with whose it is. Slots without keys have none.
fn held<F: NorFlash>(inner: &Inner<F>) -> Vec<(u8, Vec<u8>)> {
    let Some(store) = inner.key_store.as_deref() else { return Vec::new() };
    let mut found: Vec<(u8, Vec<u8>)> = Vec::new();
    for slot in [KeySlot::Operational, KeySlot::Device] {
        let chain = store.certificates(slot).unwrap_or_default();
        for (k, certificate) in chain.into_iter().enumerate() {
            if found.iter().all(|(_, known)| *known != certificate) {
                found.push((if k == 0 { SERVER } else { AUTHORITY }, certificate));
            }
        }
    }
    found
}

fn certificates<F: NorFlash>(inner: &Inner<F>, role: Role, w: &mut dyn Writer) -> StoreResult<()> {
    let held = if role == Role::Utility { held(inner) } else { Vec::new() };
    let readable =
        || held.iter().filter_map(|(entity, der)| CertificateNames::of(der).map(|names| (*entity, names)));
    put_array(w, readable().count())?;
    for (entity, names) in readable() {
        put_structure(w, 6)?;
        put(w, Data::Enum(entity))?;
        put(w, Data::Enum(TLS))?;
        for field in [names.serial, names.issuer, names.subject, names.subject_alternative_names] {
            put(w, Data::OctetString(field))?;
        }
    }
    Ok(())
}

/// By entity (0: entity, type, system title) or by serial number (1: serial number, issuer).
fn export<F: NorFlash>(inner: &Inner<F>, parameters: &Data<'_>) -> Result<Vec<u8>, ActionResult> {
    let unmatched = ActionResult::TypeUnmatched;
    let outer = parameters.as_structure().ok_or(unmatched)?;
    let by = outer.get(0).map_err(|_| unmatched)?.as_u64().ok_or(unmatched)?;
    let which = outer.get(1).map_err(|_| unmatched)?;
    let which = which.as_structure().ok_or(unmatched)?;
    let field = |k| which.get(k).map_err(|_| unmatched);
    let mut held = held(inner).into_iter();
    let found = match by {
        0 => {
            let entity = field(0)?.as_u64().ok_or(unmatched)?;
            let is_tls = field(1)?.as_u64().ok_or(unmatched)? == TLS.into();
            let title = field(2)?;
            let title = title.as_bytes().ok_or(unmatched)?;
            let is_ours = title == inner.identity.id.system_title().0;
            held.find(|(found, _)| is_tls && u64::from(*found) == entity && (is_ours || *found != SERVER))
        }
        1 => {
            let (serial, issuer) = (field(0)?, field(1)?);
            let serial = serial.as_bytes().ok_or(unmatched)?;
            let issuer = issuer.as_bytes().ok_or(unmatched)?;
            held.find(|(_, der)| {
                CertificateNames::of(der)
                    .is_some_and(|names| names.serial == serial && names.issuer == issuer)
            })
        }
        _ => return Err(unmatched),
    };
    found.map(|(_, der)| der).ok_or(ActionResult::ScopeOfAccessViolated)
}
