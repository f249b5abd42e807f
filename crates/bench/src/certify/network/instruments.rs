//! The instruments of a bench: a three-phase source, a reference standard, a counter that stamps pulses with the time, and a climate chamber.
//!
//! Every maker's commands differ, so each is a template of the profile; without one it is that of the simulator, which keeps to the manner of
//! SCPI-1999. In a template `{phase}` is 1 to 3, `{value}` the number, `{order}` a harmonic's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use meterseal_world::physics::{FUNDAMENTAL, LoadPoint, Tone};
use serde::Deserialize;

use super::scpi::Scpi;
use crate::certify::Trouble;

/// The instruments that there are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstrumentsProfile {
    /// Source of voltage and current.
    pub source: Option<InstrumentProfile>,
    /// Reference standard.
    pub reference: Option<InstrumentProfile>,
    /// Counter at the meter's pulse output.
    pub pulses: Option<InstrumentProfile>,
    /// Climate chamber.
    pub chamber: Option<InstrumentProfile>,
}

/// One instrument, and what its calibration certificate says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstrumentProfile {
    /// `tcp://HOST:PORT`.
    pub address: String,
    /// Its serial number.
    pub serial: String,
    /// The number of its calibration certificate.
    pub certificate: String,
    /// When it was calibrated, `YYYY-MM-DD`.
    pub calibrated: String,
    /// When it is due again, `YYYY-MM-DD`.
    pub due: String,
    /// Expanded uncertainty (k = 2) that it adds to a measurement of energy, per cent: of a source, its stability within a run.
    pub uncertainty_percent: Option<f64>,
    /// The counter's resolution, seconds.
    pub resolution_seconds: f64,
    /// How long the chamber's temperature must have stood until the whole meter has it, seconds.
    pub soak_seconds: Option<f64>,
    /// How long it may take for an answer, seconds; 0 for the usual 5.
    pub timeout_seconds: f64,
    /// Its own commands, where they differ.
    pub commands: BTreeMap<String, String>,
}

/// Commands by instrument and name, and what they are without a profile's.
const COMMANDS: [(&str, &str, &str); 16] = [
    ("", "identify", "*IDN?"),
    ("", "error", "SYST:ERR?"),
    ("source", "volts", "SOUR:VOLT{phase} {value}"),
    ("source", "volts_angle", "SOUR:VOLT{phase}:PHAS {value}"),
    ("source", "amperes", "SOUR:CURR{phase} {value}"),
    ("source", "amperes_angle", "SOUR:CURR{phase}:PHAS {value}"),
    ("source", "hertz", "SOUR:FREQ {value}"),
    ("source", "on", "OUTP ON"),
    ("source", "off", "OUTP OFF"),
    // Joules and seconds since its accumulation was begun, by its own clock.
    ("reference", "energy", "MEAS:ENER?"),
    // The times of pulses since this was last asked, seconds by its own clock, and what that shows now.
    ("pulses", "stamps", "FETC:TST?"),
    ("pulses", "clock", "SYST:TIM?"),
    ("chamber", "celsius", "SOUR:TEMP {value}"),
    ("chamber", "temperature", "MEAS:TEMP?"),
    ("chamber", "on", "OUTP ON"),
    ("chamber", "off", "OUTP OFF"),
];

/// How a calibration that is due is marked in a report.
pub const OVERDUE: &str = "OVERDUE";

const USUAL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a chamber may take to reach a temperature.
const CHAMBER_WITHIN: Duration = Duration::from_secs(4 * 3600);
/// Over how long the first mean of a load's power is taken.
const FIRST_MEAN: Duration = Duration::from_millis(200);
/// How near it must come, kelvin.
const CHAMBER_WITHIN_KELVIN: f64 = 1.0;

