//! What checking a file found, in words: what is proven, what is not, and what is broken.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::str::FromStr;

use meterseal_model::MeterId;

use crate::key::SealPublicKey;

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It follows from the file and its signatures.
    Proven,
    /// The file cannot show it; somebody has to look elsewhere.
    NotProven,
    /// It contradicts the signatures or itself: the file was altered, or is not what it says.
    Broken,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub outcome: Outcome,
    /// A short name, stable, for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// All that was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whose log it is about.
    pub meter: Option<MeterId>,
    /// The key that signed, as it is printed on the meter ([`printed_fingerprint`]).
    pub fingerprint: Option<String>,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is broken.
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.outcome != Outcome::Broken)
    }

    /// The findings of one kind.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.outcome == outcome)
    }

    /// Whether something with this code and outcome was found.
    pub fn has(&self, outcome: Outcome, code: &str) -> bool {
        self.of(outcome).any(|finding| finding.code == code)
    }

    pub(crate) fn proven(&mut self, code: &'static str, text: impl Into<String>) {
        self.add(Outcome::Proven, code, text);
    }

    pub(crate) fn not_proven(&mut self, code: &'static str, text: impl Into<String>) {
        self.add(Outcome::NotProven, code, text);
    }

    /// Adds something broken. Beyond [`MAX_BROKEN`] more of it is not listed.
    pub(crate) fn broken(&mut self, code: &'static str, text: impl Into<String>) {
        let found = self.of(Outcome::Broken).count();
        if found < MAX_BROKEN {
            self.add(Outcome::Broken, code, text);
        } else if found == MAX_BROKEN {
            self.add(Outcome::Broken, "more", "There is more that does not hold.");
        }
    }

    /// Adds a finding.
    pub fn add(&mut self, outcome: Outcome, code: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { outcome, code, text: text.into() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (outcome, title) in [
            (Outcome::Broken, "DOES NOT HOLD"),
            (Outcome::Proven, "Proven"),
            (Outcome::NotProven, "Not proven"),
        ] {
            for (place, finding) in self.of(outcome).enumerate() {
                if place == 0 {
                    writeln!(f, "{title}:")?;
                }
                writeln!(f, "  - {}", finding.text)?;
            }
        }
        Ok(())
    }
}

/// A key's fingerprint as it is printed on a meter: the first 16 bytes of SHA-384 over its public key (DER), in eight
/// groups of four hexadecimal digits.
pub fn printed_fingerprint(key: &SealPublicKey) -> String {
    let mut text = String::new();
    for (place, pair) in key.fingerprint().0[..Fingerprint::SHORT].chunks(2).enumerate() {
        let dash = if place == 0 { "" } else { "-" };
        // A String takes every write.
        let _ = write!(text, "{dash}{:02x}{:02x}", pair[0], pair[1]);
    }
    text
}

/// A fingerprint that a person read somewhere: its first 16 bytes, or all 48.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    const SHORT: usize = 16;
    const FULL: usize = 48;

    /// Whether it is that of this key.
    pub fn is_of(&self, key: &SealPublicKey) -> bool {
        key.fingerprint().0.starts_with(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Hexadecimal digits; spaces, hyphens and colons between them do not matter.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text
            .chars()
            .filter(|character| !matches!(character, ' ' | '-' | ':'))
            .map(|character| character.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<Vec<u8>>>()
            .ok_or(FingerprintError)?;
        if digits.len() != 2 * Self::SHORT && digits.len() != 2 * Self::FULL {
            return Err(FingerprintError);
        }
        Ok(Self(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FingerprintError;

impl fmt::Display for FingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is 32 hexadecimal digits, as printed on the meter, or all 96")
    }
}

impl core::error::Error for FingerprintError {}

/// How much that is broken is listed.
const MAX_BROKEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::fixed_key;

    #[test]
    fn a_fingerprint_is_read_as_it_is_printed() {
        let key = fixed_key(3).public().clone();
        let printed = printed_fingerprint(&key);
        assert_eq!(printed.len(), 39);
        assert!(printed.parse::<Fingerprint>().unwrap().is_of(&key));
        assert!(alloc::format!("{}", key.fingerprint()).parse::<Fingerprint>().unwrap().is_of(&key));
        assert!(printed.replace('-', " ").to_uppercase().parse::<Fingerprint>().unwrap().is_of(&key));
        assert!(!printed.parse::<Fingerprint>().unwrap().is_of(fixed_key(4).public()));
        for wrong in ["", "12", &printed[..38], "zz", &alloc::format!("{printed}0")] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError), "{wrong}");
        }
    }
}
