//! What the log costs: `log_cost WHAT SIZE TIMES` does one thing so many times on a log of so many leaves, for valgrind to
//! count (`cargo xtask bench log`). `log_cost list` names what there is.

use meterseal_model::UnixMillis;
use meterseal_seal::log::{
    Body, Checkpoint, Interval, Leaf, LogHash, LogId, Newest, Peaks, SaltKey, Subtrees, Totals,
    consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
use meterseal_seal::{SealKey, Signer as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|what| what == "list") {
        WHAT.iter().for_each(|what| println!("{what}"));
        return Ok(());
    }
    let [what, size, times] = &arguments[..] else { return Err("log_cost WHAT SIZE TIMES".into()) };
    let (size, times): (u64, u64) = (size.parse()?, times.parse()?);
    let mut every = Every::new();
    let root = meterseal_seal::log::proof::root(&mut every, size)?;
    let key = SealKey::generate(|bytes| {
        bytes.fill(7);
        Ok::<(), std::convert::Infallible>(())
    })?;
    let salts = SaltKey::new([9; 32]);
    let (index, old) = (size / 3, size / 3 + 1);
    let inclusion = inclusion_proof(&mut every, index, size)?;
    let consistency = consistency_proof(&mut every, old, size)?;
    let old_root = meterseal_seal::log::proof::root(&mut every, old)?;
    let peaks = peaks(&mut every, size)?;
    let checkpoint = checkpoint(size, root);
    let signed = checkpoint.sign(&key)?;
    for time in 0..times {
        let held = match what.as_str() {
            "leaf" => LogHash::of_leaf(&leaf(&salts, time)) != every.leaf,
            "append" => {
                let mut peaks = peaks.clone();
                peaks.append(every.leaf);
                peaks.size() == size + 1
            }
            "append of 64" => {
                let mut peaks = peaks.clone();
                (0..64).for_each(|_| peaks.append(every.leaf));
                peaks.size() == size + 64
            }
            "root" => peaks.root() == root,
            "inclusion proof" => inclusion_proof(&mut every, index, size)? == inclusion,
            "inclusion verified" => verify_inclusion(&every.leaf, index, size, &inclusion, &root),
            "consistency proof" => consistency_proof(&mut every, old, size)? == consistency,
            "consistency verified" => verify_consistency(old, &old_root, size, &root, &consistency),
            "checkpoint, without the signature" => checkpoint.draft(key.key_id()).to_be_signed().len() > 100,
            "checkpoint signed" => checkpoint.sign(&key)? == signed,
            "checkpoint verified" => Checkpoint::verify(&signed, std::slice::from_ref(key.public())).is_ok(),
            _ => return Err(format!("there is no {what}").into()),
        };
        assert!(held, "{what}");
    }
    Ok(())
}

const WHAT: [&str; 11] = [
    "leaf",
    "append",
    "append of 64",
    "root",
    "inclusion proof",
    "inclusion verified",
    "consistency proof",
    "consistency verified",
    "checkpoint, without the signature",
    "checkpoint signed",
    "checkpoint verified",
];

/// A log in which all leaves are equal: the hash of a subtree is its level's, so that any size takes no memory. Reading
/// it costs nothing, as reading a flash is the caller's to count.
struct Every {
    leaf: LogHash,
    levels: Vec<LogHash>,
}

impl Every {
    fn new() -> Self {
        let leaf = LogHash::of_leaf(b"an entry");
        let mut levels = vec![leaf];
        for level in 0..40 {
            levels.push(LogHash::of_node(&levels[level], &levels[level]));
        }
        Self { leaf, levels }
    }
}

impl Subtrees for Every {
    type Error = std::convert::Infallible;

    fn subtree(&mut self, _: u64, level: u32) -> Result<Option<LogHash>, Self::Error> {
        Ok(self.levels.get(level as usize).copied())
    }
}

fn peaks(every: &mut Every, size: u64) -> Result<Peaks, Box<dyn std::error::Error>> {
    let mut hashes = Vec::new();
    for level in (0..40).rev().filter(|level| size >> level & 1 == 1) {
        hashes.extend(every.subtree(0, level)?);
    }
    Ok(Peaks::from_parts(size, &hashes)?)
}

fn leaf(salts: &SaltKey, sequence: u64) -> Vec<u8> {
    let totals = Totals {
        active_import_milliwatt_hours: 12_345_678_901,
        active_export_milliwatt_hours: 1_234_567,
        reactive_import_millivar_hours: 2_345_678_901,
        reactive_export_millivar_hours: 345_678,
    };
    let time = UnixMillis(1_795_373_820_000);
    let mean_voltage_centivolts = [23_012, 22_987, 23_104];
    let interval = Interval { row: sequence, time, status: 0, totals, mean_voltage_centivolts };
    Leaf::new(LogId([5; 16]), sequence, Body::Interval(interval), salts).encode()
}

fn checkpoint(size: u64, root: LogHash) -> Checkpoint {
    Checkpoint {
        meter: "MSL0000000001".parse().expect("an identifier"),
        log: LogId([5; 16]),
        number: 1000,
        size,
        root,
        time: UnixMillis(1_795_373_820_000),
        uptime_ms: 1_000_000,
        boot: 3,
        newest: Newest { event: 100, interval: size, reading: 300, billing: 10 },
        previous: Some(root),
    }
}
