//! How far a requirement of the seed table was tested. What failed has no place here: then there is no mark.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::MarkError;

/// The name under which detailed requirements stand that are part of none in the seed table.
pub const BEYOND: &str = "BEYOND";

/// The most requirements in a mark.
pub const MAX_REQUIREMENTS: usize = 32;

/// The most identifiers of detailed requirements in a mark, all lists together.
pub const MAX_NOT_TESTED: usize = 512;

/// The longest identifier, bytes.
pub const MAX_ID: usize = 16;

/// One requirement of the seed table, and how far it was tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Its identifier, `CPA-…`, or [`BEYOND`].
    pub requirement: String,
    /// How many of the detailed requirements that it consists of were tested and passed.
    pub tested: u32,
    /// Identifiers of those that were not tested. Empty where none was: the requirement itself says it then.
    pub not_tested: Vec<String>,
}

impl Coverage {
    /// Nothing of it was tested.
    pub fn none(requirement: &str) -> Self {
        Self { requirement: requirement.to_string(), tested: 0, not_tested: Vec::new() }
    }

    /// Whether all of it was tested.
    pub fn is_whole(&self) -> bool {
        self.tested > 0 && self.not_tested.is_empty()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requirement, tested, not_tested } = self;
        match (tested, not_tested.len()) {
            (0, _) => write!(f, "{requirement}: not tested"),
            (_, 0) => write!(f, "{requirement}: tested ({tested})"),
            (_, missing) => {
                write!(
                    f,
                    "{requirement}: tested in part ({tested} of {}; not ",
                    u64::from(*tested) + missing as u64
                )?;
                for (place, id) in not_tested.iter().enumerate() {
                    write!(f, "{}{id}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Whether a mark may say this.
pub(super) fn check(list: &[Coverage]) -> Result<(), MarkError> {
    if list.is_empty() || list.len() > MAX_REQUIREMENTS {
        return Err(MarkError::Content("coverage"));
    }
    if list.iter().map(|coverage| coverage.not_tested.len()).sum::<usize>() > MAX_NOT_TESTED {
        return Err(MarkError::Content("not tested"));
    }
    for (place, coverage) in list.iter().enumerate() {
        let twice = list[..place].iter().any(|before| before.requirement == coverage.requirement);
        if !is_id(&coverage.requirement) || twice {
            return Err(MarkError::Content("coverage"));
        }
        let ids = &coverage.not_tested;
        let ordered = ids.windows(2).all(|pair| pair[0] < pair[1]);
        if !ids.iter().all(|id| is_id(id)) || !ordered || (coverage.tested == 0 && !ids.is_empty()) {
            return Err(MarkError::Content("not tested"));
        }
    }
    Ok(())
}

pub(super) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(allowed)
}
