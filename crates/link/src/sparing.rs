//! Log lines that strangers can cause, said sparingly: at most one a minute for each of them, with how many were left
//! out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same peer.
const PERIOD: Duration = Duration::from_secs(60);

/// Peers told apart; beyond them all others share one line a minute. An entry takes under 100 bytes.
const PEERS: usize = 1024;

/// Decides which lines are said. Its memory is bounded, whoever calls.
#[derive(Debug)]
pub struct Sparing<K>(Mutex<Table<K>>);

#[derive(Debug)]
struct Table<K> {
    peers: HashMap<K, Line>,
    others: Option<Line>,
}

#[derive(Debug)]
struct Line {
    said: Instant,
    left_out: u64,
}

impl<K: Eq + Hash> Sparing<K> {
    /// Nothing has been said yet.
    pub fn new() -> Self {
        Self(Mutex::new(Table { peers: HashMap::new(), others: None }))
    }

    /// Whether a line about `peer` is to be said now, and how many were left out since the one before. `None`: leave
    /// it out; it is counted.
    pub fn say(&self, peer: K) -> Option<u64> {
        self.say_at(peer, Instant::now())
    }

    fn say_at(&self, peer: K, now: Instant) -> Option<u64> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { peers, others } = &mut *table;
        if let Some(line) = peers.get_mut(&peer) {
            return line.say(now);
        }
        if peers.len() >= PEERS {
            // Those with something left out stay until their count has been said or is two periods old.
            peers.retain(|_, line| {
                let age = now.saturating_duration_since(line.said);
                age < PERIOD || (line.left_out > 0 && age < 2 * PERIOD)
            });
        }
        if peers.len() >= PEERS {
            return match others {
                Some(line) => line.say(now),
                None => {
                    *others = Some(Line { said: now, left_out: 0 });
                    Some(0)
                }
            };
        }
        peers.insert(peer, Line { said: now, left_out: 0 });
        Some(0)
    }
}

impl<K: Eq + Hash> Default for Sparing<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    fn say(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.said) < PERIOD {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.said = now;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_for_each_with_the_number_left_out() {
        let (sparing, start) = (Sparing::new(), Instant::now());
        assert_eq!(sparing.say_at(1, start), Some(0));
        for second in 1..60 {
            assert_eq!(sparing.say_at(1, start + Duration::from_secs(second)), None);
        }
        assert_eq!(sparing.say_at(2, start), Some(0), "another peer has a line of its own");
        assert_eq!(sparing.say_at(1, start + PERIOD), Some(59));
        assert_eq!(sparing.say_at(1, start + 2 * PERIOD), Some(0));
    }

    #[test]
    fn any_number_of_peers_takes_bounded_memory_and_bounded_lines() {
        let (sparing, start) = (Sparing::new(), Instant::now());
        let said = (0..10 * PEERS).filter(|&peer| sparing.say_at(peer, start).is_some()).count();
        assert_eq!(said, PEERS + 1);
        assert_eq!(sparing.0.lock().map(|table| table.peers.len()).ok(), Some(PEERS));
        assert_eq!(sparing.say_at(0, start), None);
        assert_eq!(sparing.say_at(10 * PEERS, start + 2 * PERIOD), Some(0), "old ones make room");
        assert_eq!(sparing.0.lock().map(|table| table.peers.len()).ok(), Some(1));
    }
}
