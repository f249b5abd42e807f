//! A normal life: hours at three places in which a meter must take nothing for tampering.
//!
//! The hours are cut into watches of up to [`WATCH_HOURS`]. Each has a meter and a seed of its own and begins where the
//! place's watch before has ended, so that every place goes through all hours of the day, and all temperatures, again and
//! again. What a watch finds depends on nothing else, so results are the same bits however many processors share them, and
//! a run that was interrupted goes on behind the watches that its file holds.

use super::stage::{Failure, Stage};
use super::{Fault, checkpoint, spread};
use meterseal_meter::Thresholds;
use meterseal_model::{EventCode, UnixMillis};
use meterseal_world::site::{Happening, NormalLife, Site, SiteKind};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The places, of which each gets a third of the hours.
pub const PLACES: [SiteKind; 3] = [SiteKind::Factory, SiteKind::HomeSolar, SiteKind::Commercial];
/// The longest watch, hours of site time.
pub const WATCH_HOURS: u32 = 8;
/// After so many false alarms in a watch nobody needs to count on; the log has room for them.
const ALARMS_MAX: usize = 40;

/// What to live through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Hours of site time, shared by the places: up to 100 000.
    pub hours: u32,
    /// Which lives.
    pub seed: u64,
    /// Something wrong with the detector, to see that it is found.
    pub fault: Option<Fault>,
}

/// What a meter went through, and what it took for tampering.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lived {
    /// Watches that this is of.
    pub watches: u32,
    /// Frames that went through the core.
    pub frames: u64,
    /// How often each kind of [`Happening`] happened, in the order of [`Happening::ALL`].
    pub happenings: Vec<u64>,
    /// The lowest and the highest temperature that a meter's thermometer showed, millikelvin.
    pub millikelvin: [u32; 2],
    /// Readings of the sensors at −35 °C and below, and at 80 °C and above: within 5 K of the extremes.
    pub extreme_readings: [u64; 2],
    /// What was logged, though nothing had happened.
    pub alarms: Vec<Alarm>,
}

/// A false alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Where: the place's number in [`PLACES`].
    pub place: usize,
    /// When, site time.
    pub unix_millis: i64,
    /// The number of its code.
    pub code: u8,
    /// Its extreme value.
    pub extreme: i64,
}

impl Alarm {
    /// What was logged; `None` where the file held no number of a code.
    pub fn code(&self) -> Option<EventCode> {
        EventCode::from_number(self.code)
    }
}

impl Lived {
    /// Hours of site time.
    pub fn hours(&self) -> f64 {
        self.frames as f64 / FRAMES_PER_HOUR as f64
    }

    /// Adds what happened in another watch.
    pub fn add(&mut self, other: &Self) {
        let [lowest, highest] = self.millikelvin;
        self.millikelvin = match self.watches {
            0 => other.millikelvin,
            _ => [lowest.min(other.millikelvin[0]), highest.max(other.millikelvin[1])],
        };
        self.watches += other.watches;
        self.frames += other.frames;
        self.happenings.resize(Happening::ALL.len(), 0);
        for (sum, count) in self.happenings.iter_mut().zip(&other.happenings) {
            *sum += count;
        }
        for (sum, count) in self.extreme_readings.iter_mut().zip(other.extreme_readings) {
            *sum += count;
        }
        self.alarms.extend_from_slice(&other.alarms);
    }
}

/// One watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    place: usize,
    first_hour: u32,
    hours: u32,
}

impl Settings {
    /// The watches, by place in turn.
    fn watches(&self) -> Vec<Watch> {
        let hours_of = |place: usize| (self.hours + (PLACES.len() - 1 - place) as u32) / PLACES.len() as u32;
        let of = |place| {
            let hours = hours_of(place);
            let watch = move |first_hour| {
                let hours = WATCH_HOURS.min(hours - first_hour);
                Watch { place, first_hour, hours }
            };
            (0..hours).step_by(WATCH_HOURS as usize).map(watch)
        };
        let mut watches: Vec<_> = (0..PLACES.len()).flat_map(of).collect();
        watches.sort_by_key(|watch| (watch.first_hour, watch.place));
        watches
    }
}

