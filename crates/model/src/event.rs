//! What a meter can notice: the event numbers that the DSMR and IDIS families share, and our own beyond them.
//!
//! 1–46 are common to both families; 47–51, 62–66 and 79–91 are IDIS numbers [not verified against the standard's
//! text]; 180–197 and 200 and above are Meterseal's own. What an event begins or ends, which alarm it raises and which counter
//! counts it says `alarm`.

use core::fmt;

/// How urgent an event is for the utility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Notice,
    /// Somebody should look.
    Warning,
    /// Somebody may be altering the meter: alarm at once.
    Critical,
}

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $severity:ident, $sentence:literal;)*) => {
        /// A kind of event. Its discriminant is the number in the log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum EventCode {
            $(#[doc = $sentence] $variant = $number,)*
        }

        impl EventCode {
            /// Every event.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The event with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// A short name, stable, for programs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence that a person understands.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// How urgent it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

events! {
    PowerDown = 1, "power_down", Notice, "The meter lost its supply or was stopped.";
    PowerUp = 2, "power_up", Notice, "The meter started.";
    ClockBefore = 4, "clock_adjusted_from", Notice, "The clock was adjusted; this is the time before.";
    ClockAfter = 5, "clock_adjusted_to", Warning, "The clock was adjusted; this is the time after.";
    CalendarActivated = 9, "calendar_activated", Notice, "The passive activity calendar became the active one.";
    ProgramMemoryError = 12, "program_memory_error", Critical, "The meter's program failed its check in memory.";
    RamError = 13, "ram_error", Critical, "The meter's working memory failed a check.";
    StorageError = 14, "storage_error", Critical, "The meter's memory failed a check.";
    WatchdogReset = 15, "watchdog_reset", Warning, "The meter hung and was started again by its watchdog.";
    MeasurementError = 16, "measurement_error", Critical, "The meter refuses its calibration record and books no energy.";
    FirmwareReady = 17, "firmware_ready", Notice, "New firmware was verified and waits for its activation.";
    FirmwareActivated = 18, "firmware_activated", Notice, "New firmware proved itself and is the one that runs.";
    TerminalCoverRemoved = 40, "terminal_cover_removed", Critical, "The terminal cover was removed.";
    TerminalCoverClosed = 41, "terminal_cover_closed", Notice, "The terminal cover was closed.";
    MagnetOn = 42, "magnetic_field_on", Critical, "A strong magnetic field is at the meter.";
    MagnetOff = 43, "magnetic_field_off", Notice, "The strong magnetic field is gone.";
    CoverRemoved = 44, "meter_cover_removed", Critical, "The meter's cover was opened.";
    CoverClosed = 45, "meter_cover_closed", Notice, "The meter's cover was closed.";
    FailedLogins = 46, "failed_logins", Warning, "Somebody failed to log in to the meter several times.";
    ParametersChanged = 47, "parameters_changed", Notice, "The meter's settings were changed.";
    KeysChanged = 48, "keys_changed", Notice, "Keys of a role were replaced.";
    UndecryptableMessage = 49, "undecryptable_message", Warning, "A message to the meter could not be deciphered.";
    ReplayedMessage = 50, "replayed_message", Warning, "An old message was sent to the meter again.";
    FirmwareRefused = 51, "firmware_refused", Critical, "Firmware for the meter failed its signature or digest check.";
    RemoteDisconnection = 62, "remote_disconnection", Warning, "The utility disconnected the supply.";
    RemoteReconnection = 63, "remote_reconnection", Notice, "The utility reconnected the supply.";
    LocalDisconnection = 64, "local_disconnection", Warning, "The limiter disconnected the supply.";
    LimitExceeded = 65, "limit_exceeded", Warning, "The power was above the limiter's threshold for too long.";
    LimitKept = 66, "limit_kept", Notice, "The power is under the limiter's threshold again.";
    OvervoltageL1 = 79, "overvoltage_l1", Warning, "The voltage of L1 rose above its limit.";
    OvervoltageL2 = 80, "overvoltage_l2", Warning, "The voltage of L2 rose above its limit.";
    OvervoltageL3 = 81, "overvoltage_l3", Warning, "The voltage of L3 rose above its limit.";
    PhaseLostL1 = 82, "phase_lost_l1", Warning, "Phase L1 has no voltage while others have.";
    PhaseLostL2 = 83, "phase_lost_l2", Warning, "Phase L2 has no voltage while others have.";
    PhaseLostL3 = 84, "phase_lost_l3", Warning, "Phase L3 has no voltage while others have.";
    VoltageNormalL1 = 85, "voltage_normal_l1", Notice, "Phase L1 has its voltage again.";
    VoltageNormalL2 = 86, "voltage_normal_l2", Notice, "Phase L2 has its voltage again.";
    VoltageNormalL3 = 87, "voltage_normal_l3", Notice, "Phase L3 has its voltage again.";
    PhaseSequenceWrong = 88, "phase_sequence_wrong", Warning, "Two phases are exchanged at the meter.";
    CurrentReversed = 91, "current_reversed", Critical, "A phase's current flows backwards where nothing generates (until 0.1; now by phase).";
    CurrentReversedL1 = 180, "current_reversed_l1", Critical, "The current of L1 flows backwards, where nothing generates.";
    CurrentReversedL2 = 181, "current_reversed_l2", Critical, "The current of L2 flows backwards, where nothing generates.";
    CurrentReversedL3 = 182, "current_reversed_l3", Critical, "The current of L3 flows backwards, where nothing generates.";
    CurrentForwardL1 = 183, "current_forward_l1", Notice, "The current of L1 flows forwards again, or not at all.";
    CurrentForwardL2 = 184, "current_forward_l2", Notice, "The current of L2 flows forwards again, or not at all.";
    CurrentForwardL3 = 185, "current_forward_l3", Notice, "The current of L3 flows forwards again, or not at all.";
    CurrentWithoutVoltageL1 = 186, "current_without_voltage_l1", Critical, "Current flows in L1, whose voltage is not measured.";
    CurrentWithoutVoltageL2 = 187, "current_without_voltage_l2", Critical, "Current flows in L2, whose voltage is not measured.";
    CurrentWithoutVoltageL3 = 188, "current_without_voltage_l3", Critical, "Current flows in L3, whose voltage is not measured.";
    CurrentWithVoltageL1 = 189, "current_with_voltage_l1", Notice, "No current flows in L1 without a measured voltage any more.";
    CurrentWithVoltageL2 = 190, "current_with_voltage_l2", Notice, "No current flows in L2 without a measured voltage any more.";
    CurrentWithVoltageL3 = 191, "current_with_voltage_l3", Notice, "No current flows in L3 without a measured voltage any more.";
    BypassL1 = 192, "bypass_l1", Critical, "A part of the current of L1 flows past the meter and is missing beside the neutral's.";
    BypassL2 = 193, "bypass_l2", Critical, "A part of the current of L2 flows past the meter and is missing beside the neutral's.";
    BypassL3 = 194, "bypass_l3", Critical, "A part of the current of L3 flows past the meter and is missing beside the neutral's.";
    BypassOverL1 = 195, "bypass_over_l1", Notice, "The neutral's current matches the phases' again; L1 had been bypassed.";
    BypassOverL2 = 196, "bypass_over_l2", Notice, "The neutral's current matches the phases' again; L2 had been bypassed.";
    BypassOverL3 = 197, "bypass_over_l3", Notice, "The neutral's current matches the phases' again; L3 had been bypassed.";
    VoltageSpike = 200, "voltage_spike", Critical, "A voltage spike struck the supply.";
    MeasurementGap = 201, "measurement_gap", Warning, "Samples are missing; the gap is recorded and not estimated.";
    LogNearlyFull = 202, "log_nearly_full", Warning, "The security log is nearly full of events that nobody has fetched.";
    SamplesRepeated = 204, "samples_repeated", Warning, "Samples came twice from the front end; they were counted once.";
    UnauthorisedAct = 205, "unauthorised_act", Warning, "Somebody tried what their role does not allow.";
    LocalReconnection = 209, "local_reconnection", Notice, "The limiter reconnected the supply.";
    BillingPeriodEnded = 206, "billing_period_ended", Notice, "A billing period ended; its row is in the billing profile.";
    CalendarRefused = 207, "calendar_refused", Warning, "The passive activity calendar could not be activated: it is not whole.";
    DemandReset = 208, "demand_reset", Notice, "The utility reset the maximum demand.";
    PhaseSequenceRight = 219, "phase_sequence_right", Notice, "The phases are in their order again.";
    CurrentForward = 221, "current_forward", Notice, "No current flows backwards any more (until 0.1; now by phase).";
    AlternatingFieldOn = 222, "alternating_field_on", Critical, "A strong alternating magnetic field is at the meter.";
    AlternatingFieldOff = 223, "alternating_field_off", Notice, "The strong alternating magnetic field is gone.";
    Tilted = 224, "tilted", Critical, "The meter was turned out of its position.";
    Upright = 225, "upright", Notice, "The meter is in its position again.";
    VoltageSpikesOver = 226, "voltage_spikes_over", Notice, "No further voltage spike followed (until 0.1; a spike is over at once).";
    NeutralMismatch = 227, "neutral_mismatch", Critical, "The neutral's current does not match the phases', and no phase alone explains it.";
    NeutralMatch = 228, "neutral_match", Notice, "The neutral's current matches the phases' again.";
    CurrentWithoutVoltage = 229, "current_without_voltage", Critical, "Current flows in a phase whose voltage is not measured (until 0.1; now by phase).";
    CurrentWithVoltage = 230, "current_with_voltage", Notice, "No current flows without a measured voltage any more (until 0.1; now by phase).";
    OverTemperature = 231, "over_temperature", Warning, "The meter is hotter than it may be.";
    TemperatureNormal = 232, "temperature_normal", Notice, "The meter's temperature is within its range again.";
    SupplyInterrupted = 233, "supply_interrupted", Warning, "All phases lost their voltage.";
    SupplyRestored = 234, "supply_restored", Notice, "The supply's voltage is back.";
    OvervoltageOverL1 = 235, "overvoltage_over_l1", Notice, "The voltage of L1 is no longer too high.";
    OvervoltageOverL2 = 236, "overvoltage_over_l2", Notice, "The voltage of L2 is no longer too high.";
    OvervoltageOverL3 = 237, "overvoltage_over_l3", Notice, "The voltage of L3 is no longer too high.";
    EventLogCleared = 255, "event_log_cleared", Warning, "The event log was cleared.";
    CertificateChanged = 210, "certificate_changed", Notice, "The meter was given a certificate, lost one, or made a key pair for one.";
    CertificateRefused = 220, "certificate_refused", Warning, "The meter refused a certificate, or another act on its certificates.";
    FirmwareTransferBegun = 240, "firmware_transfer_begun", Notice, "A transfer of new firmware began.";
    FirmwareActivationOrdered = 241, "firmware_activation_ordered", Notice, "New firmware was activated and will be tried.";
    FirmwareGivenUp = 242, "firmware_given_up", Critical, "New firmware was given up; the former runs again.";
    TrustRootChanged = 243, "trust_root_changed", Notice, "The signers whose firmware counts were changed.";
    EventsRepeated = 244, "events_repeated", Warning, "An event came again and again, so often that it was counted instead of entered each time.";
    EventsNotLogged = 203, "events_not_logged", Warning, "The security log was full: this many events could not be written.";
}

impl EventCode {
    /// What the event's extreme value is: millionths of a quantity, or a count; empty where there is none (0).
    pub const fn extreme(self) -> &'static str {
        match self {
            Self::PowerUp => "µs: how long the supply was away, from what was last saved",
            Self::ClockBefore | Self::ClockAfter => "µs: by how much the clock was moved",
            Self::MeasurementError => {
                "count: why (1 length, 2 version, 3 checksum, 4 another unit, 5 a value out of range, 6 a curve that does not rise)"
            }
            Self::ParametersChanged => "count: the class of the object that was set",
            Self::LimitExceeded | Self::LimitKept => "µW: the power",
            Self::BillingPeriodEnded => "count: the billing profile's row",
            Self::EventLogCleared => "count: entries that were in it",
            Self::MeasurementGap => "µs: how much is missing",
            Self::SamplesRepeated => "µs: how much came twice",
            Self::CoverRemoved
            | Self::CoverClosed
            | Self::TerminalCoverRemoved
            | Self::TerminalCoverClosed => {
                "µs: how much earlier it may have been, as the meter was without supply; 0 seen as it happened, -1 unknown"
            }
            Self::MagnetOn => "µT: flux density when the field was certain",
            Self::MagnetOff => "µT: the largest flux density since the field was noticed",
            Self::AlternatingFieldOn => "µT: amplitude when the field was certain",
            Self::AlternatingFieldOff => "µT: the largest amplitude since the field was noticed",
            Self::Tilted => "millionths of a degree: the angle when the turn was certain",
            Self::Upright => "millionths of a degree: the largest angle",
            Self::VoltageSpike => "µV: the surge's peak",
            Self::VoltageSpikesOver => "µV: the highest peak",
            Self::OvervoltageL1 | Self::OvervoltageL2 | Self::OvervoltageL3 => {
                "µV: RMS voltage when it was noticed"
            }
            Self::PhaseLostL1 | Self::PhaseLostL2 | Self::PhaseLostL3 => {
                "µV: RMS voltage when it was noticed"
            }
            Self::VoltageNormalL1 | Self::VoltageNormalL2 | Self::VoltageNormalL3 => "µV: lowest RMS voltage",
            Self::OvervoltageOverL1 | Self::OvervoltageOverL2 | Self::OvervoltageOverL3 => {
                "µV: highest RMS voltage"
            }
            Self::SupplyInterrupted => "µV: RMS voltage of the largest phase when it was noticed",
            Self::SupplyRestored => "µs: how long the supply was away",
            Self::PhaseSequenceWrong | Self::PhaseSequenceRight => {
                "millionths: largest ratio of the negative to the positive sequence"
            }
            Self::CurrentReversed | Self::CurrentForward => "µW: most negative active power of a phase",
            Self::CurrentReversedL1
            | Self::CurrentReversedL2
            | Self::CurrentReversedL3
            | Self::CurrentForwardL1
            | Self::CurrentForwardL2
            | Self::CurrentForwardL3 => "µW: most negative active power",
            Self::CurrentWithoutVoltageL1
            | Self::CurrentWithoutVoltageL2
            | Self::CurrentWithoutVoltageL3
            | Self::CurrentWithVoltageL1
            | Self::CurrentWithVoltageL2
            | Self::CurrentWithVoltageL3 => "µA: largest current",
            Self::NeutralMismatch
            | Self::NeutralMatch
            | Self::BypassL1
            | Self::BypassL2
            | Self::BypassL3
            | Self::BypassOverL1
            | Self::BypassOverL2
            | Self::BypassOverL3 => "µA: largest current that the neutral and the phases do not share",
            Self::CurrentWithoutVoltage | Self::CurrentWithVoltage => "µA: largest current of a phase",
            Self::OverTemperature | Self::TemperatureNormal => "millionths of a kelvin: highest temperature",
            Self::FailedLogins => "count: logins failed since power-up",
            Self::KeysChanged => "count: client address of the role, 0 for the key encryption key",
            Self::UnauthorisedAct => "count: acts refused since power-up",
            Self::CertificateRefused => "count: the refused method of the security setup",
            Self::LogNearlyFull => "count: entries that still find room",
            Self::EventsNotLogged => "count: events that found no room",
            Self::EventsRepeated => {
                "count: 256 times how often it happened beside its own entries, plus the event's number"
            }
            Self::FirmwareReady | Self::FirmwareActivated | Self::FirmwareActivationOrdered => {
                "count: the image's sequence number"
            }
            Self::FirmwareTransferBegun => "count: the package's bytes",
            Self::FirmwareRefused => {
                "count: why (1 form, 2 signatures, 3 target, 4 sequence, 5 size, 6 digest, 7 unpacking, 8 trust root, 9 activation)"
            }
            Self::FirmwareGivenUp => {
                "count: why (1 tries spent, 2 not intact, 3 not newer, 4 unfit by its own word)"
            }
            Self::TrustRootChanged => "count: the trust root's version",
            _ => "",
        }
    }
}

impl EventCode {
    /// The event whose condition this one ends: a closed cover ends an opened one.
    pub const fn ends(self) -> Option<Self> {
        match self {
            Self::TerminalCoverClosed => Some(Self::TerminalCoverRemoved),
            Self::MagnetOff => Some(Self::MagnetOn),
            Self::CoverClosed => Some(Self::CoverRemoved),
            Self::RemoteReconnection => Some(Self::RemoteDisconnection),
            Self::LocalReconnection => Some(Self::LocalDisconnection),
            Self::LimitKept => Some(Self::LimitExceeded),
            Self::VoltageNormalL1 => Some(Self::PhaseLostL1),
            Self::VoltageNormalL2 => Some(Self::PhaseLostL2),
            Self::VoltageNormalL3 => Some(Self::PhaseLostL3),
            Self::OvervoltageOverL1 => Some(Self::OvervoltageL1),
            Self::OvervoltageOverL2 => Some(Self::OvervoltageL2),
            Self::OvervoltageOverL3 => Some(Self::OvervoltageL3),
            Self::PhaseSequenceRight => Some(Self::PhaseSequenceWrong),
            Self::CurrentForward => Some(Self::CurrentReversed),
            Self::AlternatingFieldOff => Some(Self::AlternatingFieldOn),
            Self::Upright => Some(Self::Tilted),
            Self::NeutralMatch => Some(Self::NeutralMismatch),
            Self::CurrentWithVoltage => Some(Self::CurrentWithoutVoltage),
            Self::CurrentForwardL1 => Some(Self::CurrentReversedL1),
            Self::CurrentForwardL2 => Some(Self::CurrentReversedL2),
            Self::CurrentForwardL3 => Some(Self::CurrentReversedL3),
            Self::CurrentWithVoltageL1 => Some(Self::CurrentWithoutVoltageL1),
            Self::CurrentWithVoltageL2 => Some(Self::CurrentWithoutVoltageL2),
            Self::CurrentWithVoltageL3 => Some(Self::CurrentWithoutVoltageL3),
            Self::BypassOverL1 => Some(Self::BypassL1),
            Self::BypassOverL2 => Some(Self::BypassL2),
            Self::BypassOverL3 => Some(Self::BypassL3),
            Self::TemperatureNormal => Some(Self::OverTemperature),
            Self::SupplyRestored => Some(Self::SupplyInterrupted),
            _ => None,
        }
    }

    /// The events that end this one's condition. None: it is over as soon as it has happened.
    pub fn ended_by(self) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |end| end.ends() == Some(self))
    }
}

