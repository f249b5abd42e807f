//! From power-on to power-on: boots what is in flash, executes it, and watches it. An image that ends, crashes or gives no
//! sign of life is started again by the same decision as at any power-on; so one on probation spends its tries, and the
//! confirmed one comes back.
//!
//! The image has a socket in place of its standard input. Down it comes the [`Handover`](crate::handover::Handover), up it
//! goes a byte for each sign of life. When the boot stage is gone, it reads its end there.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::execute::MemoryImage;
use crate::flash::{FileFlash, FlashError, FlashFileError};
use crate::stage::{Stage, StageError};

/// What the program ends with when it wants to be started again.
pub const RESTART: u8 = 75;

/// How a device is booted.
#[derive(Debug)]
pub struct Supervisor {
    /// The boot stage.
    pub stage: Stage,
    /// The chip.
    pub flash: PathBuf,
    /// What the image gets as arguments.
    pub arguments: Vec<std::ffi::OsString>,
    /// The longest time without a sign of life, from the start on.
    pub patience: Duration,
    /// The first pause after an image has failed; it doubles up to a minute while the confirmed image fails.
    pub pause: Duration,
}

/// How a life of an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, and did.
    Stopped,
    /// It wants to be started again.
    Restart,
    /// It ended otherwise.
    Crashed,
    /// It gave no sign of life, and was ended.
    Hung,
}

impl Supervisor {
    /// Boots again and again until an image stops in order.
    ///
    /// # Errors
    /// [`BootError`]: nothing in flash can be started.
    pub fn run(&self) -> Result<(), BootError> {
        let mut pause = self.pause;
        loop {
            let begin = Instant::now();
            match self.power_on()? {
                End::Stopped => return Ok(()),
                End::Restart => pause = self.pause,
                End::Crashed | End::Hung => {
                    if begin.elapsed() > LONGEST_PAUSE {
                        pause = self.pause;
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// One power-on, and the life of what it starts.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn power_on(&self) -> Result<End, BootError> {
        let mut image = MemoryImage::new().map_err(BootError::Execute)?;
        // Opened anew each time: while an image runs, the chip is the image's.
        let chip = FileFlash::open(&self.flash, self.stage.partition().chip_bytes(FileFlash::SECTOR))?;
        let sync = chip.sync_handle();
        let (booted, handover) = self.stage.power_on(chip, &mut image)?;
        sync.sync()?;
        tracing::info!("boots {booted}");
        let sealed = image.seal(&handover.identity.image).map_err(BootError::Execute)?;
        let (mut ours, theirs) = UnixStream::pair().map_err(BootError::Execute)?;
        let mut command = sealed.command();
        command.args(&self.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        // Not the boot stage's whole environment; what there is belongs to the image's own settings.
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| PASSED_ON.iter().any(|own| name == own)));
        let child = command.spawn();
        // With it goes this side's copy of the image's end: what is read there then ends with the image.
        drop(command);
        let child = match child {
            Ok(child) => child,
            // Not an executable at all: that, too, is an image that does not start.
            Err(error) => {
                tracing::error!("the image cannot be executed: {error}");
                return Ok(End::Crashed);
            }
        };
        // Where this fails the image has ended already, or does not read: it shows below.
        let handed = ours.set_write_timeout(Some(self.patience)).and_then(|()| handover.send(&mut ours));
        drop(handover);
        if let Err(error) = handed {
            tracing::error!("the image does not take what it is handed: {error}");
        }
        let end = self.watch(child, &mut ours).map_err(BootError::Execute)?;
        tracing::info!("the image has ended: {end:?}");
        Ok(end)
    }

    /// Until it ends, or gives no sign of life.
    fn watch(&self, mut child: Child, beats: &mut UnixStream) -> io::Result<End> {
        beats.set_read_timeout(Some(self.patience))?;
        let mut taken = [0; 64];
        loop {
            match beats.read(&mut taken) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return end_it(&mut child);
                }
                // Its end was broken off with something unread.
                Err(_) => break,
            }
        }
        // It has let go of its socket: that is its end, or nobody can see it live any more.
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(match status.code() {
                    Some(0) => End::Stopped,
                    Some(code) if code == i32::from(RESTART) => End::Restart,
                    _ => End::Crashed,
                });
            }
            if Instant::now() >= deadline {
                return end_it(&mut child);
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn end_it(child: &mut Child) -> io::Result<End> {
    child.kill()?;
    child.wait()?;
    Ok(End::Hung)
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The chip.
    #[error(transparent)]
    Flash(#[from] FlashFileError),
    /// The boot stage.
    #[error(transparent)]
    Stage(#[from] StageError<FlashError>),
    /// The image cannot be brought to run.
    #[error("the image cannot be executed: {0}")]
    Execute(io::Error),
}

/// Of the environment, the image gets how much it shall tell.
const PASSED_ON: [&str; 2] = ["RUST_LOG", "RUST_BACKTRACE"];
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
