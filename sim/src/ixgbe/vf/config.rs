//! Configuration space of a virtual function, as a host presents it: the identifiers are those of the physical function's SR-IOV capability (9.5).

use driver_core::host::PciId;

use crate::config::ConfigSpace;
use crate::ixgbe::space::{CLASS, INTEL, PCIE_WRITABLE, pcie_capability};

/// BAR 0: registers. BAR 3: MSI-X.
pub(super) const REGISTERS_BYTES: u32 = 16 * 1024;
pub(super) const MSIX_BYTES: u32 = 16 * 1024;
/// Where the pending bits lie in BAR 3.
pub(super) const MSIX_PENDING: u32 = 0x2000;
/// MSI-X vectors of each virtual function.
pub(super) const VECTORS: u16 = 3;
const INTERRUPT_PIN: usize = 0x3D;

/// Configuration space after a reset. No line, no MSI.
pub(super) fn config_space(device: u16) -> ConfigSpace {
    let mut config = ConfigSpace::new(&PciId { vendor: INTEL, device, revision: 1, class: CLASS, subsystem_vendor: INTEL, subsystem: 0x0003 });
    config.set(INTERRUPT_PIN, &[0], &[]);
    config.add_bar64(0, REGISTERS_BYTES.into());
    config.add_bar64(3, MSIX_BYTES.into());
    let control = (VECTORS - 1).to_le_bytes();
    let (table, pending) = (3u32.to_le_bytes(), (MSIX_PENDING | 3).to_le_bytes());
    config.add_capability(0x11, 0x70, &[&control[..], &table, &pending].concat(), &[0, 0xC0]);
    config.add_capability(0x10, 0xA0, &pcie_capability(), &PCIE_WRITABLE);
    config
}
