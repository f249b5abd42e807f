//! Finding voltages and currents, ratios, missing values, scaling, and replaying.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Files, keating};
use meterseal_metrology::{Config, Frame, Metrology, Nominal, Registers};
use meterseal_model::UnixMillis;
use meterseal_world::Site;
use meterseal_world::comtrade::{Recording, Side};
use meterseal_world::mapping::{self, Error, Mapping};
use meterseal_world::scaling::{self, Quantizer, ValueStream, Values};

/// A recording of these channels (`name,phase,unit,primary,secondary,PS`), all with multiplier 1.
fn recording(files: &Files, channels: &[&str], rows: &[&str]) -> Recording {
    let mut config = format!("S,D,1999\n{},{}A,0D\n", channels.len(), channels.len());
    for (k, channel) in channels.iter().enumerate() {
        let fields: Vec<&str> = channel.split(',').collect();
        let ratio = if fields.len() > 3 { fields[3..].join(",") } else { "1,1,P".to_owned() };
        let [name, phase, unit] = fields[..3] else { panic!() };
        config += &format!("{},{name},{phase},,{unit},1,0,0,-32767,32767,{ratio}\n", k + 1);
    }
    config += &format!("50\n1\n1000,{}\n1/1/2000,0:0:0\n1/1/2000,0:0:0\nASCII\n1\n", rows.len());
    let data: String = rows.iter().enumerate().map(|(k, row)| format!("{},,{row}\n", k + 1)).collect();
    let path = files.put("m.cfg", config.as_bytes());
    files.put("m.dat", data.as_bytes());
    Recording::open(&path).unwrap()
}

fn values(recording: &Recording, mapping: &Mapping) -> Result<Vec<Values>, scaling::Error> {
    let mut stream = ValueStream::new(recording, mapping)?;
    let mut all = Vec::new();
    while let Some(values) = stream.next_values()? {
        all.push(values);
    }
    Ok(all)
}

