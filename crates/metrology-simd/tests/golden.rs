//! The golden trace: hashes of everything that a core gives for fixed frames, the same with every kernel and every build.
//!
//! A change of a single bit changes a hash: if that is meant, write the new one down with the reason.

use meterseal_metrology::{
    Calibration, ChannelCalibration, Config, CurvePoint, EventSettings, Extras, Frame, Kernel, Metrology,
    Nominal, PulseSettings, Pulsed, Quadratic, Registers, Scale, Thresholds, Transducer, Window,
};
use meterseal_metrology_simd::{avx2, sse2};
use std::fmt::{Debug, Write};

const SCALE: Scale = Scale {
    voltage_femtovolts_per_count: [64_000_000_000; 3],
    current_femtoamperes_per_count: [18_000_000_000; 4],
};

/// FNV-1a of the text of whatever is written.
struct Hash(u64);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Ok(())
    }
}

impl Hash {
    fn add(&mut self, output: &impl Debug) {
        write!(self, "{output:?}").expect("a hash takes everything");
    }
}

/// Counts by integers only, so that no platform's sine can differ: triangles of 50.3 Hz and its fifth, noise, a sag, and spikes beyond full scale.
fn frames(rate: u64, length: u64) -> Vec<Frame> {
    let mut state = 2026_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 64) as i64 - 32
    };
    let step = 50_300 * (1_u64 << 32) / (rate * 1000);
    let third = (1_u64 << 32) / 3;
    (0..length)
        .map(|n| {
            let mut channel = |peak: i64, phase: u64| {
                let wave = |order: u64| {
                    let turn = (n * step * order).wrapping_add(phase * order) % (1 << 32);
                    (turn as i64 - (1 << 31)).abs() - (1 << 30)
                };
                (((peak * (wave(1) + wave(5) / 16)) >> 30) + noise()) as i32
            };
            let sag = if (length / 2..length / 2 + length / 16).contains(&n) { 2 } else { 1 };
            let mut frame = Frame {
                voltage: [
                    channel(5_000_000, 0),
                    channel(5_000_000 / sag, third),
                    channel(4_900_000, 2 * third),
                ],
                current: [
                    channel(900_000, 100_000_000),
                    channel(-700_000, third),
                    channel(10_000, 0),
                    channel(200_000, 7),
                ],
            };
            if n % 3_001 == 1_500 {
                frame.current[(n % 4) as usize] = i32::MIN + n as i32;
            }
            frame
        })
        .collect()
}

fn everything(config: &Config) -> Extras {
    let quadratic = |constant: i32| Quadratic { constant, linear: 70, quadratic: -3 };
    let mut record = Calibration::nothing(*b"GOLDEN TRACE\0\0\0\0");
    for (n, channel) in (0..).zip(&mut record.channels) {
        *channel = ChannelCalibration {
            gain_ppb: quadratic(400_000 * (n - 3)),
            offset_millicounts: quadratic(30_500 - 7_000 * n),
            delay_picoseconds: quadratic(1_900_000 * (n - 2)),
            noise_millicounts_squared: 340_000,
        };
    }
    record.crosstalk_ppb = [1_000, -2_000, 3_000];
    record.transducers[1] = Transducer {
        heating_ppt_per_square_ampere: 900,
        heating_milliseconds: 5_000,
        ..Transducer::default()
    };
    record.transducers[0].curve[..2].copy_from_slice(&[
        CurvePoint { milliamperes: 100, gain_ppb: 90_000, delay_picoseconds: 800_000 },
        CurvePoint { milliamperes: 60_000, gain_ppb: -40_000, delay_picoseconds: -300_000 },
    ]);
    let extras = Extras {
        calibration: Some(Ok(record)),
        thresholds: Some(Thresholds {
            active_start_microwatts: 10_000_000,
            active_stop_microwatts: 8_000_000,
            reactive_start_microvars: 10_000_000,
            reactive_stop_microvars: 8_000_000,
        }),
        pulses: [Some(PulseSettings { quantity: Pulsed::ActiveImport, impulses_per_kilo_hour: 5_000 }), None],
        events: Some(EventSettings::new(230_000)),
        kernel: Kernel::SCALAR,
    };
    extras.check(config).expect("in range");
    extras
}

/// The hash of all that a window had in the first version, and of everything else; and of each window whether it is flagged as disturbed.
fn trace(rate: u64, extras: Extras) -> (u64, Vec<bool>) {
    let config = Config::new(rate * 1_000_000, Nominal::Hz50, SCALE);
    let mut core = Metrology::with_extras(config, extras, Registers::default()).expect("right results");
    let mut hash = Hash(0xCBF2_9CE4_8422_2325);
    let mut disturbed = Vec::new();
    for (number, block) in frames(rate, 2 * rate).chunks(997).enumerate() {
        core.push(block, &mut |window| {
            hash.write_str(&first_version(window)).expect("a hash takes everything");
            disturbed.push(window.disturbed);
        });
        core.take_pulses(&mut |pulse| hash.add(&pulse));
        while let Some(event) = core.take_event() {
            hash.add(&event);
        }
        core.set_temperature(290_000 + 100 * number as u32).expect("within 200 to 400 K");
    }
    let last = core.finish().map(|window| format!("Some({})", first_version(&window)));
    hash.write_str(last.as_deref().unwrap_or("None")).expect("a hash takes everything");
    hash.add(&core.registers().encode());
    hash.add(&(core.clipped_samples(), core.started(), core.unregistered()));
    (hash.0, disturbed)
}

/// As windows were before they had flags, and components the neutral's residual current, so that the hashes still stand.
fn first_version(window: &Window) -> String {
    let text = format!("{window:?}");
    let (measured, _) = text.split_once(", disturbed: ").expect("the last field");
    let (before, residual) = measured.split_once("neutral_residual_microamperes: ").expect("a component");
    let (_, angle) = residual.split_once(", ").expect("its angle");
    let (_, after) = angle.split_once(", ").expect("others follow");
    format!("{before}{after} }}")
}

#[test]
fn golden_trace_with_every_kernel() {
    let kernels = [("scalar", Some(Kernel::SCALAR)), ("SSE2", sse2()), ("AVX2", avx2())];
    for (rate, plain, full) in GOLDEN {
        let config = Config::new(rate * 1_000_000, Nominal::Hz50, SCALE);
        let flags = [Extras::default(), everything(&config)].map(|extras| trace(rate, extras).1);
        assert!(
            flags[0].contains(&true) && flags[0].contains(&false),
            "a sag disturbs some windows: {flags:?}"
        );
        for (name, kernel) in kernels {
            let Some(kernel) = kernel else {
                eprintln!("{name}: not on this processor, skipped");
                continue;
            };
            let found = trace(rate, Extras { kernel, ..Extras::default() });
            assert_eq!(found, (plain, flags[0].clone()), "{name} at {rate} Hz");
            let found = trace(rate, Extras { kernel, ..everything(&config) });
            assert_eq!(found, (full, flags[1].clone()), "{name} at {rate} Hz with everything on");
        }
    }
}

/// Rate, hash of the bare core, hash with calibration, thresholds, pulses and events.
// The last hash of each rate changed when half cycles came to be judged as they complete (events begin earlier), and phase
// sequence each cycle; what is measured without events has stayed the same.
const GOLDEN: [(u64, u64, u64); 3] = [
    (1_000, 9_201_001_155_660_594_066, 7_199_007_423_546_103_866),
    (8_000, 8_121_024_234_469_185_171, 4_089_831_374_698_423_807),
    (31_250, 17_766_884_287_688_192_534, 7_129_491_235_140_603_898),
];
