//! `docs/tamper.md` is written from the tables that the meter runs on. This test fails when it is out of date;
//! `UPDATE_DOCS=1 cargo test -p meterseal-meter --test tamper_document` writes it.

use std::fmt::Write as _;

use meterseal_meter::Thresholds;
use meterseal_model::{EventCode, Obis};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tamper.md");

#[test]
fn the_document_of_tamper_detection_is_up_to_date() {
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &document).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        found == document,
        "docs/tamper.md is out of date: run UPDATE_DOCS=1 cargo test -p meterseal-meter --test tamper_document"
    );
}

/// What a condition begins at, what ends it, and how long each must last: fields of the thresholds.
struct Rule {
    begins: &'static [EventCode],
    from: &'static [&'static str],
    to: &'static [&'static str],
    waits: [&'static str; 2],
}

/// Everything that sensors and measurement can show, in the order of the thresholds.
const RULES: &[Rule] = {
    use EventCode::*;
    const fn rule(
        begins: &'static [EventCode],
        from: &'static [&'static str],
        to: &'static [&'static str],
        waits: [&'static str; 2],
    ) -> Rule {
        Rule { begins, from, to, waits }
    }
    const WIRING: [&str; 2] = ["wiring_ms"; 2];
    const SUPPLY: [&str; 2] = ["", "supply_quiet_ms"];
    &[
        rule(&[CoverRemoved, TerminalCoverRemoved], &[], &[], ["debounce_ms"; 2]),
        rule(&[MagnetOn], &["magnet_on_microtesla"], &["magnet_off_microtesla"], ["debounce_ms"; 2]),
        rule(&[AlternatingFieldOn], &["alternating_on_microtesla"], &["alternating_off_microtesla"], [""; 2]),
        rule(&[VoltageSpike], &["spike_millivolts"], &[], [""; 2]),
        rule(&[Tilted], &["upright_axis", "tilt_on_degrees"], &["tilt_off_degrees"], ["tilt_ms"; 2]),
        rule(&[OverTemperature], &["hot_millikelvin"], &["cool_millikelvin"], ["heat_ms"; 2]),
        rule(
            &[OvervoltageL1, OvervoltageL2, OvervoltageL3],
            &["swell_permille"],
            &["voltage_hysteresis_permille"],
            SUPPLY,
        ),
        rule(
            &[PhaseLostL1, PhaseLostL2, PhaseLostL3, SupplyInterrupted],
            &["lost_permille"],
            &["voltage_hysteresis_permille"],
            SUPPLY,
        ),
        rule(&[PhaseSequenceWrong], &[], &[], SUPPLY),
        rule(
            &[CurrentReversedL1, CurrentReversedL2, CurrentReversedL3],
            &["reversed_milliwatts", "generation_expected"],
            &["half of reversed_milliwatts"],
            WIRING,
        ),
        rule(
            &[BypassL1, BypassL2, BypassL3, NeutralMismatch],
            &["neutral_milliamperes", "neutral_permille"],
            &["half of it"],
            WIRING,
        ),
        rule(
            &[CurrentWithoutVoltageL1, CurrentWithoutVoltageL2, CurrentWithoutVoltageL3],
            &["unmeasured_milliamperes", "lost_permille"],
            &["half of unmeasured_milliamperes"],
            WIRING,
        ),
    ]
};