#[test]
fn the_usual_names_are_found() {
    let files = Files::new();
    for channels in [
        ["UL1,,V", "UL2,,V", "UL3,,V", "IL1,,A", "IL2,,A", "IL3,,A", "IN,,A"],
        ["Va,A,kV", "Vb,B,kV", "Vc,C,kV", "Ia,A,kA", "Ib,B,kA", "Ic,C,kA", "In,N,kA"],
        [
            "VA VOLTS,,volt",
            "VB VOLTS,,volt",
            "VC VOLTS,,volt",
            "IA AMPS,,amps",
            "IB AMPS,,amps",
            "IC AMPS,,amps",
            "I4,,A",
        ],
    ] {
        let it = recording(&files, &channels, &["1,2,3,4,5,6,7"]);
        let mapping = mapping::find(&it, None, None).unwrap();
        let kilo = if channels[0].ends_with("kV") { 1e3 } else { 1.0 };
        assert_eq!(values(&it, &mapping).unwrap()[0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(|x| x * kilo));
        assert!(mapping.notes.is_empty(), "{:?}", mapping.notes);
    }
}

#[test]
fn a_person_may_choose_by_name_or_number() {
    let files = Files::new();
    let it = recording(&files, &["x,,V", "y,,V", "IA,,A", "Ib,,A", "V9,,"], &["1,2,3,4,5"]);
    let mapping = mapping::find(&it, Some("V1=y, u2=#1 ,I1=ib,I2=none,V3=V9"), None).unwrap();
    assert_eq!(values(&it, &mapping).unwrap()[0], [2.0, 1.0, 5.0, 4.0, 0.0, 0.0, 0.0]);
    assert!(
        mapping.notes.iter().any(|note| note.contains("\"V9\"") && note.contains("volts")),
        "{:?}",
        mapping.notes
    );
    let unknown = mapping::find(&it, Some("V1=z"), None).unwrap_err().to_string();
    assert!(unknown.contains("\"z\"") && unknown.contains("#3 \"IA\" (A)"), "{unknown}");
    for bad in ["V1", "V9=x", "V1=x,V1=y", "=x"] {
        assert!(matches!(mapping::find(&it, Some(bad), None), Err(Error::Map { .. })), "{bad}");
    }
    assert!(matches!(mapping::find(&it, Some("V1=#9"), None), Err(Error::UnknownChannel { .. })));
}

#[test]
fn no_voltage_and_ambiguous_channels_are_refused_with_the_channels_named() {
    let files = Files::new();
    let none = recording(&files, &["IA,A,A", "P,A,W"], &["1,2"]);
    let error = mapping::find(&none, None, None).unwrap_err().to_string();
    assert!(
        error.contains("no voltage channel") && error.contains("\"IA\"") && error.contains("--map"),
        "{error}"
    );
    let two = recording(&files, &["Bus VA,A,V", "Line VA,A,V"], &["1,2"]);
    let error = mapping::find(&two, None, None).unwrap_err().to_string();
    assert!(error.contains("V1 can be") && error.contains("Line VA"), "{error}");
    assert!(mapping::find(&two, Some("V1=#2"), None).is_ok());
}

#[test]
fn several_neutral_currents_are_no_reason_to_refuse() {
    let files = Files::new();
    let it = recording(&files, &["VA,A,V", "IA,A,A", "IN,N,A", "IG,G,A"], &["1,2,3,4"]);
    let mapping = mapping::find(&it, None, None).unwrap();
    assert_eq!(values(&it, &mapping).unwrap()[0][6], 3.0);
    assert!(mapping.notes[0].contains("\"IG\""), "{:?}", mapping.notes);
}

#[test]
fn a_single_phase_recording_and_one_without_current() {
    let files = Files::new();
    let it = recording(&files, &["Spannung,,V", "Strom,,A"], &["1,2"]);
    let mapping = mapping::find(&it, None, None).unwrap();
    assert!(mapping.voltages[0].is_some() && mapping.currents[0].is_some() && mapping.voltages[1].is_none());
    let it = recording(&files, &["L2,,V"], &["1"]);
    let mapping = mapping::find(&it, None, None).unwrap();
    assert!(mapping.voltages[1].is_some() && mapping.currents.iter().all(Option::is_none));
    assert_eq!(mapping.notes.len(), 1);
}

#[test]
fn line_to_line_voltages_give_phase_voltages_against_the_artificial_neutral() {
    let files = Files::new();
    // V1, V2, V3 = 10, −4, −6: V12 = 14, V23 = 2, V31 = −16.
    for (channels, row) in [
        (vec!["Vab,,V", "Vbc,,V", "Vca,,V", "Ia,,A", "Ic,,A"], "14,2,-16,1,2"),
        (vec!["Vab,,V", "Vcb,,V", "Ia,,A", "Ic,,A"], "14,-2,1,2"),
        (vec!["U31,,V", "U12,,V", "I1,,A", "I3,,A"], "-16,14,1,2"),
    ] {
        let it = recording(&files, &channels, &[row]);
        let mapping = mapping::find(&it, None, None).unwrap();
        let got = values(&it, &mapping).unwrap()[0];
        for (got, expected) in got.iter().zip([10.0, -4.0, -6.0, 1.0, -3.0, 2.0, 0.0]) {
            assert!((got - expected).abs() < 1e-12, "{channels:?}: {got} for {expected}");
        }
    }
}

#[test]
fn ratios_lead_to_either_side_and_a_zero_one_is_refused() {
    let files = Files::new();
    let it = recording(&files, &["VA,A,V,11000,110,S", "IA,A,A,400,5,P"], &["63,80"]);
    let on = |side| values(&it, &mapping::find(&it, None, side).unwrap()).unwrap()[0];
    assert_eq!((on(None)[0], on(None)[3]), (63.0, 80.0));
    assert_eq!((on(Some(Side::Primary))[0], on(Some(Side::Primary))[3]), (6300.0, 80.0));
    assert_eq!((on(Some(Side::Secondary))[0], on(Some(Side::Secondary))[3]), (63.0, 1.0));
    assert!(mapping::find(&it, None, None).unwrap().notes[0].contains("--primary"), "mixed sides are told");
    for ratio in ["0,1,P", "1,0,P", "0,0,S", "-1,1,P"] {
        let it = recording(&files, &[&format!("VA,A,V,{ratio}")], &["1"]);
        let error = mapping::find(&it, None, None).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("\"VA\"") && error.contains("ratio"), "{error}");
    }
}

