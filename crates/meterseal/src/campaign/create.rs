//! `meterseal campaign create`: upload a package and order its campaign.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use meterseal_headend::api::types::{Campaign, CampaignStage, FirmwareImage, NewCampaign};
use meterseal_headend::campaigns::images::PACKAGE_MAX;
use meterseal_headend::commands::Client;
use meterseal_model::MeterId;

use super::{json, show, user};

/// Make a campaign, which begins at once
///
/// The head-end verifies the package against the trust root in DATA/firmware/trust.cbor before anything else.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The firmware package
    package: PathBuf,
    /// What people call the campaign; the image's version without it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Every meter of the head-end
    #[arg(long, conflicts_with = "meter")]
    all: bool,
    /// This meter (may be given several times)
    #[arg(long, value_name = "METER")]
    meter: Vec<MeterId>,
    /// Meters of this device type
    #[arg(long = "type", value_name = "TYPE")]
    device_type: Option<String>,
    /// Of the meters chosen so far, this share, percent
    #[arg(long, value_name = "PERCENT")]
    percent: Option<f64>,
    /// Stages: which share has been told when each ends, percent
    #[arg(long, value_name = "PERCENT,...", value_delimiter = ',', default_value = "100")]
    stages: Vec<f64>,
    /// How long each stage is watched after its last meter, before the next begins (30s, 15min, 2h, 1d)
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
    soak: u64,
    /// It stops by itself when more than this share of the meters told so far failed, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    max_failed: f64,
    /// Hours of the day in which anything is sent (01:00-05:00)
    #[arg(long, value_name = "HH:MM-HH:MM")]
    window: Option<String>,
    /// Time zone of the window, by its IANA name
    #[arg(long, value_name = "ZONE", requires = "window", default_value = "UTC")]
    zone: String,
    /// Bytes a second, all meters together (64k, 5M)
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    bandwidth: Option<u64>,
    /// When meters are told to start the image (2026-12-01T02:00:00Z); as soon as each has it without this
    #[arg(long, value_name = "TIME")]
    activate_at: Option<String>,
    /// Meters in transfer at once
    #[arg(long, value_name = "N", default_value_t = 50)]
    in_flight: u32,
    /// How long a meter may be away, or take over one step, before the stage goes on without it
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = seconds)]
    patience: u64,
    /// JSON in place of text
    #[arg(long)]
    pub(super) json: bool,
}

/// A package that was read, and what to do with it.
#[derive(Debug)]
pub(super) struct Prepared {
    package: Vec<u8>,
    new: NewCampaign,
}

impl Create {
    /// Reads the package. Whatever does not look like one is refused here already.
    pub(super) fn prepare(&self) -> Result<Prepared> {
        if !self.all && self.meter.is_empty() && self.device_type.is_none() {
            bail!(
                "say which meters: --all, --meter METER or --type TYPE, with --percent for a share of them"
            );
        }
        let path = self.package.display();
        let length = std::fs::metadata(&self.package).with_context(|| format!("cannot read {path}"))?.len();
        if length > PACKAGE_MAX as u64 {
            bail!("{path} has {length} bytes, more than the {PACKAGE_MAX} of any firmware package");
        }
        let package = std::fs::read(&self.package).with_context(|| format!("cannot read {path}"))?;
        meterseal_seal::firmware::Package::read(&package).with_context(|| path.to_string())?;
        let stage = |&percent: &f64| CampaignStage { percent, soak_s: self.soak };
        Ok(Prepared {
            package,
            new: NewCampaign {
                name: self.name.clone(),
                package: String::new(),
                all: self.all,
                meters: self.meter.iter().map(MeterId::to_string).collect(),
                device_type: self.device_type.clone(),
                percent: self.percent,
                stages: self.stages.iter().map(stage).collect(),
                max_failed_percent: Some(self.max_failed),
                window: self.window.clone(),
                zone: self.window.is_some().then(|| self.zone.clone()),
                bytes_per_second: self.bandwidth,
                activate_at: self.activate_at.clone(),
                in_flight: Some(self.in_flight),
                patience_s: Some(self.patience),
                by: Some(user()),
            },
        })
    }
}

pub(super) async fn create(
    client: &Client,
    prepared: Prepared,
    as_json: bool,
    out: &mut impl Write,
) -> Result<()> {
    let Prepared { package, new } = prepared;
    let image: FirmwareImage = client.upload("firmware", package).await?;
    let campaign: Campaign = client.post("campaigns", &NewCampaign { package: image.package, ..new }).await?;
    if as_json {
        return json(&campaign, out);
    }
    show::campaign(&campaign, out)?;
    writeln!(out, "follow it with: meterseal campaign status {} --watch", campaign.id)?;
    Ok(())
}

/// Reads a time with its unit.
fn seconds(text: &str) -> Result<u64, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number with s, min, h or d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number with s, min, h or d".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too long".to_owned())
}

/// Reads a number of bytes, in thousands or millions.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1000),
        None => text.strip_suffix('M').map_or((text, 1), |number| (number, 1_000_000)),
    };
    let number: u64 = number.parse().map_err(|_| "write bytes a second: 50000, 64k or 5M".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_have_units() {
        assert_eq!(["90s", "15min", "2h", "1d"].map(seconds), [Ok(90), Ok(900), Ok(7200), Ok(86_400)]);
        assert_eq!(["50000", "64k", "5M"].map(bytes), [Ok(50_000), Ok(64_000), Ok(5_000_000)]);
        for wrong in ["", "1", "h", "1 h", "-1s", "1w", "999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(bytes("fast").is_err() && bytes("").is_err() && bytes("99999999999999999M").is_err());
    }
}
