//! NOR flash that loses its power: at any operation, before it, in the middle of it or after it, and again while the
//! device recovers; and that rots. Deterministic from a seed. Every sector erased and every write is one operation.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use crate::random::Random;

/// Where in an operation the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Before anything of it is done.
    Before,
    /// While it is done: a random part of the bytes, with bits half written.
    Within,
    /// When all of it is done, and the device has not heard so.
    After,
}

impl Tear {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::Within, Self::After];
}

/// A power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// At which operation, counted from 0 since [`CutFlash::power_on`].
    pub operation: u64,
    /// Where in it.
    pub tear: Tear,
}

/// The flash: it erases `ERASE` bytes at once and writes `WRITE`.
#[derive(Clone, Debug)]
pub struct CutFlash<const ERASE: usize, const WRITE: usize> {
    bytes: Vec<u8>,
    operations: u64,
    cut: Option<Cut>,
    is_cut: bool,
    random: Random,
    erases: Vec<u32>,
    overwrites: u64,
}

impl<const ERASE: usize, const WRITE: usize> CutFlash<ERASE, WRITE> {
    /// An erased chip of so many bytes (rounded down to whole sectors), with power.
    pub fn new(bytes: usize, seed: u64) -> Self {
        let sectors = bytes / ERASE;
        Self {
            bytes: vec![0xFF; sectors * ERASE],
            operations: 0,
            cut: None,
            is_cut: false,
            random: Random::new(seed),
            erases: vec![0; sectors],
            overwrites: 0,
        }
    }

    /// The same chip, torn by other dice.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.random = Random::new(seed);
        self
    }

    /// The power comes (back), until it goes at `cut`. What was torn stays torn.
    pub fn power_on(&mut self, cut: Option<Cut>) {
        self.operations = 0;
        self.cut = cut;
        self.is_cut = false;
    }

    /// Whether the power has gone.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Operations since [`Self::power_on`], the one that was cut included.
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// How often each unit of `ERASE` bytes was erased.
    pub fn erases(&self) -> &[u32] {
        &self.erases
    }

    /// Writes that asked for a bit which had been cleared before, and so did not do what they were for: without an erase,
    /// flash only clears. (To clear again what a torn write has half cleared is what NOR flash allows.)
    pub const fn overwrites(&self) -> u64 {
        self.overwrites
    }

    /// What the chip holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Rot: flips a random bit among those of `range`, and says which byte it is in. `None`: the range is empty or
    /// beyond the chip.
    pub fn rot(&mut self, range: std::ops::Range<usize>) -> Option<usize> {
        let offset = range.start + self.random.below(range.len())?;
        let bit = self.random.next() % 8;
        *self.bytes.get_mut(offset)? ^= 1 << bit;
        Some(offset)
    }

    /// Begins an operation; `Err` when there is no power for it.
    fn begin(&mut self) -> Result<Option<Tear>, NorFlashErrorKind> {
        if self.is_cut {
            return Err(NorFlashErrorKind::Other);
        }
        let operation = self.operations;
        self.operations += 1;
        let tear = self.cut.filter(|cut| cut.operation == operation).map(|cut| cut.tear);
        self.is_cut = tear.is_some();
        if tear == Some(Tear::Before) { Err(NorFlashErrorKind::Other) } else { Ok(tear) }
    }

    fn end(&self) -> Result<(), NorFlashErrorKind> {
        if self.is_cut { Err(NorFlashErrorKind::Other) } else { Ok(()) }
    }

    /// An erase raises bits to one: when it is torn, some words have all of them, some a few, some none, and some hold
    /// whatever a cell between two levels reads as.
    fn erase_sector(&mut self, from: usize, torn: bool) {
        self.erases[from / ERASE] += 1;
        // Chips erase in different orders, so sometimes only a beginning is reached.
        let reached = if torn && self.random.next().is_multiple_of(2) {
            self.random.below(ERASE).unwrap_or(0)
        } else {
            ERASE
        };
        for word in self.bytes[from..from + ERASE].chunks_mut(WRITE).take(reached.div_ceil(WRITE)) {
            match if torn { self.random.next() % 4 } else { 0 } {
                0 => word.fill(0xFF),
                1 => {}
                2 => word.iter_mut().for_each(|byte| *byte |= self.random.next() as u8),
                _ => word.iter_mut().for_each(|byte| *byte = self.random.next() as u8),
            }
        }
    }

    /// A write clears bits: when it is torn, it ends anywhere and in the middle of a byte, or has reached some words and
    /// not others, or has cleared only some of the bits of all of them.
    fn program(&mut self, offset: usize, bytes: &[u8], torn: bool) {
        let how = if torn { self.random.next() % 3 } else { 3 };
        let end = if how == 0 { self.random.below(bytes.len()).unwrap_or(0) } else { bytes.len() };
        for (k, &byte) in bytes.iter().enumerate() {
            // Bits set in `kept` have not been cleared yet.
            let kept = match how {
                0 if k > end => 0xFF,
                0 if k == end => self.random.next() as u8,
                1 if k % WRITE == 0 && self.random.next().is_multiple_of(2) => 0xFF,
                2 => self.random.next() as u8,
                _ => 0,
            };
            self.bytes[offset + k] &= byte | kept;
        }
    }
}

