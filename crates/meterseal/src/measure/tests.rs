//! Issue 2, `measure`: its accuracy on recordings whose truth is known, the shape of its JSON, and bad input.

use super::{Args, run};
use meterseal_world::comtrade::write::{self, RowToWrite};
use meterseal_world::comtrade::{AnalogChannel, Config, DataFormat, Revision, Side};
use serde_json::Value;
use std::f64::consts::{SQRT_2, TAU};
use std::path::{Path, PathBuf};

/// A folder that goes away with the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn arguments(recording: &Path) -> Args {
    Args {
        recording: recording.to_owned(),
        map: None,
        seconds: None,
        json: true,
        plot: None,
        primary: false,
        secondary: false,
    }
}

fn measured(arguments: &Args) -> Result<String, String> {
    let mut out = Vec::new();
    run(arguments, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn json(arguments: &Args) -> Value {
    serde_json::from_str(&measured(arguments).unwrap()).unwrap()
}

/// A component of a waveform: order, RMS value, phase in radians against its phase's zero.
type Component = (f64, f64, f64);

/// A three-phase supply whose quantities are known exactly.
#[derive(Clone)]
struct Truth {
    hertz: f64,
    volts: Vec<Component>,
    amperes: Vec<Component>,
}

impl Truth {
    /// Fundamental at this angle of the current behind the voltage, and harmonics up to `highest` of the sampling
    /// rate's 0.4 or the 25th order.
    fn new(hertz: f64, lag: f64, rate: f64) -> Self {
        let fits = |order: f64| order <= 25.0 && order * hertz < 0.4 * rate;
        let mut volts = vec![(1.0, 230.0, 0.3)];
        let mut amperes = vec![(1.0, 5.0, 0.3 - lag)];
        for (order, volt, ampere) in [
            (2.0, 1.0, 0.1),
            (3.0, 4.0, 0.9),
            (5.0, 8.0, 1.0),
            (7.0, 5.0, 0.6),
            (11.0, 3.0, 0.4),
            (25.0, 1.0, 0.15),
        ] {
            if fits(order) {
                volts.push((order, volt, 0.7 * order));
                amperes.push((order, ampere, 0.4 + 0.7 * order));
            }
        }
        Self { hertz, volts, amperes }
    }

    fn value(components: &[Component], angle: f64) -> f64 {
        components.iter().map(|(order, rms, phase)| rms * SQRT_2 * (order * angle + phase).sin()).sum()
    }

    fn fill(&self, seconds: f64, row: &mut RowToWrite) {
        for k in 0..3 {
            let angle = TAU * (self.hertz * seconds - k as f64 / 3.0);
            row.analogs[k] = Self::value(&self.volts, angle);
            row.analogs[3 + k] = Self::value(&self.amperes, angle);
        }
    }

    fn rms(components: &[Component]) -> f64 {
        components.iter().map(|(_, rms, _)| rms * rms).sum::<f64>().sqrt()
    }

    fn watts(&self) -> f64 {
        self.volts.iter().zip(&self.amperes).map(|(v, i)| v.1 * i.1 * (v.2 - i.2).cos()).sum()
    }

    fn vars(&self) -> f64 {
        self.volts[0].1 * self.amperes[0].1 * (self.volts[0].2 - self.amperes[0].2).sin()
    }

    fn config(&self, format: DataFormat, rates: Vec<(f64, u64)>) -> Config {
        let steps = match format {
            DataFormat::Binary => 32_000.0,
            DataFormat::Ascii => 99_999.0,
            _ => 2e9,
        };
        let channel = |k: usize| {
            let (name, unit, peak) = if k < 3 { ("V", "V", 375.0) } else { ("I", "A", 12.0) };
            let mut channel = AnalogChannel::new(&format!("{name}{}", k % 3 + 1), "", unit, peak / steps);
            channel.range = (-steps, steps);
            channel
        };
        Config {
            station: "Synthetic".to_owned(),
            device: "Truth".to_owned(),
            revision: if format == DataFormat::Ascii { Revision::Year1999 } else { Revision::Year2013 },
            analogs: (0..6).map(channel).collect(),
            digitals: Vec::new(),
            line_frequency_hz: None,
            rates,
            start: "01/01/2020,00:00:00.000000".to_owned(),
            trigger: "01/01/2020,00:00:00.000000".to_owned(),
            format,
            time_multiplier: 1.0,
        }
    }

    fn write(&self, folder: &Folder, format: DataFormat, rate: f64, rows: u64) -> PathBuf {
        let config = self.config(format, vec![(rate, rows)]);
        write::pair(&folder.path("truth"), &config, |row, out| self.fill(row as f64 / rate, out)).unwrap()
    }
}

/// The largest errors seen: V and I relative, P and Q as parts of S, f in hertz.
#[derive(Debug, Default)]
struct Worst {
    rms: f64,
    power: f64,
    hertz: f64,
}

impl Worst {
    fn see(&mut self, truth: &Truth, got: &Value, what: &str, allowed: f64) {
        let (volts, amperes) = (Truth::rms(&truth.volts), Truth::rms(&truth.amperes));
        let apparent = volts * amperes;
        let (mut rms, mut power) = (0.0f64, 0.0f64);
        assert_eq!(got["phases"].as_array().unwrap().len(), 3);
        for phase in got["phases"].as_array().unwrap() {
            let number = |name: &str| phase[name].as_f64().unwrap();
            rms = rms.max((number("v_rms") / volts - 1.0).abs()).max((number("i_rms") / amperes - 1.0).abs());
            power = power.max((number("p_w") - truth.watts()).abs() / apparent);
            power = power.max((number("q_var") - truth.vars()).abs() / apparent);
        }
        let hertz = (got["frequency_hz"].as_f64().unwrap() - truth.hertz).abs();
        assert!(
            rms < 2e-4 * allowed && power < 2e-4 * allowed && hertz < 1e-3,
            "{what}: V, I {rms:e}, P, Q {power:e}, f {hertz:e}"
        );
        let nominal = if truth.hertz < 55.0 { 50 } else { 60 };
        assert_eq!(got["nominal_hz"], nominal, "{what}");
        self.rms = self.rms.max(rms);
        self.power = self.power.max(power);
        self.hertz = self.hertz.max(hertz);
    }
}

const FREQUENCIES: [f64; 6] = [47.5, 49.97, 52.5, 57.0, 60.013, 63.0];

#[test]
fn every_format_and_rate_is_measured_within_the_limits() {
    let folder = Folder::new();
    for format in [DataFormat::Ascii, DataFormat::Binary, DataFormat::Binary32, DataFormat::Float32] {
        let mut worst = Worst::default();
        let allowed = if format == DataFormat::Binary { 4.0 } else { 1.0 };
        for (number, rate) in
            [1_000.0, 1_600.0, 4_000.0, 10_240.0, 30_707.24, 100_000.0].into_iter().enumerate()
        {
            for (k, hertz) in FREQUENCIES.into_iter().enumerate() {
                // Every quadrant comes up, and power factors of 0 and 1.
                let truth = Truth::new(hertz, (number + k) as f64 * TAU / 8.0, rate);
                // Ten cycles and one sample at the least, up to 13 and a half.
                let cycles = 10.0 + 3.5 * k as f64 / 5.0;
                let rows = (cycles * rate / hertz).ceil() as u64 + 1;
                let path = truth.write(&folder, format, rate, rows);
                worst.see(
                    &truth,
                    &json(&arguments(&path)),
                    &format!("{format:?} {rate} Hz {hertz} Hz"),
                    allowed,
                );
            }
        }
        println!("{format:?}: {worst:?}");
    }
}

#[test]
fn ten_cycles_to_the_sample_in_all_quadrants() {
    let folder = Folder::new();
    let mut worst = Worst::default();
    for hertz in [47.5, 50.0, 52.5, 57.0, 60.0, 63.0] {
        for step in 0..12 {
            let rate = [6_400.0, 2_000.0, 12_800.0][step % 3];
            let truth = Truth::new(hertz, step as f64 * TAU / 12.0, rate);
            // No more than ten cycles: where the tenth ends between samples, the sample after it is not there.
            let path = truth.write(&folder, DataFormat::Binary32, rate, (10.0 * rate / hertz).round() as u64);
            worst.see(
                &truth,
                &json(&arguments(&path)),
                &format!("ten cycles of {hertz} Hz at {rate}, step {step}"),
                1.0,
            );
        }
    }
    println!("ten cycles: {worst:?}");
}

/// A few hundred supplies by chance: any length from ten cycles, rate, frequency, angle, start and distortion.
#[test]
fn recordings_by_chance_stay_within_the_limits() {
    let folder = Folder::new();
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut chance = |low: f64, high: f64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        low + (high - low) * (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut worst = Worst::default();
    for case in 0..300 {
        let rate = 10f64.powf(chance(3.0, 4.6));
        let hertz = if case % 2 == 0 { chance(47.5, 52.5) } else { chance(57.0, 63.0) };
        let mut truth = Truth::new(hertz, chance(0.0, TAU), rate);
        let (start, share) = (chance(0.0, TAU), chance(0.0, 3.0));
        for (order, volts, phase) in &mut truth.volts {
            *phase += *order * start;
            *volts *= if *order > 1.0 { share.min(2.0) } else { 1.0 };
        }
        for (order, amperes, phase) in &mut truth.amperes {
            *phase += *order * start;
            *amperes *= if *order > 1.0 { share } else { 1.0 };
        }
        let rows = (chance(10.0, 45.0) * rate / hertz).ceil() as u64;
        let path = truth.write(&folder, DataFormat::Float32, rate, rows);
        worst.see(
            &truth,
            &json(&arguments(&path)),
            &format!("case {case}: {rate} Hz {hertz} Hz {rows} rows"),
            1.0,
        );
    }
    println!("by chance: {worst:?}");
}

#[test]
fn longer_records_of_whole_windows() {
    let folder = Folder::new();
    let mut worst = Worst::default();
    for hertz in FREQUENCIES {
        let truth = Truth::new(hertz, 1.0, 8_000.0);
        let path = truth.write(&folder, DataFormat::Float32, 8_000.0, 24_000);
        worst.see(&truth, &json(&arguments(&path)), &format!("three seconds of {hertz} Hz"), 1.0);
    }
    println!("three seconds: {worst:?}");
}

#[test]
fn signs_follow_the_iec_quadrants_and_angles_are_relative_to_v1() {
    let folder = Folder::new();
    for (lag, p_positive, q_positive) in [
        (0.5, true, true),
        (-0.5, true, false),
        (std::f64::consts::PI - 0.5, false, true),
        (0.5 - std::f64::consts::PI, false, false),
    ] {
        let truth = Truth::new(50.0, lag, 8_000.0);
        let got = json(&arguments(&truth.write(&folder, DataFormat::Binary32, 8_000.0, 4_000)));
        let total = |name: &str| got["total"][name].as_f64().unwrap();
        assert_eq!((total("p_w") > 0.0, total("q_var") > 0.0), (p_positive, q_positive), "lag {lag}");
        assert!((total("pf") - total("p_w") / total("s_va")).abs() < 1e-6);
        let energy = |name: &str| got["energy"][name].as_f64().unwrap();
        let (imported, exported) = (energy("active_import_wh"), energy("active_export_wh"));
        assert!(if p_positive {
            imported > 0.0 && exported == 0.0
        } else {
            exported > 0.0 && imported == 0.0
        });
        let watt_hours = truth.watts() * 3.0 * 0.5 / 3600.0;
        assert!(((imported - exported) / watt_hours - 1.0).abs() < 2e-4);
        for (k, angle) in [0.0, -120.0, 120.0].into_iter().enumerate() {
            let phase = &got["phases"][k];
            assert_eq!(phase["name"], ["L1", "L2", "L3"][k]);
            assert!((phase["v_angle_deg"].as_f64().unwrap() - angle).abs() < 0.01);
            let off = (phase["i_angle_deg"].as_f64().unwrap() - (angle - lag.to_degrees())).rem_euclid(360.0);
            assert!(!(0.01..=359.99).contains(&off), "{off}");
            let distortion = |components: &[Component]| {
                (Truth::rms(components).powi(2) / components[0].1.powi(2) - 1.0).sqrt()
            };
            assert!((phase["v_thd"].as_f64().unwrap() - distortion(&truth.volts)).abs() < 1e-4);
            assert!((phase["i_thd"].as_f64().unwrap() - distortion(&truth.amperes)).abs() < 1e-4);
        }
    }
}

#[test]
fn harmonics_are_the_truths_and_absent_where_the_rate_is_low() {
    let folder = Folder::new();
    for (rate, rows, highest) in
        [(8_000.0, 1_600, 50), (12_800.0, 30_000, 50), (2_000.0, 2_000, 16), (1_000.0, 800, 8)]
    {
        let truth = Truth::new(50.0, 0.6, rate);
        let got = json(&arguments(&truth.write(&folder, DataFormat::Float32, rate, rows)));
        let phase = &got["phases"][1];
        for (key, components) in [("v_harmonics", &truth.volts), ("i_harmonics", &truth.amperes)] {
            let orders = phase[key].as_array().unwrap();
            assert_eq!(orders.len(), 50);
            for (order, value) in (1..).zip(orders) {
                assert_eq!(value.is_null(), order > highest, "{rate} {key} {order}: {value}");
                let truth = components.iter().find(|component| component.0 == f64::from(order));
                let truth = truth.map_or(0.0, |component| component.1);
                let error = (value.as_f64().unwrap_or(0.0) - truth).abs() / components[0].1;
                assert!(order > highest || error < 2e-4, "{rate} {key} {order}: {value} for {truth}");
            }
        }
        let higher = |components: &[Component]| Truth::rms(&components[1..]) / components[0].1;
        assert!((phase["v_thd_50"].as_f64().unwrap() - higher(&truth.volts)).abs() < 2e-4);
        assert!((phase["i_thd_50"].as_f64().unwrap() - higher(&truth.amperes)).abs() < 2e-4);
    }
}

#[test]
fn seconds_repeat_a_short_record_and_cut_a_long_one() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.4, 8_000.0);
    let mut arguments = arguments(&truth.write(&folder, DataFormat::Binary32, 8_000.0, 4_000));
    for seconds in [0.1, 0.25, 0.5, 1.75, 60.0] {
        arguments.seconds = Some(seconds);
        let got = json(&arguments);
        assert!((got["duration_s"].as_f64().unwrap() - seconds).abs() < 1e-9);
        let energy = got["energy"]["active_import_wh"].as_f64().unwrap();
        assert!(
            (energy / (truth.watts() * 3.0 * seconds / 3600.0) - 1.0).abs() < 2e-4,
            "{seconds} s: {energy} Wh"
        );
        assert!((got["total"]["p_w"].as_f64().unwrap() / (truth.watts() * 3.0) - 1.0).abs() < 2e-4);
    }
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        arguments.seconds = Some(seconds);
        assert!(measured(&arguments).unwrap_err().contains("--seconds"));
    }
}

