//! A meter's log of a few days, a maker that certified its key, and the files that are made of both: the same bytes in
//! every run, because keys and certificates are.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part of it")]

use std::convert::Infallible;

use meterseal_model::{Digest384, EventCode, MeterId, UnixMillis};
use meterseal_seal::evidence::{Entry, Export, Origin, Statement};
use meterseal_seal::log::{
    Body, Boot, Checkpoint, Event, Interval, Leaf, Leaves, LogHash, LogId, Newest, Peaks, Rates, Reading,
    ReadingReason, SaltKey, Totals,
};
use meterseal_seal::{SealKey, Signer as _, chain, key};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};

/// 2026-10-01T00:00:00Z.
pub const START: i64 = 1_790_812_800_000;
const HOUR: i64 = 3_600_000;

pub fn seal_key(seed: u8) -> SealKey {
    SealKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<(), Infallible>(())
    })
    .unwrap()
}

// ---- the maker ----

/// A key as rcgen sees it; its signatures are deterministic (RFC 6979), and so are the certificates.
struct CertificateKey(SealKey, Vec<u8>);

impl CertificateKey {
    fn new(seed: u8) -> Self {
        let key = seal_key(seed);
        let point = key.public().to_sec1_point();
        Self(key, point)
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}

impl SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(key::signature_to_der(&self.0.sign(message).unwrap()).unwrap())
    }
}

/// What a certificate for a log key says; tests alter it.
#[derive(Clone)]
pub struct Certified {
    pub uris: Vec<String>,
    pub years: (i32, i32),
    pub is_authority: bool,
    pub usage: KeyUsagePurpose,
}

impl Certified {
    pub fn log_key_of(meter: MeterId) -> Self {
        Self {
            uris: vec![format!("urn:meterseal:meter:{meter}"), chain::LOG_KEY_URI.to_owned()],
            years: (2026, 2046),
            is_authority: false,
            usage: KeyUsagePurpose::DigitalSignature,
        }
    }
}

/// A root and a manufacturer's intermediate.
pub struct Maker {
    seed: u8,
    pub root: Vec<u8>,
    pub intermediate: Vec<u8>,
}

impl Maker {
    pub fn new(seed: u8) -> Self {
        let params = authority(seed, "root", 1);
        let key = CertificateKey::new(seed);
        let root = params.self_signed(&key).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);
        let intermediate = authority(seed, "manufacturer", 0);
        let intermediate =
            intermediate.signed_by(&CertificateKey::new(seed + 1), &issuer).unwrap().der().to_vec();
        Self { seed, root, intermediate }
    }

    /// A certificate by the intermediate.
    pub fn certify(&self, key_seed: u8, what: &Certified) -> Vec<u8> {
        let issuer = Issuer::new(authority(self.seed, "manufacturer", 0), CertificateKey::new(self.seed + 1));
        let mut params = base("log", what.years);
        params.subject_alt_names =
            what.uris.iter().map(|uri| SanType::URI(Ia5String::try_from(uri.as_str()).unwrap())).collect();
        params.key_usages = vec![what.usage];
        params.is_ca =
            if what.is_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.signed_by(&CertificateKey::new(key_seed), &issuer).unwrap().der().to_vec()
    }
}

fn authority(seed: u8, name: &str, path_length: u8) -> CertificateParams {
    let mut params = base(&format!("Maker {seed} {name}"), (2025, 2050));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn base(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(vec![0x41; 16]));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    params
}

// ---- the meter ----

/// A meter's log as a head-end holds it.
#[derive(Clone)]
pub struct Log {
    pub origin: Origin,
    pub leaves: Vec<Vec<u8>>,
    pub checkpoints: Vec<Vec<u8>>,
    key: SealKey,
    salts: SaltKey,
    rows: [u64; 6],
    peaks: Peaks,
    last: Option<Checkpoint>,
    totals: Totals,
    rates: Rates,
}

impl Log {
    /// A meter's log after so many days: a start, hourly intervals, a reading and a checkpoint at each midnight, and an
    /// event now and then.
    pub fn of_days(days: i64) -> Self {
        Self::of(&Maker::new(20), "MSL0000000001".parse().unwrap(), 7, days)
    }

    pub fn of(maker: &Maker, meter: MeterId, key_seed: u8, days: i64) -> Self {
        let key = seal_key(key_seed);
        let own = maker.certify(key_seed, &Certified::log_key_of(meter));
        let origin = Origin {
            meter,
            log: LogId([key_seed; 16]),
            key: key.public().clone(),
            chain: vec![own, maker.intermediate.clone()],
        };
        let mut log = Self {
            origin,
            leaves: vec![],
            checkpoints: vec![],
            key,
            salts: SaltKey::new([key_seed; 32]),
            rows: [0; 6],
            peaks: Peaks::new(),
            last: None,
            totals: Totals::default(),
            rates: Rates::default(),
        };
        let firmware = Some(Digest384([0xF1; 48]));
        log.append(|row| Body::Boot(Boot { row, time: UnixMillis(START), firmware }));
        log.reading(START);
        log.checkpoint(START);
        for day in 0..days {
            log.day(START + day * 24 * HOUR);
        }
        log
    }

