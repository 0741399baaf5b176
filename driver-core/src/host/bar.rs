//! Access to one base address register's window, as a trait so that a simulated card sees each access.

use core::fmt;

/// Bounds-checked access to one BAR. Offsets are in bytes from the start of the BAR.
///
/// An access that is out of range or not naturally aligned behaves as a PCI Express master abort does: it reads all ones, and a write is lost.
/// Drivers therefore compare [`Bar::len_bytes`] once against what the datasheet promises when they open a device,
/// and take a validated [`Doorbell`] for registers that a data path writes.
///
/// Values are in the processor's byte order; implementations convert, since PCI is little endian.
///
/// A `Bar` is a cheap handle: queues on different threads each own a clone.
pub trait Bar: Clone + Send + 'static {
    /// What [`Bar::doorbell`] gives.
    type Doorbell: Doorbell;

    /// The size of the window in bytes.
    fn len_bytes(&self) -> usize;
    /// Reads 8 bits.
    fn read8(&self, offset: u32) -> u8;
    /// Reads 16 bits.
    fn read16(&self, offset: u32) -> u16;
    /// Reads 32 bits.
    fn read32(&self, offset: u32) -> u32;
    /// Reads 64 bits.
    fn read64(&self, offset: u32) -> u64;
    /// Writes 8 bits.
    fn write8(&self, offset: u32, value: u8);
    /// Writes 16 bits.
    fn write16(&self, offset: u32, value: u16);
    /// Writes 32 bits.
    fn write32(&self, offset: u32, value: u32);
    /// Writes 64 bits.
    fn write64(&self, offset: u32, value: u64);

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
pub struct BarError {
    /// The offset asked for, in bytes.
    pub offset: u32,
    /// The size of the BAR in bytes.
    pub len_bytes: usize,
}

impl fmt::Display for BarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "register offset {:#x} is not an aligned address inside a BAR of {:#x} bytes: the card is not the one the driver was written for, or its BAR was mapped in part",
            self.offset, self.len_bytes
        )
    }
}

impl core::error::Error for BarError {}
