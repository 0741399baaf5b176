//! Opening devices: what several devices of one program share.

use std::fmt;
use std::sync::Arc;

use driver_core::clock::Clock;
use sim::wire::Wire;
use sim::{HostClock, Iommu, SimDevice};

use crate::device::Device;
use crate::error::Error;
use crate::spec::{SimSpec, Spec, SpecError};

/// What the devices of one program share: a DMA domain, so that a frame received on one is sent on another without a copy, and a clock.
pub struct Host {
    iommu: Arc<Iommu>,
    clock: Arc<dyn Clock>,
    opened: u8,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} simulated devices opened)", self.opened)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host with no device yet.
    pub fn new() -> Self {
        Self { iommu: Iommu::new(), clock: Arc::new(HostClock::new()), opened: 0 }
    }

    /// Its clock, for wires made by hand.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Opens the device that `spec` names (see [`crate::spec`]): it is reset and identified, and stands still.
    ///
    /// # Errors
    /// [`Error::Spec`] where the spec names no device, [`Error::Wire`] where a simulated card cannot be plugged in as it says, [`Error::Driver`]
    /// where the device does not come up.
    pub fn open(&mut self, spec: &str) -> Result<Device, Error> {
        let sim = simulated(spec)?;
        let wire = sim.wire.open(&self.clock).map_err(|error| Error::Wire { device: spec.into(), error })?;
        self.simulate(spec, &sim, wire)
    }

    /// Opens the simulated card that `spec` names, plugged into `wire` in place of what its options say.
    ///
    /// # Errors
    /// As [`Host::open`]; and [`Error::Spec`] where `spec` is not simulated.
    pub fn plug(&mut self, spec: &str, wire: Box<dyn Wire>) -> Result<Device, Error> {
        self.simulate(spec, &simulated(spec)?, wire)
    }

    fn simulate(&mut self, name: &str, spec: &SimSpec, wire: Box<dyn Wire>) -> Result<Device, Error> {
        self.opened = self.opened.wrapping_add(1);
        // Locally administered, and another one for each card.
        let mac = spec.mac.map_or([0x02, 0, 0, 0, 0, self.opened], |mac| mac.0);
        let model = crate::device::model(spec.card, mac);
        let device = SimDevice::new(name, model, wire, self.iommu.clone());
        Device::simulated(device, self.clock.clone())
    }
}

/// The spec of a simulated card. Nothing else can be opened by this build.
fn simulated(spec: &str) -> Result<SimSpec, SpecError> {
    match spec.parse()? {
        Spec::Sim(sim) => Ok(sim),
        Spec::Pci(_) => Err(SpecError::new(spec, "this build cannot open PCI functions: it has no kernel VFIO; it opens simulated cards: sim:ixgbe")),
        Spec::VfioUser(_) => Err(SpecError::new(spec, "this build cannot open vfio-user sockets; it opens simulated cards: sim:ixgbe")),
    }
}

/// Opens one device; see [`Host::open`].
///
/// # Errors
/// As [`Host::open`].
pub fn open(spec: &str) -> Result<Device, Error> {
    Host::new().open(spec)
}

/// Opens several devices in one DMA domain, in the order of `specs`.
///
/// # Errors
/// As [`Host::open`], for the first that fails; those before it are closed.
pub fn open_all<S: AsRef<str>>(specs: &[S]) -> Result<Vec<Device>, Error> {
    let mut host = Host::new();
    specs.iter().map(|spec| host.open(spec.as_ref())).collect()
}
