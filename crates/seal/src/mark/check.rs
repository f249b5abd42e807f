//! What a mark proves, in words: for `meterseal verify`, for the page under `/verify`, which has an implementation of its
//! own, and for whoever holds a QR code. The same codes and sentences in both.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use meterseal_model::{Digest384, UnixMillis};
use sha2::{Digest as _, Sha384};

use super::coverage::BEYOND;
use super::{Coverage, Mark, MarkError, MarkRevocations, Scope};
use crate::chain::CertificationKey;
use crate::envelope::EnvelopeError;
use crate::evidence::Report;
use crate::key::SealPublicKey;

/// What whoever checks a mark knows and holds.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Certification keys that they believe, bare.
    pub keys: Vec<SealPublicKey>,
    /// Certification keys that they believe, with their certificates.
    pub certified: Vec<CertificationKey>,
    /// Signed lists of revoked marks ([`MarkRevocations`]).
    pub revocations: Vec<Vec<u8>>,
    /// `results.cbor`, if they hold it.
    pub results: Option<Vec<u8>>,
    /// `report.json`, if they hold it.
    pub report: Option<Vec<u8>>,
    /// The moment for which it is judged: now.
    pub now: UnixMillis,
}

/// Checks a signed mark and says what it covers. The mark is given only if its signature verifies.
pub fn check(signed: &[u8], known: &Known) -> (Report, Option<Mark>) {
    let mut report = Report::default();
    let keys: Vec<_> =
        known.keys.iter().chain(known.certified.iter().map(|certified| &certified.key)).cloned().collect();
    let verified = match Mark::verify(signed, &keys) {
        Ok(verified) => verified,
        Err(error) => {
            report.broken("mark", format!("The mark does not hold: {}.", words(&error)));
            return (report, None);
        }
    };
    let mark = verified.mark();
    report.proven(
        "mark",
        format!(
            "It is a {} mark for device type \"{}\" ({}) with the firmware whose SHA-384 is {}.",
            mark.scope, mark.device_type, mark.hardware, mark.firmware_digest
        ),
    );
    let signer = verified.signer();
    match known.certified.iter().find(|certified| certified.key.key_id() == signer) {
        Some(certified) => judge_key(mark, certified, &mut report),
        None => report.proven(
            "signer",
            format!("It was signed with key {signer}, which you named, for \"{}\".", mark.signatory),
        ),
    }
    judge_time(mark, known.now, &mut report);
    judge_revocation(&verified.name(), signer, &keys, &known.revocations, &mut report);
    judge_scope(mark, &mut report);
    judge_coverage(mark, &mut report);
    judge_evidence(mark, known, &mut report);
    report.not_proven(
        "authority",
        format!("Whether \"{}\" was entitled to test such meters: that is for you to know.", mark.signatory),
    );
    report.not_proven(
        "meter",
        "Whether the meter before you runs this firmware: its head-end asks its boot stage for a signed answer.",
    );
    (report, Some(mark.clone()))
}

fn words(error: &MarkError) -> String {
    match error {
        MarkError::Envelope(EnvelopeError::UnknownKey(id)) => {
            format!("it was signed with key {id}, which is none of those that you named")
        }
        other => other.to_string(),
    }
}

/// A mark lies within its key's time: so it never outlives the certificate, and an expired key signs nothing.
fn judge_key(mark: &Mark, certified: &CertificationKey, report: &mut Report) {
    let CertificationKey { name, not_before, not_after, issuer, .. } = certified;
    if mark.issued < *not_before || mark.valid_until > *not_after {
        report.broken(
            "key-time",
            format!(
                "The certificate of \"{name}\" is valid from {not_before} to {not_after}; the mark was signed at {} and claims \
                 to be valid until {}.",
                mark.issued, mark.valid_until
            ),
        );
        return;
    }
    let vouched = match issuer {
        Some(issuer) => format!("; \"{issuer}\" certified that key for signing marks"),
        None => String::new(),
    };
    report.proven(
        "signer",
        format!("It was signed with the key of \"{name}\", for \"{}\"{vouched}.", mark.signatory),
    );
}

fn judge_time(mark: &Mark, now: UnixMillis, report: &mut Report) {
    if now < mark.valid_from {
        report.broken("validity", format!("The mark is valid only from {} on.", mark.valid_from));
    } else if now >= mark.valid_until {
        report.broken("validity", format!("The mark expired at {}.", mark.valid_until));
    } else {
        let due = if now >= mark.renew_from { "has been due since" } else { "is due from" };
        report.proven(
            "validity",
            format!(
                "It is valid from {} until {}; its renewal {due} {}.",
                mark.valid_from, mark.valid_until, mark.renew_from
            ),
        );
    }
}

