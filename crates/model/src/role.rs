//! Who may ask a meter for what: the client roles, each with its DLMS client address.

use core::fmt;

/// A client's role. Its discriminant is the client's DLMS address (wrapper port), so that the role is named in
/// every frame before any right is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Role {
    /// No authentication: may learn only what the meter is called.
    Public = 0x10,
    /// Reads registers and profiles.
    Reader = 0x20,
    /// The utility's head-end: reads everything, acknowledges commits, sets the clock.
    Utility = 0x30,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 3] = [Self::Public, Self::Reader, Self::Utility];

    /// The DLMS client address of this role.
    pub const fn client_address(self) -> u16 {
        self as u16
    }

    /// The role at a client address.
    pub fn from_client_address(address: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.client_address() == address)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Reader => "reader",
            Self::Utility => "utility",
        })
    }
}