#[test]
fn every_condition_of_sensors_and_measurement_has_its_rule_and_every_threshold_is_used() {
    use EventCode::*;
    // What ends otherwise than by a sensor or a window: orders, limits, and what is not begun any more.
    let others =
        [RemoteDisconnection, LocalDisconnection, LimitExceeded, CurrentReversed, CurrentWithoutVoltage];
    for begin in EventCode::ALL.iter().filter_map(|code| code.ends()) {
        let ruled = RULES.iter().any(|rule| rule.begins.contains(&begin));
        assert!(ruled != others.contains(&begin), "{begin}");
    }
    let used: Vec<_> = RULES.iter().flat_map(|rule| [rule.from, rule.to, &rule.waits].concat()).collect();
    for name in Thresholds::NAMES {
        let of_surges = name == "spike_quiet_ms";
        assert!(of_surges || used.iter().any(|used| used.ends_with(name)), "{name}");
    }
    for used in used.iter().filter(|used| !used.is_empty() && **used != "half of it") {
        let name = used.trim_start_matches("half of ");
        assert!(Thresholds::NAMES.contains(&name), "{used}");
    }
}

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for rule in RULES {
        let codes: Vec<_> = rule.begins.iter().map(|code| format!("`{code}`")).collect();
        let list = |fields: &[&str]| match fields {
            [] => "–".to_owned(),
            fields => fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", "),
        };
        let [begin, end] = rule.waits.map(|wait| if wait.is_empty() { "at once" } else { wait });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {begin} | {end} |",
            codes.join(", "),
            list(rule.from),
            list(rule.to)
        );
    }
    text.push_str(THRESHOLDS_HEAD);
    let standard = Thresholds::STANDARD.to_fields();
    for (k, name) in Thresholds::NAMES.into_iter().enumerate() {
        let ((least, most), note) = (Thresholds::RANGES[k], Thresholds::NOTES[k].trim());
        let _ = writeln!(text, "| {} | `{name}` | {} | {least} to {most} | {note} |", k + 1, standard[k]);
    }
    text.push_str(EVENTS_HEAD);
    for code in EventCode::ALL.iter().filter(|code| is_of_tampering(**code)) {
        let ends: Vec<_> = code.ended_by().map(|end| format!("`{end}`")).collect();
        let counter = code.counter().map(|counter| format!("`{}`", Obis::TAMPER_COUNTERS[counter.index()]));
        let _ = writeln!(
            text,
            "| {} | `{code}` | {:?} | {} | {} | {} | {} | {} |",
            *code as u8,
            code.severity(),
            code.sentence(),
            code.extreme(),
            if ends.is_empty() { "–".to_owned() } else { ends.join(", ") },
            if code.alarm() == 0 { "–".to_owned() } else { format!("{:#010x}", code.alarm()) },
            counter.unwrap_or("–".to_owned()),
        );
    }
    text
}

/// Everything that is counted, raises the alarm of fraud, begins at a sensor or a window, or ends such.
fn is_of_tampering(code: EventCode) -> bool {
    let is_ruled = |code| RULES.iter().any(|rule| rule.begins.contains(&code));
    let fraud = meterseal_model::alarm::bit::FRAUD;
    let counts = |code: EventCode| code.counter().is_some() || code.alarm() & fraud != 0;
    counts(code) || is_ruled(code) || code.ends().is_some_and(|begin| counts(begin) || is_ruled(begin))
}

const INTRODUCTION: &str = "\
# Tamper detection

Written by a test from the tables that the meter runs on. The meter reads its sensors every 4 ms, and judges them, each
window of the measurement (0.2 s) and what the core says of the supply within a cycle and a half. Every event is in flash
before anybody is told; how fast, and that a normal life raises none, is in [figures.md](figures.md#tamper-detection),
measured by `meterseal tamper`.

A cover that was opened or closed without supply is logged at power-up: its extreme value is how much earlier it may have
been. A surge is over as soon as it has happened; one that follows within `spike_quiet_ms` belongs to it unless it is a
tenth higher than the highest so far. A bypassed phase is the one with whose current (or voltage, if no current is left)
the missing current goes, within 55°; otherwise the event is `neutral_mismatch`. Events of a sag, of an unbalance and of
what else concerns the quality of the supply are in the power-quality log, each with its phase.

## What begins and ends an event

| event | begins at or beyond | ends below, or back by | must last to begin | to end |
|---|---|---|---|---|
";

const THRESHOLDS_HEAD: &str = "
## Thresholds

Object `0-128:96.20.100*255`: a structure of its version (1) and these, in this order. The utility reads and sets it; a
change is an event of the security log and in force with the meter's next tick.

| place | name | standard | range | what it is |
|---|---|---|---|---|
";

const EVENTS_HEAD: &str = "
## Events

| number | name | severity | meaning | extreme value | ended by | alarm register 1 | counter |
|---|---|---|---|---|---|---|---|
";
