//! Wrapper frames in pieces of any size: at the meter, and at the head-end's side.

use meterseal_link::wrapper::WrapperStream;

use crate::bench::{self, Input};

/// First byte: the size of pieces. Then what comes over the line.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let piece = usize::from(input.byte());
    let mut flash = bench::flash();
    let mut meter = bench::meter(&mut flash);
    bench::feed(&mut meter, input.0, piece);
    meter.disconnected();
    bench::still_serves(&mut meter);

    let mut stream = WrapperStream::new(std::io::Cursor::new(input.0.to_vec()), 1024);
    runtime().block_on(async {
        let mut bytes = 0;
        while let Ok(frame) = stream.read().await {
            assert!(frame.apdu.len() <= 1024, "longer than allowed");
            bytes += 8 + frame.apdu.len();
        }
        assert!(bytes <= input.0.len(), "out of nothing");
    });
}

/// An executor for what waits for nobody.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime needs no resources")
}
