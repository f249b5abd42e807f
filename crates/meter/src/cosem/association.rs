//! The current association (class 15, version 1): what the asking role may see and do, from the object table.

use dlms_cosem_rs::axdr::{BitStr, Data};
use dlms_cosem_rs::codec::Writer;
use dlms_cosem_rs::server::StoreResult;
use dlms_cosem_rs::xdlms::{DLMS_VERSION, DataAccessResult};
use embedded_storage::nor_flash::NorFlash;
use meterseal_model::objects::{Class, OBJECTS, Object};
use meterseal_model::{Obis, Role};

use super::{put, put_array, put_structure};
use crate::dlms::{CONFORMANCE, REQUEST_MAX};
use crate::inner::Inner;

/// Object identifiers under joint-iso-ccitt country(16) country-name(756) DLMS-UA(5.8), as DER contents.
const CONTEXT_LN_CIPHERED: [u8; 7] = [0x60, 0x85, 0x74, 0x05, 0x08, 0x01, 0x03];
const MECHANISM_HLS_GMAC: [u8; 7] = [0x60, 0x85, 0x74, 0x05, 0x08, 0x02, 0x05];

pub(super) fn get<F: NorFlash>(
    _inner: &Inner<F>,
    role: Role,
    attribute: i8,
    w: &mut dyn Writer,
) -> StoreResult<()> {
    match attribute {
        2 => object_list(role, w),
        3 => {
            put_structure(w, 2)?;
            put(w, Data::Integer(role.client_address() as i8))?;
            put(w, Data::LongUnsigned(1))
        }
        4 => put(w, Data::OctetString(&CONTEXT_LN_CIPHERED)),
        5 => {
            let conformance = CONFORMANCE.to_bytes();
            let bits = BitStr::new(24, &conformance).map_err(|_| DataAccessResult::OtherReason)?;
            put_structure(w, 6)?;
            put(w, Data::BitString(bits))?;
            put(w, Data::LongUnsigned(REQUEST_MAX))?;
            put(w, Data::LongUnsigned(REQUEST_MAX))?;
            put(w, Data::Unsigned(DLMS_VERSION))?;
            put(w, Data::Integer(0))?;
            put(w, Data::OctetString(b""))
        }
        6 => put(w, Data::OctetString(&MECHANISM_HLS_GMAC)),
        // Whoever can read this is associated.
        8 => put(w, Data::Enum(2)),
        9 => put(w, Data::OctetString(&Obis::security_setup(role).0)),
        _ => Err(DataAccessResult::ReadWriteDenied),
    }
}

fn object_list(role: Role, w: &mut dyn Writer) -> StoreResult<()> {
    let visible = || OBJECTS.iter().filter(|object| object.is_visible_to(role));
    put_array(w, visible().count())?;
    visible().try_for_each(|object| entry(object, role, w))
}

fn entry(object: &Object, role: Role, w: &mut dyn Writer) -> StoreResult<()> {
    put_structure(w, 4)?;
    put(w, Data::LongUnsigned(object.class.id()))?;
    put(w, Data::Unsigned(object.class.version()))?;
    put(w, Data::OctetString(&object.obis.0))?;
    put_structure(w, 2)?;
    put_array(w, object.attributes.len())?;
    for attribute in object.attributes {
        put_structure(w, 3)?;
        put(w, Data::Integer(attribute.index))?;
        put(w, Data::Enum(object.access(role, attribute.index).mode()))?;
        if object.class == Class::ProfileGeneric && attribute.index == 2 {
            put_array(w, 2)?;
            put(w, Data::Integer(1))?;
            put(w, Data::Integer(2))?;
        } else {
            put(w, Data::Null)?;
        }
    }
    put_array(w, object.methods.len())?;
    for method in object.methods {
        put_structure(w, 2)?;
        put(w, Data::Integer(method.index))?;
        put(w, Data::Enum(u8::from(method.roles.contains(role))))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use alloc::vec::Vec;

    use super::*;
    use crate::dlms::VALUE_MAX;

    /// A list that does not fit an answer is none at all. Room is left for whoever adds objects to notice in time.
    #[test]
    fn the_object_list_of_every_role_fits_one_answer() {
        for role in Role::ALL {
            let mut list = Vec::new();
            object_list(role, &mut list).unwrap_or_else(|_| panic!("{role}"));
            std::println!("{role}: {} bytes", list.len());
            assert!(
                list.len() <= VALUE_MAX - 512,
                "{role}: {} of {VALUE_MAX} bytes; raise VALUE_MAX",
                list.len()
            );
        }
    }
}