    /// Lives through one more day.
    pub fn day(&mut self, start: i64) {
        for hour in 1..=24 {
            let time = start + hour * HOUR;
            let step = 300_000 + 1000 * hour as u64;
            self.totals.active_import_milliwatt_hours += step;
            self.totals.reactive_import_millivar_hours += 7000;
            self.rates.import_milliwatt_hours[usize::from(hour > 12)] += step;
            let totals = self.totals;
            self.append(|row| {
                let mean_voltage_centivolts = [23_012, 22_987, 23_104];
                Body::Interval(Interval {
                    row,
                    time: UnixMillis(time),
                    status: 0,
                    totals,
                    mean_voltage_centivolts,
                })
            });
            if hour == 9 {
                self.event(EventCode::MagnetOn, time + 1234, 31_000);
            }
        }
        self.reading(start + 24 * HOUR);
        self.checkpoint(start + 24 * HOUR);
    }

    pub fn event(&mut self, code: EventCode, time: i64, extreme: i64) {
        self.append(|row| {
            let (code, time) = (code as u8, UnixMillis(time));
            Body::Event(Event { row, code, time, uptime_ms: 5, extreme, uncertainty_ms: 0 })
        });
    }

    pub fn reading(&mut self, time: i64) {
        let (totals, rates) = (self.totals, self.rates);
        self.append(|row| {
            Body::Reading(Reading {
                row,
                time: UnixMillis(time),
                uptime_ms: (time - START) as u64,
                boot: 1,
                reason: ReadingReason::Daily,
                totals,
                rates,
                quadrant_millivar_hours: [totals.reactive_import_millivar_hours, 0, 0, 0],
                phase_import_milliwatt_hours: [totals.active_import_milliwatt_hours, 0, 0],
                phase_export_milliwatt_hours: [0; 3],
                sum_of_phase_imports_milliwatt_hours: totals.active_import_milliwatt_hours,
                apparent_millivoltampere_hours: totals.active_import_milliwatt_hours,
            })
        });
    }

    pub fn append(&mut self, body: impl Fn(u64) -> Body) {
        let kind = body(0).kind() as usize;
        self.rows[kind] += 1;
        let sequence = self.leaves.len() as u64;
        let leaf = Leaf::new(self.origin.log, sequence, body(self.rows[kind]), &self.salts).encode();
        self.peaks.append(LogHash::of_leaf(&leaf));
        self.leaves.push(leaf);
    }

    pub fn checkpoint(&mut self, time: i64) {
        let [_, event, interval, reading, billing, _] = self.rows;
        let checkpoint = Checkpoint {
            meter: self.origin.meter,
            log: self.origin.log,
            number: self.last.map_or(1, |last| last.number + 1),
            size: self.peaks.size(),
            root: self.peaks.root(),
            time: UnixMillis(time + 500),
            uptime_ms: (time - START) as u64 + 500,
            boot: 1,
            newest: Newest { event, interval, reading, billing },
            previous: self.last.map(|last| last.digest()),
        };
        self.checkpoints.push(checkpoint.sign(&self.key).unwrap());
        self.last = Some(checkpoint);
    }

    pub fn hashes(&self) -> Vec<LogHash> {
        self.leaves.iter().map(|leaf| LogHash::of_leaf(leaf)).collect()
    }

    // ---- files ----

    /// The readings of days `from` to `to`.
    pub fn readings(&self, from: usize, to: usize) -> Vec<Vec<u8>> {
        let is_reading = |leaf: &&Vec<u8>| matches!(Leaf::decode(leaf).unwrap().body, Body::Reading(_));
        self.leaves.iter().filter(is_reading).skip(from).take(to - from + 1).cloned().collect()
    }

    /// The statement of days `from` to `to`, against the checkpoint of the last; the one before it ended at `from`.
    pub fn statement(&self, from: usize, to: usize) -> Statement {
        let previous = (from > 0).then(|| self.checkpoints[from].clone());
        let hashes = self.hashes();
        Statement::build(
            self.origin.clone(),
            self.checkpoints[to].clone(),
            &self.readings(from, to),
            previous,
            &mut Leaves(&hashes),
        )
        .unwrap()
    }

    pub fn export(&self) -> Vec<u8> {
        self.export_of(0, &self.leaves, &self.checkpoints)
    }

    /// A file of these entries, whatever they are, that says it begins at `first`.
    pub fn export_of(&self, first: usize, leaves: &[Vec<u8>], checkpoints: &[Vec<u8>]) -> Vec<u8> {
        let mut start = Peaks::new();
        self.leaves[..first].iter().for_each(|leaf| start.append(LogHash::of_leaf(leaf)));
        let export = Export { origin: self.origin.clone(), start, count: leaves.len() as u64 };
        let mut file = vec![];
        let entries = leaves.iter().map(|leaf| Ok::<_, Infallible>(Entry::Leaf(leaf)));
        export
            .write(entries, checkpoints, |bytes| {
                file.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
        file
    }
}

// ---- certification ----

/// The certificate of the certification key with this seed, by `Maker::new(20)`'s root.
pub fn certification_certificate(key_seed: u8) -> Vec<u8> {
    certification(key_seed, &[chain::CERTIFICATION_KEY_URI], (2026, 2046))
}

/// The same, which ends before marks do.
pub fn expired_certification_certificate(key_seed: u8) -> Vec<u8> {
    certification(key_seed, &[chain::CERTIFICATION_KEY_URI], (2025, 2027))
}

pub fn certification(key_seed: u8, uris: &[&str], years: (i32, i32)) -> Vec<u8> {
    let issuer = Issuer::new(authority(20, "root", 1), CertificateKey::new(20));
    let mut params = base("Example certification", years);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names =
        uris.iter().map(|&uri| SanType::URI(Ia5String::try_from(uri).unwrap())).collect();
    params.signed_by(&CertificateKey::new(key_seed), &issuer).unwrap().der().to_vec()
}
