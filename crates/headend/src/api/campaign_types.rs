//! What the API says of firmware campaigns.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::campaigns::{self, CampaignRecord, Counts, MemberRecord, MemberState, Window};
use crate::clock::rfc3339;
use meterseal_model::UnixMillis;

/// A firmware package that was uploaded, verified and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirmwareImage {
    /// SHA-384 of the package file, hexadecimal: its name here.
    pub package: String,
    /// Length of the package file.
    pub package_bytes: u64,
    /// Who made the device.
    pub vendor: String,
    /// For which device type.
    pub device_type: String,
    /// For which hardware revisions.
    pub hardware: Vec<String>,
    /// Version, for people.
    pub version: String,
    /// Sequence number.
    pub sequence: u64,
    /// SHA-384 of the image that runs in the end, hexadecimal: what a meter must attest.
    pub image: String,
    /// For a package of differences, the image that they stand on.
    #[schema(required)]
    pub base: Option<String>,
    /// Not to be activated before.
    #[schema(required)]
    pub not_before: Option<String>,
}

/// A stage of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignStage {
    /// The share of the chosen meters that have been told when it ends, percent.
    #[schema(example = 10.0)]
    pub percent: f64,
    /// How long it is watched after its last meter, before the next begins, seconds.
    #[serde(default)]
    pub soak_s: u64,
}

/// A campaign that is to be made. At least one of `all`, `meters` and `device_type` says which meters.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCampaign {
    /// What people call it; the image's version if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `package` of a firmware image here.
    pub package: String,
    /// Every meter that this head-end knows.
    #[serde(default)]
    pub all: bool,
    /// These meters.
    #[serde(default)]
    pub meters: Vec<String>,
    /// Meters of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<String>,
    /// Of what is chosen so far, this share, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// One after the other; all at once if there are none.
    #[serde(default)]
    pub stages: Vec<CampaignStage>,
    /// It stops by itself when more than this share of the meters told so far failed, percent; 2 if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed_percent: Option<f64>,
    /// Hours of the day in which anything is sent, `HH:MM-HH:MM`; always if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "01:00-05:00")]
    pub window: Option<String>,
    /// The window's time zone by its IANA name; UTC if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/London")]
    pub zone: Option<String>,
    /// Bytes a second, all meters together; no limit if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// When meters are told to start the image; as soon as each has it if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate_at: Option<String>,
    /// Meters in transfer at once; 50 if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// How long a meter may be away, or take over one step, before the stage goes on without it, seconds; a day if it is
    /// not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_s: Option<u64>,
    /// Who orders it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Who does something to a campaign.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignAct {
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Campaign {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// `running`, `paused`, `stopped` (by itself), `aborted` or `finished`.
    pub state: String,
    /// Why, where somebody or something stopped it.
    #[schema(required)]
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub since: String,
    /// When it was made.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// The image.
    pub image: FirmwareImage,
    /// Which meters, in words.
    pub selection: String,
    /// The stages.
    pub stages: Vec<CampaignStage>,
    /// The stage that it is in, from 1.
    pub stage: usize,
    /// Since when that stage is watched; null while meters of it are under way.
    #[schema(required)]
    pub soaking_since: Option<String>,
    /// The share of failures that stops it, percent.
    pub max_failed_percent: f64,
    /// Hours in which anything is sent.
    #[schema(required)]
    pub window: Option<String>,
    /// Bytes a second.
    #[schema(required)]
    pub bytes_per_second: Option<u64>,
    /// When meters are told to start the image.
    #[schema(required)]
    pub activate_at: Option<String>,
    /// Meters in transfer at once.
    pub in_flight: u32,
    /// Patience, seconds.
    pub patience_s: u64,
    /// Meters in all.
    pub meters: u64,
    /// How many stand how. `done` are those that attested the image on their own boot key.
    pub counts: CampaignCounts,
}

