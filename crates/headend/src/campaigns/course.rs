//! One campaign while it lasts: which meter's turn it is, what each step means, when a stage ends, and when the campaign
//! stops itself. No clock, no store and no network in here: what changed is noted, and whoever asked writes it down.

use std::collections::{BTreeSet, HashMap, HashSet};

use meterseal_model::{Digest384, MeterId, UnixMillis};

use super::member::{CampaignRecord, CampaignState, Counts, MemberRecord, MemberState};
use crate::store::AttestedRecord;

/// A campaign and its meters, in memory.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) record: CampaignRecord,
    /// What a meter must attest.
    pub(super) target: Digest384,
    /// Every meter, in the order in which they are told.
    order: Vec<MeterId>,
    members: HashMap<MeterId, Member>,
    counts: Counts,
    /// Connected meters that wait for a place in transfer, by their place in the order.
    queue: BTreeSet<(u32, MeterId)>,
    /// Meters that have one.
    moving: HashSet<MeterId>,
    /// Meters whose row in the store is older than what is here.
    dirty: HashSet<MeterId>,
    /// The same of the campaign's row.
    record_dirty: bool,
    /// Something that people see changed since [`Self::take_changed`].
    changed: bool,
}

#[derive(Debug)]
struct Member {
    record: MemberRecord,
    online: bool,
    /// The last sign of life: what the campaign's patience counts from.
    heard: UnixMillis,
    /// Blocks that the meter holds, of how many.
    blocks: Option<(u32, u32)>,
    /// Steps that failed in a row, for a reason that may pass.
    tries: u32,
}

/// Failures in a row of one step, for reasons that may pass, before the meter counts as failed.
pub(super) const TRIES: u32 = 5;

impl Course {
    pub(super) fn new(
        record: CampaignRecord,
        members: Vec<MemberRecord>,
        target: Digest384,
        now: UnixMillis,
    ) -> Self {
        let order = members.iter().map(|member| member.meter).collect();
        let mut counts = Counts::default();
        members.iter().for_each(|member| counts.add(member.state, 1));
        let members = members
            .into_iter()
            // Nobody could be heard while the head-end was away.
            .map(|record| {
                (record.meter, Member { record, online: false, heard: now, blocks: None, tries: 0 })
            })
            .collect();
        Self {
            record,
            target,
            order,
            members,
            counts,
            queue: BTreeSet::new(),
            moving: HashSet::new(),
            dirty: HashSet::new(),
            record_dirty: false,
            changed: true,
        }
    }

    pub(super) fn meters(&self) -> impl Iterator<Item = MeterId> + '_ {
        self.order.iter().copied()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn member(&self, meter: MeterId) -> Option<&MemberRecord> {
        self.members.get(&meter).map(|member| &member.record)
    }

    /// Meters in their order: those in a state, or all of them; from a place in the order on.
    pub(super) fn list(&self, state: Option<MemberState>, from: u32, limit: u32) -> Vec<MemberRecord> {
        let members = self.order.iter().skip(from as usize).filter_map(|meter| self.member(*meter));
        let wanted = members.filter(|member| state.is_none_or(|state| member.state == state));
        wanted.take(limit as usize).cloned().collect()
    }

    /// Blocks that a meter holds, of how many, as far as is known.
    pub(super) fn blocks(&self, meter: MeterId) -> Option<(u32, u32)> {
        self.members.get(&meter)?.blocks
    }

    /// How many meters have been told when the present stage ends.
    pub(super) fn begun(&self) -> usize {
        self.record.plan.stage_end(self.record.stage, self.order.len())
    }

    /// Whether there is nothing left to follow.
    pub(super) fn is_over(&self) -> bool {
        let starting = MemberState::ALL.iter().filter(|state| state.is_starting());
        match self.record.state {
            CampaignState::Running | CampaignState::Paused | CampaignState::Stopped => false,
            CampaignState::Finished => true,
            CampaignState::Aborted => starting.map(|&state| self.counts.of(state)).sum::<u64>() == 0,
        }
    }

    /// A meter has connected, or is gone.
    pub(super) fn set_online(&mut self, meter: MeterId, online: bool, now: UnixMillis) {
        let Some(member) = self.members.get_mut(&meter) else { return };
        member.online = online;
        member.heard = now;
        member.tries = 0;
        self.moving.remove(&meter);
        self.line_up(meter);
    }

