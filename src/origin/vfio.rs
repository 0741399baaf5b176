//! PCI functions of the kernel's and of vfio-user servers.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use driver_core::device::DeviceState;
use driver_core::host::Clock;
use vfio::sysfs::Root;
use vfio::{Domain, Events, PciAddress, UserDomain, Way};

use super::Origin;
use crate::device::Device;
use crate::error::Error;
use crate::event::Event;
use crate::spec::PciSpec;

/// What happens to a function beside its queues.
impl Origin for Events {
    fn event(&self) -> Option<Event> {
        self.pending().map(|event| match event {
            vfio::Event::Failed => Event::Failed,
            vfio::Event::RemovalRequested => Event::RemovalRequested,
            vfio::Event::Gone => Event::State(DeviceState::Gone),
            // What a later version of VFIO tells is no reason to go on.
            _ => Event::Failed,
        })
    }
    fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

/// Opens a function of the kernel's.
pub(crate) fn reach(domain: &Domain, address: PciAddress, clock: Arc<dyn Clock>) -> Result<Device, Error> {
    let function = domain.open(address)?;
    let (events, way) = (function.events(), function.domain().way());
    Device::open(function, clock, way == Way::NoIommu, Box::new(events))
}

/// Opens the function that is served at `socket`.
pub(crate) fn connect(domain: &UserDomain, socket: &Path, clock: Arc<dyn Clock>) -> Result<Device, Error> {
    let function = domain.open(socket)?;
    let events = function.events();
    Device::open(function, clock, false, Box::new(events))
}

/// A domain for a first function, reached as it can be.
pub(crate) fn domain_for(PciSpec { address, way }: PciSpec) -> Result<Domain, vfio::Error> {
    Domain::for_function(&Root::system(), address, way)
}
