//! `meterseal boot`: a virtual meter in processes of its own. `make` does what a factory does, once; `run` is the boot stage,
//! the same as the program `meterseal-boot`.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use meterseal_boot::command::{self, CERTIFICATES_FILE, Product, SECRET_FILE};
use meterseal_boot::flash::FileFlash;
use meterseal_boot::stage::{Factory, Stage};
use meterseal_link::Pki;
use meterseal_link::pki::write_secret;
use meterseal_model::{MeterId, Role, UnixMillis};
use meterseal_seal::attestation::Ground;
use meterseal_virtual_meter::DeviceFolder;
use zeroize::Zeroizing;

use crate::up::data_folder::DataFolder;
use crate::up::sealed_files::digits;

/// A virtual meter in processes of its own: its boot stage, and the image that it starts
///
///   meterseal boot make --data meterseal-data --meter MSL0000000009 --out nine \
///       --device-type MS3 --trust trust.cbor --package meter.msfw
///   meterseal boot run --stage nine/stage --meter MSL0000000009 --flash nine/flash.bin \
///       --device-type MS3 -- --folder nine/image --flash nine/flash.bin \
///       --device-type MS3 --headend 127.0.0.1:4059
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<command::Args>),
    Make(Make),
}

/// Make a meter, as a factory does: keys and their certificates, and flash with the first image
///
/// OUT gets `stage/` (the boot stage's secret, which no image may read), `image/` (the image's own keys) and `flash.bin`. The
/// utility's DLMS keys go to DATA/meters/METER, where a head-end that runs on DATA finds them at its next start.
#[derive(Debug, clap::Args)]
struct Make {
    /// Folder with the authorities, as `up` and `headend` have it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The meter's identifier
    #[arg(long, value_name = "METER")]
    meter: MeterId,
    /// The trust root (`meterseal firmware trust`)
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The first image, as a package (`meterseal firmware sign`)
    #[arg(long, value_name = "FILE")]
    package: PathBuf,
    #[command(flatten)]
    product: Product,
    /// Where to make it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Args, out: &mut impl Write) -> Result<()> {
    match &arguments.command {
        Command::Run(arguments) => {
            crate::up::log_to_stderr();
            Ok(command::run(arguments)?)
        }
        Command::Make(arguments) => make(arguments, out),
    }
}

fn make(arguments: &Make, out: &mut impl Write) -> Result<()> {
    let Make { data, meter, trust, package, product, out: folder } = arguments;
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let factory = Factory { root: read(trust)?, package: read(package)? };
    let pki = Pki::open(&data.join("pki"))
        .context("the data folder has no authorities yet: start `up` on it once")?;
    let keys = data.join("meters").join(meter.to_string());
    for taken in [folder, &keys] {
        if taken.exists() {
            bail!("{} is there already; give another folder or another meter", taken.display());
        }
    }
    let stage_folder = folder.join("stage");
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&stage_folder)
        .with_context(|| format!("cannot make {}", stage_folder.display()))?;
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut secret[..]).context("the operating system gave no random numbers")?;
    let stage = Stage::new(*meter, &secret, Vec::new(), Ground::Simulated, product.partition());
    let flash = folder.join("flash.bin");
    let chip = FileFlash::open(&flash, product.partition().chip_bytes(FileFlash::SECTOR))?;
    let sync = chip.sync_handle();
    let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
    stage.manufacture(chip, &factory, Some(now)).context("the meter's flash cannot take this package")?;
    sync.sync()?;
    write_secret(&stage_folder.join(SECRET_FILE), &secret[..])?;
    let chain: Vec<u8> =
        pki.certify_boot_key(*meter, stage.boot_key())?.iter().flat_map(|der| der.to_vec()).collect();
    write_secret(&stage_folder.join(CERTIFICATES_FILE), &chain)?;
    let image = DeviceFolder::make(&folder.join("image"), *meter, &pki)?;
    let utility = image.keys_of(Role::Utility).context("the meter has no keys of its utility")?;
    DataFolder::private_folder(&keys)?;
    write_secret(&keys.join("dlms.key"), digits(&utility[..]).as_bytes())?;
    writeln!(out, "{meter}: {}", folder.display())?;
    Ok(())
}
