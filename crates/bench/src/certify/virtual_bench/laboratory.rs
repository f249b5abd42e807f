//! A laboratory of virtual benches: as many as there are processors, each with a fresh specimen of the same type.

use super::{Front, Made, NoFront, Specimen, VirtualBench};
use crate::certify::{Endpoint, Laboratory, Target, Trouble};

/// Makes specimens on virtual benches; `wrap` may put something around each.
pub struct VirtualLaboratory<W> {
    made: Made,
    endpoint: Option<Endpoint>,
    places: usize,
    wrap: W,
    front: fn() -> Box<dyn Front>,
}

impl<W, S> VirtualLaboratory<W>
where
    W: Fn(super::VirtualMeter) -> S + Sync,
    S: Specimen + 'static,
{
    /// Of meters like `made`. `endpoint`: where a sample of it serves real connections, for what is probed over the network.
    pub fn new(made: Made, endpoint: Option<Endpoint>, wrap: W) -> Self {
        let places = std::thread::available_parallelism().map_or(1, |count| count.get());
        Self { made, endpoint, places, wrap, front: || Box::new(NoFront) }
    }

    /// With this between the bench and each sample that has sockets.
    #[must_use]
    pub fn with_front(self, front: fn() -> Box<dyn Front>) -> Self {
        Self { front, ..self }
    }

    /// With so many benches at a time.
    #[must_use]
    pub fn with_places(self, places: usize) -> Self {
        Self { places, ..self }
    }
}

impl<W, S> Laboratory for VirtualLaboratory<W>
where
    W: Fn(super::VirtualMeter) -> S + Sync,
    S: Specimen + 'static,
{
    fn places(&self) -> usize {
        self.places
    }

    fn target(&self, seed: u64) -> Result<Box<dyn Target + '_>, Trouble> {
        let specimen = (self.wrap)(self.made.specimen(seed)?);
        Ok(Box::new(VirtualBench::new(specimen, &self.made, self.endpoint.clone()).with_front(self.front)))
    }
}
