//! Writes a synthetic three-phase recording of any length:
//! `cargo run --release -p meterseal-world --example make_recording -- STEM ASCII|BINARY|BINARY32|FLOAT32 RATE SECONDS`.

use meterseal_world::comtrade::{AnalogChannel, Config, DataFormat, Revision, write};
use std::error::Error;
use std::f64::consts::TAU;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stem, format, rate, seconds] = arguments.as_slice() else {
        return Err("give STEM FORMAT RATE SECONDS, for example /tmp/day BINARY 8000 60".into());
    };
    let formats = [DataFormat::Ascii, DataFormat::Binary, DataFormat::Binary32, DataFormat::Float32];
    let format = formats.into_iter().find(|known| known.name() == format).ok_or("unknown format")?;
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let channel = |k: usize| match k {
        0..3 => AnalogChannel::new(&format!("V{}", k + 1), "", "V", 400.0 / 32_767.0),
        _ => AnalogChannel::new(&format!("I{}", k - 2), "", "A", 20.0 / 32_767.0),
    };
    let config = Config {
        station: "Example".to_owned(),
        device: "make_recording".to_owned(),
        revision: Revision::Year2013,
        analogs: (0..6).map(channel).collect(),
        digitals: Vec::new(),
        line_frequency_hz: Some(50.0),
        rates: vec![(rate, (rate * seconds) as u64)],
        start: "01/01/2026,00:00:00.000000".to_owned(),
        trigger: "01/01/2026,00:00:00.000000".to_owned(),
        format,
        time_multiplier: 1.0,
    };
    let path = write::pair(Path::new(stem), &config, |row, out| {
        for (k, value) in out.analogs.iter_mut().enumerate() {
            let angle = TAU * (50.0 * row as f64 / rate - (k % 3) as f64 / 3.0);
            *value =
                if k < 3 { 325.0 * angle.sin() } else { 14.0 * (angle - 0.5).sin() + (5.0 * angle).sin() };
        }
    })?;
    println!("{}", path.display());
    Ok(())
}
