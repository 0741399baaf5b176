//! What the card remembers of its clock and of stamps.

use super::clock::SystemTime;

/// The clock, and the stamps that are kept until they are read.
#[derive(Debug, Default)]
pub(in crate::ixgbe) struct Time {
    pub(super) clock: SystemTime,
    pub(super) received: Latch,
    pub(super) sent: Latch,
}

/// A stamp in registers.
#[derive(Debug, Default)]
pub(in crate::ixgbe) struct Latch {
    value: u64,
    is_valid: bool,
}

impl Latch {
    pub(super) fn is_valid(&self) -> bool {
        self.is_valid
    }

    pub(super) fn low(&self) -> u32 {
        self.value as u32
    }

    /// The upper register, whose read makes room for the next stamp.
    pub(super) fn take_high(&mut self) -> u32 {
        self.is_valid = false;
        (self.value >> 32) as u32
    }

    pub(super) fn set(&mut self, value: u64) {
        *self = Self { value, is_valid: true };
    }
}
