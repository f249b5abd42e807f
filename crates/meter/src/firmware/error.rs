//! Why the firmware partition does not do what is asked.

use core::convert::Infallible;
use core::fmt::Debug;

use meterseal_model::{Digest384, Role};
use meterseal_seal::firmware::{PackageError, TrustError, UnpackError};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError<E: Debug> {
    /// The chip or file reported an error.
    #[error("flash: {0:?}")]
    Flash(E),
    /// What was read back was not what had been written.
    #[error("flash holds something else than what was written at byte {offset}: replace the memory")]
    Verify {
        /// Where.
        offset: u32,
    },
    /// The chip is too small, or its geometry is none that the partition can use.
    #[error("the firmware partition needs {need} bytes of flash that is erased in steps of 16 KiB at most")]
    Layout {
        /// Bytes.
        need: usize,
    },
    /// No record of what is in force: never provisioned, or destroyed.
    #[error("the firmware partition holds no boot record: provision it at the factory")]
    Unprovisioned,
    /// Not now.
    #[error("{0}")]
    Order(&'static str),
    /// A size or a block that is not possible.
    #[error("a block or size that this partition cannot hold")]
    Bounds,
    /// Blocks are missing.
    #[error("block {first} and perhaps more are missing: send them")]
    Incomplete {
        /// The first.
        first: u32,
    },
    /// Another role than the one that may.
    #[error("the {0} role may not activate firmware")]
    Role(Role),
    /// What is asked for is refused for what it is.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Why a package, an activation or a trust root is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The package.
    #[error("{0}")]
    Package(#[from] PackageError),
    /// The payload does not become the image that was signed.
    #[error("{0}")]
    Unpack(UnpackError<Infallible>),
    /// The trust root.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// The activation names another image than the one that waits.
    #[error("the image that waits has the digest {have}; activate that one or transfer another")]
    Digest {
        /// The waiting image's.
        have: Digest384,
    },
    /// It was verified under an earlier trust root.
    #[error("the trust root has changed since the image was verified: verify it again")]
    RootChanged,
    /// Its manifest wants a later time.
    #[error("the package is not to be activated yet")]
    TooEarly,
}

impl Refusal {
    /// The number that events carry: 1 package form, 2 signatures, 3 target, 4 sequence, 5 size, 6 payload's digest,
    /// 7 unpacking, 8 trust root, 9 activation.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Package(PackageError::NoPackage | PackageError::Truncated | PackageError::Manifest(_)) => 1,
            Self::Package(PackageError::Sign(_) | PackageError::Trust(_)) => 2,
            Self::Package(PackageError::OtherDevice { .. } | PackageError::OtherHardware { .. }) => 3,
            Self::Package(PackageError::Sequence { .. } | PackageError::TooOld { .. }) => 4,
            Self::Package(PackageError::TooLarge { .. }) => 5,
            Self::Package(PackageError::Payload) => 6,
            Self::Package(PackageError::Base { .. }) | Self::Unpack(_) => 7,
            Self::Trust(_) | Self::RootChanged => 8,
            Self::Digest { .. } | Self::TooEarly => 9,
        }
    }
}

impl<E: Debug> FirmwareError<E> {
    /// From the unpacker, whose memory is this flash.
    pub(super) fn unpacking(error: UnpackError<Self>) -> Self {
        let refusal = match error {
            UnpackError::Memory(error) => return error,
            UnpackError::Key => UnpackError::Key,
            UnpackError::Cipher => UnpackError::Cipher,
            UnpackError::Deflate => UnpackError::Deflate,
            UnpackError::Patch => UnpackError::Patch,
            UnpackError::TooMuch => UnpackError::TooMuch,
            UnpackError::Short => UnpackError::Short,
            UnpackError::Image => UnpackError::Image,
        };
        Self::Refused(Refusal::Unpack(refusal))
    }
}
