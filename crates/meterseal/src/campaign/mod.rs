//! `meterseal campaign`: firmware for many meters, through the head-end that runs on a data folder.

mod create;
mod show;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use meterseal_headend::api::types::{Campaign, CampaignAct, CampaignMeter};
use meterseal_headend::commands::Client;

/// Bring firmware to many meters, in stages, and see what came of it
///
/// The head-end that runs on the data folder does the work. A meter counts as done when it attested the image on its own
/// boot key, and not before.
///
///   meterseal campaign create meter.msfw --all --stages 1,10,100 --soak 1h
///   meterseal campaign status
///   meterseal campaign status 3 --meters failed
///   meterseal campaign pause 3
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Data folder of the head-end that runs
    #[arg(long, value_name = "DIR", default_value = "meterseal-data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Box<create::Create>),
    Status(Status),
    /// Send nothing until it is resumed; what meters were told to start, they start
    Pause(Which),
    /// Go on with a campaign that was paused, or that stopped by itself: failures so far are accepted then
    Resume(Which),
    /// Give it up; meters that were not told to start the image keep what they run
    Abort(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The campaign's number
    #[arg(value_name = "CAMPAIGN")]
    id: u64,
}

/// Show all campaigns, or one with its meters
///
/// Ends with 1 when a campaign that is shown stopped by itself.
#[derive(Debug, clap::Args)]
struct Status {
    /// The campaign's number; all of them without it
    #[arg(value_name = "CAMPAIGN")]
    id: Option<u64>,
    /// Show its meters too: all, or those in a state (waiting, transferring, verifying, ready, ordered, probation, done,
    /// failed, skipped, unreached, left_out)
    #[arg(long, value_name = "STATE", num_args = 0..=1, default_missing_value = "all", requires = "id")]
    meters: Option<String>,
    /// Show it again whenever it changes, until it is over
    #[arg(long, requires = "id")]
    watch: bool,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// Runs it; `false` when a campaign that is shown stopped by itself.
pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let client = || Client::open(&arguments.data.join("headend"));
    runtime.block_on(async {
        match &arguments.command {
            Command::Create(plan) => {
                // What is wrong with the command itself is said whether a head-end runs or not.
                let prepared = plan.prepare()?;
                create::create(&client()?, prepared, plan.json, out).await.map(|()| true)
            }
            Command::Status(status) => show_status(&client()?, status, out).await,
            Command::Pause(which) => act(&client()?, which.id, "pause", out).await,
            Command::Resume(which) => act(&client()?, which.id, "resume", out).await,
            Command::Abort(which) => act(&client()?, which.id, "abort", out).await,
        }
    })
}

async fn act(client: &Client, id: u64, act: &str, out: &mut impl Write) -> Result<bool> {
    let by = CampaignAct { by: Some(user()) };
    let campaign: Campaign = client.post(&format!("campaigns/{id}/{act}"), &by).await?;
    show::campaign(&campaign, out)?;
    Ok(true)
}

async fn show_status(client: &Client, status: &Status, out: &mut impl Write) -> Result<bool> {
    let Some(id) = status.id else {
        let campaigns: Vec<Campaign> = client.get("campaigns").await?;
        if status.json {
            json(&campaigns, out)?;
        } else {
            show::list(&campaigns, out)?;
        }
        return Ok(campaigns.iter().all(|campaign| campaign.state != "stopped"));
    };
    let mut shown = None;
    loop {
        let campaign: Campaign = client.get(&format!("campaigns/{id}")).await?;
        let is_over = !matches!(campaign.state.as_str(), "running" | "paused");
        let good = campaign.state != "stopped";
        if shown.as_ref() != Some(&campaign) {
            let meters = match &status.meters {
                Some(state) => Some(meters(client, id, state).await?),
                None => None,
            };
            match (&meters, status.json) {
                (Some(meters), true) => {
                    json(&serde_json::json!({ "campaign": campaign, "meters": meters }), out)?
                }
                (None, true) => json(&campaign, out)?,
                (meters, false) => {
                    show::campaign(&campaign, out)?;
                    meters.iter().try_for_each(|meters| show::meters(meters, out))?;
                }
            }
            out.flush()?;
            shown = Some(campaign);
        }
        if is_over || !status.watch {
            return Ok(good);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// All meters of a campaign, or those in a state, page by page.
async fn meters(client: &Client, id: u64, state: &str) -> Result<Vec<CampaignMeter>> {
    let filter = if state == "all" { String::new() } else { format!("&state={state}") };
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let path = format!("campaigns/{id}/meters?limit={PAGE}&from={from}{filter}");
        let mut page: Vec<CampaignMeter> = client.get(&path).await?;
        let Some(last) = page.last().map(|meter| meter.rank) else { return Ok(all) };
        let is_last = page.len() < PAGE;
        all.append(&mut page);
        if is_last {
            return Ok(all);
        }
        from = last + 1;
    }
}

fn json(value: &impl serde::Serialize, out: &mut impl Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

/// Who gives the command.
fn user() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}

const PAGE: usize = 1000;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
