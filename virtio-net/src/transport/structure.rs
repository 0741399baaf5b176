//! One of a device's register structures inside of a BAR, and access to it: through the BAR, or through the PCI access window (4.1.4.9).

use alloc::sync::Arc;

use driver_core::host::{PciError, PciFunction, RegSpace};

use crate::regs::pci;

/// The function, shared where the PCI access window is used.
pub(crate) type SharedFunction<F> = Arc<spin::Mutex<F>>;

/// How one structure is reached.
pub(super) enum Way<F: PciFunction> {
    /// Through its BAR.
    Bar(F::Bar),
    /// Through the PCI access window, a capability at `cap` in configuration space (4.1.4.9): slow, and works where the BAR cannot be mapped.
    Window { function: SharedFunction<F>, cap: u16, bar: u8 },
}

impl<F: PciFunction> Clone for Way<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Bar(bar) => Self::Bar(bar.clone()),
            Self::Window { function, cap, bar } => Self::Window { function: function.clone(), cap: *cap, bar: *bar },
        }
    }
}

/// One of the device's structures.
pub(crate) struct Structure<F: PciFunction> {
    pub(super) way: Way<F>,
    /// Where it starts in its BAR.
    pub(super) offset: u32,
    pub(super) len_bytes: u32,
}

impl<F: PciFunction> Clone for Structure<F> {
    fn clone(&self) -> Self {
        Self { way: self.way.clone(), ..*self }
    }
}

impl<F: PciFunction> Structure<F> {
    /// Where `width` bytes at `offset` of the structure lie in its BAR. `None` where they are not inside of it, or not naturally aligned.
    fn at(&self, offset: u32, width: u8) -> Option<u32> {
        let end = offset.checked_add(width.into())?;
        let at = self.offset.checked_add(offset)?;
        (end <= self.len_bytes && at.is_multiple_of(width.into())).then_some(at)
    }

    /// Reads through `bar`, or in the window `width` bytes.
    fn read(&self, offset: u32, width: u8, bar: impl FnOnce(&F::Bar, u32) -> u32) -> u32 {
        let Some(at) = self.at(offset, width) else { return u32::MAX };
        match &self.way {
            Way::Bar(through) => bar(through, at),
            Way::Window { function, cap, bar } => {
                let mut function = function.lock();
                let read = aim(&mut *function, *cap, *bar, at, width).and_then(|()| function.config_read(cap + pci::CAP_PCI_CFG_DATA, width));
                // As a master abort reads: the callers' checks take all ones for a device that is gone.
                read.unwrap_or_else(|error| {
                    log::error!("{error}");
                    u32::MAX
                })
            }
        }
    }

    /// Writes through `bar`, or in the window `width` bytes.
    fn write(&self, offset: u32, width: u8, value: u32, bar: impl FnOnce(&F::Bar, u32)) {
        let Some(at) = self.at(offset, width) else { return };
        match &self.way {
            Way::Bar(through) => bar(through, at),
            Way::Window { function, cap, bar } => {
                let mut function = function.lock();
                let written =
                    aim(&mut *function, *cap, *bar, at, width).and_then(|()| config_write(&mut *function, cap + pci::CAP_PCI_CFG_DATA, width, value));
                if let Err(error) = written {
                    log::error!("{error}");
                }
            }
        }
    }
}

/// 64-bit fields go by the default's two accesses. 4.1.3.1: "For 64-bit fields, the driver MAY access each of the high and low 32-bit parts of the field
/// independently."
impl<F: PciFunction> RegSpace for Structure<F> {
    fn len_bytes(&self) -> usize {
        self.len_bytes as usize
    }
    fn read8(&self, offset: u32) -> u8 {
        self.read(offset, 1, |bar, at| bar.read8(at).into()) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        self.read(offset, 2, |bar, at| bar.read16(at).into()) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        self.read(offset, 4, F::Bar::read32)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.write(offset, 1, value.into(), |bar, at| bar.write8(at, value));
    }
    fn write16(&self, offset: u32, value: u16) {
        self.write(offset, 2, value.into(), |bar, at| bar.write16(at, value));
    }
    fn write32(&self, offset: u32, value: u32) {
        self.write(offset, 4, value, |bar, at| bar.write32(at, value));
    }
}

/// Points the PCI access window at `width` bytes at `offset` of a BAR.
fn aim<F: PciFunction>(function: &mut F, cap: u16, bar: u8, offset: u32, width: u8) -> Result<(), PciError> {
    config_write(function, cap + pci::CAP_BAR, 1, bar.into())?;
    config_write(function, cap + pci::CAP_OFFSET, 4, offset)?;
    config_write(function, cap + pci::CAP_LENGTH, 4, width.into())
}

/// Writes to the PCI access window.
fn config_write<F: PciFunction>(function: &mut F, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
    // SAFETY: the window leads to the structures that this crate writes through BARs otherwise: see `Finder::bar`.
    #[allow(unsafe_code, reason = "whoever writes registers answers for what the device does to memory")]
    unsafe {
        function.config_write(offset, width, value)
    }
}
