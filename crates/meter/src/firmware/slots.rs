//! Whether a slot holds what it should: asked at every power-on, of the root, the signatures, the target and the image.

use embedded_storage::nor_flash::NorFlash;
use meterseal_model::Digest384;
use meterseal_seal::firmware::{Manifest, TrustRoot, package};
use sha2::{Digest as _, Sha384};

use super::boot::Loader;
use super::error::FirmwareError;
use super::memory::Memory;
use super::record::{BootRecord, RootPlace, Slot};
use super::store::Target;

impl<F: NorFlash> Memory<F> {
    /// The manifest of the image in a slot, if all of this holds: the root that it was accepted under is there
    /// unchanged, its signatures are good under that root, it is for this device, and it is, byte for byte, the image
    /// that was signed. The bytes that were judged go to `loader`: nothing needs to read them again.
    pub(super) fn verify_slot(
        &mut self,
        record: &BootRecord,
        slot: Slot,
        target: &Target,
        loader: &mut dyn Loader,
    ) -> Result<Option<Manifest>, FirmwareError<F::Error>> {
        let Some(installed) = record.image(slot) else { return Ok(None) };
        let Some(root) = self.read_root(installed.root)? else { return Ok(None) };
        if installed.envelope_bytes > self.map.envelope(slot).length {
            return Ok(None);
        }
        let envelope = self.bytes(self.map.envelope(slot), installed.envelope_bytes)?;
        // No time: a key that has expired since signed the image while it was good.
        let Ok(manifest) = package::signed_manifest(&envelope, &root, None) else { return Ok(None) };
        if !target.fits(&manifest)
            || manifest.image != installed.image
            || manifest.sequence != installed.sequence
        {
            return Ok(None);
        }
        let Ok(size) = u32::try_from(manifest.image.size) else { return Ok(None) };
        loader.begin(size);
        let digest = self.digest(self.map.image(slot), size, |piece| loader.load(piece))?;
        Ok((digest == manifest.image.digest).then_some(manifest))
    }

    /// The root at a place, if it is the one that is meant.
    pub(super) fn read_root(
        &mut self,
        place: RootPlace,
    ) -> Result<Option<TrustRoot>, FirmwareError<F::Error>> {
        let Some(&area) = self.map.roots.get(usize::from(place.place)) else { return Ok(None) };
        if place.bytes > area.length {
            return Ok(None);
        }
        let bytes = self.bytes(area, place.bytes)?;
        if Digest384(Sha384::digest(&bytes).into()) != place.digest {
            return Ok(None);
        }
        Ok(TrustRoot::accepted_before(&bytes).ok())
    }
}
