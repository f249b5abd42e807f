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
    // `U1(t)` is a function of time and `IB (A)` is in amperes: neither ends in a phase, if another is there.
    let name = channel.name.trim();
    let mut endings = vec!["(t)"];
    if kind == Kind::Current {
        endings.extend(["(A)", "[A]"]);
    }
    let bare = endings.iter().find_map(|ending| name.strip_suffix(ending));
    windings
        .or_else(|| words(&field))
        .or_else(|| words(&bare?.to_uppercase()))
        .or_else(|| words(&name.to_uppercase()))
}

fn by_words(text: &str, kind: Kind, lettering: Lettering) -> Option<Place> {
    // Nouns tell no phase, and the last letter of VOLTS is not phase S.
    const NOUNS: [&str; 7] = ["VOLTAGE", "VOLT", "VOLTS", "CURRENT", "AMP", "AMPS", ""];
    // Transformers and sources, but only before a phase: alone, VS and VT are the phases S and T.
    const INSTRUMENTS: [&str; 4] = ["VT", "PT", "CT", "VS"];
    let is_bare = |word: &str| {
        let end = word.strip_prefix('L').unwrap_or(word);
        let end = end.strip_suffix('N').unwrap_or(end);
        end.len() == 1 && matches!(by_letters(end, lettering), Some(Place::Phase(_)))
    };
    let mut words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !NOUNS.contains(word)).collect();
    if let [first, second, ..] = words[..]
        && INSTRUMENTS.contains(&first)
        && is_bare(second)
    {
        words.remove(0);
    }
    let joined = words.concat();
    let letters: &[&str] = match kind {
        Kind::Voltage => &["VOLTAGE", "VOLTS", "VOLT", "U", "V", "E", "VT", "PT", "VS"],
        Kind::Current => &["CURRENT", "AMPS", "AMP", "I", "CT"],
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
    // One bare phase that no other word contradicts; behind two digits of a bay (`U12 L1`) it is the phase as well.
    let alone = || {
        let mut bare = words.iter().filter(|word| is_bare(word));
        let (only, None) = (bare.next()?, bare.next()) else { return None };
        let contradicts = |word: &&str| match behind(word) {
            Some(Place::Between(..)) => !only.starts_with('L'),
            found => found.is_some(),
        };
        if words.iter().any(contradicts) { None } else { by_letters(only, lettering) }
    };
    // Then the whole (`V-A`, `UL1-L2`), then two words with the quantity's letter (`V1-V2`), then one, then a bare
    // phase.
    alone()
        .or_else(|| behind(&joined))
        .or_else(|| plain(&joined))
        .or_else(pair)
        .or_else(|| words.iter().find_map(|word| behind(word)))
        .or_else(|| words.iter().find_map(|word| plain(word)))
        .or_else(|| words.contains(&"NEUTRAL").then_some(Place::Neutral))
}

/// One end of a measurement.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The phase, and which alphabet it is from: no voltage is between T and A.
    Letter(usize, Alphabet),
    Digit(usize),
    Neutral,
}

#[derive(Clone, Copy, PartialEq)]
enum Alphabet {
    Abc,
    Rst,
    Colours,
}

/// `A`, `L1`, `1`, `R`, `AN`, `L1N`, `AB`, `L1L2`, `N`, `4`; `A1` and `1A` are phase A of a first set.
fn by_letters(text: &str, lettering: Lettering) -> Option<Place> {
    let (first, rest) = end(text, lettering)?;
    if rest.is_empty() {
        return Some(match first {
            End::Letter(phase, _) | End::Digit(phase) => Place::Phase(phase),
            End::Neutral => Place::Neutral,
        });
    }
    let (second, rest) = end(rest, lettering)?;
    match (first, second) {
        _ if !rest.is_empty() => None,
        (End::Letter(phase, _) | End::Digit(phase), End::Neutral) => Some(Place::Phase(phase)),
        (End::Letter(from, one), End::Letter(to, other)) if from != to && one == other => {
            Some(Place::Between(from, to))
        }
        (End::Digit(from), End::Digit(to)) if from != to => Some(Place::Between(from, to)),
        (End::Letter(phase, _), End::Digit(_)) | (End::Digit(_), End::Letter(phase, _)) => {
            Some(Place::Phase(phase))
        }
        _ => None,
    }
}

fn end(text: &str, lettering: Lettering) -> Option<(End, &str)> {
    let body = text.strip_prefix('L').unwrap_or(text);
    let letter = body.chars().next()?;
    let end = match (letter, lettering) {
        ('R', Lettering::Colours) => End::Letter(0, Alphabet::Colours),
        ('Y', Lettering::Colours) => End::Letter(1, Alphabet::Colours),
        ('B', Lettering::Colours) => End::Letter(2, Alphabet::Colours),
        ('A', _) => End::Letter(0, Alphabet::Abc),
        ('B', _) => End::Letter(1, Alphabet::Abc),
        ('C', _) => End::Letter(2, Alphabet::Abc),
        ('R', _) => End::Letter(0, Alphabet::Rst),
        ('S', _) => End::Letter(1, Alphabet::Rst),
        ('T', _) => End::Letter(2, Alphabet::Rst),
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
    fn words_before_a_phase_are_no_phase() {
        for set in ["A B C", "1 2 3", "R S T", "L1 L2 L3"] {
            for (k, phase) in set.split(' ').enumerate() {
                for before in ["Volts ", "Volts_", "VS ", "VT ", "PT ", "Voltage ", "Volts"] {
                    let name = format!("{before}{phase}");
                    assert_eq!(placed(&name, "", "V"), Some((Kind::Voltage, Place::Phase(k))), "{name}");
                }
                for before in ["Amps ", "Amps_", "CT ", "Current "] {
                    let name = format!("{before}{phase}");
                    assert_eq!(placed(&name, "", "A"), Some((Kind::Current, Place::Phase(k))), "{name}");
                }
            }
        }
        for (k, phase) in ["A", "B", "C"].into_iter().enumerate() {
            for name in ["Volts_L", "VT", "VS", "PT"].map(|before| format!("{before}{phase}")) {
                assert_eq!(placed(&name, "", "V"), Some((Kind::Voltage, Place::Phase(k))), "{name}");
            }
            for name in [format!("CT{phase}"), format!("I{phase} (A)")] {
                assert_eq!(placed(&name, "", "A"), Some((Kind::Current, Place::Phase(k))), "{name}");
            }
        }
        for (k, digit) in ["1", "2", "3"].into_iter().enumerate() {
            for name in [format!("U12 L{digit}"), format!("U{digit}(t)")] {
                assert_eq!(placed(&name, "", "V"), Some((Kind::Voltage, Place::Phase(k))), "{name}");
            }
        }
        for (name, place) in [
            ("VS", Place::Phase(1)),
            ("VT", Place::Phase(2)),
            ("VTR", Place::Between(2, 0)),
            ("V A-B", Place::Between(0, 1)),
            ("U(T)", Place::Phase(2)),
        ] {
            assert_eq!(placed(name, "", "V"), Some((Kind::Voltage, place)), "{name}");
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
