//! What the tests of firmware are put together from: a transfer, an order, a question what runs.

use std::collections::VecDeque;

use meterseal_link::{ClientError, Value};
use meterseal_model::{Digest384, MeterId, Obis, Role};
use meterseal_seal::attestation::{Attestation, Attested};

use crate::certify::{Bench, Caller, Offered, Speaker, Trouble, Unserved};

const IMAGE: u16 = 18;
const DATA: u16 = 1;
/// Methods of Image transfer (class 18).
const INITIATE: i8 = 1;
const BLOCK: i8 = 2;
const VERIFY: i8 = 3;
const ACTIVATE: i8 = 4;
/// Attributes of it.
const BLOCK_SIZE: i8 = 2;
const FIRST_MISSING: i8 = 4;
const STATUS: i8 = 6;
/// Values of its status.
const VERIFYING: u64 = 2;
const VERIFIED: u64 = 3;
/// How long a judgement is waited for, seconds.
const JUDGEMENT_SECONDS: u32 = 120;

/// Who updates meters.
const UPDATER: Caller = Caller::network(Role::Firmware);
/// Who asks what runs: at the local port, where an image that does not dial can be asked too.
const ASKER: Caller = Caller::local(Role::Bench);

/// What came of something that was asked of the meter.
pub(super) type Answer<T = ()> = Result<T, Unserved>;

/// Asks one thing as some role.
pub(super) fn once<T>(
    bench: &mut Bench<'_>,
    caller: Caller,
    ask: impl AsyncFnOnce(&mut meterseal_link::DlmsClient<tokio::io::DuplexStream>) -> Result<T, ClientError>,
) -> Result<Answer<T>, Trouble> {
    match Speaker::open(bench.target(), caller)? {
        Err(refused) => Ok(Err(refused)),
        Ok(mut speaker) => {
            let answer = speaker.ask(bench.target(), ask)?;
            speaker.close(bench.target())?;
            Ok(answer)
        }
    }
}

/// What a meter proves that it runs; `Err`: nothing, and why.
pub(super) fn attested(bench: &mut Bench<'_>) -> Result<Result<Attested, String>, Trouble> {
    let mut nonce = Vec::new();
    for _ in 0..4 {
        nonce.extend_from_slice(&bench.random().to_be_bytes());
    }
    attested_with(bench, &nonce)
}

