//! A mark's CBOR: a map with keys in ascending order, every number in its shortest form, optional digests left out.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use meterseal_model::{Digest384, UnixMillis};
use minicbor::Decoder;

use super::{Coverage, Mark, MarkError, Scope, VERSION, coverage};
use crate::envelope::written;

impl Mark {
    pub(super) fn to_cbor(&self) -> Vec<u8> {
        let digests = [self.catalogue_digest, self.results_digest, self.report_digest];
        let fields = REQUIRED + digests.iter().flatten().count() as u64;
        written(|encoder| {
            encoder.map(fields)?.u8(FIELD_VERSION)?.u64(VERSION)?;
            encoder.u8(FIELD_DEVICE_TYPE)?.str(&self.device_type)?;
            encoder.u8(FIELD_HARDWARE)?.str(&self.hardware)?;
            encoder.u8(FIELD_FIRMWARE_DIGEST)?.bytes(&self.firmware_digest.0)?;
            encoder.u8(FIELD_CATALOGUE_VERSION)?.str(&self.catalogue_version)?;
            for (field, digest) in OPTIONAL.into_iter().zip(digests) {
                if let Some(digest) = digest {
                    encoder.u8(field)?.bytes(&digest.0)?;
                }
            }
            encoder.u8(FIELD_SCOPE)?.u8(self.scope as u8)?;
            encoder.u8(FIELD_COVERAGE)?.array(self.coverage.len() as u64)?;
            for coverage in &self.coverage {
                encoder.array(3)?.str(&coverage.requirement)?.u32(coverage.tested)?;
                encoder.array(coverage.not_tested.len() as u64)?;
                for id in &coverage.not_tested {
                    encoder.str(id)?;
                }
            }
            encoder.u8(FIELD_ISSUED)?.i64(self.issued.seconds())?;
            encoder.u8(FIELD_VALID_FROM)?.i64(self.valid_from.seconds())?;
            encoder.u8(FIELD_RENEW_FROM)?.i64(self.renew_from.seconds())?;
            encoder.u8(FIELD_VALID_UNTIL)?.i64(self.valid_until.seconds())?;
            encoder.u8(FIELD_SIGNATORY)?.str(&self.signatory)?.ok()
        })
    }

    pub(super) fn from_cbor(bytes: &[u8]) -> Result<Self, MarkError> {
        let mut decoder = Decoder::new(bytes);
        let fields = decoder.map()?.ok_or(MarkError::Malformed)?;
        expect(&mut decoder, FIELD_VERSION)?;
        match decoder.u64()? {
            VERSION => {}
            other => return Err(MarkError::Version(other)),
        }
        let device_type = text(&mut decoder, FIELD_DEVICE_TYPE)?;
        let hardware = text(&mut decoder, FIELD_HARDWARE)?;
        expect(&mut decoder, FIELD_FIRMWARE_DIGEST)?;
        let firmware_digest = digest(&mut decoder)?;
        let catalogue_version = text(&mut decoder, FIELD_CATALOGUE_VERSION)?;
        let mut digests = [None; 3];
        let mut field = decoder.u8()?;
        for (place, wanted) in OPTIONAL.into_iter().enumerate() {
            if field == wanted {
                digests[place] = Some(digest(&mut decoder)?);
                field = decoder.u8()?;
            }
        }
        if field != FIELD_SCOPE || fields != REQUIRED + digests.iter().flatten().count() as u64 {
            return Err(MarkError::Malformed);
        }
        let scope = Scope::from_number(decoder.u8()?).ok_or(MarkError::Content("scope"))?;
        expect(&mut decoder, FIELD_COVERAGE)?;
        let [catalogue_digest, results_digest, report_digest] = digests;
        Ok(Self {
            device_type,
            hardware,
            firmware_digest,
            catalogue_version,
            catalogue_digest,
            results_digest,
            report_digest,
            scope,
            coverage: coverage_list(&mut decoder)?,
            issued: seconds(&mut decoder, FIELD_ISSUED)?,
            valid_from: seconds(&mut decoder, FIELD_VALID_FROM)?,
            renew_from: seconds(&mut decoder, FIELD_RENEW_FROM)?,
            valid_until: seconds(&mut decoder, FIELD_VALID_UNTIL)?,
            signatory: text(&mut decoder, FIELD_SIGNATORY)?,
        })
    }
}

/// Lists are bounded before anything is taken in.
fn coverage_list(decoder: &mut Decoder<'_>) -> Result<Vec<Coverage>, MarkError> {
    let mut left = coverage::MAX_NOT_TESTED as u64;
    let count = decoder.array()?.filter(|&count| count <= coverage::MAX_REQUIREMENTS as u64);
    let mut list = Vec::new();
    for _ in 0..count.ok_or(MarkError::Content("coverage"))? {
        if decoder.array()? != Some(3) {
            return Err(MarkError::Malformed);
        }
        let requirement = decoder.str()?.to_string();
        let tested = decoder.u32()?;
        let ids = decoder.array()?.filter(|&count| count <= left).ok_or(MarkError::Content("not tested"))?;
        left -= ids;
        let not_tested =
            (0..ids).map(|_| Ok(decoder.str()?.to_string())).collect::<Result<_, MarkError>>()?;
        list.push(Coverage { requirement, tested, not_tested });
    }
    Ok(list)
}

fn expect(decoder: &mut Decoder<'_>, field: u8) -> Result<(), MarkError> {
    if decoder.u8()? == field { Ok(()) } else { Err(MarkError::Malformed) }
}

fn text(decoder: &mut Decoder<'_>, field: u8) -> Result<String, MarkError> {
    expect(decoder, field)?;
    Ok(decoder.str()?.to_string())
}

fn digest(decoder: &mut Decoder<'_>) -> Result<Digest384, MarkError> {
    Ok(Digest384(decoder.bytes()?.try_into().map_err(|_| MarkError::Malformed)?))
}

fn seconds(decoder: &mut Decoder<'_>, field: u8) -> Result<UnixMillis, MarkError> {
    expect(decoder, field)?;
    Ok(UnixMillis(decoder.i64()?.checked_mul(1000).ok_or(MarkError::Malformed)?))
}

// Map keys, in the order in which they stand; never reused.
const FIELD_VERSION: u8 = 0;
const FIELD_DEVICE_TYPE: u8 = 1;
const FIELD_HARDWARE: u8 = 2;
const FIELD_FIRMWARE_DIGEST: u8 = 3;
const FIELD_CATALOGUE_VERSION: u8 = 4;
/// Digests of catalogue, results and report; each may be missing.
const OPTIONAL: [u8; 3] = [5, 6, 7];
const FIELD_SCOPE: u8 = 8;
const FIELD_COVERAGE: u8 = 9;
const FIELD_ISSUED: u8 = 10;
const FIELD_VALID_FROM: u8 = 11;
const FIELD_RENEW_FROM: u8 = 12;
const FIELD_VALID_UNTIL: u8 = 13;
const FIELD_SIGNATORY: u8 = 14;
/// How many fields there are without the optional ones.
const REQUIRED: u64 = 12;
