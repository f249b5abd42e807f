//! What was measured, for people (a table) and for programs (JSON, whose names are the interface).

use super::engine::Measurement;
use super::summary::Phase;
use meterseal_world::comtrade::{Recording, Side};
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Json {
    frequency_hz: Option<f64>,
    nominal_hz: Option<u32>,
    duration_s: f64,
    phases: Vec<JsonPhase>,
    neutral: Option<JsonNeutral>,
    total: JsonTotal,
    energy: JsonEnergy,
}

#[derive(Serialize)]
struct JsonPhase {
    name: &'static str,
    v_rms: f64,
    i_rms: f64,
    p_w: f64,
    q_var: Option<f64>,
    s_va: f64,
    pf: f64,
    v_angle_deg: Option<f64>,
    i_angle_deg: Option<f64>,
    v_thd: Option<f64>,
    i_thd: Option<f64>,
    v_thd_50: Option<f64>,
    i_thd_50: Option<f64>,
    v_harmonics: Vec<Option<f64>>,
    i_harmonics: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct JsonNeutral {
    i_rms: f64,
    i_harmonics: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct JsonTotal {
    p_w: f64,
    q_var: Option<f64>,
    s_va: f64,
    pf: f64,
}

#[derive(Serialize)]
struct JsonEnergy {
    active_import_wh: f64,
    active_export_wh: f64,
    reactive_import_varh: f64,
    reactive_export_varh: f64,
}

/// The phases' names, in the order of a frame.
pub(super) const NAMES: [&str; 3] = ["L1", "L2", "L3"];

/// One JSON document and a line end. THD is a ratio, not a percentage: `v_thd` of all that is not fundamental (IEEE 1459), `v_thd_50` of the orders 2 to
/// 50 (IEC 61000-4-7). Harmonics are RMS values of orders 1 to 50; an order above 0.4 of the sampling rate is null, and all are for a record of
/// less than two cycles.
pub(super) fn json(measurement: &Measurement) -> String {
    let total = measurement.summary.total();
    // Less than one cycle has no fundamental, and 0 would look measured.
    let fundamental = |value: f64| measurement.summary.has_whole_cycle().then(|| tidy(value));
    let orders = measurement.summary.orders();
    let harmonics = |channel| orders.of(channel).into_iter().map(|value| value.map(tidy)).collect();
    let document = Json {
        frequency_hz: measurement.frequency_hz.map(tidy),
        nominal_hz: measurement.nominal_hz,
        duration_s: tidy(measurement.duration_seconds),
        phases: present(measurement)
            .map(|(k, phase)| JsonPhase {
                name: NAMES[k],
                v_rms: tidy(phase.volts),
                i_rms: tidy(phase.amperes),
                p_w: tidy(phase.watts),
                q_var: fundamental(phase.vars),
                s_va: tidy(phase.volt_amperes),
                pf: tidy(phase.power_factor),
                v_angle_deg: fundamental(phase.volts_degrees),
                i_angle_deg: fundamental(phase.amperes_degrees),
                v_thd: fundamental(phase.volts_thd),
                i_thd: fundamental(phase.amperes_thd),
                v_thd_50: orders.distortion(k).map(tidy),
                i_thd_50: orders.distortion(3 + k).map(tidy),
                v_harmonics: harmonics(k),
                i_harmonics: harmonics(3 + k),
            })
            .collect(),
        neutral: Some(measurement.summary.neutral_amperes())
            .filter(|amperes| *amperes > 0.0)
            .map(|amperes| JsonNeutral { i_rms: tidy(amperes), i_harmonics: harmonics(6) }),
        total: JsonTotal {
            p_w: tidy(total.watts),
            q_var: fundamental(total.vars),
            s_va: tidy(total.volt_amperes),
            pf: tidy(total.power_factor),
        },
        energy: energy(measurement),
    };
    // Numbers and names only: nothing in it can fail to become JSON.
    let mut text = serde_json::to_string_pretty(&document).expect("plain numbers serialise");
    text.push('\n');
    text
}

fn energy(measurement: &Measurement) -> JsonEnergy {
    let hours = |nano: u64| tidy(nano as f64 * 1e-9);
    let registers = &measurement.registers;
    JsonEnergy {
        active_import_wh: hours(registers.total_import_nanowatt_hours),
        active_export_wh: hours(registers.total_export_nanowatt_hours),
        reactive_import_varh: hours(registers.reactive_import_nanovar_hours()),
        reactive_export_varh: hours(registers.reactive_export_nanovar_hours()),
    }
}

/// To nine decimals, which is finer than the core's micro-units: no digits that only binary fractions made.
fn tidy(value: f64) -> f64 {
    let tidy = (value * 1e9).round() / 1e9;
    if tidy.is_finite() { tidy + 0.0 } else { value }
}

fn present(measurement: &Measurement) -> impl Iterator<Item = (usize, Phase)> + '_ {
    let there = |k: &usize| measurement.present[*k].0 || measurement.present[*k].1;
    (0..3).filter(there).map(|k| (k, measurement.summary.phase(k)))
}

/// The recording's name in one line.
pub(super) fn title(recording: &Recording) -> String {
    let path = std::path::Path::new(recording.config_path());
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// A table for people.
pub(super) fn table(recording: &Recording, measurement: &Measurement, side: Option<Side>) -> String {
    let mut text = heading(recording, measurement, side);
    let phases: Vec<(usize, Phase)> = present(measurement).collect();
    let total = measurement.summary.total();
    let several = phases.len() > 1;

    let mut line = |label: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>14}")).collect();
        let _ = writeln!(text, "{}", format!("  {label:<10}{cells}").trim_end());
    };
    let mut names: Vec<String> = phases.iter().map(|(k, _)| NAMES[*k].to_owned()).collect();
    if several {
        names.push("total".to_owned());
    }
    line("", names);
    let mut scaled = |label: &str, unit: &str, of: &dyn Fn(&Phase) -> f64, total: Option<f64>| {
        let mut values: Vec<f64> = phases.iter().map(|(_, phase)| of(phase)).collect();
        values.extend(total.filter(|_| several));
        let (factor, prefix) = prefix(values.iter().fold(0.0, |most: f64, value| most.max(value.abs())));
        line(
            label,
            values.iter().map(|value| format!("{} {prefix}{unit}", digits(value / factor))).collect(),
        );
    };
    scaled("voltage", "V", &|phase| phase.volts, None);
    scaled("current", "A", &|phase| phase.amperes, None);
    scaled("P", "W", &|phase| phase.watts, Some(total.watts));
    scaled("Q1", "var", &|phase| phase.vars, Some(total.vars));
    scaled("S", "VA", &|phase| phase.volt_amperes, Some(total.volt_amperes));
    let mut factors: Vec<String> =
        phases.iter().map(|(_, phase)| format!("{:.4}", phase.power_factor)).collect();
    if several {
        factors.push(format!("{:.4}", total.power_factor));
    }
    line("PF", factors);
    let mut plain = |label: &str, of: &dyn Fn(&Phase) -> String| {
        line(label, phases.iter().map(|(_, phase)| of(phase)).collect());
    };
    plain("angle V", &|phase| format!("{:.2}°", phase.volts_degrees));
    plain("angle I", &|phase| format!("{:.2}°", phase.amperes_degrees));
    plain("THD V", &|phase| format!("{:.2} %", phase.volts_thd * 100.0));
    plain("THD I", &|phase| format!("{:.2} %", phase.amperes_thd * 100.0));
    let orders = measurement.summary.orders();
    for (label, first) in [("THD50 V", 0), ("THD50 I", 3)] {
        let cell = |k: &usize| {
            let ratio = orders.distortion(first + k);
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0))
        };
        line(label, phases.iter().map(|(k, _)| cell(k)).collect());
    }

    let energy = energy(measurement);
    let hours = |value: f64, unit: &str| {
        let (factor, prefix) = prefix(value);
        format!("{} {prefix}{unit}", digits(value / factor))
    };
    let _ = writeln!(
        text,
        "\n  energy      import {}, export {}\n  reactive    import {}, export {}",
        hours(energy.active_import_wh, "Wh"),
        hours(energy.active_export_wh, "Wh"),
        hours(energy.reactive_import_varh, "varh"),
        hours(energy.reactive_export_varh, "varh"),
    );
    for warning in &measurement.warnings {
        let _ = writeln!(text, "  note: {warning}");
    }
    text
}

