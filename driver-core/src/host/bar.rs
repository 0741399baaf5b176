//! Access to registers: any space that has some, and a base address register's window, which a data path writes to.
//!
//! Both are traits, so that a simulated card sees each access.

use core::fmt;

/// Registers at byte offsets from the start of some space: a BAR, a structure inside of one, PCI configuration space.
///
/// An access that is out of range or not naturally aligned behaves as a PCI Express master abort does: it reads all ones, and a write is lost.
/// Drivers therefore compare [`RegSpace::len_bytes`] once against what the datasheet promises when they open a device,
/// and take a validated [`Doorbell`] for registers that a data path writes.
///
/// Values are in the processor's byte order; implementations convert, since PCI is little endian.
pub trait RegSpace {
    /// The size of the space in bytes.
    fn len_bytes(&self) -> usize;
    /// Reads 8 bits.
    fn read8(&self, offset: u32) -> u8;
    /// Reads 16 bits.
    fn read16(&self, offset: u32) -> u16;
    /// Reads 32 bits.
    fn read32(&self, offset: u32) -> u32;
    /// Reads 64 bits. Unless an implementation has one access for it, these are two of 32 bits, the low half first: the device may change the value between them.
    fn read64(&self, offset: u32) -> u64 {
        let low = u64::from(self.read32(offset));
        low | u64::from(self.read32(upper_half(offset))) << 32
    }
    /// Writes 8 bits.
    fn write8(&self, offset: u32, value: u8);
    /// Writes 16 bits.
    fn write16(&self, offset: u32, value: u16);
    /// Writes 32 bits.
    fn write32(&self, offset: u32, value: u32);
    /// Writes 64 bits. Unless an implementation has one access for it, these are two of 32 bits, the low half first.
    fn write64(&self, offset: u32, value: u64) {
        self.write32(offset, value as u32);
        self.write32(upper_half(offset), (value >> 32) as u32);
    }
}

/// Where the upper half of a 64-bit register lies. Behind the last offset there is nothing, and certainly not offset 0 again.
fn upper_half(offset: u32) -> u32 {
    offset.saturating_add(4)
}

/// Bounds-checked access to one BAR, a [`RegSpace`] that also gives [`Doorbell`]s. Offsets are in bytes from the start of the BAR.
///
/// A `Bar` is a cheap handle: queues on different threads each own a clone.
pub trait Bar: RegSpace + Clone + Send + 'static {
    /// What [`Bar::doorbell`] gives.
    type Doorbell: Doorbell;

    /// A handle to one register that was validated once and costs one store from then on.
    ///
    /// # Errors
    /// [`BarError`] where `offset` is out of range or not aligned to four bytes.
    fn doorbell(&self, offset: u32) -> Result<Self::Doorbell, BarError>;
}

/// One write-only register that a data path writes, validated when it was made.
pub trait Doorbell: Send + 'static {
    /// Writes 32 bits. The caller has ordered earlier stores with [`crate::barrier::before_doorbell`].
    fn ring(&self, value: u32);
    /// Writes 16 bits at the same offset (virtio's queue notification).
    fn ring16(&self, value: u16);
}

/// A register address that the BAR does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarError {
    /// The offset asked for, in bytes.
    pub offset: u32,
    /// The size of the BAR in bytes.
    pub len_bytes: usize,
}

impl BarError {
    /// `offset` is not one of the BAR, or not aligned; the BAR has `len_bytes` bytes.
    pub const fn new(offset: u32, len_bytes: usize) -> Self {
        Self { offset, len_bytes }
    }
}

impl fmt::Display for BarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "register offset {:#x} is not an aligned address inside a BAR of {:#x} bytes", self.offset, self.len_bytes)
    }
}

impl core::error::Error for BarError {}
