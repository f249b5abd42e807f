//! The power goes at every flash operation, before, within and after it, of every kind of work, on two geometries, with
//! blank flash and with rings that have gone round; and twice. The long run: `cargo xtask powercut`.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "its parts are an example's too, and one that cannot go on ends"
)]

mod support;
#[path = "../examples/powercut/trial.rs"]
mod trial;
#[path = "../examples/powercut/work.rs"]
mod work;

use meterseal_meter::Layout;
use meterseal_world::flash::{Cut, Tear};
use trial::Start;
use work::Work;

/// Every operation, each with all tears; gives how many cuts there were.
fn every_cut<const E: usize, const W: usize>(start: &Start<E, W>) -> u64 {
    for operation in 0.. {
        for (k, tear) in Tear::ALL.into_iter().enumerate() {
            let cut = Cut { operation, tear };
            let outcome = start.live(operation * 3 + k as u64, &[cut]);
            let outcome = outcome.unwrap_or_else(|error| panic!("{:?}, {cut:?}: {error}", start.work));
            if !outcome.cut {
                return operation * 3;
            }
        }
    }
    unreachable!("work that never ends")
}

macro_rules! every_cut {
    ($($name:ident: $work:ident, $least:literal;)*) => {$(
        #[test]
        fn $name() {
            let cuts = every_cut(&Start::<4096, 4>::blank(Layout::TINY, Work::$work))
                + every_cut(&Start::<1024, 16>::aged(work::ODD, Work::$work).unwrap());
            assert!(cuts > $least, "{cuts} cuts");
        }
    )*};
}

every_cut! {
    every_cut_while_registers_are_saved: Registers, 60;
    every_cut_while_events_are_logged: Log, 100;
    every_cut_while_rows_are_written: Profile, 100;
    every_cut_while_the_state_is_written: State, 100;
    every_cut_while_checkpoints_are_signed: Checkpoints, 60;
    every_cut_while_the_last_gasp_lasts: LastGasp, 30;
}

#[test]
fn a_second_cut_while_recovering_loses_nothing_either() {
    for work in Work::ALL {
        let start = Start::<4096, 4>::aged(Layout::TINY, work).unwrap();
        for k in 0..25 {
            let cut = |operation, by| Cut { operation, tear: Tear::ALL[(k / by % 3) as usize] };
            let cuts = [cut(k, 1), cut(k * 7 % 25, 3)];
            let outcome = start.live(k, &cuts);
            assert!(outcome.is_ok(), "{work:?}, {cuts:?}: {}", outcome.unwrap_err());
        }
    }
}
