//! What a meter is, whose keys it holds, and how it is set up.

use alloc::string::String;
use core::fmt;

use meterseal_metrology::{EventSettings, PulseSettings, Pulsed};
use meterseal_model::{Digest384, MeterId, Role, Roles, TimeBase};
use zeroize::Zeroize;

use crate::Layout;
use crate::tamper::Thresholds;

/// What a meter says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its identifier, printed on it and in its certificate.
    pub id: MeterId,
    /// The device type that a mark names. At most 128 bytes are shown.
    pub device_type: String,
    /// The running firmware's version. At most 128 bytes are shown.
    pub firmware_version: String,
    /// The running firmware's digest.
    pub firmware_digest: Digest384,
}

/// One role's pair of global DLMS keys in security suite 2 (AES-256). Cleared when dropped.
#[derive(Clone)]
pub struct DlmsKeys {
    /// The global unicast encryption key.
    pub encryption: [u8; 32],
    /// The global authentication key.
    pub authentication: [u8; 32],
}

impl fmt::Debug for DlmsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DlmsKeys(…)")
    }
}

impl Drop for DlmsKeys {
    fn drop(&mut self) {
        self.encryption.zeroize();
        self.authentication.zeroize();
    }
}

/// A secret of 32 bytes: the device secret, or a key for wrapping keys. Never shown, cleared when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Takes the bytes over; the caller clears its own copy.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The keys of the roles that have some. The public has none, whatever is put here.
#[derive(Clone, Debug, Default)]
pub struct RoleKeys([Option<DlmsKeys>; Role::ALL.len()]);

impl RoleKeys {
    /// No keys: nobody can associate but the public.
    pub const NONE: Self = Self([const { None }; Role::ALL.len()]);

    /// The same, and this role's keys.
    #[must_use]
    pub fn with(mut self, role: Role, keys: DlmsKeys) -> Self {
        self.0[role.index()] = Some(keys);
        self
    }

    /// A role's keys.
    pub const fn get(&self, role: Role) -> Option<&DlmsKeys> {
        match role {
            Role::Public => None,
            role => self.0[role.index()].as_ref(),
        }
    }

    pub(crate) fn set(&mut self, role: Role, keys: DlmsKeys) {
        self.0[role.index()] = Some(keys);
    }

    /// Whether a role other than this one has this encryption key: two roles under one key would share its nonces.
    pub(crate) fn uses(&self, encryption: &[u8; 32], but: Option<Role>) -> bool {
        let others = Role::ALL.into_iter().filter(|&role| Some(role) != but);
        others.filter_map(|role| self.get(role)).any(|keys| keys.encryption == *encryption)
    }
}

/// Whom a connection is with, as its certificate and its way in say: which associations it may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The roles that its certificate carries. The public needs none.
    pub roles: Roles,
    /// It came in by the local port, not over the connection that the meter dials. Only there is an installer served.
    pub local: bool,
}

impl Peer {
    /// The head-end that the meter dials, as the utility.
    pub const HEADEND: Self = Self { roles: Roles::NONE.with(Role::Utility), local: false };

    /// Whether it may open this role's association.
    pub const fn may_take(self, role: Role) -> bool {
        match role {
            Role::Public => true,
            Role::Installer => self.local && self.roles.contains(role),
            role => self.roles.contains(role),
        }
    }
}

/// How a meter is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The measuring core's settings.
    pub metrology: meterseal_metrology::Config,
    /// How the core sums up blocks of samples: to the same bits, faster or slower.
    pub kernel: meterseal_metrology::Kernel,
    /// From which power on energy is booked; `None` books all.
    pub start_thresholds: Option<meterseal_metrology::Thresholds>,
    /// The pulse outputs; [`crate::Meter::take_pulses`] gives them out.
    pub pulses: [Option<PulseSettings>; 2],
    /// When the supply makes an event of the power-quality log; `None` watches nothing.
    pub power_events: Option<EventSettings>,
    /// Whether harmonics to the 50th are analysed and shown: 78 kB of memory and 350 instructions a frame at 8 kHz.
    pub harmonics: bool,
    /// The load profile's interval: 60 to 86 400 s, aligned to the clock.
    pub profile_period_seconds: u32,
    /// How often the energy registers go to flash: 100 ms or more. At most this much energy is lost with the power.
    pub register_save_interval_ms: u32,
    /// When the sensors' readings become tamper events.
    pub thresholds: Thresholds,
    /// Which clock the timestamps that the meter is given follow.
    pub time_base: TimeBase,
    /// How the flash is divided. Part of its format: it cannot change later.
    pub layout: Layout,
    /// The keys of the roles beside the utility; without keys nobody can associate as that role. Keys that were
    /// transferred since, into the flash, go before these.
    pub role_keys: RoleKeys,
    /// The key under which the utility transfers keys (KEK), until it transfers another. Without one, or without a
    /// device secret, no key can be transferred.
    pub key_encryption_key: Option<SecretKey>,
    /// The secret under which keys are enciphered in flash. It belongs to the device, not to its flash, and is used
    /// for nothing else.
    pub device_secret: Option<SecretKey>,
}

impl Config {
    /// The reference meter's settings for 230/400 V, In 5 A, Imax 100 A: it starts at 0.001 In (IEC 62053-22), gives
    /// 10 000 pulses a kilowatt-hour and a kilovar-hour imported, and watches the supply with the usual thresholds
    /// (IEC 61000-4-30, EN 50160), transients of 200 V, currents above 1.2 Imax and exports above 50 W.
    pub fn reference(metrology: meterseal_metrology::Config) -> Self {
        let pulses = |quantity| Some(PulseSettings { quantity, impulses_per_kilo_hour: 10_000 });
        Self {
            start_thresholds: Some(meterseal_metrology::Thresholds::class_0_2_s(230_000, 5_000)),
            pulses: [pulses(Pulsed::ActiveImport), pulses(Pulsed::ReactiveImport)],
            power_events: Some(EventSettings {
                transient_millivolts: Some(200_000),
                over_current_milliamperes: Some(120_000),
                reverse_power_milliwatts: Some(50_000),
                ..EventSettings::new(230_000)
            }),
            ..Self::new(metrology)
        }
    }

    /// All energy is booked, no pulses, no power-quality events; quarter-hour intervals, a save a second, standard
    /// thresholds and layout, the wall clock, no role but the utility.
    pub const fn new(metrology: meterseal_metrology::Config) -> Self {
        Self {
            metrology,
            kernel: meterseal_metrology::Kernel::SCALAR,
            start_thresholds: None,
            pulses: [None; 2],
            power_events: None,
            harmonics: false,
            profile_period_seconds: 900,
            register_save_interval_ms: 1000,
            thresholds: Thresholds::STANDARD,
            time_base: TimeBase::Wall,
            layout: Layout::STANDARD,
            role_keys: RoleKeys::NONE,
            key_encryption_key: None,
            device_secret: None,
        }
    }
}

/// A source of unpredictable bytes, for challenges.
pub trait Random {
    /// Fills the buffer with unpredictable bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}
