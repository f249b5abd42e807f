//! What people call objects: OBIS codes in short form, names of our own objects and of the common ones of other makers,
//! names of interface classes.

use std::str::FromStr;

use meterseal_model::Obis;
use meterseal_model::objects::OBJECTS;

/// An attribute as a person writes it: `1.8.0`, `1-0:1.8.0/3`, `3/1-0:1.8.0/2`, `clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Interface class, where it was said.
    pub class: Option<u16>,
    /// Logical name.
    pub obis: Obis,
    /// Attribute, where it was said.
    pub attribute: Option<i8>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no object: write an OBIS code (1.8.0, 1-0:1.8.0), OBIS/ATTRIBUTE (1.8.0/3), \
                 CLASS/OBIS/ATTRIBUTE (3/1-0:1.8.0/2), or one of {}",
                SHORT_NAMES.map(|(name, _)| name).join(", ")
            )
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (class, obis, attribute) = match parts.as_slice() {
            [obis] => (None, *obis, None),
            [obis, attribute] => (None, *obis, Some(*attribute)),
            [class, obis, attribute] => (Some(*class), *obis, Some(*attribute)),
            _ => return Err(wrong()),
        };
        Ok(Self {
            class: class.map(|class| class.parse().map_err(|_| wrong())).transpose()?,
            obis: obis_code(obis).ok_or_else(wrong)?,
            attribute: attribute
                .map(|text| text.parse().ok().filter(|&number: &i8| number > 0).ok_or_else(wrong))
                .transpose()?,
        })
    }
}

fn obis_code(text: &str) -> Option<Obis> {
    if let Some((_, obis)) = SHORT_NAMES.iter().find(|(name, _)| *name == text) {
        return Some(*obis);
    }
    // C.D.E alone: electricity, channel 0.
    let groups = text.split('.').count();
    if groups == 3 && !text.contains([':', '-']) {
        return format!("1-0:{text}").parse().ok();
    }
    text.parse().ok()
}

/// Names that save typing.
const SHORT_NAMES: [(&str, Obis); 5] = [
    ("clock", Obis::CLOCK),
    ("association", Obis::ASSOCIATION),
    ("name", Obis::LOGICAL_DEVICE_NAME),
    ("load-profile", Obis::LOAD_PROFILE),
    ("security-log", Obis::SECURITY_LOG),
];

/// An OBIS code as short as it stays clear: `1.8.0` for electricity, channel 0, no billing period.
pub fn short(obis: Obis) -> String {
    match obis.0 {
        [1, 0, c, d, e, 255] => format!("{c}.{d}.{e}"),
        [a, b, c, d, e, 255] => format!("{a}-{b}:{c}.{d}.{e}"),
        _ => obis.to_string(),
    }
}

/// What the object with this class and name is called, if anybody calls it anything.
pub fn object(class: u16, obis: Obis) -> Option<String> {
    let ours = OBJECTS.iter().find(|object| object.obis == obis && object.class.id() == class);
    ours.map(|object| object.name.to_owned()).or_else(|| common(obis))
}

/// The class that an object of ours with this name has; the first guess for another maker's.
pub fn usual_class(obis: Obis) -> Option<u16> {
    OBJECTS.iter().find(|object| object.obis == obis).map(|object| object.class.id())
}

/// Names by the OBIS system itself (IEC 62056-6-1; from memory, not verified against the standard's text).
fn common(obis: Obis) -> Option<String> {
    let [a, b, c, d, e, _] = obis.0;
    match (a, c, d, e) {
        (1, 99, 1, _) => Some("Load profile 1".to_owned()),
        (1, 99, 2, _) => Some("Load profile 2".to_owned()),
        (1, ..) => electricity(c, d, e),
        (0, 1, 0, _) => Some("Clock".to_owned()),
        (0, 2, ..) => Some("Modem".to_owned()),
        (0, 10, 0, _) => Some("Script table".to_owned()),
        (0, 11, 0, _) => Some("Special days table".to_owned()),
        (0, 13, 0, _) => Some("Activity calendar".to_owned()),
        (0, 15, 0, _) => Some("Single action schedule".to_owned()),
        (0, 17, 0, _) => Some("Limiter".to_owned()),
        (0, 25, 0, _) => Some("TCP-UDP setup".to_owned()),
        (0, 25, 9, _) => Some("Push setup".to_owned()),
        (0, 40, 0, _) => Some("Association LN".to_owned()),
        (0, 41, 0, _) => Some("SAP assignment".to_owned()),
        (0, 42, 0, _) => Some("Logical device name".to_owned()),
        (0, 43, 0, _) => Some("Security setup".to_owned()),
        (0, 43, 1, _) => Some(format!("Invocation counter {b}.{e}")),
        (0, 44, 0, _) => Some("Image transfer".to_owned()),
        (0, 96, 1, n) => Some(format!("Device identifier {n}")),
        (0, 96, 3, 10) => Some("Disconnect control".to_owned()),
        (0, 96, 11, n) => Some(format!("Event code {n}")),
        (0, 97, 98, n) => Some(format!("Alarm register or filter {n}")),
        (0, 98, 1, _) => Some("Billing profile".to_owned()),
        (0, 99, 98, n) => Some(format!("Event log {n}")),
        _ => None,
    }
}

