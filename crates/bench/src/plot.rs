//! Drawings of an accuracy run: error against current, against temperature, and the population's histogram. SVG without scripts, fonts or links, which
//! follows the viewer's light or dark scheme.

use crate::accuracy::{Results, Sensors, Settings};
use crate::points::{Group, IN};
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = HEIGHT - 64.0;

/// CPA-ACC and class 0.2 S, per cent.
const LIMIT: f64 = 0.2;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif;font-size:13px;fill:#24292f}\
.paper{fill:#fff}.title{font-size:18px;font-weight:600}.soft{fill:#5b636d}.grid{stroke:#e3e6ea;fill:none}.axis{stroke:#8a929c;fill:none}\
.limit{stroke:#b3261e;fill:none;stroke-dasharray:7 4}.line{fill:none;stroke-width:2}.band{stroke:none;opacity:.18}.bar{stroke:none;opacity:.75}\
.s0{stroke:#b3501b}.s1{stroke:#1f6fd0}.s2{stroke:#188a4d}.f0{fill:#b3501b}.f1{fill:#1f6fd0}.f2{fill:#188a4d}\
@media(prefers-color-scheme:dark){text{fill:#e6e9ee}.paper{fill:#14181d}.soft{fill:#a0a8b3}.grid{stroke:#2b3138}.axis{stroke:#717a85}\
.limit{stroke:#ff8a80}.s0{stroke:#f0975b}.s1{stroke:#6db0ff}.s2{stroke:#5fd39a}.f0{fill:#f0975b}.f1{fill:#6db0ff}.f2{fill:#5fd39a}}";

/// A line with a band around it.
struct Series {
    name: &'static str,
    /// Place, mean, lowest, highest.
    points: Vec<[f64; 4]>,
}

/// Error of balanced loads against current, over all units and temperatures.
pub fn against_current(results: &Results) -> String {
    let series = [("PF 1", 0.0), ("PF 0.5 ind", 60.0), ("PF 0.8 cap", -36.87)].map(|(name, lag)| {
        let mut points: Vec<[f64; 4]> = Vec::new();
        for (row, (part, at)) in
            results.rows.iter().enumerate().filter_map(|(n, row)| Some((n, row.balanced?)))
        {
            if (at - lag).abs() < 0.01 {
                let all = results.overall(row);
                points.push([(part * IN).log10(), all.mean, all.min, all.max]);
            }
        }
        Series { name, points }
    });
    let ticks = [0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0]
        .map(|amperes: f64| (amperes.log10(), amperes.to_string()));
    let subtitle = format!("{}; all temperatures; line: mean, band: lowest to highest", population(results));
    lines("Error against current", &subtitle, "current, A", &ticks, &series)
}

/// Error at In against temperature.
pub fn against_temperature(results: &Results) -> String {
    let series = [("PF 1", 0.0), ("PF 0.5 ind", 60.0)].map(|(name, lag)| {
        let row = results.rows.iter().position(|row| row.balanced == Some((1.0, lag)));
        let points = row.map_or(Vec::new(), |row| {
            let at = results.settings.temperatures.iter().enumerate();
            at.map(|(number, celsius)| {
                let here = results.statistics(number, row);
                [*celsius, here.mean, here.min, here.max]
            })
            .collect()
        });
        Series { name, points }
    });
    let temperatures = &results.settings.temperatures;
    let step = temperatures.len().div_ceil(14);
    let ticks: Vec<_> =
        temperatures.iter().step_by(step).map(|celsius| (*celsius, celsius.to_string())).collect();
    let subtitle = format!("{}; at In; line: mean, band: lowest to highest", population(results));
    lines("Error against temperature", &subtitle, "ambient temperature, °C", &ticks, &series)
}

fn population(results: &Results) -> String {
    let Some(first) = results.settings.temperatures.first() else { return String::new() };
    let last = results.settings.temperatures.last().unwrap_or(first);
    let Settings { units, seed, sensors, .. } = &results.settings;
    let sensors = match sensors {
        Sensors::Both => "transformers and shunts",
        Sensors::Transformer => "transformers",
        Sensors::Shunt => "shunts",
    };
    format!("{units} units ({sensors}), seed {seed}, {first} to {last} °C")
}

/// How many units have which worst error, for the groups with a goal.
pub fn histogram(results: &Results) -> String {
    const BINS: usize = 40;
    let groups =
        [("PF 1, 0.05 In to Imax", Group::UnityPowerFactor), ("PF 0.5, PF 0.8, and from Imin", Group::Wide)];
    let worst = groups.map(|(name, group)| (name, results.worst_of_units(group)));
    let largest = worst.iter().flat_map(|(_, values)| values).copied().fold(1e-6, f64::max);
    let step = tick_step(largest / 6.0);
    let end = (largest / step).ceil() * step;
    let counts = worst.each_ref().map(|(_, values)| {
        let mut counts = [0u32; BINS];
        for value in values {
            counts[((value / end * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        counts
    });
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    let x = |value: f64| LEFT + value / end * (RIGHT - LEFT);
    let y = |count: f64| BOTTOM - count / f64::from(most) * (BOTTOM - TOP);
    let subtitle = format!("{}; the largest error of each unit over all points", population(results));
    let mut svg = head("Worst error of each unit", &subtitle, "largest error of a unit, %", "units");
    for tick in 0..=(end / step).round() as u32 {
        let value = f64::from(tick) * step;
        vertical(&mut svg, x(value), &number(value, step));
    }
    let count_step = tick_step(f64::from(most) / 5.0).max(1.0);
    for tick in 0..=(f64::from(most) / count_step) as u32 {
        let value = f64::from(tick) * count_step;
        horizontal(&mut svg, y(value), &number(value, count_step), "grid");
    }
    for (series, counts) in counts.iter().enumerate() {
        // Side by side within a bin.
        let width = (RIGHT - LEFT) / BINS as f64 / 2.0;
        for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let left = LEFT + (2 * bin + series) as f64 * width;
            let top = y(f64::from(*count));
            put(
                &mut svg,
                format_args!(
                    "<rect class=\"bar f{series}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    width - 0.6,
                    BOTTOM - top
                ),
            );
        }
    }
    legend(&mut svg, &worst.each_ref().map(|(name, _)| *name));
    svg + "</svg>\n"
}

fn lines(title: &str, subtitle: &str, x_name: &str, ticks: &[(f64, String)], series: &[Series]) -> String {
    let all = || series.iter().flat_map(|series| &series.points);
    let (low, high) =
        all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p[0]), high.max(p[0])));
    // A single temperature still gets a width.
    let (low, high) = if high > low { (low, high) } else { (low - 1.0, low + 1.0) };
    let largest = all().map(|p| p[2].abs().max(p[3].abs())).fold(1e-6, f64::max);
    let step = tick_step(largest / 3.0);
    let end = (largest / step).ceil() * step;
    let x = |value: f64| LEFT + (value - low) / (high - low) * (RIGHT - LEFT);
    let y = |value: f64| (TOP + BOTTOM) / 2.0 - value / end * (BOTTOM - TOP) / 2.0;
    // Limits that lie outside of the drawing are at least named.
    let beyond = if end < LIMIT { format!("; limit ±{LIMIT} % (not in sight)") } else { String::new() };
    let mut svg = head(title, &format!("{subtitle}{beyond}"), x_name, "error, %");
    for (value, name) in ticks.iter().filter(|(value, _)| (low..=high).contains(value)) {
        vertical(&mut svg, x(*value), name);
    }
    let count = (end / step).round() as i32;
    for tick in -count..=count {
        let value = f64::from(tick) * step;
        horizontal(&mut svg, y(value), &number(value, step), if tick == 0 { "axis" } else { "grid" });
    }
    for limit in [-LIMIT, LIMIT].into_iter().filter(|limit| limit.abs() <= end) {
        horizontal(&mut svg, y(limit), "", "limit");
    }
    for (number, Series { points, .. }) in
        series.iter().enumerate().filter(|(_, series)| !series.points.is_empty())
    {
        let mut path = String::new();
        let there = points.iter().map(|p| (p[0], p[3]));
        let back = points.iter().rev().map(|p| (p[0], p[2]));
        for (at, (place, value)) in there.chain(back).enumerate() {
            put(
                &mut path,
                format_args!("{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, x(place), y(value)),
            );
        }
        put(&mut svg, format_args!("<path class=\"band f{number}\" d=\"{path}Z\"/>"));
        let mut path = String::new();
        for (at, point) in points.iter().enumerate() {
            put(
                &mut path,
                format_args!("{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, x(point[0]), y(point[1])),
            );
        }
        put(&mut svg, format_args!("<path class=\"line s{number}\" d=\"{path}\"/>"));
    }
    let names: Vec<_> = series.iter().map(|series| series.name).collect();
    legend(&mut svg, &names);
    svg + "</svg>\n"
}

fn head(title: &str, subtitle: &str, x_name: &str, y_name: &str) -> String {
    let middle = (LEFT + RIGHT) / 2.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-label=\"{title}: {subtitle}\">\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"28\" y=\"34\">{title}</text>\n<text class=\"soft\" x=\"28\" y=\"55\">{subtitle}</text>\n\
         <text class=\"soft\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x_name}</text>\n<text class=\"soft\" x=\"28\" y=\"{}\">{y_name}</text>\n",
        HEIGHT - 18.0,
        TOP - 14.0
    )
}

fn vertical(svg: &mut String, x: f64, name: &str) {
    put(
        svg,
        format_args!(
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text class=\"soft\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>\n",
            BOTTOM + 20.0
        ),
    );
}

fn horizontal(svg: &mut String, y: f64, name: &str, class: &str) {
    put(
        svg,
        format_args!(
            "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n",
            LEFT - 8.0,
            y + 4.5
        ),
    );
}

fn legend(svg: &mut String, names: &[&str]) {
    let mut right = RIGHT;
    for (number, name) in names.iter().enumerate().rev() {
        // About seven units of width a letter.
        let left = right - 30.0 - 7.2 * name.chars().count() as f64;
        put(
            svg,
            format_args!(
                "<rect class=\"f{number}\" x=\"{left:.1}\" y=\"{}\" width=\"12\" height=\"12\"/><text x=\"{:.1}\" y=\"{}\">{name}</text>\n",
                TOP - 25.0,
                left + 17.0,
                TOP - 14.5
            ),
        );
        right = left - 8.0;
    }
}

/// Writing into a `String` cannot fail.
fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn tick_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least)
        .unwrap_or(power)
}

fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    // No minus before a zero.
    format!("{:.decimals$}", if value.abs() < step / 2.0 { 0.0 } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert!((tick_step(0.013) - 0.02).abs() < 1e-12);
        assert!((tick_step(0.1) - 0.1).abs() < 1e-12);
        assert!((tick_step(3.0) - 5.0).abs() < 1e-12);
        assert_eq!(number(-0.0, 0.05), "0.00");
    }
}