#[test]
fn sections_of_different_rates_are_one_record() {
    let folder = Folder::new();
    let truth = Truth::new(50.02, 0.4, 2_000.0);
    let rates = vec![(2_000.0, 1_000), (10_000.0, 4_000), (5_000.0, 6_500)];
    let config = truth.config(DataFormat::Binary32, rates);
    let seconds = |row: u64| match row {
        0..1_000 => row as f64 / 2_000.0,
        1_000..4_000 => 0.5 + (row - 1_000) as f64 / 10_000.0,
        _ => 0.8 + (row - 4_000) as f64 / 5_000.0,
    };
    let path =
        write::pair(&folder.path("sections"), &config, |row, out| truth.fill(seconds(row), out)).unwrap();
    let got = json(&arguments(&path));
    Worst::default().see(&truth, &got, "sections", 1.0);
    assert!((got["duration_s"].as_f64().unwrap() - 1.3).abs() < 1e-9);
    let energy = got["energy"]["active_import_wh"].as_f64().unwrap();
    assert!((energy / (truth.watts() * 3.0 * 1.3 / 3600.0) - 1.0).abs() < 1e-3, "{energy}");
}

#[test]
fn either_side_of_the_transformers() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.4, 4_000.0);
    let mut config = truth.config(DataFormat::Float32, vec![(4_000.0, 2_000)]);
    for (k, channel) in config.analogs.iter_mut().enumerate() {
        (channel.primary, channel.secondary, channel.side) =
            (if k < 3 { 100.0 } else { 40.0 }, 1.0, Side::Secondary);
    }
    let path = write::pair(&folder.path("ratio"), &config, |row, out| truth.fill(row as f64 / 4_000.0, out))
        .unwrap();
    let watts = |primary, secondary| {
        let got = json(&Args { primary, secondary, ..arguments(&path) });
        got["total"]["p_w"].as_f64().unwrap() / (3.0 * truth.watts())
    };
    assert!((watts(false, false) - 1.0).abs() < 1e-3, "as recorded: secondary");
    assert!((watts(false, true) - 1.0).abs() < 1e-3);
    assert!((watts(true, false) / 4_000.0 - 1.0).abs() < 1e-3);
    let table = measured(&Args { json: false, primary: true, ..arguments(&path) }).unwrap();
    assert!(table.contains("primary values") && table.contains("50.000 Hz"), "{table}");
}

