//! Numbered frames: what is missing, and what came twice.

use crate::{Frame, HarmonicAnalysis, Harmonics, Metrology, Window};

/// What the numbers of the frames have shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Continuity {
    /// Times that frames were missing.
    pub gaps: u64,
    /// Frames that never came.
    pub missing_samples: u64,
    /// Frames that had come before, and were left out.
    pub duplicated_samples: u64,
}

/// The next number, and what went wrong up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbering {
    next: Option<u64>,
    continuity: Continuity,
}

impl Metrology {
    /// [`push`](Self::push) of frames that the front end has numbered, the first of them `sequence`. Frames that came before are left out. Before
    /// frames that are missing the record ends, with its last window; what follows begins a new one. Energy in a gap is never estimated.
    ///
    /// Returns how many frames were missing before these.
    pub fn push_at(&mut self, sequence: u64, frames: &[Frame], on_window: &mut dyn FnMut(&Window)) -> u64 {
        let (missing, new) = self.number(sequence, frames, &mut |window| on_window(window));
        self.push(new, on_window);
        missing
    }

    /// [`push_at`](Self::push_at), and each window with its harmonics, as by [`push_with_harmonics`](Self::push_with_harmonics). The window that a gap ends
    /// has none.
    pub fn push_at_with_harmonics(
        &mut self,
        sequence: u64,
        frames: &[Frame],
        analysis: &mut HarmonicAnalysis,
        on_window: &mut dyn FnMut(&Window, Option<&Harmonics>),
    ) -> u64 {
        let (missing, new) = self.number(sequence, frames, &mut |window| on_window(window, None));
        self.push_with_harmonics(new, analysis, on_window);
        missing
    }

    /// Counts what is missing before these frames and what came twice, and ends the record where some are missing. Gives how many those are, and the
    /// frames that are new.
    fn number<'a>(
        &mut self,
        sequence: u64,
        frames: &'a [Frame],
        on_window: &mut dyn FnMut(&Window),
    ) -> (u64, &'a [Frame]) {
        let next = self.numbering.next.unwrap_or(sequence);
        let duplicated = next.saturating_sub(sequence).min(frames.len() as u64);
        let missing = sequence.saturating_sub(next);
        let Continuity { gaps, missing_samples, duplicated_samples } = &mut self.numbering.continuity;
        *duplicated_samples += duplicated;
        if missing > 0 {
            *gaps += 1;
            *missing_samples = missing_samples.saturating_add(missing);
            if let Some(window) = self.finish() {
                on_window(&window);
            }
        }
        let end = sequence.saturating_add(frames.len() as u64);
        self.numbering.next = Some(end.max(next));
        (missing, &frames[duplicated as usize..])
    }

    /// Tells that the front end has begun to number anew: the record ends, and the next number may be any.
    pub fn restart_numbering(&mut self) -> Option<Window> {
        self.numbering.next = None;
        self.finish()
    }

    /// What [`push_at`](Self::push_at) has counted.
    pub fn continuity(&self) -> Continuity {
        self.numbering.continuity
    }
}
