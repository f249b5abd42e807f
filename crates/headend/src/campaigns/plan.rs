//! What a campaign is to do: which image, which meters, in which stages, when and how fast. A plan is checked as a whole
//! before anything of it is kept, and never changes afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use meterseal_model::{Digest384, MeterId, UnixMillis};
use meterseal_seal::firmware::{Manifest, Packing};
use serde::{Deserialize, Serialize};

use crate::store::AttestedRecord;

/// Most stages of a campaign.
pub const STAGES_MAX: usize = 16;

/// Longest name, characters.
pub const NAME_MAX: usize = 64;

/// Most meters in transfer at once, whatever a plan says: each has a few hundred kilobytes under way.
pub const IN_FLIGHT_MAX: u32 = 1000;

/// Longest soak and longest patience: a month.
pub const LONGEST_SECONDS: u64 = 31 * 86_400;

/// A campaign as it was ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What people call it.
    pub name: String,
    /// Which image.
    pub image: ImageFacts,
    /// How its meters were chosen, in words.
    pub selection: String,
    /// One after the other; the last has 100 percent.
    pub stages: Vec<Stage>,
    /// It stops by itself when more than this share of the meters of the stages that have begun failed, percent.
    pub max_failed_percent: f64,
    /// When anything may be sent; always if there is none.
    pub window: Option<Window>,
    /// Bytes of the package a second, all its meters together.
    pub bytes_per_second: Option<u64>,
    /// When meters are told to start the image, Unix milliseconds; as soon as each has it if there is none.
    pub activate_at_ms: Option<i64>,
    /// Meters in transfer at once.
    pub in_flight: u32,
    /// How long a meter may be away, or take over one step, before the stage goes on without it, seconds.
    pub patience_seconds: u64,
}

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The share of the chosen meters that have been told when it ends, percent.
    pub percent: f64,
    /// How long it is watched after its last meter, before the next begins, seconds.
    pub soak_seconds: u64,
}

/// What a package says of itself, verified when it was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFacts {
    /// SHA-384 of the package file, hexadecimal: its name in the data folder.
    pub package: String,
    /// Length of the package file.
    pub package_bytes: u64,
    /// Who made the device.
    pub vendor: String,
    /// For which device type.
    pub device_type: String,
    /// For which hardware revisions.
    pub hardware: Vec<String>,
    /// Version, for people.
    pub version: String,
    /// Sequence number.
    pub sequence: u64,
    /// The lowest sequence number on which it may be installed; 0 for any.
    pub minimum_previous: u64,
    /// SHA-384 of the image that runs in the end, hexadecimal: what a meter must attest.
    pub image: String,
    /// The image that its differences stand on, for a package of differences.
    pub base: Option<String>,
    /// Not to be activated before, Unix milliseconds.
    pub not_before_ms: Option<i64>,
}

impl ImageFacts {
    pub(crate) fn new(package: &Digest384, package_bytes: u64, manifest: &Manifest) -> Self {
        Self {
            package: package.to_string(),
            package_bytes,
            vendor: manifest.vendor.clone(),
            device_type: manifest.device_type.clone(),
            hardware: manifest.hardware.clone(),
            version: manifest.version.clone(),
            sequence: manifest.sequence,
            minimum_previous: manifest.minimum_previous,
            image: manifest.image.digest.to_string(),
            base: match manifest.packing {
                Packing::Delta { base } => Some(base.digest.to_string()),
                Packing::Plain | Packing::Deflated => None,
            },
            not_before_ms: manifest.not_before.map(|time| time.0),
        }
    }
}

impl ImageFacts {
    /// Why the image is not for a device that attests this; `None` when it may be.
    pub(crate) fn unfit(&self, said: &AttestedRecord) -> Option<String> {
        if said.highest >= self.sequence {
            return Some(format!(
                "The meter has had sequence {}, this image is {}",
                said.highest, self.sequence
            ));
        }
        if said.highest < self.minimum_previous {
            let wanted = self.minimum_previous;
            return Some(format!(
                "The meter is at sequence {}; it needs {wanted} or later first",
                said.highest
            ));
        }
        let other_base = self.base.as_ref().is_some_and(|base| *base != said.image.to_string());
        other_base.then(|| "The package holds differences to another image than the meter's".to_owned())
    }
}

/// Hours of the day in which meters are spoken to about firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First minute of the day.
    pub from_minute: u16,
    /// The minute of the day before which it ends; one not after `from_minute` is on the next day.
    pub to_minute: u16,
    /// Time zone by its IANA name.
    pub zone: String,
}

