//! Any message in each role's association: as it is, which only the public's understands, and to the others the outside
//! of the ciphering.

use crate::bench::{self, Input};
use crate::support::client::frame;

/// The role whose association is open, the role that is addressed; then messages, each with its length.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (open, addressed) = (bench::role(input.byte()), bench::role(input.byte()));
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    if bench::associate(&mut meter, open, 0).is_none() {
        panic!("{open:?} holds its keys and is not let in");
    }
    while !input.is_empty() && meter.link.is_some() {
        bench::feed(&mut meter, &frame(addressed, input.bytes()), usize::MAX);
    }
    bench::take(&mut meter);
    meter.disconnected();
    bench::still_serves(&mut meter);
}
