//! Finds the voltages and currents of a recording by unit, phase and name, or as a person says.
//!
//! The phase field is believed first, then the name: `L1`, `A`, `R`, `1`, `A-N`, and the same behind `U`, `V`, `I`
//! or a word (`UL1`, `IA`, `V1`, `Phase A voltage`). `4`, `0`, `N`, `G` and `E` are the neutral. Where only
//! line-to-line voltages were recorded, phase voltages are made against the artificial neutral point; with the
//! currents of three wires that gives the true total power (Blondel's theorem).

mod names;
mod signal;

pub use signal::Signal;

use crate::comtrade::{AnalogChannel, Error as RecordingError, Recording, Side};
use names::{Kind, Lettering, Place};
use signal::phase_voltages;

/// Where a recording's three phases are.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// L1, L2, L3 to neutral, volts.
    pub voltages: [Option<Signal>; 3],
    /// L1, L2, L3, amperes.
    pub currents: [Option<Signal>; 3],
    /// The neutral conductor, amperes.
    pub neutral_current: Option<Signal>,
    /// What was assumed, in words that a person understands.
    pub notes: Vec<String>,
}

/// Why a recording's channels cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing in volts.
    #[error("{path}: no voltage channel is among {found}; name one with --map V1=NAME or V1=#NUMBER")]
    NoVoltage {
        /// The configuration.
        path: String,
        /// All channels.
        found: String,
    },
    /// More than one channel for a phase.
    #[error(
        "{path}: {quantity} can be {candidates}; choose with --map {quantity}=NAME or {quantity}=#NUMBER"
    )]
    Ambiguous {
        /// The configuration.
        path: String,
        /// `V1` for example.
        quantity: String,
        /// The channels.
        candidates: String,
    },
    /// Some phases were found, but not what belongs to them.
    #[error("{path}: {what}; there are {found}; say which is which with --map V1=NAME,I1=#NUMBER…")]
    Incomplete {
        /// The configuration.
        path: String,
        /// What is missing.
        what: String,
        /// All channels.
        found: String,
    },
    /// A name that no channel has.
    #[error("{path}: there is no channel {wanted:?} for {quantity}; there are {found}")]
    UnknownChannel {
        /// The configuration.
        path: String,
        /// The quantity that was to be mapped.
        quantity: String,
        /// What was asked for.
        wanted: String,
        /// All channels.
        found: String,
    },
    /// A map that cannot be read.
    #[error(
        "cannot read {part:?} in the map; write V1=NAME,I1=NAME… with V1 to V3, I1 to I3 and IN, or #NUMBER for a name"
    )]
    Map {
        /// The part.
        part: String,
    },
    /// A channel whose numbers all become the same value.
    #[error(
        "{path}, line {line}: channel {channel:?} has the multiplier 0, so it measures nothing; correct it"
    )]
    ZeroMultiplier {
        /// The configuration.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The channel's name.
        channel: String,
    },
    /// A ratio that is none.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// Finds voltages and currents. `overrides` is a person's word, as in `V1=U1,I1=#5,IN=none`; values are given out
/// on `side`, or on the side that each channel's PS flag names.
pub fn find(recording: &Recording, overrides: Option<&str>, side: Option<Side>) -> Result<Mapping, Error> {
    let finder = Finder { recording, side };
    let mut slots = Slots::default();
    let told = finder.told(overrides.unwrap_or_default(), &mut slots)?;
    finder.guess(&told, &mut slots)?;
    finder.finish(slots, told.quantities.contains(&true))
}

/// The quantities in the order of a frame: V1–V3, I1–I3, neutral current.
const QUANTITIES: [&str; 7] = ["V1", "V2", "V3", "I1", "I2", "I3", "IN"];

struct Finder<'a> {
    recording: &'a Recording,
    side: Option<Side>,
}

#[derive(Default)]
struct Slots {
    direct: [Option<Signal>; 7],
    /// V12, V23, V31.
    between: [Option<Signal>; 3],
    notes: Vec<String>,
    /// Channels in volts, and in amperes, whose names tell no place.
    nowhere: [Vec<usize>; 2],
}

