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

/// A unit's kind and how many volts or amperes it is.
pub(super) fn unit(text: &str) -> Option<(Kind, f64)> {
    let text: String = text.chars().filter(|c| c.is_alphabetic()).collect();
    let lower = text.to_lowercase();
    let word = |word: &str| -> Option<Kind> {
        match word {
            "v" | "volt" | "volts" | "vrms" | "vac" | "vpk" | "vpeak" => Some(Kind::Voltage),
            "a" | "amp" | "amps" | "ampere" | "amperes" | "ampère" | "arms" | "aac" | "apk" | "apeak" => {
                Some(Kind::Current)
            }
            _ => None,
        }
    };
    if let Some(kind) = word(&lower) {
        return Some((kind, 1.0));
    }
    let factors = [
        ("kilo", 1e3),
        ("milli", 1e-3),
        ("micro", 1e-6),
        ("mega", 1e6),
        ("k", 1e3),
        ("µ", 1e-6),
        ("μ", 1e-6),
        ("u", 1e-6),
    ];
    for (prefix, factor) in factors {
        if let Some(kind) = lower.strip_prefix(prefix).and_then(word) {
            return Some((kind, factor));
        }
    }
    let kind = lower.strip_prefix('m').and_then(word)?;
    Some((kind, if text.starts_with('M') { 1e6 } else { 1e-3 }))
}

/// The place by the phase field, then by the name.
pub(super) fn place(channel: &AnalogChannel, kind: Kind) -> Option<Place> {
    let field = channel.phase.to_uppercase();
    let windings = match field.trim() {
        "U" => Some(Place::Phase(0)),
        "V" => Some(Place::Phase(1)),
        "W" => Some(Place::Phase(2)),
        _ => None,
    };
    windings.or_else(|| by_words(&field, kind)).or_else(|| by_words(&channel.name.to_uppercase(), kind))
}

fn by_words(text: &str, kind: Kind) -> Option<Place> {
    let joined: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let letters: &[&str] = match kind {
        Kind::Voltage => &["VOLTAGE", "VOLT", "U", "V", "E"],
        Kind::Current => &["CURRENT", "AMP", "I"],
    };
    let behind = |word: &str| {
        letters.iter().find_map(|letter| {
            let rest = word.strip_prefix(letter)?;
            // Some relays add the winding's letter: IAW, VBY.
            by_letters(rest).or_else(|| by_letters(rest.strip_suffix(['W', 'X', 'Y', 'Z'])?))
        })
    };
    let plain = |word: &str| {
        let rest =
            ["PHASE", "PH", "LINE"].iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word);
        by_letters(rest)
    };
    // The whole first (`V-A`, `UL1-L2`), then a word with the quantity's letter, then a bare phase.
    behind(&joined)
        .or_else(|| plain(&joined))
        .or_else(|| words.iter().find_map(|word| behind(word)))
        .or_else(|| words.iter().find_map(|word| plain(word)))
        .or_else(|| words.contains(&"NEUTRAL").then_some(Place::Neutral))
}

/// `A`, `L1`, `1`, `R`, `AN`, `L1N`, `AB`, `L1L2`, `N`, `4` …
fn by_letters(text: &str) -> Option<Place> {
    let mut rest = text;
    let mut element = || -> Option<Option<usize>> {
        let body = rest.strip_prefix('L').unwrap_or(rest);
        let letter = body.chars().next()?;
        rest = &body[letter.len_utf8()..];
        match letter {
            'A' | 'R' | '1' => Some(Some(0)),
            'B' | 'S' | '2' => Some(Some(1)),
            'C' | 'T' | '3' => Some(Some(2)),
            'N' | 'G' | 'E' | '0' | '4' => Some(None),
            _ => None,
        }
    };
    let first = element()?;
    let second = element();
    if !rest.is_empty() {
        return None;
    }
    match (first, second) {
        (Some(phase), None | Some(None)) => Some(Place::Phase(phase)),
        (Some(from), Some(Some(to))) if from != to => Some(Place::Between(from, to)),
        (None, None) => Some(Place::Neutral),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(name: &str, phase: &str, unit: &str) -> Option<(Kind, Place)> {
        let channel = AnalogChannel::new(name, phase, unit, 1.0);
        let kind = kind(&channel)?;
        Some((kind, place(&channel, kind)?))
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
            ("Channel", "", "V", None),
            ("Frequency", "A", "Hz", None),
        ] {
            assert_eq!(placed(name, phase, unit), expected, "{name} {phase}");
        }
    }
}
