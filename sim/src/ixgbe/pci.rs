//! Configuration space (9.3).

use super::{Ixgbe, IxgbeOptions};
use crate::config::{COMMAND, COMMAND_BUS_MASTER, ConfigSpace};
use crate::model::{Legacy, Model};
use crate::slot::Slot;

const INTEL: u16 = 0x8086;
/// Ethernet controller.
const CLASS: u32 = 0x02_0000;

/// BAR 0: registers and flash (9.3.6.1). BAR 4: MSI-X.
pub(super) const REGISTERS_BYTES: u32 = 512 * 1024;
pub(super) const MSIX_BYTES: u32 = 16 * 1024;
/// Where the pending bits lie in BAR 4.
pub(super) const MSIX_PENDING: u32 = 0x2000;
/// 64 vectors (9.3.9).
pub(super) const VECTORS: u16 = 64;

/// The Status register's bit that shows INTA#, and the Command register's that keeps it silent.
const STATUS: u16 = 0x06;
const STATUS_INTERRUPT: u32 = 1 << 3;
const COMMAND_INTERRUPT_DISABLE: u16 = 1 << 10;
/// Message Control of MSI, and of MSI-X.
const MSI_CONTROL: u16 = 0x52;
const MSI_ENABLE: u16 = 1;
const MSI_MASK: u16 = 0x60;
const MSIX_CONTROL: u16 = 0x72;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;
const DEVICE_CONTROL: u16 = 0xA8;
const DEVICE_CONTROL_FLR: u16 = 1 << 15;

/// Configuration space after a reset.
pub(super) fn config_space(options: &IxgbeOptions) -> ConfigSpace {
    let mut config = ConfigSpace::new(INTEL, options.device, 1, CLASS, (INTEL, 0x0003));
    config.add_bar64(0, REGISTERS_BYTES.into());
    config.add_bar64(4, MSIX_BYTES.into());
    // Power management: version 3, D3; the state and PME enable are writable (9.3.7).
    config.add_capability(0x01, 0x40, &[0x23, 0x48, 0x00, 0x20], &[0, 0, 0x03, 0x01]);
    // MSI: one vector, 64-bit address, masking (9.3.8): control, address, data, mask, pending.
    let mut msi = [0; 22];
    (msi[0], msi[1]) = (0x80, 0x01);
    config.add_capability(0x05, 0x50, &msi, &[0x01, 0, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0x01]);
    // MSI-X: 64 vectors; table and pending bits in BAR 4 (9.3.9).
    let control = (VECTORS - 1).to_le_bytes();
    let pending = (MSIX_PENDING | 4).to_le_bytes();
    let body = [control[0], control[1], 4, 0, 0, 0, pending[0], pending[1], pending[2], pending[3]];
    config.add_capability(0x11, 0x70, &body, &[0, 0xC0]);
    config.add_capability(0x10, 0xA0, &pcie_capability(), &PCIE_WRITABLE);
    // Extended capabilities: advanced error reporting, and the serial number made of the address (9.4.1, 9.4.2).
    config.set(0x100, &(0x0001u32 | 1 << 16 | 0x140 << 20).to_le_bytes(), &[]);
    config.set(0x108, &0u32.to_le_bytes(), &[0xFF; 4]);
    config.set(0x114, &0u32.to_le_bytes(), &[0xFF; 4]);
    config.set(0x140, &(0x0003u32 | 1 << 16).to_le_bytes(), &[]);
    let m = options.mac;
    config.set(0x144, &[m[5], m[4], m[3], 0xFF, 0xFF, m[2], m[1], m[0]], &[]);
    config
}

/// The body of the PCI Express capability from its second byte pair on: version 2, an endpoint with function-level reset, 8 lanes at 5 GT/s (9.3.10).
fn pcie_capability() -> [u8; 0x3A] {
    let mut body = [0; 0x3A];
    let mut put = |at: usize, value: u32| body[at - 2..at + 2].copy_from_slice(&value.to_le_bytes());
    put(0x04, 2 | 6 << 6 | 6 << 9 | 1 << 15 | 1 << 28);
    put(0x08, 0x2810);
    put(0x0C, 2 | 8 << 4 | 3 << 10 | 6 << 12 | 6 << 15);
    put(0x10, (0x1000 | 8 << 4 | 2) << 16);
    put(0x24, 0x1F);
    put(0x30, 2);
    body[0] = 0x02;
    body
}

/// Device Control, Link Control, Device Control 2 and Link Control 2 are writable.
const PCIE_WRITABLE: [u8; 0x32] = {
    let mut writable = [0; 0x32];
    (writable[0x06], writable[0x07]) = (0xFF, 0xFF);
    (writable[0x0E], writable[0x0F]) = (0xFB, 0x01);
    (writable[0x26], writable[0x27]) = (0x1F, 0x00);
    (writable[0x2E], writable[0x2F]) = (0xFF, 0x0F);
    writable
};

impl Ixgbe {
    pub(super) fn read_config(&self, offset: u16, width: u8) -> u32 {
        let value = self.config.read(offset, width);
        let status = u32::from(self.interrupts.is_signalled() && !self.uses_messages()) * STATUS_INTERRUPT;
        match STATUS.checked_sub(offset) {
            Some(at) if at < u16::from(width) => value | status << (8 * at),
            _ => value,
        }
    }

    fn uses_messages(&self) -> bool {
        self.config.read16(MSI_CONTROL) & MSI_ENABLE != 0 || self.config.read16(MSIX_CONTROL) & MSIX_ENABLE != 0
    }

    /// A cause that was signalled without MSI-X: by message where MSI is on, else by the line.
    pub(super) fn legacy_interrupts(&mut self) -> Legacy {
        if !self.interrupts.is_signalled() || self.config.read16(MSIX_CONTROL) & MSIX_ENABLE != 0 {
            return Legacy::default();
        }
        let is_on = self.config.read16(MSI_CONTROL) & MSI_ENABLE != 0;
        let msi = is_on && self.may_master() && self.config.read16(MSI_MASK) & 1 == 0;
        if msi {
            self.interrupts.sent();
        }
        Legacy { msi, intx: !is_on && self.config.read16(COMMAND) & COMMAND_INTERRUPT_DISABLE == 0 }
    }

    pub(super) fn write_config(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        let msix_before = self.config.read16(MSIX_CONTROL) & (MSIX_ENABLE | MSIX_FUNCTION_MASK);
        self.config.write(offset, width, value);
        if self.config.read16(DEVICE_CONTROL) & DEVICE_CONTROL_FLR != 0 {
            self.reset(slot);
            return;
        }
        let msix = self.config.read16(MSIX_CONTROL) & (MSIX_ENABLE | MSIX_FUNCTION_MASK);
        if msix != msix_before {
            self.msix.control(slot, msix & MSIX_ENABLE != 0, msix & MSIX_FUNCTION_MASK != 0);
        }
    }

    pub(super) fn may_master(&self) -> bool {
        self.config.read16(COMMAND) & COMMAND_BUS_MASTER != 0
    }
}
