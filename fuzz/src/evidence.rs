//! Files that anybody may hand over to be checked: statements, exports of a log, and the leaves, peaks, checkpoints and
//! certificates in them.

use meterseal_model::UnixMillis;
use meterseal_seal::chain;
use meterseal_seal::evidence::{Export, Kind, Statement, Trust};
use meterseal_seal::log::{Checkpoint, Leaf, Peaks};

/// Any bytes, read as each of them. What is read is written again as the same bytes: nothing has two forms.
pub fn run(data: &[u8]) {
    let trust = Trust::default();
    let _ = Kind::of(data);
    if let Ok(statement) = Statement::decode(data) {
        assert_eq!(statement.encode(), data);
        let verified = statement.verify(&trust);
        assert_eq!(verified.quantities().is_some(), verified.report.holds());
    }
    let mut leaves = 0u64;
    if let Ok(verified) = Export::verify(data, &trust, &mut |_| leaves += 1) {
        assert_eq!(verified.checkpoint().is_some(), verified.report.holds());
        assert!(verified.report.findings.len() < 40, "a file cannot make a report without end");
    }
    if let Ok(leaf) = Leaf::decode(data) {
        assert_eq!(leaf.encode(), data);
    }
    if let Ok(peaks) = Peaks::decode(data) {
        assert_eq!(peaks.encode(), data);
        let _ = peaks.root();
    }
    if let Ok(checkpoint) = Checkpoint::decode(data) {
        assert_eq!(checkpoint.encode(), data);
    }
    let meter = "MSL0000000001".parse().expect("an identifier");
    let _ = chain::verify_log_key(&[data.to_vec()], meter, UnixMillis(1_795_373_820_000), &[]);
}
