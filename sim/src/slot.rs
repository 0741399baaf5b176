//! What a card finds where it is plugged in.

use std::fmt;

use crate::violation::Violations;

/// The slot that a model is plugged into, for one access or step: the time, the carrier of its port, where interrupts go, and who takes note of violations.
///
/// Only adapters make one: who has it can write to the model's registers, and with that make it access any memory of its domain.
pub struct Slot<'a> {
    now_us: u64,
    carrier: bool,
    violations: &'a Violations,
    interrupt: &'a dyn Fn(u16),
}

impl<'a> Slot<'a> {
    /// `interrupt` delivers the message of an MSI-X vector.
    pub(crate) fn new(now_us: u64, carrier: bool, violations: &'a Violations, interrupt: &'a dyn Fn(u16)) -> Self {
        Self { now_us, carrier, violations, interrupt }
    }

    /// The card's clock, in microseconds. Never goes back.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Whether the port has a carrier.
    pub fn carrier(&self) -> bool {
        self.carrier
    }

    /// Delivers the message of an MSI-X vector.
    pub fn interrupt(&self, vector: u16) {
        (self.interrupt)(vector);
    }

    /// Records that the driver did something that the datasheet forbids.
    #[cold]
    pub fn violation(&self, what: &'static str, location: fmt::Arguments<'_>, value: u64, section: &'static str) {
        self.violations.record(what, location, value, section);
    }
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("now_us", &self.now_us).field("carrier", &self.carrier).finish_non_exhaustive()
    }
}