impl InstrumentsProfile {
    /// The instruments with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &InstrumentProfile)> {
        [
            ("source", &self.source),
            ("reference", &self.reference),
            ("pulses", &self.pulses),
            ("chamber", &self.chamber),
        ]
        .into_iter()
        .filter_map(|(name, one)| Some((name, one.as_ref()?)))
    }

    pub(in crate::certify) fn check(&self) -> Result<(), String> {
        for (name, one) in self.all() {
            one.check(name).map_err(|problem| format!("instruments.{name}{problem}"))?;
        }
        let together = [self.source.is_some(), self.reference.is_some(), self.pulses.is_some()];
        if together.contains(&true) && together.contains(&false) {
            return Err("instruments has only some of source, reference and pulses; a load is measured with all three".to_owned());
        }
        Ok(())
    }

    /// For a report: each with its calibration.
    pub fn traceability(&self) -> Vec<String> {
        let line = |(name, one): (&str, &InstrumentProfile)| {
            let due = if one.overdue(&today()) {
                format!(", {OVERDUE}: nothing measured with it passes")
            } else {
                String::new()
            };
            let uncertainty = one.uncertainty_percent.unwrap_or_default();
            format!(
                "{name}: serial {}, calibration certificate {} of {}, due {}{due}; uncertainty {uncertainty} % (k = 2)",
                one.serial, one.certificate, one.calibrated, one.due
            )
        };
        self.all().map(line).collect()
    }

    /// The first whose calibration is due, in words. `today` as `YYYY-MM-DD`.
    pub fn overdue(&self, today: &str) -> Option<Trouble> {
        let (name, one) = self.all().find(|(_, one)| one.overdue(today))?;
        let problem = format!(
            "its calibration (certificate {}) was due on {}; nothing measured with it counts; have it calibrated, and enter the new certificate",
            one.certificate, one.due
        );
        Some(Trouble::Instrument { name: name.to_owned(), problem })
    }

    /// What a measurement of energy over so many seconds is uncertain by (k = 2), per cent: the standard, the counter, the source's stability,
    /// and the placing of the first and the last pulse.
    pub fn uncertainty_percent(&self, seconds: f64) -> f64 {
        let own = |one: &Option<InstrumentProfile>| {
            one.as_ref().and_then(|one| one.uncertainty_percent).unwrap_or_default()
        };
        let resolution = self.pulses.as_ref().map_or(0.0, |one| one.resolution_seconds);
        // Rectangular, half a step each way, twice.
        let placing = 2.0 * 2f64.sqrt() * 0.5 * resolution / 3f64.sqrt() / seconds.max(1e-3) * 100.0;
        own(&self.source).hypot(own(&self.reference)).hypot(own(&self.pulses)).hypot(placing)
    }
}

impl InstrumentProfile {
    fn check(&self, name: &str) -> Result<(), String> {
        if !self.address.starts_with("tcp://") {
            return Err(format!(".address is \"{}\"; write tcp://HOST:PORT", self.address));
        }
        for (field, text) in [("serial", &self.serial), ("certificate", &self.certificate)] {
            if text.trim().is_empty() {
                return Err(format!(".{field} is missing: results must be traceable to a calibration"));
            }
        }
        for (field, date) in [("calibrated", &self.calibrated), ("due", &self.due)] {
            if !is_date(date) {
                return Err(format!(".{field} is \"{date}\"; write YYYY-MM-DD"));
            }
        }
        match self.uncertainty_percent {
            Some(percent) if (0.0..=10.0).contains(&percent) => {}
            Some(percent) => return Err(format!(".uncertainty_percent is {percent}; it must be 0 to 10")),
            None => return Err(".uncertainty_percent (k = 2) is missing".to_owned()),
        }
        if name == "pulses" && !(1e-12..=0.01).contains(&self.resolution_seconds) {
            return Err(format!(
                ".resolution_seconds is {}; it must be 1e-12 to 0.01",
                self.resolution_seconds
            ));
        }
        if !(0.0..=600.0).contains(&self.timeout_seconds)
            || !(0.0..=86_400.0).contains(&self.soak_seconds.unwrap_or_default())
        {
            return Err(": a time is out of range (timeout 0 to 600 s, soak 0 to 86400 s)".to_owned());
        }
        for (command, template) in &self.commands {
            let known = |(whose, known, _): &(&str, &str, &str)| {
                *known == command && (whose.is_empty() || *whose == name)
            };
            if !COMMANDS.iter().any(known) {
                let all = COMMANDS.iter().filter(|(whose, ..)| whose.is_empty() || *whose == name);
                let all: Vec<&str> = all.map(|(_, known, _)| *known).collect();
                return Err(format!(".commands.{command} is not known; there are {}", all.join(", ")));
            }
            if template.len() > 200 || template.contains(['\n', '\r']) {
                return Err(format!(".commands.{command} is no command of one line"));
            }
        }
        Ok(())
    }

