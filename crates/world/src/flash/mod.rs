//! NOR flash in memory, of any geometry, that keeps NOR's rules and whose power can be cut at any operation: before it,
//! torn within it, or after it but before anybody knows.
//!
//! Rules: erased bytes are 0xFF; a write step is written once between two erases. Breaking them is a panic, because it
//! is a mistake of the program, not of the world.

use std::cell::RefCell;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};

use crate::random::Random;

mod hold_up;

pub use hold_up::{Appetite, HoldUp};

/// What happens to the operation during which the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It did not begin.
    Before,
    /// It was done, but nobody learnt of it.
    After,
    /// A write ends within some write step, of which some bits are there; an erase leaves erased, untouched and random
    /// steps side by side.
    Torn,
}

impl Cut {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Torn];
}

/// A chip that writes `WRITE` bytes at once and erases `ERASE`.
#[derive(Clone, Debug)]
pub struct SimulatedFlash<const WRITE: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    /// Which write steps were written since their erase.
    written: Vec<bool>,
    operations: u64,
    cut: Option<(u64, Cut)>,
    dead: bool,
    failing: Option<Failing>,
    /// How often each erase block was erased.
    erases: Vec<u32>,
    random: Random,
}

/// A supply that fails.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// At this operation.
    at: u64,
    /// What the capacitor then holds, and what has been taken of it, nanojoules.
    held: u64,
    spent: u64,
    appetite: Appetite,
    idle_microwatts: u32,
}

impl<const WRITE: usize, const ERASE: usize> SimulatedFlash<WRITE, ERASE> {
    /// An erased chip of at least `bytes`. The seed is for what is torn.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let bytes = bytes.next_multiple_of(ERASE);
        Self {
            bytes: vec![0xFF; bytes],
            written: vec![false; bytes / WRITE],
            operations: 0,
            cut: None,
            dead: false,
            failing: None,
            erases: vec![0; bytes / ERASE],
            random: Random::new(seed),
        }
    }

    /// Another seed for what is torn from now on.
    pub fn reseed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// Writes and erases so far.
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// Lets the power go at the operation that so many others come before.
    pub const fn cut_after(&mut self, operations: u64, cut: Cut) {
        self.cut = Some((self.operations + operations, cut));
    }

    /// Lets the supply fail at the operation that so many others come before. From then on each takes its share of what the
    /// capacitor holds, `nanojoules`; the one that it does not last for is torn, and the power is away.
    pub const fn fail_after(
        &mut self,
        operations: u64,
        nanojoules: u64,
        appetite: Appetite,
        idle_microwatts: u32,
    ) {
        let at = self.operations + operations;
        self.failing = Some(Failing { at, held: nanojoules, spent: 0, appetite, idle_microwatts });
    }

    /// What the operations since the supply failed have taken of the capacitor, nanojoules.
    pub fn spent_nanojoules(&self) -> u64 {
        self.failing.map_or(0, |failing| failing.spent)
    }

    /// Whether the meter lives on its capacitor, or not at all.
    pub fn is_failing(&self) -> bool {
        self.dead || self.failing.is_some_and(|failing| self.operations > failing.at)
    }

    /// How often each block of `ERASE` bytes was erased.
    pub fn erases(&self) -> &[u32] {
        &self.erases
    }

    /// Whether the power is away.
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// The power comes back, if it was away.
    pub const fn power_on(&mut self) {
        self.dead = false;
        self.failing = None;
    }

    /// The bytes, for somebody who reaches the chip past the program.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// What becomes of the next operation: `None`, it is done.
    fn begin(&mut self, cost: impl Fn(&Appetite, u32) -> u64) -> Result<Option<Cut>, NorFlashErrorKind> {
        if self.dead {
            return Err(NorFlashErrorKind::Other);
        }
        if let Some(failing) = self.failing.as_mut().filter(|failing| failing.at <= self.operations) {
            let spent = failing.spent + cost(&failing.appetite, failing.idle_microwatts);
            if spent > failing.held {
                self.operations += 1;
                self.dead = true;
                return Ok(Some(Cut::Torn));
            }
            failing.spent = spent;
        }
        let cut = self.cut.filter(|&(at, _)| at == self.operations).map(|(_, cut)| cut);
        self.operations += 1;
        if cut.is_some() {
            (self.dead, self.cut) = (true, None);
        }
        if cut == Some(Cut::Before) { Err(NorFlashErrorKind::Other) } else { Ok(cut) }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random.next() % limit.max(1) as u64) as usize
    }
}

/// A chip in its socket: the meter works on it, and the world can reach it meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a, const WRITE: usize, const ERASE: usize>(pub &'a RefCell<SimulatedFlash<WRITE, ERASE>>);

impl<const WRITE: usize, const ERASE: usize> ErrorType for Socket<'_, WRITE, ERASE> {
    type Error = NorFlashErrorKind;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for Socket<'_, WRITE, ERASE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().read(offset, into)
    }

    fn capacity(&self) -> usize {
        self.0.borrow().capacity()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for Socket<'_, WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.borrow_mut().erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().write(offset, bytes)
    }
}

impl<const WRITE: usize, const ERASE: usize> ErrorType for SimulatedFlash<WRITE, ERASE> {
    type Error = NorFlashErrorKind;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for SimulatedFlash<WRITE, ERASE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        if self.dead {
            return Err(NorFlashErrorKind::Other);
        }
        let from = offset as usize;
        let range = self.bytes.get(from..from + into.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
        into.copy_from_slice(range);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for SimulatedFlash<WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        let cut = self.begin(|appetite, idle| appetite.erase((to - from) as usize, idle))?;
        for block in from as usize / ERASE..to as usize / ERASE {
            self.erases[block] += 1;
        }
        for step in from as usize / WRITE..to as usize / WRITE {
            let range = step * WRITE..(step + 1) * WRITE;
            match if cut == Some(Cut::Torn) { self.below(3) } else { 0 } {
                0 => {
                    self.bytes[range].fill(0xFF);
                    self.written[step] = false;
                }
                1 => {}
                _ => {
                    for at in range {
                        self.bytes[at] = self.random.next() as u8;
                    }
                    self.written[step] = true;
                }
            }
        }
        cut.map_or(Ok(()), |_| Err(NorFlashErrorKind::Other))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        let cut = self.begin(|appetite, idle| appetite.write(bytes.len(), idle))?;
        let steps = bytes.len() / WRITE;
        let whole = if cut == Some(Cut::Torn) { self.below(steps) } else { steps };
        for k in 0..steps.min(whole + 1) {
            let at = offset as usize + k * WRITE;
            assert!(!self.written[at / WRITE], "flash written twice at {at}");
            for (place, &byte) in (at..).zip(&bytes[k * WRITE..(k + 1) * WRITE]) {
                // In the torn step, some of the bits that should have become 0 still are 1.
                let left = if k < whole { 0 } else { self.random.next() as u8 };
                self.bytes[place] = byte | left;
            }
            // A step that a tear left blank can be written like any other.
            let blank = self.bytes[at..at + WRITE].iter().all(|&byte| byte == 0xFF);
            self.written[at / WRITE] = !blank || (WRITE > 1 && k < whole);
        }
        cut.map_or(Ok(()), |_| Err(NorFlashErrorKind::Other))
    }
}