#[test]
fn records_shorter_than_a_window_or_without_a_supply_still_give_what_there_is() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.4, 8_000.0);
    for rows in [1, 2, 10, 100, 160, 200, 330, 640, 1_000] {
        let got = json(&arguments(&truth.write(&folder, DataFormat::Binary32, 8_000.0, rows)));
        assert_eq!(got["phases"].as_array().unwrap().len(), 3);
        if rows >= 330 {
            assert!(
                (got["phases"][0]["v_rms"].as_f64().unwrap() / Truth::rms(&truth.volts) - 1.0).abs() < 2e-3,
                "{rows} rows: {got}"
            );
        }
        if rows < 100 {
            assert!(got["frequency_hz"].is_null(), "{rows} rows: {got}");
        }
    }
    let flat = Truth { hertz: 50.0, volts: vec![(1.0, 0.0, 0.0)], amperes: vec![(1.0, 0.0, 0.0)] };
    let got = json(&arguments(&flat.write(&folder, DataFormat::Ascii, 8_000.0, 8_000)));
    assert!(got["frequency_hz"].is_null());
    assert_eq!(got["total"]["p_w"], 0.0);
}

#[test]
fn absent_phases_are_left_out() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.4, 8_000.0);
    let path = truth.write(&folder, DataFormat::Ascii, 8_000.0, 4_000);
    let got = json(&Args { map: Some("V1=none,I1=none,V3=none,I3=none".to_owned()), ..arguments(&path) });
    let phases = got["phases"].as_array().unwrap();
    assert_eq!((phases.len(), &phases[0]["name"]), (1, &Value::from("L2")));
    assert!((phases[0]["p_w"].as_f64().unwrap() / truth.watts() - 1.0).abs() < 2e-4);
}

