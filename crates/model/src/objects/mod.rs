//! Every COSEM object of a Meterseal meter: one table, from which the meter takes its rights and its object list,
//! and from which `docs/object-model.md` is written. What is not in this table does not exist on the wire.
//!
//! The table is cut by subject: each file beside this one lists its own objects, in the words of `build`, with the
//! rights of [`rights`]. A new subject is a new file and a line in [`SUBJECTS`].

mod build;
mod class;
mod columns;
mod energy;
mod firmware;
mod harmonics;
mod identity;
mod link;
mod live;
mod load_profile;
mod quality;
pub mod rights;
mod sealed_log;
mod security;
mod security_log;
mod supply;
mod tariff;
mod time;

pub use class::{Class, Kind};
pub use columns::{
    BILLING_COLUMNS, Column, EVENT_LOG_COLUMNS, LOAD_PROFILE_COLUMNS, POWER_QUALITY_COLUMNS, PUSH_COLUMNS,
    SEALED_LEAVES_COLUMNS, SECURITY_LOG_COLUMNS,
};
pub use rights::{Access, Rights};

use crate::{Obis, Role, Roles, unit::Unit};

/// The subjects, in the order of the object list.
const SUBJECTS: &[&[Object]] = &[
    identity::OBJECTS,
    security::OBJECTS,
    time::OBJECTS,
    energy::OBJECTS,
    live::OBJECTS,
    harmonics::OBJECTS,
    load_profile::OBJECTS,
    security_log::OBJECTS,
    sealed_log::OBJECTS,
    quality::OBJECTS,
    tariff::OBJECTS,
    supply::OBJECTS,
    link::OBJECTS,
    firmware::OBJECTS,
];

/// Every object, in the order of the object list.
pub const OBJECTS: &[Object] = &join::<COUNT>(SUBJECTS);

/// The object with this class and logical name.
pub fn find(class_id: u16, obis: Obis) -> Option<&'static Object> {
    OBJECTS.iter().find(|object| object.obis == obis && object.class.id() == class_id)
}

/// One COSEM object.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Its logical name.
    pub obis: Obis,
    /// Its interface class.
    pub class: Class,
    /// What a person calls it.
    pub name: &'static str,
    /// Its attributes, the logical name first.
    pub attributes: &'static [Attribute],
    /// The methods that it offers.
    pub methods: &'static [Method],
    /// For registers: scaler and unit of the value.
    pub scale: Option<Scale>,
}

impl Object {
    /// The attribute with this index.
    pub fn attribute(&self, index: i8) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.index == index)
    }

    /// The method with this index.
    pub fn method(&self, index: i8) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.index == index)
    }

    /// What a role may do with an attribute. The logical name is readable by whoever may do anything with the object,
    /// so that no object shows itself to those whom it does not concern. Nothing with an attribute that is not there.
    pub fn access(&self, role: Role, index: i8) -> Access {
        match self.attribute(index) {
            Some(_) if index == 1 && self.is_visible_to(role) => Access::Read,
            Some(attribute) => attribute.rights.of(role),
            None => Access::None,
        }
    }

    /// Whether a role may invoke a method.
    pub fn may_invoke(&self, role: Role, index: i8) -> bool {
        self.method(index).is_some_and(|method| method.roles.contains(role))
    }

    /// Whether a role may do anything at all with this object: only then is it in the role's object list.
    pub fn is_visible_to(&self, role: Role) -> bool {
        self.attributes.iter().any(|attribute| attribute.rights.of(role) != Access::None)
            || self.methods.iter().any(|method| method.roles.contains(role))
    }
}

/// One attribute of an object.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its index, from 1 (the logical name).
    pub index: i8,
    /// Its name in IEC 62056-6-2.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Who may do what with it; for the logical name ask [`Object::access`].
    pub rights: Rights,
}

/// One method of an object.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its index, from 1.
    pub index: i8,
    /// Its name in IEC 62056-6-2.
    pub name: &'static str,
    /// Who may invoke it.
    pub roles: Roles,
}

/// Scaler and unit of a register: its value × 10^scaler is in `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The power of ten.
    pub scaler: i8,
    /// The unit.
    pub unit: Unit,
}

const COUNT: usize = {
    let (mut count, mut k) = (0, 0);
    while k < SUBJECTS.len() {
        count += SUBJECTS[k].len();
        k += 1;
    }
    count
};