    /// Puts a meter into the queue for a place in transfer, or takes it out.
    fn line_up(&mut self, meter: MeterId) {
        let Some(member) = self.members.get(&meter) else { return };
        let needs_place = matches!(
            member.record.state,
            MemberState::Waiting
                | MemberState::Unreached
                | MemberState::Transferring
                | MemberState::Verifying
        );
        let key = (member.record.rank, meter);
        if !needs_place {
            self.moving.remove(&meter);
        }
        if needs_place && member.online && !self.moving.contains(&meter) {
            self.queue.insert(key);
        } else {
            self.queue.remove(&key);
        }
    }

    /// Gives free places in transfer to the next meters of the stages that have begun, and tells which got one.
    pub(super) fn launch(&mut self, now: UnixMillis) -> Vec<MeterId> {
        let mut launched = Vec::new();
        if self.record.state != CampaignState::Running || !self.record.plan.is_open(now) {
            return launched;
        }
        let begun = self.begun() as u32;
        while (self.moving.len() as u32) < self.record.plan.in_flight {
            let Some(&(rank, meter)) = self.queue.first().filter(|(rank, _)| *rank < begun) else { break };
            self.queue.remove(&(rank, meter));
            self.moving.insert(meter);
            if self.member(meter).is_some_and(|member| !member.state.is_in_transfer()) {
                self.set(meter, MemberState::Transferring, None, now);
            }
            launched.push(meter);
        }
        launched
    }

    /// Takes every place back: nothing is sent.
    fn recall(&mut self) {
        for meter in std::mem::take(&mut self.moving) {
            self.line_up(meter);
        }
    }

    /// The state in which a meter is to be spoken to now; `None` when there is nothing to say to it.
    pub(super) fn turn(&self, meter: MeterId, now: UnixMillis) -> Option<MemberState> {
        let state = self.member(meter)?.state;
        let running = self.record.state == CampaignState::Running;
        let its_turn = match state {
            MemberState::Transferring | MemberState::Verifying => {
                running && self.moving.contains(&meter) && self.record.plan.is_open(now)
            }
            MemberState::Ready => running && self.record.plan.may_activate(now),
            // What was ordered is followed, whatever became of the campaign.
            MemberState::Ordered | MemberState::Probation => true,
            _ => false,
        };
        its_turn.then_some(state)
    }

    /// Connected meters whose turn it is by the clock alone: those that hold the image, once it may be started.
    pub(super) fn to_call(&self, now: UnixMillis) -> Vec<MeterId> {
        if self.counts.of(MemberState::Ready) == 0 || !self.record.plan.may_activate(now) {
            return Vec::new();
        }
        let ready = |member: &&Member| member.online && member.record.state == MemberState::Ready;
        self.members.values().filter(ready).map(|member| member.record.meter).collect()
    }

    /// Whether the store has everything.
    pub(super) fn is_written(&self) -> bool {
        !self.record_dirty && self.dirty.is_empty()
    }

    /// Sets a meter's state.
    pub(super) fn set(
        &mut self,
        meter: MeterId,
        state: MemberState,
        reason: Option<String>,
        now: UnixMillis,
    ) {
        let Some(member) = self.members.get_mut(&meter) else { return };
        member.heard = now;
        if member.record.state == state && member.record.reason == reason {
            return;
        }
        let before = member.record.state;
        member.record.state = state;
        member.record.reason = reason;
        member.record.changed_at = now;
        if before != state {
            member.tries = 0;
        }
        self.counts.replace(before, state);
        self.dirty.insert(meter);
        self.changed = true;
        self.line_up(meter);
    }

    /// The meter is about to be told to start the image, having started so often.
    pub(super) fn order(&mut self, meter: MeterId, boots: Option<u32>, now: UnixMillis) {
        if let Some(member) = self.members.get_mut(&meter) {
            member.record.boots = boots;
        }
        self.set(meter, MemberState::Ordered, None, now);
    }

    /// How far a transfer is.
    pub(super) fn progress(&mut self, meter: MeterId, held: u32, of: u32, now: UnixMillis) {
        let Some(member) = self.members.get_mut(&meter) else { return };
        member.heard = now;
        member.tries = 0;
        member.blocks = Some((held, of));
        self.changed = true;
    }

