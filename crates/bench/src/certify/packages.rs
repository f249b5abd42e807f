//! Firmware packages for the tests of updates: good ones, and one for each way in which a package can be bad.
//!
//! Who has the meter's signing keys makes them: the virtual bench itself, for its own meters. A procedure asks for a [`Sample`] and cannot tell
//! where it comes from.

use meterseal_model::Digest384;

/// A kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// Newer than whatever runs, signed as it must be, of an image that works.
    Sound,
    /// The image that the meter was made with.
    First,
    /// No signature.
    Unsigned,
    /// One signer's signature with only the elliptic curve's algorithm good.
    EllipticOnly,
    /// One signer's signature with only the lattice's algorithm good.
    LatticeOnly,
    /// Signed by keys that the meter does not know.
    Stranger,
    /// Signed by fewer than the trust root asks for.
    TooFew,
    /// One of the signers' keys has expired.
    Expired,
    /// One of the signers' keys was in an earlier trust root and is not in the one in force.
    Revoked,
    /// For another vendor's device.
    OtherVendor,
    /// For another device type.
    OtherType,
    /// For another hardware revision.
    OtherHardware,
    /// Bytes of the payload flipped.
    AlteredPayload,
    /// A byte of the manifest flipped.
    AlteredManifest,
    /// Its end is missing.
    Truncated,
    /// One package's manifest, signatures and all, before another's payload.
    Swapped,
    /// Unpacks to far more than its manifest says, and is signed as it must be.
    Bomb,
    /// A good package whose image never comes to anything.
    Hangs,
    /// A good package whose image ends before it does anything.
    Crashes,
    /// A good package whose image ends after a minute.
    CrashesLater,
    /// A good package whose image does not reach its head-end.
    Unreachable,
    /// A good package whose image finds that it measures wrong.
    MeasuresWrong,
}

impl Sample {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sound => "a sound package",
            Self::First => "the image that the meter was made with",
            Self::Unsigned => "no signature",
            Self::EllipticOnly => "only the elliptic signature of one signer",
            Self::LatticeOnly => "only the lattice signature of one signer",
            Self::Stranger => "strangers' signatures",
            Self::TooFew => "too few signers",
            Self::Expired => "an expired key",
            Self::Revoked => "a revoked key",
            Self::OtherVendor => "another vendor",
            Self::OtherType => "another device type",
            Self::OtherHardware => "another hardware revision",
            Self::AlteredPayload => "flipped bytes in the payload",
            Self::AlteredManifest => "a flipped byte in the manifest",
            Self::Truncated => "a truncated package",
            Self::Swapped => "a swapped manifest",
            Self::Bomb => "a decompression bomb",
            Self::Hangs => "an image that hangs",
            Self::Crashes => "an image that crashes at once",
            Self::CrashesLater => "an image that crashes after a minute",
            Self::Unreachable => "an image that does not reach its head-end",
            Self::MeasuresWrong => "an image that measures wrong",
        }
    }
}

/// A package to be offered to a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The package, as it is transferred.
    pub bytes: Vec<u8>,
    /// The digest of the image that it says it holds.
    pub image: Digest384,
    /// Its version.
    pub version: String,
    /// Its sequence number.
    pub sequence: u64,
}
