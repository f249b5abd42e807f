//! The catalogue of requirements: data, in the files of `catalogue/`, and what of it a run can test.
//!
//! Sentences are our own. A number that is known from memory only is marked, and is shown as "not verified against the
//! standard's text"; the national scheme's own numbers are to be confirmed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a requirement is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// It consists of others: met when all of them are.
    Parts,
    /// A procedure tests it.
    Tested,
    /// A person looks at the maker's evidence and gives the result.
    Inspected,
    /// No bench of this kind can: it is never counted as passed.
    NotTestable,
}

impl Method {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Parts => "consists of others",
            Self::Tested => "tested",
            Self::Inspected => "inspected from evidence",
            Self::NotTestable => "not testable here",
        }
    }
}

/// What a procedure needs beside the meter's network address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A source of voltage and current with a reference standard.
    Load,
    /// A climate chamber.
    Climate,
    /// Field coils or magnets.
    Magnet,
    /// Covers that can be opened.
    Covers,
    /// A surge generator.
    Surge,
    /// A mount that tilts.
    Tilt,
    /// Dips and interruptions of the supply.
    Supply,
    /// A switch for the supply.
    Power,
    /// The means to take the place of head-end and clients, with certificates of any kind.
    Peer,
    /// A look at what passes on the wire.
    Tap,
    /// A radio whose faults can be set.
    Radio,
    /// Access to the meter's memory.
    Memory,
}

impl Need {
    /// In words that go with "the bench has no".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Load => "source of voltage and current with a reference standard",
            Self::Climate => "climate chamber",
            Self::Magnet => "field coils or magnets",
            Self::Covers => "means to open covers",
            Self::Surge => "surge generator",
            Self::Tilt => "mount that tilts",
            Self::Supply => "means for dips and interruptions of the supply",
            Self::Power => "switch for the supply",
            Self::Peer => "network address and credentials of the meter for callers of its own",
            Self::Tap => "tap on the meter's network",
            Self::Radio => "radio whose faults can be set",
            Self::Memory => "access to the meter's memory",
        }
    }
}

/// One requirement.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Its identifier, stable.
    pub id: String,
    /// Those that it is a part of.
    #[serde(default)]
    pub part_of: Vec<String>,
    /// Where it comes from.
    pub source: String,
    /// Known from memory: not verified against the standard's text.
    #[serde(default)]
    pub unverified: bool,
    /// What it demands, in our own words.
    pub text: String,
    /// How it is dealt with.
    pub method: Method,
    /// The procedure that tests it.
    pub procedure: Option<String>,
    /// What that needs.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// The procedure's numbers.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// The limit, in words.
    pub limit: Option<String>,
    /// How it is tested, in a sentence.
    pub how: Option<String>,
    /// What a failure looks like.
    pub failure: Option<String>,
}

/// A number or a name for a procedure.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Parameter {
    /// A number.
    Number(f64),
    /// A name.
    Name(String),
}

/// Every requirement, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Catalogue {
    /// The version that marks and reports name.
    pub version: &'static str,
    /// The requirements.
    pub requirements: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    requirement: Vec<Requirement>,
}

/// The files, in the order in which they are listed.
const FILES: [(&str, &str); 8] = [
    ("mission.toml", include_str!("../catalogue/mission.toml")),
    ("accuracy.toml", include_str!("../catalogue/accuracy.toml")),
    ("influence.toml", include_str!("../catalogue/influence.toml")),
    ("link.toml", include_str!("../catalogue/link.toml")),
    ("tamper.toml", include_str!("../catalogue/tamper.toml")),
    ("firmware.toml", include_str!("../catalogue/firmware.toml")),
    ("mitigations.toml", include_str!("../catalogue/mitigations.toml")),
    ("beyond.toml", include_str!("../catalogue/beyond.toml")),
];

impl Catalogue {
    /// The catalogue that this program was built with.
    ///
    /// # Errors
    /// [`CatalogueError`] when a file contradicts itself or another; a test makes sure that none does.
    pub fn built_in() -> Result<Self, CatalogueError> {
        let mut requirements = Vec::new();
        for (file, text) in FILES {
            let read: File = toml::from_str(text)
                .map_err(|error| CatalogueError { file, problem: error.to_string().replace('\n', " ") })?;
            requirements.extend(read.requirement);
        }
        let catalogue = Self { version: meterseal_seal::requirements::CATALOGUE_VERSION, requirements };
        catalogue.check().map_err(|problem| CatalogueError { file: "catalogue", problem })?;
        Ok(catalogue)
    }

    /// The requirement with this identifier.
    pub fn find(&self, id: &str) -> Option<&Requirement> {
        self.requirements.iter().find(|requirement| requirement.id == id)
    }

