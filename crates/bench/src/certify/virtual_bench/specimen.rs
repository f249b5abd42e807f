//! The virtual meter as the bench sees it: what reaches its terminals and sensors, its pulses, its connections, its memory. A defective meter is a
//! wrapper around a sound one ([`Specimen`] is all that there is to wrap), so released code needs no switch for it.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use meterseal_world::physics::LoadPoint;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::certify::{Caller, Stimulus, Trouble};

/// A connection of a specimen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line(pub(super) u32);

/// A meter that a virtual bench steps.
///
/// ```
/// use meterseal_bench::certify::{Specimen, Trouble};
/// # use meterseal_bench::certify::{Caller, Line, Memory, Stimulus};
/// # use meterseal_world::physics::LoadPoint;
/// /// A meter whose third pulse is always missing.
/// struct Forgetful<S> { inner: S, count: u64 }
///
/// impl<S: Specimen> Specimen for Forgetful<S> {
///     fn pulses(&mut self, into: &mut Vec<f64>) {
///         let mut all = Vec::new();
///         self.inner.pulses(&mut all);
///         all.retain(|_| { self.count += 1; self.count % 3 != 0 });
///         into.extend(all);
///     }
///     // All else as the sound one does it.
/// #   fn load(&mut self, load: &LoadPoint, turns: f64) { self.inner.load(load, turns) }
/// #   fn ambient(&mut self, celsius: f64) { self.inner.ambient(celsius) }
/// #   fn stimulate(&mut self, stimulus: Stimulus) { self.inner.stimulate(stimulus) }
/// #   fn supply(&mut self, on: bool) -> Result<(), Trouble> { self.inner.supply(on) }
/// #   fn pass(&mut self, seconds: f64) -> Result<(), Trouble> { self.inner.pass(seconds) }
/// #   fn seconds(&self) -> f64 { self.inner.seconds() }
/// #   fn connect(&mut self, caller: Caller) -> Result<Line, Trouble> { self.inner.connect(caller) }
/// #   fn disconnect(&mut self, line: Line) { self.inner.disconnect(line) }
/// #   fn send(&mut self, line: Line, bytes: &[u8]) -> Result<(), Trouble> { self.inner.send(line, bytes) }
/// #   fn receive(&mut self, line: Line) -> Result<Option<Vec<u8>>, Trouble> { self.inner.receive(line) }
/// #   fn memory(&self) -> Memory { self.inner.memory() }
/// #   fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble> { self.inner.made_with(kilowatt_hours) }
/// #   fn equip(&mut self) -> Result<(), Trouble> { self.inner.equip() }
/// }
/// ```
pub trait Specimen {
    /// What is at the terminals from now on; a quarter of the supply's frequency is at `turns` now.
    fn load(&mut self, load: &LoadPoint, turns: f64);

    /// All temperatures settle with the load that is there.
    fn ambient(&mut self, celsius: f64);

    /// Something happens to it.
    fn stimulate(&mut self, stimulus: Stimulus);

    /// Its supply goes, without warning, or comes.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it does not start.
    fn supply(&mut self, on: bool) -> Result<(), Trouble>;

    /// It lives through so much time, rounded to whole readings of its sensors.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it does not work.
    fn pass(&mut self, seconds: f64) -> Result<(), Trouble>;

    /// True time since the beginning.
    fn seconds(&self) -> f64;

    /// Pulses of active import since this was last asked, by true time. They may lie up to a window ahead.
    fn pulses(&mut self, into: &mut Vec<f64>);

    /// A connection comes up inside TLS: the one that it dials to its head-end, or somebody at its local port.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it takes no more, or is off.
    fn connect(&mut self, caller: Caller) -> Result<Line, Trouble>;

    /// A connection has gone.
    fn disconnect(&mut self, line: Line);

    /// Bytes from the other end.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it closes the connection, and why.
    fn send(&mut self, line: Line, bytes: &[u8]) -> Result<(), Trouble>;

    /// What it says next.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn receive(&mut self, line: Line) -> Result<Option<Vec<u8>>, Trouble>;

    /// Its flash.
    fn memory(&self) -> Memory;

    /// Made anew, with so much energy in its register.
    ///
    /// # Errors
    /// [`Trouble::Meter`].
    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble>;

    /// It gets its firmware partition with the trust root and the first image, as its factory fills it, and starts from that. Only tests of
    /// firmware need one, and only they pay for it. Asked again, nothing happens.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it does not start.
    fn equip(&mut self) -> Result<(), Trouble>;
}

impl<S: Specimen + ?Sized> Specimen for Box<S> {
    fn load(&mut self, load: &LoadPoint, turns: f64) {
        (**self).load(load, turns);
    }

    fn ambient(&mut self, celsius: f64) {
        (**self).ambient(celsius);
    }

    fn stimulate(&mut self, stimulus: Stimulus) {
        (**self).stimulate(stimulus);
    }

    fn supply(&mut self, on: bool) -> Result<(), Trouble> {
        (**self).supply(on)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        (**self).pass(seconds)
    }

    fn seconds(&self) -> f64 {
        (**self).seconds()
    }

    fn pulses(&mut self, into: &mut Vec<f64>) {
        (**self).pulses(into);
    }

    fn connect(&mut self, caller: Caller) -> Result<Line, Trouble> {
        (**self).connect(caller)
    }

    fn disconnect(&mut self, line: Line) {
        (**self).disconnect(line);
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> Result<(), Trouble> {
        (**self).send(line, bytes)
    }

    fn receive(&mut self, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        (**self).receive(line)
    }

    fn memory(&self) -> Memory {
        (**self).memory()
    }

    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble> {
        (**self).made_with(kilowatt_hours)
    }

    fn equip(&mut self) -> Result<(), Trouble> {
        (**self).equip()
    }
}

/// NOR flash in memory that outlives its meter: erasing sets bits, writing clears them.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(super) fn blank(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![0xFF; bytes])))
    }

    /// The bytes, for somebody who reaches the chip past the meter.
    pub fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        // Whoever panicked while holding it left whole bytes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ErrorType for Memory {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Memory {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, into.len())?;
        into.copy_from_slice(&self.bytes()[offset as usize..][..into.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes().len()
    }
}

impl NorFlash for Memory {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.bytes()[from as usize..to as usize].fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (cell, byte) in self.bytes()[offset as usize..].iter_mut().zip(bytes) {
            *cell &= byte;
        }
        Ok(())
    }
}