    /// A step failed for a reason that may pass: it is tried again, a few times.
    pub(super) fn failed_for_now(&mut self, meter: MeterId, reason: String, now: UnixMillis) {
        let Some(member) = self.members.get_mut(&meter) else { return };
        member.tries += 1;
        if member.tries >= TRIES {
            let reason = format!("{reason} (tried {TRIES} times)");
            self.set(meter, MemberState::Failed, Some(reason), now);
        }
    }

    /// What a meter attested decides, and nothing else does.
    pub(super) fn attested(&mut self, meter: MeterId, said: &AttestedRecord, now: UnixMillis) {
        let Some(member) = self.members.get_mut(&meter) else { return };
        member.heard = now;
        let (state, boots) = (member.record.state, member.record.boots);
        let image = &self.record.plan.image;
        if said.image == self.target {
            match (said.is_confirmed, state) {
                (true, MemberState::Done) => {}
                (true, _) => self.set(meter, MemberState::Done, None, now),
                (false, MemberState::Failed) => {}
                (false, _) => self.set(meter, MemberState::Probation, None, now),
            }
            return;
        }
        let fails = match state {
            MemberState::Ordered | MemberState::Probation if boots.is_none_or(|boots| said.boots > boots) => {
                Some(format!(
                    "The meter went back to {} (sequence {}): version {} did not start, or did not prove itself",
                    said.version, said.sequence, image.version
                ))
            }
            MemberState::Done => Some(format!(
                "The meter attested the image, and now attests {} (sequence {})",
                said.version, said.sequence
            )),
            _ => None,
        };
        if let Some(reason) = fails {
            self.set(meter, MemberState::Failed, Some(reason), now);
            return;
        }
        let has_begun = state.is_starting() || state.is_settled() && state != MemberState::Unreached;
        if has_begun {
            return;
        }
        if let Some(reason) = image.unfit(said) {
            self.set(meter, MemberState::Skipped, Some(reason), now);
        }
    }

    /// What time alone changes: who was away for too long, whether a stage has ended, whether enough have failed.
    pub(super) fn judge(&mut self, now: UnixMillis) -> Option<Verdict> {
        let starting_only = match self.record.state {
            CampaignState::Running => false,
            CampaignState::Paused | CampaignState::Stopped | CampaignState::Aborted => true,
            CampaignState::Finished => return None,
        };
        self.lose_patience(starting_only, now);
        if starting_only {
            return None;
        }
        let begun = self.begun();
        let allowed = (self.record.plan.max_failed_percent * begun as f64 / 100.0).floor() as u64;
        let failed = self.counts.of(MemberState::Failed);
        if failed.saturating_sub(self.record.forgiven) > allowed {
            let reason = format!(
                "{failed} of the {begun} meters of the stages so far failed, and {} % of them may{}",
                self.record.plan.max_failed_percent,
                self.newest_failure().map(|text| format!("; {text}")).unwrap_or_default(),
            );
            return Some(self.stop(reason, now));
        }
        let told = &self.order[..begun];
        let state_of = |meter: &MeterId| self.members.get(meter).map(|member| member.record.state);
        let all_settled = told.iter().filter_map(state_of).all(MemberState::is_settled);
        if !all_settled {
            if self.record.settled_at.take().is_some() {
                self.record_dirty = true;
            }
            return None;
        }
        if !told.iter().filter_map(state_of).any(|state| state == MemberState::Done) {
            let reason = format!(
                "Stage {} ended without one meter that attests the image; see why each was skipped or not reached",
                self.record.stage + 1
            );
            return Some(self.stop(reason, now));
        }
        let settled_at = *self.record.settled_at.get_or_insert_with(|| {
            self.record_dirty = true;
            now
        });
        let is_last = self.record.stage + 1 >= self.record.plan.stages.len();
        let soak = self.record.plan.stages.get(self.record.stage).map_or(0, |stage| stage.soak_seconds);
        if is_last {
            self.set_state(CampaignState::Finished, None, now);
            return Some(Verdict::Finished);
        }
        if now.0.saturating_sub(settled_at.0) < soak as i64 * 1000 {
            return None;
        }
        self.record.stage += 1;
        self.record.settled_at = None;
        self.record_dirty = true;
        self.changed = true;
        let later = self.order[begun..self.begun()].to_vec();
        for meter in later {
            if let Some(member) = self.members.get_mut(&meter) {
                member.heard = now;
            }
        }
        Some(Verdict::NextStage)
    }