impl Window {
    /// Reads `HH:MM-HH:MM` in a zone.
    ///
    /// # Errors
    /// [`PlanError::Window`], [`PlanError::Zone`].
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, PlanError> {
        let minute = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let both = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        let Some((from_minute, to_minute)) = both.filter(|(from, to)| from != to) else {
            return Err(PlanError::Window(text.chars().take(NAME_MAX).collect()));
        };
        let zone = zone.unwrap_or("UTC").to_owned();
        let window = Self { from_minute, to_minute, zone };
        window.time_zone()?;
        Ok(window)
    }

    /// Whether it is open at this moment.
    pub(crate) fn is_open(&self, now: UnixMillis) -> bool {
        let Ok(zone) = self.time_zone() else { return false };
        let Ok(at) = jiff::Timestamp::from_millisecond(now.0) else { return false };
        let at = at.to_zoned(zone);
        let minute = at.hour() as u16 * 60 + at.minute() as u16;
        if self.from_minute < self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }

    fn time_zone(&self) -> Result<TimeZone, PlanError> {
        let unknown = || PlanError::Zone(self.zone.chars().take(NAME_MAX).collect());
        if self.zone == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(&self.zone).map_err(|_| unknown()) }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clock = |minute: u16| (minute / 60, minute % 60);
        let ((from, from_minute), (to, to_minute)) = (clock(self.from_minute), clock(self.to_minute));
        write!(f, "{from:02}:{from_minute:02}-{to:02}:{to_minute:02} {}", self.zone)
    }
}

impl Plan {
    /// Whether it makes sense as a whole.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn check(&self) -> Result<(), PlanError> {
        let name_fits = (1..=NAME_MAX).contains(&self.name.chars().count());
        if !name_fits || self.name.chars().any(char::is_control) {
            return Err(PlanError::Name);
        }
        let rising = self.stages.windows(2).all(|pair| pair[0].percent < pair[1].percent);
        let whole = self.stages.last().is_some_and(|last| last.percent == 100.0);
        let positive = self.stages.iter().all(|stage| stage.percent > 0.0);
        if self.stages.len() > STAGES_MAX || !rising || !whole || !positive {
            return Err(PlanError::Stages);
        }
        let longest = |seconds: u64| seconds <= LONGEST_SECONDS;
        if !self.stages.iter().all(|stage| longest(stage.soak_seconds)) {
            return Err(PlanError::Long { what: "the soak time" });
        }
        if !longest(self.patience_seconds) || self.patience_seconds == 0 {
            return Err(PlanError::Long { what: "the patience" });
        }
        if !(0.0..=100.0).contains(&self.max_failed_percent) {
            return Err(PlanError::MaxFailed);
        }
        if self.bytes_per_second.is_some_and(|rate| rate < LEAST_RATE) {
            return Err(PlanError::Rate);
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight) {
            return Err(PlanError::InFlight);
        }
        self.window.as_ref().map_or(Ok(()), |window| window.time_zone().map(drop))
    }

    /// How many of `members` have been told when a stage ends: rounded up, so that the first stage has one at least.
    pub(crate) fn stage_end(&self, stage: usize, members: usize) -> usize {
        let percent = self.stages.get(stage).map_or(100.0, |stage| stage.percent);
        ((members as f64 * percent / 100.0).ceil() as usize).min(members)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }

    /// Whether anything may be sent now.
    pub(crate) fn is_open(&self, now: UnixMillis) -> bool {
        self.window.as_ref().is_none_or(|window| window.is_open(now))
    }

    /// Whether meters may be told to start the image now.
    pub(crate) fn may_activate(&self, now: UnixMillis) -> bool {
        let after = |time: Option<i64>| time.is_none_or(|time| now.0 >= time);
        after(self.activate_at_ms) && after(self.image.not_before_ms) && self.is_open(now)
    }
}

/// Which meters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Every meter that this head-end knows.
    pub all: bool,
    /// These.
    pub meters: BTreeSet<MeterId>,
    /// Those of this type, as far as they have said.
    pub device_type: Option<String>,
    /// Of what is chosen so far, this share, percent.
    pub percent: Option<f64>,
}

