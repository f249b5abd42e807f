//! What recorders call things: units, phases, and names with both in them.

use crate::comtrade::AnalogChannel;

/// What a channel measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Voltage,
    Current,
}

/// Where it measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// 0 to 2.
    Phase(usize),
    Neutral,
    Between(usize, usize),
}

/// Volts or amperes, by the unit; where there is none, by the first letter of the name.
pub(super) fn kind(channel: &AnalogChannel) -> Option<Kind> {
    if channel.unit.trim().is_empty() {
        return match channel.name.trim().chars().next()?.to_ascii_uppercase() {
            'U' | 'V' => Some(Kind::Voltage),
            'I' => Some(Kind::Current),
            _ => None,
        };
    }
    unit(&channel.unit).map(|(kind, _)| kind)
}

/// A unit's kind and how many volts or amperes it is: all its letters, else its first word (`Volts (L-N)`).
pub(super) fn unit(text: &str) -> Option<(Kind, f64)> {
    let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
    let first = text.split(|c: char| !c.is_alphabetic()).find(|word| !word.is_empty())?;
    unit_word(&letters).or_else(|| unit_word(first))
}

fn unit_word(text: &str) -> Option<(Kind, f64)> {
    const VOLTS: [&str; 7] = ["v", "volt", "volts", "vrms", "vac", "vpk", "vpeak"];
    const AMPERES: [&str; 9] = ["a", "amp", "amps", "ampere", "amperes", "arms", "aac", "apk", "apeak"];
    const FACTORS: [(&str, f64); 8] = [
        ("", 1.0),
        ("kilo", 1e3),
        ("milli", 1e-3),
        ("micro", 1e-6),
        ("mega", 1e6),
        ("k", 1e3),
        ("µ", 1e-6),
        ("u", 1e-6),
    ];
    let lower = text.to_lowercase().replace('μ', "µ").replace('è', "e");
    let word = |word: &str| {
        let voltage = VOLTS.contains(&word).then_some(Kind::Voltage);
        voltage.or_else(|| AMPERES.contains(&word).then_some(Kind::Current))
    };
    let found = FACTORS
        .iter()
        .find_map(|(prefix, factor)| Some((lower.strip_prefix(prefix).and_then(word)?, *factor)));
    found.or_else(|| {
        let kind = lower.strip_prefix('m').and_then(word)?;
        Some((kind, if text.starts_with('M') { 1e6 } else { 1e-3 }))
    })
}

/// Which letters a recording gives its phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lettering {
    /// A, B, C; R, S, T; 1, 2, 3.
    Usual,
    /// R, Y, B: red, yellow, blue.
    Colours,
}

impl Lettering {
    /// Colours where there is a phase R and a phase Y.
    pub(super) fn of(channels: &[AnalogChannel]) -> Self {
        let has = |letter: &str| {
            channels.iter().any(|channel| {
                let name = channel.name.trim().to_uppercase();
                let bare = name.trim_start_matches(['U', 'V', 'I']).trim_matches([' ', '_', '-']);
                channel.phase.trim().eq_ignore_ascii_case(letter) || bare == letter
            })
        };
        if has("R") && has("Y") { Self::Colours } else { Self::Usual }
    }
}

/// The place by the phase field, then by the name.
pub(super) fn place(channel: &AnalogChannel, kind: Kind, lettering: Lettering) -> Option<Place> {
    let field = channel.phase.to_uppercase();
    let windings = match field.trim() {
        "U" => Some(Place::Phase(0)),
        "V" => Some(Place::Phase(1)),
        "W" => Some(Place::Phase(2)),
        _ => None,
    };
    let words = |text: &str| by_words(text, kind, lettering);
    windings.or_else(|| words(&field)).or_else(|| words(&channel.name.to_uppercase()))
}