    fn lose_patience(&mut self, starting_only: bool, now: UnixMillis) {
        let patience = self.record.plan.patience();
        let over = |member: &Member| now.0.saturating_sub(member.heard.0) > patience.as_millis() as i64;
        // Outside of the window, and before the time of activation, nobody is late.
        let speaks = self.record.plan.is_open(now);
        let mut late = Vec::new();
        for meter in &self.order[..self.begun()] {
            let Some(member) = self.members.get(meter).filter(|member| over(member)) else { continue };
            let hours = Patience(patience.as_secs());
            match member.record.state {
                state if state.is_starting() => late.push((
                    *meter,
                    MemberState::Failed,
                    format!("The meter did not attest the image within {hours} of its activation"),
                )),
                MemberState::Verifying if member.online && !starting_only && speaks => late.push((
                    *meter,
                    MemberState::Failed,
                    format!("The meter did not judge the package within {hours}"),
                )),
                MemberState::Waiting
                | MemberState::Transferring
                | MemberState::Verifying
                | MemberState::Ready
                    if !member.online && !starting_only =>
                {
                    late.push((
                        *meter,
                        MemberState::Unreached,
                        format!("The meter was not connected for {hours}; it is updated if it calls"),
                    ));
                }
                _ => {}
            }
        }
        for (meter, state, reason) in late {
            self.set(meter, state, Some(reason), now);
        }
    }

    fn newest_failure(&self) -> Option<String> {
        let failed = self.members.values().filter(|member| member.record.state == MemberState::Failed);
        let newest = failed.max_by_key(|member| member.record.changed_at)?;
        Some(format!("{}: {}", newest.record.meter, newest.record.reason.as_deref().unwrap_or("failed")))
    }

    /// The campaign stops by itself.
    pub(super) fn stop(&mut self, reason: String, now: UnixMillis) -> Verdict {
        self.set_state(CampaignState::Stopped, Some(reason.clone()), now);
        Verdict::Stopped(reason)
    }

    /// Sets the campaign's state.
    pub(super) fn set_state(&mut self, state: CampaignState, reason: Option<String>, now: UnixMillis) {
        self.record.state = state;
        self.record.reason = reason;
        self.record.changed_at = now;
        self.record_dirty = true;
        self.changed = true;
        if state != CampaignState::Running {
            self.recall();
        }
    }

    /// Lets it go on; failures so far are accepted.
    pub(super) fn resume(&mut self, now: UnixMillis) {
        self.record.forgiven = self.counts.of(MemberState::Failed);
        for member in self.members.values_mut() {
            member.heard = now;
        }
        self.set_state(CampaignState::Running, None, now);
    }

    /// Gives it up: meters that were not told to start the image are left out.
    pub(super) fn abort(&mut self, reason: Option<String>, now: UnixMillis) {
        self.set_state(CampaignState::Aborted, reason, now);
        for meter in self.order.clone() {
            let keeps = |state: MemberState| {
                state.is_starting() || state.is_settled() && state != MemberState::Unreached
            };
            if self.member(meter).is_some_and(|member| !keeps(member.state)) {
                self.set(meter, MemberState::LeftOut, None, now);
            }
        }
    }

    /// The rows that the store does not have yet.
    pub(super) fn unwritten(&self) -> (Option<CampaignRecord>, Vec<MemberRecord>) {
        let members = self.dirty.iter().filter_map(|meter| self.member(*meter).cloned()).collect();
        (self.record_dirty.then(|| self.record.clone()), members)
    }

    /// They are in the store.
    pub(super) fn written(&mut self, record: Option<&CampaignRecord>, members: &[MemberRecord]) {
        if record == Some(&self.record) {
            self.record_dirty = false;
        }
        for member in members {
            if self.member(member.meter) == Some(member) {
                self.dirty.remove(&member.meter);
            }
        }
    }

    /// Whether something changed that people see; once.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// What a judgement came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    NextStage,
    Finished,
    Stopped(String),
}

/// A span of time in the largest unit that says it.
struct Patience(u64);

impl std::fmt::Display for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            seconds if seconds.is_multiple_of(3600) => write!(f, "{} h", seconds / 3600),
            seconds if seconds.is_multiple_of(60) => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