/// Lets meters live. `file` keeps the watches that are done, and what it holds of the same settings is not done again.
/// `progress` is told the hours done. `None`: `stop` has ended it before its end.
///
/// # Errors
/// The file cannot be used, or the meter on the stage does not work.
pub fn live(
    settings: &Settings,
    file: Option<&Path>,
    progress: &(dyn Fn(f64) + Sync),
    stop: &AtomicBool,
) -> Result<Option<Vec<Lived>>, Failure> {
    let watches = settings.watches();
    let done = match file {
        Some(file) => checkpoint::open(file, settings, watches.len())?,
        None => vec![None; watches.len()],
    };
    let frames = |done: &[Option<Lived>]| done.iter().flatten().map(|lived| lived.frames).sum::<u64>();
    let left: Vec<_> = (0..watches.len()).filter(|&number| done[number].is_none()).collect();
    let done = Mutex::new(done);
    let result = spread::spread(left.len(), stop, |k| {
        let number = left[k];
        let Some(lived) = watch(settings, watches[number], number as u64, stop)? else { return Ok(()) };
        let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        done[number] = Some(lived);
        progress(frames(&done) as f64 / FRAMES_PER_HOUR as f64);
        match file {
            Some(file) => Ok(checkpoint::save(file, settings, &done)?),
            None => Ok(()),
        }
    });
    result?;
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(done) = done.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let mut places = vec![Lived::default(); PLACES.len()];
    for (watch, lived) in watches.iter().zip(&done) {
        places[watch.place].add(lived);
    }
    Ok(Some(places))
}

/// Lives through one watch; `None` when it was stopped.
fn watch(
    settings: &Settings,
    watch: Watch,
    number: u64,
    stop: &AtomicBool,
) -> Result<Option<Lived>, Failure> {
    let kind = PLACES[watch.place];
    let seed = settings.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number;
    let mut thresholds = settings.fault.map_or(Thresholds::STANDARD, Fault::thresholds);
    thresholds.generation_expected |= u32::from(kind == SiteKind::HomeSolar);
    let start = UnixMillis(i64::from(watch.first_hour) * 3_600_000);
    let mut stage = Stage::open(kind, seed, thresholds, start)?;
    let mut life = NormalLife::new(kind, seed, start);
    let mut lived = Lived { watches: 1, millikelvin: [u32::MAX, 0], ..Lived::default() };
    let end = FRAMES_PER_HOUR * u64::from(watch.hours);
    while stage.frames() < end && lived.alarms.len() < ALARMS_MAX {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        while let Some(disturbance) = life.until(stage.frames()) {
            stage.site.disturb(disturbance);
        }
        let millikelvin = stage.step()?.temperature_millikelvin;
        let [lowest, highest] = &mut lived.millikelvin;
        (*lowest, *highest) = ((*lowest).min(millikelvin), (*highest).max(millikelvin));
        lived.extreme_readings[0] += u64::from(millikelvin <= COLD_MILLIKELVIN);
        lived.extreme_readings[1] += u64::from(millikelvin >= HOT_MILLIKELVIN);
        if stage.has_entries() {
            lived.alarms.extend(stage.take_entries()?.into_iter().map(|entry| Alarm {
                place: watch.place,
                unix_millis: entry.time.0,
                code: entry.code as u8,
                extreme: entry.extreme,
            }));
        }
    }
    lived.frames = stage.frames();
    lived.happenings = life.counts().to_vec();
    Ok(Some(lived))
}

const FRAMES_PER_HOUR: u64 = Site::SAMPLE_RATE as u64 * 3600;
/// −35 °C.
const COLD_MILLIKELVIN: u32 = 238_150;
/// 80 °C.
const HOT_MILLIKELVIN: u32 = 353_150;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_cover_the_hours_of_each_place_once_and_all_times_of_day() {
        for hours in [0, 1, 2, 3, 7, 24, 1000, 1001] {
            let watches = Settings { hours, seed: 1, fault: None }.watches();
            assert_eq!(watches.iter().map(|watch| watch.hours).sum::<u32>(), hours);
            for place in 0..PLACES.len() {
                let mut next = 0;
                for watch in watches.iter().filter(|watch| watch.place == place) {
                    assert!(watch.first_hour == next && (1..=WATCH_HOURS).contains(&watch.hours));
                    next += watch.hours;
                }
                assert!(next.abs_diff(hours / 3) <= 1, "{hours}: {next}");
            }
        }
    }
}
