//! One PCI function that this process owns through VFIO.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use driver_core::host::{DmaDomain, PciError, PciErrorKind, PciFunction, Vectors};
use vfio_bindings::bindings::vfio::*;

use crate::address::PciAddress;
use crate::bar::VfioBar;
use crate::config::{BASE_ADDRESS_0, BASE_ADDRESS_IO, CAPABILITY_MSIX, COMMAND_BUS_MASTER, COMMAND_MEMORY_SPACE, Config, msix_table};
use crate::domain::Domain;
use crate::error::{Cause, Error, Sibling};
use crate::ioctl;
use crate::irq::{Event, Events, VfioInterrupt};
use crate::mapper::Device;
use crate::region::Region;
use crate::sysfs::{Root, diagnose};
use crate::way::Way;

/// A PCI function bound to vfio-pci. Dropping it forbids DMA; the kernel resets it when its last BAR is gone too.
#[derive(Debug)]
pub struct VfioFunction {
    name: String,
    config: Config,
    events: Events,
    /// The interrupt that is on (`VFIO_PCI_MSIX_IRQ_INDEX` or `VFIO_PCI_MSI_IRQ_INDEX`).
    interrupts_on: Option<u32>,
    device: Arc<Device>,
    domain: Domain,
}

impl Domain {
    /// Opens a function into this domain.
    ///
    /// # Errors
    /// [`Error`] with the cause found by looking; [`Cause::NotSharable`] where it cannot live with those already here.
    pub fn open(&self, address: PciAddress) -> Result<VfioFunction, Error> {
        VfioFunction::start(Arc::new(self.attach(address)?), self.clone())
    }
}

impl VfioFunction {
    /// Opens a function in a domain of its own, by the way that the system has for it ([`Way::detect`]) or by the one given.
    ///
    /// # Errors
    /// [`Error`] with the cause found by looking.
    pub fn open(address: PciAddress, way: Option<Way>) -> Result<Self, Error> {
        Domain::for_function(&Root::system(), address, way)?.open(address)
    }

    fn start(device: Arc<Device>, domain: Domain) -> Result<Self, Error> {
        let address = device.address();
        let failed = |tried: &'static str| move |error: io::Error| Cause::kernel(&error, "").error(address, tried);
        let info = ioctl::device_info(device.fd()).map_err(failed("asking what the device is"))?;
        if info.flags & VFIO_DEVICE_FLAGS_PCI == 0 {
            let cause = Cause::Kernel { errno: libc::ENOTTY, hint: "VFIO does not present it as a PCI device".into() };
            return Err(cause.error(address, "asking what the device is"));
        }
        let config = Config::open(Arc::clone(&device)).map_err(failed("opening its configuration space"))?;
        let events = Events::listen(&device).map_err(failed("listening to its events"))?;
        let function = Self { name: address.to_string(), config, events, interrupts_on: None, device, domain };
        // DMA waits for the driver; registers must answer, or a mapped BAR gives a bus error.
        let commanded = function.config.command(COMMAND_BUS_MASTER, false).and_then(|()| function.config.command(COMMAND_MEMORY_SPACE, true));
        commanded.map_err(|error| Cause::Kernel { errno: libc::EIO, hint: error.to_string() }.error(address, "turning its registers on"))?;
        Ok(function)
    }

    /// Where it is.
    pub fn address(&self) -> PciAddress {
        self.device.address()
    }

    /// The domain, to open other functions into.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Failure of the device and requests for its return. Take them before a driver takes the function.
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// What has happened to the device.
    pub fn pending_event(&self) -> Option<Event> {
        self.events.pending()
    }

    /// Turns all vectors off.
    ///
    /// # Errors
    /// [`PciError`] where the kernel cannot.
    pub fn disable_interrupts(&mut self) -> Result<(), PciError> {
        let Some(index) = self.interrupts_on.take() else { return Ok(()) };
        ioctl::set_irqs(self.device.fd(), index, &[]).map_err(|error| self.host("turning interrupts off", &error))
    }

