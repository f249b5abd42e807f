//! The virtual meters of `up`: who they are, where they stand, and the way from the page's buttons to their sites.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use meterseal_device::Device;
use meterseal_device::wifi::Wifi;
use meterseal_headend::{StimulusError, VirtualSites};
use meterseal_model::{MeterId, Stimulus};
use meterseal_world::site::SiteKind;

/// One of the meters that `up` starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) serial: u64,
    pub(crate) name: &'static str,
    pub(crate) site: &'static str,
    pub(crate) kind: SiteKind,
}

/// A factory, a home with PV and a battery, a commercial building.
pub(crate) const PLANS: [Plan; 3] = [
    Plan { serial: 1, name: "Factory", site: "factory", kind: SiteKind::Factory },
    Plan { serial: 2, name: "Home with PV and battery", site: "home", kind: SiteKind::HomeSolar },
    Plan { serial: 3, name: "Commercial building", site: "commercial", kind: SiteKind::Commercial },
];

impl Plan {
    /// The meter's identifier.
    pub(crate) fn id(&self) -> MeterId {
        MeterId::new(*b"MSL", self.serial).expect("three capital letters and a short serial number")
    }
}

/// The running devices, each with its radio; empty before they start and after they stop.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    devices: Mutex<Vec<(Device, Wifi)>>,
}

impl Sites {
    pub(crate) fn add(&self, device: Device, radio: Wifi) {
        self.lock().push((device, radio));
    }

    /// Where the meters' local ports listen.
    pub(crate) fn local_addresses(&self) -> Vec<(MeterId, SocketAddr)> {
        self.lock().iter().filter_map(|(device, _)| Some((device.id(), device.local_address()?))).collect()
    }

    /// Takes the devices out, to stop them.
    pub(crate) fn take(&self) -> Vec<Device> {
        std::mem::take(&mut *self.lock()).into_iter().map(|(device, _)| device).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Device, Wifi)>> {
        // The list is whole between any two operations, even where a thread panicked.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VirtualSites for Sites {
    fn apply(&self, meter: MeterId, stimulus: Stimulus) -> Result<(), StimulusError> {
        let devices = self.lock();
        let found = devices.iter().find(|(device, _)| device.id() == meter);
        let (device, radio) = found.ok_or(StimulusError::UnknownSite)?;
        if radio.apply(stimulus) {
            return Ok(());
        }
        device.apply(stimulus).map_err(|_| StimulusError::NotRunning)
    }
}