impl Selection {
    /// Chooses among the meters that are known, with their device types, in the order in which they are told. Which they
    /// are is as good as random, and the same for the same `salt`.
    ///
    /// # Errors
    /// [`PlanError::Selection`], [`PlanError::Unknown`], [`PlanError::Empty`].
    pub(crate) fn choose(
        &self,
        known: &[(MeterId, Option<String>)],
        salt: &[u8],
    ) -> Result<Vec<MeterId>, PlanError> {
        if usize::from(self.all)
            + usize::from(!self.meters.is_empty())
            + usize::from(self.device_type.is_some())
            == 0
            || (self.all && !self.meters.is_empty())
        {
            return Err(PlanError::Selection);
        }
        if self.percent.is_some_and(|percent| !(percent > 0.0 && percent <= 100.0)) {
            return Err(PlanError::Percent);
        }
        let names: BTreeSet<MeterId> = known.iter().map(|(meter, _)| *meter).collect();
        if let Some(stranger) = self.meters.iter().find(|meter| !names.contains(meter)) {
            return Err(PlanError::Unknown(*stranger));
        }
        let of_type = |device_type: &Option<String>| {
            self.device_type.as_ref().is_none_or(|wanted| device_type.as_ref() == Some(wanted))
        };
        let named = |meter: &MeterId| self.meters.is_empty() || self.meters.contains(meter);
        let mut chosen: Vec<([u8; 32], MeterId)> = known
            .iter()
            .filter(|(meter, device_type)| named(meter) && of_type(device_type))
            .map(|(meter, _)| (rank(salt, *meter), *meter))
            .collect();
        chosen.sort_unstable();
        if let Some(percent) = self.percent {
            chosen.truncate((chosen.len() as f64 * percent / 100.0).ceil() as usize);
        }
        if chosen.is_empty() {
            return Err(PlanError::Empty { words: self.to_string() });
        }
        Ok(chosen.into_iter().map(|(_, meter)| meter).collect())
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(percent) = self.percent {
            write!(f, "{percent} % of ")?;
        }
        match self.meters.len() {
            0 => f.write_str("all meters")?,
            1 => self.meters.iter().try_for_each(|meter| write!(f, "{meter}"))?,
            count => write!(f, "{count} named meters")?,
        }
        match &self.device_type {
            Some(device_type) => write!(f, " of type {device_type:?}"),
            None => Ok(()),
        }
    }
}

/// A meter's place in the order of a campaign.
fn rank(salt: &[u8], meter: MeterId) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(salt);
    context.update(meter.to_string().as_bytes());
    let mut rank = [0; 32];
    rank.copy_from_slice(context.finish().as_ref());
    rank
}

/// Below this a package of a megabyte takes a quarter of an hour a meter.
const LEAST_RATE: u64 = 1024;

/// Why a plan is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The name.
    #[error("a campaign's name has 1 to {NAME_MAX} characters and no control characters")]
    Name,
    /// The stages.
    #[error("stages are at most {STAGES_MAX} rising percentages, the last of them 100: for example 1,10,100")]
    Stages,
    /// A time that is too long or nothing.
    #[error("{what} is at most {} days, and not nothing where it bounds a wait", LONGEST_SECONDS / 86_400)]
    Long {
        /// Which.
        what: &'static str,
    },
    /// The threshold.
    #[error("the share of failures that stops a campaign is a number from 0 to 100 percent")]
    MaxFailed,
    /// The bandwidth.
    #[error("a bandwidth limit is {LEAST_RATE} bytes a second or more")]
    Rate,
    /// The concurrency.
    #[error("1 to {IN_FLIGHT_MAX} meters may be in transfer at once")]
    InFlight,
    /// The window.
    #[error("{0:?} is no window; write it as 01:00-05:00")]
    Window(String),
    /// The time zone.
    #[error("this machine knows no time zone {0:?}; use an IANA name such as Europe/London, or UTC")]
    Zone(String),
    /// No selection, or two.
    #[error(
        "say which meters: all, or their identifiers, or a device type; all and identifiers exclude each other"
    )]
    Selection,
    /// The share of the fleet.
    #[error("the share of the fleet is above 0 and at most 100 percent")]
    Percent,
    /// A meter that is not known.
    #[error("this head-end does not know the meter {0}; see `meterseal headend list-meters`")]
    Unknown(MeterId),
    /// Nobody.
    #[error("the selection is empty: no meter here is in \"{words}\"; nothing was made")]
    Empty {
        /// The selection.
        words: String,
    },
}

