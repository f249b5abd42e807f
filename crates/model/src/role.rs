//! Who may ask a meter for what: the client roles, each with its DLMS client address, and sets of them.

use core::fmt;
use core::str::FromStr;

/// A client's role. Its discriminant is the client's DLMS address (wrapper port), so that the role is named in
/// every frame before any right is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Role {
    /// No authentication: may learn only what the meter is called and which counters it has accepted.
    Public = 0x10,
    /// Reads registers, profiles and logs.
    Reader = 0x20,
    /// The utility's head-end: reads everything, acknowledges commits, sets clock, tariffs and keys.
    Utility = 0x30,
    /// Transfers firmware images, and reads what that needs; no consumption.
    Firmware = 0x40,
    /// Commissions the meter, on the local port only: link settings, live quantities; no consumption profiles.
    Installer = 0x50,
    /// The test laboratory: reads everything, sets only what a certification needs; clears nothing.
    Bench = 0x60,
}

impl Role {
    /// Every role, in order of client address.
    pub const ALL: [Self; 6] =
        [Self::Public, Self::Reader, Self::Utility, Self::Firmware, Self::Installer, Self::Bench];

    /// The DLMS client address of this role.
    pub const fn client_address(self) -> u16 {
        self as u16
    }

    /// The role at a client address.
    pub fn from_client_address(address: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.client_address() == address)
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        (self as u16 >> 4) as usize - 1
    }

    /// Its name: `public`, `reader`, `utility`, `firmware`, `installer`, `bench`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Reader => "reader",
            Self::Utility => "utility",
            Self::Firmware => "firmware",
            Self::Installer => "installer",
            Self::Bench => "bench",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(name: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(RoleError)
    }
}

/// A set of roles: whom a right belongs to, or which associations a peer may open.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// No role.
    pub const NONE: Self = Self(0);
    /// Every role.
    pub const ALL: Self = Self::of(&Role::ALL);
    /// Every role that proves who it is: all but the public.
    pub const AUTHENTICATED: Self = Self::ALL.without(Role::Public);

    /// The set of these roles.
    pub const fn of(roles: &[Role]) -> Self {
        let mut set = Self::NONE;
        let mut k = 0;
        while k < roles.len() {
            set = set.with(roles[k]);
            k += 1;
        }
        set
    }

    /// This set and this role.
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role.index())
    }

    /// This set without this role.
    pub const fn without(self, role: Role) -> Self {
        Self(self.0 & !(1 << role.index()))
    }

    /// What is in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the role is in the set.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & 1 << role.index() != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles in the set, in order of client address.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |&role| self.contains(role))
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self::NONE.with(role)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Roles {
    /// Names with commas, `reader,utility`; nothing for the empty set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, role) in self.iter().enumerate() {
            if k > 0 {
                f.write_str(",")?;
            }
            f.write_str(role.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

impl FromStr for Roles {
    type Err = RoleError;

    /// Reads names with commas between them, spaces around them ignored; the empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, RoleError> {
        if text.trim().is_empty() {
            return Ok(Self::NONE);
        }
        text.split(',').map(|name| name.trim().parse()).collect()
    }
}

/// A text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleError;

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is one of public, reader, utility, firmware, installer, bench; several have commas between them")
    }
}

impl core::error::Error for RoleError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn addresses_indices_and_names_lead_back_to_their_role() {
        for (k, role) in Role::ALL.into_iter().enumerate() {
            assert_eq!(role.index(), k);
            assert_eq!(Role::from_client_address(role.client_address()), Some(role));
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for wrong in [0, 1, 0x11, 0x70, 0x1010, u16::MAX] {
            assert_eq!(Role::from_client_address(wrong), None);
        }
    }

    #[test]
    fn every_set_of_roles_survives_its_text() {
        for bits in 0..1 << Role::ALL.len() {
            let set = Roles(bits);
            assert_eq!(set.to_string().parse(), Ok(set));
            assert_eq!(set.iter().collect::<Roles>(), set);
        }
        assert_eq!(" bench , reader".parse(), Ok(Roles::of(&[Role::Reader, Role::Bench])));
        for wrong in ["root", "reader,", "reader utility", "Reader"] {
            assert_eq!(wrong.parse::<Roles>(), Err(RoleError), "{wrong}");
        }
        assert!(!Roles::AUTHENTICATED.contains(Role::Public));
    }
}
