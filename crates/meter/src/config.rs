//! What a meter is, whose keys it holds, and how it is set up.

use alloc::string::String;
use core::fmt;

use meterseal_metrology::{EventSettings, PulseSettings, Pulsed};
use meterseal_model::{Digest384, MeterId, TimeBase};
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
    /// The reader role's keys; without them nobody can associate as a reader.
    pub reader_keys: Option<DlmsKeys>,
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

    /// All energy is booked, no pulses, no power-quality events; quarter-hour intervals, a save a second, standard thresholds and layout, the wall clock, no reader.
    pub const fn new(metrology: meterseal_metrology::Config) -> Self {
        Self {
            metrology,
            kernel: meterseal_metrology::Kernel::SCALAR,
            start_thresholds: None,
            pulses: [None; 2],
            power_events: None,
            profile_period_seconds: 900,
            register_save_interval_ms: 1000,
            thresholds: Thresholds::STANDARD,
            time_base: TimeBase::Wall,
            layout: Layout::STANDARD,
            reader_keys: None,
        }
    }
}

/// A source of unpredictable bytes, for challenges.
pub trait Random {
    /// Fills the buffer with unpredictable bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}