/// A plan that is in order, for tests.
#[cfg(test)]
pub(crate) fn tests_plan() -> Plan {
    let digest = "ab".repeat(48);
    Plan {
        name: "test".into(),
        image: ImageFacts {
            package: "cd".repeat(48),
            package_bytes: 100,
            vendor: "Maker".into(),
            device_type: "even".into(),
            hardware: vec!["A".into()],
            version: "2".into(),
            sequence: 2,
            minimum_previous: 0,
            image: digest,
            base: None,
            not_before_ms: None,
        },
        selection: "all meters".into(),
        stages: vec![Stage { percent: 100.0, soak_seconds: 0 }],
        max_failed_percent: 0.0,
        window: None,
        bytes_per_second: None,
        activate_at_ms: None,
        in_flight: 10,
        patience_seconds: 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(count: u64) -> Vec<(MeterId, Option<String>)> {
        (1..=count)
            .map(|serial| {
                let device_type = if serial % 2 == 0 { "even" } else { "odd" };
                (MeterId::new(*b"MSL", serial).unwrap(), Some(device_type.to_owned()))
            })
            .collect()
    }

    #[test]
    fn a_selection_is_a_share_of_what_was_named_and_the_same_each_time() {
        let all = Selection { all: true, ..Selection::default() };
        assert_eq!(all.choose(&known(10), b"a").unwrap().len(), 10);
        assert_eq!(all.choose(&known(10), b"a"), all.choose(&known(10), b"a"));
        assert_ne!(all.choose(&known(50), b"a"), all.choose(&known(50), b"b"));
        let third =
            Selection { device_type: Some("even".into()), percent: Some(30.0), ..Selection::default() };
        let chosen = third.choose(&known(10), b"a").unwrap();
        assert_eq!(chosen.len(), 2, "30 % of five, rounded up");
        assert!(chosen.iter().all(|meter| meter.serial() % 2 == 0));
    }

    #[test]
    fn an_empty_or_unclear_selection_is_refused_in_words() {
        let choose = |selection: &Selection| selection.choose(&known(4), b"").unwrap_err();
        assert_eq!(choose(&Selection::default()), PlanError::Selection);
        let stranger = MeterId::new(*b"MSL", 99).unwrap();
        let named = Selection { meters: [stranger].into(), ..Selection::default() };
        assert_eq!(choose(&named), PlanError::Unknown(stranger));
        let none = Selection { device_type: Some("gas".into()), ..Selection::default() };
        assert!(choose(&none).to_string().contains("empty"), "{}", choose(&none));
        for percent in [0.0, -1.0, 101.0, f64::NAN] {
            let wrong = Selection { all: true, percent: Some(percent), ..Selection::default() };
            assert_eq!(choose(&wrong), PlanError::Percent);
        }
    }

    #[test]
    fn a_window_may_go_over_midnight_and_follows_its_zone() {
        let at = |text: &str| UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let night = Window::parse("22:00-05:30", None).unwrap();
        assert!(night.is_open(at("2026-01-01T23:00:00Z")) && night.is_open(at("2026-01-01T05:29:00Z")));
        assert!(!night.is_open(at("2026-01-01T05:30:00Z")) && !night.is_open(at("2026-01-01T12:00:00Z")));
        assert_eq!(night.to_string(), "22:00-05:30 UTC");
        for wrong in ["", "1-2", "25:00-01:00", "01:60-02:00", "01:00-01:00", "01:00"] {
            assert!(matches!(Window::parse(wrong, None), Err(PlanError::Window(_))), "{wrong}");
        }
        assert!(matches!(Window::parse("01:00-02:00", Some("Mars/Olympus")), Err(PlanError::Zone(_))));
    }

    #[test]
    fn stages_rise_to_all_and_the_first_has_a_meter() {
        let plan = |percents: &[f64]| Plan {
            stages: percents.iter().map(|&percent| Stage { percent, soak_seconds: 0 }).collect(),
            ..tests_plan()
        };
        assert_eq!(plan(&[1.0, 10.0, 100.0]).check(), Ok(()));
        for wrong in [&[][..], &[50.0], &[10.0, 5.0, 100.0], &[0.0, 100.0], &[100.0, 100.0]] {
            assert_eq!(plan(wrong).check(), Err(PlanError::Stages), "{wrong:?}");
        }
        let three = plan(&[1.0, 10.0, 100.0]);
        assert_eq!([0, 1, 2].map(|stage| three.stage_end(stage, 30)), [1, 3, 30]);
    }
}
