//! What the harness itself is uncertain by, after the GUM (JCGM 100:2008): the parts, and what they make together.

use super::BLOCK_PERCENT;
use crate::points;
use crate::reference::{self, Truth};
use crate::rig::total_power_noise;
use meterseal_world::physics::{LoadPoint, Unit};

/// A part of the harness's own uncertainty.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Contribution {
    /// What it is.
    pub source: &'static str,
    /// Half-width or deviation, per cent.
    pub value_percent: f64,
    /// Its distribution.
    pub distribution: &'static str,
    /// Standard uncertainty, per cent.
    pub standard_percent: f64,
}

/// What the harness is uncertain by at a load, and the expanded uncertainty (k = 2), per cent.
pub fn uncertainty(unit: &Unit, load: &LoadPoint, full: bool) -> (Vec<Contribution>, f64) {
    let watts = Truth::of(load).total_watts().abs();
    let noise = total_power_noise(unit, load, points::seconds(load)) / watts * 100.0;
    let rectangular = |source, value_percent: f64| Contribution {
        source,
        value_percent,
        distribution: "rectangular",
        standard_percent: value_percent / 3f64.sqrt(),
    };
    let mut parts = vec![
        rectangular("reference: rounding of double precision", reference::UNCERTAINTY * 100.0),
        // Three phases, half a microwatt each.
        rectangular("unit's display: 1 µW a phase", 1.5e-6 / watts * 100.0),
        Contribution {
            source: "repeatability: the converter's noise in one measurement",
            value_percent: noise,
            distribution: "normal",
            standard_percent: noise,
        },
    ];
    if !full {
        parts.push(rectangular("a block in place of the whole measurement", BLOCK_PERCENT));
    }
    let sum = parts.iter().map(|part| part.standard_percent.powi(2)).sum::<f64>();
    (parts, 2.0 * sum.sqrt())
}