    fn overdue(&self, today: &str) -> bool {
        // ISO 8601 dates order as text.
        self.due.as_str() < today
    }

    fn template(&self, whose: &str, name: &str) -> String {
        let usual = || {
            let found =
                COMMANDS.iter().find(|(of, known, _)| (*of == whose || of.is_empty()) && *known == name);
            found.map(|(.., template)| (*template).to_owned()).unwrap_or_default()
        };
        self.commands.get(name).cloned().unwrap_or_else(usual)
    }
}

fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok());
    text.len() == 10
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
        && digits(5..7).is_some_and(|month| (1..=12).contains(&month))
        && digits(8..10).is_some_and(|day| (1..=31).contains(&day))
}

/// The day in UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Days to a civil date: eras of 400 years that begin in March.
    let days = (seconds / 86_400) as i64 + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// An instrument that answers, with its commands.
struct Instrument {
    kind: &'static str,
    profile: InstrumentProfile,
    scpi: Scpi,
}

impl Instrument {
    fn connect(kind: &'static str, profile: &InstrumentProfile) -> Result<(Self, String), Trouble> {
        let within = match profile.timeout_seconds {
            seconds if seconds > 0.0 => Duration::from_secs_f64(seconds),
            _ => USUAL_PATIENCE,
        };
        let error = profile.template(kind, "error");
        let mut scpi = Scpi::connect(kind, &profile.address, &error, within)?;
        let says = scpi.query(&profile.template(kind, "identify"))?;
        // Its third field is the serial number (IEEE 488.2, *IDN?); a certificate of another instrument is none.
        let serial = says.split(',').nth(2).map(str::trim).unwrap_or_default();
        if !matches!(serial, "" | "0") && serial != profile.serial {
            return Err(scpi.trouble(format!(
                "says that its serial number is {serial}, but the profile's calibration certificate is that of {}; enter its own",
                profile.serial
            )));
        }
        Ok((Self { kind, profile: profile.clone(), scpi }, says))
    }

    fn command(&mut self, name: &str, values: &[(&str, String)]) -> Result<(), Trouble> {
        let template = self.profile.template(self.kind, name);
        self.scpi.command(&filled(template, values))
    }

    fn numbers(&mut self, name: &str) -> Result<Vec<f64>, Trouble> {
        let query = self.profile.template(self.kind, name);
        self.scpi.numbers(&query)
    }
}

fn filled(mut template: String, values: &[(&str, String)]) -> String {
    for (name, value) in values {
        template = template.replace(&format!("{{{name}}}"), value);
    }
    template
}

/// All of a bench's instruments, connected.
pub struct Instruments {
    source: Instrument,
    reference: Instrument,
    pulses: Instrument,
    chamber: Option<Instrument>,
    simulated: bool,
    /// The reference's energy and time when its power was last asked.
    before: Option<(f64, f64)>,
    /// What the counter's clock is ahead of the bench's, seconds.
    ahead: f64,
    /// Output of the source; it is switched on with the first load.
    on: bool,
}

