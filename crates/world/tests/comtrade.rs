//! COMTRADE: round trips through every format, files as they occur in the wild, and bad input.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Files, keating};
use meterseal_world::comtrade::write::{self, RowToWrite};
use meterseal_world::comtrade::{
    AnalogChannel, Config, DataFormat, Error, Recording, Revision, Section, Side,
};
use proptest::prelude::*;

type Content = (Vec<Vec<f64>>, Vec<Vec<bool>>);

/// Every value and bit of a recording.
fn read(recording: &Recording) -> Result<Content, Error> {
    let digitals = recording.config().digitals.len();
    let mut rows = recording.rows()?;
    let (mut values, mut bits) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next_row()? {
        values.push(row.analogs().to_vec());
        bits.push((0..digitals).map(|k| row.digital(k).unwrap()).collect());
    }
    Ok((values, bits))
}

fn config(
    revision: Revision,
    format: DataFormat,
    analogs: usize,
    digitals: usize,
    rates: Vec<(f64, u64)>,
) -> Config {
    Config {
        station: "Station".to_owned(),
        device: "Device".to_owned(),
        revision,
        analogs: (0..analogs).map(|k| AnalogChannel::new(&format!("V{}", k + 1), "", "V", 0.25)).collect(),
        digitals: (0..digitals).map(|k| format!("D{}", k + 1)).collect(),
        line_frequency_hz: Some(50.0),
        rates,
        start: "01/02/2020,03:04:05.000000".to_owned(),
        trigger: "01/02/2020,03:04:05.000000".to_owned(),
        format,
        time_multiplier: 1.0,
    }
}