impl fmt::Display for EventCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! power_events {
    ($($variant:ident = $number:literal, $name:literal, $extreme:literal, $sentence:literal;)*) => {
        /// A kind of event of the power-quality log. Its discriminant is the number in the log: Meterseal's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum PowerEvent {
            $(#[doc = $sentence] $variant = $number,)*
        }

        impl PowerEvent {
            /// Every event.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The event with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// A short name, stable, for programs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence that a person understands.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// What the event's extreme value is.
            pub const fn extreme(self) -> &'static str {
                match self { $(Self::$variant => $extreme,)* }
            }
        }
    };
}

power_events! {
    Sag = 1, "sag", "µV: lowest RMS voltage", "A phase's voltage fell below 90 % of the declared one.";
    Swell = 2, "swell", "µV: highest RMS voltage", "A phase's voltage rose above 110 % of the declared one.";
    Interruption = 3, "interruption", "µV: lowest RMS voltage of the largest phase", "All voltages fell below 5 % of the declared one.";
    Transient = 4, "transient", "µV: largest deviation", "A voltage left its curve from one sample to the next.";
    Unbalance = 5, "unbalance", "millionths: largest ratio", "The voltages' negative sequence rose above 2 % of the positive one.";
    PhaseSequence = 6, "phase_sequence", "millionths: largest ratio", "Two phases are exchanged.";
    ReversePower = 7, "reverse_power", "µW: most negative active power", "A phase exported power.";
    OverCurrent = 8, "over_current", "µA: highest RMS current", "A phase's current rose above its limit.";
    PhaseLost = 9, "phase_lost", "µV: lowest RMS voltage", "A phase's voltage fell below 5 % of the declared one.";
    NotRecorded = 255, "not_recorded", "count: rows left out", "More happened than the log takes; this many rows were left out.";
}

impl fmt::Display for PowerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_found_again() {
        for &code in EventCode::ALL {
            assert_eq!(EventCode::from_number(code as u8), Some(code));
        }
        assert_eq!(EventCode::from_number(0), None);
        for &event in PowerEvent::ALL {
            assert_eq!(PowerEvent::from_number(event as u8), Some(event));
        }
    }

    #[test]
    fn what_ends_a_condition_is_for_the_record_and_ends_no_other_end() {
        for &code in EventCode::ALL {
            if let Some(begin) = code.ends() {
                assert_eq!((code.severity(), begin.ends()), (Severity::Notice, None), "{code}");
                assert!(begin.ended_by().any(|end| end == code));
            }
        }
        assert_eq!(EventCode::FailedLogins.ended_by().count(), 0);
    }

    #[test]
    fn cpa_tamp_every_tamper_kind_is_critical() {
        for code in [EventCode::CoverRemoved, EventCode::MagnetOn, EventCode::VoltageSpike] {
            assert_eq!(code.severity(), Severity::Critical);
        }
    }
}
