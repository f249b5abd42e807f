//! Image transfer (class 18) as IEC 62056-6-2 lays it out, from memory, not verified against the standard's text. Without an
//! image store it says that there is no image and no way to transfer one.

use dlms_cosem_rs::axdr::Data;
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::{ActionResult, DataAccessResult};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::{Digest384, UnixMillis};

use super::{parse, put, put_array, put_structure};
use crate::clock;
use crate::image::{Activation, BLOCKS_MAX, ImageError, ImageProgress, ImageStatus, ImageStore};
use crate::inner::Inner;

/// The longest identifier of an image.
const IDENTIFIER_MAX: usize = 64;

pub(super) fn get<F: NorFlash>(inner: &Inner<F>, attribute: i8, w: &mut dyn Writer) -> StoreResult<()> {
    let store = inner.images.as_deref();
    match attribute {
        2 => put(w, Data::DoubleLongUnsigned(store.map_or(0, |store| store.block_bytes()))),
        3 => put_blocks(store, w),
        4 => put(w, Data::DoubleLongUnsigned(store.map_or(0, first_missing))),
        5 => put(w, Data::Boolean(store.is_some_and(|store| store.is_enabled()))),
        6 => put(w, Data::Enum(store.map_or(ImageStatus::NotInitiated, |store| store.status()) as u8)),
        7 => match store.and_then(|store| store.to_activate()) {
            None => put_array(w, 0),
            Some(image) => {
                put_array(w, 1)?;
                put_structure(w, 3)?;
                put(w, Data::DoubleLongUnsigned(image.bytes))?;
                put(w, Data::OctetString(&image.identification))?;
                put(w, Data::OctetString(&image.signature))
            }
        },
        _ => Err(DataAccessResult::ObjectUndefined),
    }
}

/// The first block that is missing; the number of blocks where none is.
fn first_missing(store: &dyn ImageStore) -> u32 {
    let blocks = store.blocks().min(BLOCKS_MAX);
    (0..blocks).find(|&block| !store.holds(block)).unwrap_or(blocks)
}

/// A bit for each block, the first in the highest of the first byte.
fn put_blocks(store: Option<&dyn ImageStore>, w: &mut dyn Writer) -> StoreResult<()> {
    let long = |_| DataAccessResult::ScopeOfAccessViolated;
    let blocks = store.map_or(0, |store| store.blocks().min(BLOCKS_MAX));
    w.write_u8(BIT_STRING).map_err(long)?;
    w.write_length(blocks as usize).map_err(long)?;
    for first in (0..blocks).step_by(8) {
        let bit = |k: u32| {
            let block = first + k;
            block < blocks && store.is_some_and(|store| store.holds(block))
        };
        w.write_u8((0..8).fold(0, |byte, k| byte | u8::from(bit(k)) << (7 - k))).map_err(long)?;
    }
    Ok(())
}

/// Invokes a method. The engine has checked that the role may.
pub(super) fn invoke<F: NorFlash>(
    inner: &mut Inner<F>,
    method: i8,
    parameters: Option<Data<'_>>,
) -> Result<(), ActionResult> {
    // No slot, no transfer: said before anything else, so that nobody looks for the mistake in the message.
    if inner.images.is_none() {
        return Err(ActionResult::ObjectUnavailable);
    }
    let parameters = parameters.ok_or(ActionResult::TypeUnmatched)?;
    let now = inner.clock();
    inner.spend_incoming_counter();
    match method {
        // A block that is replayed is there already: its counter goes to flash with the next save.
        2 => inner.state_changed = true,
        _ => inner.write_state().map_err(|_| ActionResult::HardwareFault)?,
    }
    let Some(store) = &mut inner.images else { return Err(ActionResult::ObjectUnavailable) };
    if !store.is_enabled() {
        return Err(ActionResult::ObjectUnavailable);
    }
    let progress = match method {
        1 => {
            let [identifier, bytes] = parse::fields(&parameters).map_err(refused)?;
            let identifier = parse::octets(&identifier).map_err(refused)?;
            let bytes = parse::number(&bytes).map_err(refused)?;
            if !(1..=IDENTIFIER_MAX).contains(&identifier.len()) || bytes == 0 {
                return Err(ActionResult::ScopeOfAccessViolated);
            }
            store.initiate(identifier, bytes).map(|()| ImageProgress::Done)
        }
        2 => {
            let [number, content] = parse::fields(&parameters).map_err(refused)?;
            let number = parse::number(&number).map_err(refused)?;
            let content = parse::octets(&content).map_err(refused)?;
            if number >= store.blocks() || content.is_empty() || content.len() > store.block_bytes() as usize
            {
                return Err(ActionResult::ScopeOfAccessViolated);
            }
            store.keep(number, content).map(|()| ImageProgress::Done)
        }
        // The class demands integer(0), and clients send other zeros.
        3 if parameters.as_i64() != Some(0) => return Err(ActionResult::TypeUnmatched),
        3 => store.verify(),
        4 => store.activate(&activation(&parameters, now)?),
        _ => return Err(ActionResult::ObjectUndefined),
    };
    match progress {
        Ok(ImageProgress::Done) => Ok(()),
        Ok(ImageProgress::UnderWay) => Err(ActionResult::TemporaryFailure),
        Err(ImageError::Bounds) => Err(ActionResult::ScopeOfAccessViolated),
        Err(ImageError::Storage) => Err(ActionResult::HardwareFault),
        Err(ImageError::Order | ImageError::Incomplete | ImageError::Refused) => {
            Err(ActionResult::OtherReason)
        }
    }
}

/// Which image, and when: integer(0) as the class has it, the image's digest, or a structure of digest and date-time.
fn activation(parameters: &Data<'_>, now: UnixMillis) -> Result<Activation, ActionResult> {
    let digest = |data: &Data<'_>| {
        let digest = parse::octets(data).map_err(refused)?;
        Ok(Some(Digest384(digest.try_into().map_err(|_| ActionResult::ScopeOfAccessViolated)?)))
    };
    match parameters {
        Data::OctetString(_) => Ok(Activation { digest: digest(parameters)?, at: None, now }),
        data if data.as_i64() == Some(0) => Ok(Activation { digest: None, at: None, now }),
        data => {
            let [image, at] = parse::fields(data).map_err(refused)?;
            let at = clock::timestamp(at).ok_or(ActionResult::TypeUnmatched)?;
            Ok(Activation { digest: digest(&image)?, at: Some(at), now })
        }
    }
}

fn refused(error: DataAccessResult) -> ActionResult {
    match error {
        DataAccessResult::TypeUnmatched => ActionResult::TypeUnmatched,
        _ => ActionResult::ScopeOfAccessViolated,
    }
}

/// The tag of a bit-string (A-XDR `Data`).
const BIT_STRING: u8 = 4;
