//! OBIS codes (IEC 62056-6-1) of the objects that a Meterseal meter shows.

use core::fmt;
use core::str::FromStr;

use crate::Role;

/// A logical name: six value groups A-B:C.D.E*F.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Obis(pub [u8; 6]);

impl Obis {
    /// An electricity object (A = 1, B = 0, F = 255).
    pub const fn electricity(c: u8, d: u8, e: u8) -> Self {
        Self([1, 0, c, d, e, 255])
    }

    /// An abstract object (A = 0, B = 0, F = 255).
    pub const fn general(c: u8, d: u8, e: u8) -> Self {
        Self([0, 0, c, d, e, 255])
    }

    /// A manufacturer-specific object: value group B = 128 (IEC 62056-6-1 keeps 128…199 for makers).
    pub const fn manufacturer(c: u8, d: u8, e: u8) -> Self {
        Self([0, 128, c, d, e, 255])
    }

    /// Invocation counter of a role's global unicast key (0.b.43.1.e): the highest that the meter has accepted. The
    /// utility's is e = 0, the others follow in order of client address; the public has no key (255, no object).
    pub const fn invocation_counter(role: Role) -> Self {
        Self::general(
            43,
            1,
            match role {
                Role::Utility => 0,
                Role::Reader => 1,
                Role::Firmware => 2,
                Role::Installer => 3,
                Role::Bench => 4,
                Role::Public => 255,
            },
        )
    }

    /// Security setup of a role (0.0.43.0.e), with the same e as [`Self::invocation_counter`].
    pub const fn security_setup(role: Role) -> Self {
        Self::general(43, 0, Self::invocation_counter(role).0[4])
    }

