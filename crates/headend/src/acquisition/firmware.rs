//! A meter's turn in a campaign: Image transfer (class 18) over an association of the firmware role, beside the one that
//! reads. Each turn is short, so that readings and alarms go on; what the meter already has is asked of the meter.

use std::collections::VecDeque;
use std::time::Duration;

use meterseal_link::client::{AccessError, Beside, IN_FLIGHT_MAX, Limits};
use meterseal_link::{Association, ClientError, Value};
use meterseal_model::objects::Class;
use meterseal_model::{Obis, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{AcquisitionError, BLOCK, SKIP, Session};
use crate::campaigns::{MemberState, Outcome, Turn};
use crate::store::RoleCounters;

/// How long a turn may send before everything else of the meter has its own.
const TURN: Duration = Duration::from_millis(60);

/// A batch of blocks that took less may be larger next time; one that took longer than the second gets smaller.
const QUICK: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_millis(400);

const FIRST_BATCH: usize = 8;

/// Between two questions how far the meter's judgement is.
const VERIFYING: Duration = Duration::from_millis(150);
/// After a refusal that may pass.
const LATER: Duration = Duration::from_secs(5);
/// Between two looks at a meter that was told to start the image, or that tries it.
const STARTING: Duration = Duration::from_secs(2);

/// Invocation counters that an operation may spend beside its blocks.
const SPARE: u32 = 16;

/// The association of the firmware role, and what is left to send over it.
#[derive(Debug, Default)]
pub(super) struct Carrier {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    campaign: u64,
    beside: Beside,
    /// The first invocation counter that is not set aside.
    ceiling: u32,
    /// Blocks that the meter does not have; `None` before it was asked.
    missing: Option<VecDeque<u32>>,
    blocks: u32,
    block_bytes: usize,
    batch: usize,
    /// Blocks that the campaign's bandwidth has been charged with already.
    paid: usize,
}

/// What a turn came to, and when the next is due at the earliest.
type Done = (Outcome, Duration);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Takes the meter's turn. An error ends the connection.
    pub(super) async fn carry(&mut self, turn: Turn) -> Result<(), AcquisitionError> {
        if turn.state == MemberState::Probation {
            // What the attestation says is counted where it is taken.
            self.attest_again().await?;
            return self.report((Outcome::Wait, STARTING)).await;
        }
        if self.carrier.open.as_ref().is_some_and(|open| open.campaign != turn.campaign) {
            self.put_down().await?;
        }
        if self.carrier.open.is_none() {
            match self.pick_up(turn.campaign).await? {
                Ok(open) => self.carrier.open = Some(open),
                Err(done) => return self.report(done).await,
            }
        }
        let outcome = match turn.state {
            MemberState::Transferring => self.transfer(&turn).await,
            MemberState::Verifying => self.await_verdict(&turn).await,
            MemberState::Ready => self.activate(&turn).await,
            _ => self.follow(&turn).await,
        };
        let done = match outcome {
            Ok(done) => done,
            // The meter's refusal of one thing; whatever it was, it is asked anew how far it is.
            Err(AcquisitionError::Client(ClientError::Access(refused))) => {
                if let Some(open) = &mut self.carrier.open {
                    open.missing = None;
                }
                (Outcome::FailedForNow(format!("The meter refused a step of the transfer: {refused}")), LATER)
            }
            Err(error) => return Err(error),
        };
        if !matches!(
            done.0,
            Outcome::Progress(..) | Outcome::Verifying | Outcome::Transferring | Outcome::Wait
        ) {
            self.put_down().await?;
        }
        self.report(done).await
    }

    async fn report(&mut self, (outcome, again): Done) -> Result<(), AcquisitionError> {
        Ok(self.acquisition.campaigns.report(self.meter, outcome, again).await?)
    }

    /// Associates as the firmware role.
    async fn pick_up(&mut self, campaign: u64) -> Result<Result<Open, Done>, AcquisitionError> {
        let (meter, store) = (self.meter, self.store);
        let Some(keys) = self.firmware_keys.clone() else {
            let text = "This head-end has no keys of the firmware role for the meter".to_owned();
            return Ok(Err((Outcome::Failed(text), Duration::ZERO)));
        };
        // Once more, if the meter has seen higher counters than our database knows of.
        for _ in 0..2 {
            let first = store.reserve_role_invocations(meter, Role::Firmware, BLOCK).await?;
            let params = Association {
                role: Role::Firmware,
                meter: meter.system_title(),
                client_title: self.acquisition.system_title,
                keys: keys.clone(),
                invocation_counter: first.saturating_sub(1),
                last_response_counter: store.role_response_counter(meter, Role::Firmware).await?,
                last_push_counter: 0,
                limits: Limits::default(),
            };
            let ceiling = first.saturating_add(BLOCK);
            match self.client.open_beside(params, ceiling - 1).await {
                Ok(beside) => {
                    let open = Open {
                        campaign,
                        beside,
                        ceiling,
                        missing: None,
                        blocks: 0,
                        block_bytes: 0,
                        batch: FIRST_BATCH,
                        paid: 0,
                    };
                    keep_counters(store, meter, &open).await?;
                    return Ok(Ok(open));
                }
                Err(ClientError::InvocationCounter { expected })
                    if expected.saturating_sub(first) <= SKIP =>
                {
                    let next = expected.saturating_add(BLOCK);
                    let counters = RoleCounters { next, response: 0 };
                    store.raise_role_counters(meter, Role::Firmware, counters).await?;
                }
                Err(error @ (ClientError::Refused { .. } | ClientError::InvocationCounter { .. })) => {
                    let text = format!("The meter does not let the firmware role in: {error}");
                    return Ok(Err((Outcome::FailedForNow(text), LATER)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let text = "The meter's invocation counter for the firmware role could not be followed".to_owned();
        Ok(Err((Outcome::FailedForNow(text), LATER)))
    }

    /// Ends the association of the firmware role, so that somebody at the meter may have it.
    async fn put_down(&mut self) -> Result<(), AcquisitionError> {
        if let Some(open) = self.carrier.open.take() {
            keep_counters(self.store, self.meter, &open).await?;
            self.client.release_beside(open.beside).await?;
        }
        Ok(())
    }

    /// Sees to it that the next operations of the firmware role have invocation counters of their own.
    async fn reserve_for_firmware(&mut self, needed: u32) -> Result<(), AcquisitionError> {
        let Some(open) = &mut self.carrier.open else { return Ok(()) };
        while open.ceiling.saturating_sub(open.beside.invocation_counter()) <= needed {
            let first = self.store.reserve_role_invocations(self.meter, Role::Firmware, BLOCK).await?;
            if first != open.ceiling {
                return Err(AcquisitionError::TakenOver);
            }
            open.ceiling = first.saturating_add(BLOCK);
            open.beside.allow_counters_to(open.ceiling - 1);
        }
        Ok(())
    }

    async fn transfer(&mut self, turn: &Turn) -> Result<Done, AcquisitionError> {
        let Some(package) = turn.package.clone() else { return Ok((Outcome::Wait, LATER)) };
        if self.carrier.open.as_ref().is_some_and(|open| open.missing.is_none())
            && let Some(done) = self.begin_transfer(turn, package.len()).await?
        {
            return Ok(done);
        }
        let until = Instant::now() + TURN;
        loop {
            self.reserve_for_firmware(IN_FLIGHT_MAX as u32 + SPARE).await?;
            let Self { carrier, client, .. } = &mut *self;
            let Some(Open { beside, missing: Some(missing), blocks, block_bytes, batch, paid, .. }) =
                &mut carrier.open
            else {
                return Ok((Outcome::Wait, LATER));
            };
            let held = *blocks - missing.len() as u32;
            if missing.is_empty() {
                break;
            }
            let count = (*batch).min(missing.len()).min(turn.bandwidth.at_once(*block_bytes));
            if *paid < count {
                let wait = turn.bandwidth.take((count - *paid) * *block_bytes, Instant::now());
                *paid = count;
                if wait > Duration::ZERO {
                    return Ok((Outcome::Progress(held, *blocks), wait));
                }
            }
            let sent: Vec<u32> = missing.iter().take(count).copied().collect();
            let values: Vec<Value> =
                sent.iter().map(|&block| content(&package, block, *block_bytes)).collect();
            let begun = Instant::now();
            let mut speaking = client.beside(beside);
            let answers = speaking.actions(IMAGE, Obis::IMAGE_TRANSFER, BLOCK_TRANSFER, &values).await?;
            drop(speaking);
            *paid = 0;
            *batch = match begun.elapsed() {
                quick if quick < QUICK => (*batch * 2).min(IN_FLIGHT_MAX),
                slow if slow > SLOW => (*batch / 2).max(1),
                _ => *batch,
            };
            let mut refused = None;
            for (block, answer) in sent.into_iter().zip(answers) {
                missing.pop_front();
                match answer {
                    Ok(()) => {}
                    Err(error) => {
                        refused = Some(error);
                        missing.push_back(block);
                    }
                }
            }
            match refused {
                Some(AccessError::TemporaryFailure) => {
                    return Ok((Outcome::Progress(*blocks - missing.len() as u32, *blocks), VERIFYING));
                }
                Some(error) => return Err(ClientError::Access(error).into()),
                None => {}
            }
            if Instant::now() >= until && !missing.is_empty() {
                return Ok((Outcome::Progress(*blocks - missing.len() as u32, *blocks), Duration::ZERO));
            }
        }
        self.verify().await
    }

    /// Asks the meter what it takes and what it has, and begins the transfer or goes on with it.
    async fn begin_transfer(&mut self, turn: &Turn, bytes: usize) -> Result<Option<Done>, AcquisitionError> {
        if let Some(other) =
            self.fleet.device_type(self.meter).filter(|own| *own != turn.plan.image.device_type)
        {
            let text = format!("The image is for {}, the meter is {other}", turn.plan.image.device_type);
            return Ok(Some((Outcome::Skipped(text), Duration::ZERO)));
        }
        let state = self.image_state().await?;
        if !state.is_enabled {
            let text = "The meter takes no firmware now".to_owned();
            return Ok(Some((Outcome::FailedForNow(text), LATER)));
        }
        if state.status == VERIFIED && state.image == turn.target.0 {
            return Ok(Some((Outcome::Ready, Duration::ZERO)));
        }
        if state.block_bytes == 0 || state.block_bytes > BLOCK_BYTES_MAX {
            let text = format!("The meter asks for blocks of {} bytes", state.block_bytes);
            return Ok(Some((Outcome::Failed(text), Duration::ZERO)));
        }
        // The package's digest is its name for the meter: the same one again goes on where it was interrupted.
        let name = digest_bytes(&turn.plan.image.package);
        let begin = Value::Structure(vec![Value::Bytes(name), Value::U32(bytes as u32)]);
        match self.act(INITIATE, begin).await? {
            Ok(()) => {}
            Err(AccessError::Selection) => {
                let text = format!("The package of {bytes} bytes does not fit into the meter");
                return Ok(Some((Outcome::Failed(text), Duration::ZERO)));
            }
            Err(refused) => return Err(ClientError::Access(refused).into()),
        }
        let blocks = bytes.div_ceil(state.block_bytes) as u32;
        let map = self.read(BLOCKS_STATUS).await?;
        let Value::Bits(count, map) = map else { return Err(unfit("a map of its blocks")) };
        let held = |block: u32| {
            let place = block as usize;
            place < count && map.get(place / 8).is_some_and(|byte| byte >> (7 - place % 8) & 1 == 1)
        };
        let missing = (0..blocks).filter(|&block| !held(block)).collect();
        if let Some(open) = &mut self.carrier.open {
            (open.missing, open.blocks, open.block_bytes) = (Some(missing), blocks, state.block_bytes);
        }
        Ok(None)
    }

    async fn verify(&mut self) -> Result<Done, AcquisitionError> {
        if let Some(open) = &mut self.carrier.open {
            // Whatever comes of it: before more is sent, the meter is asked what it has.
            open.missing = None;
        }
        Ok(match self.act(VERIFY, Value::I8(0)).await? {
            Ok(()) => (Outcome::Ready, Duration::ZERO),
            Err(AccessError::TemporaryFailure) => (Outcome::Verifying, VERIFYING),
            Err(AccessError::Other(_)) => refused_package(),
            Err(refused) => return Err(ClientError::Access(refused).into()),
        })
    }

    async fn await_verdict(&mut self, turn: &Turn) -> Result<Done, AcquisitionError> {
        let state = self.image_state().await?;
        Ok(match state.status {
            VERIFYING_STATUS => (Outcome::Wait, VERIFYING),
            VERIFIED if state.image == turn.target.0 => (Outcome::Ready, Duration::ZERO),
            VERIFICATION_FAILED => refused_package(),
            // Another image, or none: the order to verify never arrived, or somebody else began a transfer.
            _ => (Outcome::Transferring, Duration::ZERO),
        })
    }

    async fn activate(&mut self, turn: &Turn) -> Result<Done, AcquisitionError> {
        let state = self.image_state().await?;
        if state.status != VERIFIED || state.image != turn.target.0 {
            return Ok((Outcome::Transferring, Duration::ZERO));
        }
        let boots = self.fleet.attested(self.meter).map(|said| said.boots);
        self.acquisition.campaigns.ordering(self.meter, boots).await?;
        self.order_start(turn).await
    }

    /// Tells the meter to start the image, by its digest: what waits there may be another one than we believe.
    async fn order_start(&mut self, turn: &Turn) -> Result<Done, AcquisitionError> {
        Ok(match self.act(ACTIVATE, Value::Bytes(turn.target.0.to_vec())).await? {
            Ok(()) | Err(AccessError::TemporaryFailure) => (Outcome::Wait, STARTING),
            Err(refused) => {
                (Outcome::Failed(format!("The meter refused to start the image: {refused}")), Duration::ZERO)
            }
        })
    }

    /// Follows a meter that was told to start the image and has not attested it yet.
    async fn follow(&mut self, turn: &Turn) -> Result<Done, AcquisitionError> {
        let boots = self.fleet.attested(self.meter).map(|said| said.boots);
        let state = self.image_state().await?;
        Ok(match state.status {
            // The order never arrived.
            VERIFIED if state.image == turn.target.0 && boots == turn.boots => self.order_start(turn).await?,
            ACTIVATION_FAILED => {
                (Outcome::Failed("The meter could not start the image".to_owned()), Duration::ZERO)
            }
            _ => (Outcome::Wait, STARTING),
        })
    }

    async fn image_state(&mut self) -> Result<ImageState, AcquisitionError> {
        self.reserve_for_firmware(SPARE).await?;
        let Self { carrier, client, .. } = &mut *self;
        let Some(open) = &mut carrier.open else { return Err(AcquisitionError::TakenOver) };
        let asked = [BLOCK_SIZE, ENABLED, STATUS, TO_ACTIVATE];
        let asked = asked.map(|attribute| (IMAGE, Obis::IMAGE_TRANSFER, attribute));
        let answers = client.beside(&mut open.beside).get_list(&asked).await?;
        let [block, enabled, status, images] = answers.as_slice() else { return Err(unfit("four answers")) };
        let number = |answer: &Result<Value, AccessError>| answer.as_ref().ok().and_then(Value::as_u64);
        let image = images.as_ref().ok().and_then(Value::as_list).and_then(|images| images.first());
        let digest =
            image.and_then(Value::as_list).and_then(|fields| fields.get(2)).and_then(Value::as_bytes);
        Ok(ImageState {
            block_bytes: number(block).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0),
            is_enabled: enabled.as_ref().ok().and_then(Value::as_bool).unwrap_or(false),
            status: number(status).unwrap_or(0),
            image: digest.and_then(|digest| digest.try_into().ok()).unwrap_or([0; 48]),
        })
    }

    async fn read(&mut self, attribute: i8) -> Result<Value, AcquisitionError> {
        self.reserve_for_firmware(SPARE).await?;
        let Self { carrier, client, .. } = &mut *self;
        let Some(open) = &mut carrier.open else { return Err(AcquisitionError::TakenOver) };
        Ok(client.beside(&mut open.beside).get(IMAGE, Obis::IMAGE_TRANSFER, attribute).await?)
    }

    async fn act(
        &mut self,
        method: i8,
        parameter: Value,
    ) -> Result<Result<(), AccessError>, AcquisitionError> {
        self.reserve_for_firmware(SPARE).await?;
        let Self { carrier, client, .. } = &mut *self;
        let Some(open) = &mut carrier.open else { return Err(AcquisitionError::TakenOver) };
        let mut speaking = client.beside(&mut open.beside);
        match speaking.action(IMAGE, Obis::IMAGE_TRANSFER, method, Some(parameter)).await {
            Ok(_) => Ok(Ok(())),
            Err(ClientError::Access(refused)) => Ok(Err(refused)),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the meter says of its Image transfer.
struct ImageState {
    block_bytes: usize,
    is_enabled: bool,
    status: u64,
    /// The image that would be activated; zeros where there is none.
    image: [u8; 48],
}

async fn keep_counters(
    store: &crate::store::Store,
    meter: meterseal_model::MeterId,
    open: &Open,
) -> Result<(), AcquisitionError> {
    let counters = RoleCounters { next: 0, response: open.beside.response_counter() };
    Ok(store.raise_role_counters(meter, Role::Firmware, counters).await?)
}

fn content(package: &[u8], block: u32, block_bytes: usize) -> Value {
    let from = block as usize * block_bytes;
    let to = (from + block_bytes).min(package.len());
    Value::Structure(vec![Value::U32(block), Value::Bytes(package[from..to].to_vec())])
}

fn digest_bytes(hexadecimal: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hexadecimal.as_bytes().chunks_exact(2).filter_map(pair).collect()
}

fn refused_package() -> Done {
    let text = "The meter refused the package: not signed by enough for its trust root, not for it, not newer, or damaged; \
                its security log says more";
    (Outcome::Failed(text.to_owned()), Duration::ZERO)
}

fn unfit(what: &'static str) -> AcquisitionError {
    AcquisitionError::Malformed { ring: "Image transfer", what }
}

const IMAGE: u16 = Class::ImageTransfer.id();

/// Attributes and methods of class 18 (IEC 62056-6-2; from memory, not verified against the standard's text).
const BLOCK_SIZE: i8 = 2;
const BLOCKS_STATUS: i8 = 3;
const ENABLED: i8 = 5;
const STATUS: i8 = 6;
const TO_ACTIVATE: i8 = 7;
const INITIATE: i8 = 1;
const BLOCK_TRANSFER: i8 = 2;
const VERIFY: i8 = 3;
const ACTIVATE: i8 = 4;

/// `image_transfer_status`, likewise.
const VERIFYING_STATUS: u64 = 2;
const VERIFIED: u64 = 3;
const VERIFICATION_FAILED: u64 = 4;
const ACTIVATION_FAILED: u64 = 7;

/// The longest block that fits into one message to a meter of ours.
const BLOCK_BYTES_MAX: usize = 2048;
