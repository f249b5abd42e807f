//! Covers: a switch for each, which counts once it has stayed changed, and a latch that remembers what happened while
//! the meter was without supply.

use super::watch::{Look, Watch};
use super::{Condition, Detection, Moment};

#[derive(Debug)]
pub(super) struct Cover {
    watch: Watch,
    /// Uptime of the first look: what differs then changed while nobody looked.
    first_ms: Option<u64>,
}

impl Cover {
    pub(super) const fn new(condition: Condition) -> Self {
        Self { watch: Watch::new(condition), first_ms: None }
    }

    pub(super) fn look(
        &mut self,
        open: bool,
        was_opened: bool,
        moment: &Moment<'_>,
        found: &mut impl FnMut(Detection),
    ) {
        let is_first = self.first_ms.is_none();
        let first_ms = *self.first_ms.get_or_insert(moment.uptime_ms);
        let condition = self.watch.condition();
        if is_first && was_opened && !open && !moment.latched.has(condition) {
            for code in [condition.begin(), condition.end()] {
                found(Detection { code, extreme: moment.unseen_us, since_ms: first_ms });
            }
            return;
        }
        let debounce = moment.thresholds.debounce_ms;
        let look = Look { begins: open, ends: !open, value: 0, wait_ms: [debounce; 2] };
        if let Some(detection) = self.watch.look(look, moment) {
            let extreme = if detection.since_ms == first_ms { moment.unseen_us } else { 0 };
            found(Detection { extreme, ..detection });
        }
    }
}
