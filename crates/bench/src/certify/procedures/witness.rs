//! The bench as the witness of the meter's sealed log: it keeps checkpoints and leaves, as a head-end does, and judges what comes after them.

use meterseal_link::Value;
use meterseal_model::{Obis, Role};
use meterseal_seal::SealPublicKey;
use meterseal_seal::log::{Checkpoint, LogHash, LogId, Peaks};

use super::callers::{get, must, octets};
use crate::certify::{Bench, Speaker, Trouble};

const PROFILE_GENERIC: u16 = 7;
const DATA: u16 = 1;

/// What a witness holds of a meter's log.
pub(super) struct Witness {
    pub(super) key: SealPublicKey,
    pub(super) log: LogId,
    pub(super) newest: Option<(Checkpoint, Vec<u8>)>,
    pub(super) leaves: Vec<Vec<u8>>,
}

/// What a witness makes of the newest checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The log has grown out of what is known.
    Grown,
    /// Something is wrong with it, and what.
    Refused(String),
}

/// Leaves in one request.
const LEAVES_AT_ONCE: u32 = 20;
/// A checkpoint that is due comes within this time: the meter's pace is one in 75 s at the least.
const SIGNED_SECONDS: u32 = 240;

impl Witness {
    /// Takes the meter's key and the log's name at the first contact. `None`: it has no key.
    pub(super) fn pin(bench: &mut Bench<'_>) -> Result<Option<Self>, Trouble> {
        let key = octets(bench, Obis::LOG_KEY)?;
        let log = octets(bench, Obis::LOG_ID)?;
        let key = SealPublicKey::from_der(&key).ok().or_else(|| certified_key(&key));
        let log = log.try_into().ok().map(LogId);
        Ok(key.zip(log).map(|(key, log)| Self { key, log, newest: None, leaves: Vec::new() }))
    }

    /// Waits until the meter has signed all that its log has now, and judges that.
    pub(super) fn look(&mut self, bench: &mut Bench<'_>, role: Role) -> Result<Word, Trouble> {
        bench.pass(5.0)?;
        let mut speaker = must(bench, role)?;
        let word = self.look_through(bench, &mut speaker);
        speaker.close(bench.target())?;
        word
    }

    fn look_through(&mut self, bench: &mut Bench<'_>, speaker: &mut Speaker) -> Result<Word, Trouble> {
        let known = self.newest.as_ref().map_or(0, |(checkpoint, _)| checkpoint.number);
        let wanted = read(bench, speaker, (PROFILE_GENERIC, Obis::SEALED_LEAVES, 7))?.as_u64().unwrap_or(0);
        let mut waited = 0;
        loop {
            let signed = read(bench, speaker, (DATA, Obis::LOG_CHECKPOINT, 2))?;
            let signed = signed.as_bytes().unwrap_or_default().to_vec();
            let covers = |checkpoint: &Checkpoint| checkpoint.size >= wanted || checkpoint.number < known;
            if Checkpoint::unverified(&signed).is_some_and(|checkpoint| covers(&checkpoint))
                || waited > SIGNED_SECONDS
            {
                return self.judge(bench, speaker, signed);
            }
            bench.pass(5.0)?;
            waited += 5;
        }
    }

    fn judge(
        &mut self,
        bench: &mut Bench<'_>,
        speaker: &mut Speaker,
        signed: Vec<u8>,
    ) -> Result<Word, Trouble> {
        let refused = |why: String| Ok(Word::Refused(why));
        let checkpoint = match Checkpoint::verify(&signed, std::slice::from_ref(&self.key)) {
            Ok(verified) => *verified.checkpoint(),
            Err(error) => return refused(error.to_string()),
        };
        if checkpoint.log != self.log {
            return refused("it is of another log".to_owned());
        }
        if let Some((old, _)) = &self.newest {
            let after =
                checkpoint.number >= old.number && checkpoint.size >= old.size && checkpoint.boot >= old.boot;
            if !after {
                return refused(format!(
                    "checkpoint {} over {} leaves comes after {} over {}",
                    checkpoint.number, checkpoint.size, old.number, old.size
                ));
            }
        }
        let mut leaves = self.leaves.clone();
        read_leaves(bench, speaker, &mut leaves, checkpoint.size)?;
        let mut peaks = Peaks::new();
        leaves.iter().take(checkpoint.size as usize).for_each(|leaf| peaks.append(hash_of(leaf)));
        if leaves.len() as u64 != checkpoint.size || peaks.root() != checkpoint.root {
            return refused("what it signed is not what was known and what it gives".to_owned());
        }
        self.leaves = leaves;
        self.newest = Some((checkpoint, signed));
        Ok(Word::Grown)
    }
}

/// A leaf that is given as 32 bytes is its hash alone.
pub(super) fn hash_of(leaf: &[u8]) -> LogHash {
    <[u8; LogHash::LENGTH]>::try_from(leaf).map_or_else(|_| LogHash::of_leaf(leaf), LogHash)
}

/// The key of the first of the certificates that stand one after another.
fn certified_key(bytes: &[u8]) -> Option<SealPublicKey> {
    let &[0x30, 0x82, high, low, ..] = bytes else { return None };
    let own = bytes.get(..4 + usize::from(u16::from_be_bytes([high, low])))?;
    meterseal_seal::request::certified_key(own)
}

/// Reads what must be there.
fn read(bench: &mut Bench<'_>, speaker: &mut Speaker, item: (u16, Obis, i8)) -> Result<Value, Trouble> {
    let value = get(bench, speaker, item)?;
    value.map_err(|why| Trouble::Meter(format!("its {} cannot be read: {why}", item.1)))
}

fn read_leaves(
    bench: &mut Bench<'_>,
    speaker: &mut Speaker,
    leaves: &mut Vec<Vec<u8>>,
    size: u64,
) -> Result<(), Trouble> {
    while (leaves.len() as u64) < size {
        let first = leaves.len() as u32 + 1;
        let last = (first + LEAVES_AT_ONCE - 1).min(u32::try_from(size).unwrap_or(u32::MAX));
        let rows = speaker.ask(bench.target(), async |client| {
            client.profile_by_entry(Obis::SEALED_LEAVES, first, last, LEAVES_AT_ONCE as usize).await
        })?;
        let rows = rows.map_err(|why| Trouble::Meter(format!("leaves of its log cannot be read: {why}")))?;
        let read = rows.iter().filter_map(|row| Some(row.get(1)?.as_bytes()?.to_vec()));
        let before = leaves.len();
        leaves.extend(read);
        if leaves.len() == before {
            break;
        }
    }
    Ok(())
}
