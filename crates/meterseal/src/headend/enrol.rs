//! `meterseal headend enrol`, and how the meters' enrolment stands for `list-meters`.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use meterseal_headend::enrolment::allowance;
use meterseal_headend::store::{EnrolmentRecord, Store};
use meterseal_model::MeterId;
use serde_json::{Value, json};

use super::run::meter_ids;

/// Allows a meter to be enrolled, for the first time or anew.
pub(super) fn allow(data: &Path, id: MeterId, out: &mut impl Write) -> Result<()> {
    check_folder(data)?;
    if !meter_ids(&data.join("meters"))?.contains(&id) {
        bail!(
            "{id} is not one of this head-end's meters: its keys are not in {}",
            data.join("meters").join(id.to_string()).display()
        );
    }
    let folder = allowance::folder(&data.join("headend"));
    let is_new =
        allowance::give(&folder, id).with_context(|| format!("cannot write to {}", folder.display()))?;
    let state = if is_new { "may be enrolled now" } else { "was allowed to enrol already" };
    writeln!(
        out,
        "{id} {state}: with its next call, or within seconds if it is connected, it gets a new key and certificate"
    )?;
    Ok(())
}

/// One meter with its identity.
pub(super) struct Standing {
    id: MeterId,
    record: Option<EnrolmentRecord>,
    allowed: bool,
}

/// Every meter of ours in a data folder.
pub(super) fn standings(data: &Path) -> Result<Vec<Standing>> {
    check_folder(data)?;
    let headend = data.join("headend");
    let mut records: HashMap<MeterId, EnrolmentRecord> =
        Store::enrolments_in(&headend)?.into_iter().map(|record| (record.meter, record)).collect();
    let mut ids = meter_ids(&data.join("meters"))?;
    // A fleet's meters have no folders of their own.
    ids.extend(records.keys());
    ids.sort_unstable();
    ids.dedup();
    let allowances = allowance::folder(&headend);
    let standing =
        |id| Standing { id, record: records.remove(&id), allowed: allowance::stands(&allowances, id) };
    Ok(ids.into_iter().map(standing).collect())
}

impl Standing {
    pub(super) fn line(&self) -> String {
        let allowed = if self.allowed { ", may be enrolled" } else { "" };
        let Some(record) = &self.record else { return format!("{}  not enrolled{allowed}", self.id) };
        let identity = match (&record.serial, record.not_after) {
            (Some(serial), Some(until)) => format!("  certificate {serial} until {until}"),
            _ => String::new(),
        };
        let issued = record.issued_serial.as_ref().map_or(String::new(), |serial| format!("  next {serial}"));
        let reason = record.reason.as_ref().map_or(String::new(), |reason| format!("  ({reason})"));
        format!("{}  {}{allowed}{identity}{issued}{reason}", self.id, record.state.name())
    }

    pub(super) fn json(&self) -> Value {
        let record = self.record.as_ref();
        json!({
            "id": self.id.to_string(),
            "enrolment": record.map_or("not enrolled", |record| record.state.name()),
            "since": record.map(|record| record.since.to_string()),
            "may_be_enrolled": self.allowed,
            "serial": record.and_then(|record| record.serial.clone()),
            "not_before": record.and_then(|record| record.not_before).map(|at| at.to_string()),
            "not_after": record.and_then(|record| record.not_after).map(|at| at.to_string()),
            "next_serial": record.and_then(|record| record.issued_serial.clone()),
            "reason": record.and_then(|record| record.reason.clone()),
        })
    }
}

fn check_folder(data: &Path) -> Result<()> {
    if data.join("VERSION").exists() {
        return Ok(());
    }
    bail!(
        "{} is no Meterseal data folder; start `meterseal headend run` once, or name the right one (--data)",
        data.display()
    )
}
