//! One PCI function that a vfio-user server serves.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use driver_core::host::{DmaDomain, PciError, PciErrorKind, PciFunction, Vectors};
use vfio_bindings::bindings::vfio::*;

use super::cause::ServerCause;
use super::connection::Connection;
use super::domain::UserDomain;
use super::vectors;
use crate::bar::VfioBar;
use crate::config::{BASE_ADDRESS_0, BASE_ADDRESS_IO, CAPABILITY_MSIX, COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY_SPACE, msix_table};
use crate::error::{Cause, Error};
use crate::irq::{Event, Events, VfioInterrupt};
use crate::region::Region;

/// Message Control, at offset 2 of the capabilities MSI-X and MSI (PCI Express Base Specification, 7.7.2.2 and 7.7.1.2): the bits that turn them on, and the
/// one that masks all vectors of MSI-X, whatever its table says.
const MESSAGE_CONTROL: u16 = 2;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;
const MSI_ENABLE: u16 = 1;
/// Capability ID of MSI (7.7.1).
const CAPABILITY_MSI: u8 = 0x05;

/// Vectors that are on.
#[derive(Debug, Clone, Copy)]
struct On {
    /// `VFIO_PCI_MSIX_IRQ_INDEX` or `VFIO_PCI_MSI_IRQ_INDEX`.
    index: u32,
    count: u16,
}

/// A PCI function over a vfio-user socket: the other process is the device and its IOMMU in one.
///
/// Registers lie in shared memory where the server gives a descriptor, else each access is a message; writes of registers are not waited for, as on a bus.
/// Dropping it forbids DMA; the connection closes when its last BAR is gone too.
///
/// Shared memory is trust: the file behind a BAR is seen to be long enough before it is mapped, but a server that shortens it later ends this process with
/// a bus error (SIGBUS) at the next access. A server whose memfd is sealed (`F_SEAL_SHRINK`) cannot.
#[derive(Debug)]
pub struct UserFunction {
    config_len: u64,
    irq_kinds: u32,
    /// The kind of interrupt with vectors (`VFIO_PCI_MSIX_IRQ_INDEX`, else `VFIO_PCI_MSI_IRQ_INDEX`), and how many there are.
    vectors: Option<(u32, u32)>,
    has_reset: bool,
    /// The vectors that are on.
    interrupts_on: Option<On>,
    connection: Arc<Connection>,
    domain: UserDomain,
}

impl UserDomain {
    /// Opens the function that the vfio-user server behind the socket at `path` serves.
    ///
    /// # Errors
    /// [`Error`] with a [`Cause::Server`], or [`Cause::Permission`] on the socket.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<UserFunction, Error> {
        UserFunction::start(self.connect(path.as_ref())?, self.clone())
    }
}