pub(super) fn attested_with(
    bench: &mut Bench<'_>,
    nonce: &[u8],
) -> Result<Result<Attested, String>, Trouble> {
    let Some(key) = bench.target().boot_key() else {
        return Err(Trouble::Lacks("boot key of the meter, certified by its maker"));
    };
    let Some(known) = bench.target().credentials(Role::Bench) else {
        return Err(Trouble::Lacks("keys of the bench"));
    };
    let asked = nonce.to_vec();
    let answer = once(bench, ASKER, async |client| {
        let certificate = client.get(DATA, Obis::IMAGE_KEY, 2).await?;
        client.set(DATA, Obis::ATTESTATION_NONCE, 2, Value::Bytes(asked)).await?;
        let signed = client.get(DATA, Obis::ATTESTATION, 2).await?;
        Ok((certificate, signed))
    })?;
    let (certificate, signed) = match answer {
        Ok(answer) => answer,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let (Some(certificate), Some(signed)) = (certificate.as_bytes(), signed.as_bytes()) else {
        return Ok(Err("no octets".to_owned()));
    };
    // A system title is the maker's letters and the serial number in five bytes.
    let [a, b, c, serial @ ..] = known.meter.0;
    let serial = serial.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let meter = MeterId::new([a, b, c], serial)
        .map_err(|_| Trouble::Meter("its system title is none of a meter".to_owned()))?;
    Ok(Attestation::verify(signed, certificate, &key, meter, nonce).map_err(|error| error.to_string()))
}

/// The digest of what it proves that it runs.
pub(super) fn runs(bench: &mut Bench<'_>) -> Result<Option<Digest384>, Trouble> {
    Ok(attested(bench)?.ok().map(|proven| proven.image))
}

/// The digest of what runs before anything is done.
pub(super) fn runs_first(bench: &mut Bench<'_>) -> Result<Digest384, Trouble> {
    match attested(bench)? {
        Ok(proven) => Ok(proven.image),
        Err(why) => Err(Trouble::Meter(format!("what it attests proves nothing: {why}"))),
    }
}

/// Transfers a package, or goes on with it; as many blocks as `blocks` says at the most. True: all are there.
pub(super) fn transfer(
    bench: &mut Bench<'_>,
    package: &Offered,
    blocks: usize,
) -> Result<Answer<bool>, Trouble> {
    let (name, bytes) = (package.image.0[..16].to_vec(), package.bytes.clone());
    once(bench, UPDATER, async |client| {
        let begin = Value::Structure(vec![Value::Bytes(name), Value::U32(bytes.len() as u32)]);
        client.action(IMAGE, Obis::IMAGE_TRANSFER, INITIATE, Some(begin)).await?;
        let size = client.get(IMAGE, Obis::IMAGE_TRANSFER, BLOCK_SIZE).await?.as_u64().unwrap_or(0);
        let first = client.get(IMAGE, Obis::IMAGE_TRANSFER, FIRST_MISSING).await?.as_u64().unwrap_or(0);
        let contents: VecDeque<&[u8]> = bytes.chunks((size as usize).max(1)).collect();
        let missing = contents.len().saturating_sub(first as usize);
        for (number, content) in contents.iter().enumerate().skip(first as usize).take(blocks) {
            let block = Value::Structure(vec![Value::U32(number as u32), Value::Bytes(content.to_vec())]);
            client.action(IMAGE, Obis::IMAGE_TRANSFER, BLOCK, Some(block)).await?;
        }
        Ok(missing <= blocks)
    })
}

/// Orders the judgement of what was transferred.
pub(super) fn order_judgement(bench: &mut Bench<'_>) -> Result<Answer, Trouble> {
    once(bench, UPDATER, async |client| {
        match client.action(IMAGE, Obis::IMAGE_TRANSFER, VERIFY, Some(Value::I8(0))).await {
            Ok(_) | Err(ClientError::Access(_)) => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// How far the meter is, by its own word.
pub(super) fn status(bench: &mut Bench<'_>) -> Result<Option<u64>, Trouble> {
    let told = once(bench, UPDATER, async |client| client.get(IMAGE, Obis::IMAGE_TRANSFER, STATUS).await)?;
    Ok(told.ok().and_then(|status| status.as_u64()))
}

/// Waits for the judgement: whether the package was taken.
pub(super) fn judged(bench: &mut Bench<'_>) -> Result<bool, Trouble> {
    for _ in 0..JUDGEMENT_SECONDS {
        match status(bench)? {
            Some(VERIFYING) => bench.pass(1.0)?,
            other => return Ok(other == Some(VERIFIED)),
        }
    }
    Ok(false)
}

/// Orders an image to be started, as some role.
pub(super) fn activate(bench: &mut Bench<'_>, caller: Caller, image: Digest384) -> Result<Answer, Trouble> {
    let digest = Value::Bytes(image.0.to_vec());
    once(bench, caller, async |client| {
        client.action(IMAGE, Obis::IMAGE_TRANSFER, ACTIVATE, Some(digest)).await.map(drop)
    })
}

/// Transfers a package, has it judged and orders it to be started: everything that an update is to a head-end. True: the meter has taken all of
/// it.
pub(super) fn order(bench: &mut Bench<'_>, package: &Offered) -> Result<bool, Trouble> {
    if transfer(bench, package, usize::MAX)?.is_err() {
        return Ok(false);
    }
    order_judgement(bench)?.ok();
    if !judged(bench)? {
        return Ok(false);
    }
    Ok(activate(bench, UPDATER, package.image)?.is_ok())
}

/// Waits, with the head-end there as always, until what runs is this image, confirmed, at most so many seconds.
pub(super) fn settles(bench: &mut Bench<'_>, image: Digest384, seconds: u32) -> Result<bool, Trouble> {
    for _ in 0..seconds.div_ceil(STEP) {
        bench.pass(f64::from(STEP))?;
        head_end_is_there(bench);
        if attested(bench)?.is_ok_and(|proven| {
            let own = proven.attestation.highest == proven.attestation.sequence;
            proven.image == image && proven.attestation.confirmed && own
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Between two looks, seconds.
const STEP: u32 = 10;
/// How long a sound image may take until it is confirmed: ninety seconds of probation, and the switch.
pub(super) const CONFIRMED_SECONDS: u32 = 240;

/// The head-end's standing connection, as far as the meter lets it come up.
pub(super) fn head_end_is_there(bench: &mut Bench<'_>) {
    // Whether it did shows in what the meter does.
    let _ = bench.target().get(&[(DATA, Obis::METER_ID, 2)]);
}

/// A whole update with a package that is sound.
pub(super) fn update(bench: &mut Bench<'_>, package: &Offered) -> Result<bool, Trouble> {
    bench.step(format!("a sound package: version {}", package.version));
    let done = order(bench, package)? && settles(bench, package.image, CONFIRMED_SECONDS)?;
    bench.step(if done { "it runs, confirmed" } else { "it does not run" });
    Ok(done)
}