    /// Logical device name.
    pub const LOGICAL_DEVICE_NAME: Self = Self::general(42, 0, 0);
    /// Device ID 1: the meter's identifier.
    pub const METER_ID: Self = Self::general(96, 1, 0);
    /// Device ID 2: the device type, which a mark names.
    pub const DEVICE_TYPE: Self = Self::general(96, 1, 1);
    /// Active firmware identifier: its version.
    pub const FIRMWARE_VERSION: Self = Self::electricity(0, 2, 0);
    /// Active firmware signature: the SHA-384 digest of the running image.
    pub const FIRMWARE_DIGEST: Self = Self::electricity(0, 2, 8);
    /// Clock.
    pub const CLOCK: Self = Self::general(1, 0, 0);
    /// Current association (logical names).
    pub const ASSOCIATION: Self = Self::general(40, 0, 0);
    /// Security setup of the utility.
    pub const SECURITY_SETUP: Self = Self::security_setup(Role::Utility);
    /// Invocation counter of the utility's global unicast key.
    pub const INVOCATION_COUNTER: Self = Self::invocation_counter(Role::Utility);
    /// Alarm register 1.
    pub const ALARM_REGISTER: Self = Self::general(97, 98, 0);
    /// Push setup for alarms.
    pub const ALARM_PUSH_SETUP: Self = Self([0, 4, 25, 9, 0, 255]);
    /// Harmonics of the voltages of L1 to L3, then of the currents of L1 to L3 and neutral.
    pub const HARMONICS: [Self; 7] = [
        Self::manufacturer(96, 13, 0),
        Self::manufacturer(96, 13, 1),
        Self::manufacturer(96, 13, 2),
        Self::manufacturer(96, 13, 3),
        Self::manufacturer(96, 13, 4),
        Self::manufacturer(96, 13, 5),
        Self::manufacturer(96, 13, 6),
    ];
    /// Image transfer.
    pub const IMAGE_TRANSFER: Self = Self([0, 0, 44, 0, 0, 255]);
    /// Load profile 1.
    pub const LOAD_PROFILE: Self = Self::electricity(99, 1, 0);
    /// Security log (the fraud-detection log of the DSMR and IDIS families).
    pub const SECURITY_LOG: Self = Self::general(99, 98, 1);
    /// Event code of the security log.
    pub const SECURITY_EVENT_CODE: Self = Self::general(96, 11, 1);
    /// Sequence number of a log or profile row; never reused, starts at 1.
    pub const ROW_SEQUENCE: Self = Self::manufacturer(96, 2, 0);
    /// Commit acknowledgement: the highest security-log sequence number that the head-end has stored.
    pub const COMMITTED_SECURITY_LOG: Self = Self::manufacturer(96, 1, 0);
    /// Commit acknowledgement: the highest load-profile sequence number that the head-end has stored.
    pub const COMMITTED_LOAD_PROFILE: Self = Self::manufacturer(96, 1, 1);
    /// Extreme value of an event: millionths of the quantity that the event names, or a count
    /// ([`crate::EventCode::extreme`]).
    pub const EVENT_EXTREME: Self = Self::manufacturer(96, 2, 1);
    /// Monotonic uptime in milliseconds, beside the clock's time.
    pub const UPTIME: Self = Self::manufacturer(96, 2, 2);
    /// Which clock the meter's timestamps follow: 0 the wall's, 1 a simulated run's.
    pub const TIME_BASE: Self = Self::manufacturer(96, 3, 0);
    /// Whether the meter is calibrated: 0 valid, 1 no record, 2 refused, 3 beyond the record's temperatures.
    pub const CALIBRATION_STATUS: Self = Self::manufacturer(96, 3, 1);
    /// Newest signed checkpoint of the sealed log.
    pub const LOG_CHECKPOINT: Self = Self::manufacturer(96, 4, 0);
    /// The sealed log's name: 16 bytes, new with new memory.
    pub const LOG_ID: Self = Self::manufacturer(96, 4, 1);
    /// The leaves of the sealed log.
    pub const SEALED_LEAVES: Self = Self::manufacturer(96, 4, 2);
    /// A leaf of the sealed log: its bytes, or the 32 bytes of its hash where its record is no longer held.
    pub const SEALED_LEAF: Self = Self::manufacturer(96, 4, 3);
    /// The key that signs checkpoints: certificates in DER one after another, its own first; or its
    /// SubjectPublicKeyInfo where nobody certified it; empty where there is none.
    pub const LOG_KEY: Self = Self::manufacturer(96, 4, 4);
    /// Script table: take a reading of all energy registers now, and sign it.
    pub const READING_SCRIPTS: Self = Self::manufacturer(96, 4, 5);
    /// Proofs of the sealed log: inclusion and consistency.
    pub const LOG_PROOFS: Self = Self::manufacturer(96, 4, 6);
    /// The certificates (DER) of the boot stage's key, one after another, its own first; empty where there is no boot stage.
    pub const BOOT_KEY: Self = Self::manufacturer(96, 5, 0);
    /// The boot stage's certificate (COSE_Sign1) for the key of the image that it started.
    pub const IMAGE_KEY: Self = Self::manufacturer(96, 5, 1);
    /// What the running image is to attest with: 16 to 64 bytes. Each association has its own.
    pub const ATTESTATION_NONCE: Self = Self::manufacturer(96, 5, 2);
    /// The attestation (COSE_Sign1) for this association's nonce; empty until it is signed.
    pub const ATTESTATION: Self = Self::manufacturer(96, 5, 3);
    /// Power-quality log.
    pub const POWER_QUALITY_LOG: Self = Self::general(99, 98, 5);
    /// Event code of the power-quality log ([`crate::event::PowerEvent`]).
    pub const POWER_QUALITY_EVENT: Self = Self::general(96, 11, 5);
    /// Phase of a power-quality event: 1 to 3, 0 for all.
    pub const POWER_QUALITY_PHASE: Self = Self::manufacturer(96, 2, 3);
    /// Duration of a power-quality event, milliseconds; 0 in the row of its beginning.
    pub const POWER_QUALITY_DURATION: Self = Self::manufacturer(96, 2, 4);
    /// Event log: what concerns tariffs, billing and limits; the utility may clear it.
    pub const EVENT_LOG: Self = Self::general(99, 98, 0);
    /// Event code of the event log.
    pub const EVENT_LOG_CODE: Self = Self::general(96, 11, 0);
    /// Billing profile: data of billing period 1.
    pub const BILLING_PROFILE: Self = Self::general(98, 1, 0);
    /// Script table: end of a billing period (MDI reset).
    pub const BILLING_SCRIPTS: Self = Self::general(10, 0, 1);
    /// Script table: tariffs.
    pub const TARIFF_SCRIPTS: Self = Self::general(10, 0, 100);
    /// Script table: disconnector.
    pub const DISCONNECTOR_SCRIPTS: Self = Self::general(10, 0, 106);
    /// Special days table.
    pub const SPECIAL_DAYS: Self = Self::general(11, 0, 0);
    /// Activity calendar.
    pub const ACTIVITY_CALENDAR: Self = Self::general(13, 0, 0);
    /// Single action schedule: end of the billing period.
    pub const BILLING_SCHEDULE: Self = Self::general(15, 0, 0);
    /// Currently active tariff rate.
    pub const ACTIVE_RATE: Self = Self::general(96, 14, 0);
    /// Limiter.
    pub const LIMITER: Self = Self::general(17, 0, 0);
    /// Disconnect control.
    pub const DISCONNECT_CONTROL: Self = Self::general(96, 3, 10);
    /// TCP-UDP setup.
    pub const TCP_UDP_SETUP: Self = Self::general(25, 0, 0);
    /// Demand of active power, import and export: the average over the demand period (D = 4).
    pub const DEMAND: [Self; 2] = [Self::electricity(1, 4, 0), Self::electricity(2, 4, 0)];
    /// Maximum demand of active power, import and export, since the end of the last billing period (D = 6).
    pub const MAXIMUM_DEMAND: [Self; 2] = [Self::electricity(1, 6, 0), Self::electricity(2, 6, 0)];
    /// Active energy import by rate.
    pub const RATE_IMPORT: [Self; 4] = [
        Self::electricity(1, 8, 1),
        Self::electricity(1, 8, 2),
        Self::electricity(1, 8, 3),
        Self::electricity(1, 8, 4),
    ];
    /// Active energy export by rate.
    pub const RATE_EXPORT: [Self; 4] = [
        Self::electricity(2, 8, 1),
        Self::electricity(2, 8, 2),
        Self::electricity(2, 8, 3),
        Self::electricity(2, 8, 4),
    ];
    /// Tamper counters (0.b.96.20.e), in the order of `TamperCounter::ALL`; what has no number there is our own.
    pub const TAMPER_COUNTERS: [Self; 8] = [
        Self::general(96, 20, 0),
        Self::general(96, 20, 5),
        Self::general(96, 20, 10),
        Self::general(96, 20, 15),
        Self::general(96, 20, 25),
        Self::general(96, 20, 30),
        Self::manufacturer(96, 20, 0),
        Self::manufacturer(96, 20, 1),
    ];
    /// When readings and measurements become tamper events.
    pub const TAMPER_THRESHOLDS: Self = Self::manufacturer(96, 20, 100);
    /// Whether the meter is connected to its head-end.
    pub const LINK_CONNECTED: Self = Self::manufacturer(96, 12, 0);
    /// Connections to the head-end since power-up.
    pub const LINK_CONNECTIONS: Self = Self::manufacturer(96, 12, 1);
    /// Failed attempts to connect since power-up.
    pub const LINK_FAILURES: Self = Self::manufacturer(96, 12, 2);
    /// Why the last attempt failed or the last connection ended, in words.
    pub const LINK_REASON: Self = Self::manufacturer(96, 12, 3);
    /// When the connection last came up, ended, or failed to come up.
    pub const LINK_CHANGED: Self = Self::manufacturer(96, 12, 4);
    /// Strength of the radio signal, dBm.
    pub const LINK_SIGNAL: Self = Self::manufacturer(96, 12, 5);
    /// Bytes from the head-end since power-up.
    pub const LINK_BYTES_IN: Self = Self::manufacturer(96, 12, 6);
    /// Bytes to the head-end since power-up.
    pub const LINK_BYTES_OUT: Self = Self::manufacturer(96, 12, 7);
    /// The name of the wireless network that the radio joins (SSID), 1 to 32 bytes.
    pub const WIFI_SSID: Self = Self::manufacturer(96, 12, 10);
    /// The wireless network's WPA3 passphrase, 8 to 63 printable characters of ASCII. It goes in and never comes out.
    pub const WIFI_PASSPHRASE: Self = Self::manufacturer(96, 12, 11);
    /// Status of the load profile's interval.
    pub const PROFILE_STATUS: Self = Self::general(96, 10, 1);

