//! The COSEM objects as the DLMS engine sees them: rights from the object table, values from the meter.

mod act;
mod association;
mod image;
mod parse;
mod profile;
mod proofs;
mod push;
mod security;
mod supply;
mod tariff;
mod values;

use alloc::boxed::Box;
use alloc::vec::Vec;

use dlms_cosem_rs::acse::UserDiagnostic;
use dlms_cosem_rs::axdr::{Data, DateTime};
use dlms_cosem_rs::codec::{Encode, Writer};
use dlms_cosem_rs::cosem::{AttributeAccess, MethodAccess};
use dlms_cosem_rs::server::{AuditEvent, ObjectStore, StoreResult};
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult, SelectiveAccess};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::{self, Access, Class, Object};
use meterseal_model::{Obis, Role, UnixMillis};

use crate::clock;
use crate::inner::Inner;
use crate::records::SecurityEntry;
use crate::wifi::WifiError;

/// One role's view of the meter. The meter itself is lent to it for the time of a request.
pub(crate) struct Store<F: NorFlash> {
    pub(crate) role: Role,
    pub(crate) inner: Option<Box<Inner<F>>>,
    /// What this association has last asked the meter to attest with.
    pub(crate) question: Option<u64>,
    /// An association was refused for its credentials.
    pub(crate) refused: bool,
    /// Acts in this request that the role's rights do not allow.
    pub(crate) denied: u32,
}

impl<F: NorFlash> ObjectStore for Store<F> {
    fn get_attribute(
        &self,
        class_id: u16,
        logical_name: dlms_cosem_rs::obis::Obis,
        attribute_id: i8,
        selective_access: Option<SelectiveAccess<'_>>,
        w: &mut dyn Writer,
    ) -> StoreResult<()> {
        let inner = self.inner.as_deref().ok_or(DataAccessResult::TemporaryFailure)?;
        let object = object(class_id, logical_name)?;
        if attribute_id == 1 {
            return put(w, Data::OctetString(&object.obis.0));
        }
        let is_buffer = object.class == Class::ProfileGeneric && attribute_id == 2;
        match object.class {
            _ if selective_access.is_some() && !is_buffer => Err(DataAccessResult::ScopeOfAccessViolated),
            Class::ProfileGeneric => profile::get(inner, object, attribute_id, selective_access, w),
            Class::SecuritySetup => security::get(inner, object, attribute_id, w),
            Class::AssociationLn => association::get(inner, self.role, attribute_id, w),
            Class::ActivityCalendar
            | Class::SpecialDays
            | Class::ScriptTable
            | Class::SingleActionSchedule
            | Class::DemandRegister
            | Class::ExtendedRegister => tariff::get(inner, object, attribute_id, w),
            Class::DisconnectControl | Class::Limiter | Class::TcpUdpSetup => {
                supply::get(inner, object, attribute_id, w)
            }
            Class::ImageTransfer => image::get(inner, attribute_id, w),
            Class::Data if ATTESTATION.contains(&object.obis) => {
                put(w, Data::OctetString(&attestation(inner, self.question, object.obis)))
            }
            Class::PushSetup => push::get(inner, attribute_id, w),
            _ => values::get(inner, object, attribute_id, w),
        }
    }

