//! Vectors as a server has them that models the whole function: their messages go by the MSI-X table's mask bits and by Message Control, in which a reset
//! leaves all masked and off.

use std::ops::Range;

use super::{Device, MSIX, raise};

const COUNT: u32 = 3;
/// The table in BAR 2; of each entry's 16 bytes the last four are Vector Control, of which bit 0 masks.
const TABLE: usize = 0x3000;
/// Bits of the upper byte of Message Control: on, and all masked.
const ENABLE: u8 = 1 << 7;
const FUNCTION_MASK: u8 = 1 << 6;

fn control_at(vector: u32) -> usize {
    TABLE + 16 * vector as usize + 12
}

impl Device {
    pub(super) fn reset_vectors(&mut self) {
        if self.make.has_masks {
            (0..COUNT).for_each(|vector| self.bar[control_at(vector)..][..4].copy_from_slice(&[1, 0, 0, 0]));
            self.config[usize::from(MSIX) + 3] = 0;
            self.pending.clear();
        }
    }

    pub(super) fn unmask(&mut self, vectors: Range<u32>) {
        vectors.for_each(|vector| self.bar[control_at(vector)] &= !1);
        self.fire_pending();
    }

    fn is_masked(&self, vector: u32) -> bool {
        let is_on = self.config[usize::from(MSIX) + 3] & (ENABLE | FUNCTION_MASK) == ENABLE;
        self.make.has_masks && (!is_on || self.bar[control_at(vector)] & 1 != 0)
    }

    /// Sends a vector's message, or remembers it.
    pub(super) fn fire(&mut self, vector: u32) {
        if self.is_masked(vector) {
            self.pending.insert(vector);
        } else {
            raise(&self.irqs.lock().unwrap()[&(2, vector)]);
        }
    }

    /// Sends what was remembered and is masked no more.
    pub(super) fn fire_pending(&mut self) {
        for vector in std::mem::take(&mut self.pending) {
            self.fire(vector);
        }
    }
}
