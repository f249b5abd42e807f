//! Campaigns as text.

use std::io::Write;

use anyhow::Result;
use meterseal_headend::api::types::{Campaign, CampaignCounts, CampaignMeter};

/// One line each.
pub(super) fn list(campaigns: &[Campaign], out: &mut impl Write) -> Result<()> {
    if campaigns.is_empty() {
        writeln!(out, "no campaigns; make one with `meterseal campaign create`")?;
    }
    for campaign in campaigns {
        let Campaign { id, state, stage, counts, .. } = campaign;
        writeln!(
            out,
            "{id:>4}  {state:<9} stage {stage} of {}  done {} of {}, failed {}  {}",
            campaign.stages.len(),
            counts.done,
            campaign.meters,
            counts.failed,
            campaign.name
        )?;
        campaign.reason.iter().try_for_each(|reason| writeln!(out, "      {reason}"))?;
    }
    Ok(())
}

/// One, with what it is to do and how it stands.
pub(super) fn campaign(campaign: &Campaign, out: &mut impl Write) -> Result<()> {
    let image = &campaign.image;
    writeln!(
        out,
        "campaign  {}, {}: {} since {}",
        campaign.id, campaign.name, campaign.state, campaign.since
    )?;
    campaign.reason.iter().try_for_each(|reason| writeln!(out, "          {reason}"))?;
    writeln!(
        out,
        "image     {} (sequence {}) for {}, {} bytes, must attest {}",
        image.version, image.sequence, image.device_type, image.package_bytes, image.image
    )?;
    let stages: Vec<_> = campaign.stages.iter().map(|stage| format!("{} %", stage.percent)).collect();
    let soaking = campaign.soaking_since.as_ref().map(|since| format!(", watched since {since}"));
    writeln!(
        out,
        "stage     {} of {} ({}){}",
        campaign.stage,
        campaign.stages.len(),
        stages.join(", "),
        soaking.unwrap_or_default()
    )?;
    let bounds = [
        campaign.window.as_ref().map(|window| format!("only {window}")),
        campaign.bytes_per_second.map(|rate| format!("at most {rate} bytes a second")),
        campaign.activate_at.as_ref().map(|time| format!("started at {time}")),
        Some(format!("{} at once", campaign.in_flight)),
        Some(format!("stops above {} % failed", campaign.max_failed_percent)),
    ];
    writeln!(out, "bounds    {}", bounds.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
    writeln!(out, "meters    {} ({})", campaign.meters, campaign.selection)?;
    writeln!(out, "          {}", counts(&campaign.counts))?;
    Ok(())
}

/// The states that any meter is in.
fn counts(counts: &CampaignCounts) -> String {
    let all = [
        ("done", counts.done),
        ("failed", counts.failed),
        ("skipped", counts.skipped),
        ("unreached", counts.unreached),
        ("left out", counts.left_out),
        ("on probation", counts.probation),
        ("told to start it", counts.ordered),
        ("ready", counts.ready),
        ("verifying", counts.verifying),
        ("in transfer", counts.transferring),
        ("waiting", counts.waiting),
    ];
    let some = all.into_iter().filter(|(name, count)| *count > 0 || *name == "done");
    some.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// A line for each meter.
pub(super) fn meters(meters: &[CampaignMeter], out: &mut impl Write) -> Result<()> {
    for meter in meters {
        let blocks = match (meter.blocks, meter.of_blocks) {
            (Some(held), Some(of)) => format!(", {held} of {of} blocks"),
            _ => String::new(),
        };
        write!(out, "{}  stage {}  {}{blocks} since {}", meter.meter, meter.stage, meter.state, meter.since)?;
        writeln!(out, "{}", meter.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())?;
    }
    Ok(())
}