    /// What a requirement consists of.
    pub fn parts<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Requirement> {
        self.requirements.iter().filter(move |requirement| requirement.part_of.iter().any(|of| of == id))
    }

    fn check(&self) -> Result<(), String> {
        for (place, requirement) in self.requirements.iter().enumerate() {
            let id = &requirement.id;
            if self.requirements[..place].iter().any(|before| before.id == *id) {
                return Err(format!("{id} is there twice"));
            }
            for whole in &requirement.part_of {
                if self.find(whole).is_none_or(|whole| whole.method != Method::Parts) {
                    return Err(format!("{id} is a part of {whole}, which does not consist of others"));
                }
            }
            let described = requirement.how.is_some() && requirement.failure.is_some();
            let right = match requirement.method {
                Method::Parts => self.parts(id).next().is_some() && requirement.procedure.is_none(),
                Method::Tested => {
                    described
                        && requirement.procedure.is_some()
                        && requirement.limit.as_deref().is_some_and(|limit| !limit.trim().is_empty())
                }
                Method::Inspected | Method::NotTestable => described && requirement.procedure.is_none(),
            };
            if !right {
                return Err(format!(
                    "{id} lacks what \"{}\" takes, or has too much",
                    requirement.method.words()
                ));
            }
        }
        Ok(())
    }
}

/// A file of the catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the catalogue's {file}: {problem}")]
pub struct CatalogueError {
    file: &'static str,
    problem: String,
}

impl fmt::Display for Requirement {
    /// The requirement on two to four lines for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<9} {}", self.id, self.text)?;
        write!(f, "          {}", self.method.words())?;
        if let Some(limit) = &self.limit {
            write!(f, "; limit: {limit}")?;
        }
        write!(f, "\n          source: {}", self.source)?;
        if self.unverified {
            f.write_str(" (not verified against the standard's text)")?;
        }
        if let Some(how) = &self.how {
            write!(f, "\n          {how}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_whole_and_agrees_with_what_marks_can_cover() {
        let catalogue = Catalogue::built_in().unwrap();
        for known in meterseal_seal::requirements::ALL {
            let requirement = catalogue.find(known.id).unwrap_or_else(|| panic!("{}", known.id));
            assert_eq!(requirement.text, known.sentence);
            assert!(requirement.method == Method::Parts || requirement.procedure.is_some());
        }
        assert!(catalogue.requirements.len() >= 120);
        for requirement in &catalogue.requirements {
            assert!(requirement.text.ends_with('.'), "{}: a sentence", requirement.id);
            let from_memory = requirement.source.contains("[M]");
            assert_eq!(
                requirement.unverified, from_memory,
                "{}: said of every number from memory",
                requirement.id
            );
        }
    }

    #[test]
    fn every_limit_of_the_class_stands_in_the_catalogue() {
        let catalogue = Catalogue::built_in().unwrap();
        let percent = |id: &str| match catalogue.find(id).and_then(|found| found.parameters.get("percent")) {
            Some(Parameter::Number(percent)) => *percent,
            other => panic!("{id}: {other:?}"),
        };
        // standards.md, section 5.
        let class = [0.4, 0.2, 0.5, 0.5, 0.3, 0.3, 0.5, 0.5, 0.3, 0.4, 0.4];
        for (place, limit) in class.into_iter().enumerate() {
            assert_eq!(percent(&format!("ACC-{:02}", place + 1)), limit);
        }
        let influences = [0.01, 0.02, 0.1, 0.2, 0.3, 0.6, 10.0, 0.1, 0.05, 0.5, 0.4, 0.6, 2.0, 0.5, 0.1];
        for (place, limit) in influences.into_iter().enumerate() {
            assert_eq!(percent(&format!("INF-{:02}", place + 1)), limit);
        }
    }

    #[test]
    fn a_catalogue_that_contradicts_itself_is_refused() {
        let sound = Catalogue::built_in().unwrap();
        let refused = |change: fn(&mut Catalogue)| {
            let mut catalogue = sound.clone();
            change(&mut catalogue);
            catalogue.check().unwrap_err()
        };
        let twice = refused(|catalogue| {
            let first = catalogue.requirements[0].clone();
            catalogue.requirements.push(first);
        });
        assert!(twice.contains("twice"));
        let part = refused(|catalogue| catalogue.requirements[20].part_of = vec!["CPA-STAB".to_owned()]);
        assert!(part.contains("does not consist of others"), "{part}");
        let lacks = refused(|catalogue| {
            let tested = catalogue.requirements.iter_mut().find(|one| one.method == Method::Tested);
            tested.unwrap().limit = None;
        });
        assert!(lacks.contains("lacks"), "{lacks}");
    }
}
