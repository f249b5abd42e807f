//! A load profile of 48 rows and 6 columns: encode and protect it, open and decode it, with the
//! codec's ciphering and the head-end's own values.

use std::time::{Duration, Instant};

use dlms_cosem_rs::security::{
    FixedRandom, KeyRing, Protector, RustCryptoProvider, SecurityPolicy, SecuritySuite, SystemTitle,
};
use meterseal_link::Value;

use crate::figure;

const AUTHENTICATION: [u8; 32] = [0x22; 32];

pub(crate) fn measure(length: Duration) {
    let provider =
        || RustCryptoProvider::with_rng(KeyRing::new_256([0x11; 32], AUTHENTICATION), FixedRandom(7));
    let policy = SecurityPolicy::authenticated_encrypted(SecuritySuite::Suite2);
    let (sender, receiver) = (Protector::new(provider(), policy), Protector::new(provider(), policy));
    let title = SystemTitle(*b"MSL\0\0\0\0\x2A");
    let rows = Value::Array(
        (0..48_u64)
            .map(|row| {
                Value::Structure(vec![
                    Value::U64(row),
                    Value::Bytes(vec![0x07, 0xEA, 11, 22, 7, 12, (row % 60) as u8, 0, 0, 0, 0, 0]),
                    Value::U8(0),
                    Value::U64(1_000_000 + row * 137),
                    Value::U64(row * 11),
                    Value::U16(23_000 + row as u16),
                ])
            })
            .collect(),
    );
    let mut sealed = vec![0; 8192];
    // One counter is enough here: nothing of this leaves the process.
    let counter = 1;
    let protect = |sealed: &mut [u8]| {
        let plain = rows.encode();
        sender.protect(&title, counter, &AUTHENTICATION, &plain, sealed).unwrap().len()
    };
    figure(
        "profile_protect_microseconds",
        best(length, || {
            std::hint::black_box(protect(&mut sealed));
        }),
    );
    let size = protect(&mut sealed);
    figure("profile_bytes", size as f64);
    let mut plain = vec![0; 8192];
    let opened = best(length, || {
        plain[..size].copy_from_slice(&sealed[..size]);
        let opened = receiver
            .unprotect(policy.control(), &title, counter, &AUTHENTICATION, &mut plain[..size])
            .unwrap();
        std::hint::black_box(Value::decode(opened).unwrap());
    });
    figure("profile_open_microseconds", opened);
}

/// Microseconds of a run, the best of many pieces of 20.
fn best(length: Duration, mut run: impl FnMut()) -> f64 {
    const PIECE: u32 = 20;
    let (end, mut best) = (Instant::now() + length, f64::MAX);
    while Instant::now() < end {
        let begin = Instant::now();
        (0..PIECE).for_each(|_| run());
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(PIECE));
    }
    best
}
