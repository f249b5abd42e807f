//! Work that is spread over the processors, piece by piece.

use super::Failure;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does the pieces 0 to `count` − 1, as many at once as there are processors, until all are done, one fails or `stop` is
/// set.
///
/// # Errors
/// The first failure that came.
pub(super) fn spread(
    count: usize,
    stop: &AtomicBool,
    work: impl Fn(usize) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get()).min(count);
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let piece = next.fetch_add(1, Ordering::Relaxed);
                    if piece >= count {
                        return;
                    }
                    if let Err(error) = work(piece) {
                        // The others find nothing more to do.
                        next.store(count, Ordering::Relaxed);
                        failure
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tamper::checkpoint::CheckpointError;

    #[test]
    fn every_piece_is_done_once_and_a_failure_ends_it() {
        let stop = AtomicBool::new(false);
        let seen: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        spread(seen.len(), &stop, |k| {
            seen[k].fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .expect("nothing fails");
        assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        let fails = spread(100, &stop, |_| {
            Err(CheckpointError::Damaged { path: "x".into(), why: "y".to_owned() }.into())
        });
        assert!(fails.is_err());
        stop.store(true, Ordering::Relaxed);
        spread(1, &stop, |_| panic!("it was stopped")).expect("nothing was done");
    }
}
