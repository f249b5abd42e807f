//! Harmonics to the 50th against analytic truth: every rate, frequencies off nominal, what is between the orders, what is absent.

mod common;

use common::{Channel, Random, Site};
use meterseal_metrology::{Config, Frame, HarmonicAnalysis, Harmonics, Metrology, Registers, Window};
use std::f64::consts::TAU;

const RATES: [f64; 9] = [1e3, 2e3, 4e3, 8e3, 10.24e3, 12.8e3, 30.707e3, 51.2e3, 100e3];
const FREQUENCIES: [f64; 12] = [47.5, 48.9, 49.95, 50.0, 50.013, 51.1, 52.5, 57.0, 58.7, 60.0, 60.02, 63.0];

/// All windows that have harmonics, and how many have none.
fn analyse(config: Config, frames: impl Iterator<Item = Frame>) -> (Vec<(Window, Harmonics)>, usize) {
    let mut metrology = Metrology::new(config, Registers::default()).expect("settings in range");
    let mut analysis = Box::new(HarmonicAnalysis::new());
    let (mut found, mut without) = (Vec::new(), 0);
    let frames: Vec<Frame> = frames.collect();
    for block in frames.chunks(333) {
        metrology.push_with_harmonics(block, &mut analysis, &mut |window, harmonics| match harmonics {
            Some(harmonics) => found.push((*window, harmonics.clone())),
            None => without += 1,
        });
    }
    (found, without)
}

/// The largest errors: of a magnitude, in millionths of the fundamental, and beyond that share of the reading; of an angle, in degrees.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    ppm_of_fundamental: f64,
    order: usize,
    degrees: f64,
    thd_ppm: f64,
}

impl Worst {
    fn look(&mut self, site: &Site, harmonics: &Harmonics) {
        let highest = ((0.4 * site.rate / site.hertz * (1.0 + 1e-5)) as usize).min(Harmonics::ORDERS);
        assert_eq!(harmonics.highest_order(), highest, "{} {}", site.rate, site.hertz);
        let spectra = harmonics.voltages().into_iter().chain(harmonics.currents());
        let reference = site.voltage[0].0[0].2;
        for (channel, spectrum) in site.voltage.iter().chain(&site.current).zip(spectra) {
            let Some((_, fundamental, _)) = channel.0.first().copied() else {
                continue;
            };
            for order in 1..=60 {
                let found = spectrum.rms(order);
                assert_eq!(found.is_some(), order <= highest, "{order}");
                let Some(found) = found else { continue };
                let truth = channel.0.iter().find(|partial| partial.0 == order as f64);
                let (_, rms, phase) = truth.copied().unwrap_or_default();
                let error = (found as f64 * 1e-6 - rms).abs() / fundamental * 1e6;
                if error > self.ppm_of_fundamental {
                    (self.ppm_of_fundamental, self.order) = (error, order);
                }
                if rms > 1e-3 * fundamental {
                    let angle = spectrum.angle_microdegrees(order).expect("a phasor");
                    let difference =
                        f64::from(angle) * 1e-6 - (phase - order as f64 * reference).to_degrees();
                    self.degrees =
                        self.degrees.max((difference - (difference / 360.0).round() * 360.0).abs());
                }
            }
            let square = |order: &f64| (2.0..=50.0).contains(order) && *order <= highest as f64;
            let all: f64 = channel.0.iter().filter(|p| square(&p.0)).map(|p| p.1 * p.1).sum();
            let thd = f64::from(spectrum.thd_ppm().expect("a fundamental"));
            self.thd_ppm = self.thd_ppm.max((thd - all.sqrt() / fundamental * 1e6).abs());
        }
    }
}

/// Every order of every channel, up to 0.4 of the rate and the given one.
fn full(rate: f64, hertz: f64, highest: usize, random: &mut Random) -> Site {
    let mut site = Site::balanced(rate, hertz, 5.0, 0.7);
    site.current[3] = Channel::sine(3.0, 1.0);
    for channel in site.voltage.iter_mut().chain(&mut site.current) {
        let fundamental = channel.0[0].1;
        for order in (2..=highest).take_while(|order| *order as f64 * hertz <= 0.4 * rate) {
            let rms = fundamental * random.within(0.0, 0.3) / order as f64;
            channel.0.push((order as f64, rms, random.within(0.0, TAU)));
        }
    }
    site
}

#[test]
fn every_order_of_every_channel_at_every_rate_and_frequency() {
    let mut random = Random(81);
    for rate in RATES {
        let mut worst = Worst::default();
        for hertz in FREQUENCIES.into_iter().step_by(if rate > 2e4 { 4 } else { 1 }) {
            let site = full(rate, hertz, 50, &mut random);
            let (found, without) = analyse(site.config(), site.cycles(47.0).into_iter());
            assert_eq!(without, 0);
            assert!(found.len() >= 3, "{}", found.len());
            for (_, harmonics) in &found[1..] {
                worst.look(&site, harmonics);
            }
        }
        println!("{rate} Hz: {worst:?}");
        let (ppm, degrees) = match rate {
            ..2e3 => (200.0, 5.0),
            ..8e3 => (20.0, 0.5),
            _ => (4.0, 0.1),
        };
        assert!(worst.ppm_of_fundamental < ppm && worst.thd_ppm < ppm && worst.degrees < degrees);
    }
}