#[test]
fn the_real_recording_in_under_a_second_with_table_json_and_drawing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/waveforms/keating_1999.CFG");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let folder = Folder::new();
    let begin = std::time::Instant::now();
    let plot = folder.path("keating.svg");
    let got = json(&Args { plot: Some(plot.clone()), ..arguments(&path) });
    assert!(begin.elapsed().as_secs_f64() < 1.0, "{:?}", begin.elapsed());
    assert_eq!(got["nominal_hz"], 60);
    assert!((got["frequency_hz"].as_f64().unwrap() - 60.0).abs() < 0.2);
    // A revenue-grade meter's service of 347/600 V; what RMS over all rows gives, within what a changing load allows.
    for (phase, (volts, amperes)) in
        got["phases"].as_array().unwrap().iter().zip([(348.95, 126.11), (352.22, 151.83), (345.95, 166.70)])
    {
        assert!((phase["v_rms"].as_f64().unwrap() / volts - 1.0).abs() < 0.003, "{phase}");
        assert!((phase["i_rms"].as_f64().unwrap() / amperes - 1.0).abs() < 0.05, "{phase}");
    }
    assert!(got["total"]["p_w"].as_f64().unwrap() > 130_000.0);
    let drawing = std::fs::read_to_string(&plot).unwrap();
    assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
    assert!(measured(&Args { json: false, ..arguments(&path) }).unwrap().contains("keating_1999.CFG"));
}