impl UserFunction {
    /// Opens the function behind the socket at `path` in a domain of its own.
    ///
    /// # Errors
    /// As [`UserDomain::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        UserDomain::new().open(path)
    }

    fn start(connection: Arc<Connection>, domain: UserDomain) -> Result<Self, Error> {
        let name = connection.name().to_owned();
        let failed = |tried: &'static str| {
            let name = name.clone();
            move |cause| Cause::Server(cause).error(name, tried)
        };
        let info = connection.device_info().map_err(failed("asking what the device is"))?;
        if info.flags.get() & VFIO_DEVICE_FLAGS_PCI == 0 {
            return Err(failed("asking what the device is")(ServerCause::NotPci));
        }
        let (config, _) = connection.region(VFIO_PCI_CONFIG_REGION_INDEX).map_err(failed("opening its configuration space"))?;
        let has_reset = info.flags.get() & VFIO_DEVICE_FLAGS_RESET != 0;
        let irq_kinds = info.num_irqs.get();
        let mut function = Self { config_len: config.len, irq_kinds, vectors: None, has_reset, interrupts_on: None, connection, domain };
        function.vectors = function.ask_for_vectors().map_err(failed("asking for its interrupts"))?;
        function.listen().map_err(failed("turning its event interrupts on"))?;
        // As with kernel VFIO: registers answer, DMA waits for the driver.
        let commanded = function.connection.change(COMMAND, COMMAND_MEMORY_SPACE, COMMAND_BUS_MASTER);
        commanded.map_err(failed("turning its registers on"))?;
        Ok(function)
    }

    /// Turns on what the server has of the error and request interrupts. A device without them is used all the same.
    fn listen(&self) -> Result<(), ServerCause> {
        for (index, fd) in self.connection.events().interrupts() {
            if self.irq_count(index)? == 0 {
                continue;
            }
            match self.connection.set_irqs(index, &[fd]) {
                Err(cause @ ServerCause::Refused { .. }) => log::warn!("{}: event interrupt {index} cannot be turned on: {cause}", self.name()),
                other => other?,
            }
        }
        Ok(())
    }

    /// The domain, to open other functions into.
    pub fn domain(&self) -> &UserDomain {
        &self.domain
    }

    /// What happens to the device: it failed, it is wanted back, its server is gone. Take them before a driver takes the function.
    pub fn events(&self) -> Events {
        self.connection.events().clone()
    }

    /// What has happened to the device.
    pub fn pending_event(&self) -> Option<Event> {
        self.connection.events().pending()
    }

    /// Turns all vectors off.
    ///
    /// # Errors
    /// [`PciError`] where the server cannot.
    pub fn disable_interrupts(&mut self) -> Result<(), PciError> {
        let Some(On { index, .. }) = self.interrupts_on.take() else { return Ok(()) };
        self.connection.set_irqs(index, &[]).map_err(|cause| self.error("turning interrupts off", cause))?;
        self.message_control(index, false)
    }

    fn error(&self, tried: &str, cause: ServerCause) -> PciError {
        Cause::Server(cause).error(self.name(), tried).into()
    }

    /// How many interrupts of a kind there are; one that the server knows nothing of is not there.
    fn irq_count(&self, index: u32) -> Result<u32, ServerCause> {
        if index >= self.irq_kinds {
            return Ok(0);
        }
        match self.connection.irq_info(index) {
            Err(ServerCause::Refused { .. }) => Ok(0),
            info => info.map(|info| info.count),
        }
    }

    /// MSI-X where there is any, else MSI.
    fn ask_for_vectors(&self) -> Result<Option<(u32, u32)>, ServerCause> {
        for index in [VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX] {
            let count = self.irq_count(index)?;
            if count > 0 {
                return Ok(Some((index, count)));
            }
        }
        Ok(None)
    }

    /// Makes interrupts of vectors that have their event descriptors arrive.
    fn open_vectors(&mut self, on: On) -> Result<(), PciError> {
        self.message_control(on.index, true)?;
        if on.index == VFIO_PCI_MSIX_IRQ_INDEX { vectors::unmask(self, &self.connection, on.count) } else { Ok(()) }
    }

    /// Turns the capability on or off, which the kernel's VFIO does by itself. A server that goes by SET_IRQS alone takes no notice.
    fn message_control(&mut self, index: u32, on: bool) -> Result<(), PciError> {
        let (id, enable, mask) =
            if index == VFIO_PCI_MSIX_IRQ_INDEX { (CAPABILITY_MSIX, MSIX_ENABLE, MSIX_FUNCTION_MASK) } else { (CAPABILITY_MSI, MSI_ENABLE, 0) };
        let Some(capability) = self.find_capability(id, None)? else { return Ok(()) };
        let (set, clear) = if on { (enable, mask) } else { (0, enable) };
        self.change(capability + MESSAGE_CONTROL, set, clear)
    }

    /// Sets or clears bits of the command register.
    fn command(&mut self, bits: u16, on: bool) -> Result<(), PciError> {
        let (set, clear) = if on { (bits, 0) } else { (0, bits) };
        self.change(COMMAND, set, clear)
    }

    /// Sets and clears bits of a 16-bit configuration register and leaves the others.
    fn change(&mut self, offset: u16, set: u16, clear: u16) -> Result<(), PciError> {
        self.check("writing", offset, 2)?;
        self.connection.change(offset, set, clear).map_err(|cause| self.error(&format!("writing configuration offset {offset:#x}"), cause))
    }

    fn write_config(&self, offset: u16, bytes: &[u8]) -> Result<(), PciError> {
        let written = self.connection.region_write(VFIO_PCI_CONFIG_REGION_INDEX, offset.into(), bytes);
        written.map_err(|cause| self.error(&format!("writing configuration offset {offset:#x}"), cause))
    }

    fn check(&self, tried: &str, offset: u16, width: u8) -> Result<(), PciError> {
        let kind = match width {
            1 | 2 | 4 if u64::from(offset) + u64::from(width) <= self.config_len => return Ok(()),
            1 | 2 | 4 => PciErrorKind::Argument("the offset is outside configuration space"),
            _ => PciErrorKind::Argument("a configuration access is 1, 2 or 4 bytes wide"),
        };
        Err(PciError::new(self.name(), &format!("{tried} configuration offset {offset:#x}"), kind))
    }

    /// Leaves only what can be mapped without harm: whole pages that the file behind the descriptor has. A load beyond its end would be a bus error.
    fn keep_mappable(&self, region: &mut Region, fd: &OwnedFd) {
        let page = rustix::param::page_size() as u64;
        let len = rustix::fs::fstat(fd).map_or(0, |stat| stat.st_size as u64);
        let before = region.mappable.len();
        let offset = region.offset;
        region.mappable.retain(|area| {
            let whole = area.start.is_multiple_of(page) && area.end.is_multiple_of(page) && offset.is_multiple_of(page);
            whole && offset.checked_add(area.end).is_some_and(|end| end <= len)
        });
        let dropped = before - region.mappable.len();
        if dropped > 0 {
            log::warn!("{}: {dropped} areas of a BAR are no whole pages of the server's file and are reached by messages", self.name());
        }
    }
}