    /// Active energy import, total (+A).
    pub const ACTIVE_ENERGY_IMPORT: Self = Self::electricity(1, 8, 0);
    /// Active energy export, total (−A).
    pub const ACTIVE_ENERGY_EXPORT: Self = Self::electricity(2, 8, 0);
    /// Reactive energy import (+R: quadrants I and II).
    pub const REACTIVE_ENERGY_IMPORT: Self = Self::electricity(3, 8, 0);
    /// Reactive energy export (−R: quadrants III and IV).
    pub const REACTIVE_ENERGY_EXPORT: Self = Self::electricity(4, 8, 0);
    /// Reactive energy of quadrants I to IV.
    pub const QUADRANT_ENERGY: [Self; 4] = [
        Self::electricity(5, 8, 0),
        Self::electricity(6, 8, 0),
        Self::electricity(7, 8, 0),
        Self::electricity(8, 8, 0),
    ];
    /// Active energy import of L1, L2, L3.
    pub const PHASE_ENERGY_IMPORT: [Self; 3] =
        [Self::electricity(21, 8, 0), Self::electricity(41, 8, 0), Self::electricity(61, 8, 0)];
    /// Active energy export of L1, L2, L3.
    pub const PHASE_ENERGY_EXPORT: [Self; 3] =
        [Self::electricity(22, 8, 0), Self::electricity(42, 8, 0), Self::electricity(62, 8, 0)];
    /// Apparent power, total.
    pub const APPARENT_POWER: Self = Self::electricity(9, 7, 0);
    /// Active power import, total (+P).
    pub const ACTIVE_POWER_IMPORT: Self = Self::electricity(1, 7, 0);
    /// Active power export, total (−P).
    pub const ACTIVE_POWER_EXPORT: Self = Self::electricity(2, 7, 0);
    /// Reactive power import, total (+Q).
    pub const REACTIVE_POWER_IMPORT: Self = Self::electricity(3, 7, 0);
    /// Reactive power export, total (−Q).
    pub const REACTIVE_POWER_EXPORT: Self = Self::electricity(4, 7, 0);
    /// Supply frequency.
    pub const FREQUENCY: Self = Self::electricity(14, 7, 0);
    /// Power factor, total (signed as active power).
    pub const POWER_FACTOR: Self = Self::electricity(13, 7, 0);
    /// Total harmonic distortion of the voltages L1, L2, L3 (E = 124) [not verified against the standard's text].
    pub const VOLTAGE_THD: [Self; 3] =
        [Self::electricity(32, 7, 124), Self::electricity(52, 7, 124), Self::electricity(72, 7, 124)];
    /// Total harmonic distortion of the currents L1, L2, L3 (E = 124) [not verified against the standard's text].
    pub const CURRENT_THD: [Self; 3] =
        [Self::electricity(31, 7, 124), Self::electricity(51, 7, 124), Self::electricity(71, 7, 124)];
    /// Zero, positive and negative sequence of the voltages. C from 128 to 199 is for makers.
    pub const VOLTAGE_SEQUENCE: [Self; 3] =
        [Self::electricity(128, 7, 0), Self::electricity(128, 7, 1), Self::electricity(128, 7, 2)];
    /// Zero, positive and negative sequence of the currents.
    pub const CURRENT_SEQUENCE: [Self; 3] =
        [Self::electricity(129, 7, 0), Self::electricity(129, 7, 1), Self::electricity(129, 7, 2)];
    /// Negative over positive sequence of the voltages.
    pub const VOLTAGE_UNBALANCE: Self = Self::electricity(130, 7, 0);
    /// Current of the neutral.
    pub const NEUTRAL_CURRENT: Self = Self::electricity(91, 7, 0);
    /// RMS voltage of L1, L2, L3.
    pub const VOLTAGE: [Self; 3] =
        [Self::electricity(32, 7, 0), Self::electricity(52, 7, 0), Self::electricity(72, 7, 0)];
    /// RMS current of L1, L2, L3.
    pub const CURRENT: [Self; 3] =
        [Self::electricity(31, 7, 0), Self::electricity(51, 7, 0), Self::electricity(71, 7, 0)];
    /// Mean RMS voltage of L1, L2, L3 over the load profile's last closed interval.
    pub const AVERAGE_VOLTAGE: [Self; 3] =
        [Self::electricity(32, 24, 0), Self::electricity(52, 24, 0), Self::electricity(72, 24, 0)];
    /// Active power import of L1, L2, L3.
    pub const PHASE_POWER_IMPORT: [Self; 3] =
        [Self::electricity(21, 7, 0), Self::electricity(41, 7, 0), Self::electricity(61, 7, 0)];
    /// Active power export of L1, L2, L3.
    pub const PHASE_POWER_EXPORT: [Self; 3] =
        [Self::electricity(22, 7, 0), Self::electricity(42, 7, 0), Self::electricity(62, 7, 0)];
    /// Reactive power import of L1, L2, L3.
    pub const PHASE_REACTIVE_IMPORT: [Self; 3] =
        [Self::electricity(23, 7, 0), Self::electricity(43, 7, 0), Self::electricity(63, 7, 0)];
    /// Reactive power export of L1, L2, L3.
    pub const PHASE_REACTIVE_EXPORT: [Self; 3] =
        [Self::electricity(24, 7, 0), Self::electricity(44, 7, 0), Self::electricity(64, 7, 0)];
    /// Power factor of L1, L2, L3 (signed as active power).
    pub const PHASE_POWER_FACTOR: [Self; 3] =
        [Self::electricity(33, 7, 0), Self::electricity(53, 7, 0), Self::electricity(73, 7, 0)];
}