#[test]
fn bad_input_is_one_clear_line() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.4, 8_000.0);
    let path = truth.write(&folder, DataFormat::Float32, 8_000.0, 400);
    let config = std::fs::read_to_string(&path).unwrap();
    let data_path = folder.path("truth.dat");
    let data = std::fs::read(&data_path).unwrap();
    let refused = |config: &str, data: &[u8]| {
        std::fs::write(&path, config).unwrap();
        std::fs::write(&data_path, data).unwrap();
        let line = measured(&arguments(&path)).expect_err("bad input");
        assert!(!line.contains('\n') && line.contains("truth."), "{line}");
        line
    };
    let not_a_number = [&data[..data.len() - 4], &f32::NAN.to_le_bytes()].concat();
    let huge = [&data[..data.len() - 4], &1e38f32.to_le_bytes()].concat();
    for (config, data, says) in [
        (config.clone(), data[..data.len() / 2].to_vec(), "truncated"),
        (config.replace("6,6A,0D", "5,5A,0D"), data.clone(), "more channels than line 2 says"),
        (config.replace("6,6A,0D", "7,7A,0D"), data.clone(), "line 10"),
        (config.clone(), not_a_number, "row 400"),
        (config.clone(), huge, "beyond"),
        (config.replace(",V,", ",W,"), data.clone(), "no voltage channel"),
        (config.replacen(",1,1,P", ",0,1,P", 1), data.clone(), "ratio"),
        (String::new(), data.clone(), "empty"),
        (config.clone(), Vec::new(), "empty"),
        (config.replace("8000,400", "800,400"), data.clone(), "800 Hz"),
        (config.replace("8000,400", "200000,400"), data.clone(), "200000 Hz"),
        (config.replace("8000,400", "0.001,400"), data.clone(), "0.001 Hz"),
    ] {
        let line = refused(&config, &data);
        assert!(line.contains(says), "{says}: {line}");
    }
    assert!(measured(&arguments(&folder.path("nothing.cfg"))).unwrap_err().contains("nothing.cfg"));
}

