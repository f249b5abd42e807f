//! Thresholds as the detector compares them: in counts, so that what it measures needs no conversion.

use super::EventSettings;
use crate::Scale;

/// Thresholds of a phase: mean squares in counts squared with 32 fractional bits, and counts.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) sag: Hysteresis,
    pub(super) swell: Hysteresis,
    pub(super) interruption: Hysteresis,
    pub(super) over_current: Option<Hysteresis>,
    /// Twice the deviation.
    pub(super) transient: Option<i64>,
    /// What a phasor is multiplied by, with [`RELATIVE_SHIFT`] fractional bits, to make the declared peak 2²⁶; 0 where that is beyond all counts.
    pub(super) relative: i64,
}

/// Where an event starts and where it is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hysteresis {
    pub(super) enter: i128,
    pub(super) leave: i128,
}

impl Limits {
    pub(super) fn new(settings: &EventSettings, scale: &Scale, number: usize) -> Self {
        let declared = u128::from(settings.declared_millivolts);
        let volts = scale.voltage_femtovolts_per_count[number];
        let at = |permille: u32| mean_square(declared * u128::from(permille), volts);
        let hysteresis = settings.hysteresis_permille;
        let EventSettings { sag_permille, swell_permille, interruption_permille, .. } = *settings;
        Self {
            sag: Hysteresis { enter: at(sag_permille), leave: at(sag_permille + hysteresis) },
            swell: Hysteresis { enter: at(swell_permille), leave: at(swell_permille - hysteresis) },
            interruption: Hysteresis {
                enter: at(interruption_permille),
                leave: at(interruption_permille + hysteresis),
            },
            over_current: settings.over_current_milliamperes.map(|milliamperes| {
                let amperes = scale.current_femtoamperes_per_count[number];
                let at = |permille: u128| mean_square(u128::from(milliamperes) * permille, amperes);
                Hysteresis { enter: at(1000), leave: at(950) }
            }),
            transient: settings.transient_millivolts.map(|millivolts| {
                let twice = 2 * u128::from(millivolts) * 1_000_000_000_000 / u128::from(volts);
                i64::try_from(twice).unwrap_or(i64::MAX)
            }),
            relative: {
                // In counts with 32 fractional bits, 2³⁵ to 2⁸³: the factor has 53 bits at the most.
                let peak = ((declared * 1_000_000_000_000) << 32) / u128::from(volts) * 1414 / 1000;
                let factor = (1 << (RELATIVE_BITS + RELATIVE_SHIFT)) / peak;
                // With fewer than 22 bits it is not exact enough; the declared voltage is 2¹⁰ times full scale there.
                i64::try_from(factor).ok().filter(|factor| *factor >= 1 << 22).unwrap_or(0)
            },
        }
    }
}

/// The declared peak has so many bits where phases are compared roughly.
pub(super) const RELATIVE_BITS: u32 = 26;
pub(super) const RELATIVE_SHIFT: u32 = 62;

/// The square of so many millionths of a unit, in counts squared with 32 fractional bits; `scale` in 10⁻¹⁵ units a count.
fn mean_square(micro: u128, scale: u64) -> i128 {
    // With 16 fractional bits; beyond 2²⁸ counts nothing is measured.
    let counts = ((micro * 1_000_000_000) << 16) / u128::from(scale);
    let counts = counts.min(1 << 44) as i128;
    counts * counts
}
