//! What an installation does for itself while it runs: its head-end's and time source's identities are renewed before
//! they end, and the lists of revoked certificates are signed anew.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use meterseal_link::opening::TimeSource;
use meterseal_link::own::OwnIdentity;
use meterseal_link::pki::HEADEND_VALIDITY;
use meterseal_link::{Identity, Pki, PkiError, Validity};

/// An identity of the installation's own, and where it is in use.
#[derive(Debug)]
pub(crate) enum Own {
    Headend(OwnIdentity, Identity),
    Time(OwnIdentity, TimeSource),
}

impl Own {
    /// Opens a head-end's identity; makes or renews it where it is due.
    pub(crate) fn headend(own: OwnIdentity, pki: &Pki) -> Result<(Self, Identity), PkiError> {
        renew_if_due(&own, pki, SystemTime::now())?;
        let identity = own.identity()?;
        Ok((Self::Headend(own, identity.clone()), identity))
    }

    /// The same of a time source.
    pub(crate) fn time(own: OwnIdentity, pki: &Pki) -> Result<(Self, TimeSource), PkiError> {
        renew_if_due(&own, pki, SystemTime::now())?;
        let source = own.time_source()?;
        Ok((Self::Time(own, source.clone()), source))
    }

    /// Renews it where it is due at `now`; from the next handshake or question on the new one is used. `true`: renewed.
    fn renew(&self, pki: &Pki, now: SystemTime) -> Result<bool, PkiError> {
        let (Self::Headend(own, _) | Self::Time(own, _)) = self;
        if !renew_if_due(own, pki, now)? {
            return Ok(false);
        }
        match self {
            Self::Headend(own, identity) => identity.renew(&own.identity()?),
            Self::Time(own, source) => source.renew(&own.time_source()?),
        }
        Ok(true)
    }
}

fn renew_if_due(own: &OwnIdentity, pki: &Pki, now: SystemTime) -> Result<bool, PkiError> {
    let due = own.is_due(now)?;
    if due {
        own.renew(pki, Validity::from(now, HEADEND_VALIDITY))?;
    }
    Ok(due)
}

/// All of an installation's own identities that are in use.
pub(crate) type Owned = Arc<Mutex<Vec<Own>>>;

/// Looks after them, and after the lists in `pki`, for ever.
pub(crate) async fn keep(pki: PathBuf, owned: Owned) -> Infallible {
    loop {
        tokio::time::sleep(PERIOD).await;
        let (pki, owned) = (pki.clone(), Arc::clone(&owned));
        let looked = tokio::task::spawn_blocking(move || look(&pki, &owned, SystemTime::now()));
        if let Err(error) = looked.await {
            tracing::error!(%error, "the installation's upkeep failed: please report this");
        }
    }
}

fn look(pki: &std::path::Path, owned: &Owned, now: SystemTime) {
    // Opening the folder signs lists anew that are due.
    let pki = match Pki::open(pki) {
        Ok(pki) => pki,
        Err(error) => {
            tracing::error!(%error, "certificates and lists of revoked ones could not be renewed; it is tried again");
            return;
        }
    };
    for own in owned.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        match own.renew(&pki, now) {
            Ok(true) => tracing::info!(?own, "renewed its own certificate"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(?own, %error, "could not renew its own certificate; it is tried again")
            }
        }
    }
}

/// A twentieth of a list's week and less than a ten-thousandth of a certificate's two years.
const PERIOD: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use meterseal_link::tls::Peer;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    #[test]
    fn own_identities_are_renewed_after_two_thirds_of_their_life_and_no_key_is_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        let (there, time) = (folder.path().join("headend"), folder.path().join("time"));
        // As version 0.1 left them: a key in the clear.
        pki.issue_headend("local").unwrap().save(&there).unwrap();
        pki.issue_time("local", Validity::from_now(YEAR)).unwrap().save(&time).unwrap();
        let before = std::fs::read(there.join("certificate.pem")).unwrap();

        let open = |dir: &std::path::Path, peer| OwnIdentity::open(dir, peer).unwrap();
        let (headend, identity) = Own::headend(open(&there, Peer::Headend("local".into())), &pki).unwrap();
        let (time_own, _) = Own::time(open(&time, Peer::Time("local".into())), &pki).unwrap();
        assert_eq!(std::fs::read(there.join("certificate.pem")).unwrap(), before, "taken over as it is");
        let owned: Owned = Arc::new(Mutex::new(vec![headend, time_own]));

        let serials = || {
            [&there, &time].map(|dir| {
                let chain = meterseal_link::pki::read_certificates(&dir.join("certificate.pem")).unwrap();
                meterseal_link::pki::Certificate::read(&chain[0]).unwrap().serial
            })
        };
        let first = serials();
        look(pki.dir(), &owned, SystemTime::now() + YEAR / 2);
        assert_eq!(serials(), first, "not due yet");
        look(pki.dir(), &owned, SystemTime::now() + YEAR);
        let second = serials();
        assert!(second[0] == first[0] && second[1] != first[1], "the time source's year is two thirds over");
        look(pki.dir(), &owned, SystemTime::now() + 3 * YEAR / 2);
        assert_ne!(serials()[0], first[0]);
        // What was made before the renewal shows it.
        assert_eq!(identity.chain().len(), 2);

        for dir in [&there, &time] {
            assert!(!dir.join("key.pem").exists());
            for file in std::fs::read_dir(dir).unwrap() {
                let content = std::fs::read(file.unwrap().path()).unwrap();
                assert!(!content.windows(11).any(|window| window == b"PRIVATE KEY"));
            }
        }
        let message = OwnIdentity::open(&there, Peer::Headend("south".into())).unwrap_err().to_string();
        assert!(message.contains("another device"), "{message}");
    }
}
