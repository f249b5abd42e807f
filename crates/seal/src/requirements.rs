//! What a mark can cover: one identifier and one sentence for each requirement of the product's seed table.
//!
//! The identifiers are Meterseal's own. The national scheme's numbers could not be read and are not claimed.

/// A requirement that a certification can test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its identifier, stable, `CPA-…`.
    pub id: &'static str,
    /// What it demands, in our own words.
    pub sentence: &'static str,
}

/// The version of this list, as marks name it.
pub const CATALOGUE_VERSION: &str = "0.1";

/// Every requirement of the seed table, in its order.
pub const ALL: [Requirement; 11] = [
    Requirement {
        id: "CPA-ACC",
        sentence: "Active energy is measured within ±0.2 % at every load, on all three phases.",
    },
    Requirement {
        id: "CPA-STAB",
        sentence: "The measurement stays within its limits over at least 1 000 hours of operation.",
    },
    Requirement {
        id: "CPA-ENC",
        sentence: "Everything the meter sends or receives is encrypted with AES-256 under TLS 1.3.",
    },
    Requirement {
        id: "CPA-MUT",
        sentence: "The meter and the receiver of its data each prove their identity to the other.",
    },
    Requirement {
        id: "CPA-TAMP",
        sentence: "A magnet, an opened cover and a voltage spike are each sensed, logged at once and reported.",
    },
    Requirement {
        id: "CPA-FW",
        sentence: "Firmware is replaced remotely, and only by an image with the required signatures.",
    },
    Requirement { id: "CPA-TEMP", sentence: "The meter works and stays accurate from −40 °C to +85 °C." },
    Requirement {
        id: "CPA-BILL",
        sentence: "Every recorded kilowatt-hour is right, and nobody can alter the meter to lower a bill.",
    },
    Requirement {
        id: "CPA-SOLAR",
        sentence: "Import and export are recorded rightly where there are solar panels and a battery.",
    },
    Requirement {
        id: "CPA-WIFI",
        sentence: "Three-phase meters at homes and at factories report reliably over Wi-Fi.",
    },
    Requirement { id: "CPA-MARK", sentence: "A buyer can check for themselves which mark a meter has." },
];

/// The requirement with this identifier.
pub fn find(id: &str) -> Option<&'static Requirement> {
    ALL.iter().find(|requirement| requirement.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_is_found_and_is_unique() {
        for (place, requirement) in ALL.iter().enumerate() {
            assert_eq!(find(requirement.id), Some(requirement));
            assert!(ALL[..place].iter().all(|earlier| earlier.id != requirement.id), "{}", requirement.id);
            assert!(requirement.sentence.ends_with('.'));
        }
        assert_eq!(find("CPA-NONE"), None);
    }
}