fn judge_revocation(
    name: &Digest384,
    signer: crate::key::KeyId,
    keys: &[SealPublicKey],
    lists: &[Vec<u8>],
    report: &mut Report,
) {
    let mut newest = None;
    for bytes in lists {
        match MarkRevocations::verify(bytes, keys) {
            Ok(verified) if verified.signer == signer => {
                if let Some(revoked) = verified.list.find(name) {
                    report.broken(
                        "revoked",
                        format!("The mark was revoked at {}: {}.", revoked.at, revoked.reason),
                    );
                    return;
                }
                newest = newest.max(Some((verified.list.number, verified.list.issued)));
            }
            Ok(_) => {}
            Err(error) => {
                report.broken(
                    "revocations",
                    format!("A list of revoked marks does not hold: {}.", words(&error)),
                );
                return;
            }
        }
    }
    match newest {
        Some((number, issued)) => report.proven(
            "revoked",
            format!("It is not among the marks that were revoked up to {issued} (list {number})."),
        ),
        None => report.not_proven(
            "revoked",
            "Whether it was revoked since: the signatory's list of revoked marks shows it.",
        ),
    }
}

fn judge_scope(mark: &Mark, report: &mut Report) {
    match mark.scope {
        Scope::Development => report.not_proven(
            "scope",
            "That anybody but the developer tested anything: a development mark is for the developer's own meters.",
        ),
        Scope::Virtual => report.not_proven(
            "scope",
            "That a meter of hardware was tested: a virtual one was, with this firmware, in a program.",
        ),
        Scope::Laboratory => report.proven(
            "scope",
            "A meter of hardware was tested, with instruments whose calibration the signatory says is traceable.",
        ),
    }
}

fn judge_coverage(mark: &Mark, report: &mut Report) {
    let whole: Vec<String> =
        listed(mark, Coverage::is_whole, |coverage| format!("{} ({})", name(coverage), coverage.tested));
    let in_part: Vec<String> = listed(
        mark,
        |coverage| coverage.tested > 0 && !coverage.is_whole(),
        |coverage| {
            let all = u64::from(coverage.tested) + coverage.not_tested.len() as u64;
            format!("{} ({} of {all})", name(coverage), coverage.tested)
        },
    );
    if !whole.is_empty() {
        report.proven("tested", format!("Tested, with nothing failed: {}.", whole.join(", ")));
    }
    if !in_part.is_empty() {
        report.proven(
            "tested-in-part",
            format!("Tested in part, with nothing failed: {}.", in_part.join(", ")),
        );
    }
    let not_at_all: Vec<String> =
        listed(mark, |coverage| coverage.tested == 0, |coverage| name(coverage).to_string());
    if !not_at_all.is_empty() {
        report.not_proven("not-tested", format!("Not tested at all: {}.", not_at_all.join(", ")));
    }
    for coverage in mark.coverage.iter().filter(|coverage| !coverage.not_tested.is_empty()) {
        let ids = coverage.not_tested.join(", ");
        report.not_proven("not-tested-in-part", format!("Not tested of {}: {ids}.", name(coverage)));
    }
}

fn listed(
    mark: &Mark,
    which: impl Fn(&Coverage) -> bool,
    shown: impl Fn(&Coverage) -> String,
) -> Vec<String> {
    mark.coverage.iter().filter(|coverage| which(coverage)).map(shown).collect()
}

fn name(coverage: &Coverage) -> &str {
    if coverage.requirement == BEYOND { "requirements beyond the scheme's" } else { &coverage.requirement }
}

fn judge_evidence(mark: &Mark, known: &Known, report: &mut Report) {
    let catalogue = match mark.catalogue_digest {
        Some(digest) => format!("catalogue {} (SHA-384 {digest})", mark.catalogue_version),
        None => format!("catalogue {}", mark.catalogue_version),
    };
    report.proven("catalogue", format!("Requirements are those of {catalogue}."));
    let files = [
        ("results", "results.cbor", mark.results_digest, &known.results),
        ("report", "report.json", mark.report_digest, &known.report),
    ];
    for (code, file, digest, held) in files {
        match (digest, held) {
            (Some(digest), Some(bytes)) if digest.0[..] == Sha384::digest(bytes)[..] => {
                report.proven(code, format!("{file} is the file that the mark rests upon, to the last bit."));
            }
            (Some(_), Some(_)) => {
                report.broken(
                    code,
                    format!(
                        "{file} is not the file that the mark rests upon: it was altered, or is another's."
                    ),
                );
            }
            (Some(digest), None) => {
                report.not_proven(
                    code,
                    format!("What was found in detail: {file} with SHA-384 {digest} shows it."),
                );
            }
            (None, Some(_)) => report.broken(
                code,
                format!("The mark rests upon no {file}; the one beside it says nothing about it."),
            ),
            (None, None) if code == "results" => {
                report.not_proven(code, "What was found in detail: the mark names no results.");
            }
            (None, None) => {}
        }
    }
}
