//! Revoked certificates: signed lists (RFC 5280, 5) that take effect at once, on new, resumed and standing
//! connections.
//!
//! [`Revocations`] is shared by everything that judges peers. A list is taken when one of the known authorities
//! signed it and its number is not lower than the last one's: who holds an old list back cannot undo a newer one.
//! Each connection holds a [`Standing`], which ends when its certificate, or the authority above it, is revoked, or
//! when the certificate expires.
//!
//! **A list past its time** goes on being applied and locks nobody out: a head-end whose lists were not renewed must
//! not lose all its meters at once. [`Revocations::stale`] names such lists, and [`watch`] logs them once an hour.
//! Without any list, nobody is revoked.

mod list;
mod standing;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use tokio::sync::watch as channel;

pub(crate) use list::MAX_LIST_PEM;
pub use list::{ListError, ParsedList, Revoked, list_from_pem};
pub use standing::{End, Standing};
pub use watch::{FolderError, load_folder, watch};

use crate::pki::{Certificate, Serial};

/// What was revoked, as far as is known here. Clones share it.
#[derive(Clone, Debug)]
pub struct Revocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    authorities: Vec<Authority>,
    lists: RwLock<HashMap<Vec<u8>, Known>>,
    /// Counts changes: who judges by the lists judges again.
    changed: channel::Sender<u64>,
}

#[derive(Debug)]
struct Authority {
    certificate: CertificateDer<'static>,
    read: Certificate,
}

/// The newest list of one issuer.
#[derive(Debug)]
struct Known {
    issuer: String,
    number: u64,
    next_update: Option<SystemTime>,
    digest: [u8; 32],
    serials: HashSet<Serial>,
    der: Arc<[u8]>,
}

/// What came of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is in effect now.
    New {
        /// Whose it is.
        issuer: String,
        /// Its number.
        number: u64,
        /// How many certificates it names.
        revoked: usize,
    },
    /// It was in effect already.
    Same,
}

/// A list whose successor is overdue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Whose it is.
    pub issuer: String,
    /// Since when.
    pub since: SystemTime,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Revocations {
    /// Nothing is revoked yet. Lists are taken from these authorities only; what is none is left out.
    pub fn new(authorities: &[CertificateDer<'static>]) -> Self {
        let authorities = authorities
            .iter()
            .filter_map(|certificate| {
                let read = Certificate::read(certificate).ok().filter(|read| read.is_authority)?;
                Some(Authority { certificate: certificate.clone(), read })
            })
            .collect();
        Self(Arc::new(Shared { authorities, lists: RwLock::default(), changed: channel::Sender::new(0) }))
    }

    /// The same authorities, nothing revoked yet, not shared with these: for another device in the same process.
    #[must_use]
    pub fn separate(&self) -> Self {
        let authorities: Vec<_> = self.0.authorities.iter().map(|one| one.certificate.clone()).collect();
        Self::new(&authorities)
    }

    /// Puts a list (DER) into effect.
    ///
    /// # Errors
    /// [`ListError`]; what was in effect before stays so.
    pub fn load(&self, der: &[u8]) -> Result<Loaded, ListError> {
        let digest = list::digest(der);
        if self.read().values().any(|known| known.digest == digest) {
            return Ok(Loaded::Same);
        }
        let certificates: Vec<_> = self.0.authorities.iter().map(|one| one.certificate.clone()).collect();
        let parsed = ParsedList::verify(der, &certificates)?;
        let new = Known {
            issuer: parsed.issuer.clone(),
            number: parsed.number,
            next_update: parsed.next_update,
            digest,
            serials: parsed.revoked.into_iter().map(|revoked| revoked.serial).collect(),
            der: der.into(),
        };
        let loaded =
            Loaded::New { issuer: parsed.issuer.clone(), number: new.number, revoked: new.serials.len() };
        {
            let mut lists = self.0.lists.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = lists.get(&parsed.issuer_name)
                && known.number >= new.number
            {
                return Err(ListError::Older {
                    issuer: parsed.issuer,
                    number: new.number,
                    known: known.number,
                });
            }
            lists.insert(parsed.issuer_name, new);
        }
        self.0.changed.send_modify(|changes| *changes += 1);
        Ok(loaded)
    }

    /// Whether a certificate, or an authority above it, was revoked.
    pub fn is_revoked(&self, certificate: &Certificate) -> bool {
        let lists = self.read();
        let revoked = |issuer: &[u8], serial: &Serial| {
            lists.get(issuer).is_some_and(|known| known.serials.contains(serial))
        };
        let (mut issuer, mut serial) = (&certificate.issuer_name, &certificate.serial);
        for _ in 0..LONGEST_CHAIN {
            if revoked(issuer, serial) {
                return true;
            }
            let above = self.0.authorities.iter().find(|above| above.read.subject_name == *issuer);
            match above {
                Some(above) if above.read.issuer_name != *issuer => {
                    (issuer, serial) = (&above.read.issuer_name, &above.read.serial);
                }
                _ => return false,
            }
        }
        false
    }

    /// The lists that should have been replaced by now.
    pub fn stale(&self, now: SystemTime) -> Vec<Stale> {
        let lists = self.read();
        let stale = lists.values().filter_map(|known| {
            let since = known.next_update.filter(|&next| next < now)?;
            Some(Stale { issuer: known.issuer.clone(), since })
        });
        stale.collect()
    }

    /// Issuer (distinguished name, DER) and number of every list in effect.
    pub fn numbers(&self) -> Vec<(Vec<u8>, u64)> {
        self.read().iter().map(|(issuer, known)| (issuer.clone(), known.number)).collect()
    }

    /// The lists in effect (DER), shortest first and at most `room` bytes together, for one who has those of `numbers`.
    pub fn newer_than(&self, numbers: &[(Vec<u8>, u64)], room: usize) -> Vec<Arc<[u8]>> {
        let lists = self.read();
        let has = |issuer: &[u8], number| {
            numbers.iter().any(|(known, theirs)| known == issuer && *theirs >= number)
        };
        let newer = lists.iter().filter(|(issuer, known)| !has(issuer, known.number));
        let mut newer: Vec<_> = newer.map(|(_, known)| Arc::clone(&known.der)).collect();
        newer.sort_by_key(|der| der.len());
        let mut left = room;
        newer.retain(|der| {
            let fits = der.len() <= left;
            left -= if fits { der.len() } else { 0 };
            fits
        });
        newer
    }

    /// Follows changes.
    fn changes(&self) -> channel::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Vec<u8>, Known>> {
        self.0.lists.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A certificate, its intermediate, the root.
const LONGEST_CHAIN: usize = 4;
