//! How many frames a second each synthetic site makes: `cargo run --release -p meterseal-world --example site_speed`.

use meterseal_metrology::Frame;
use meterseal_model::UnixMillis;
use meterseal_world::{Site, SiteKind};
use std::time::Instant;

fn main() {
    let mut block = vec![Frame::default(); 8_000];
    for kind in [SiteKind::Factory, SiteKind::HomeSolar, SiteKind::Commercial] {
        let mut site = Site::new(kind, 1, UnixMillis(36_000_000));
        let begin = Instant::now();
        for _ in 0..2_000 {
            site.frames(&mut block);
        }
        let rate = 2_000.0 * block.len() as f64 / begin.elapsed().as_secs_f64();
        println!("{kind:?}: {:.1} million frames/s", rate / 1e6);
    }
}
