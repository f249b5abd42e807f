//! Connections that procedures open to a specimen, beside the head-end's standing one.

use super::line::note;
use super::specimen::{Line, Specimen};
use crate::certify::{CallId, Called, Caller, Exchange, Received, Trouble};

/// All that were opened.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

struct Call {
    line: Line,
    /// Why it is over.
    closed: Option<String>,
}

impl Calls {
    pub(super) fn open(&mut self, specimen: &mut dyn Specimen, caller: Caller) -> Called {
        match specimen.connect(caller) {
            Ok(line) => {
                self.0.push(Call { line, closed: None });
                Called::Open(CallId((self.0.len() - 1) as u32))
            }
            Err(why) => Called::Refused(why.to_string()),
        }
    }

    fn call(&mut self, call: CallId) -> Result<&mut Call, Trouble> {
        let unknown = || Trouble::Bench(format!("there is no call {}", call.0));
        self.0.get_mut(call.0 as usize).ok_or_else(unknown)
    }

    pub(super) fn send(
        &mut self,
        specimen: &mut dyn Specimen,
        log: &mut Vec<Exchange>,
        call: CallId,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        let call = self.call(call)?;
        if call.closed.is_none() {
            note(log, specimen, true, bytes);
            call.outcome(specimen, |specimen, line| specimen.send(line, bytes));
        }
        Ok(())
    }

    pub(super) fn receive(
        &mut self,
        specimen: &mut dyn Specimen,
        log: &mut Vec<Exchange>,
        call: CallId,
    ) -> Result<Received, Trouble> {
        let call = self.call(call)?;
        if call.closed.is_none()
            && let Some(Some(bytes)) = call.outcome(specimen, |specimen, line| specimen.receive(line))
        {
            note(log, specimen, false, &bytes);
            return Ok(Received::Bytes(bytes));
        }
        Ok(call.closed.clone().map_or(Received::Nothing, Received::Closed))
    }

    pub(super) fn close(&mut self, specimen: &mut dyn Specimen, call: CallId) -> Result<(), Trouble> {
        let call = self.call(call)?;
        if call.closed.is_none() {
            specimen.disconnect(call.line);
            call.closed = Some("the bench closed it".to_owned());
        }
        Ok(())
    }

    /// The meter's supply has gone, or it is another meter now.
    pub(super) fn cut(&mut self) {
        for call in &mut self.0 {
            call.closed.get_or_insert_with(|| "the meter was cut off".to_owned());
        }
    }
}

impl Call {
    /// Does something on the line. An error of the meter's is its way to close it.
    fn outcome<T>(
        &mut self,
        specimen: &mut dyn Specimen,
        act: impl FnOnce(&mut dyn Specimen, Line) -> Result<T, Trouble>,
    ) -> Option<T> {
        match act(specimen, self.line) {
            Ok(outcome) => Some(outcome),
            Err(why) => {
                specimen.disconnect(self.line);
                self.closed = Some(why.to_string());
                None
            }
        }
    }
}