fn heading(recording: &Recording, measurement: &Measurement, side: Option<Side>) -> String {
    let rates: Vec<String> =
        recording.sections().iter().map(|section| decimals(section.rate_hz, 3)).collect();
    let side = match side {
        Some(Side::Primary) => "primary values",
        Some(Side::Secondary) => "secondary values",
        None => "values on each channel's own side",
    };
    let frequency = measurement
        .frequency_hz
        .map_or_else(|| "frequency not determinable".to_owned(), |hertz| format!("{hertz:.3} Hz"));
    let nominal = measurement.nominal_hz.map_or_else(String::new, |hertz| format!(" (nominal {hertz} Hz)"));
    let neutral = match measurement.summary.neutral_amperes() {
        amperes if amperes > 0.0 => {
            let (factor, prefix) = prefix(amperes);
            format!(", neutral {} {prefix}A", digits(amperes / factor))
        }
        _ => String::new(),
    };
    format!(
        "{}: {} rows at {} Hz, {} s measured\n{frequency}{nominal}{neutral}, {side}\n\n",
        title(recording),
        recording.row_count(),
        rates.join(" / "),
        decimals(measurement.duration_seconds, 4),
    )
}

/// A number with at most this many decimals, without zeros at its end.
fn decimals(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The prefix under which a value has one to three digits before the point.
pub(super) fn prefix(value: f64) -> (f64, &'static str) {
    match value.abs() {
        ..1e-3 if value != 0.0 => (1e-6, "µ"),
        1e-3..0.1 => (1e-3, "m"),
        1e4..1e7 => (1e3, "k"),
        1e7..1e10 => (1e6, "M"),
        1e10.. => (1e9, "G"),
        _ => (1.0, ""),
    }
}

/// About five digits.
pub(super) fn digits(value: f64) -> String {
    let places = match value.abs() {
        1e4.. => 0,
        1e3.. => 1,
        100.0.. => 2,
        10.0.. => 3,
        _ => 4,
    };
    // Adding zero makes a negative zero positive.
    format!("{:.places$}", value + 0.0)
}
