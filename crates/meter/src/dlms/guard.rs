//! Slowing down whoever fails: each refused login, forgery, replay or repeated unauthorised act makes the next answer
//! to its kind of peer come later.
//!
//! A meter cannot lock anybody out: then whoever fails on purpose would lock out the utility. So answers are only
//! withheld, for a time that doubles up to a bound, and separately for each role and for the local port and the
//! dial-out connection: nobody at the terminals can slow the head-end down.

use meterseal_model::Role;

/// Withheld after the first strike, milliseconds; doubled with each further one.
const FIRST_DELAY_MS: u64 = 250;

/// The longest that an answer is withheld, milliseconds.
pub(crate) const LONGEST_DELAY_MS: u64 = 60_000;

/// A strike is forgiven after this time without another, milliseconds.
const FORGIVEN_MS: u64 = 60_000;

/// Unauthorised acts in an association that cost nothing: clients of other makers try what the object list denies.
const FREE_ACTS: u32 = 16;

/// What has been done wrong, for each role at each port.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    counts: [[Count; Role::ALL.len()]; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    strikes: u32,
    /// Unauthorised acts that have not become strikes.
    acts: u32,
    last_ms: u64,
    until_ms: u64,
}

impl Guard {
    /// A failed login, a forgery or a replay at this uptime. Returns the uptime before which nothing is answered.
    pub(crate) fn strike(&mut self, role: Role, local: bool, uptime_ms: u64) -> u64 {
        let count = self.count_at(role, local, uptime_ms);
        count.strikes = count.strikes.saturating_add(1);
        count.last_ms = uptime_ms;
        let delay = FIRST_DELAY_MS << (count.strikes - 1).min(16);
        count.until_ms = count.until_ms.max(uptime_ms + delay.min(LONGEST_DELAY_MS));
        count.until_ms
    }

    /// Acts beyond a role's rights: a strike once there are more than a client makes by mistake.
    pub(crate) fn unauthorised(&mut self, role: Role, local: bool, acts: u32, uptime_ms: u64) -> u64 {
        let count = self.count_at(role, local, uptime_ms);
        count.last_ms = uptime_ms;
        count.acts = count.acts.saturating_add(acts);
        if count.acts > FREE_ACTS { self.strike(role, local, uptime_ms) } else { count.until_ms }
    }

    /// The uptime before which a new association of this role is not answered at this port.
    pub(crate) const fn until(&self, role: Role, local: bool) -> u64 {
        self.counts[local as usize][role.index()].until_ms
    }

    fn count_at(&mut self, role: Role, local: bool, uptime_ms: u64) -> &mut Count {
        let count = &mut self.counts[usize::from(local)][role.index()];
        let forgiven = uptime_ms.saturating_sub(count.last_ms) / FORGIVEN_MS;
        if forgiven > 0 {
            count.strikes = count.strikes.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            count.acts = 0;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_time_forgives() {
        let mut guard = Guard::default();
        let mut now = 1_000;
        let mut delays = alloc::vec::Vec::new();
        for _ in 0..12 {
            let until = guard.strike(Role::Reader, false, now);
            delays.push(until - now);
            now = until;
        }
        assert_eq!(delays[..4], [250, 500, 1_000, 2_000]);
        assert_eq!(delays[8..], [60_000; 4]);
        assert_eq!(guard.until(Role::Reader, true), 0, "the other port is not slowed down");
        assert_eq!(guard.until(Role::Utility, false), 0, "nor another role");
        assert_eq!(guard.strike(Role::Reader, false, now + 60 * FORGIVEN_MS) - now - 60 * FORGIVEN_MS, 250);
    }

    #[test]
    fn a_few_unauthorised_acts_cost_nothing() {
        let mut guard = Guard::default();
        assert_eq!(guard.unauthorised(Role::Reader, false, FREE_ACTS, 10), 0);
        assert_eq!(guard.unauthorised(Role::Reader, false, 1, 10), 260);
    }
}
