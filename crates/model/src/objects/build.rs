//! The words that the object table is written in.

pub(super) use super::rights::*;
pub(super) use super::{Attribute, Class, Kind, Method, Object, Scale};
pub(super) use crate::unit::Unit;
pub(super) use crate::{Obis, Role, Roles};

/// Begins every object's attributes. Who may read it is derived: [`Object::access`].
pub(super) const LOGICAL_NAME: Attribute = attribute(1, "logical_name", Kind::OctetString, NOBODY);

pub(super) const LIVE_UNSIGNED: &[Attribute] =
    &[LOGICAL_NAME, value(Kind::DoubleLongUnsigned, READ_ON_SITE), scaler_unit(READ_ON_SITE)];
pub(super) const LIVE_SHORT: &[Attribute] =
    &[LOGICAL_NAME, value(Kind::LongUnsigned, READ), scaler_unit(READ)];
pub(super) const LIVE_SIGNED: &[Attribute] =
    &[LOGICAL_NAME, value(Kind::Long, READ_ON_SITE), scaler_unit(READ_ON_SITE)];
pub(super) const ENERGY: &[Attribute] = &[LOGICAL_NAME, value(Kind::Long64Unsigned, READ), scaler_unit(READ)];
pub(super) const PROFILE: &[Attribute] = &[
    LOGICAL_NAME,
    attribute(2, "buffer", Kind::Array, READ),
    attribute(3, "capture_objects", Kind::Array, READ),
    attribute(4, "capture_period", Kind::DoubleLongUnsigned, READ),
    attribute(5, "sort_method", Kind::Enum, READ),
    attribute(6, "sort_object", Kind::Structure, READ),
    attribute(7, "entries_in_use", Kind::DoubleLongUnsigned, READ),
    attribute(8, "profile_entries", Kind::DoubleLongUnsigned, READ),
];

pub(super) const fn attribute(index: i8, name: &'static str, kind: Kind, rights: Rights) -> Attribute {
    Attribute { index, name, kind, rights }
}

pub(super) const fn value(kind: Kind, rights: Rights) -> Attribute {
    attribute(2, "value", kind, rights)
}

/// Scaler and unit of a register, readable by whoever reads its value.
pub(super) const fn scaler_unit(rights: Rights) -> Attribute {
    attribute(3, "scaler_unit", Kind::Structure, rights)
}

pub(super) const fn method(index: i8, name: &'static str, roles: Roles) -> Method {
    Method { index, name, roles }
}

pub(super) const fn data(obis: Obis, name: &'static str, attributes: &'static [Attribute]) -> Object {
    Object { obis, class: Class::Data, name, attributes, methods: &[], scale: None }
}

pub(super) const fn register(
    obis: Obis,
    name: &'static str,
    attributes: &'static [Attribute],
    scaler: i8,
    unit: Unit,
) -> Object {
    Object {
        obis,
        class: Class::Register,
        name,
        attributes,
        methods: &[],
        scale: Some(Scale { scaler, unit }),
    }
}

/// Energy in thousandths of a watt-hour: 2⁶⁴ of them are more than a meter's life.
pub(super) const fn energy(obis: Obis, name: &'static str, unit: Unit) -> Object {
    register(obis, name, ENERGY, -3, unit)
}

/// Power in hundredths of a watt: 32 bits reach 42.9 MW, enough for transformer-connected meters.
pub(super) const fn power(obis: Obis, name: &'static str, unit: Unit) -> Object {
    register(obis, name, LIVE_UNSIGNED, -2, unit)
}

pub(super) const fn factor(obis: Obis, name: &'static str) -> Object {
    register(obis, name, LIVE_SIGNED, -3, Unit::Count)
}

pub(super) const fn profile(obis: Obis, name: &'static str) -> Object {
    Object { obis, class: Class::ProfileGeneric, name, attributes: PROFILE, methods: &[], scale: None }
}
