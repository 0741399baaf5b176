//! Accesses to configuration space (9.3).

use super::card::Ixgbe;
use crate::config::{COMMAND, COMMAND_BUS_MASTER};
use crate::model::Legacy;
use crate::slot::Slot;

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

    /// Returns whether the write asked for a reset of the function, which is then to be done.
    pub(super) fn write_config(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) -> bool {
        let msix_before = self.config.read16(MSIX_CONTROL) & (MSIX_ENABLE | MSIX_FUNCTION_MASK);
        self.config.write(offset, width, value);
        if self.config.read16(DEVICE_CONTROL) & DEVICE_CONTROL_FLR != 0 {
            return true;
        }
        let msix = self.config.read16(MSIX_CONTROL) & (MSIX_ENABLE | MSIX_FUNCTION_MASK);
        if msix != msix_before {
            self.msix.control(slot, msix & MSIX_ENABLE != 0, msix & MSIX_FUNCTION_MASK != 0);
        }
        false
    }

    pub(super) fn may_master(&self) -> bool {
        self.config.read16(COMMAND) & COMMAND_BUS_MASTER != 0
    }
}
