//! What people and weather do to the meter: covers, magnets, surges, temperature.

use super::{Analogue, Site};
use crate::random::Random;
use meterseal_model::{SensorReadings, Stimulus, UnixMillis};
use std::f64::consts::TAU;

/// Sensors' surroundings.
pub(super) struct Surroundings {
    meter_cover_open: bool,
    magnet_here: bool,
    /// How close the magnet is, 0 to 1.
    magnet: f32,
    surge: Option<Surge>,
    surge_peak_millivolts: [u32; 3],
    random: Random,
}

/// A surge that is still on the line.
#[derive(Clone, Copy)]
struct Surge {
    peak_volts: [f64; 3],
    age_frames: u32,
}

impl Surroundings {
    /// A neodymium magnet on the case, at the sensor: well above the 200 mT at which immunity is tested.
    const MAGNET_MICROTESLA: [f32; 3] = [60_000.0, -40_000.0, 380_000.0];
    /// A hand needs about 50 ms from far to near.
    const MAGNET_FRAMES: f32 = Site::SAMPLE_RATE as f32 * 0.05;

    pub(super) fn new(random: Random) -> Self {
        Self {
            meter_cover_open: false,
            magnet_here: false,
            magnet: 0.0,
            surge: None,
            surge_peak_millivolts: [0; 3],
            random,
        }
    }

    pub(super) fn apply(&mut self, stimulus: Stimulus) {
        match stimulus {
            Stimulus::OpenCover => self.meter_cover_open = true,
            Stimulus::CloseCover => self.meter_cover_open = false,
            Stimulus::BringMagnet => self.magnet_here = true,
            Stimulus::RemoveMagnet => self.magnet_here = false,
            Stimulus::VoltageSpike => {
                // 4 kV on one phase (IEC 61000-4-5, the level usual for direct connection); the others couple.
                let struck = (self.random.next() % 3) as usize;
                let peak_volts = std::array::from_fn(|k| if k == struck { 4_000.0 } else { 900.0 });
                for (held, peak) in self.surge_peak_millivolts.iter_mut().zip(peak_volts) {
                    *held = (*held).max((peak * 1000.0) as u32);
                }
                self.surge = Some(Surge { peak_volts, age_frames: 0 });
            }
            // Between the meter and its network, not around its terminals: `wifi` has it.
            Stimulus::RadioGood
            | Stimulus::RadioWeak
            | Stimulus::RadioOff
            | Stimulus::RadioRoam
            | Stimulus::RadioSwallows => {}
        }
    }

    #[inline]
    pub(super) fn act_on(&mut self, analogue: &mut Analogue) {
        if self.magnet_here || self.magnet > 0.0 {
            self.saturate(analogue);
        }
        if let Some(surge) = self.surge {
            self.surge = surge.act_on(analogue);
        }
    }

    pub(super) fn read(&mut self, now: UnixMillis) -> SensorReadings {
        let quiet = SensorReadings::QUIET;
        let day = now.0.rem_euclid(86_400_000) as f64 / 86_400_000.0;
        // Coldest at four in the morning, warmest at four in the afternoon.
        let kelvin_from_mean = -4.0 * (TAU * (day - 4.0 / 24.0)).cos();
        SensorReadings {
            magnetic_field_microtesla: std::array::from_fn(|axis| {
                quiet.magnetic_field_microtesla[axis] + (Self::MAGNET_MICROTESLA[axis] * self.magnet) as i32
            }),
            meter_cover_open: self.meter_cover_open,
            terminal_cover_open: false,
            surge_peak_millivolts: std::mem::take(&mut self.surge_peak_millivolts),
            temperature_millikelvin: quiet
                .temperature_millikelvin
                .saturating_add_signed((kelvin_from_mean * 1000.0) as i32),
        }
    }

    /// A magnet takes permeability from current transformers: less amplitude, and more on one half wave than on
    /// the other, hence even harmonics.
    #[cold]
    fn saturate(&mut self, analogue: &mut Analogue) {
        let towards = if self.magnet_here { 1.0 } else { -1.0 };
        self.magnet = (self.magnet + towards / Self::MAGNET_FRAMES).clamp(0.0, 1.0);
        for amps in &mut analogue.amps {
            let bent = 0.00025 * *amps * *amps;
            *amps -= self.magnet * (0.05 * *amps + bent);
        }
    }
}

impl Surge {
    /// Time to half of a 1.2/50 µs impulse, as the time constant of its tail: 50 µs / ln 2.
    const TAIL_SECONDS: f64 = 72.1e-6;

    /// Adds the mean over one sampling interval (what a sigma-delta converter sees of it).
    #[cold]
    fn act_on(self, analogue: &mut Analogue) -> Option<Self> {
        let interval = 1.0 / f64::from(Site::SAMPLE_RATE);
        let from = f64::from(self.age_frames) * interval;
        let left = |t: f64| (-t / Self::TAIL_SECONDS).exp();
        let mean = (left(from) - left(from + interval)) * Self::TAIL_SECONDS / interval;
        for (volts, peak) in analogue.volts.iter_mut().zip(self.peak_volts) {
            *volts += (peak * mean) as f32;
        }
        (self.age_frames < 16).then_some(Self { age_frames: self.age_frames + 1, ..self })
    }
}