impl fmt::Display for Obis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a}-{b}:{c}.{d}.{e}*{last}")
    }
}

impl fmt::Debug for Obis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Obis({self})")
    }
}

impl FromStr for Obis {
    type Err = ObisError;

    /// Reads `1-0:1.8.0*255`, `1-0:1.8.0` (F = 255) or six numbers with dots.
    fn from_str(text: &str) -> Result<Self, ObisError> {
        let mut groups = [255u8; 6];
        let mut count = 0;
        for part in text.split(['-', ':', '.', '*']) {
            let slot = groups.get_mut(count).ok_or(ObisError)?;
            *slot = part.parse().map_err(|_| ObisError)?;
            count += 1;
        }
        if count < 5 { Err(ObisError) } else { Ok(Self(groups)) }
    }
}

/// A text that is not an OBIS code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObisError;

impl fmt::Display for ObisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an OBIS code is written A-B:C.D.E or A-B:C.D.E*F with numbers 0 to 255, for example 1-0:1.8.0",
        )
    }
}

impl core::error::Error for ObisError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn obis_text_round_trips() {
        assert_eq!(Obis::ACTIVE_ENERGY_IMPORT.to_string(), "1-0:1.8.0*255");
        assert_eq!("1-0:1.8.0".parse(), Ok(Obis::ACTIVE_ENERGY_IMPORT));
        assert_eq!("0-128:96.1.0*255".parse(), Ok(Obis::COMMITTED_SECURITY_LOG));
        for wrong in ["", "1", "1-0:1.8", "1-0:1.8.256", "1-0:1.8.0*255.1", "1-0:a.8.0"] {
            assert_eq!(wrong.parse::<Obis>(), Err(ObisError), "{wrong}");
        }
    }
}
