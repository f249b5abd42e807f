//! How a campaign and each of its meters stand. Every change of either is one row in the store before it is in force.

use meterseal_model::{MeterId, UnixMillis};

use super::plan::Plan;

macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[doc = $doc:literal])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $type {
            /// Every one, in the order of a life.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the store, the API and the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named! {
    /// How a campaign stands.
    CampaignState {
        /// Meters are being told, or watched.
        Running = "running",
        /// Somebody paused it: nothing is sent.
        Paused = "paused",
        /// It stopped by itself; its reason says why.
        Stopped = "stopped",
        /// Somebody gave it up: nothing is sent any more.
        Aborted = "aborted",
        /// Every stage has ended.
        Finished = "finished",
    }
}

named! {
    /// How a meter of a campaign stands.
    MemberState {
        /// Its stage has not begun, or its turn has not come.
        Waiting = "waiting",
        /// The package is on its way.
        Transferring = "transferring",
        /// The meter judges the package.
        Verifying = "verifying",
        /// The meter holds the image and waits for the order to start it.
        Ready = "ready",
        /// It was told to start the image, and has not attested it yet.
        Ordered = "ordered",
        /// It attested the image, which has yet to prove itself.
        Probation = "probation",
        /// It attested the image as confirmed, on its own boot key.
        Done = "done",
        /// It refused the image, went back to the former one, or did not come back.
        Failed = "failed",
        /// The image is not for it, or it runs a newer one.
        Skipped = "skipped",
        /// It was away for longer than the campaign's patience. It is updated if it calls while the campaign lasts.
        Unreached = "unreached",
        /// The campaign was given up before the meter was told to start the image.
        LeftOut = "left_out",
    }
}

impl MemberState {
    /// Whether its stage need not wait for it any more.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped | Self::Unreached | Self::LeftOut)
    }

    /// Whether the meter was told to start the image, and it is not known yet what came of it.
    pub const fn is_starting(self) -> bool {
        matches!(self, Self::Ordered | Self::Probation)
    }

    /// Whether the package is on its way, or being judged: such meters take one of the places in transfer.
    pub const fn is_in_transfer(self) -> bool {
        matches!(self, Self::Transferring | Self::Verifying)
    }
}

/// A campaign as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignRecord {
    /// Its number, never used again.
    pub id: u64,
    /// What it is to do.
    pub plan: Plan,
    /// Who ordered it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// How it stands.
    pub state: CampaignState,
    /// Why, in a sentence, where somebody or something stopped it.
    pub reason: Option<String>,
    /// Since when.
    pub changed_at: UnixMillis,
    /// The stage that it is in, from 0.
    pub stage: usize,
    /// Since when every meter of the stages so far is settled: the soak counts from there.
    pub settled_at: Option<UnixMillis>,
    /// Failures that somebody has accepted by letting a stopped campaign go on.
    pub forgiven: u64,
}

/// A meter of a campaign as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Which meter.
    pub meter: MeterId,
    /// Its place in the campaign's order, from 0.
    pub rank: u32,
    /// How it stands.
    pub state: MemberState,
    /// Why, in a sentence.
    pub reason: Option<String>,
    /// Since when.
    pub changed_at: UnixMillis,
    /// How often the meter had started when it was told to start the image.
    pub boots: Option<u32>,
}

/// How many meters stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; MemberState::ALL.len()]);

impl Counts {
    /// How many are in a state.
    pub fn of(&self, state: MemberState) -> u64 {
        self.0[state as usize]
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// One more, or `count` more.
    pub fn add(&mut self, state: MemberState, count: u64) {
        self.0[state as usize] += count;
    }

    /// One meter goes from a state to another.
    pub(super) fn replace(&mut self, before: MemberState, after: MemberState) {
        self.0[before as usize] = self.0[before as usize].saturating_sub(1);
        self.0[after as usize] += 1;
    }

    /// How many need not be waited for.
    pub fn settled(&self) -> u64 {
        MemberState::ALL.iter().filter(|state| state.is_settled()).map(|&state| self.of(state)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_name() {
        for &state in MemberState::ALL {
            assert_eq!(MemberState::from_name(state.name()), Some(state));
            assert_eq!(MemberState::ALL[state as usize], state);
        }
        for &state in CampaignState::ALL {
            assert_eq!(CampaignState::from_name(state.name()), Some(state));
        }
        assert_eq!(MemberState::from_name("updated"), None);
    }
}
