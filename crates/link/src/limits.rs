//! What strangers may ask for: connections under way and connections a minute, for each address before the handshake
//! and for each certificate after it. Memory is bounded, whoever calls.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    /// Connections that wait, for at most half of [`AcceptLimits::handshake`], until one of those has ended; what comes
    /// beyond is refused at once. A meter that is refused pauses longer each time, so where many share an address and
    /// lose their line together, those that wait are back sooner.
    pub waiting: usize,
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

/// What is under way from each address, or waits for its turn. Bounded by the number of all.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<IpAddr, OfAddress>>);

#[derive(Debug)]
struct OfAddress {
    /// Under way and waiting.
    count: usize,
    turns: Arc<Semaphore>,
}

impl UnderWay {
    pub(crate) fn enter(this: &Arc<Self>, address: IpAddr, limits: AddressLimits) -> Option<UnderWayGuard> {
        let concurrent = limits.concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let mut addresses = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = addresses
            .entry(address)
            .or_insert_with(|| OfAddress { count: 0, turns: Arc::new(Semaphore::new(concurrent)) });
        if entry.count >= concurrent.saturating_add(limits.waiting) {
            return None;
        }
        entry.count += 1;
        Some(UnderWayGuard { turns: Arc::clone(&entry.turns), all: Arc::clone(this), address })
    }
}

/// A connection that waits for its turn or has it.
#[derive(Debug)]
pub(crate) struct UnderWayGuard {
    all: Arc<UnderWay>,
    address: IpAddr,
    turns: Arc<Semaphore>,
}

impl UnderWayGuard {
    /// Waits until one of the address's handshakes has ended, if there are too many. `None` never comes: nobody closes
    /// the semaphore.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

impl Drop for UnderWayGuard {
    fn drop(&mut self) {
        let mut addresses = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = addresses.get_mut(&self.address) {
            entry.count -= 1;
            if entry.count == 0 {
                addresses.remove(&self.address);
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
    /// How many handshakes may be under way; further connections wait, and then in the listener's queue.
    pub concurrent: usize,
    /// How many connections may wait for their handshake, at a kilobyte each.
    pub waiting: usize,
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
        let rate = Rate { burst: 20_000, per_minute: 60_000 };
        let local = AddressLimits { concurrent: 512, waiting: 16_384, rate };
        let shared = |network: IpAddr, prefix| SharedAddresses { network, prefix, limits: local };
        Self {
            handshake: Duration::from_secs(10),
            concurrent: 1024,
            waiting: 20_480,
            per_address: AddressLimits {
                concurrent: 64,
                waiting: 0,
                rate: Rate { burst: 256, per_minute: 600 },
            },
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

    #[tokio::test]
    async fn what_is_too_much_for_now_waits_and_what_is_too_much_is_refused() {
        let under_way = Arc::new(UnderWay::default());
        let limits = AddressLimits { concurrent: 1, waiting: 1, rate: Rate { burst: 1, per_minute: 1 } };
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let enter = |address| UnderWay::enter(&under_way, address, limits);
        let (first, second) = (enter(here).unwrap(), enter(here).unwrap());
        assert!(enter(here).is_none(), "one under way and one that waits are all");
        assert!(enter(there).is_some(), "another address has its own");
        let turn = first.turn().await.unwrap();
        {
            let waits = second.turn();
            tokio::pin!(waits);
            assert!(at_once(waits.as_mut()).await.is_none());
            drop((turn, first));
            assert!(waits.await.is_some());
        }
        drop(second);
        assert!(under_way.0.lock().unwrap().is_empty(), "nothing is remembered of whoever has gone");
    }

    /// What the future is ready with at this moment.
    async fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
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
