//! Missing data is an alarm: a meter of which nothing was heard for longer than its interval. It ends by itself when the
//! meter is heard again. A fleet whose line is cut is one group of alarms, as every storm is.
//!
//! Silence is measured by a clock that nobody can set, from when the head-end began to look: so neither a restart of the
//! head-end nor a step of the wall clock makes meters silent. A meter that has never called is not missed yet.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use meterseal_model::{MeterId, UnixMillis};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Alarms, HeadendCause};
use crate::clock::rfc3339;
use crate::fleet::Heard;
use crate::store::{AlarmShow, StoreError};

/// Raises and ends alarms about silent meters until the head-end stops.
pub(crate) async fn watch(alarms: Alarms, silent_after: Duration, mut stopping: watch::Receiver<bool>) {
    let mut looks = interval((silent_after / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silence = None;
    loop {
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => return,
            _ = looks.tick() => {}
        }
        let state = match &mut silence {
            Some(state) => state,
            None => match remembered(&alarms).await {
                Ok(state) => silence.insert(state),
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the alarms about silent meters cannot be read; tried again");
                    continue;
                }
            },
        };
        let found = state.look(&alarms.fleet.heard(), silent_after, Instant::now());
        for some in found.chunks(TOGETHER) {
            // Together, so that they go into few commits.
            for (told, change) in
                join_all(some.iter().map(|change| tell(&alarms, change))).await.iter().zip(some)
            {
                match told {
                    Ok(()) => state.told(change),
                    Err(StoreError::Closed) => return,
                    // Not told: the next look finds it again.
                    Err(error) => {
                        tracing::warn!(meter = %change.meter, %error, "an alarm about a silent meter could not be stored");
                    }
                }
            }
        }
    }
}

/// Which meters were silent when the head-end last ran: their alarms last until they are heard.
async fn remembered(alarms: &Alarms) -> Result<Silence, StoreError> {
    let show = AlarmShow {
        cause: Some(HeadendCause::MeterSilent.name().to_owned()),
        open: true,
        limit: u32::MAX,
        ..AlarmShow::default()
    };
    let lasting = alarms.store.alarms(show).await?;
    let lasting = lasting.iter().filter(|alarm| alarm.cleared.is_none()).filter_map(|alarm| alarm.meter);
    Ok(Silence { meters: HashMap::new(), lasting: lasting.collect() })
}

async fn tell(alarms: &Alarms, change: &Change) -> Result<(), StoreError> {
    let (meter, cause) = (Some(change.meter), HeadendCause::MeterSilent);
    match (change.silent, change.last) {
        (true, Some(last)) => {
            alarms
                .raise(meter, cause, format!("Nothing was heard from the meter since {}.", rfc3339(last)))
                .await
        }
        (true, None) => alarms.raise(meter, cause, "Nothing was heard from the meter.".to_owned()).await,
        (false, _) => alarms.end(meter, cause, "The meter was heard again.".to_owned()).await,
    }
}

/// What was heard last of each meter, and since when nothing else was.
struct Silence {
    meters: HashMap<MeterId, (Option<UnixMillis>, Instant)>,
    /// Meters about which an alarm lasts.
    lasting: std::collections::HashSet<MeterId>,
}

#[derive(Debug, PartialEq, Eq)]
struct Change {
    meter: MeterId,
    silent: bool,
    last: Option<UnixMillis>,
}

impl Silence {
    fn look(&mut self, heard: &[Heard], silent_after: Duration, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for &Heard { meter, last, own_pace } in heard {
            let known = self.meters.insert(meter, (last, now));
            let since = match known {
                Some((before, since)) if before == last => since,
                _ => now,
            };
            self.meters.insert(meter, (last, since));
            let lasts = self.lasting.contains(&meter);
            // Heard since the first look; the first look itself cannot tell.
            let spoke = known.is_some_and(|(before, _)| before != last);
            let allowed = silent_after.max(own_pace.map_or(Duration::ZERO, |pace| pace * OWN_PACES));
            if lasts && spoke {
                changes.push(Change { meter, silent: false, last });
            } else if !lasts && last.is_some() && now.duration_since(since) > allowed {
                changes.push(Change { meter, silent: true, last });
            }
        }
        changes
    }

    fn told(&mut self, change: &Change) {
        if change.silent {
            self.lasting.insert(change.meter);
        } else {
            self.lasting.remove(&change.meter);
        }
    }
}

/// How often within the time after which a meter is silent it is looked.
const LOOKS: u32 = 8;
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// A meter that is read at a slower pace of its own may miss two of its readings.
const OWN_PACES: u32 = 3;
/// Alarms that are stored together.
const TOGETHER: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(900);

    fn heard(last: Option<i64>, own_pace: Option<Duration>) -> Vec<Heard> {
        vec![Heard { meter: "MSL0000000001".parse().unwrap(), last: last.map(UnixMillis), own_pace }]
    }

    fn silence() -> Silence {
        Silence { meters: HashMap::new(), lasting: Default::default() }
    }

    /// Looks, and takes what is found as told. `Some(true)`: silent now.
    fn look(silence: &mut Silence, heard: &[Heard], at: Instant) -> Option<bool> {
        let found = silence.look(heard, INTERVAL, at);
        found.iter().for_each(|change| silence.told(change));
        found.first().map(|change| change.silent)
    }

    #[test]
    fn a_meter_is_silent_after_its_interval_and_heard_again_once() {
        let (mut silence, begin) = (silence(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        // Heard long ago, by the wall clock: the head-end was away, not the meter.
        assert_eq!(look(&mut silence, &heard(Some(5), None), at(0)), None);
        assert_eq!(look(&mut silence, &heard(Some(5), None), at(900)), None);
        assert_eq!(look(&mut silence, &heard(Some(5), None), at(901)), Some(true));
        assert_eq!(look(&mut silence, &heard(Some(5), None), at(5000)), None);
        assert_eq!(look(&mut silence, &heard(Some(9), None), at(5001)), Some(false));
        assert_eq!(look(&mut silence, &heard(Some(9), None), at(5002)), None);
        assert_eq!(look(&mut silence, &heard(Some(9), None), at(5902)), Some(true));
    }

    #[test]
    fn a_meter_that_never_called_is_not_missed() {
        let (mut silence, begin) = (silence(), Instant::now());
        assert_eq!(look(&mut silence, &heard(None, None), begin), None);
        assert_eq!(look(&mut silence, &heard(None, None), begin + INTERVAL * 99), None);
    }

    #[test]
    fn an_alarm_from_before_a_restart_lasts_until_the_meter_is_heard() {
        let (mut silence, begin) = (silence(), Instant::now());
        silence.lasting.insert("MSL0000000001".parse().unwrap());
        assert_eq!(look(&mut silence, &heard(Some(5), None), begin), None);
        assert_eq!(look(&mut silence, &heard(Some(5), None), begin + INTERVAL * 2), None);
        assert_eq!(look(&mut silence, &heard(Some(6), None), begin + INTERVAL * 3), Some(false));
    }

    #[test]
    fn a_meter_that_is_read_once_a_day_is_not_silent_after_an_hour() {
        let (mut silence, begin) = (silence(), Instant::now());
        let daily = heard(Some(5), Some(Duration::from_secs(86_400)));
        assert_eq!(look(&mut silence, &daily, begin), None);
        assert_eq!(look(&mut silence, &daily, begin + Duration::from_secs(86_400 * 3)), None);
        assert_eq!(look(&mut silence, &daily, begin + Duration::from_secs(86_400 * 3 + 1)), Some(true));
    }
}