impl Instruments {
    /// Connects to them; `None` for a bench without. `begun` is when the bench's clock began.
    ///
    /// # Errors
    /// [`Trouble::Instrument`]: one does not answer, or is not the one of the profile.
    pub fn connect(profile: &InstrumentsProfile, begun: Instant) -> Result<Option<Self>, Trouble> {
        let (Some(source), Some(reference), Some(pulses)) =
            (&profile.source, &profile.reference, &profile.pulses)
        else {
            return Ok(None);
        };
        let mut simulated = false;
        let mut connect = |kind, profile| {
            let (instrument, says) = Instrument::connect(kind, profile)?;
            simulated |= says.starts_with(super::simulator::MAKER);
            Ok::<_, Trouble>(instrument)
        };
        let (source, reference) = (connect("source", source)?, connect("reference", reference)?);
        let mut pulses = connect("pulses", pulses)?;
        let chamber = profile.chamber.as_ref().map(|chamber| connect("chamber", chamber)).transpose()?;
        let asked = begun.elapsed().as_secs_f64();
        let clock = one(&mut pulses, "clock")?;
        let ahead = clock - f64::midpoint(asked, begun.elapsed().as_secs_f64());
        Ok(Some(Self { source, reference, pulses, chamber, simulated, before: None, ahead, on: false }))
    }

    /// Whether some of them are the simulator's.
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// Whether there is a chamber.
    pub fn has_chamber(&self) -> bool {
        self.chamber.is_some()
    }

    /// Sets a load.
    ///
    /// # Errors
    /// [`Trouble`]: the source cannot make it, or refuses.
    pub fn load(&mut self, load: &LoadPoint) -> Result<(), Trouble> {
        let number = |value: f64| format!("{value:.6}");
        for phase in 0..3 {
            let voltage = sine(&load.voltage[phase])?;
            let current = sine(&load.current[phase])?;
            let phase = (phase + 1).to_string();
            for (name, value) in [
                ("volts", voltage.0),
                ("volts_angle", voltage.1),
                ("amperes", current.0),
                ("amperes_angle", current.1),
            ] {
                self.source.command(name, &[("phase", phase.clone()), ("value", number(value))])?;
            }
        }
        self.source.command("hertz", &[("value", number(load.frequency_hz))])?;
        self.before = None;
        if !self.on { self.output(true) } else { Ok(()) }
    }

    /// Switches the source, which is the meter's supply too.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn output(&mut self, on: bool) -> Result<(), Trouble> {
        self.source.command(if on { "on" } else { "off" }, &[])?;
        self.on = on;
        Ok(())
    }

    /// Energy, joules, and time, seconds, by the reference.
    fn energy(&mut self) -> Result<(f64, f64), Trouble> {
        match self.reference.numbers("energy")?[..] {
            [joules, seconds, ..] => Ok((joules, seconds)),
            _ => Err(self.reference.scpi.trouble(
                "does not answer with energy and time (joules, seconds); check the command \"energy\"",
            )),
        }
    }

    /// The reference's energy, joules.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn joules(&mut self) -> Result<f64, Trouble> {
        Ok(self.energy()?.0)
    }

    /// The mean power since this was last asked, watts.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn watts(&mut self) -> Result<f64, Trouble> {
        let (joules, seconds) = match self.before.take() {
            Some(before) => before,
            // Never asked at this load: a mean needs a while.
            None => {
                let before = self.energy()?;
                std::thread::sleep(FIRST_MEAN);
                before
            }
        };
        let now = self.energy()?;
        self.before = Some(now);
        if now.1 <= seconds {
            return Err(self.reference.scpi.trouble("its time does not go on; check that it accumulates"));
        }
        Ok((now.0 - joules) / (now.1 - seconds))
    }

    /// When pulses came, by the bench's clock.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn pulses(&mut self) -> Result<Vec<f64>, Trouble> {
        let stamps = self.pulses.numbers("stamps")?;
        if !stamps.is_sorted() {
            return Err(self.pulses.scpi.trouble("gives pulses that are not in the order of their times"));
        }
        Ok(stamps.iter().map(|stamp| stamp - self.ahead).collect())
    }

    /// Sets the chamber and waits until the meter has its temperature.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn ambient(&mut self, celsius: f64) -> Result<(), Trouble> {
        let chamber = self.chamber.as_mut().ok_or(Trouble::Lacks("climate chamber"))?;
        chamber.command("celsius", &[("value", format!("{celsius:.2}"))])?;
        chamber.command("on", &[])?;
        let begun = Instant::now();
        loop {
            let now = one(chamber, "temperature")?;
            if (now - celsius).abs() <= CHAMBER_WITHIN_KELVIN {
                break;
            }
            if begun.elapsed() > CHAMBER_WITHIN {
                return Err(chamber.scpi.trouble(format!("is at {now} °C after 4 h, not at {celsius} °C")));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        std::thread::sleep(Duration::from_secs_f64(chamber.profile.soak_seconds.unwrap_or(3600.0)));
        Ok(())
    }
}

