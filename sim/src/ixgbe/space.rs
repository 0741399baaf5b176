//! Configuration space as it is after a reset (9.3).

use driver_core::host::PciId;

use super::options::IxgbeOptions;
use crate::config::ConfigSpace;

pub(super) const INTEL: u16 = 0x8086;
/// Ethernet controller.
pub(super) const CLASS: u32 = 0x02_0000;

/// BAR 0: registers and flash (9.3.6.1). BAR 4: MSI-X.
pub(super) const REGISTERS_BYTES: u32 = 512 * 1024;
pub(super) const MSIX_BYTES: u32 = 16 * 1024;
/// Where the pending bits lie in BAR 4.
pub(super) const MSIX_PENDING: u32 = 0x2000;
/// 64 vectors (9.3.9).
pub(super) const VECTORS: u16 = 64;

/// Configuration space after a reset.
pub(super) fn config_space(options: &IxgbeOptions) -> ConfigSpace {
    let mut config =
        ConfigSpace::new(&PciId { vendor: INTEL, device: options.device, revision: 1, class: CLASS, subsystem_vendor: INTEL, subsystem: 0x0003 });
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
pub(super) fn pcie_capability() -> [u8; 0x3A] {
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
pub(super) const PCIE_WRITABLE: [u8; 0x32] = {
    let mut writable = [0; 0x32];
    (writable[0x06], writable[0x07]) = (0xFF, 0xFF);
    (writable[0x0E], writable[0x0F]) = (0xFB, 0x01);
    (writable[0x26], writable[0x27]) = (0x1F, 0x00);
    (writable[0x2E], writable[0x2F]) = (0xFF, 0x0F);
    writable
};