/// What a person said: which quantities, and which channels they used.
#[derive(Default)]
struct Told {
    quantities: [bool; 7],
    channels: Vec<usize>,
}

impl Finder<'_> {
    fn channels(&self) -> &[AnalogChannel] {
        &self.recording.config().analogs
    }

    fn path(&self) -> String {
        self.recording.config_path().to_owned()
    }

    fn told(&self, text: &str, slots: &mut Slots) -> Result<Told, Error> {
        let mut told = Told::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = || Error::Map { part: part.to_owned() };
            let (key, name) = part.split_once('=').ok_or_else(bad)?;
            let quantity = quantity(key.trim()).ok_or_else(bad)?;
            if std::mem::replace(&mut told.quantities[quantity], true) {
                return Err(bad());
            }
            if let Some(channel) = self.named(QUANTITIES[quantity], name.trim())? {
                let kind = if quantity < 3 { Kind::Voltage } else { Kind::Current };
                slots.direct[quantity] = Some(self.signal(channel, kind)?);
                if told.channels.contains(&channel) {
                    let name = &self.channels()[channel].name;
                    slots.notes.push(format!("channel {name:?} is mapped more than once"));
                }
                told.channels.push(channel);
                let it = &self.channels()[channel];
                if names::unit(&it.unit).is_none_or(|(its_kind, _)| its_kind != kind) {
                    let (name, unit, what) =
                        (&it.name, &it.unit, if quantity < 3 { "volts" } else { "amperes" });
                    slots
                        .notes
                        .push(format!("channel {name:?} is in {unit:?}; its numbers are taken as {what}"));
                }
            }
        }
        Ok(told)
    }

    /// The channel of this name or `#number`; nothing for `none`.
    fn named(&self, quantity: &str, wanted: &str) -> Result<Option<usize>, Error> {
        let channels = self.channels();
        let unknown = || Error::UnknownChannel {
            path: self.path(),
            quantity: quantity.to_owned(),
            wanted: wanted.to_owned(),
            found: self.list(0..channels.len()),
        };
        if let Some(number) = wanted.strip_prefix('#') {
            let number =
                number.trim().parse::<usize>().ok().filter(|number| (1..=channels.len()).contains(number));
            return number.map(|number| Some(number - 1)).ok_or_else(unknown);
        }
        let with = |matches: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..channels.len()).filter(|k| matches(channels[*k].name.trim())).collect()
        };
        let exact = with(&|name| name == wanted);
        let found =
            if exact.is_empty() { with(&|name| name.to_lowercase() == wanted.to_lowercase()) } else { exact };
        match found[..] {
            [channel] => Ok(Some(channel)),
            [] if wanted.is_empty() || wanted.eq_ignore_ascii_case("none") => Ok(None),
            [] => Err(unknown()),
            _ => Err(self.ambiguous(quantity, &found)),
        }
    }

    fn guess(&self, told: &Told, slots: &mut Slots) -> Result<(), Error> {
        let lettering = Lettering::of(self.channels());
        for kind in [Kind::Voltage, Kind::Current] {
            let range = if kind == Kind::Voltage { 0..3 } else { 3..7 };
            let mut candidates: [Vec<usize>; 7] = Default::default();
            let mut between: [Vec<(usize, f64)>; 3] = Default::default();
            let mut nowhere = Vec::new();
            for (k, channel) in self.channels().iter().enumerate() {
                if told.channels.contains(&k) || names::kind(channel) != Some(kind) {
                    continue;
                }
                match names::place(channel, kind, lettering) {
                    Some(Place::Phase(phase)) => candidates[range.start + phase].push(k),
                    Some(Place::Neutral) if kind == Kind::Current => candidates[6].push(k),
                    Some(Place::Neutral) => {}
                    // No current flows between phases in a frame.
                    Some(Place::Between(..)) if kind == Kind::Current => nowhere.push(k),
                    Some(Place::Between(from, to)) => {
                        // V12, V23, V31 run in a circle; the other way round they are negative.
                        let forward = (from + 1) % 3 == to;
                        between[if forward { from } else { to }].push((k, if forward { 1.0 } else { -1.0 }));
                    }
                    None => nowhere.push(k),
                }
            }
            let told_some = range.clone().any(|quantity| told.quantities[quantity]);
            if candidates.iter().all(Vec::is_empty) && between.iter().all(Vec::is_empty) && !told_some {
                self.in_order(kind, &nowhere, &mut candidates, &mut slots.notes)?;
            }
            if !told_some {
                // What was taken in order has a place.
                nowhere.retain(|k| !candidates.iter().any(|found| found.contains(k)));
                slots.nowhere[usize::from(kind == Kind::Current)] = nowhere;
            }
            for quantity in range {
                match candidates[quantity][..] {
                    _ if told.quantities[quantity] => {}
                    [] => {}
                    [channel] => slots.direct[quantity] = Some(self.signal(channel, kind)?),
                    // Relays have several (IN, IG, 3I0); none of them changes what the phases measure.
                    [first, ..] if quantity == 6 => {
                        slots.direct[6] = Some(self.signal(first, kind)?);
                        let list = self.list(candidates[6].iter().copied());
                        slots.notes.push(format!("neutral current: the first of {list}"));
                    }
                    _ => return Err(self.ambiguous(QUANTITIES[quantity], &candidates[quantity])),
                }
            }
            if kind == Kind::Voltage && !told_some && slots.direct[..3].iter().all(Option::is_none) {
                for (slot, found) in slots.between.iter_mut().zip(&between) {
                    match found[..] {
                        [] => {}
                        [(channel, sign)] => {
                            *slot = Some(Signal::sum(&[(&self.signal(channel, kind)?, sign)]));
                        }
                        _ => {
                            let channels: Vec<usize> = found.iter().map(|(channel, _)| *channel).collect();
                            return Err(self.ambiguous("V1", &channels));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Channels without any phase: one, or three in the order in which people write them.
    fn in_order(
        &self,
        kind: Kind,
        channels: &[usize],
        candidates: &mut [Vec<usize>; 7],
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        let first = if kind == Kind::Voltage { 0 } else { 3 };
        match channels.len() {
            0 => {}
            1 => candidates[first].push(channels[0]),
            3 => {
                notes.push(format!(
                    "{} have no phase; taken as L1, L2, L3 in this order",
                    self.list(channels.iter().copied())
                ));
                for (k, channel) in channels.iter().enumerate() {
                    candidates[first + k].push(*channel);
                }
            }
            _ => return Err(self.ambiguous(QUANTITIES[first], channels)),
        }
        Ok(())
    }

    fn finish(&self, slots: Slots, told: bool) -> Result<Mapping, Error> {
        let Slots { direct: [v1, v2, v3, i1, i2, i3, neutral], between, mut notes, nowhere } = slots;
        let mut voltages = [v1, v2, v3];
        let mut currents = [i1, i2, i3];
        if voltages.iter().all(Option::is_none) {
            voltages = phase_voltages(between, &mut notes);
            if let [Some(first), None, Some(third)] = &currents
                && neutral.is_none()
                && voltages.iter().all(Option::is_some)
            {
                notes.push("the current of L2 is minus the sum of the other two (three wires)".to_owned());
                currents[1] = Some(Signal::sum(&[(first, -1.0), (third, -1.0)]));
            }
        }
        if voltages.iter().all(Option::is_none) {
            return Err(Error::NoVoltage { path: self.path(), found: self.list(0..self.channels().len()) });
        }
        if currents.iter().all(Option::is_none) {
            notes.push("no current channel was found: powers are zero".to_owned());
        }
        let mut mapping = Mapping { voltages, currents, neutral_current: neutral, notes };
        if let Some(what) = self.incomplete(&mapping, &nowhere) {
            if !told {
                return Err(Error::Incomplete {
                    path: self.path(),
                    what,
                    found: self.list(0..self.channels().len()),
                });
            }
            mapping.notes.push(what);
        }
        Ok(self.with_notes_on_sides(mapping))
    }

    /// A zero in place of a quantity that the recording has would look like a measurement.
    fn incomplete(&self, mapping: &Mapping, nowhere: &[Vec<usize>; 2]) -> Option<String> {
        let without: Vec<&str> = (0..3)
            .filter(|k| mapping.currents[*k].is_some() && mapping.voltages[*k].is_none())
            .map(|k| ["L1", "L2", "L3"][k])
            .collect();
        if !without.is_empty() {
            return Some(format!("{} has a current but no voltage", without.join(", ")));
        }
        // Beside three phases that were recorded (not derived), a battery or a residual current is nobody's phase.
        let found = [&mapping.voltages, &mapping.currents];
        let left: Vec<usize> = found
            .iter()
            .zip(nowhere)
            .filter(|(found, _)| {
                found.iter().any(|signal| signal.as_ref().and_then(Signal::direct).is_none())
            })
            .flat_map(|(_, nowhere)| nowhere.iter().copied())
            .collect();
        (!left.is_empty()).then(|| format!("no phase can be told for {}", self.list(left.into_iter())))
    }

    /// Mixed sides and skews change powers: a person should know.
    fn with_notes_on_sides(&self, mut mapping: Mapping) -> Mapping {
        let used = |mapping: &Mapping| -> Vec<usize> {
            mapping
                .signals()
                .into_iter()
                .flatten()
                .flat_map(|signal| signal.channels().collect::<Vec<_>>())
                .collect()
        };
        let channels: Vec<&AnalogChannel> = used(&mapping).into_iter().map(|k| &self.channels()[k]).collect();
        let transformed = |side| channels.iter().any(|c| c.side == side && c.primary != c.secondary);
        if self.side.is_none() && transformed(Side::Primary) && transformed(Side::Secondary) {
            mapping.notes.push(
                "some channels are in primary values and some in secondary ones: use --primary or --secondary"
                    .to_owned(),
            );
        }
        let skews = channels.iter().map(|channel| channel.skew_us);
        let (low, high) =
            skews.fold((f64::MAX, f64::MIN), |(low, high), skew| (low.min(skew), high.max(skew)));
        if high > low {
            mapping
                .notes
                .push(format!("channels are skewed by up to {} µs, which is not corrected", high - low));
        }
        mapping
    }

    fn signal(&self, channel: usize, kind: Kind) -> Result<Signal, Error> {
        let it = &self.channels()[channel];
        if it.multiplier == 0.0 {
            return Err(Error::ZeroMultiplier { path: self.path(), line: it.line, channel: it.name.clone() });
        }
        let factor = self.recording.factor_to(it, self.side.unwrap_or(it.side))?;
        // A person may map a channel whose unit says nothing: then it is in volts or amperes.
        let unit =
            names::unit(&it.unit).filter(|(its_kind, _)| *its_kind == kind).map_or(1.0, |(_, factor)| factor);
        Ok(Signal { terms: vec![(channel, factor * unit)], name: it.name.clone() })
    }

    fn ambiguous(&self, quantity: &str, channels: &[usize]) -> Error {
        let candidates = self.list(channels.iter().copied());
        Error::Ambiguous { path: self.path(), quantity: quantity.to_owned(), candidates }
    }

    fn list(&self, channels: impl Iterator<Item = usize>) -> String {
        const MOST: usize = 24;
        let mut names: Vec<String> = channels
            .take(MOST + 1)
            .map(|k| format!("#{} {:?} ({})", k + 1, self.channels()[k].name, self.channels()[k].unit))
            .collect();
        if names.len() > MOST {
            names[MOST] = "…".to_owned();
        }
        if names.is_empty() { "no analogue channels".to_owned() } else { names.join(", ") }
    }
}

impl Mapping {
    /// Every quantity in the order of a frame: V1–V3, I1–I3, neutral current.
    pub fn signals(&self) -> [Option<&Signal>; 7] {
        let [v1, v2, v3] = self.voltages.each_ref().map(Option::as_ref);
        let [i1, i2, i3] = self.currents.each_ref().map(Option::as_ref);
        [v1, v2, v3, i1, i2, i3, self.neutral_current.as_ref()]
    }
}

fn quantity(key: &str) -> Option<usize> {
    let key = key.to_ascii_uppercase().replacen('U', "V", 1);
    QUANTITIES.iter().position(|name| *name == key).or((key == "I4").then_some(6))
}
