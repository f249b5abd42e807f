//! Whatever a client sends as a setting: refused, or kept as it is within its bounds.

extern crate std;

use alloc::vec::Vec;

use dlms_cosem_rs::codec::Decode as _;
use meterseal_model::Role;
use meterseal_model::objects::{OBJECTS, find};
use proptest::prelude::*;

use super::*;
use crate::cosem::{push, supply};

/// Values as an attacker with the utility's keys might build them: nearly right, nested, long.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let octets = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..16),
        Just(Obis::TARIFF_SCRIPTS.0.to_vec()),
        Just(Obis::DISCONNECTOR_SCRIPTS.0.to_vec()),
        Just([0xFF, 0xFF, 6, 1, 0xFF, 0, 0, 0, 0, 0x80, 0, 0].to_vec()),
        Just([0xFF, 0xFF, 12, 0xFE, 0xFF].to_vec()),
        Just([12, 30, 0, 0].to_vec()),
    ];
    let leaf = prop_oneof![
        octets.prop_map(|bytes| [&[9, bytes.len() as u8][..], &bytes].concat()),
        (0u8..6).prop_map(|number| alloc::vec![17, number]),
        (0u8..6).prop_map(|number| alloc::vec![18, 0, number]),
        any::<u32>().prop_map(|number| [&[6][..], &number.to_be_bytes()].concat()),
        Just(alloc::vec![0]),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        (1u8..=2, proptest::collection::vec(inner, 0..20))
            .prop_map(|(tag, parts)| [&[tag, parts.len() as u8][..], &parts.concat()].concat())
    })
}

proptest! {
    #[test]
    fn whatever_is_accepted_fits_the_record_and_comes_back(bytes in value()) {
        let Ok(data) = Data::from_bytes(&bytes) else { return Ok(()) };
        let settable = |object: &&Object| object.attributes.iter().any(|attribute| attribute.rights.of(Role::Utility).writes());
        for object in OBJECTS.iter().filter(settable) {
            for attribute in object.attributes {
                let changed = match object.class {
                    Class::Limiter | Class::TcpUdpSetup => {
                        supply::changed(&Settings::default(), object, attribute.index, &data)
                    }
                    Class::PushSetup => push::changed(&Settings::default(), attribute.index, &data),
                    _ => changed(&Settings::default(), object, attribute.index, &data),
                };
                if let Ok(settings) = changed {
                    let record = settings.encode();
                    prop_assert!(record.len() <= Settings::BYTES_MAX);
                    // What a rate is at any time is an answer, not a panic, for any calendar that is whole.
                    if settings.passive.check().is_ok() {
                        for time in [0, 1_795_348_800_000, i64::MAX, i64::MIN] {
                            let rate = settings.passive.rate_at(&settings.special_days, UnixMillis(time));
                            prop_assert!((1..=RATES as u8).contains(&rate));
                        }
                    }
                    // The same of whether a push may go out.
                    for time in [0, 1_795_348_800_000] {
                        let _ = settings.push.is_open(UnixMillis(time));
                    }
                    prop_assert_eq!(Settings::decode(&record), Some(settings));
                }
            }
        }
        let _ = with_special_day(&Settings::default(), &data);
        let _ = without_special_day(&Settings::default(), &data);
    }

    #[test]
    fn day_profiles_that_are_well_formed_are_taken_as_they_are(
        rates in proptest::collection::vec((0u8..24, 1u8..=4), 1..=12),
    ) {
        let action = |&(hour, rate): &(u8, u8)| {
            let script = Obis::TARIFF_SCRIPTS.0;
            [&[2, 3, 9, 4, hour, 0, 0, 0, 9, 6][..], &script, &[18, 0, rate]].concat()
        };
        let actions: Vec<u8> = rates.iter().flat_map(action).collect();
        let bytes = [&[1, 1, 2, 2, 17, 7, 1, rates.len() as u8][..], &actions].concat();
        let data = Data::from_bytes(&bytes).expect("it is well formed");
        let object = find(20, Obis::ACTIVITY_CALENDAR).expect("it is in the table");
        let settings = changed(&Settings::default(), object, 9, &data).expect("it is within all bounds");
        let found: Vec<_> =
            settings.passive.days[0].actions.iter().map(|action| (action.start.hour, action.rate)).collect();
        prop_assert_eq!(found, rates);
    }
}