    fn set_attribute(
        &mut self,
        class_id: u16,
        logical_name: dlms_cosem_rs::obis::Obis,
        attribute_id: i8,
        selective_access: Option<SelectiveAccess<'_>>,
        value: Data<'_>,
    ) -> StoreResult<()> {
        let inner = self.inner.as_deref_mut().ok_or(DataAccessResult::TemporaryFailure)?;
        let object = object(class_id, logical_name)?;
        if selective_access.is_some() {
            return Err(DataAccessResult::ScopeOfAccessViolated);
        }
        if let Some(outcome) = act::set(inner, object, attribute_id, &value) {
            return outcome;
        }
        if attribute_id != 2 {
            return Err(DataAccessResult::ScopeOfAccessViolated);
        }
        if object.obis == Obis::ATTESTATION_NONCE {
            let attestor = inner.attestor.as_mut().ok_or(DataAccessResult::ObjectUnavailable)?;
            let asked = attestor.ask(self.question, octets(&value)?);
            self.question = Some(asked.ok_or(DataAccessResult::ScopeOfAccessViolated)?);
            return Ok(());
        }
        let network = match object.obis {
            Obis::WIFI_SSID => Some(inner.set_ssid(octets(&value)?)),
            Obis::WIFI_PASSPHRASE => Some(inner.set_passphrase(octets(&value)?)),
            _ => None,
        };
        if let Some(outcome) = network {
            return outcome.map_err(|error| match error {
                WifiError::Unusable => DataAccessResult::ScopeOfAccessViolated,
                WifiError::Unprepared => DataAccessResult::ObjectUnavailable,
                WifiError::Storage(_) => DataAccessResult::HardwareFault,
            });
        }
        let number = || value.as_u64().ok_or(DataAccessResult::TypeUnmatched);
        let accepted = match object.obis {
            Obis::COMMITTED_SECURITY_LOG => inner.commit_log(number()?),
            Obis::COMMITTED_LOAD_PROFILE => inner.commit_profile(number()?),
            Obis::ALARM_REGISTER => {
                let kept = u32::try_from(number()?).map_err(|_| DataAccessResult::TypeUnmatched)?;
                inner.clear_alarms(kept).map(|()| true)
            }
            Obis::CLOCK => {
                let time = clock::timestamp(value).ok_or(DataAccessResult::TypeUnmatched)?;
                inner.set_clock(time).map(|()| true)
            }
            _ => return Err(DataAccessResult::ReadWriteDenied),
        };
        match accepted {
            Ok(true) => Ok(()),
            Ok(false) => Err(DataAccessResult::ScopeOfAccessViolated),
            Err(_) => Err(DataAccessResult::HardwareFault),
        }
    }

    fn invoke_method(
        &mut self,
        class_id: u16,
        logical_name: dlms_cosem_rs::obis::Obis,
        method_id: i8,
        parameters: Option<Data<'_>>,
        w: &mut dyn Writer,
    ) -> Result<bool, ActionResult> {
        let inner = self.inner.as_deref_mut().ok_or(ActionResult::TemporaryFailure)?;
        let object = object(class_id, logical_name).map_err(|_| ActionResult::ObjectUndefined)?;
        match object.class {
            Class::SecuritySetup => security::invoke(inner, object, method_id, parameters, w),
            Class::LogProofs => proofs::invoke(inner, method_id, parameters, w),
            Class::ImageTransfer => image::invoke(inner, method_id, parameters).map(|()| false),
            _ => act::invoke(inner, object, method_id, parameters).map(|()| false),
        }
    }

    fn attribute_access(
        &self,
        class_id: u16,
        logical_name: dlms_cosem_rs::obis::Obis,
        attribute_id: i8,
    ) -> AttributeAccess {
        let Some(object) = objects::find(class_id, Obis(logical_name.0)) else {
            // Let through to be answered with "object undefined".
            return AttributeAccess::READ | AttributeAccess::WRITE;
        };
        match object.access(self.role, attribute_id) {
            Access::None => AttributeAccess::empty(),
            Access::Read => AttributeAccess::READ,
            Access::Write => AttributeAccess::WRITE,
            Access::ReadWrite => AttributeAccess::READ | AttributeAccess::WRITE,
        }
    }

    fn method_access(
        &self,
        class_id: u16,
        logical_name: dlms_cosem_rs::obis::Obis,
        method_id: i8,
    ) -> MethodAccess {
        // The one method there is, the answer to the challenge, is the engine's own and only during association.
        match objects::find(class_id, Obis(logical_name.0)) {
            Some(object) if object.may_invoke(self.role, method_id) => MethodAccess::ACCESS,
            _ => MethodAccess::empty(),
        }
    }

    fn audit(&mut self, event: AuditEvent) {
        match event {
            AuditEvent::AssociationRefused { diagnostic: UserDiagnostic::AuthenticationFailure } => {
                self.refused = true;
            }
            AuditEvent::AttributeRead { outcome: DataAccessResult::ReadWriteDenied, .. }
            | AuditEvent::AttributeWritten { outcome: DataAccessResult::ReadWriteDenied, .. }
            | AuditEvent::MethodInvoked { outcome: ActionResult::ReadWriteDenied, .. } => self.denied += 1,
            _ => {}
        }
    }
}

