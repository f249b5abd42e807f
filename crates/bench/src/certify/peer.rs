//! The meter as a peer on the network: what a bench needs that opens connections of its own, or takes the place of the head-end that the meter
//! dials.
//!
//! The virtual bench implements it by a sample that runs as a device, with real sockets on the loopback and certificates made for the run. Nothing
//! here is of that bench alone: a real meter's needs an address on each side and certificates of each kind by the meter's authorities.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use meterseal_link::tls::ServerProfile;
use meterseal_link::{Association, Identity};
use meterseal_model::MeterId;

use super::Trouble;

/// Which side the bench takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// A caller at the meter's local port: TLS client, while the meter is the server.
    Caller,
    /// The head-end that the meter dials: TLS server, while the meter is the client.
    HeadEnd,
}

/// What the bench shows of itself: one certificate of each kind. All but what their names say is as the meter wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shown {
    /// All as it should be.
    Good,
    /// As good, a certificate of its own that the bench may have revoked; there are several.
    Spare(u8),
    /// It ended an hour ago.
    Expired,
    /// It begins in an hour.
    NotYetValid,
    /// Signed by its own key.
    SelfSigned,
    /// Of an authority that has the names of the meter's own, under a root of its own.
    OtherRoot,
    /// Of an authority under the meter's own root that issues other things than this.
    OtherIntermediate,
    /// A meter's, from the meters' own authority.
    Meter,
    /// Rightly issued, of another name: another head-end's; for a caller, a head-end's.
    OtherName,
    /// Rightly issued, the operational certificate of another meter, by the authority that issues head-ends and callers too.
    OtherMeter,
}

impl Shown {
    /// In words that go on "a certificate".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Good => "that is good",
            Self::Spare(_) => "that is good and can be revoked",
            Self::Expired => "that has expired",
            Self::NotYetValid => "that is not valid yet",
            Self::SelfSigned => "signed by its own key",
            Self::OtherRoot => "of an authority with the same names under another root",
            Self::OtherIntermediate => "of another authority under the same root",
            Self::Meter => "of the meter's manufacture",
            Self::OtherName => "of another head-end",
            Self::OtherMeter => "of another meter, by the utility",
        }
    }
}

/// The meter as a peer on the network.
pub trait TlsPeer {
    /// The identifier in its certificates; `None` for a meter that has none of ours, which is then called by its address.
    fn name(&self) -> Option<MeterId>;

    /// Where it listens for callers. It may be another address after a [`redial`](Self::redial).
    ///
    /// # Errors
    /// [`Trouble::Lacks`]: it has no local port.
    fn local_port(&mut self) -> Result<SocketAddr, Trouble>;

    /// Where its calls arrive: the address that it takes for its head-end's. It may be another after a [`redial`](Self::redial).
    ///
    /// # Errors
    /// [`Trouble::Lacks`]: it does not dial the bench.
    fn dialled(&mut self) -> Result<TcpListener, Trouble>;

    /// Ends what it has under way and makes it dial anew, by a restart for example. Where the bench cannot, it returns at once, and the meter
    /// is waited for.
    ///
    /// # Errors
    /// [`Trouble::Meter`]: it does not start.
    fn redial(&mut self) -> Result<(), Trouble>;

    /// How long it may take to answer, or to dial again.
    fn patience(&self) -> Duration;

    /// Certificate and key of a kind.
    ///
    /// # Errors
    /// [`Trouble::Lacks`]: the bench has none of the kind.
    fn identity(&mut self, side: Side, shown: Shown) -> Result<Identity, Trouble>;

    /// Where meters want signed time before anything else: the good head-end with a time source that they trust. `None` where they do not.
    ///
    /// # Errors
    /// [`Trouble`]: it cannot be made.
    fn time(&mut self) -> Result<Option<ServerProfile>, Trouble>;

    /// Has a certificate revoked, and the list brought to the meter in the usual way.
    ///
    /// # Errors
    /// [`Trouble::Lacks`]: nobody at this bench can.
    fn revoke(&mut self, side: Side, shown: Shown) -> Result<(), Trouble>;

    /// What must not be read on the wire, with a name for each: identifiers, names in certificates, keys.
    fn secrets(&self) -> Vec<(String, Vec<u8>)>;

    /// What the utility needs to log in; `None` where the bench does not know.
    fn utility(&mut self) -> Option<Association>;

    /// Keeps what went over the wire, for the transcript.
    fn note(&mut self, to_meter: bool, bytes: &[u8]);
}
