//! The drawing of `--plot`.
use super::engine::Measurement;
pub(super) fn svg(_measurement: &Measurement, _title: &str) -> String {
    String::new()
}
