//! The image's end of the socket that its boot stage gave it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use crate::handover::Handover;

/// What an image has of its boot stage.
#[derive(Debug)]
pub struct BootLink(UnixStream);

impl BootLink {
    /// Takes what the boot stage hands over. The first thing that an image does, and once.
    ///
    /// # Errors
    /// This process was not started by a boot stage, or that one is gone.
    pub fn open() -> io::Result<(Self, Handover)> {
        let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let handover = Handover::receive(&mut stream)?;
        Ok((Self(stream), handover))
    }

    /// Another hand on the same socket.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// A sign of life. One that cannot be told is not: then the boot stage is gone, which [`Self::wait`] tells.
    pub fn beat(&self) {
        let _ = (&self.0).write(&[1]);
    }

    /// Waits until the boot stage is gone.
    pub fn wait(&self) {
        let mut nothing = [0; 16];
        loop {
            match (&self.0).read(&mut nothing) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
