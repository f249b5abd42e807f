//! The mark that a certification ends in.

use meterseal_model::{Digest384, UnixMillis};
use meterseal_seal::mark::{Findings, Found, Ground, Terms, Verdict};
use meterseal_seal::{Mark, Scope, SealKey};

use crate::catalogue::Requirement;
use crate::certify::{Bench, Limit, Measured, Procedure, Trouble};

/// The mark says what was seen and no more (MRK-01).
pub(super) struct Certified;

impl Procedure for Certified {
    fn name(&self) -> &'static str {
        "mark"
    }

    fn run(&self, bench: &mut Bench<'_>, requirement: &Requirement) -> Result<Vec<Measured>, Trouble> {
        let catalogue =
            crate::catalogue::Catalogue::built_in().map_err(|error| Trouble::Bench(error.to_string()))?;
        let (passed, failed) = (Verdict::Passed, Verdict::Failed);
        let found =
            |id: &str, of: &[String], verdict| Found { id: id.to_owned(), part_of: of.to_vec(), verdict };
        let all =
            || catalogue.requirements.iter().filter(|one| one.method != crate::catalogue::Method::Parts);
        // A run of this requirement alone, of this device.
        let with = |verdict| Findings {
            device_type: bench.profile().device_type.clone(),
            hardware: bench.profile().hardware.clone(),
            firmware_digest: Digest384([0; 48]),
            catalogue_version: catalogue.version.to_string(),
            catalogue_digest: Digest384([1; 48]),
            results_digest: Digest384([2; 48]),
            report_digest: None,
            ground: Ground::Virtual,
            reduced: bench.effort().is_reduced(),
            found: all()
                .map(|one| {
                    let mine = one.id == requirement.id;
                    found(&one.id, &one.part_of, if mine { verdict } else { Verdict::NotTested })
                })
                .collect(),
        };
        let day = |days: i64| UnixMillis(super::super::virtual_bench::BEGIN.0 + days * 86_400_000);
        let terms = |scope| Terms {
            scope,
            signatory: "the bench".to_owned(),
            issued: day(0),
            valid_from: day(0),
            renew_from: day(300),
            valid_until: day(365),
        };
        let (fine, broken) = (with(passed), with(failed));
        let refused = [
            Mark::certify(&fine, &terms(Scope::Laboratory)).is_err(),
            Mark::certify(&broken, &terms(Scope::Virtual)).is_err(),
            Mark::certify(&broken, &terms(Scope::Development)).is_err(),
        ];
        let refused = refused.into_iter().filter(|is| *is).count();
        let mut measured = vec![Measured::count(
            "marks refused that would say more than was seen, of 3",
            refused as f64,
            Limit::exactly(3.0),
        )];
        let mark = match Mark::certify(
            &fine,
            &terms(if fine.reduced { Scope::Development } else { Scope::Virtual }),
        ) {
            Ok(mark) => mark,
            Err(error) => return Err(Trouble::Bench(format!("no mark can be made: {error}"))),
        };
        bench.step("a mark is signed, verified, and altered byte by byte");
        let key = SealKey::generate(|bytes: &mut [u8]| -> Result<(), std::convert::Infallible> {
            bytes.fill_with(|| bench.random() as u8);
            Ok(())
        })
        .map_err(|never| match never {})?;
        let keys = [key.public().clone()];
        let signed = mark.sign(&key).map_err(|error| Trouble::Bench(error.to_string()))?;
        let read = Mark::verify(&signed, &keys);
        let (verifies, left) = read.map_or((0, 0), |read| (1, read.mark().not_tested().len()));
        measured.push(Measured::count("marks that verify, of 1", f64::from(verifies), Limit::exactly(1.0)));
        measured.push(Measured::count(
            "requirements that it says were not tested",
            left as f64,
            Limit::at_least(1.0),
        ));
        let mut believed = 0;
        for place in 0..signed.len() {
            let mut altered = signed.clone();
            altered[place] ^= 1 << (bench.random() % 8);
            believed += u32::from(Mark::verify(&altered, &keys).is_ok());
        }
        measured.push(Measured::count(
            format!("altered marks that verify, of {}", signed.len()),
            f64::from(believed),
            Limit::exactly(0.0),
        ));
        Ok(measured)
    }
}
