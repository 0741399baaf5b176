//! Accesses of any width to a BAR of words of 32 bits: a port's, and a virtual function's.

use crate::slot::Slot;

/// Reads word by word. `section`: where registers are read, what says that they have 32 bits.
#[inline]
pub(super) fn read(slot: &Slot<'_>, section: Option<&'static str>, offset: u32, width: u8, mut word: impl FnMut(u32) -> u32) -> u64 {
    match width {
        4 => word(offset).into(),
        8 => u64::from(word(offset)) | u64::from(word(offset + 4)) << 32,
        _ => {
            if let Some(section) = section {
                slot.violation("a register was read with less than 32 bits", format_args!("offset {offset:#07x}"), 0, section);
            }
            u64::from(word(offset & !3)) >> (8 * (offset & 3))
        }
    }
}

/// Writes word by word; narrower writes do nothing.
#[inline]
pub(super) fn write(slot: &Slot<'_>, section: Option<&'static str>, offset: u32, width: u8, value: u64, mut word: impl FnMut(u32, u32)) {
    match (width, section) {
        (4, _) => word(offset, value as u32),
        (8, _) => {
            word(offset, value as u32);
            word(offset + 4, (value >> 32) as u32);
        }
        (_, Some(section)) => slot.violation("a register was written with less than 32 bits", format_args!("offset {offset:#07x}"), value, section),
        (_, None) => {}
    }
}
