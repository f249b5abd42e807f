//! What a flaw may change of a specimen; all that it does not is the sound meter's.

use meterseal_bench::certify::{Caller, Line, Memory, Specimen, Stimulus, Trouble, VirtualMeter};
use meterseal_world::physics::LoadPoint;

/// One flaw.
pub trait Flaw {
    /// What reaches the meter of a load.
    fn load(&mut self, meter: &mut VirtualMeter, load: &LoadPoint, turns: f64) {
        meter.load(load, turns);
    }

    /// The chamber.
    fn ambient(&mut self, meter: &mut VirtualMeter, celsius: f64) {
        meter.ambient(celsius);
    }

    /// What reaches it of a stimulus.
    fn stimulate(&mut self, meter: &mut VirtualMeter, stimulus: Stimulus) {
        meter.stimulate(stimulus);
    }

    /// What happens when its supply goes and comes.
    ///
    /// # Errors
    /// As the sound meter's.
    fn supply(&mut self, meter: &mut VirtualMeter, on: bool) -> Result<(), Trouble> {
        meter.supply(on)
    }

    /// How it lives.
    ///
    /// # Errors
    /// As the sound meter's.
    fn pass(&mut self, meter: &mut VirtualMeter, seconds: f64) -> Result<(), Trouble> {
        meter.pass(seconds)
    }

    /// Whom it takes a caller for.
    ///
    /// # Errors
    /// As the sound meter's.
    fn connect(&mut self, meter: &mut VirtualMeter, caller: Caller) -> Result<Line, Trouble> {
        meter.connect(caller)
    }

    /// What it hears.
    ///
    /// # Errors
    /// As the sound meter's.
    fn send(&mut self, meter: &mut VirtualMeter, line: Line, bytes: &[u8]) -> Result<(), Trouble> {
        meter.send(line, bytes)
    }

    /// What it says.
    ///
    /// # Errors
    /// As the sound meter's.
    fn receive(&mut self, meter: &mut VirtualMeter, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        meter.receive(line)
    }

    /// How it is made with energy in its register.
    ///
    /// # Errors
    /// As the sound meter's.
    fn made_with(&mut self, meter: &mut VirtualMeter, kilowatt_hours: f64) -> Result<(), Trouble> {
        meter.made_with(kilowatt_hours)
    }
}

/// A meter with a flaw.
pub struct Defective<F> {
    meter: VirtualMeter,
    flaw: F,
}

impl<F: Flaw + 'static> Defective<F> {
    /// This meter with this flaw.
    pub fn boxed(meter: VirtualMeter, flaw: F) -> Box<dyn Specimen> {
        Box::new(Self { meter, flaw })
    }
}

impl<F: Flaw> Specimen for Defective<F> {
    fn load(&mut self, load: &LoadPoint, turns: f64) {
        self.flaw.load(&mut self.meter, load, turns);
    }

    fn ambient(&mut self, celsius: f64) {
        self.flaw.ambient(&mut self.meter, celsius);
    }

    fn stimulate(&mut self, stimulus: Stimulus) {
        self.flaw.stimulate(&mut self.meter, stimulus);
    }

    fn supply(&mut self, on: bool) -> Result<(), Trouble> {
        self.flaw.supply(&mut self.meter, on)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Trouble> {
        self.flaw.pass(&mut self.meter, seconds)
    }

    fn seconds(&self) -> f64 {
        self.meter.seconds()
    }

    fn pulses(&mut self, into: &mut Vec<f64>) {
        self.meter.pulses(into);
    }

    fn connect(&mut self, caller: Caller) -> Result<Line, Trouble> {
        self.flaw.connect(&mut self.meter, caller)
    }

    fn disconnect(&mut self, line: Line) {
        self.meter.disconnect(line);
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> Result<(), Trouble> {
        self.flaw.send(&mut self.meter, line, bytes)
    }

    fn receive(&mut self, line: Line) -> Result<Option<Vec<u8>>, Trouble> {
        self.flaw.receive(&mut self.meter, line)
    }

    fn memory(&self) -> Memory {
        self.meter.memory()
    }

    fn made_with(&mut self, kilowatt_hours: f64) -> Result<(), Trouble> {
        self.flaw.made_with(&mut self.meter, kilowatt_hours)
    }

    fn equip(&mut self) -> Result<(), Trouble> {
        self.meter.equip()
    }
}