// SAFETY: configuration space and BARs are those that the server gives, by message or in memory that it shares; the socket is this connection's own. What the
// server does with the memory of the domain it does in the device's place, and it answers a reset, or that DMA is forbidden, as the device: it is trusted as
// hardware is. Memory that goes away here stays memory of the memfd there.
unsafe impl PciFunction for UserFunction {
    type Bar = VfioBar;
    type Interrupt = VfioInterrupt;

    fn name(&self) -> &str {
        self.connection.name()
    }

    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        self.check("reading", offset, width)?;
        let (at, index) = (u64::from(offset), VFIO_PCI_CONFIG_REGION_INDEX);
        let value = match width {
            1 => self.connection.region_read(index, at).map(|bytes: [u8; 1]| bytes[0].into()),
            2 => self.connection.region_read(index, at).map(|bytes| u16::from_le_bytes(bytes).into()),
            _ => self.connection.region_read(index, at).map(u32::from_le_bytes),
        };
        value.map_err(|cause| self.error(&format!("reading configuration offset {offset:#x}"), cause))
    }

    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        self.check("writing", offset, width)?;
        self.write_config(offset, &value.to_le_bytes()[..usize::from(width)])
    }

    unsafe fn open_bar(&mut self, index: u8) -> Result<VfioBar, PciError> {
        let tried = format!("opening BAR {index}");
        let wrong = |kind| PciError::new(self.connection.name(), &tried, kind);
        if u32::from(index) > VFIO_PCI_BAR5_REGION_INDEX {
            return Err(wrong(PciErrorKind::Argument("a function has the BARs 0 to 5")));
        }
        let (mut region, fd) = self.connection.region(index.into()).map_err(|cause| self.error(&tried, cause))?;
        if region.len == 0 {
            return Err(wrong(PciErrorKind::Missing("BAR of this number, or it is the upper half of one")));
        }
        if self.config_read(BASE_ADDRESS_0 + 4 * u16::from(index), 4)? & BASE_ADDRESS_IO != 0 {
            return Err(wrong(PciErrorKind::Missing("memory there: it is an I/O BAR")));
        }
        if let Some(fd) = &fd {
            self.keep_mappable(&mut region, fd);
        }
        if let Some(msix) = self.find_capability(CAPABILITY_MSIX, None)? {
            let (bar, table) = msix_table(self.config_read(msix, 4)?, self.config_read(msix + 4, 4)?);
            if bar == index {
                region.exclude(&table);
            }
        }
        let bar = VfioBar::of_server(Arc::clone(&self.connection), index, &region, fd.as_ref().map(AsFd::as_fd))?;
        log::debug!("{}: BAR {index}: {} of {} bytes mapped", self.name(), bar.mapped_bytes(), region.len);
        Ok(bar)
    }

    fn dma(&self) -> &DmaDomain {
        self.domain.dma()
    }

    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        self.command(COMMAND_BUS_MASTER, true)
    }

    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.command(COMMAND_BUS_MASTER, false)
    }

    fn interrupt_count(&self) -> u16 {
        self.vectors.map_or(0, |(_, count)| count.try_into().unwrap_or(u16::MAX))
    }

    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<VfioInterrupt>, PciError> {
        let tried = format!("turning on {count} interrupt vectors");
        let wrong = |kind| PciError::new(self.connection.name(), &tried, kind);
        if self.interrupts_on.is_some() {
            return Err(wrong(PciErrorKind::Argument("they are on already")));
        }
        if count == 0 {
            return Err(wrong(PciErrorKind::Argument("at least one is needed")));
        }
        let (index, available) = self.vectors.ok_or_else(|| wrong(PciErrorKind::Missing("MSI-X or MSI interrupt")))?;
        if u32::from(count) > available {
            return Err(wrong(PciErrorKind::Missing("so many interrupt vectors: see interrupt_count")));
        }
        let made: std::io::Result<Vec<_>> = (0..count).map(|_| VfioInterrupt::new(self.events())).collect();
        let vectors = made.map_err(|error| PciError::from(Cause::kernel(&error, "").error(self.name(), "making event descriptors")))?;
        let fds: Vec<_> = vectors.iter().map(AsFd::as_fd).collect();
        self.connection.set_irqs(index, &fds).map_err(|cause| self.error(&tried, cause))?;
        let on = On { index, count };
        self.interrupts_on = Some(on);
        if let Err(error) = self.open_vectors(on) {
            if let Err(error) = self.disable_interrupts() {
                log::warn!("{error}");
            }
            return Err(error);
        }
        Ok(Vectors::new(vectors))
    }

    /// What the server does for a reset, where it can. Vectors that are on stay on, as with the kernel, which restores what a reset takes.
    fn reset(&mut self) -> Result<(), PciError> {
        if !self.has_reset {
            return Err(Cause::NoReset.error(self.name(), "resetting it").into());
        }
        self.connection.reset().map_err(|cause| self.error("resetting it", cause))?;
        self.connection.events().clear_failed();
        self.command(COMMAND_BUS_MASTER, false)?;
        self.command(COMMAND_MEMORY_SPACE, true)?;
        self.interrupts_on.map_or(Ok(()), |on| self.open_vectors(on))
    }
}

impl Drop for UserFunction {
    fn drop(&mut self) {
        // Before any memory goes: what is left of the device's work must not find its mappings gone.
        if let Err(error) = self.command(COMMAND_BUS_MASTER, false) {
            log::debug!("{}: forbidding DMA at the end: {error}", self.name());
        }
        if let Err(error) = self.disable_interrupts() {
            log::debug!("{}: {error}", self.name());
        }
    }
}
