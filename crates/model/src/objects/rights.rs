//! Who may do what: the rights that the object table is written with. Each is the least that its roles need.

use core::fmt;

use crate::{Role, Roles};

/// Who may read an attribute, and who may set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The roles that may GET.
    pub get: Roles,
    /// The roles that may SET.
    pub set: Roles,
}

impl Rights {
    /// These roles may GET, nobody may SET.
    pub const fn get(roles: Roles) -> Self {
        Self { get: roles, set: Roles::NONE }
    }

    /// The same, and this role may SET, whether it may GET or not.
    pub const fn set_by(self, role: Role) -> Self {
        Self { set: self.set.with(role), ..self }
    }

    /// What this role may do.
    pub const fn of(self, role: Role) -> Access {
        match (self.get.contains(role), self.set.contains(role)) {
            (false, false) => Access::None,
            (true, false) => Access::Read,
            (false, true) => Access::Write,
            (true, true) => Access::ReadWrite,
        }
    }
}

/// What may be done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// GET.
    Read,
    /// SET: what is secret goes in and never comes out.
    Write,
    /// GET and SET.
    ReadWrite,
}

impl Access {
    /// Whether GET is allowed.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether SET is allowed.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }

    /// The number in an object list (class 15, versions 0 and 1): 0 no access, 1 read only, 2 write only, 3 both.
    pub const fn mode(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Read => 1,
            Self::Write => 2,
            Self::ReadWrite => 3,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "–",
            Self::Read => "get",
            Self::Write => "set",
            Self::ReadWrite => "get, set",
        })
    }
}

// The rights in use. A new object takes the least of these that does; a new constant needs a reason in words.

/// Nobody: the attribute exists because its class says so.
pub(super) const NOBODY: Rights = Rights::get(Roles::NONE);
/// Names and counters: what a client must know before it can authenticate.
pub(super) const PUBLIC: Rights = Rights::get(Roles::ALL);
/// What the meter is and how the association stands: needed by whoever works with it, and tells nothing of its user.
pub(super) const AUTHENTICATED: Rights = Rights::get(Roles::AUTHENTICATED);
/// Consumption, profiles, logs: for those who bill from it, settle it or certify it.
pub(super) const READ: Rights = Rights::get(READERS);
/// Live quantities and the clock: also the installer, who checks the wiring by them.
pub(super) const READ_ON_SITE: Rights = Rights::get(READERS.with(Role::Installer));
/// As [`READ`]; the utility sets.
pub(super) const UTILITY_SETS: Rights = READ.set_by(Role::Utility);
/// As [`READ_ON_SITE`]; the utility sets.
pub(super) const UTILITY_SETS_ON_SITE: Rights = READ_ON_SITE.set_by(Role::Utility);

/// What tells how to stay unnoticed: for whom it concerns to set it, and for the laboratory that tests it.
pub(super) const UTILITY_SETS_SECRET: Rights =
    Rights::get(Roles::of(&[Role::Utility, Role::Bench])).set_by(Role::Utility);

/// How the connection fares: for those who see to it that it works, on site, in the laboratory and at the head-end.
pub(super) const LINK: Rights = Rights::get(Roles::of(&[Role::Utility, Role::Installer, Role::Bench]));

/// How far new firmware is: for who brings it, who answers for the meter, and the laboratory.
pub(super) const IMAGES: Rights = Rights::get(Roles::of(&[Role::Utility, Role::Firmware, Role::Bench]));

/// What joins the meter to a customer's network: the installer's alone, whom the meter serves at its local port only.
pub(super) const INSTALLER_SETS: Rights = Rights::get(Roles::of(&[Role::Installer])).set_by(Role::Installer);
/// The same; nobody reads it.
pub(super) const INSTALLER_SETS_SECRET: Rights = NOBODY.set_by(Role::Installer);

const READERS: Roles = Roles::of(&[Role::Reader, Role::Utility, Role::Bench]);
