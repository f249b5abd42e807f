//! What a client changes: settings and switches. Each change is judged first, then logged, then written, and only then in
//! force; what is refused changes nothing.

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::{Class, Object};
use meterseal_model::{EventCode, Obis};

use super::{push, supply, tariff, values};
use crate::StorageError;
use crate::inner::Inner;
use crate::settings::Settings;
use crate::supply::By;

/// Sets an attribute of the settings. `None`: the attribute is none of these.
pub(super) fn set<F: NorFlash>(
    inner: &mut Inner<F>,
    object: &Object,
    attribute: i8,
    value: &Data<'_>,
) -> Option<StoreResult<()>> {
    let changed = match object.class {
        Class::ActivityCalendar | Class::SpecialDays | Class::SingleActionSchedule => {
            tariff::changed(&inner.settings, object, attribute, value)
        }
        Class::Limiter | Class::TcpUdpSetup => supply::changed(&inner.settings, object, attribute, value),
        Class::PushSetup => push::changed(&inner.settings, attribute, value),
        Class::Data if object.obis == Obis::TAMPER_THRESHOLDS => {
            values::with_thresholds(&inner.settings, value)
        }
        _ => return None,
    };
    Some(
        changed.and_then(|settings| {
            change(inner, object, settings).map_err(|_| DataAccessResult::HardwareFault)
        }),
    )
}

/// Invokes a method. The engine has checked that the role may.
pub(super) fn invoke<F: NorFlash>(
    inner: &mut Inner<F>,
    object: &Object,
    method: i8,
    parameters: Option<Data<'_>>,
) -> Result<(), ActionResult> {
    let refused = |error| match error {
        DataAccessResult::TypeUnmatched => ActionResult::TypeUnmatched,
        _ => ActionResult::ScopeOfAccessViolated,
    };
    let parameter = || parameters.ok_or(ActionResult::TypeUnmatched);
    // The class demands integer(0), and clients send other zeros.
    let nothing = || match parameters {
        None | Some(Data::Null) => Ok(()),
        Some(data) if data.as_i64() == Some(0) => Ok(()),
        Some(_) => Err(ActionResult::TypeUnmatched),
    };
    let done = match (object.class, method) {
        (Class::ActivityCalendar, 1) => {
            nothing()?;
            match spent(inner).and_then(|()| inner.activate_passive_calendar()) {
                Ok(Ok(())) => Ok(()),
                // What it names is not there: other-reason, and nothing has changed.
                Ok(Err(_)) => return Err(ActionResult::OtherReason),
                Err(error) => Err(error),
            }
        }
        (Class::SpecialDays, 1 | 2) => {
            let changed = if method == 1 { tariff::with_special_day } else { tariff::without_special_day };
            let settings = changed(&inner.settings, &parameter()?).map_err(refused)?;
            change(inner, object, settings)
        }
        (Class::ScriptTable, 1) => {
            let selector = tariff::selector(parameters).map_err(refused)?;
            match (object.obis, selector) {
                (Obis::BILLING_SCRIPTS, 1) => spent(inner).and_then(|()| {
                    // With the registers that are saved: those that everybody sees.
                    let now = inner.clock();
                    inner.bill(now)
                }),
                (Obis::READING_SCRIPTS, 1) => spent(inner).map(|()| inner.ask_for_reading()),
                (Obis::DISCONNECTOR_SCRIPTS, 1 | 2) => {
                    spent(inner).and_then(|()| inner.run_disconnector_script(selector, By::Utility)).map(drop)
                }
                _ => return Err(ActionResult::ScopeOfAccessViolated),
            }
        }
        (Class::DisconnectControl, 1 | 2) => {
            nothing()?;
            spent(inner).and_then(|()| {
                if method == 1 { inner.disconnect(By::Utility) } else { inner.reconnect(By::Utility) }
            })
        }
        (Class::ExtendedRegister, 1) => {
            nothing()?;
            let k = tariff::direction(&Obis::MAXIMUM_DEMAND, object.obis).map_err(refused)?;
            spent(inner)
                .and_then(|()| inner.event(EventCode::DemandReset, 0))
                .and_then(|()| inner.reset_maxima([k == 0, k == 1]))
        }
        (Class::PushSetup, 1) => {
            nothing()?;
            inner.push_asked = true;
            spent(inner)
        }
        (Class::ProfileGeneric, 1) if object.obis == Obis::EVENT_LOG => {
            nothing()?;
            spent(inner).and_then(|()| inner.clear_events())
        }
        _ => return Err(ActionResult::ObjectUndefined),
    };
    done.map_err(|_| ActionResult::HardwareFault)
}

/// Puts other settings in force, and says in the security log that somebody did.
fn change<F: NorFlash>(
    inner: &mut Inner<F>,
    object: &Object,
    settings: Settings,
) -> Result<(), StorageError<F::Error>> {
    if settings == inner.settings {
        return Ok(());
    }
    inner.log(EventCode::ParametersChanged, object.class.id().into())?;
    spent(inner)?;
    inner.thresholds_changed |= settings.thresholds != inner.settings.thresholds;
    inner.write_settings(settings)
}

/// What is acted upon can never be replayed, not even after a power cut right behind it.
fn spent<F: NorFlash>(inner: &mut Inner<F>) -> Result<(), StorageError<F::Error>> {
    inner.spend_incoming_counter();
    inner.write_state()
}
