//! What reaches the measuring channels: the grid's voltages and further loads first, then the ways in which the meter is
//! led to see something else than what flows.

use super::Disturbance;
use crate::site::{Analogue, Site};

pub(super) struct Terminals {
    surge: Option<Surge>,
    voltage: [f32; 3],
    exchanged: bool,
    load: [f32; 3],
    reversed: [bool; 3],
    bypassed: [f32; 3],
    links_open: [bool; 3],
}

/// A surge that is still on the line.
#[derive(Clone, Copy)]
struct Surge {
    peak_volts: [f32; 3],
    age_frames: u32,
}

impl Terminals {
    pub(super) const fn new() -> Self {
        Self {
            surge: None,
            voltage: [1.0; 3],
            exchanged: false,
            load: [0.0; 3],
            reversed: [false; 3],
            bypassed: [0.0; 3],
            links_open: [false; 3],
        }
    }

    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Surge(peak_volts) => self.surge = Some(Surge { peak_volts, age_frames: 0 }),
            Disturbance::Voltage(factors) => self.voltage = factors,
            Disturbance::Exchanged(exchanged) => self.exchanged = exchanged,
            Disturbance::Load(siemens) => self.load = siemens,
            Disturbance::Reversed(reversed) => self.reversed = reversed,
            Disturbance::Bypassed(parts) => self.bypassed = parts,
            Disturbance::LinksOpen(open) => self.links_open = open,
            _ => {}
        }
    }

    /// What leads a voltage to the measuring channels is not what feeds the supply.
    pub(super) fn feeds_meter(&self) -> bool {
        self.voltage.iter().any(|&factor| factor >= 0.5)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.surge.is_some()
            || self.voltage != [1.0; 3]
            || self.exchanged
            || self.load != [0.0; 3]
            || self.reversed != [false; 3]
            || self.bypassed != [0.0; 3]
            || self.links_open != [false; 3]
    }

    /// Acts on frames during which the magnet stays where it is.
    pub(super) fn act_on(&mut self, frames: &mut [Analogue], magnet: f32) {
        let forward = std::array::from_fn(|k| {
            let flows = 1.0 - self.bypassed.get(k).copied().unwrap_or(0.0);
            if self.reversed.get(k).is_some_and(|reversed| *reversed) { -flows } else { flows }
        });
        let measured = std::array::from_fn(|k| if self.links_open.get(k) == Some(&true) { 0.0 } else { 1.0 });
        for frame in &mut *frames {
            self.lead(frame, magnet, &forward, &measured);
        }
        for frame in frames {
            let Some(surge) = self.surge else { break };
            self.surge = surge.act_on(&mut frame.volts);
        }
    }

    #[inline]
    fn lead(&self, frame: &mut Analogue, magnet: f32, forward: &[f32; 4], measured: &[f32; 4]) {
        let Analogue { volts, amps } = frame;
        let before: f32 = amps[..3].iter().sum();
        for k in 0..3 {
            let factor = self.voltage[k];
            volts[k] *= factor;
            // Loads of constant power keep their current in a small dip; none has one without a voltage.
            amps[k] *= factor.min(1.0);
            amps[k] += volts[k] * self.load[k];
        }
        // The neutral carries what the phases have more, or less.
        amps[3] += amps[..3].iter().sum::<f32>() - before;
        if self.exchanged {
            volts.swap(1, 2);
            amps.swap(1, 2);
        }
        if magnet > 0.0 {
            saturate(amps, magnet);
        }
        for k in 0..4 {
            amps[k] *= forward[k];
            volts[k] *= measured[k];
        }
    }
}

/// A magnet takes permeability from current transformers: less amplitude, and more on one half wave than on the other,
/// hence even harmonics.
fn saturate(amps: &mut [f32; 4], magnet: f32) {
    for amps in amps {
        let bent = 0.00025 * *amps * *amps;
        *amps -= magnet.min(1.0) * (0.05 * *amps + bent);
    }
}

impl Surge {
    /// Time to half of a 1.2/50 µs impulse, as the time constant of its tail: 50 µs / ln 2.
    const TAIL_SECONDS: f64 = 72.1e-6;

    /// Adds the mean over one sampling interval (what a sigma-delta converter sees of it).
    fn act_on(self, volts: &mut [f32; 4]) -> Option<Self> {
        let interval = 1.0 / f64::from(Site::SAMPLE_RATE);
        let from = f64::from(self.age_frames) * interval;
        let left = |t: f64| (-t / Self::TAIL_SECONDS).exp();
        let mean = (left(from) - left(from + interval)) * Self::TAIL_SECONDS / interval;
        for (volts, peak) in volts.iter_mut().zip(self.peak_volts) {
            *volts += peak * mean as f32;
        }
        (self.age_frames < 16).then_some(Self { age_frames: self.age_frames + 1, ..self })
    }
}