impl<const ERASE: usize, const WRITE: usize> ErrorType for CutFlash<ERASE, WRITE> {
    type Error = NorFlashErrorKind;
}

impl<const ERASE: usize, const WRITE: usize> ReadNorFlash for CutFlash<ERASE, WRITE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        self.end()?;
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const ERASE: usize, const WRITE: usize> NorFlash for CutFlash<ERASE, WRITE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        for sector in (from as usize..to as usize).step_by(ERASE) {
            let torn = self.begin()? == Some(Tear::Within);
            self.erase_sector(sector, torn);
            self.end()?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        let torn = self.begin()? == Some(Tear::Within);
        let offset = offset as usize;
        if self.bytes[offset..].iter().zip(bytes).any(|(&old, &new)| old & new != new) {
            self.overwrites += 1;
        }
        self.program(offset, bytes, torn);
        self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Flash = CutFlash<1024, 4>;

    #[test]
    fn what_is_written_is_read_and_erased() {
        let mut flash = Flash::new(4096, 1);
        flash.write(8, &[1, 2, 3, 4]).unwrap();
        let mut found = [0; 4];
        flash.read(8, &mut found).unwrap();
        assert_eq!((found, flash.overwrites()), ([1, 2, 3, 4], 0));
        flash.write(8, &[0xFE; 4]).unwrap();
        flash.read(8, &mut found).unwrap();
        assert_eq!((found, flash.overwrites()), ([0, 2, 2, 4], 1), "NOR flash clears bits and sets none");
        flash.erase(0, 1024).unwrap();
        flash.read(8, &mut found).unwrap();
        assert_eq!((found, flash.erases()), ([0xFF; 4], &[1, 0, 0, 0][..]));
        assert_eq!(flash.write(6, &[0; 4]), Err(NorFlashErrorKind::NotAligned));
        assert_eq!(flash.read(4095, &mut found), Err(NorFlashErrorKind::OutOfBounds));
    }

    #[test]
    fn a_cut_comes_at_its_operation_and_nothing_works_after_it() {
        for tear in Tear::ALL {
            let mut flash = Flash::new(4096, 2);
            flash.power_on(Some(Cut { operation: 1, tear }));
            flash.write(0, &[0; 4]).unwrap();
            assert!(flash.write(4, &[0; 4]).is_err() && flash.is_cut());
            assert!(flash.write(8, &[0; 4]).is_err() && flash.read(0, &mut [0; 4]).is_err());
            assert!(flash.erase(0, 1024).is_err());
            flash.power_on(None);
            assert_eq!(flash.bytes()[..4], [0; 4]);
            match tear {
                Tear::Before => assert_eq!(flash.bytes()[4..8], [0xFF; 4]),
                Tear::After => assert_eq!(flash.bytes()[4..8], [0; 4]),
                Tear::Within => {}
            }
            assert_eq!(flash.bytes()[8..12], [0xFF; 4]);
        }
    }

    #[test]
    fn torn_writes_and_erases_are_partial_and_a_seed_repeats_them() {
        let torn = |seed| {
            let mut flash = Flash::new(1024, seed);
            flash.power_on(Some(Cut { operation: 0, tear: Tear::Within }));
            assert!(flash.write(0, &[0x0F; 256]).is_err());
            let written = flash.bytes().to_vec();
            flash.power_on(Some(Cut { operation: 0, tear: Tear::Within }));
            assert!(flash.erase(0, 1024).is_err());
            (written, flash.bytes().to_vec())
        };
        let partial = (0..200).filter(|&seed| {
            let (written, erased) = torn(seed);
            assert_eq!((&written, &erased), (&torn(seed).0, &torn(seed).1));
            // A torn write never clears a bit that was not to be cleared.
            assert!(written[..256].iter().all(|byte| byte & 0x0F == 0x0F));
            assert!(written[256..].iter().all(|&byte| byte == 0xFF));
            written[..256].iter().any(|&byte| byte != 0x0F) && erased.iter().any(|&byte| byte != 0xFF)
        });
        assert!(partial.count() > 150);
    }

    #[test]
    fn rot_flips_one_bit() {
        let mut flash = Flash::new(1024, 3);
        let offset = flash.rot(100..200).unwrap();
        assert!((100..200).contains(&offset));
        assert_eq!(flash.bytes().iter().map(|byte| byte.count_zeros()).sum::<u32>(), 1);
        assert_eq!(flash.rot(10..10), None);
    }
}