#[test]
fn short_gaps_are_bridged_and_long_ones_refused() {
    let files = Files::new();
    let it = recording(&files, &["VA,A,V", "IA,A,A"], &["0,8", "10,", "20,", "30,2", "40,0"]);
    let mapping = mapping::find(&it, None, None).unwrap();
    let currents: Vec<f64> = values(&it, &mapping).unwrap().iter().map(|values| values[3]).collect();
    assert_eq!(currents, [8.0, 6.0, 4.0, 2.0, 0.0]);
    assert_eq!(scaling::survey(&it, &mapping).unwrap().bridged_rows, 2);
    for rows in [vec!["0,1", "0,", "0,", "0,", "0,", "0,1"], vec!["0,", "0,1"], vec!["0,1", "0,"]] {
        let it = recording(&files, &["VA,A,V", "IA,A,A"], &rows);
        let error = values(&it, &mapping::find(&it, None, None).unwrap()).unwrap_err().to_string();
        assert!(error.contains("\"IA\"") && error.contains("row "), "{error}");
    }
    // What is missing in a channel that is not measured does not matter.
    let it = recording(&files, &["VA,A,V", "other,,W"], &["1,", "2,", "3,", "4,", "5,"]);
    assert_eq!(values(&it, &mapping::find(&it, None, None).unwrap()).unwrap().len(), 5);
}

#[test]
fn counts_use_the_whole_range_without_clipping() {
    let files = Files::new();
    let it = recording(&files, &["VA,A,V", "IA,A,mA"], &["-300,5", "20,-1", "30000,7"]);
    let mapping = mapping::find(&it, None, None).unwrap();
    let survey = scaling::survey(&it, &mapping).unwrap();
    assert_eq!((survey.peak_volts, survey.peak_amperes), (30_000.0, 0.007));
    let quantizer = Quantizer::fit(&it, &survey).unwrap();
    for values in values(&it, &mapping).unwrap() {
        let frame = quantizer.frame(&values);
        let volts =
            f64::from(frame.voltage[0]) * quantizer.scale().voltage_femtovolts_per_count[0] as f64 * 1e-15;
        assert!((volts - values[0]).abs() <= 30_000.0 * 1.02 / 8_388_607.0);
        assert!(
            frame.voltage[0].abs() < Frame::FULL_SCALE
                && frame.voltage[0].abs() <= Frame::FULL_SCALE * 99 / 100
        );
    }
    let it = recording(&files, &["VA,A,MV"], &["-300"]);
    let mapping = mapping::find(&it, None, None).unwrap();
    let error = Quantizer::fit(&it, &scaling::survey(&it, &mapping).unwrap()).unwrap_err().to_string();
    assert!(error.contains("3.000e8 V"), "{error}");
}

#[test]
fn clipped_channels_are_noticed() {
    let files = Files::new();
    let it = recording(&files, &["VA,A,V", "IA,A,A"], &["1,32767", "2,32767", "3,32767", "4,5"]);
    let survey = scaling::survey(&it, &mapping::find(&it, None, None).unwrap()).unwrap();
    assert_eq!(survey.clipped_channels, ["IA"]);
}

#[test]
fn the_real_recording_replays_as_a_loop_of_whole_cycles() {
    let Some(path) = keating() else { return };
    let it = Recording::open(&path).unwrap();
    let mut site = Site::replay(&it, None, 1, UnixMillis(0)).unwrap();
    let mut frames = vec![Frame::default(); 16_000];
    site.frames(&mut frames);
    let volt = site.scale().voltage_femtovolts_per_count[0] as f64 * 1e-15;
    let rms = |frames: &[Frame]| {
        (frames.iter().map(|frame| (f64::from(frame.voltage[0]) * volt).powi(2)).sum::<f64>()
            / frames.len() as f64)
            .sqrt()
    };
    let mapping = mapping::find(&it, None, None).unwrap();
    let original = values(&it, &mapping).unwrap();
    let expected =
        (original.iter().map(|values| values[0] * values[0]).sum::<f64>() / original.len() as f64).sqrt();
    assert!((rms(&frames) / expected - 1.0).abs() < 0.002, "{} for {expected}", rms(&frames));
    // No step at any seam: never more than the recording's own steepest change.
    let steepest = |changes: &mut dyn Iterator<Item = f64>| changes.fold(0.0, f64::max);
    let played = steepest(
        &mut frames.windows(2).map(|pair| f64::from((pair[1].voltage[0] - pair[0].voltage[0]).abs()) * volt),
    );
    let recorded = steepest(&mut original.windows(4).map(|four| (four[3][0] - four[0][0]).abs())) * 30_707.0
        / 3.0
        / 8_000.0;
    assert!(played < 1.1 * recorded, "{played} V a frame, {recorded} in the recording");
}

