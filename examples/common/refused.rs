//! Frames that a queue refused: the first of each kind is told, all are counted.

use barewire::TxDrops;

#[derive(Default)]
pub(crate) struct Refused {
    pub(crate) drops: TxDrops,
    /// How many causes were told.
    told: usize,
}

impl Refused {
    pub(crate) fn frames(&self) -> u64 {
        self.drops.frames()
    }

    /// What is to be told of `device`: each cause that came up since the last call.
    #[must_use]
    pub(crate) fn news(&mut self, device: &str) -> Vec<String> {
        let new = self.drops.by_cause().skip(std::mem::replace(&mut self.told, self.drops.by_cause().len()));
        new.map(|(why, _)| format!("{device}: not sent: {why}; others like it are counted (refused=)")).collect()
    }
}
