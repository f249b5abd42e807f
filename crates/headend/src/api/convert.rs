//! From the store's types to what the API says.

use std::sync::Arc;

use meterseal_link::Value;
use meterseal_model::event::Severity;
use meterseal_model::{EventCode, TimeBase, UnixMillis};
use meterseal_seal::Mark;

use super::types;
use crate::clock::rfc3339;
use crate::products::{Listed, Standing};
use crate::store::{
    ConnectionState, DeviceFacts, Energies, LiveReading, OtherCell, Quarantine, SeriesPoint, StoredEvent,
    StoredProfileRow,
};
use crate::words::names;
use crate::words::show::{self, Scale};

/// Millionths of a watt-hour to watt-hours. Exact to the microwatt-hour up to 9 GWh, where `f64` ends.
fn hours(micro: i64) -> f64 {
    micro as f64 / 1e6
}

/// Readings come once a second; when none came for so long, the chart shows a gap.
const SILENCE_MILLISECONDS: i64 = 10_000;

/// Cuts what lies below a thousandth: floating-point noise makes the JSON longer, not better.
fn milli(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl From<&LiveReading> for types::Live {
    fn from(reading: &LiveReading) -> Self {
        let Energies {
            active_import_microwatt_hours,
            active_export_microwatt_hours,
            reactive_import_microvar_hours,
            reactive_export_microvar_hours,
        } = reading.energies;
        Self {
            at: rfc3339(reading.at),
            received_at: rfc3339(reading.received_at),
            frequency_hz: milli(reading.frequency_hz),
            phases: (0..3)
                .map(|phase| types::PhaseReading {
                    name: format!("L{}", phase + 1),
                    v: milli(reading.voltage_v[phase]),
                    a: milli(reading.current_a[phase]),
                    w: milli(reading.power_w[phase]),
                })
                .collect(),
            p_w: milli(reading.total_power_w),
            q_var: milli(reading.total_reactive_power_var),
            pf: reading.power_factor.map(milli),
            import_wh: hours(active_import_microwatt_hours),
            export_wh: hours(active_export_microwatt_hours),
            reactive_import_varh: hours(reactive_import_microvar_hours),
            reactive_export_varh: hours(reactive_export_microvar_hours),
        }
    }
}

impl From<&StoredEvent> for types::Event {
    fn from(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        let kind = event.kind();
        let unit = kind.and_then(extreme_unit);
        Self {
            id: stored.id,
            meter: stored.meter.to_string(),
            sequence: event.sequence,
            code: event.code,
            name: kind.map_or_else(|| format!("event_{}", event.code), |code| code.name().to_owned()),
            sentence: kind.map_or_else(
                || format!("The meter reported event {}, which this head-end does not know.", event.code),
                |code| code.sentence().to_owned(),
            ),
            severity: kind.map_or(Severity::Warning, EventCode::severity).into(),
            at: rfc3339(event.at),
            uptime_ms: event.uptime_milliseconds,
            extreme: unit.map(|_| event.extreme_micro_units as f64 / 1e6),
            extreme_unit: unit.map(str::to_owned),
            received_at: rfc3339(stored.received_at),
            alarm: match (&stored.acknowledged, event.raises_alarm()) {
                (_, false) => types::AlarmState::None,
                (None, true) => types::AlarmState::Raised,
                (Some(_), true) => types::AlarmState::Acknowledged,
            },
            acknowledged_by: stored.acknowledged.as_ref().map(|(by, _)| by.clone()),
            acknowledged_at: stored.acknowledged.as_ref().map(|(_, at)| rfc3339(*at)),
        }
    }
}

/// The unit of an event's extreme value.
fn extreme_unit(code: EventCode) -> Option<&'static str> {
    match code {
        EventCode::VoltageSpike => Some("V"),
        EventCode::MagnetOn | EventCode::MagnetOff => Some("T"),
        EventCode::MeasurementGap => Some("s"),
        _ => None,
    }
}

