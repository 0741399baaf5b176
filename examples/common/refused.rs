//! Frames that a queue refused: the first of each kind is told, all are counted.

use std::mem::{Discriminant, discriminant};

use barewire::driver_core::queue::Refusal;

#[derive(Default)]
pub(crate) struct Refused {
    pub(crate) frames: u64,
    told: Vec<Discriminant<Refusal>>,
}

impl Refused {
    /// Counts a frame that `device` refused. Returns what is to be told about it.
    #[must_use]
    pub(crate) fn count(&mut self, device: &str, why: Refusal) -> Option<String> {
        self.frames += 1;
        let kind = discriminant(&why);
        if self.told.contains(&kind) {
            return None;
        }
        self.told.push(kind);
        Some(format!("{device}: not sent: {why}; others like it are counted (refused=)"))
    }
}
