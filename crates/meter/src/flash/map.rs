//! A map of small values in flash (`sequential-storage`): what is stored under a key replaces what was, whole or not at
//! all, whenever the power goes. Its futures never wait here, because the flash beneath never does.

use alloc::vec;
use alloc::vec::Vec;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_storage::nor_flash::{ErrorType, NorFlash};
use embedded_storage_async::nor_flash as nonblocking;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

use super::{Region, SECTOR_BYTES, StorageError};

/// The longest value. All values together must fit into all sectors but one.
pub(crate) const VALUE_MAX: usize = 512;

/// One region used as a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    from: u32,
    to: u32,
}

impl Map {
    pub(crate) const fn new(region: Region) -> Self {
        let from = region.first_sector * SECTOR_BYTES;
        Self { from, to: from + region.sectors * SECTOR_BYTES }
    }

    /// The newest value under a key.
    pub(crate) fn get<F: NorFlash>(
        self,
        flash: &mut F,
        key: u16,
    ) -> Result<Option<Vec<u8>>, StorageError<F::Error>> {
        let mut buffer = buffer();
        let mut map = self.open(flash)?;
        let value = finish(map.fetch_item::<&[u8]>(&mut buffer, &key))?;
        Ok(value.map(Vec::from))
    }

    /// Stores a value of at most [`VALUE_MAX`] bytes. When this returns, it is in flash.
    pub(crate) fn put<F: NorFlash>(
        self,
        flash: &mut F,
        key: u16,
        value: &[u8],
    ) -> Result<(), StorageError<F::Error>> {
        if value.len() > VALUE_MAX {
            return Err(StorageError::Map("value too long"));
        }
        let mut buffer = buffer();
        let mut map = self.open(flash)?;
        finish(map.store_item(&mut buffer, &key, &value))
    }

    fn open<F: NorFlash>(self, flash: &mut F) -> Result<OpenMap<'_, F>, StorageError<F::Error>> {
        let config = MapConfig::try_new(self.from..self.to).map_err(|_| StorageError::Map("geometry"))?;
        Ok(MapStorage::new(Ready(flash), config, Cache::new_uncached()))
    }
}

type OpenMap<'a, F> = MapStorage<u16, Ready<'a, F>, Cache<Uncached, Uncached, Uncached, u16>>;

/// Key, value and the padding to a write unit.
fn buffer() -> Vec<u8> {
    vec![0; 2 + VALUE_MAX + 64]
}

fn finish<T, E: core::fmt::Debug>(
    future: impl Future<Output = Result<T, sequential_storage::Error<E>>>,
) -> Result<T, StorageError<E>> {
    use sequential_storage::Error;
    let outcome = match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => return Err(StorageError::Map("it waits")),
    };
    outcome.map_err(|error| match error {
        Error::Storage { value } => StorageError::Flash(value),
        Error::FullStorage => StorageError::Map("full"),
        Error::Corrupted {} => StorageError::Map("spoilt"),
        _ => StorageError::Map("unforeseen"),
    })
}

/// A flash that answers at once, in sectors of [`SECTOR_BYTES`].
struct Ready<'a, F>(&'a mut F);

impl<F: NorFlash> ErrorType for Ready<'_, F> {
    type Error = F::Error;
}

impl<F: NorFlash> nonblocking::ReadNorFlash for Ready<'_, F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: NorFlash> nonblocking::NorFlash for Ready<'_, F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = SECTOR_BYTES as usize;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.0.write(offset, bytes)
    }
}
