//! Whatever a peer sends, the meter neither panics nor stops serving the next connection.

mod support;

use meterseal_model::{Obis, Role};
use proptest::prelude::*;
use support::client::{Client, frame};
use support::{at, blank, open, run};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused_or_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        meter.connected();
        let _ = meter.receive(&bytes);
        while meter.transmit().is_some() {}
        meter.disconnected();
        meter.connected();
        Client::utility().associate(&mut meter).unwrap();
    }

    #[test]
    fn random_apdus_to_any_address_are_refused_or_answered(
        apdus in proptest::collection::vec((0usize..3, proptest::collection::vec(any::<u8>(), 0..120)), 1..8),
        tag in proptest::sample::select(vec![0x60u8, 0x62, 0xC0, 0xC1, 0xC3, 0xC8, 0xC9, 0xCB, 0xD9, 0xDB, 0xDD, 0xE0]),
    ) {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        meter.connected();
        for (role, mut apdu) in apdus {
            if let Some(first) = apdu.first_mut() {
                *first = tag;
            }
            if meter.receive(&frame(Role::ALL[role], &apdu)).is_err() {
                break;
            }
            while meter.transmit().is_some() {}
        }
    }

    #[test]
    fn a_bent_bit_anywhere_in_a_session_is_refused_or_answered(
        message in 0usize..6,
        position in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        run(&mut meter, 0, 500, 1.0, &support::OPEN);
        meter.connected();
        let mut client = Client::utility();
        client.associate(&mut meter).unwrap();
        client.listen(&mut meter);
        client.get(&mut meter, 3, Obis::VOLTAGE[0], 2);
        client.get(&mut meter, 7, Obis::SECURITY_LOG, 2);
        client.set(&mut meter, 1, Obis::COMMITTED_SECURITY_LOG, dlms_cosem_rs::axdr::Data::Long64Unsigned(1)).unwrap();
        // The same session to a meter that has not seen it, with one bit bent.
        let mut sent = client.sent.clone();
        let message = message % sent.len();
        let position = position.index(sent[message].len());
        sent[message][position] ^= 1 << bit;
        drop(meter);
        let mut flash = blank();
        // Seeds other challenges.
        flash.steps = 1;
        let mut meter = open(&mut flash, at(0));
        run(&mut meter, 0, 500, 1.0, &support::OPEN);
        meter.connected();
        for bytes in &sent {
            if meter.receive(bytes).is_err() {
                break;
            }
            while meter.transmit().is_some() {}
        }
        prop_assert_eq!(meter.committed_security_log(), 0, "another challenge: a recorded proof opens nothing");
    }

    #[test]
    fn random_plain_requests_of_the_public_are_answered(
        service in proptest::sample::select(vec![0xC0u8, 0xC1, 0xC3, 0xD9]),
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut flash = blank();
        let mut meter = open(&mut flash, at(0));
        meter.connected();
        let mut client = Client::new(Role::Public, &support::utility_keys(), 0, 1024);
        client.associate(&mut meter).unwrap();
        let mut apdu = vec![service, 1, 0x41];
        apdu.extend_from_slice(&body);
        if meter.receive(&frame(Role::Public, &apdu)).is_ok() {
            prop_assert!(meter.transmit().is_some());
        }
        prop_assert_eq!(meter.committed_security_log(), 0);
    }
}
