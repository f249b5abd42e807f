//! What is measured: the core with each kernel and each extra that costs something a frame, and the crate `metrology_insight`.

use meterseal_metrology::{
    Calibration, ChannelCalibration, Config, EventSettings, Extras, HarmonicAnalysis, Kernel, Metrology,
    Nominal, Quadratic, Registers,
};
use meterseal_metrology_simd::{avx2, sse2};
use metrology_insight::{
    MAX_SIGNAL_SAMPLES, MetrologyInsight, MetrologyInsightConfig, MetrologyInsightSignal,
};

use crate::waveform::{SCALE, Waveform};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Core { width: Width, more: More },
    Insight,
}

/// The core's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Scalar,
    Sse2,
    Avx2,
}

/// What the core does beside the billing path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    Nothing,
    Calibration,
    Events,
    Harmonics,
}

/// Measures so many cycles of a waveform.
pub(crate) type Run = Box<dyn FnMut(&Waveform, usize)>;

impl Variant {
    /// All variants at a rate. The other crate holds 160 samples a cycle, which is 8 kHz.
    pub(crate) fn at(rate: u32) -> Vec<Self> {
        let mut variants = Vec::new();
        for more in [More::Nothing, More::Calibration, More::Events, More::Harmonics] {
            variants
                .extend([Width::Scalar, Width::Sse2, Width::Avx2].map(|width| Self::Core { width, more }));
        }
        if rate as usize / 50 == MAX_SIGNAL_SAMPLES {
            variants.push(Self::Insight);
        }
        variants
    }

    pub(crate) fn name(self) -> String {
        let Self::Core { width, more } = self else {
            return "metrology_insight 0.1.5".to_owned();
        };
        let width = match width {
            Width::Scalar => "scalar",
            Width::Sse2 => "SSE2",
            Width::Avx2 => "AVX2",
        };
        let more = match more {
            More::Nothing => "",
            More::Calibration => ", calibrated",
            More::Events => ", events",
            More::Harmonics => ", harmonics",
        };
        format!("{width}{more}")
    }

    /// What of so many frames is enough for a run: the other crate is one to two orders of magnitude slower.
    pub(crate) fn share(self, frames: usize) -> usize {
        if self == Self::Insight { frames / 20 } else { frames }
    }

    /// Ready to measure, or `None` on a processor without what it takes.
    pub(crate) fn start(self, rate: u32) -> Option<Run> {
        match self {
            Self::Core { width, more } => {
                let kernel = match width {
                    Width::Scalar => Kernel::SCALAR,
                    Width::Sse2 => sse2()?,
                    Width::Avx2 => avx2()?,
                };
                let mut extras = Extras { kernel, ..Extras::default() };
                match more {
                    More::Nothing | More::Harmonics => {}
                    More::Calibration => extras.calibration = Some(Ok(calibration())),
                    More::Events => extras.events = Some(EventSettings::new(230_000)),
                }
                let config = Config::new(u64::from(rate) * 1_000_000, Nominal::Hz50, SCALE);
                let mut core = Metrology::with_extras(config, extras, Registers::default())
                    .expect("these settings are in range, and every kernel gives the scalar one's bits");
                let mut analysis = (more == More::Harmonics).then(Box::<HarmonicAnalysis>::default);
                Some(Box::new(move |waveform, cycles| {
                    measure(&mut core, analysis.as_deref_mut(), waveform, cycles);
                }))
            }
            Self::Insight => {
                let mut insight = MetrologyInsight::new(MetrologyInsightConfig {
                    adc_samples_seconds: rate as f32,
                    adc_samples_per_cycle: f64::from(rate) / 50.0,
                    avg_sec: 0.02,
                    nominal_freq: 50.0,
                    ..MetrologyInsightConfig::default()
                });
                insight.set_nominal_voltage(230.0);
                Some(Box::new(move |waveform, cycles| compare(&mut insight, waveform, cycles)))
            }
        }
    }
}

/// The core takes blocks as a sampling loop brings them: of two cycles here, 40 ms.
fn measure(
    core: &mut Metrology,
    mut analysis: Option<&mut HarmonicAnalysis>,
    waveform: &Waveform,
    cycles: usize,
) {
    let mut left = cycles * waveform.cycle();
    let mut energy = 0;
    while left > 0 {
        for block in waveform.frames.chunks(2 * waveform.cycle()) {
            let block = &block[..block.len().min(left)];
            match &mut analysis {
                None => core.push(block, &mut |window| energy += window.active_power_microwatts),
                Some(analysis) => core.push_with_harmonics(block, analysis, &mut |window, harmonics| {
                    energy += window.active_power_microwatts + i64::from(harmonics.is_some());
                }),
            }
            left -= block.len();
        }
    }
    std::hint::black_box(energy);
}

/// The other crate takes a cycle at a time, in volts and amperes, which it is given ready to copy.
fn compare(insight: &mut MetrologyInsight, waveform: &Waveform, cycles: usize) {
    let fill = |signal: &mut MetrologyInsightSignal, samples: &[f32]| {
        signal.real_wave[..samples.len()].copy_from_slice(samples);
        signal.real_wave_len = samples.len();
    };
    let mut left = cycles;
    while left > 0 {
        for start in (0..waveform.frames.len()).step_by(waveform.cycle()).take(left) {
            for (number, phase) in insight.socket.phases.iter_mut().enumerate() {
                let samples = |channel: usize| &waveform.physical[channel][start..start + waveform.cycle()];
                if number < 3 {
                    fill(&mut phase.voltage, samples(number));
                }
                fill(&mut phase.current, samples(3 + number));
            }
            insight.process_and_update_metrics(4);
            for phase in &mut insight.socket.phases {
                phase.voltage.clear_samples();
                phase.current.clear_samples();
            }
            left -= 1;
        }
    }
    std::hint::black_box(insight.socket.power_metrics_total.real_power);
}

/// A record with every kind of correction on every channel: gains, offsets and delays that are no whole samples.
fn calibration() -> Calibration {
    let constant = |constant: i32| Quadratic { constant, linear: constant / 10, quadratic: 3 };
    let mut record = Calibration::nothing(*b"THROUGHPUT\0\0\0\0\0\0");
    for (n, channel) in (0..).zip(&mut record.channels) {
        *channel = ChannelCalibration {
            gain_ppb: constant(20_000 * (n - 3)),
            offset_millicounts: constant(30_000 - 7_000 * n),
            delay_picoseconds: constant(400_000 * n),
            noise_millicounts_squared: 900_000,
        };
    }
    record
}
