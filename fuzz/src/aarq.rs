//! Association requests to every role, from peers with any roles in their certificate, at the local port or dialled.

use meterseal_meter::Peer;
use meterseal_model::{Role, Roles};

use crate::bench::{self, Input};
use crate::support::client::frame;

/// Which role is addressed, who calls; then any number of requests, each with its length.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (address, caller) = (input.byte(), input.byte());
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    let roles = Role::ALL
        .iter()
        .enumerate()
        .filter(|(bit, _)| caller >> bit & 1 == 1)
        .fold(Roles::NONE, |roles, (_, role)| roles.with(*role));
    meter.connect(Peer { roles, local: caller & 0x80 != 0 });
    while !input.is_empty() && meter.link.is_some() {
        let request = frame(bench::role(address), input.bytes());
        bench::feed(&mut meter, &request, usize::MAX);
        // An answer may be withheld for a while.
        meter.pass(1_000);
        bench::take(&mut meter);
    }
    meter.disconnected();
    bench::still_serves(&mut meter);
}
