//! PCI configuration space with its writable bits (PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification 2.1, chapter 7).

use driver_core::host::PciId;

/// Command register: the function answers in its memory BARs.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Command register: the function may start DMA.
pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Offset of the Command register.
pub const COMMAND: u16 = 0x04;

const SIZE: usize = 4096;

/// 4 KiB of configuration space: bytes, and which of their bits a write changes.
///
/// BARs size themselves: the bits below a BAR's size are not writable, so a write of all ones reads back as the size's mask.
#[derive(Clone)]
pub struct ConfigSpace {
    bytes: Box<[u8; SIZE]>,
    writable: Box<[u8; SIZE]>,
    /// Where the next pointer of the last capability lies.
    link: usize,
}

impl ConfigSpace {
    /// A type 0 header without BARs.
    pub fn new(id: &PciId) -> Self {
        let mut config = Self { bytes: Box::new([0; SIZE]), writable: Box::new([0; SIZE]), link: 0x34 };
        config.set(0x00, &id.vendor.to_le_bytes(), &[]);
        config.set(0x02, &id.device.to_le_bytes(), &[]);
        // Memory space, bus master, parity error response, SERR#, interrupt disable; the status register says that there is a capability list.
        config.set(COMMAND.into(), &[0, 0, 0x10, 0], &[0x46, 0x05, 0, 0]);
        config.set(0x08, &(id.class << 8 | u32::from(id.revision)).to_le_bytes(), &[]);
        config.set(0x0c, &[0], &[0xff]);
        config.set(0x2c, &id.subsystem_vendor.to_le_bytes(), &[]);
        config.set(0x2e, &id.subsystem.to_le_bytes(), &[]);
        // Interrupt line is scratch for the host; interrupt pin A.
        config.set(0x3c, &[0xff, 1], &[0xff]);
        config
    }

    /// Adds a 64-bit memory BAR of `len_bytes` (a power of two) at `index` and the one after it.
    pub fn add_bar64(&mut self, index: u8, len_bytes: u64) {
        let at = 0x10 + 4 * usize::from(index);
        self.set(at, &0x4u64.to_le_bytes(), &(!(len_bytes - 1)).to_le_bytes());
    }

    /// Adds a capability at `at`: `body` follows the two bytes of the header, `writable` says which of its bits can be written.
    pub fn add_capability(&mut self, id: u8, at: u8, body: &[u8], writable: &[u8]) {
        self.bytes[self.link] = at;
        self.link = usize::from(at) + 1;
        self.set(at.into(), &[id, 0], &[]);
        self.set(usize::from(at) + 2, body, writable);
    }

    /// Sets bytes and which of their bits are writable (missing ones: none).
    pub fn set(&mut self, at: usize, bytes: &[u8], writable: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.writable[at..at + writable.len()].copy_from_slice(writable);
    }

    /// Reads 1, 2 or 4 bytes, little endian.
    pub fn read(&self, offset: u16, width: u8) -> u32 {
        (0..usize::from(width)).fold(0, |value, i| value | u32::from(self.bytes.get(usize::from(offset) + i).copied().unwrap_or(0xff)) << (8 * i))
    }

    /// Writes the writable bits of 1, 2 or 4 bytes.
    pub fn write(&mut self, offset: u16, width: u8, value: u32) {
        for i in 0..usize::from(width) {
            let at = usize::from(offset) + i;
            if let (Some(byte), Some(&mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = *byte & !mask | (value >> (8 * i)) as u8 & mask;
            }
        }
    }

    /// A 16-bit register.
    pub fn read16(&self, offset: u16) -> u16 {
        self.read(offset, 2) as u16
    }
}
