//! What thousands of meters have in common, kept once: the mark of their type, the columns of their profiles.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Hands out one copy of each value for as long as anybody holds it. Equal values share their memory; nothing depends
/// on whether they do.
#[derive(Debug)]
pub(crate) struct Shared<T>(Mutex<Vec<Weak<T>>>);

impl<T: PartialEq> Shared<T> {
    /// The copy that is equal to `value`, or `value` itself from now on.
    pub(crate) fn share(&self, value: T) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|copy| copy.strong_count() > 0);
        if let Some(copy) = known.iter().filter_map(Weak::upgrade).find(|copy| **copy == value) {
            return copy;
        }
        let copy = Arc::new(value);
        if known.len() < DISTINCT {
            known.push(Arc::downgrade(&copy));
        }
        copy
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Distinct values that are looked through. Beyond them, what meters say of themselves is not shared: a fleet that
/// differs in everything costs memory, not time.
const DISTINCT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_one_copy_as_long_as_it_is_held() {
        let shared = Shared::default();
        let (one, two) = (shared.share("a".to_owned()), shared.share("a".to_owned()));
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &shared.share("b".to_owned())));
        drop((one, two));
        shared.share("c".to_owned());
        assert_eq!(shared.0.lock().unwrap().len(), 1, "what nobody holds is forgotten");
    }

    #[test]
    fn any_number_of_distinct_values_is_handed_out_and_few_are_remembered() {
        let shared = Shared::default();
        let all: Vec<_> = (0..10 * DISTINCT).map(|value| shared.share(value)).collect();
        assert!(all.iter().enumerate().all(|(place, value)| **value == place));
        assert_eq!(shared.0.lock().unwrap().len(), DISTINCT);
    }
}
