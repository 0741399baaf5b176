//! Accesses to configuration space, and through the window (4.1.4.9).

use super::VirtioNet;
use super::regs::{STRUCTURES_BAR, STRUCTURES_BYTES};
use super::space::WINDOW;
use crate::config::{COMMAND, COMMAND_BUS_MASTER, ConfigSpace};
use crate::model::Model;
use crate::slot::Slot;

const MSIX_CONTROL: u16 = 0x42;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;

const WINDOW_DATA: u16 = WINDOW + 16;

impl VirtioNet {
    pub(super) fn read_config_space(&mut self, slot: &Slot<'_>, offset: u16, width: u8) -> u32 {
        match self.window(slot, offset, width, false) {
            Some((bar, at)) => self.bar_read(slot, bar, at, width) as u32,
            None => self.config.read(offset, width),
        }
    }

    pub(super) fn write_config_space(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        if let Some((bar, at)) = self.window(slot, offset, width, true) {
            self.bar_write(slot, bar, at, width, value.into());
            return;
        }
        let bits = |config: &ConfigSpace| config.read16(MSIX_CONTROL) & (MSIX_ENABLE | MSIX_FUNCTION_MASK);
        let before = bits(&self.config);
        self.config.write(offset, width, value);
        let after = bits(&self.config);
        if after != before {
            self.msix.control(slot, after & MSIX_ENABLE != 0, after & MSIX_FUNCTION_MASK != 0);
        }
    }

    /// What an access to `pci_cfg_data` goes to: "the device MUST execute a read (write) access on the BAR selected by cap.bar at offset cap.offset".
    fn window(&mut self, slot: &Slot<'_>, offset: u16, width: u8, writes: bool) -> Option<(u8, u32)> {
        if !self.options.has_window || offset != WINDOW_DATA {
            return None;
        }
        let (bar, at, length) = (self.config.read(WINDOW + 4, 1) as u8, self.config.read(WINDOW + 8, 4), self.config.read(WINDOW + 12, 4));
        // Whoever reads all of configuration space, as hosts do before a driver is there, reads this too.
        if length == 0 && !writes {
            return None;
        }
        // 4.1.4.9.1: "the driver MUST NOT access pci_cfg_data unless pci_cfg_data has a valid cap.length, and cap.offset is aligned to it".
        let inside = usize::try_from(at).is_ok_and(|at| at + usize::from(width) <= STRUCTURES_BYTES);
        if !matches!(length, 1 | 2 | 4) || length != u32::from(width) || !at.is_multiple_of(length) || bar != STRUCTURES_BAR || !inside {
            slot.violation(
                "access through the window that it was not set up for",
                format_args!("BAR {bar} offset {at:#x} length {length}"),
                width.into(),
                "4.1.4.9.1",
            );
            return None;
        }
        Some((bar, at))
    }

    pub(super) fn may_master(&self) -> bool {
        self.config.read16(COMMAND) & COMMAND_BUS_MASTER != 0
    }
}