    fn host(&self, tried: &str, error: &io::Error) -> PciError {
        Cause::kernel(error, "").error(&self.name, tried).into()
    }

    /// MSI-X where there is any, else MSI: the index for VFIO, and how many vectors.
    fn vectors(&self) -> Option<(u32, u32)> {
        let count = |index: u32| ioctl::irq_info(self.device.fd(), index).map_or(0, |info| info.count);
        [VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX].into_iter().map(|index| (index, count(index))).find(|&(_, count)| count > 0)
    }

    /// Resets the slot or bus, where every function on it is this one or lies unused in this process' hands.
    fn hot_reset(&self) -> Result<(), Error> {
        let failed = |cause: Cause| cause.error(&self.name, "resetting its slot or bus");
        let affected = match ioctl::hot_reset_info(self.device.fd()) {
            Ok(affected) => affected,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(failed(Cause::NoReset)),
            Err(error) => return Err(failed(Cause::kernel(&error, ""))),
        };
        let root = self.domain.root();
        let address = |f: &ioctl::Dependent| PciAddress { domain: f.segment.into(), bus: f.bus, device: f.devfn >> 3, function: f.devfn & 7 };
        let sibling = |address: PciAddress| Sibling { address, driver: root.driver(address) };
        let others: Vec<_> = affected.functions.iter().map(address).filter(|&other| other != self.address()).collect();
        // A function that another part of this process drives would lose its state under its driver's feet.
        let in_use = self.domain.functions();
        let busy: Vec<_> = others.iter().copied().filter(|other| in_use.contains(other)).map(sibling).collect();
        if !busy.is_empty() {
            return Err(failed(Cause::ResetHitsOthers(busy)));
        }
        let not_ours = || failed(Cause::ResetHitsOthers(others.iter().copied().map(sibling).collect()));
        // By groups the kernel wants every function on the bus bound to vfio-pci; under iommufd it wants them owned.
        let foreign = |sibling: &Sibling| !sibling.driver.as_deref().is_some_and(diagnose::is_vfio);
        let unbound: Vec<_> = others.iter().copied().map(sibling).filter(foreign).collect();
        if self.domain.way() != Way::Iommufd && !unbound.is_empty() {
            return Err(failed(Cause::ResetHitsOthers(unbound)));
        }
        if self.domain.way() == Way::Iommufd && !affected.all_owned {
            return Err(not_ours());
        }
        let mut groups: Vec<u32> = affected.functions.iter().map(|f| f.owner).collect();
        groups.sort_unstable();
        groups.dedup();
        let reset = self.domain.hot_reset(self.device.fd().as_fd(), &groups).ok_or_else(not_ours)?;
        reset.map_err(|error| failed(Cause::kernel(&error, "")))
    }
}

// SAFETY: configuration space and BARs are those of the device whose descriptor this is, which nobody else can have: the kernel gives it out once, and
// `Domain::open` refuses a second one while a BAR of the first is left. Volatile accesses are not reordered, and reads through the kernel give what the device
// answered or an error. The domain's mappings are those of the IOMMU that the kernel put the device behind, or physical addresses. Bus mastering off and the
// kernel's resets end DMA, and so does the kernel when the last descriptor closes, before which no memory of the domain goes.
unsafe impl PciFunction for VfioFunction {
    type Bar = VfioBar;
    type Interrupt = VfioInterrupt;

