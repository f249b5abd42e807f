//! The table is what it says.

use super::table::{LAG_05, LAG_025, LEAD_08};
use super::*;
use crate::reference::Truth;

#[test]
fn every_change_starts_from_the_row_of_its_own_load() {
    let rows = rows();
    for row in &rows {
        let Measure::Change { from, load, .. } = &row.measure else { continue };
        let base = &rows[*from];
        let Measure::Error(undisturbed) = &base.measure else { panic!("{}", row.name) };
        let (a, b) = (Truth::of(load), Truth::of(undisturbed));
        // The same current but for bursts, dimmers and half waves of a current twice as large.
        let fundamental = |truth: &Truth| truth.amperes[0];
        let ratio = fundamental(&a) / fundamental(&b);
        assert!((0.99..1.5).contains(&ratio), "{}: {ratio}", row.name);
    }
}

#[test]
fn power_factors_are_what_their_names_say() {
    for (lag, factor) in [(LAG_05, 0.5), (LEAD_08, 0.8), (LAG_025, 0.25)] {
        assert!((lag.to_radians().cos() - factor).abs() < 1e-12);
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
