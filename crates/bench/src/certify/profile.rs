//! The target profile: what the maker declares of a meter, so that another maker's meter can be the target. TOML; what is left out is the
//! reference meter's.

use std::collections::BTreeMap;
use std::path::Path;

use meterseal_model::{EventCode, Obis};
use serde::{Deserialize, Serialize};

use super::network::NetworkProfile;
use super::network::instruments::InstrumentsProfile;

/// What is declared of a meter.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The device type, as the mark would name it.
    pub device_type: String,
    /// The hardware; `virtual` for a simulated one.
    pub hardware: String,
    /// Whether objects and rights are those of Meterseal's object model; another maker's rights cannot be compared with a table.
    pub object_model_is_ours: bool,
    /// Ratings.
    pub ratings: Ratings,
    /// Where quantities are: name to logical name. See [`Profile::obis`] for the names.
    pub obis: BTreeMap<String, String>,
    /// Event numbers of the meter's log, by the names of Meterseal's events.
    pub events: BTreeMap<String, u8>,
    /// How to reach it. Paths and addresses of a laboratory are no part of its results.
    #[serde(skip_serializing)]
    pub network: NetworkProfile,
    /// The laboratory's instruments; results name them with their calibration.
    #[serde(skip_serializing)]
    pub instruments: InstrumentsProfile,
}

/// The name plate.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ratings {
    /// Un to neutral, volts.
    pub volts: f64,
    /// In, amperes.
    pub rated_amperes: f64,
    /// Imax, amperes.
    pub maximum_amperes: f64,
    /// fn, hertz.
    pub hertz: f64,
    /// Pulses a kilowatt-hour.
    pub impulses_per_kilowatt_hour: f64,
}

impl Default for Ratings {
    fn default() -> Self {
        use crate::points::{HERTZ, IMAX, IN, METER_CONSTANT, UN};
        Self {
            volts: UN,
            rated_amperes: IN,
            maximum_amperes: IMAX,
            hertz: HERTZ,
            impulses_per_kilowatt_hour: METER_CONSTANT,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            device_type: "Meterseal Reference".to_owned(),
            hardware: "virtual".to_owned(),
            ratings: Ratings::default(),
            obis: BTreeMap::new(),
            events: BTreeMap::new(),
            object_model_is_ours: true,
            network: NetworkProfile::default(),
            instruments: InstrumentsProfile::default(),
        }
    }
}

/// The names that a profile may map, and what they are without.
const NAMES: [(&str, Obis); 7] = [
    ("active_energy_import", Obis::ACTIVE_ENERGY_IMPORT),
    ("active_energy_export", Obis::ACTIVE_ENERGY_EXPORT),
    ("reactive_energy_import", Obis::REACTIVE_ENERGY_IMPORT),
    ("security_log", Obis::SECURITY_LOG),
    ("load_profile", Obis::LOAD_PROFILE),
    ("clock", Obis::CLOCK),
    ("power_quality_log", Obis::POWER_QUALITY_LOG),
];

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`ProfileError`]: it cannot be read, is no profile, or says what cannot be.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let problem = |problem: String| ProfileError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        let mut profile: Self =
            toml::from_str(&text).map_err(|error| problem(error.to_string().replace('\n', " ")))?;
        profile.check().map_err(problem)?;
        profile.network.within(path.parent().unwrap_or(Path::new(".")));
        Ok(profile)
    }

    fn check(&self) -> Result<(), String> {
        let Ratings { volts, rated_amperes, maximum_amperes, hertz, impulses_per_kilowatt_hour } =
            self.ratings;
        for (name, value, least, most) in [
            ("volts", volts, 50.0, 400.0),
            ("rated_amperes", rated_amperes, 0.1, 200.0),
            // IEC 62053-22: Imax is at least 1.2 In.
            ("maximum_amperes", maximum_amperes, 1.2 * rated_amperes, 1000.0),
            ("hertz", hertz, 45.0, 65.0),
            ("impulses_per_kilowatt_hour", impulses_per_kilowatt_hour, 1.0, 1e6),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("ratings.{name} is {value}; it must be {least} to {most}"));
            }
        }
        for (name, obis) in &self.obis {
            if !NAMES.iter().any(|(known, _)| known == name) {
                let known = NAMES.map(|(known, _)| known).join(", ");
                return Err(format!("obis.{name} is not known; there are {known}"));
            }
            obis.parse::<Obis>().map_err(|error| format!("obis.{name} = \"{obis}\": {error}"))?;
        }
        self.network.check()?;
        self.instruments.check()?;
        for name in self.events.keys() {
            if !EventCode::ALL.iter().any(|code| code.name() == name) {
                return Err(format!("events.{name} is no event of Meterseal's list"));
            }
        }
        Ok(())
    }

    /// Where a quantity is.
    pub fn obis(&self, usual: Obis) -> Obis {
        let name = NAMES.iter().find(|(_, obis)| *obis == usual).map(|(name, _)| *name);
        name.and_then(|name| self.obis.get(name)).and_then(|text| text.parse().ok()).unwrap_or(usual)
    }

    /// The number of an event in this meter's log.
    pub fn event(&self, code: EventCode) -> u8 {
        self.events.get(code.name()).copied().unwrap_or(code as u8)
    }
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the target profile {path}: {problem}")]
pub struct ProfileError {
    path: String,
    problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Profile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        std::fs::write(&path, text).unwrap();
        Profile::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn another_makers_meter_is_described_and_what_cannot_be_is_refused() {
        let profile = read(
            "device_type = \"X1\"\nhardware = \"A\"\n[ratings]\nimpulses_per_kilowatt_hour = 1000\n\
             [obis]\nsecurity_log = \"0-0:99.98.1\"\n[events]\nmeter_cover_removed = 99\n",
        )
        .unwrap();
        assert_eq!(profile.event(EventCode::CoverRemoved), 99);
        assert_eq!(profile.event(EventCode::MagnetOn), 42);
        assert_eq!(profile.obis(Obis::SECURITY_LOG), Obis::SECURITY_LOG);
        assert_eq!(profile.ratings.maximum_amperes, 100.0);
        for (text, why) in [
            ("[ratings]\nvolts = 5\n", "50 to 400"),
            ("[obis]\nnonsense = \"1-0:1.8.0\"\n", "not known"),
            ("[obis]\nclock = \"x\"\n", "clock"),
            ("[events]\nx = 1\n", "no event"),
            ("volts = 5\n", "unknown field"),
            ("[network]\nclient = \"king\"\n", "reader"),
            ("[network]\nmeter = \"x\"\n", "system title"),
            ("[network]\nsuite = 3\n", "0, 1 and 2"),
            ("[network]\naccess = \"a\"\n", "network.meter"),
            ("[network]\nkeys = \"a\"\npassword = \"b\"\n", "give one"),
            ("[instruments.source]\naddress = \"x\"\n", "tcp://"),
            ("[instruments.source]\naddress = \"tcp://x:1\"\n", "traceable"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
