//! Quantities as weighted sums of channels, and phase voltages from voltages between phases.

/// A quantity as a weighted sum of channels: one channel, or several where it had to be derived.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    pub(super) terms: Vec<(usize, f64)>,
    /// The channels' names, for people.
    pub name: String,
}

impl Signal {
    /// Its value in volts or amperes, from a row's channel values.
    pub fn value(&self, analogs: &[f64]) -> f64 {
        self.terms
            .iter()
            .map(|&(channel, factor)| analogs.get(channel).map_or(f64::NAN, |x| x * factor))
            .sum()
    }

    /// The channels it is made of, by their place in the recording.
    pub fn channels(&self) -> impl Iterator<Item = usize> + '_ {
        self.terms.iter().map(|&(channel, _)| channel)
    }

    /// Channel and factor, where it is one channel.
    pub(crate) fn direct(&self) -> Option<(usize, f64)> {
        if let [term] = self.terms[..] { Some(term) } else { None }
    }

    pub(super) fn sum(parts: &[(&Self, f64)]) -> Self {
        let mut terms: Vec<(usize, f64)> = Vec::new();
        for (signal, weight) in parts {
            for &(channel, factor) in &signal.terms {
                match terms.iter_mut().find(|(known, _)| *known == channel) {
                    Some((_, sum)) => *sum += factor * weight,
                    None => terms.push((channel, factor * weight)),
                }
            }
        }
        let names: Vec<&str> = parts.iter().map(|(signal, _)| signal.name.as_str()).collect();
        Self { terms, name: names.join(", ") }
    }
}

/// Phase voltages against the point at which the three sum to zero.
pub(super) fn phase_voltages(between: [Option<Signal>; 3], notes: &mut Vec<String>) -> [Option<Signal>; 3] {
    let missing = between.iter().position(Option::is_none);
    let [v12, v23, v31] = match (between, missing) {
        ([Some(a), Some(b), Some(c)], _) => [a, b, c],
        (between, Some(missing)) => {
            let mut found: Vec<Signal> = between.iter().flatten().cloned().collect();
            if found.len() < 2 {
                if let Some(only) = &found.first() {
                    notes.push(format!("{} is the only voltage, between two phases; taken as V1", only.name));
                }
                return [found.pop(), None, None];
            }
            let derived = Signal::sum(&[(&found[0], -1.0), (&found[1], -1.0)]);
            found.insert(missing, derived);
            let mut all = found.into_iter();
            match (all.next(), all.next(), all.next()) {
                (Some(a), Some(b), Some(c)) => [a, b, c],
                _ => return [None, None, None],
            }
        }
        (_, None) => return [None, None, None],
    };
    notes.push(
        "only voltages between phases were recorded; phase voltages are against the artificial neutral"
            .to_owned(),
    );
    let third = 1.0 / 3.0;
    [
        Some(Signal::sum(&[(&v12, third), (&v31, -third)])),
        Some(Signal::sum(&[(&v23, third), (&v12, -third)])),
        Some(Signal::sum(&[(&v31, third), (&v23, -third)])),
    ]
}