impl From<&Mark> for types::Mark {
    fn from(mark: &Mark) -> Self {
        Self {
            scope: mark.scope.name().to_owned(),
            not_tested: mark.not_tested().into_iter().map(str::to_owned).collect(),
            signatory: mark.signatory.clone(),
            valid_until: rfc3339(mark.valid_until),
        }
    }
}

impl From<&Quarantine> for types::Quarantine {
    fn from(quarantine: &Quarantine) -> Self {
        Self { since: rfc3339(quarantine.since), reason: quarantine.reason.clone() }
    }
}

impl types::ListedMark {
    pub(super) fn new(listed: &Listed, now: UnixMillis, firmwares: &[(Arc<DeviceFacts>, usize)]) -> Self {
        let mark = listed.mark.as_ref();
        let standing = listed.standing(now);
        let runs = |mark: &Mark| {
            let same = |facts: &DeviceFacts| {
                facts.device_type == mark.device_type && facts.firmware_digest == mark.firmware_digest
            };
            firmwares.iter().filter(|(facts, _)| same(facts)).map(|(_, meters)| meters).sum()
        };
        Self {
            name: listed.name.to_string(),
            file: listed.file.clone(),
            standing: standing.name().to_owned(),
            reason: match standing {
                Standing::Revoked(at, reason) => Some(format!("Revoked {}: {reason}", rfc3339(at))),
                Standing::Unusable(problem) => Some(problem),
                _ => None,
            },
            device_type: mark.map(|mark| mark.device_type.clone()),
            hardware: mark.map(|mark| mark.hardware.clone()),
            firmware_digest: mark.map(|mark| mark.firmware_digest.to_string()),
            mark: mark.map(types::Mark::from),
            renew_from: mark.map(|mark| rfc3339(mark.renew_from)),
            meters: mark.map_or(0, runs),
        }
    }
}

impl types::ProfileRow {
    /// A row, and whether it was recorded while the meter's firmware had no valid mark.
    pub(super) fn of(stored: &StoredProfileRow, quarantines: &[Quarantine]) -> Self {
        let quarantined = quarantines.iter().any(|period| period.covers(stored.row.at));
        Self { quarantined, ..Self::from(stored) }
    }
}

impl From<&StoredProfileRow> for types::ProfileRow {
    fn from(stored: &StoredProfileRow) -> Self {
        let energies = stored.row.energies;
        Self {
            sequence: stored.row.sequence,
            at: rfc3339(stored.row.at),
            import_wh: hours(energies.active_import_microwatt_hours),
            export_wh: hours(energies.active_export_microwatt_hours),
            reactive_import_varh: hours(energies.reactive_import_microvar_hours),
            reactive_export_varh: hours(energies.reactive_export_microvar_hours),
            mean_v: stored.row.mean_voltage_millivolts.map(|millivolts| f64::from(millivolts) / 1e3),
            status: stored.row.status,
            quarantined: false,
            received_at: rfc3339(stored.received_at),
        }
    }
}

impl types::Series {
    /// Columns, with a row of nulls wherever nothing was received for a while. The head-end's clock decides what
    /// a while is: a simulated meter's may run so fast that its readings are minutes apart.
    pub(super) fn from_points(step_s: u32, points: &[SeriesPoint]) -> Self {
        let mut series = Self { step_s, ..Self::default() };
        let silence = (3000 * i64::from(step_s)).max(SILENCE_MILLISECONDS);
        let mut before: Option<&SeriesPoint> = None;
        for point in points {
            if let Some(before) = before
                && point.mean.received_at.0 - before.mean.received_at.0 > silence
            {
                series.push(before.at_seconds + i64::from(step_s), None);
            }
            series.push(point.at_seconds, Some(&point.mean));
            before = Some(point);
        }
        series
    }

