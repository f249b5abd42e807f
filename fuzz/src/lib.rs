//! What each fuzz target does with its bytes. Here, apart from the fuzzer's runtime, so that the corpora also run as an
//! ordinary test (`tests/corpora.rs`), and a finding is reproduced without a sanitizer.
//!
//! A target holds when it returns: panics, overflows, broken invariants, hangs and unbounded memory are findings.

pub mod aarq;
pub mod answer;
pub mod apdu;
pub mod bench;
pub mod certificate;
pub mod ciphered;
pub mod evidence;
pub mod session;
#[path = "../../crates/meter/tests/support/mod.rs"]
pub mod support;
pub mod wrapper;