impl<F: NorFlash> Inner<F> {
    pub(crate) fn date_time(&self, time: UnixMillis) -> DateTime {
        clock::date_time(time, self.time_base)
    }

    /// The body of an entry's push: [`objects::PUSH_COLUMNS`] as a structure.
    pub(crate) fn push_body(
        &self,
        entry: &SecurityEntry,
        w: &mut dyn Writer,
    ) -> dlms_cosem_rs::codec::Result<()> {
        let id = alloc::format!("{}", self.identity.id);
        structure(w, objects::PUSH_COLUMNS.len())?;
        Data::OctetString(&Obis::ALARM_PUSH_SETUP.0).encode(w)?;
        Data::OctetString(id.as_bytes()).encode(w)?;
        Data::Long64Unsigned(entry.sequence).encode(w)?;
        Data::OctetString(&self.date_time(entry.time).to_bytes()).encode(w)?;
        Data::Unsigned(entry.code as u8).encode(w)?;
        Data::Long64(entry.extreme).encode(w)?;
        Data::Long64Unsigned(entry.uptime_ms).encode(w)
    }
}

/// What says which image runs.
const ATTESTATION: [Obis; 4] = [Obis::BOOT_KEY, Obis::IMAGE_KEY, Obis::ATTESTATION_NONCE, Obis::ATTESTATION];

/// Empty where there is nothing, or not yet.
fn attestation<F: NorFlash>(inner: &Inner<F>, question: Option<u64>, obis: Obis) -> Vec<u8> {
    let Some(attestor) = &inner.attestor else { return Vec::new() };
    match obis {
        Obis::BOOT_KEY => attestor.identity.boot_chain.concat(),
        Obis::IMAGE_KEY => attestor.identity.certificate.clone(),
        Obis::ATTESTATION_NONCE => question.map_or_else(Vec::new, |number| attestor.nonce(number).to_vec()),
        _ => question.map_or_else(Vec::new, |number| attestor.answer(number).to_vec()),
    }
}

fn object(class_id: u16, logical_name: dlms_cosem_rs::obis::Obis) -> StoreResult<&'static Object> {
    objects::find(class_id, Obis(logical_name.0)).ok_or(DataAccessResult::ObjectUndefined)
}

fn octets<'a>(value: &Data<'a>) -> StoreResult<&'a [u8]> {
    match value {
        Data::OctetString(bytes) => Ok(bytes),
        _ => Err(DataAccessResult::TypeUnmatched),
    }
}

/// Writes a value. It fails only where the answer would be longer than the meter can build.
fn put(w: &mut dyn Writer, value: Data<'_>) -> StoreResult<()> {
    value.encode(w).map_err(|_| DataAccessResult::ScopeOfAccessViolated)
}

fn raw(w: &mut dyn Writer, bytes: &[u8]) -> StoreResult<()> {
    w.write_bytes(bytes).map_err(|_| DataAccessResult::ScopeOfAccessViolated)
}

/// The head of a structure; its elements follow.
fn structure(w: &mut dyn Writer, elements: usize) -> dlms_cosem_rs::codec::Result<()> {
    w.write_u8(0x02)?;
    w.write_length(elements)
}

/// The head of an array; its elements follow.
fn array(w: &mut dyn Writer, elements: usize) -> dlms_cosem_rs::codec::Result<()> {
    w.write_u8(0x01)?;
    w.write_length(elements)
}

/// Like [`structure`], for values.
fn put_structure(w: &mut dyn Writer, elements: usize) -> StoreResult<()> {
    structure(w, elements).map_err(|_| DataAccessResult::ScopeOfAccessViolated)
}

/// Like [`array`], for values.
fn put_array(w: &mut dyn Writer, elements: usize) -> StoreResult<()> {
    array(w, elements).map_err(|_| DataAccessResult::ScopeOfAccessViolated)
}
