//! Alarms and their lives: raised, acknowledged by somebody, cleared by an end or by somebody, reopened when the same
//! cause comes again. Everything that happens to one is kept.
//!
//! One meter and one cause are one alarm. Whatever changes it is committed together with what has to be delivered
//! about it (`deliveries`), then shown.

pub mod cause;
pub(crate) mod silence;

use std::sync::Arc;

use meterseal_model::MeterId;

pub use cause::{Cause, HeadendCause};

use crate::clock;
use crate::fleet::Fleet;
use crate::store::{AlarmChange, AlarmChoice, NewAlarm, Store, StoreError, Who};

/// Raises and ends alarms, and shows what became of them; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Alarms {
    pub(crate) store: Store,
    pub(crate) fleet: Arc<Fleet>,
}

impl Alarms {
    /// Raises an alarm of the head-end's own about a meter, or about the head-end itself (`None`), and returns when it
    /// is on the disk. `text` says what was found in one or two sentences; while the alarm lasts, the same text again
    /// changes nothing, and another text is a repetition that reopens an acknowledged alarm.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing was raised.
    pub(crate) async fn raise(
        &self,
        meter: Option<MeterId>,
        cause: HeadendCause,
        text: String,
    ) -> Result<(), StoreError> {
        let alarm = NewAlarm { meter, cause, text, at: clock::now() };
        let change = self.store.raise_alarm(alarm).await?;
        change.iter().for_each(|change| self.show(change));
        Ok(())
    }

    /// Ends a condition that the head-end had raised an alarm about; nothing happens when there is none.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing was ended.
    pub(crate) async fn end(
        &self,
        meter: Option<MeterId>,
        cause: HeadendCause,
        text: String,
    ) -> Result<(), StoreError> {
        let change = self.store.end_alarm(NewAlarm { meter, cause, text, at: clock::now() }).await?;
        change.iter().for_each(|change| self.show(change));
        Ok(())
    }

    /// Somebody takes note of alarms. Those that were acknowledged before stay as they are.
    pub(crate) async fn acknowledge(
        &self,
        choice: AlarmChoice,
        who: Who,
    ) -> Result<Vec<AlarmChange>, StoreError> {
        let changes = self.store.acknowledge_alarms(choice, who, clock::now()).await?;
        self.show_all(&changes).await?;
        Ok(changes)
    }

    /// Somebody declares that what raised alarms is over.
    pub(crate) async fn clear(&self, choice: AlarmChoice, who: Who) -> Result<Vec<AlarmChange>, StoreError> {
        let changes = self.store.clear_alarms(choice, who, clock::now()).await?;
        self.show_all(&changes).await?;
        Ok(changes)
    }

    fn show(&self, change: &AlarmChange) {
        self.fleet.alarm(change);
    }

    /// Shows what a person did, also in the lists of events.
    pub(crate) async fn show_all(&self, changes: &[AlarmChange]) -> Result<(), StoreError> {
        if changes.len() > SHOWN_ONE_BY_ONE {
            changes.iter().for_each(|change| self.fleet.count(change));
            self.fleet.resync();
            return Ok(());
        }
        for change in changes {
            self.show(change);
            let (Some(meter), Some(code)) = (change.alarm.meter, change.alarm.code) else { continue };
            for event in self.store.events_of(meter, code, SHOWN_ONE_BY_ONE as u32).await? {
                self.fleet.event(&event);
            }
        }
        Ok(())
    }
}

/// Above so many changes at once pages fetch everything anew.
const SHOWN_ONE_BY_ONE: usize = 32;
