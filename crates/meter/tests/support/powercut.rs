//! Power cuts in updates and reverts: every operation once, and pairs of them.

#![allow(unreachable_pub, dead_code, reason = "shared by a test and an example, each of which uses a part")]

use meterseal_meter::firmware::{FirmwareError, FirmwareStore};
use meterseal_world::flash::{Cut, SimulatedFlash};

use super::firmware::{Behaviour, End, LAYOUT, Maker, image, life, provisioned, transfer};

/// What a row of the table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub geometry: String,
    pub what: &'static str,
    pub operations: u64,
    pub runs: u64,
    /// Runs that ended with the new image confirmed, and with the old one.
    pub new: u64,
    pub old: u64,
    /// The most lives that one run took.
    pub lives: u32,
}

impl Row {
    /// Both together.
    pub fn with(mut self, other: &Self) -> Self {
        self.runs += other.runs;
        self.new += other.new;
        self.old += other.old;
        self.lives = self.lives.max(other.lives);
        self
    }
}

/// A run from here, whatever is cut, comes to its end within so many lives.
const LIVES: u32 = 24;

/// One scenario on one geometry.
pub struct Campaign<const W: usize, const E: usize> {
    maker: Maker,
    offered: Vec<u8>,
    images: [Vec<u8>; 2],
    behaviour: Behaviour,
    start: SimulatedFlash<W, E>,
    what: &'static str,
    pub operations: u64,
}

impl<const W: usize, const E: usize> Campaign<W, E> {
    /// A meter with one image, and another one of 64 KiB that is offered, which behaves so.
    pub fn new(what: &'static str, behaviour: Behaviour, delta: bool) -> Self {
        let maker = Maker::new();
        let old = image(60_000, 1);
        let mut new = image(64 << 10, 1);
        new[30_000..30_400].fill(0x5A);
        let offered = if delta { maker.delta(&old, &new, 2) } else { maker.plain(&new, 2) };
        let mut start = SimulatedFlash::new(LAYOUT.size(E), 1);
        provisioned(&mut start, &maker, &old);
        // Staging is full of a former transfer: what comes must be erased for, beside blocks that must stay.
        let mut store = FirmwareStore::open(&mut start, 0, LAYOUT, maker.target.clone()).expect("opens");
        transfer(&mut store, &image(64 << 10, 9)).expect("takes anything");
        store.logged().expect("writes");
        let mut campaign = Self { maker, offered, images: [old, new], behaviour, start, what, operations: 0 };
        let mut flash = campaign.start.clone();
        let before = flash.operations();
        let (sequence, _) = campaign.settle(&mut flash);
        assert_eq!(sequence, if behaviour == Behaviour::Good { 2 } else { 1 });
        campaign.operations = flash.operations() - before;
        campaign
    }

    /// Lives until all is settled; gives the confirmed sequence number and how many lives it took.
    fn settle(&self, flash: &mut SimulatedFlash<W, E>) -> (u64, u32) {
        let [old, new] = &self.images;
        for lives in 1..=LIVES {
            let end = life(&mut *flash, &self.maker, &self.offered, &[old, new], self.behaviour);
            match end {
                Ok(End::Settled(sequence)) => return (sequence, lives),
                Ok(End::Restart) => {}
                Err(FirmwareError::Flash(_)) if flash.is_dead() => flash.power_on(),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{} does not end within {LIVES} lives", self.what);
    }

    fn row(&self) -> Row {
        Row {
            geometry: format!("write {W} B, erase {E} B"),
            what: self.what,
            operations: self.operations,
            runs: 0,
            new: 0,
            old: 0,
            lives: 0,
        }
    }

    fn run(&self, row: &mut Row, seed: u64, cuts: &[(u64, Cut)]) {
        let mut flash = self.start.clone();
        flash.reseed(seed);
        let (first, rest) = cuts.split_first().expect("a run with a cut");
        flash.cut_after(first.0, first.1);
        let [old, new] = &self.images;
        let mut lives = 0;
        let mut rest = rest.iter();
        let sequence = loop {
            lives += 1;
            assert!(lives <= LIVES, "{} with {cuts:?} (seed {seed}) does not end", self.what);
            let end = life(&mut flash, &self.maker, &self.offered, &[old, new], self.behaviour);
            match end {
                Ok(End::Settled(sequence)) => break sequence,
                Ok(End::Restart) => {}
                Err(FirmwareError::Flash(_)) if flash.is_dead() => {
                    flash.power_on();
                    if let Some(&(after, cut)) = rest.next() {
                        flash.cut_after(after, cut);
                    }
                }
                Err(error) => panic!("{} with {cuts:?} (seed {seed}): {error}", self.what),
            }
        };
        // Whatever was cut, the end is the one that it would have been.
        let expected = if self.behaviour == Behaviour::Good { 2 } else { 1 };
        assert_eq!(sequence, expected, "{} with {cuts:?} (seed {seed})", self.what);
        row.runs += 1;
        if sequence == 2 {
            row.new += 1
        } else {
            row.old += 1
        }
        row.lives = row.lives.max(lives);
    }

    /// Every `stride`-th operation, cut once, in every way.
    pub fn single(&self, stride: usize) -> Row {
        let mut row = self.row();
        for operation in (0..self.operations).step_by(stride) {
            for cut in Cut::ALL {
                self.run(&mut row, operation, &[(operation, cut)]);
            }
        }
        row
    }

    /// So many operations from this one on, each cut once, in every way.
    pub fn single_from(&self, first: u64, count: u64) -> Row {
        let mut row = self.row();
        for operation in first..first + count {
            for cut in Cut::ALL {
                self.run(&mut row, operation, &[(operation, cut)]);
            }
        }
        row
    }

    /// So many pairs: the second cut falls into what follows the first, half of the time close behind it.
    pub fn double(&self, pairs: u64, seed: u64) -> Row {
        let mut row = self.row();
        let mut state = seed | 1;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below.max(1)
        };
        for pair in 0..pairs {
            let first = random(self.operations);
            let left = if random(2) == 0 { 12 } else { self.operations - first + 12 };
            let second = random(left);
            let kind = |k: u64| Cut::ALL[k as usize];
            let cuts = [(first, kind(random(3))), (second, kind(random(3)))];
            self.run(&mut row, seed ^ pair, &cuts);
        }
        row
    }
}