    fn push(&mut self, at_seconds: i64, mean: Option<&LiveReading>) {
        self.t.push(at_seconds);
        let mut add = |column: fn(&mut Self) -> &mut Vec<Option<f64>>, value: fn(&LiveReading) -> f64| {
            column(self).push(mean.map(|mean| milli(value(mean))));
        };
        add(|s| &mut s.p_w, |m| m.total_power_w);
        add(|s| &mut s.q_var, |m| m.total_reactive_power_var);
        add(|s| &mut s.frequency_hz, |m| m.frequency_hz);
        add(|s| &mut s.v1, |m| m.voltage_v[0]);
        add(|s| &mut s.v2, |m| m.voltage_v[1]);
        add(|s| &mut s.v3, |m| m.voltage_v[2]);
        add(|s| &mut s.a1, |m| m.current_a[0]);
        add(|s| &mut s.a2, |m| m.current_a[1]);
        add(|s| &mut s.a3, |m| m.current_a[2]);
        add(|s| &mut s.import_wh, |m| hours(m.energies.active_import_microwatt_hours));
        add(|s| &mut s.export_wh, |m| hours(m.energies.active_export_microwatt_hours));
    }
}

impl types::OtherRow {
    /// Rows out of cells in the order of their times.
    pub(super) fn from_cells(cells: &[OtherCell]) -> Vec<Self> {
        let row = |cells: &[OtherCell]| {
            let at = cells.first().map_or(UnixMillis(0), |cell| cell.at);
            let cells = cells.iter().map(|cell| types::OtherRegister {
                obis: cell.obis.to_string(),
                name: names::object(REGISTER, cell.obis).unwrap_or_default(),
                text: show::quantity(&Value::I64(cell.value), Scale { scaler: cell.scaler, unit: cell.unit }),
            });
            Self { at: rfc3339(at), cells: cells.collect() }
        };
        cells.chunk_by(|one, next| one.at == next.at).map(row).collect()
    }
}

/// The interface class Register.
const REGISTER: u16 = 3;

impl From<ConnectionState> for types::MeterState {
    fn from(state: ConnectionState) -> Self {
        match state {
            ConnectionState::Never => Self::Never,
            ConnectionState::Online => Self::Online,
            ConnectionState::Offline => Self::Offline,
            ConnectionState::Refused => Self::Refused,
        }
    }
}

impl From<TimeBase> for types::TimeBase {
    fn from(base: TimeBase) -> Self {
        match base {
            TimeBase::Wall => Self::Wall,
            TimeBase::Simulated => Self::Simulated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SecurityEvent;

    fn point(at_seconds: i64, received_seconds: i64) -> SeriesPoint {
        let mean = LiveReading {
            at: UnixMillis(at_seconds * 1000),
            received_at: UnixMillis(received_seconds * 1000),
            frequency_hz: 50.0,
            voltage_v: [230.0; 3],
            current_a: [1.0; 3],
            power_w: [230.0; 3],
            total_power_w: 690.000_04,
            total_reactive_power_var: 0.0,
            power_factor: Some(1.0),
            energies: Energies::default(),
        };
        SeriesPoint { at_seconds, mean }
    }

    #[test]
    fn a_silence_in_a_series_is_a_row_of_nulls() {
        let points = [point(0, 3), point(4, 7), point(40, 43), point(44, 47)];
        let series = types::Series::from_points(4, &points);
        assert_eq!(series.t, [0, 4, 8, 40, 44]);
        assert_eq!(series.p_w, [Some(690.0), Some(690.0), None, Some(690.0), Some(690.0)]);
        assert_eq!(series.t.len(), series.export_wh.len());
    }

    #[test]
    fn a_fast_simulated_clock_makes_no_gaps() {
        let points = [point(0, 1), point(600, 2), point(1200, 3)];
        assert_eq!(types::Series::from_points(4, &points).t, [0, 600, 1200]);
    }

    #[test]
    fn an_event_of_a_newer_meter_is_shown_and_raises_an_alarm() {
        let stored = StoredEvent {
            id: 1,
            meter: "MSL0000000001".parse().unwrap(),
            event: SecurityEvent {
                sequence: 1,
                code: 254,
                at: UnixMillis(0),
                uptime_milliseconds: 5,
                extreme_micro_units: 7,
            },
            received_at: UnixMillis(0),
            acknowledged: None,
        };
        let shown = types::Event::from(&stored);
        assert_eq!((shown.name.as_str(), shown.alarm), ("event_254", types::AlarmState::Raised));
        assert_eq!(shown.extreme, None);
    }
}
