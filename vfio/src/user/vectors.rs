//! Interrupt vectors that the server keeps masked.
//!
//! The kernel's VFIO programs the MSI-X table of a function by itself and opens the entries in use. A server in another process may go by SET_IRQS alone, as
//! this project's, or model the whole function: QEMU's (`x-vfio-user-server`) sends no message for a vector that its table masks, and a reset masks all.
//! Then the client is the host that has to open them.

use driver_core::host::{PciError, PciFunction};
use vfio_bindings::bindings::vfio::VFIO_PCI_MSIX_IRQ_INDEX;

use super::cause::ServerCause;
use super::connection::Connection;
use crate::config::{CAPABILITY_MSIX, msix_table};
use crate::error::Cause;

/// An entry of the table (PCI Express Base Specification, 7.7.2.6 to 7.7.2.9): its length, where Vector Control lies in it, and the mask bit there.
const ENTRY_BYTES: u64 = 16;
const VECTOR_CONTROL: u64 = 12;
const MASK: u32 = 1;

/// Opens the first vectors of MSI-X, by both ways that a server may have: a command where it says that it masks by command, and the table.
pub(super) fn unmask(function: &impl PciFunction, connection: &Connection, count: u16) -> Result<(), PciError> {
    let failed = |cause| PciError::from(Cause::Server(cause).error(connection.name(), "unmasking interrupt vectors"));
    if connection.irq_info(VFIO_PCI_MSIX_IRQ_INDEX).map_err(failed)?.is_maskable {
        match connection.unmask_irqs(VFIO_PCI_MSIX_IRQ_INDEX, count.into()) {
            Err(cause @ ServerCause::Refused { .. }) => log::warn!("{}: interrupt vectors may stay masked: {cause}", connection.name()),
            other => other.map_err(failed)?,
        }
    }
    let Some(capability) = function.find_capability(CAPABILITY_MSIX, None)? else { return Ok(()) };
    let (bar, table) = msix_table(function.config_read(capability, 4)?, function.config_read(capability + 4, 4)?);
    match unmask_in_table(connection, bar.into(), table, count) {
        // A server that shows nobody its table has it for itself.
        Err(cause @ ServerCause::Refused { .. }) => log::debug!("{}: the MSI-X table cannot be reached: {cause}", connection.name()),
        other => other.map_err(failed)?,
    }
    Ok(())
}

fn unmask_in_table(connection: &Connection, bar: u32, table: std::ops::Range<u64>, count: u16) -> Result<(), ServerCause> {
    let (region, _) = connection.region(bar)?;
    for vector in 0..u64::from(count) {
        let entry = table.start + vector * ENTRY_BYTES;
        if entry + ENTRY_BYTES > table.end.min(region.len) {
            log::debug!("{}: the MSI-X table has no entry {vector}", connection.name());
            break;
        }
        if !unmask_entry(connection, bar, entry + VECTOR_CONTROL)? {
            log::warn!("{}: the server keeps interrupt vector {vector} masked in its MSI-X table: it may never arrive", connection.name());
        }
    }
    Ok(())
}

/// Whether the entry whose Vector Control lies here is open now.
fn unmask_entry(connection: &Connection, bar: u32, at: u64) -> Result<bool, ServerCause> {
    let read = || connection.region_read(bar, at).map(u32::from_le_bytes);
    let control = read()?;
    // All ones: nothing answers there.
    if control & MASK == 0 || control == u32::MAX {
        return Ok(true);
    }
    connection.region_write(bar, at, &(control & !MASK).to_le_bytes())?;
    Ok(read()? & MASK == 0)
}
