//! Configuration space as it is after a reset: the capabilities that lead to the structures (4.1.4).

use driver_core::host::PciId;

use super::options::VirtioNetOptions;
use super::regs::{BLOCK_BAR, BLOCK_BYTES, COMMON_AT, DEVICE_AT, ISR_AT, NOTIFY_AT, STRUCTURE_BYTES, STRUCTURES_BAR, STRUCTURES_BYTES, common};
use crate::config::ConfigSpace;

const VENDOR: u16 = 0x1af4;
/// Ethernet controller.
const CLASS: u32 = 0x02_0000;
/// The BAR of the MSI-X table, and from half of it on of the pending bits.
pub(super) const fn msix_bar(options: &VirtioNetOptions) -> u8 {
    if options.mmio { 2 } else { 0 }
}
pub(super) const MSIX_BYTES: usize = 4096;
pub(super) const MSIX_PENDING: u32 = 2048;

const VENDOR_SPECIFIC: u8 = 9;
/// Where the window's capability lies.
pub(super) const WINDOW: u16 = 0xb0;

/// The body of a struct virtio_pci_cap behind the two bytes of the header: cap_len, cfg_type, bar, id, padding, offset, length, and more.
fn structure(cfg_type: u8, bar: u8, offset: u32, length: u32, more: &[u8]) -> Vec<u8> {
    let mut body = vec![(16 + more.len()) as u8, cfg_type, bar, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(more);
    body
}

pub(super) fn config_space(options: &VirtioNetOptions) -> ConfigSpace {
    let revision = u8::from(options.device >= 0x1040);
    let id = PciId { vendor: VENDOR, device: options.device, revision, class: CLASS, subsystem_vendor: VENDOR, subsystem: 0x1100 };
    let mut config = ConfigSpace::new(&id);
    let msix_bar = msix_bar(options);
    config.add_bar64(msix_bar, MSIX_BYTES as u64);
    let control = (options.vector_count() - 1).to_le_bytes();
    let pending = (MSIX_PENDING | u32::from(msix_bar)).to_le_bytes();
    let body = [control[0], control[1], msix_bar, 0, 0, 0, pending[0], pending[1], pending[2], pending[3]];
    config.add_capability(0x11, 0x40, &body, &[0, 0xc0]);
    if options.mmio {
        config.add_bar64(BLOCK_BAR, BLOCK_BYTES as u64);
        return config;
    }
    config.add_bar64(STRUCTURES_BAR, STRUCTURES_BYTES as u64);
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