#[test]
fn a_replayed_recording_measures_what_the_recording_holds() {
    let files = Files::new();
    let config = "S,D,1999\n2,2A,0D\n1,VA,A,,V,0.01,0,0,-99999,99999,1,1,P\n2,IA,A,,A,0.001,0,0,-99999,99999,1,1,P\n50\n1\n\
                  3000,700\n1/1/2000,0:0:0\n1/1/2000,0:0:0\nASCII\n1\n";
    let hertz = 50.1;
    let row = |k: u32| {
        let angle = std::f64::consts::TAU * hertz * f64::from(k) / 3000.0;
        let volts = 230.0 * 2f64.sqrt() * angle.sin() + 10.0 * (5.0 * angle).sin();
        let amperes = 20.0 * 2f64.sqrt() * (angle - 0.5).sin();
        format!("{},,{:.0},{:.0}\n", k + 1, volts * 100.0, amperes * 1000.0)
    };
    let path = files.put("r.cfg", config.as_bytes());
    files.put("r.dat", (0..700).map(row).collect::<String>().as_bytes());
    let mut site = Site::replay(&Recording::open(&path).unwrap(), None, 3, UnixMillis(0)).unwrap();
    let mut frames = vec![Frame::default(); 40_000];
    site.frames(&mut frames);
    let settings = Config::new(u64::from(Site::SAMPLE_RATE) * 1_000_000, Nominal::Hz50, site.scale());
    let mut core = Metrology::new(settings, Registers::default()).unwrap();
    let mut windows = Vec::new();
    core.push(&frames, &mut |window| windows.push(*window));
    let window = windows.last().unwrap();
    let close = |got: f64, expected: f64, part: f64| {
        assert!((got / expected - 1.0).abs() < part, "{got} for {expected}")
    };
    close(window.frequency_microhertz.unwrap() as f64 * 1e-6, hertz, 1e-5);
    // The front end's gains are off by 200 ppm at most.
    close(window.phases[0].voltage_rms_microvolts as f64 * 1e-6, (230.0f64.powi(2) + 50.0).sqrt(), 3e-4);
    close(window.phases[0].current_rms_microamperes as f64 * 1e-6, 20.0, 3e-4);
    close(window.phases[0].active_power_microwatts as f64 * 1e-6, 4600.0 * 0.5f64.cos(), 6e-4);
    assert!(window.phases[1].voltage_rms_microvolts < 50_000, "only noise where nothing was recorded");
}

#[test]
fn a_phase_is_not_left_out_in_silence() {
    let files = Files::new();
    let three = ["VAA,,V", "VAB,,V", "VAC,,V", "IA,,A", "IB,,A", "IC,,A"];
    let half = ["VA,,V", "mystery,,V", "IA,,A"];
    for channels in [&three[..], &half[..]] {
        let row = vec!["1"; channels.len()].join(",");
        let it = recording(&files, channels, &[&row]);
        let error = mapping::find(&it, None, None).unwrap_err();
        assert!(matches!(error, Error::Incomplete { .. } | Error::Ambiguous { .. }), "{error}");
        assert!(error.to_string().contains("--map"), "{error}");
    }
    let it = recording(&files, &three, &["1,2,3,4,5,6"]);
    let mapping = mapping::find(&it, Some("V1=VAA,V2=VAA"), None).unwrap();
    assert!(mapping.notes.iter().any(|note| note.contains("more than once")), "{:?}", mapping.notes);
    assert!(mapping.notes.iter().any(|note| note.contains("L3 has a current")), "{:?}", mapping.notes);
    for whole in [&["V1,,V", "I1,,A"][..], &["VA,,V", "VB,,V", "IA,,A", "IB,,A"], &["U,,V", "I,,A"]] {
        let row = vec!["1"; whole.len()].join(",");
        assert!(mapping::find(&recording(&files, whole, &[&row]), None, None).is_ok(), "{whole:?}");
    }
}
