//! One bit that has flipped in a record can be put right from its checksum: CRC-32 tells apart all records of this length that
//! differ in fewer than four bits, so what differs in one bit from what the checksum was made of is that bit's doing.

/// x³² + x²⁶ + … + 1, reflected (CRC-32/ISO-HDLC).
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// Puts one flipped bit right, in `bytes` or in their checksum. `bytes` are the last that went into `computed`. `false`: it is
/// not one bit, and nothing was changed.
pub(super) fn correct(bytes: &mut [u8], stored: u32, computed: u32) -> bool {
    // A checksum that was never written is a torn record's.
    if stored == u32::MAX {
        return false;
    }
    let difference = stored ^ computed;
    if difference.is_power_of_two() {
        return true;
    }
    // What a flipped bit does to the checksum: the last one the polynomial, each one before a step of the register more.
    let mut effect = POLYNOMIAL;
    for byte in bytes.iter_mut().rev() {
        for bit in (0..8).rev() {
            if effect == difference {
                *byte ^= 1 << bit;
                return true;
            }
            effect = (effect >> 1) ^ (POLYNOMIAL & (effect & 1).wrapping_neg());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crc::{CRC_32_ISO_HDLC, Crc};

    use super::*;

    const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

    fn checksum(bytes: &[u8]) -> u32 {
        let mut digest = CHECKSUM.digest();
        digest.update(&[7]);
        digest.update(bytes);
        digest.finalize()
    }

    #[test]
    fn any_one_bit_is_put_right_and_any_two_are_left_alone() {
        let record: Vec<u8> = (0..496u32).map(|k| ((k * 31) >> 2) as u8).collect();
        let stored = checksum(&record);
        for bit in 0..record.len() * 8 {
            let mut rotten = record.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            let computed = checksum(&rotten);
            assert!(correct(&mut rotten, stored, computed) && rotten == record, "bit {bit}");
            // And another one beside it, or far away.
            for other in [(bit + 1) % (record.len() * 8), (bit * 7 + 13) % (record.len() * 8)] {
                if other == bit {
                    continue;
                }
                let mut rotten = record.clone();
                rotten[bit / 8] ^= 1 << (bit % 8);
                rotten[other / 8] ^= 1 << (other % 8);
                let computed = checksum(&rotten);
                assert!(!correct(&mut rotten, stored, computed), "bits {bit} and {other}");
            }
        }
        for bit in 0..32 {
            assert!(correct(&mut record.clone(), stored ^ 1 << bit, stored));
        }
    }
}