/// How many meters stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs, reason = "states, as MemberState has them")]
pub struct CampaignCounts {
    pub waiting: u64,
    pub transferring: u64,
    pub verifying: u64,
    pub ready: u64,
    pub ordered: u64,
    pub probation: u64,
    pub done: u64,
    pub failed: u64,
    pub skipped: u64,
    pub unreached: u64,
    pub left_out: u64,
}

/// A meter of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CampaignMeter {
    /// Which.
    pub meter: String,
    /// Its place in the order in which meters are told, from 0.
    pub rank: u32,
    /// Its stage, from 1.
    pub stage: usize,
    /// How it stands.
    pub state: String,
    /// Why.
    #[schema(required)]
    pub reason: Option<String>,
    /// Since when.
    pub since: String,
    /// Blocks of the package that it holds, as far as is known.
    #[schema(required)]
    pub blocks: Option<u32>,
    /// Of how many.
    #[schema(required)]
    pub of_blocks: Option<u32>,
}

/// Which meters of a campaign.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CampaignMetersQuery {
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those from this place in the order on.
    #[serde(default)]
    pub from: u32,
    /// How many at most, 1 to 1000.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

const fn default_limit() -> u32 {
    100
}

impl From<&campaigns::ImageFacts> for FirmwareImage {
    fn from(facts: &campaigns::ImageFacts) -> Self {
        Self {
            package: facts.package.clone(),
            package_bytes: facts.package_bytes,
            vendor: facts.vendor.clone(),
            device_type: facts.device_type.clone(),
            hardware: facts.hardware.clone(),
            version: facts.version.clone(),
            sequence: facts.sequence,
            image: facts.image.clone(),
            base: facts.base.clone(),
            not_before: facts.not_before_ms.map(|time| rfc3339(UnixMillis(time))),
        }
    }
}

impl Campaign {
    pub(crate) fn new(record: &CampaignRecord, counts: &Counts) -> Self {
        let plan = &record.plan;
        let stages = plan.stages.iter();
        Self {
            id: record.id,
            name: plan.name.clone(),
            state: record.state.name().to_owned(),
            reason: record.reason.clone(),
            since: rfc3339(record.changed_at),
            created_at: rfc3339(record.created_at),
            created_by: record.created_by.clone(),
            image: FirmwareImage::from(&plan.image),
            selection: plan.selection.clone(),
            stages: stages
                .map(|stage| CampaignStage { percent: stage.percent, soak_s: stage.soak_seconds })
                .collect(),
            stage: record.stage + 1,
            soaking_since: record.settled_at.map(rfc3339),
            max_failed_percent: plan.max_failed_percent,
            window: plan.window.as_ref().map(Window::to_string),
            bytes_per_second: plan.bytes_per_second,
            activate_at: plan.activate_at_ms.map(|time| rfc3339(UnixMillis(time))),
            in_flight: plan.in_flight,
            patience_s: plan.patience_seconds,
            meters: counts.total(),
            counts: CampaignCounts {
                waiting: counts.of(MemberState::Waiting),
                transferring: counts.of(MemberState::Transferring),
                verifying: counts.of(MemberState::Verifying),
                ready: counts.of(MemberState::Ready),
                ordered: counts.of(MemberState::Ordered),
                probation: counts.of(MemberState::Probation),
                done: counts.of(MemberState::Done),
                failed: counts.of(MemberState::Failed),
                skipped: counts.of(MemberState::Skipped),
                unreached: counts.of(MemberState::Unreached),
                left_out: counts.of(MemberState::LeftOut),
            },
        }
    }
}

impl CampaignMeter {
    pub(crate) fn new(member: &MemberRecord, stage: usize, blocks: Option<(u32, u32)>) -> Self {
        Self {
            meter: member.meter.to_string(),
            rank: member.rank,
            stage: stage + 1,
            state: member.state.name().to_owned(),
            reason: member.reason.clone(),
            since: rfc3339(member.changed_at),
            blocks: blocks.map(|(held, _)| held),
            of_blocks: blocks.map(|(_, of)| of),
        }
    }
}