fn electricity(c: u8, d: u8, e: u8) -> Option<String> {
    let (base, phase) = match c {
        1..=20 => (c, ""),
        21..=40 => (c - 20, " L1"),
        41..=60 => (c - 40, " L2"),
        61..=80 => (c - 60, " L3"),
        91 => (11, " neutral"),
        _ => return None,
    };
    let (power, energy) = match base {
        1 => ("Active power import (+P)", "Active energy import (+A)"),
        2 => ("Active power export (-P)", "Active energy export (-A)"),
        3 => ("Reactive power import (+Q)", "Reactive energy import (+R)"),
        4 => ("Reactive power export (-Q)", "Reactive energy export (-R)"),
        5 => ("Reactive power, quadrant I", "Reactive energy, quadrant I"),
        6 => ("Reactive power, quadrant II", "Reactive energy, quadrant II"),
        7 => ("Reactive power, quadrant III", "Reactive energy, quadrant III"),
        8 => ("Reactive power, quadrant IV", "Reactive energy, quadrant IV"),
        9 => ("Apparent power import (+S)", "Apparent energy import (+S)"),
        10 => ("Apparent power export (-S)", "Apparent energy export (-S)"),
        11 => ("Current", "Current"),
        12 => ("Voltage", "Voltage"),
        13 => ("Power factor", "Power factor"),
        14 => ("Supply frequency", "Supply frequency"),
        15 => ("Active power, both directions", "Active energy, both directions"),
        16 => ("Active power, net", "Active energy, net"),
        _ => return None,
    };
    let rate = if e == 0 || !matches!(d, 6 | 8 | 9) { String::new() } else { format!(", rate {e}") };
    Some(match d {
        7 => format!("{power}{phase}"),
        8 | 9 => format!("{energy}{phase}{rate}"),
        2 => format!("{power}{phase}, cumulative maximum demand"),
        4 => format!("{power}{phase}, demand of this period"),
        5 => format!("{power}{phase}, demand of the last period"),
        6 => format!("{power}{phase}, maximum demand{rate}"),
        24 => format!("{power}{phase}, mean of the last interval"),
        29 => format!("{energy}{phase}, last interval"),
        _ => return None,
    })
}

/// The name of an interface class (IEC 62056-6-2; numbers from memory, not verified against the standard's text).
pub fn class(id: u16) -> String {
    let name = match id {
        1 => "Data",
        3 => "Register",
        4 => "Extended register",
        5 => "Demand register",
        6 => "Register activation",
        7 => "Profile generic",
        8 => "Clock",
        9 => "Script table",
        10 => "Schedule",
        11 => "Special days table",
        15 => "Association LN",
        17 => "SAP assignment",
        18 => "Image transfer",
        19 => "IEC local port setup",
        20 => "Activity calendar",
        21 => "Register monitor",
        22 => "Single action schedule",
        23 => "IEC HDLC setup",
        30 => "Data protection",
        40 => "Push setup",
        41 => "TCP-UDP setup",
        42 => "IPv4 setup",
        43 => "MAC address setup",
        45 => "GPRS modem setup",
        47 => "GSM diagnostic",
        48 => "IPv6 setup",
        61 => "Register table",
        62 => "Compact data",
        63 => "Status mapping",
        64 => "Security setup",
        65 => "Parameter monitor",
        68 => "Arbitrator",
        70 => "Disconnect control",
        71 => "Limiter",
        72 => "M-Bus client",
        other => return format!("class {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_in_several_ways() {
        let energy = Obis::ACTIVE_ENERGY_IMPORT;
        for (text, class, obis, attribute) in [
            ("1.8.0", None, energy, None),
            ("1-0:1.8.0", None, energy, None),
            ("1.0.1.8.0.255", None, energy, None),
            ("1.8.0/3", None, energy, Some(3)),
            ("3/1-0:1.8.0*255/2", Some(3), energy, Some(2)),
            ("clock", None, Obis::CLOCK, None),
        ] {
            assert_eq!(text.parse(), Ok(Target { class, obis, attribute }), "{text}");
        }
        for wrong in ["", "1.8", "1.8.0/", "1.8.0/-1", "1.8.0/0", "a/1.8.0/2", "1.8.0/2/3/4", "1.8.300"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_of_any_maker_have_names() {
        assert_eq!(object(3, Obis::ACTIVE_ENERGY_IMPORT).unwrap(), "Active energy import (+A)");
        assert_eq!(
            object(4, "1-0:1.6.2".parse().unwrap()).unwrap(),
            "Active power import (+P), maximum demand, rate 2"
        );
        assert_eq!(object(3, "1-1:52.7.0".parse().unwrap()).unwrap(), "Voltage L2");
        assert_eq!(object(1, "0-0:200.1.2".parse().unwrap()), None);
        assert_eq!(short(Obis::ACTIVE_ENERGY_IMPORT), "1.8.0");
        assert_eq!(short("0-0:1.0.0".parse().unwrap()), "0-0:1.0.0");
        assert_eq!(class(9999), "class 9999");
    }
}