fn formats() -> impl Strategy<Value = (Revision, DataFormat)> {
    use {DataFormat::*, Revision::*};
    prop_oneof![
        Just((Year1991, Ascii)),
        Just((Year1991, Binary)),
        Just((Year1999, Ascii)),
        Just((Year1999, Binary)),
        Just((Year2013, Ascii)),
        Just((Year2013, Binary)),
        Just((Year2013, Binary32)),
        Just((Year2013, Float32)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read(
        (revision, format) in formats(),
        analogs in 0usize..6,
        digitals in 0usize..40,
        first in 1u64..30,
        second in 1u64..30,
        numbers in prop::collection::vec(-32_767i32..=32_767, 30),
        missing in prop::option::of(0u64..30),
        single in any::<bool>(),
    ) {
        prop_assume!(analogs + digitals > 0);
        let rates = vec![(1_000.0, first), (4_800.5, first + second)];
        let config = config(revision, format, analogs, digitals, rates);
        let value = |row: u64, k: usize| {
            // The edition of 1991 has a number for missing values only where it is outside the range.
            if missing == Some(row) { f64::NAN } else { f64::from(numbers[(row as usize * 7 + k) % 30]) * 0.25 }
        };
        let bit = |row: u64, k: usize| numbers[(row as usize * 5 + k) % 30] & 1 == 1;
        let fill = |row: u64, out: &mut RowToWrite| {
            out.analogs.iter_mut().enumerate().for_each(|(k, x)| *x = value(row, k));
            out.digitals.iter_mut().enumerate().for_each(|(k, x)| *x = bit(row, k));
        };
        let folder = tempfile::tempdir().unwrap();
        let path = if single {
            let path = folder.path().join("r.cff");
            write::single(&path, &config, fill).unwrap();
            path
        } else {
            write::pair(&folder.path().join("r"), &config, fill).unwrap()
        };
        let recording = Recording::open(&path).unwrap();
        prop_assert_eq!(recording.sections(), &[
            Section { rate_hz: 1_000.0, first_row: 0, rows: first },
            Section { rate_hz: 4_800.5, first_row: first, rows: second },
        ]);
        prop_assert_eq!(&recording.config().digitals, &config.digitals);
        let (values, bits) = read(&recording).unwrap();
        prop_assert_eq!(values.len() as u64, first + second);
        for row in 0..first + second {
            prop_assert_eq!((values[row as usize].len(), bits[row as usize].len()), (analogs, digitals));
            for (k, &got) in values[row as usize].iter().enumerate() {
                let expected = value(row, k);
                prop_assert!(got == expected || got.is_nan() && expected.is_nan(), "row {} channel {}", row, k);
            }
            for (k, &got) in bits[row as usize].iter().enumerate() {
                prop_assert_eq!(got, bit(row, k));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_never_panic(
        config in prop::collection::vec(any::<u8>(), 0..400),
        data in prop::collection::vec(any::<u8>(), 0..400),
        cff in any::<bool>(),
    ) {
        let files = Files::new();
        let path = if cff { files.put("x.cff", &config) } else { files.put("x.cfg", &config) };
        files.put("x.dat", &data);
        if let Ok(recording) = Recording::open(&path) {
            let _ = read(&recording);
        }
    }

    #[test]
    fn a_damaged_recording_is_read_or_refused_and_never_panics(
        (revision, format) in formats(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let config = config(revision, format, 3, 17, vec![(1_000.0, 20)]);
        let files = Files::new();
        let path = files.path("r.cff");
        write::single(&path, &config, |row, out| out.analogs.fill(row as f64)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        files.put("r.cff", &bytes);
        if let Ok(recording) = Recording::open(&path) {
            let _ = read(&recording);
        }
    }
}

#[test]
fn an_edition_1991_recording_without_year_and_ratio() {
    let files = Files::new();
    let path = files.put(
        "OLD.CFG",
        b"Station,Recorder\r\n3,2A,1D\r\n1,UA,A,,kV,0.01,0,0,-2048,2047\r\n2,IA,A,,A,1.5,-3,0,-2048,2047\r\n1,Trip,0\r\n\
          50\r\n1\r\n1000,3\r\n01/31/95,10:00:00.000000\r\n01/31/95,10:00:00.001000\r\nascii\r\n",
    );
    files.put("old.Dat", b"1,0, 100, 10,0\r\n2,1000,200,99999,1\r\n3,2000,-300,20,0\r\n\x1A");
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.config().revision, Revision::Year1991);
    assert_eq!(recording.config().analogs[1].side, Side::Primary);
    let (values, bits) = read(&recording).unwrap();
    assert_eq!(values[0], [1.0, 12.0]);
    assert!(values[1][1].is_nan(), "nines mark a missing value");
    assert_eq!(values[2], [-3.0, 27.0]);
    assert_eq!(bits, [[false], [true], [false]]);
    // Either file may be named.
    assert_eq!(Recording::open(&files.path("old.Dat")).unwrap().row_count(), 3);
}

#[test]
fn blank_lines_extra_commas_spaces_lf_and_a_missing_last_newline_do_no_harm() {
    let files = Files::new();
    let path = files.put(
        "a.cfg",
        b"S , D , 1999 ,,\n\n2, 1A ,1D,\n1, Va, A,, V, 2.0E-1, , , -100, 100, 10, 1, s,,\n1,trip,,,0,\n\n1\n  4000 , 2 \n\n\
          1/1/2000,0:0:0\n1/1/2000,0:0:0\nASCII,\n1\n\n",
    );
    files.put("a.dat", b"\n1,,5,0,\n\n 2 , 250 , -1e1 , 1");
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.config().line_frequency_hz, None);
    assert_eq!(read(&recording).unwrap().0, [[1.0], [-2.0]]);
    let channel = &recording.config().analogs[0];
    assert_eq!(
        (channel.factor_to(Side::Primary), channel.factor_to(Side::Secondary)),
        (Some(10.0), Some(1.0))
    );
}

#[test]
fn names_in_any_encoding_and_names_with_commas() {
    let text = "Zähler,Gerät,1999\r\n1,1A,0D\r\n1,Spannung µ, links,A,,V,1,0,0,-9,9,1,1,P\r\n50\r\n1\r\n1000,1\r\n1/1/2000,0:0:0\r\n\
                1/1/2000,0:0:0\r\nASCII\r\n1\r\n";
    let utf16: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    for bytes in [text.as_bytes().to_vec(), utf16, latin] {
        let files = Files::new();
        let path = files.put("n.cfg", &bytes);
        files.put("n.dat", b"1,0,5\r\n");
        let recording = Recording::open(&path).unwrap();
        assert_eq!(recording.config().station, "Zähler");
        assert_eq!(recording.config().analogs[0].name, "Spannung µ,links");
        assert_eq!(recording.config().analogs[0].phase, "A");
    }
}

#[test]
fn a_single_file_in_other_letter_case_with_text_sections() {
    let files = Files::new();
    let path = files.put(
        "r.CfF",
        b"--- FILE TYPE: cfg ---\nS,D,2013\n1,1A,0D\n1,V1,A,,V,1,0,0,-9,9,1,1,P\n50\n1\n1000,2\n1/1/2000,0:0:0\n\
          1/1/2000,0:0:0\nASCII\n1\n0,0\nB,3\n--- file type: HDR ---\nany --- text\n--- file type: INF ---\n\
          --- file type: DAT ASCII ---\n1,0,5\n2,1000,6\n",
    );
    assert_eq!(read(&Recording::open(&path).unwrap()).unwrap().0, [[5.0], [6.0]]);
}

#[test]
fn without_a_rate_the_time_column_gives_it() {
    let config = |count: &str| {
        format!(
            "S,D,1999\n1,1A,0D\n1,V1,A,,V,1,0,0,-9,9,1,1,P\n50\n0\n0,{count}\n1/1/2000,0:0:0\n1/1/2000,0:0:0\nASCII\n10\n"
        )
    };
    let data = |interval: f64| {
        (0..100).map(|k| format!("{k},{:.0},1\n", f64::from(k) * interval)).collect::<String>()
    };
    let files = Files::new();
    // In tens of microseconds: 3.2552 kHz.
    files.put("t.dat", data(30.72).as_bytes());
    for count in ["100", "0"] {
        let path = files.put("t.cfg", config(count).as_bytes());
        let recording = Recording::open(&path).unwrap();
        let section = recording.sections()[0];
        assert_eq!(section.rows, 100);
        assert!((section.rate_hz - 1e5 / 30.72).abs() < 2.0, "{}", section.rate_hz);
    }
    let jump = data(30.72).replace("\n50,1536,", "\n50,1556,");
    files.put("t.dat", jump.as_bytes());
    let error = Recording::open(&files.path("t.cfg")).unwrap_err();
    assert!(error.to_string().contains("row 51"), "{error}");
}

#[test]
fn without_a_last_sample_number_the_data_tell() {
    let files = Files::new();
    let path = files.put("e.cfg", Sound::CFG.replace("1000,3", "1000,0").as_bytes());
    files.put("e.dat", Sound::DAT.as_bytes());
    assert_eq!(
        Recording::open(&path).unwrap().sections(),
        &[Section { rate_hz: 1000.0, first_row: 0, rows: 3 }]
    );
    files.put("e.dat", b"\r\n\r\n");
    assert!(matches!(Recording::open(&path), Err(Error::Empty { .. })));
}

#[test]
fn the_real_recording_is_read_whole() {
    let Some(path) = keating() else { return };
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.row_count(), 2048);
    assert_eq!(recording.config().analogs.len(), 8);
    let (values, _) = read(&recording).unwrap();
    // Row 1, channel I1: 1571 · −0.01976… + 25.37….
    assert!((values[0][0] - (1571.0 * -0.0197614394128323 + 25.3736882060767)).abs() < 1e-12);
    assert!((values[2047][7]).is_finite());
}

/// One sound recording, and its refusal after one change.
struct Sound;

impl Sound {
    const CFG: &str = "S,D,1999\n3,2A,1D\n1,V1,A,,V,0.5,0,0,-999,999,100,1,P\n2,I1,A,,A,0.1,0,0,-999,999,5,1,P\n1,T,,,0\n\
                       50\n1\n1000,3\n1/1/2000,0:0:0\n1/1/2000,0:0:0\nASCII\n1\n";
    const DAT: &str = "1,0,10,20,0\n2,1000,30,40,1\n3,2000,50,60,0\n";

    fn refusal(config: &str, data: &[u8]) -> String {
        let files = Files::new();
        let path = files.put("bad.cfg", config.as_bytes());
        files.put("bad.dat", data);
        let error = match Recording::open(&path) {
            Err(error) => error,
            Ok(recording) => read(&recording).expect_err("this recording is bad"),
        };
        let text = error.to_string();
        assert!(text.contains("bad."), "names the file: {text}");
        assert!(!text.contains('\n'), "one line: {text}");
        text
    }

    fn config_refusal(from: &str, to: &str) -> String {
        assert!(Self::CFG.contains(from));
        Self::refusal(&Self::CFG.replace(from, to), Self::DAT.as_bytes())
    }

    fn data_refusal(from: &str, to: &str) -> String {
        assert!(Self::DAT.contains(from));
        Self::refusal(Self::CFG, Self::DAT.replace(from, to).as_bytes())
    }
}

#[test]
fn bad_input_says_what_and_where() {
    let says = |text: String, parts: &[&str]| {
        parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} in {text}"))
    };
    says(Sound::data_refusal("3,2000,50,60,0\n", ""), &["truncated", "3 rows", "2 complete"]);
    says(Sound::data_refusal("3,2000,50,60,0\n", "3,20"), &["truncated", "2 complete"]);
    says(Sound::data_refusal("30,40,1", "30,1"), &["row 2", "2 analogue and 1 status", "4 columns"]);
    says(Sound::data_refusal("30,40,1", "30,40,7,1"), &["row 2", "6 columns"]);
    says(Sound::data_refusal("30,40", "30,NaN"), &["row 2", "\"I1\"", "NaN"]);
    says(Sound::data_refusal("30,40", "30,1e999"), &["row 2", "\"I1\"", "1e999"]);
    says(Sound::data_refusal("30,40", "inf,40"), &["row 2", "\"V1\"", "inf"]);
    says(Sound::data_refusal("2,1000", "7,1000"), &["row 3", "expected sample number"]);
    says(Sound::data_refusal("20,0", "20,2"), &["row 1", "\"T\""]);
    says(Sound::config_refusal("ASCII", "ASCIII"), &["line 11", "ASCIII", "FLOAT32"]);
    says(Sound::config_refusal("1000,3", "-5,3"), &["line 8", "-5", "sampling rate"]);
    says(Sound::config_refusal("1000,3", "nan,3"), &["line 8", "sampling rate"]);
    says(Sound::config_refusal("1000,3", "1e12,3"), &["line 8", "1e12"]);
    says(Sound::config_refusal("0.5,0,0", "x,0,0"), &["line 3", "multiplier", "\"V1\"", "\"x\""]);
    says(Sound::config_refusal("3,2A,1D", "4,2A,1D"), &["line 2", "sum"]);
    says(Sound::config_refusal("3,2A,1D", "100000000,99999999A,1D"), &["line 2", "999"]);
    says(Sound::config_refusal("3,2A,1D", "hello"), &["not a COMTRADE recording", "hello"]);
    says(Sound::refusal("S,D,1999\n3,2A,1D\n", b"x"), &["line 3", "the end of the configuration"]);
    says(Sound::refusal("", b"1"), &["empty"]);
    says(Sound::refusal(Sound::CFG, b""), &["empty"]);
    let line = "1".repeat(100_000);
    says(Sound::refusal(Sound::CFG, line.as_bytes()), &["row 1", "a line of more than"]);
}

#[test]
fn binary_data_of_another_width_or_cut_short() {
    let files = Files::new();
    for format in [DataFormat::Binary, DataFormat::Binary32, DataFormat::Float32] {
        let sound = config(Revision::Year2013, format, 3, 0, vec![(1_000.0, 50)]);
        let path = write::pair(&files.path("b"), &sound, |row, out| out.analogs.fill(row as f64)).unwrap();
        let data = files.path("b.dat");
        let bytes = std::fs::read(&data).unwrap();
        let refusal = |analogs: usize| {
            let other = config(Revision::Year2013, format, analogs, 0, vec![(1_000.0, 50)]);
            std::fs::write(&path, write::config_text(&other)).unwrap();
            match Recording::open(&path) {
                Err(error) => error,
                Ok(recording) => read(&recording).expect_err("of another width"),
            }
            .to_string()
        };
        let more = refusal(4);
        assert!(more.contains("do not belong together") && more.contains("4 analogue"), "{more}");
        let fewer = refusal(2);
        assert!(fewer.contains("row 2") || fewer.contains("row 3"), "{fewer}");
        std::fs::write(&data, &bytes[..bytes.len() - 5]).unwrap();
        let cut = refusal(3);
        assert!(cut.contains("truncated") && cut.contains("49 complete"), "{cut}");
    }
}

#[test]
fn float_data_with_nan_or_infinity() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let files = Files::new();
        let config = config(Revision::Year2013, DataFormat::Float32, 1, 0, vec![(1_000.0, 2)]);
        let path = write::pair(&files.path("f"), &config, |_, out| out.analogs.fill(1.0)).unwrap();
        let mut bytes = std::fs::read(files.path("f.dat")).unwrap();
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&bad.to_le_bytes());
        files.put("f.dat", &bytes);
        let error = read(&Recording::open(&path).unwrap()).unwrap_err().to_string();
        assert!(error.contains("row 2") && error.contains("\"V1\""), "{error}");
    }
}

#[test]
fn a_missing_partner_a_folder_and_another_kind_of_file() {
    let files = Files::new();
    let alone = files.put("alone.cfg", Sound::CFG.as_bytes());
    let error = Recording::open(&alone).unwrap_err().to_string();
    assert!(error.contains("alone.dat") && error.contains("same folder"), "{error}");
    let text = files.put("notes.txt", b"hello");
    assert!(matches!(Recording::open(&text), Err(Error::NotComtrade { .. })));
    assert!(matches!(Recording::open(&files.path("")), Err(Error::NotComtrade { .. })));
    assert!(matches!(Recording::open(&files.path("none.cfg")), Err(Error::Io { .. })));
    let cff = files.put("x.cff", b"hello\n");
    assert!(matches!(Recording::open(&cff), Err(Error::NotComtrade { .. })));
}