/// Damage of any kind gives a result or a refusal in one line, never a panic.
#[test]
fn damaged_recordings_never_panic() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.4, 2_000.0);
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut chance = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let (mut measured_some, mut refused) = (0, 0);
    for format in [DataFormat::Ascii, DataFormat::Binary, DataFormat::Float32] {
        let path = folder.path("damaged.cff");
        let config = truth.config(format, vec![(2_000.0, 150), (4_000.0, 300)]);
        write::single(&path, &config, |row, out| truth.fill(row as f64 / 2_000.0, out)).unwrap();
        let sound = std::fs::read(&path).unwrap();
        for _ in 0..400 {
            let mut bytes = sound.clone();
            for _ in 0..=chance(3) {
                // Mostly in the configuration, where a byte decides more.
                let at = if chance(4) > 0 { chance(700) } else { chance(bytes.len()) };
                bytes[at] = b"0123456789,.-eANSV\n\0\xFF"[chance(21)];
            }
            if chance(4) == 0 {
                bytes.truncate(chance(bytes.len()) + 1);
            }
            std::fs::write(&path, &bytes).unwrap();
            let plot = Some(folder.path("damaged.svg"));
            match measured(&Args { plot, json: chance(2) == 0, ..arguments(&path) }) {
                Ok(_) => measured_some += 1,
                Err(line) => {
                    assert!(!line.contains('\n'), "{line}");
                    refused += 1;
                }
            }
        }
    }
    assert!(measured_some > 100 && refused > 100, "{measured_some} measured, {refused} refused");
}

#[test]
fn below_one_cycle_what_needs_a_fundamental_is_null() {
    let folder = Folder::new();
    let truth = Truth::new(50.0, 0.5, 4_000.0);
    for (rows, known) in [(40, false), (1_000, true)] {
        let got = json(&arguments(&truth.write(&folder, DataFormat::Float32, 4_000.0, rows)));
        for key in ["q_var", "v_angle_deg", "i_angle_deg", "v_thd", "i_thd"] {
            assert_eq!(got["phases"][0][key].is_number(), known, "{key} {rows}");
        }
        assert_eq!(got["total"]["q_var"].is_null(), !known);
    }
}
