//! When a card moves that its program's calls move.

use std::sync::{Arc, Weak};

use crate::clock::SimClock;
use crate::wire::random::Random;

/// How many registers a driver reads before a read is taken for a wait, and moves the card: more than it reads at once for its statistics.
pub(crate) const READS_BETWEEN_STEPS: u32 = 1000;

/// How many steps a card makes in each turn, and by which clock.
pub(crate) struct Schedule {
    clock: Weak<SimClock>,
    random: Option<Random>,
}

impl Schedule {
    /// Without a seed each turn is one step.
    pub(crate) fn new(clock: &Arc<SimClock>, seed: Option<u64>) -> Self {
        Self { clock: Arc::downgrade(clock), random: seed.map(Random::new) }
    }

    pub(crate) fn clock(&self) -> Option<Arc<SimClock>> {
        self.clock.upgrade()
    }

    /// The next turn: how many steps.
    pub(crate) fn turn(&mut self) -> u32 {
        self.random.as_mut().map_or(1, |random| match random.next() % 8 {
            0 => 0,
            1 => 2,
            2 => 3,
            _ => 1,
        })
    }
}
