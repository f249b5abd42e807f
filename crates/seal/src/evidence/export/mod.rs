//! A meter's log in a file: a header, then every entry in order, and each checkpoint right after the last entry that it
//! covers (a CBOR sequence, RFC 8742). Checking it appends entry by entry and compares roots: no proofs, little memory.
//!
//! A file may begin later than the log does: it then holds the peaks of what lies before, which the first checkpoint
//! proves. An entry whose content has gone, or is withheld from whom the file is for, is there as its hash.

use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;

use super::origin::{Origin, Trust};
use super::report::Report;
use super::{Unreadable, malformed};
use crate::envelope::written;
use crate::log::{Leaf, LogHash, Peaks};

mod check;

use check::Check;
pub use check::VerifiedExport;

/// The version of the format that is written and read.
pub const VERSION: u64 = 1;

/// What an export begins with.
pub(super) const MAGIC: &str = "meterseal.log";

/// An entry of the log in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A leaf's bytes.
    Leaf(&'a [u8]),
    /// A leaf's hash alone.
    Withheld(LogHash),
}

impl<'a> From<&'a Entry<'_>> for Entry<'a> {
    fn from(entry: &'a Entry<'_>) -> Self {
        *entry
    }
}

/// An export that is being read or written: its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Whose log.
    pub origin: Origin,
    /// The tree before the first entry of the file.
    pub start: Peaks,
    /// How many entries the file has.
    pub count: u64,
}

impl Export {
    /// Writes a file in pieces to `out`: `entries` are `count` entries from `start` on, `checkpoints` signed ones of this
    /// log in order of size; those that cover less than the file's start or more than its end are left out.
    ///
    /// # Errors
    /// What `entries` or `out` failed with.
    pub fn write<T, E>(
        &self,
        entries: impl IntoIterator<Item = Result<T, E>>,
        checkpoints: &[Vec<u8>],
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E>
    where
        for<'a> Entry<'a>: From<&'a T>,
    {
        out(&self.header())?;
        let mut ignored = Report::default();
        let mut sized = checkpoints.iter().filter_map(|bytes| {
            let size = self.origin.checkpoint(bytes, &mut ignored)?.checkpoint().size;
            (size >= self.start.size()).then_some((size, bytes))
        });
        let mut next = sized.next();
        let mut size = self.start.size();
        let mut entries = entries.into_iter();
        loop {
            while let Some((_, bytes)) = next.filter(|&(covered, _)| covered <= size) {
                out(bytes)?;
                next = sized.next();
            }
            match entries.next() {
                Some(entry) => out(&item(Entry::from(&entry?)))?,
                None => return Ok(()),
            }
            size += 1;
        }
    }

    fn header(&self) -> Vec<u8> {
        written(|encoder| {
            encoder.array(5)?.str(MAGIC)?.u64(VERSION)?;
            self.origin.write(encoder)?;
            encoder.bytes(&self.start.encode())?.u64(self.count)?.ok()
        })
    }

    /// Reads the header and says where it ends.
    fn read(bytes: &[u8]) -> Result<(Self, usize), Unreadable> {
        let decoder = &mut Decoder::new(bytes);
        let head = malformed(decoder, |decoder| {
            Ok::<_, minicbor::decode::Error>((decoder.array()?, decoder.str()?, decoder.u64()?))
        })?;
        match head {
            (Some(5), MAGIC, VERSION) => {}
            (Some(5), MAGIC, other) => return Err(Unreadable::Version(other)),
            _ => return Err(Unreadable::Malformed(0)),
        }
        let origin = Origin::read(decoder)?;
        let peaks = malformed(decoder, |decoder| decoder.bytes().map(<[u8]>::to_vec))?;
        let start = Peaks::decode(&peaks).map_err(|_| Unreadable::Malformed(decoder.position()))?;
        let count = malformed(decoder, |decoder| decoder.u64())?;
        let export = Self { origin, start, count };
        if bytes.get(..decoder.position()) != Some(&export.header()[..]) {
            return Err(Unreadable::Malformed(decoder.position()));
        }
        Ok((export, decoder.position()))
    }

    /// Reads and checks a file; `visit` is given every leaf that can be read, as it comes, proven or not: use what it
    /// was given only if the report [holds](Report::holds).
    ///
    /// # Errors
    /// [`Unreadable`] when it is no export, or its parts cannot be told apart.
    pub fn verify(
        bytes: &[u8],
        trust: &Trust,
        visit: &mut dyn FnMut(&Leaf),
    ) -> Result<VerifiedExport, Unreadable> {
        let (export, mut place) = Self::read(bytes)?;
        let mut check = Check::new(export, trust);
        while place < bytes.len() {
            let rest = &bytes[place..];
            let unreadable = |offset: usize| Unreadable::Malformed(place + offset);
            let mut decoder = Decoder::new(rest);
            match decoder.datatype().map_err(|_| unreadable(0))? {
                Type::Bytes => {
                    let leaf = decoder.bytes().map_err(|_| unreadable(decoder.position()))?;
                    check.leaf(leaf, visit);
                    if rest.get(..decoder.position()) != Some(&item(Entry::Leaf(leaf))[..]) {
                        return Err(unreadable(0));
                    }
                }
                Type::Array => {
                    let hash = malformed(&mut decoder, |decoder| {
                        decoder.array()?;
                        decoder.bytes()
                    });
                    let hash = hash.ok().and_then(|bytes| bytes.try_into().ok()).map(LogHash);
                    let hash = hash.ok_or(unreadable(0))?;
                    if rest.get(..decoder.position()) != Some(&item(Entry::Withheld(hash))[..]) {
                        return Err(unreadable(0));
                    }
                    check.withheld(hash);
                }
                Type::Tag => {
                    decoder.skip().map_err(|_| unreadable(decoder.position()))?;
                    check.checkpoint(&rest[..decoder.position()]);
                }
                _ => return Err(unreadable(0)),
            }
            place += decoder.position();
        }
        Ok(check.finish())
    }
}

/// An entry as it stands in the file.
fn item(entry: Entry<'_>) -> Vec<u8> {
    written(|encoder| match entry {
        Entry::Leaf(bytes) => encoder.bytes(bytes)?.ok(),
        Entry::Withheld(hash) => encoder.array(1)?.bytes(&hash.0)?.ok(),
    })
}
