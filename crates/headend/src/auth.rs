//! Who may see the page: whoever holds the link that was printed at the start, once.
//!
//! The link's token is good for one use and turns into a session cookie that scripts cannot read and other sites
//! cannot make the browser send. Tokens are compared in constant time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use subtle::{Choice, ConstantTimeEq};

/// Name of the session cookie. Browsers do not tell ports apart, so a second head-end on this machine needs a name of
/// its own.
pub(crate) fn cookie_name(port: u16) -> String {
    format!("meterseal_session_{port}")
}

/// How long an unused link stays good.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long a session lasts without a request. It ends with the program in any case; a screen in a control room must
/// not go dark before.
pub(crate) const SESSION_IDLE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Sessions at once; the one that rested longest gives way.
const SESSIONS: usize = 16;

/// 256 random bits, written as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// A new one from the operating system.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// For the link or the cookie.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    fn matches(&self, candidate: &str) -> Choice {
        self.0.as_bytes().ct_eq(candidate.as_bytes())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The link and the sessions that came of it, and the token of this machine's commands.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    inner: Mutex<Inner>,
    /// In a file that only the head-end's own user can read.
    commands: Secret,
}

#[derive(Debug)]
struct Inner {
    link: Option<(Secret, Instant)>,
    sessions: Vec<(Secret, Instant)>,
}

impl Gatekeeper {
    /// A gatekeeper and the token of its one link.
    pub(crate) fn new(now: Instant) -> Result<(Self, Secret), getrandom::Error> {
        let token = Secret::random()?;
        let inner = Inner { link: Some((token.clone(), now)), sessions: Vec::new() };
        Ok((Self { inner: Mutex::new(inner), commands: Secret::random()? }, token))
    }

    /// What commands on this machine show instead of a cookie, as long as the program runs.
    pub(crate) fn command_token(&self) -> Secret {
        self.commands.clone()
    }

    /// Whether this is it.
    pub(crate) fn is_command(&self, token: &str) -> bool {
        self.commands.matches(token).into()
    }

    /// Uses the link up and opens a session. `None`: wrong, used or expired.
    pub(crate) fn open(&self, token: &str, now: Instant) -> Result<Option<Secret>, getrandom::Error> {
        let mut inner = self.lock();
        let good = inner.link.as_ref().is_some_and(|(link, made)| {
            bool::from(link.matches(token)) && now.saturating_duration_since(*made) < LINK_LIFE
        });
        if !good {
            return Ok(None);
        }
        let session = Secret::random()?;
        inner.link = None;
        if inner.sessions.len() >= SESSIONS {
            let oldest = inner.sessions.iter().enumerate().min_by_key(|(_, (_, used))| *used).map(|(k, _)| k);
            oldest.map(|k| inner.sessions.swap_remove(k));
        }
        inner.sessions.push((session.clone(), now));
        Ok(Some(session))
    }

    /// Whether a cookie's value names a session; if so, its time starts again.
    pub(crate) fn admits(&self, cookie: &str, now: Instant) -> bool {
        let mut inner = self.lock();
        inner.sessions.retain(|(_, used)| now.saturating_duration_since(*used) < SESSION_IDLE_LIFE);
        let mut found = false;
        for (session, used) in &mut inner.sessions {
            if bool::from(session.matches(cookie)) {
                *used = now;
                found = true;
            }
        }
        found
    }

    /// A panic while the lock is held cannot leave a half-made session behind.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's value in a `Cookie` header, if there is one.
pub(crate) fn session_in<'c>(cookies: &'c str, cookie_name: &str) -> Option<&'c str> {
    cookies.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == cookie_name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_one_session_and_only_one() {
        let now = Instant::now();
        let (keeper, token) = Gatekeeper::new(now).unwrap();
        assert!(keeper.open("0000", now).unwrap().is_none());
        assert!(keeper.open("", now).unwrap().is_none());
        let session = keeper.open(token.expose(), now).unwrap().unwrap();
        assert!(keeper.admits(session.expose(), now));
        assert!(!keeper.admits(token.expose(), now));
        assert!(keeper.open(token.expose(), now).unwrap().is_none());
        assert_eq!(session.expose().len(), 64);
    }

    #[test]
    fn commands_have_a_token_of_their_own_and_no_other_one_counts() {
        let (keeper, link) = Gatekeeper::new(Instant::now()).unwrap();
        let token = keeper.command_token();
        assert!(keeper.is_command(token.expose()));
        assert!(!keeper.is_command(link.expose()) && !keeper.is_command(""));
        assert!(!keeper.admits(token.expose(), Instant::now()), "it is no session");
    }

    #[test]
    fn links_and_sessions_end() {
        let now = Instant::now();
        let (keeper, token) = Gatekeeper::new(now).unwrap();
        assert!(keeper.open(token.expose(), now + LINK_LIFE).unwrap().is_none());
        let session = keeper.open(token.expose(), now + LINK_LIFE / 2).unwrap().unwrap();
        let opened = now + LINK_LIFE / 2;
        let later = opened + SESSION_IDLE_LIFE / 2;
        assert!(keeper.admits(session.expose(), later));
        assert!(keeper.admits(session.expose(), later + SESSION_IDLE_LIFE / 2));
        assert!(!keeper.admits(session.expose(), later + SESSION_IDLE_LIFE * 2));
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        assert_eq!(session_in("a=b; meterseal_session_80=xyz; c=d", &cookie_name(80)), Some("xyz"));
        assert_eq!(session_in("meterseal_session_8080=xyz", &cookie_name(80)), None);
        assert_eq!(session_in("", &cookie_name(80)), None);
    }
}