impl Drop for Instruments {
    fn drop(&mut self) {
        // Nobody leaves a bench with its output on.
        if self.on {
            let _ = self.source.command("off", &[]);
        }
    }
}

fn one(instrument: &mut Instrument, name: &str) -> Result<f64, Trouble> {
    let query = instrument.profile.template(instrument.kind, name);
    instrument.scpi.number(&query)
}

/// Root mean square and degrees of a sine.
fn sine(tones: &[Tone]) -> Result<(f64, f64), Trouble> {
    match tones {
        [] => Ok((0.0, 0.0)),
        [tone] if tone.quarter_order == FUNDAMENTAL => Ok((tone.rms, tone.radians.to_degrees())),
        _ => Err(Trouble::Lacks("source that makes harmonics or switched currents over SCPI")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(due: &str) -> InstrumentProfile {
        InstrumentProfile {
            address: "tcp://127.0.0.1:1".into(),
            serial: "7".into(),
            certificate: "C-1".into(),
            calibrated: "2026-01-01".into(),
            due: due.into(),
            uncertainty_percent: Some(0.003),
            resolution_seconds: 1e-6,
            ..InstrumentProfile::default()
        }
    }

    #[test]
    fn a_calibration_that_is_due_is_told_and_the_budget_adds_up() {
        let mut all = InstrumentsProfile {
            source: Some(instrument("2999-01-01")),
            reference: Some(instrument("2026-06-30")),
            pulses: Some(instrument("2999-01-01")),
            chamber: None,
        };
        assert!(all.check().is_ok() && all.overdue("2026-06-30").is_none());
        let trouble = all.overdue("2026-07-01").unwrap().to_string();
        assert!(trouble.contains("reference") && trouble.contains("C-1"), "{trouble}");
        assert!((all.uncertainty_percent(1e9) - 0.003 * 3f64.sqrt()).abs() < 1e-9);
        assert!(all.uncertainty_percent(1.0) > all.uncertainty_percent(30.0));
        all.pulses = None;
        assert!(all.check().unwrap_err().contains("all three"));
        assert!(is_date(&today()) && today().as_str() > "2025-01-01");
        for wrong in ["", "2026-13-01", "2026-1-1", "01.01.2026", "2026-01-32"] {
            assert!(instrument(wrong).check("reference").is_err(), "{wrong}");
        }
        let mut other = instrument("2999-01-01");
        other.commands.insert("volts".into(), "V {value}".into());
        assert!(other.check("source").is_ok());
        assert!(other.check("reference").unwrap_err().contains("energy"));
        assert_eq!(filled(other.template("source", "volts"), &[("value", "230".into())]), "V 230");
    }
}
