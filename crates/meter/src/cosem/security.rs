//! Security setup (class 64, version 1; numbers not verified against the standard's text): what protects a role's
//! association, the transfer of keys, and the meter's certificates over its key store.
//!
//! A certificate is taken for the operational identity alone, and only from an authority of the meter's utility, for
//! this meter by name. Everything that is refused in this is an event of the security log.

use alloc::vec::Vec;

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::Object;
use meterseal_model::{EventCode, Obis, Role};
use meterseal_seal::certificate::{CertificateNames, is_issued_by, names_only, split_certificates};
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
    if method == KEY_TRANSFER {
        return key_transfer(inner, role, &parameters).map(|()| false);
    }
    let done = certificate_method(inner, method, &parameters);
    if let Err(refused) = done
        && refused != ActionResult::ObjectUndefined
    {
        // What cannot be written now waits for the flash.
        let _ = inner.log(EventCode::CertificateRefused, method.into());
    }
    match done? {
        None => Ok(false),
        Some(bytes) => {
            put(w, Data::OctetString(&bytes)).map_err(|_| ActionResult::OtherReason).map(|()| true)
        }
    }
}

/// The methods that work on the key store; each gives bytes or nothing.
fn certificate_method<F: NorFlash>(
    inner: &mut Inner<F>,
    method: i8,
    parameters: &Data<'_>,
) -> Result<Option<Vec<u8>>, ActionResult> {
    match method {
        4 => {
            let slot = slot_of(parameters)?;
            store(inner)?.generate(slot).map_err(refusal)?;
            changed(inner).map(|()| None)
        }
        5 => {
            let slot = slot_of(parameters)?;
            certificate_request(store(inner)?, slot, inner.identity.id).map_err(refusal).map(Some)
        }
        6 => {
            let der = parameters.as_bytes().ok_or(ActionResult::TypeUnmatched)?;
            import(inner, der)?;
            changed(inner).map(|()| None)
        }
        7 => Ok(Some(find(inner, parameters)?.der)),
        8 => {
            let found = find(inner, parameters)?;
            // The device's own come from its maker and are the way back in; an authority's goes with what it signed.
            if found.slot != KeySlot::Operational || found.entity != SERVER {
                return Err(ActionResult::ReadWriteDenied);
            }
            store(inner)?.remove(found.slot).map_err(refusal)?;
            changed(inner).map(|()| None)
        }
        _ => Err(ActionResult::ObjectUndefined),
    }
}

/// A chain, the meter's own certificate first, that ends at an authority of its utility.
fn import<F: NorFlash>(inner: &Inner<F>, der: &[u8]) -> Result<(), ActionResult> {
    let chain = split_certificates(der).ok_or(ActionResult::TypeUnmatched)?;
    let own = chain.first().ok_or(ActionResult::TypeUnmatched)?;
    if !names_only(own, inner.identity.id) {
        return Err(ActionResult::ReadWriteDenied);
    }
    // The authority's own certificate may stand behind, and nothing else: what is shown must be what was checked.
    let trusted = inner.issuers.iter().find(|issuer| is_issued_by(own, issuer));
    let above = &chain[1..];
    if !trusted.is_some_and(|issuer| above.iter().all(|certificate| certificate == issuer)) {
        return Err(ActionResult::ReadWriteDenied);
    }
    store(inner)?.import(KeySlot::Operational, &chain).map_err(refusal)
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

/// Entity: 0 server, 2 certification authority. Type: 0 digital signature, 2 TLS.
const SERVER: u8 = 0;
const AUTHORITY: u8 = 2;
const SIGNATURE: u8 = 0;
const TLS: u8 = 2;
const KEY_TRANSFER: i8 = 2;

/// A certificate of the meter's, and whose it is.
struct Held {
    slot: KeySlot,
    entity: u8,
    kind: u8,
    der: Vec<u8>,
}

/// All of them, those in use first. Slots without keys have none.
fn held<F: NorFlash>(inner: &Inner<F>) -> Vec<Held> {
    let Some(store) = inner.key_store.as_deref() else { return Vec::new() };
    let mut found: Vec<Held> = Vec::new();
    for slot in [KeySlot::Operational, KeySlot::Device, KeySlot::Log, KeySlot::Attestation] {
        let kind = match slot {
            KeySlot::Operational | KeySlot::Device => TLS,
            KeySlot::Log | KeySlot::Attestation => SIGNATURE,
        };
        for (k, der) in store.certificates(slot).unwrap_or_default().into_iter().enumerate() {
            if found.iter().all(|known| known.der != der) {
                found.push(Held { slot, entity: if k == 0 { SERVER } else { AUTHORITY }, kind, der });
            }
        }
    }
    found
}

fn certificates<F: NorFlash>(inner: &Inner<F>, role: Role, w: &mut dyn Writer) -> StoreResult<()> {
    let held = if role == Role::Utility { held(inner) } else { Vec::new() };
    let readable =
        || held.iter().filter_map(|held| CertificateNames::of(&held.der).map(|names| (held, names)));
    put_array(w, readable().count())?;
    for (held, names) in readable() {
        put_structure(w, 6)?;
        put(w, Data::Enum(held.entity))?;
        put(w, Data::Enum(held.kind))?;
        for field in [names.serial, names.issuer, names.subject, names.subject_alternative_names] {
            put(w, Data::OctetString(field))?;
        }
    }
    Ok(())
}

/// By entity (0: entity, type, system title) or by serial number (1: serial number, issuer).
fn find<F: NorFlash>(inner: &Inner<F>, parameters: &Data<'_>) -> Result<Held, ActionResult> {
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
            let kind = field(1)?.as_u64().ok_or(unmatched)?;
            let title = field(2)?;
            let title = title.as_bytes().ok_or(unmatched)?;
            let is_ours = title == inner.identity.id.system_title().0;
            held.find(|found| {
                u64::from(found.kind) == kind
                    && u64::from(found.entity) == entity
                    && (is_ours || found.entity != SERVER)
            })
        }
        1 => {
            let (serial, issuer) = (field(0)?, field(1)?);
            let serial = serial.as_bytes().ok_or(unmatched)?;
            let issuer = issuer.as_bytes().ok_or(unmatched)?;
            held.find(|found| {
                CertificateNames::of(&found.der)
                    .is_some_and(|names| names.serial == serial && names.issuer == issuer)
            })
        }
        _ => return Err(unmatched),
    };
    found.ok_or(ActionResult::ScopeOfAccessViolated)
}
