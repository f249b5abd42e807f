//! The one way in which a look at something becomes a beginning or an end: it must last, and its extreme is kept.

use super::{Condition, Detection, Moment};

/// Watches one condition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    condition: Condition,
    lowest: bool,
    /// Since when it has been the other way than it is latched.
    since_ms: Option<u64>,
    /// The extreme since it was noticed.
    extreme: Option<i64>,
}

/// One look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// It is beyond what begins an event.
    pub(super) begins: bool,
    /// It is on the other side of what ends one.
    pub(super) ends: bool,
    /// How far it is.
    pub(super) value: i64,
    /// How long it must last to begin, and to be over, milliseconds.
    pub(super) wait_ms: [u32; 2],
}

impl Watch {
    /// The extreme is the highest value.
    pub(super) const fn new(condition: Condition) -> Self {
        Self { condition, lowest: false, since_ms: None, extreme: None }
    }

    /// The extreme is the lowest value.
    pub(super) const fn lowest(condition: Condition) -> Self {
        Self { condition, lowest: true, since_ms: None, extreme: None }
    }

    pub(super) const fn condition(&self) -> Condition {
        self.condition
    }

    /// A beginning or an end, once it has lasted. Nothing is latched here: what could not be written is detected again.
    pub(super) fn look(&mut self, look: Look, moment: &Moment<'_>) -> Option<Detection> {
        self.look_since(look, moment.uptime_ms, moment)
    }

    /// The same of what is known to have changed at `changed_ms`.
    pub(super) fn look_since(
        &mut self,
        look: Look,
        changed_ms: u64,
        moment: &Moment<'_>,
    ) -> Option<Detection> {
        let latched = moment.latched.has(self.condition).then_some(self.condition);
        self.look_for(self.condition, latched, look, changed_ms, moment)
    }

    /// The same where one of several conditions goes on (`latched`), or else `next` may begin.
    pub(super) fn look_for(
        &mut self,
        next: Condition,
        latched: Option<Condition>,
        look: Look,
        changed_ms: u64,
        moment: &Moment<'_>,
    ) -> Option<Detection> {
        if latched.is_some() || look.begins {
            let worse = |old: i64| if self.lowest { old.min(look.value) } else { old.max(look.value) };
            self.extreme = Some(self.extreme.map_or(look.value, worse));
        } else {
            self.extreme = None;
        }
        let (changed, wait_ms) =
            if latched.is_some() { (look.ends, look.wait_ms[1]) } else { (look.begins, look.wait_ms[0]) };
        if !changed {
            self.since_ms = None;
            return None;
        }
        let since_ms = *self.since_ms.get_or_insert(changed_ms.min(moment.uptime_ms));
        if moment.uptime_ms.saturating_sub(since_ms) < u64::from(wait_ms) {
            return None;
        }
        // The other way round is a change of its own.
        self.since_ms = None;
        let code = latched.map_or(next.begin(), Condition::end);
        Some(Detection { code, extreme: self.extreme.unwrap_or(look.value), since_ms })
    }
}
