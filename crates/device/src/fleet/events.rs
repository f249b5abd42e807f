//! What happens to a fleet's meters: sensor readings, injected at a rate, that each meter's own detection turns into
//! events of its security log. The arrivals are those of independent incidents (a Poisson process).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meterseal_link::dial::random_jitter;
use meterseal_model::SensorReadings;
use tokio::time::{Instant, sleep_until};

use super::member::Member;

/// Makes an event somewhere, `per_second` times a second on average, for as long as the task lives; counts them.
pub(super) async fn keep_happening(members: Vec<Arc<Member>>, per_second: f64, made: Arc<AtomicU64>) {
    if members.is_empty() || per_second <= 0.0 {
        return;
    }
    let mut at = Instant::now();
    loop {
        at += Duration::from_secs_f64(-(1.0 - random_jitter()).ln() / per_second);
        sleep_until(at).await;
        let place = (random_jitter() * members.len() as f64) as usize % members.len();
        let (member, made) = (Arc::clone(&members[place]), Arc::clone(&made));
        match (random_jitter() * 3.0) as u8 {
            0 => {
                strike(&member);
                made.fetch_add(1, Ordering::Relaxed);
            }
            kind => {
                let begin = Instant::now();
                tokio::spawn(async move {
                    let change = if kind == 1 { turn_cover } else { move_magnet };
                    member.feel(change);
                    // A contact or a field counts once it has lasted: the readings of a real meter that may tell.
                    for lasted in LOOKS {
                        sleep_until(begin + lasted).await;
                        member.feel(|_| {});
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
    }
}

/// A surge of 4 kV on one phase: an event at once. The reading after it is quiet, so that the next surge is another.
pub(super) fn strike(member: &Member) {
    member.feel(|readings| readings.surge_peak_millivolts = [4_000_000, 900_000, 900_000]);
    member.feel(|_| {});
}

/// Opens the meter's cover, or closes the open one.
fn turn_cover(readings: &mut SensorReadings) {
    readings.meter_cover_open ^= true;
}

/// Brings a magnet, or takes it away.
fn move_magnet(readings: &mut SensorReadings) {
    let quiet = SensorReadings::QUIET.magnetic_field_microtesla;
    let is_quiet = readings.magnetic_field_microtesla == quiet;
    readings.magnetic_field_microtesla = if is_quiet { [60_000, -40_000, 380_000] } else { quiet };
}

/// After the standard debounce time of 12 ms; at a real meter's next reading; and after the 40 ms in which an alternating field
/// is over, which is what a magnet looks like that was just there and gone.
const LOOKS: [Duration; 3] = [
    Duration::from_millis(12),
    Duration::from_millis(12 + SensorReadings::PERIOD_MS as u64),
    Duration::from_millis(64),
];
