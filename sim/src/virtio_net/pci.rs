//! Configuration space: the capabilities that lead to the structures (4.1.4), and the window (4.1.4.9).

use super::regs::{COMMON_AT, DEVICE_AT, ISR_AT, NOTIFY_AT, STRUCTURE_BYTES, STRUCTURES_BAR, STRUCTURES_BYTES, common};
use super::{VirtioNet, VirtioNetOptions};
use crate::config::{COMMAND, COMMAND_BUS_MASTER, ConfigSpace};
use crate::model::Model;
use crate::slot::Slot;

/// Ethernet controller.
const CLASS: u32 = 0x02_0000;
/// BAR 0: the MSI-X table, and from half of it on the pending bits.
pub(super) const MSIX_BAR: u8 = 0;
pub(super) const MSIX_BYTES: usize = 4096;
pub(super) const MSIX_PENDING: u32 = 2048;
pub(super) const VECTORS: u16 = 3;

const MSIX_CONTROL: u16 = 0x42;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;

const VENDOR_SPECIFIC: u8 = 9;
/// Where the window's capability lies.
const WINDOW: u16 = 0xb0;
const WINDOW_DATA: u16 = WINDOW + 16;

/// The body of a struct virtio_pci_cap behind the two bytes of the header: cap_len, cfg_type, bar, id, padding, offset, length, and more.
fn structure(cfg_type: u8, bar: u8, offset: u32, length: u32, more: &[u8]) -> Vec<u8> {
    let mut body = vec![(16 + more.len()) as u8, cfg_type, bar, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(more);
    body
}

pub(super) fn config_space(options: &VirtioNetOptions) -> ConfigSpace {
    let mut config = ConfigSpace::new(0x1af4, options.device, u8::from(options.device >= 0x1040), CLASS, (0x1af4, 0x1100));
    config.add_bar64(MSIX_BAR, MSIX_BYTES as u64);
    config.add_bar64(STRUCTURES_BAR, STRUCTURES_BYTES as u64);
    let control = (VECTORS - 1).to_le_bytes();
    let pending = (MSIX_PENDING | u32::from(MSIX_BAR)).to_le_bytes();
    let body = [control[0], control[1], MSIX_BAR, 0, 0, 0, pending[0], pending[1], pending[2], pending[3]];
    config.add_capability(0x11, 0x40, &body, &[0, 0xc0]);
    // A structure of a kind that is reserved, which a driver has to pass over (4.1.4.1).
    config.add_capability(VENDOR_SPECIFIC, 0x50, &structure(0xee, 0, 0, 4, &[]), &[]);
    // The order is not that of the addresses, as with QEMU.
    let multiplier = options.notify_off_multiplier.to_le_bytes();
    config.add_capability(VENDOR_SPECIFIC, 0x98, &structure(2, STRUCTURES_BAR, NOTIFY_AT, STRUCTURE_BYTES, &multiplier), &[]);
    config.add_capability(VENDOR_SPECIFIC, 0x88, &structure(4, STRUCTURES_BAR, DEVICE_AT, STRUCTURE_BYTES, &[]), &[]);
    config.add_capability(VENDOR_SPECIFIC, 0x78, &structure(3, STRUCTURES_BAR, ISR_AT, STRUCTURE_BYTES, &[]), &[]);
    config.add_capability(VENDOR_SPECIFIC, 0x68, &structure(1, STRUCTURES_BAR, COMMON_AT, common::END.max(STRUCTURE_BYTES), &[]), &[]);
    if options.has_window {
        // bar, offset and length are the driver's to write, and so is pci_cfg_data.
        let writable = [0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        config.add_capability(VENDOR_SPECIFIC, WINDOW as u8, &structure(5, 0, 0, 0, &[0; 4]), &writable);
    }
    config
}

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