fn by_words(text: &str, kind: Kind, lettering: Lettering) -> Option<Place> {
    let joined: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    // Nouns tell no phase, and the last letter of VOLTS is not phase S.
    const NOUNS: [&str; 7] = ["VOLTAGE", "VOLT", "VOLTS", "CURRENT", "AMP", "AMPS", ""];
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !NOUNS.contains(word)).collect();
    let letters: &[&str] = match kind {
        Kind::Voltage => &["VOLTAGE", "VOLT", "U", "V", "E"],
        Kind::Current => &["CURRENT", "AMP", "I"],
    };
    let behind = |word: &str| {
        letters.iter().find_map(|letter| {
            let rest = word.strip_prefix(letter)?;
            // Some relays add the winding's letter: IAW, VBY.
            by_letters(rest, lettering)
                .or_else(|| by_letters(rest.strip_suffix(['W', 'X', 'Y', 'Z'])?, lettering))
        })
    };
    let plain = |word: &str| {
        let rest =
            ["PHASE", "PH", "LINE"].iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word);
        by_letters(rest, lettering)
    };
    let pair = || {
        let places: Vec<Place> = words.iter().filter_map(|word| behind(word)).collect();
        match places[..] {
            [Place::Phase(from), Place::Phase(to)] if from != to => Some(Place::Between(from, to)),
            _ => None,
        }
    };
    // The whole first (`V-A`, `UL1-L2`), then two words with the quantity's letter (`V1-V2`), then one, then a bare
    // phase.
    behind(&joined)
        .or_else(|| plain(&joined))
        .or_else(pair)
        .or_else(|| words.iter().find_map(|word| behind(word)))
        .or_else(|| words.iter().find_map(|word| plain(word)))
        .or_else(|| words.contains(&"NEUTRAL").then_some(Place::Neutral))
}

/// One end of a measurement.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Letter(usize),
    Digit(usize),
    Neutral,
}

/// `A`, `L1`, `1`, `R`, `AN`, `L1N`, `AB`, `L1L2`, `N`, `4`; `A1` and `1A` are phase A of a first set.
fn by_letters(text: &str, lettering: Lettering) -> Option<Place> {
    let (first, rest) = end(text, lettering)?;
    if rest.is_empty() {
        return Some(match first {
            End::Letter(phase) | End::Digit(phase) => Place::Phase(phase),
            End::Neutral => Place::Neutral,
        });
    }
    let (second, rest) = end(rest, lettering)?;
    match (first, second) {
        _ if !rest.is_empty() => None,
        (End::Letter(phase) | End::Digit(phase), End::Neutral) => Some(Place::Phase(phase)),
        (End::Letter(from), End::Letter(to)) | (End::Digit(from), End::Digit(to)) if from != to => {
            Some(Place::Between(from, to))
        }
        (End::Letter(phase), End::Digit(_)) | (End::Digit(_), End::Letter(phase)) => {
            Some(Place::Phase(phase))
        }
        _ => None,
    }
}

