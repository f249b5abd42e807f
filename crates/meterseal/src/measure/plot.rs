//! The drawing of `--plot`: voltages and currents of the first four cycles, and the phasors of the whole record.
//! One SVG without scripts, fonts or links; it follows the viewer's light or dark scheme.

mod axis;

use super::engine::Measurement;
use super::report::{NAMES, digits, prefix};
use axis::{Axis, number};
use meterseal_world::scaling::Values;
use std::f64::consts::TAU;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 640.0;
/// Cycles that are drawn.
const CYCLES: f64 = 4.0;
/// More points than this on a line are not seen: neighbours are drawn as their lowest and highest.
const MOST_POINTS: usize = 1600;
/// The phasor diagram.
const CENTRE: (f64, f64) = (1005.0, 225.0);
const RADIUS: f64 = 128.0;
/// Currents are drawn shorter, so that both arrows are seen where they lie on each other.
const CURRENT_RADIUS: f64 = 0.72;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif;font-size:13px;fill:#24292f}\
.paper{fill:#fff}.title{font-size:18px;font-weight:600}.head{font-weight:600}.soft{fill:#5b636d}\
.grid{stroke:#e3e6ea;fill:none}.axis{stroke:#8a929c;fill:none}\
.wave{fill:none;stroke-width:1.8;stroke-linejoin:round}.arrow{fill:none;stroke-width:2.6}.thin{stroke-width:1.8;stroke-dasharray:6 3}\
.p0{stroke:#b3501b}.p1{stroke:#1f6fd0}.p2{stroke:#188a4d}.p3{stroke:#7d848d}\
.f0{fill:#b3501b}.f1{fill:#1f6fd0}.f2{fill:#188a4d}.f3{fill:#7d848d}\
@media(prefers-color-scheme:dark){text{fill:#e6e9ee}.paper{fill:#14181d}.soft{fill:#a0a8b3}.grid{stroke:#2b3138}.axis{stroke:#717a85}\
.p0{stroke:#f0975b}.p1{stroke:#6db0ff}.p2{stroke:#5fd39a}.p3{stroke:#a0a8b3}\
.f0{fill:#f0975b}.f1{fill:#6db0ff}.f2{fill:#5fd39a}.f3{fill:#a0a8b3}}";

/// The whole drawing.
pub(super) fn svg(measurement: &Measurement, title: &str) -> String {
    let mut svg = String::new();
    let frequency = match measurement.frequency_hz {
        Some(hertz) => format!("{hertz:.3} Hz"),
        None => "frequency not determinable".to_owned(),
    };
    let total = measurement.summary.total();
    let (factor, symbol) = prefix(total.watts.abs().max(total.vars.abs()));
    let summary = format!(
        "{frequency} · P {} {symbol}W · Q {} {symbol}var · PF {:.3}",
        digits(total.watts / factor),
        digits(total.vars / factor),
        total.power_factor
    );
    let summary = summary.replace('-', "−");
    // Writing into a String cannot fail; the results below are dropped for that reason.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-label=\"Waveforms and phasors of {title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"28\" y=\"36\">{title}</text>\n<text class=\"soft\" x=\"28\" y=\"58\">{summary}</text>\n",
        title = escaped(title),
    );
    let [v, i] = [0, 1].map(|kind| {
        (0..3)
            .filter(|k| if kind == 0 { measurement.present[*k].0 } else { measurement.present[*k].1 })
            .collect()
    });
    let voltages = Pane { top: 96.0, name: "voltage", unit: "V", first: 0, lines: v };
    let mut currents = Pane { top: 366.0, name: "current", unit: "A", first: 3, lines: i };
    if measurement.opening.iter().any(|values| values[6] != 0.0) {
        currents.lines.push(3);
    }
    voltages.draw(&mut svg, measurement);
    currents.draw(&mut svg, measurement);
    phasors(&mut svg, measurement);
    svg.push_str("</svg>\n");
    svg
}

/// One pair of axes with its waveforms.
struct Pane {
    top: f64,
    name: &'static str,
    unit: &'static str,
    /// Where its quantities begin in a frame.
    first: usize,
    /// Which of them there are; 3 is the neutral.
    lines: Vec<usize>,
}

impl Pane {
    const LEFT: f64 = 84.0;
    const RIGHT: f64 = 780.0;
    const PANE_HEIGHT: f64 = 208.0;

    fn draw(&self, svg: &mut String, measurement: &Measurement) {
        let cycles = CYCLES / measurement.frequency_hz.filter(|hertz| *hertz > 1.0).unwrap_or(50.0);
        let interval = 1.0 / measurement.opening_rate_hz;
        let count = ((cycles / interval).round() as usize + 1).min(measurement.opening.len());
        let opening = &measurement.opening[..count];
        let value = |values: &Values, line: usize| values[self.first + line];
        let peak = opening
            .iter()
            .flat_map(|values| self.lines.iter().map(|line| value(values, *line).abs()))
            .fold(0.0, f64::max);
        let (factor, symbol) = prefix(peak);
        let milliseconds = (count.saturating_sub(1)) as f64 * interval * 1e3;
        let time = Axis::from_zero(milliseconds.max(1e-3), Self::LEFT, Self::RIGHT);
        let bottom = self.top + Self::PANE_HEIGHT;
        let height = Axis::around_zero(peak / factor, bottom, self.top);

        for tick in height.ticks() {
            let y = height.place(tick);
            let class = if tick == 0.0 { "axis" } else { "grid" };
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{} {y:.1}H{}\"/><text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                Self::LEFT,
                Self::RIGHT,
                Self::LEFT - 8.0,
                y + 4.5,
                number(tick, height.step)
            );
        }
        for tick in time.ticks() {
            let x = time.place(tick);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {}V{bottom}\"/><text class=\"soft\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                self.top,
                bottom + 18.0,
                number(tick, time.step)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"end\">ms</text>\
             <text class=\"head\" x=\"{}\" y=\"{}\">{} / {symbol}{}</text>",
            Self::RIGHT + 36.0,
            bottom + 18.0,
            28.0,
            self.top - 14.0,
            self.name,
            self.unit
        );
        if self.lines.is_empty() {
            let (x, y) = ((Self::LEFT + Self::RIGHT) / 2.0, height.place(0.0) - 10.0);
            let _ = writeln!(
                svg,
                "<text class=\"soft\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">no {} channel</text>",
                self.name
            );
        }
        for (place, &line) in self.lines.iter().enumerate() {
            let points: Vec<f64> = opening.iter().map(|values| value(values, line) / factor).collect();
            let path =
                polyline(&points, |k, value| (time.place(k as f64 * interval * 1e3), height.place(value)));
            let _ = writeln!(svg, "<path class=\"wave p{line}\" d=\"{path}\"/>");
            self.legend(svg, place, line);
        }
    }

    fn legend(&self, svg: &mut String, place: usize, line: usize) {
        let x = Self::RIGHT - 58.0 * (self.lines.len() - place) as f64;
        let y = self.top - 14.0;
        let name = NAMES.get(line).copied().unwrap_or("N");
        let _ = writeln!(
            svg,
            "<path class=\"wave p{line}\" d=\"M{x} {:.1}h22\"/><text x=\"{}\" y=\"{y}\">{name}</text>",
            y - 4.5,
            x + 28.0
        );
    }
}

/// A path through the points; where there are many, through the lowest and highest of each few.
fn polyline(points: &[f64], place: impl Fn(usize, f64) -> (f64, f64)) -> String {
    let mut path = String::new();
    let mut put = |k: usize| {
        let (x, y) = place(k, points[k]);
        let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
    };
    if points.len() <= MOST_POINTS {
        (0..points.len()).for_each(put);
        return path;
    }
    let few = points.len().div_ceil(MOST_POINTS / 2);
    for start in (0..points.len()).step_by(few) {
        let end = (start + few).min(points.len());
        let extreme = |sign: f64| {
            (start..end).max_by(|a, b| (sign * points[*a]).total_cmp(&(sign * points[*b]))).unwrap_or(start)
        };
        let (low, high) = (extreme(-1.0), extreme(1.0));
        put(low.min(high));
        if low != high {
            put(low.max(high));
        }
    }
    path
}

/// Fundamentals as arrows: voltages to the outer circle, currents inside it, counter-clockwise is ahead.
fn phasors(svg: &mut String, measurement: &Measurement) {
    let (cx, cy) = CENTRE;
    let _ = writeln!(svg, "<text class=\"head\" x=\"{}\" y=\"82\">phasors</text>", cx - RADIUS - 32.0);
    let _ = writeln!(
        svg,
        "<circle class=\"grid\" cx=\"{cx}\" cy=\"{cy}\" r=\"{RADIUS}\"/><circle class=\"grid\" cx=\"{cx}\" cy=\"{cy}\" r=\"{:.1}\"/>",
        RADIUS * CURRENT_RADIUS
    );
    for spoke in 0..12 {
        let (sine, cosine) = (TAU * f64::from(spoke) / 12.0).sin_cos();
        let (x, y) = (cx + RADIUS * cosine, cy - RADIUS * sine);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{cx} {cy}L{x:.1} {y:.1}\"/>");
    }
    let phases: Vec<_> = (0..3).map(|k| measurement.summary.phase(k)).collect();
    let largest = |of: fn(&super::summary::Phase) -> f64| phases.iter().map(of).fold(0.0, f64::max);
    let (volts, amperes) = (largest(|phase| phase.volts), largest(|phase| phase.amperes));
    for (k, phase) in phases.iter().enumerate() {
        let (has_voltage, has_current) = measurement.present[k];
        if has_voltage && volts > 0.0 {
            arrow(svg, &format!("V{}", k + 1), k, "", RADIUS * phase.volts / volts, phase.volts_degrees);
        }
        if has_current && amperes > 0.0 {
            let length = RADIUS * CURRENT_RADIUS * phase.amperes / amperes;
            arrow(svg, &format!("I{}", k + 1), k, " thin", length, phase.amperes_degrees);
        }
    }
    let mut y = cy + RADIUS + 56.0;
    let columns = [cx - 160.0, cx - 24.0, cx + 76.0, cx + 172.0];
    let mut row = |cells: [String; 4], class: &str| {
        for (k, (x, cell)) in columns.into_iter().zip(cells).enumerate() {
            let anchor = if k == 0 { "start" } else { "end" };
            let class = if k == 0 { class } else { "" };
            let _ = writeln!(
                svg,
                "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{cell}</text>"
            );
        }
        y += 24.0;
    };
    let text = |text: &str| text.to_owned();
    row([text(""), text("RMS"), text("angle"), text("THD")], "");
    for (k, phase) in phases.iter().enumerate() {
        let (has_voltage, has_current) = measurement.present[k];
        let class = format!("head f{k}");
        let mut quantity = |name: &str, unit: &str, value: f64, degrees: f64, thd: f64| {
            let (factor, symbol) = prefix(value);
            let rms = format!("{} {symbol}{unit}", digits(value / factor));
            let name = format!("{name}{}", k + 1);
            row(
                [name, rms, format!("{degrees:.2}°").replace('-', "−"), format!("{:.2} %", thd * 100.0)],
                &class,
            );
        };
        if has_voltage {
            quantity("V", "V", phase.volts, phase.volts_degrees, phase.volts_thd);
        }
        if has_current {
            quantity("I", "A", phase.amperes, phase.amperes_degrees, phase.amperes_thd);
        }
    }
}

fn arrow(svg: &mut String, label: &str, phase: usize, class: &str, length: f64, degrees: f64) {
    let (cx, cy) = CENTRE;
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let at =
        |along: f64, across: f64| (cx + along * cosine - across * sine, cy - along * sine - across * cosine);
    let (head, width) = (11.0f64.min(length), 4.6);
    let (x, y) = at((length - head).max(0.0), 0.0);
    let tip = at(length, 0.0);
    let (left, right) = (at(length - head, width), at(length - head, -width));
    let (tx, ty) = at(length + 15.0, 0.0);
    let _ = writeln!(
        svg,
        "<path class=\"arrow p{phase}{class}\" d=\"M{cx} {cy}L{x:.1} {y:.1}\"/>\
         <path class=\"f{phase}\" d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>\
         <text class=\"f{phase}\" x=\"{tx:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
        tip.0,
        tip.1,
        left.0,
        left.1,
        right.0,
        right.1,
        ty + 4.5
    );
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