    fn name(&self) -> &str {
        &self.name
    }

    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        self.config.read(offset, width)
    }

    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        self.config.write(offset, width, value)
    }

    unsafe fn open_bar(&mut self, index: u8) -> Result<VfioBar, PciError> {
        if u32::from(index) > VFIO_PCI_BAR5_REGION_INDEX {
            return Err(PciError::new(&self.name, "opening a BAR", PciErrorKind::Argument("a function has the BARs 0 to 5")));
        }
        let mut region = Region::ask(&self.device, index.into()).map_err(|error| self.host("asking for a BAR", &error))?;
        let tried = format!("opening BAR {index}");
        if region.len == 0 {
            return Err(PciError::new(&self.name, &tried, PciErrorKind::Missing("BAR of this number, or it is the upper half of one")));
        }
        if self.config_read(BASE_ADDRESS_0 + 4 * u16::from(index), 4)? & BASE_ADDRESS_IO != 0 {
            return Err(PciError::new(&self.name, &tried, PciErrorKind::Missing("memory there: it is an I/O BAR")));
        }
        if let Some(msix) = self.find_capability(CAPABILITY_MSIX, None)? {
            // Newer kernels would map the table too, where interrupts are remapped. Nothing here writes it, and nothing shall.
            let (bar, table) = msix_table(self.config_read(msix, 4)?, self.config_read(msix + 4, 4)?);
            if bar == index {
                region.exclude(&table);
            }
        }
        Ok(VfioBar::map(&self.device, &region)?)
    }

    fn dma(&self) -> &DmaDomain {
        self.domain.dma()
    }

    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        self.config.command(COMMAND_BUS_MASTER, true)
    }

    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.config.command(COMMAND_BUS_MASTER, false)
    }

    fn interrupt_count(&self) -> u16 {
        self.vectors().map_or(0, |(_, count)| count.try_into().unwrap_or(u16::MAX))
    }

    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<VfioInterrupt>, PciError> {
        let wrong = |kind| PciError::new(&self.name, &format!("turning on {count} interrupt vectors"), kind);
        if self.interrupts_on.is_some() {
            return Err(wrong(PciErrorKind::Argument("they are on already")));
        }
        if count == 0 {
            return Err(wrong(PciErrorKind::Argument("at least one is needed")));
        }
        let (index, available) = self.vectors().ok_or_else(|| wrong(PciErrorKind::Missing("MSI-X or MSI interrupt")))?;
        if u32::from(count) > available {
            return Err(wrong(PciErrorKind::Missing("so many interrupt vectors: see interrupt_count")));
        }
        let made: io::Result<Vec<_>> = (0..count).map(|_| VfioInterrupt::new(self.events())).collect();
        let vectors = made.map_err(|error| self.host("making event descriptors", &error))?;
        let fds: Vec<_> = vectors.iter().map(AsFd::as_fd).collect();
        ioctl::set_irqs(self.device.fd(), index, &fds).map_err(|error| self.host("turning interrupt vectors on", &error))?;
        self.interrupts_on = Some(index);
        Ok(Vectors::new(vectors))
    }

    /// A function-level reset where the function has one, else one of its slot or bus where that hits nobody else.
    ///
    /// Where the kernel has nothing better it resets by power state, which may leave registers as they were: a driver resets its device through
    /// the device's own registers as well.
    fn reset(&mut self) -> Result<(), PciError> {
        let info = ioctl::device_info(self.device.fd()).map_err(|error| self.host("asking whether it can be reset", &error))?;
        if info.flags & VFIO_DEVICE_FLAGS_RESET != 0 {
            ioctl::reset(self.device.fd()).map_err(|error| self.host("resetting it", &error))?;
        } else {
            self.hot_reset()?;
        }
        self.events.clear_failed();
        // The kernel restores configuration space; a driver that resets expects DMA to be off and registers to answer.
        self.config.command(COMMAND_BUS_MASTER, false)?;
        self.config.command(COMMAND_MEMORY_SPACE, true)
    }
}

impl Drop for VfioFunction {
    fn drop(&mut self) {
        // Before any memory goes: what is left of the device's work must not find its mappings gone.
        if let Err(error) = self.config.command(COMMAND_BUS_MASTER, false) {
            log::debug!("{}: forbidding DMA at the end: {error}", self.name);
        }
        if let Err(error) = self.disable_interrupts() {
            log::debug!("{}: {error}", self.name);
        }
    }
}