fn end(text: &str, lettering: Lettering) -> Option<(End, &str)> {
    let body = text.strip_prefix('L').unwrap_or(text);
    let letter = body.chars().next()?;
    let end = match (letter, lettering) {
        ('R', _) => End::Letter(0),
        ('Y', Lettering::Colours) => End::Letter(1),
        ('B', Lettering::Colours) => End::Letter(2),
        ('A', _) => End::Letter(0),
        ('B' | 'S', _) => End::Letter(1),
        ('C' | 'T', _) => End::Letter(2),
        ('1', _) => End::Digit(0),
        ('2', _) => End::Digit(1),
        ('3', _) => End::Digit(2),
        ('N' | 'G' | 'E' | '0' | '4', _) => End::Neutral,
        _ => return None,
    };
    Some((end, &body[letter.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(name: &str, phase: &str, unit: &str) -> Option<(Kind, Place)> {
        let channel = AnalogChannel::new(name, phase, unit, 1.0);
        let kind = kind(&channel)?;
        Some((kind, place(&channel, kind, Lettering::Usual)?))
    }

    #[test]
    fn units_in_all_spellings() {
        for (text, expected) in [
            ("V", Some((Kind::Voltage, 1.0))),
            ("volt", Some((Kind::Voltage, 1.0))),
            (" kV ", Some((Kind::Voltage, 1e3))),
            ("KV", Some((Kind::Voltage, 1e3))),
            ("mV", Some((Kind::Voltage, 1e-3))),
            ("MV", Some((Kind::Voltage, 1e6))),
            ("µV", Some((Kind::Voltage, 1e-6))),
            ("[V]", Some((Kind::Voltage, 1.0))),
            ("Volts (L-N)", Some((Kind::Voltage, 1.0))),
            ("V RMS", Some((Kind::Voltage, 1.0))),
            ("ampere", Some((Kind::Current, 1.0))),
            ("Amps", Some((Kind::Current, 1.0))),
            ("kA", Some((Kind::Current, 1e3))),
            ("mA", Some((Kind::Current, 1e-3))),
            ("Hz", None),
            ("W", None),
            ("VA", None),
            ("°C", None),
        ] {
            assert_eq!(unit(text), expected, "{text}");
        }
    }

    #[test]
    fn phases_in_all_spellings() {
        use Kind::{Current, Voltage};
        use Place::{Between, Neutral, Phase};
        for (name, phase, unit, expected) in [
            ("U1", "V1", "volt", Some((Voltage, Phase(0)))),
            ("I4", "I4", "ampere", Some((Current, Neutral))),
            ("VA", "", "V", Some((Voltage, Phase(0)))),
            ("UL2", "", "V", Some((Voltage, Phase(1)))),
            ("Uc", "", "kV", Some((Voltage, Phase(2)))),
            ("IA", "", "A", Some((Current, Phase(0)))),
            ("IL3", "", "A", Some((Current, Phase(2)))),
            ("IN", "", "A", Some((Current, Neutral))),
            ("V-A", "", "V", Some((Voltage, Phase(0)))),
            ("Van", "", "V", Some((Voltage, Phase(0)))),
            ("Vab", "", "V", Some((Voltage, Between(0, 1)))),
            ("UL3-L1", "", "V", Some((Voltage, Between(2, 0)))),
            ("U23", "", "V", Some((Voltage, Between(1, 2)))),
            ("Bus 1 VB", "", "V", Some((Voltage, Phase(1)))),
            ("Phase C voltage", "", "V", Some((Voltage, Phase(2)))),
            ("Voltage L1", "", "V", Some((Voltage, Phase(0)))),
            ("anything", "B", "V", Some((Voltage, Phase(1)))),
            ("anything", "L2-N", "V", Some((Voltage, Phase(1)))),
            ("anything", "W", "V", Some((Voltage, Phase(2)))),
            ("IAW", "", "A", Some((Current, Phase(0)))),
            ("Strom", "T", "A", Some((Current, Phase(2)))),
            ("Neutral current", "", "A", Some((Current, Neutral))),
            ("V2", "", "", Some((Voltage, Phase(1)))),
            ("Va(V)", "", "V", Some((Voltage, Phase(0)))),
            ("V1-V2", "", "V", Some((Voltage, Between(0, 1)))),
            ("UL3 - UL1", "", "V", Some((Voltage, Between(2, 0)))),
            ("VB1", "", "V", Some((Voltage, Phase(1)))),
            ("V1C", "", "V", Some((Voltage, Phase(2)))),
            ("U_L2", "", "V", Some((Voltage, Phase(1)))),
            ("UL2N", "", "V", Some((Voltage, Phase(1)))),
            ("Line Voltage A", "", "V", Some((Voltage, Phase(0)))),
            ("VAX", "", "V", Some((Voltage, Phase(0)))),
            ("VBAT", "", "V", None),
            ("CH1", "", "V", None),
            ("Channel", "", "V", None),
            ("Frequency", "A", "Hz", None),
        ] {
            assert_eq!(placed(name, phase, unit), expected, "{name} {phase}");
        }
    }

    #[test]
    fn red_yellow_blue() {
        let channels = ["VR", "VY", "VB", "IR", "IY", "IB"].map(|name| AnalogChannel::new(name, "", "", 1.0));
        let lettering = Lettering::of(&channels);
        assert_eq!(lettering, Lettering::Colours);
        for (k, channel) in channels.iter().enumerate() {
            let kind = kind(channel).unwrap();
            assert_eq!(place(channel, kind, lettering), Some(Place::Phase(k % 3)), "{}", channel.name);
        }
    }
}