const fn join<const N: usize>(subjects: &[&[Object]]) -> [Object; N] {
    let mut objects = [subjects[0][0]; N];
    let (mut count, mut subject) = (0, 0);
    while subject < subjects.len() {
        let mut k = 0;
        while k < subjects[subject].len() {
            objects[count] = subjects[subject][k];
            count += 1;
            k += 1;
        }
        subject += 1;
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible_to(role: Role) -> impl Iterator<Item = &'static Object> {
        OBJECTS.iter().filter(move |object| object.is_visible_to(role))
    }

    fn settable_by(role: Role) -> impl Iterator<Item = (Obis, i8)> {
        OBJECTS.iter().flat_map(move |object| {
            let settable =
                object.attributes.iter().filter(move |attribute| attribute.rights.of(role).writes());
            settable.map(|attribute| (object.obis, attribute.index))
        })
    }

    #[test]
    fn every_object_is_there_once_and_begins_with_its_logical_name() {
        for (k, object) in OBJECTS.iter().enumerate() {
            assert!(OBJECTS[..k].iter().all(|other| other.obis != object.obis), "{} twice", object.obis);
            assert_eq!(object.attributes[0].index, 1, "{}", object.obis);
        }
    }

    #[test]
    fn every_column_names_an_object_with_that_attribute_and_type() {
        let profiles = [
            SECURITY_LOG_COLUMNS,
            LOAD_PROFILE_COLUMNS,
            POWER_QUALITY_COLUMNS,
            EVENT_LOG_COLUMNS,
            BILLING_COLUMNS,
            PUSH_COLUMNS,
        ];
        for column in profiles.into_iter().flatten() {
            let object = find(column.class.id(), column.obis).unwrap();
            assert_eq!(object.attribute(column.attribute).unwrap().kind, column.kind, "{}", column.obis);
        }
    }

    #[test]
    fn the_public_reads_names_and_counters_and_does_nothing_else() {
        let is_counter =
            |obis| Roles::AUTHENTICATED.iter().any(|role| Obis::invocation_counter(role) == obis);
        let allowed = [Obis::LOGICAL_DEVICE_NAME, Obis::METER_ID];
        for object in visible_to(Role::Public) {
            assert!(allowed.contains(&object.obis) || is_counter(object.obis));
            assert!(object.methods.iter().all(|method| !method.roles.contains(Role::Public)));
        }
        assert_eq!(visible_to(Role::Public).count(), 2 + 5);
        assert_eq!(settable_by(Role::Public).count(), 0);
    }

    #[test]
    fn readers_and_the_bench_read_the_same_and_the_reader_sets_nothing() {
        assert_eq!(settable_by(Role::Reader).count(), 0);
        for object in OBJECTS {
            for attribute in object.attributes {
                // What a reader may know the laboratory may know too.
                let [reader, bench] =
                    [Role::Reader, Role::Bench].map(|role| attribute.rights.of(role).reads());
                assert!(bench || !reader, "{} {}", object.obis, attribute.name);
            }
        }
    }

    #[test]
    fn nobody_but_the_utility_clears_alarms_or_acknowledges_and_nobody_sets_logs_or_energy() {
        for role in Role::ALL.into_iter().filter(|&role| role != Role::Utility) {
            for (obis, _) in settable_by(role) {
                assert!(
                    ![Obis::ALARM_REGISTER, Obis::COMMITTED_SECURITY_LOG, Obis::COMMITTED_LOAD_PROFILE]
                        .contains(&obis),
                    "{role} sets {obis}"
                );
            }
        }
        for role in Role::ALL {
            for object in energy::OBJECTS.iter().chain(live::OBJECTS) {
                assert!(object.attributes.iter().all(|attribute| !attribute.rights.of(role).writes()));
            }
            for (obis, _) in settable_by(role) {
                assert!(![Obis::SECURITY_LOG, Obis::LOAD_PROFILE].contains(&obis), "{role} sets {obis}");
            }
        }
    }

    #[test]
    fn the_firmware_role_sees_no_consumption_and_the_installer_no_profile() {
        let profiles = [Obis::LOAD_PROFILE, Obis::SECURITY_LOG];
        for object in visible_to(Role::Firmware) {
            assert!(!matches!(object.class, Class::Register | Class::ProfileGeneric), "{}", object.obis);
        }
        for object in visible_to(Role::Installer) {
            assert!(!profiles.contains(&object.obis), "{}", object.obis);
            assert!(energy::OBJECTS.iter().all(|energy| energy.obis != object.obis), "{}", object.obis);
        }
    }
}
