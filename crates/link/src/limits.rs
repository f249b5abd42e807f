//! What strangers may ask for: connections under way and connections a minute, for each address before the handshake
//! and for each certificate after it. Memory is bounded, whoever calls.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something may be done: `burst` times at once, and again `per_minute` times in each minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a long silence. At least 1.
    pub burst: u32,
    /// In the long run.
    pub per_minute: u32,
}

/// What bounds connections from one address whose peer is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// Handshakes under way.
    pub concurrent: usize,
    /// Handshakes begun.
    pub rate: Rate,
}

/// Addresses that many meters share, a carrier's for example, and their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedAddresses {
    /// The first address of the block.
    pub network: IpAddr,
    /// How many leading bits belong to the block, as in `192.0.2.0/24`.
    pub prefix: u8,
    /// What each address in it may do.
    pub limits: AddressLimits,
}

impl SharedAddresses {
    /// Whether the address is in the block. An IPv4 address that comes as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => (32, u128::from(address.to_bits())),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        let ((width, own), (other_width, other)) = (bits(self.network), bits(address));
        let ignored = u32::from(width - self.prefix.min(width));
        let mask = u128::MAX.checked_shl(ignored).unwrap_or(0);
        width == other_width && own & mask == other & mask
    }
}

/// Allowances of many peers, each refilled with time.
#[derive(Debug)]
pub(crate) struct Allowances<K>(Mutex<Table<K>>);

#[derive(Debug)]
struct Table<K> {
    peers: HashMap<K, Allowance>,
    /// When room was last made.
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: f64,
    at: Instant,
    rate: Rate,
}

impl Allowance {
    fn refilled(self, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / 60.0;
        (self.left + minutes * f64::from(self.rate.per_minute)).min(f64::from(self.rate.burst.max(1)))
    }
}

impl<K: Eq + Hash> Allowances<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Table { peers: HashMap::new(), swept: None }))
    }

    /// Takes one from the peer's allowance; `false` when none is left.
    pub(crate) fn take(&self, peer: K, rate: Rate) -> bool {
        self.take_at(peer, rate, Instant::now())
    }

    fn take_at(&self, peer: K, rate: Rate, now: Instant) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { peers, swept } = &mut *table;
        if peers.len() >= PEERS && !peers.contains_key(&peer) {
            // Seldom, because it looks at all: a flood of addresses must not make each connection that dear.
            if swept.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP) {
                *swept = Some(now);
                // Whoever has its whole allowance again is as good as never seen.
                peers.retain(|_, allowance| allowance.refilled(now) < f64::from(allowance.rate.burst.max(1)));
            }
            if peers.len() >= PEERS {
                // So many at once cannot be told apart within bounded memory: the limit of all handshakes holds.
                return true;
            }
        }
        let full = Allowance { left: f64::from(rate.burst.max(1)), at: now, rate };
        let allowance = peers.entry(peer).or_insert(full);
        let left = allowance.refilled(now);
        let granted = left >= 1.0;
        *allowance = Allowance { left: if granted { left - 1.0 } else { left }, at: now, rate };
        granted
    }
}

/// How many are under way from each address. Bounded by the number of all.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<IpAddr, usize>>);

impl UnderWay {
    pub(crate) fn enter(this: &Arc<Self>, address: IpAddr, limit: usize) -> Option<UnderWayGuard> {
        let mut counts = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= limit.max(1) {
            return None;
        }
        *count += 1;
        Some(UnderWayGuard { all: Arc::clone(this), address })
    }
}

#[derive(Debug)]
pub(crate) struct UnderWayGuard {
    all: Arc<UnderWay>,
    address: IpAddr,
}

impl Drop for UnderWayGuard {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Peers told apart; an entry takes about 100 bytes.
const PEERS: usize = 65_536;
/// Between two looks for room.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a handshake may take, and how many may be under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptLimits {
    /// How long a handshake may take, the opening exchange included.
    pub handshake: Duration,
    /// How many handshakes may be under way; further connections wait in the listener's queue.
    pub concurrent: usize,
    /// What one address may do.
    pub per_address: AddressLimits,
    /// What each address of a block that many meters share may do; the first block that holds an address counts.
    pub shared: Vec<SharedAddresses>,
    /// How often one certificate may connect. A sound meter that loses its connection pauses longer each time.
    pub per_certificate: Rate,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        // This machine's own addresses stand for many: a fleet in one process. Half of all places remain for others.
        let local = AddressLimits { concurrent: 512, rate: Rate { burst: 20_000, per_minute: 60_000 } };
        let shared = |network: IpAddr, prefix| SharedAddresses { network, prefix, limits: local };
        Self {
            handshake: Duration::from_secs(10),
            concurrent: 1024,
            per_address: AddressLimits { concurrent: 64, rate: Rate { burst: 256, per_minute: 600 } },
            shared: vec![
                shared(IpAddr::from([127, 0, 0, 0]), 8),
                shared(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]), 128),
            ],
            per_certificate: Rate { burst: 30, per_minute: 30 },
        }
    }
}

impl AcceptLimits {
    /// The limits of an address.
    pub fn of(&self, address: IpAddr) -> AddressLimits {
        self.shared
            .iter()
            .find(|block| block.contains(address))
            .map_or(self.per_address, |block| block.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_time() {
        let (allowances, start) = (Allowances::new(), Instant::now());
        let rate = Rate { burst: 3, per_minute: 60 };
        let granted = |peer, at: f64| allowances.take_at(peer, rate, start + Duration::from_secs_f64(at));
        assert_eq!([0.0; 4].map(|at| granted(1, at)), [true, true, true, false]);
        assert!(granted(2, 0.0), "another peer has its own");
        assert_eq!([0.5, 1.1, 1.2].map(|at| granted(1, at)), [false, true, false]);
        assert_eq!(
            [100.0; 4].map(|at| granted(1, at)),
            [true, true, true, false],
            "never more than the burst"
        );
    }

    #[test]
    fn any_number_of_peers_takes_bounded_memory() {
        let (allowances, start) = (Allowances::new(), Instant::now());
        let rate = Rate { burst: 1, per_minute: 1 };
        for peer in 0..2 * PEERS {
            allowances.take_at(peer, rate, start);
        }
        assert_eq!(allowances.0.lock().unwrap().peers.len(), PEERS);
        allowances.take_at(usize::MAX, rate, start + Duration::from_secs(61));
        assert_eq!(allowances.0.lock().unwrap().peers.len(), 1, "old ones make room");
    }

    #[test]
    fn an_address_has_the_limits_of_its_block() {
        let limits = AcceptLimits::default();
        let of = |address: &str| limits.of(address.parse().unwrap()).concurrent;
        assert_eq!(
            (of("127.0.0.1"), of("127.9.9.9"), of("::1"), of("::ffff:127.0.0.1")),
            (512, 512, 512, 512)
        );
        assert_eq!((of("128.0.0.1"), of("192.0.2.1"), of("::2"), of("2001:db8::1")), (64, 64, 64, 64));
        let everything =
            SharedAddresses { network: "0.0.0.0".parse().unwrap(), prefix: 0, limits: limits.per_address };
        assert!(everything.contains("203.0.113.9".parse().unwrap()));
        assert!(!everything.contains("2001:db8::1".parse().unwrap()));
    }
}
