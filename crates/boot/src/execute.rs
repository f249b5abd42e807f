//! Executes the very bytes that were verified: they go into a file that exists in memory only and is sealed before anything
//! in it runs. The flash is not read a second time, and nobody can write what is sealed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use meterseal_meter::firmware::Loader;
use meterseal_model::Digest384;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest as _, Sha384};

/// An image on its way to be executed: takes the bytes as they are verified.
#[derive(Debug)]
pub struct MemoryImage {
    file: File,
    /// The first thing that went wrong while bytes came.
    failed: Option<io::Error>,
}

/// An image that can only be executed any more.
#[derive(Debug)]
pub struct SealedImage(File);

impl MemoryImage {
    /// An empty one.
    ///
    /// # Errors
    /// The system gives no memory for it.
    pub fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Ok(Self { file: memfd_create(NAME, flags)?.into(), failed: None })
    }

    /// Closes it to every change, and then makes sure that it is still what was verified: until it is sealed, a process of
    /// the same user could have written to it.
    ///
    /// # Errors
    /// It could not be written whole or sealed, or it is another image.
    pub fn seal(mut self, image: &Digest384) -> io::Result<SealedImage> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        fcntl_add_seals(
            &self.file,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        self.file.seek(SeekFrom::Start(0))?;
        let (mut digest, mut piece) = (Sha384::new(), vec![0; 1 << 16]);
        loop {
            match self.file.read(&mut piece)? {
                0 => break,
                count => digest.update(&piece[..count]),
            }
        }
        if digest.finalize().as_slice() != image.0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the image in memory is not the one that was verified: somebody wrote to it",
            ));
        }
        Ok(SealedImage(self.file))
    }
}

impl Loader for MemoryImage {
    fn begin(&mut self, _: u32) {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        self.failed = emptied.err();
    }

    fn load(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
        }
    }
}

impl SealedImage {
    /// A command that executes it. The program must be one that the kernel executes itself: of a script, the kernel would
    /// hand over the name of a file that is closed by then.
    pub fn command(&self) -> Command {
        // In the child this leads to the sealed bytes themselves; the descriptor is closed with the execution.
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.arg0(NAME);
        command
    }
}

/// What the process is called.
const NAME: &str = "meter-image";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    fn digest(bytes: &[u8]) -> Digest384 {
        Digest384(Sha384::digest(bytes).into())
    }

    #[test]
    fn what_runs_is_what_was_loaded_last() {
        let program = std::fs::read("/bin/true").unwrap();
        let mut image = MemoryImage::new().unwrap();
        image.begin(4);
        image.load(b"junk of an image that did not verify, longer than nothing");
        image.begin(program.len() as u32);
        program.chunks(4096).for_each(|piece| image.load(piece));
        let sealed = image.seal(&digest(&program)).unwrap();
        assert!(sealed.command().status().unwrap().success());
        assert!(sealed.command().status().unwrap().success(), "and again");
    }

    #[test]
    fn attack_a_payload_changed_after_verification_and_before_execution() {
        let program = std::fs::read("/bin/true").unwrap();
        // Between the verification and the seal: found out, nothing to execute.
        let mut image = MemoryImage::new().unwrap();
        image.begin(program.len() as u32);
        image.load(&program);
        let intruder = image.file.try_clone().unwrap();
        intruder.write_all_at(b"#!/bin/evil", 0).unwrap();
        assert_eq!(image.seal(&digest(&program)).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // After the seal: not possible.
        let mut image = MemoryImage::new().unwrap();
        image.begin(program.len() as u32);
        image.load(&program);
        let intruder = image.file.try_clone().unwrap();
        let sealed = image.seal(&digest(&program)).unwrap();
        assert!(intruder.write_all_at(b"#!/bin/evil", 0).is_err());
        assert!(intruder.set_len(0).is_err() && intruder.set_len(1 << 20).is_err());
        assert!(sealed.command().status().unwrap().success());
    }
}
