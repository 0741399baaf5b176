//! The MSI-X table and pending bits (PCI Local Bus Specification 3.0, section 6.8.2).

use crate::slot::Slot;

/// Bytes of one table entry: address low, address high, data, vector control.
const ENTRY_BYTES: usize = 16;
/// Vector control: the entry is masked.
const MASKED: u32 = 1;

/// A function's MSI-X table with its pending bits.
#[derive(Debug, Clone)]
pub struct Msix {
    entries: Vec<[u32; 4]>,
    pending: Vec<u32>,
    enabled: bool,
    function_masked: bool,
}

impl Msix {
    /// A table of `count` masked entries.
    pub fn new(count: u16) -> Self {
        let count = usize::from(count);
        Self { entries: vec![[0, 0, 0, MASKED]; count], pending: vec![0; count.div_ceil(32)], enabled: false, function_masked: false }
    }

    /// How many vectors there are.
    pub fn count(&self) -> u16 {
        self.entries.len() as u16
    }

    /// As after a reset.
    pub fn reset(&mut self) {
        *self = Self::new(self.count());
    }

    /// Follows the Message Control register: MSI-X Enable and Function Mask.
    pub fn control(&mut self, slot: &Slot<'_>, enabled: bool, function_masked: bool) {
        (self.enabled, self.function_masked) = (enabled, function_masked);
        self.deliver_pending(slot);
    }

    /// Programs and unmasks the first `count` entries and turns MSI-X on, as an operating system does for a user-space driver.
    pub fn program(&mut self, slot: &Slot<'_>, count: u16) {
        for (vector, entry) in self.entries.iter_mut().enumerate() {
            *entry = if vector < usize::from(count) { [0xfee0_0000, 0, vector as u32, 0] } else { [0, 0, 0, MASKED] };
        }
        self.control(slot, true, false);
    }

    /// Whether MSI-X is on.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Sends a vector's message, or marks it pending where it is masked. Nothing happens where MSI-X is off.
    pub fn raise(&mut self, slot: &Slot<'_>, vector: u16) {
        let Some(entry) = self.entries.get(usize::from(vector)) else { return };
        if !self.enabled {
            return;
        }
        if self.function_masked || entry[3] & MASKED != 0 {
            self.pending[usize::from(vector) / 32] |= 1 << (vector % 32);
        } else {
            slot.interrupt(vector);
        }
    }

    /// Reads an aligned 32-bit word of the table.
    pub fn table_read(&self, offset: usize) -> u32 {
        self.entries.get(offset / ENTRY_BYTES).map_or(0, |entry| entry[offset % ENTRY_BYTES / 4])
    }

    /// Writes an aligned 32-bit word of the table.
    pub fn table_write(&mut self, slot: &Slot<'_>, offset: usize, value: u32) {
        if let Some(entry) = self.entries.get_mut(offset / ENTRY_BYTES) {
            entry[offset % ENTRY_BYTES / 4] = value;
            self.deliver_pending(slot);
        }
    }

    /// Masks or unmasks an entry. What is pending for it is sent when it is unmasked.
    pub fn set_masked(&mut self, slot: &Slot<'_>, vector: u16, masked: bool) {
        let Some(entry) = self.entries.get_mut(usize::from(vector)) else { return };
        let control = if masked { entry[3] | MASKED } else { entry[3] & !MASKED };
        if std::mem::replace(&mut entry[3], control) != control {
            self.deliver_pending(slot);
        }
    }

    /// Reads an aligned 32-bit word of the pending bits.
    pub fn pending_read(&self, offset: usize) -> u32 {
        self.pending.get(offset / 4).copied().unwrap_or(0)
    }

    fn deliver_pending(&mut self, slot: &Slot<'_>) {
        if !self.enabled || self.function_masked {
            return;
        }
        for (vector, entry) in self.entries.iter().enumerate() {
            let bit = 1 << (vector % 32);
            if self.pending[vector / 32] & bit != 0 && entry[3] & MASKED == 0 {
                self.pending[vector / 32] &= !bit;
                slot.interrupt(vector as u16);
            }
        }
    }
}
