//! What a device keeps while it has no power.

use alloc::vec::Vec;

/// The checksum of an [`Eeprom`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: what is there and what should be")]
pub struct Checksum {
    /// The word that is stored.
    pub stored: u16,
    /// The word with which the others add up.
    pub computed: u16,
}

impl Checksum {
    /// Whether the content is what was written.
    pub const fn is_good(&self) -> bool {
        self.stored == self.computed
    }
}

/// The content of a device's EEPROM, or of the flash in its place: [`NetDevice::eeprom`](crate::device::NetDevice::eeprom).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eeprom {
    /// All words, from address 0 on.
    pub words: Vec<u16>,
    /// Of the words that the device's checksum covers.
    pub checksum: Checksum,
}

impl Eeprom {
    /// What was read.
    pub const fn new(words: Vec<u16>, checksum: Checksum) -> Self {
        Self { words, checksum }
    }
}
