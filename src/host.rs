//! Opening devices: what several devices of one program share.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use driver_core::host::Clock;
use sim::wire::Wire;
use sim::{HostClock, Iommu, SimDevice};
use vfio::sysfs::{Root, diagnose};
use vfio::{Domain, PciAddress, UserDomain, Way};

use crate::device::Device;
use crate::error::Error;
use crate::spec::{PciSpec, SimSpec, Spec, SpecError};

/// What the devices of one program share: a DMA domain, so that a frame received on one is sent on another without a copy, and a clock.
///
/// Simulated cards, PCI functions and vfio-user devices, or PCI functions reached in different ways, cannot share one: who wants both makes two hosts and
/// copies.
pub struct Host {
    shared: Option<Shared>,
    clock: Arc<dyn Clock>,
}

/// The DMA domain, of the kind of the first device.
enum Shared {
    Sim { iommu: Arc<Iommu>, opened: u8 },
    Vfio { domain: Domain, first: String },
    User { domain: UserDomain, first: String },
}

impl Shared {
    /// The error for a device of another kind.
    fn refuse(&self, device: &str, kind: &str) -> Error {
        let with = match self {
            Self::Sim { .. } => "simulated cards",
            Self::Vfio { first, .. } | Self::User { first, .. } => first,
        };
        not_sharable(device, format!("{kind} cannot share memory with {with}; open it by a host of its own, and copy frames between them"))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared {
            None => f.write_str("Host(no device opened)"),
            Some(Shared::Sim { opened, .. }) => write!(f, "Host({opened} simulated devices opened)"),
            Some(Shared::Vfio { domain, .. }) => write!(f, "Host({domain:?})"),
            Some(Shared::User { domain, .. }) => write!(f, "Host({domain:?})"),
        }
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
        Self { shared: None, clock: Arc::new(HostClock::new()) }
    }

    /// Its clock, for wires made by hand.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Opens the device that `spec` names (see [`crate::spec`]): it is reset and identified, and stands still.
    ///
    /// # Errors
    /// [`Error::Spec`] where the spec names no device, [`Error::Wire`] where a simulated card cannot be plugged in as it says, [`Error::Vfio`] where a
    /// PCI function or a vfio-user server cannot be had, [`Error::NoDriver`] where nothing drives it, [`Error::NotSharable`] where it cannot share the DMA domain of the
    /// devices before it, [`Error::Device`] where the device does not come up.
    pub fn open(&mut self, spec: &str) -> Result<Device, Error> {
        match spec.parse()? {
            Spec::Sim(sim) => {
                let wire = sim.wire.open(&self.clock).map_err(|error| Error::Wire { device: spec.into(), error })?;
                self.simulate(spec, &sim, wire)
            }
            Spec::Pci(pci) => self.reach(spec, pci),
            Spec::VfioUser(path) => self.connect(spec, &path),
        }
    }

    /// Opens the simulated card that `spec` names, plugged into `wire` in place of what its options say.
    ///
    /// # Errors
    /// As [`Host::open`]; and [`Error::Spec`] where `spec` is not simulated.
    pub fn plug(&mut self, spec: &str, wire: Box<dyn Wire>) -> Result<Device, Error> {
        match spec.parse()? {
            Spec::Sim(sim) => self.simulate(spec, &sim, wire),
            _ => Err(SpecError::new(spec, "only a simulated card can be plugged into a wire of the program: sim:ixgbe").into()),
        }
    }

    fn simulate(&mut self, name: &str, spec: &SimSpec, wire: Box<dyn Wire>) -> Result<Device, Error> {
        let (iommu, number) = match self.shared.get_or_insert_with(|| Shared::Sim { iommu: Iommu::new(), opened: 0 }) {
            Shared::Sim { iommu, opened } => {
                *opened = opened.wrapping_add(1);
                (iommu.clone(), *opened)
            }
            other => return Err(other.refuse(name, "a simulated card")),
        };
        // Locally administered, and another one for each card.
        let device = SimDevice::new(name, spec.model([0x02, 0, 0, 0, 0, number]), wire, iommu);
        Device::simulated(device, self.clock.clone())
    }

    fn reach(&mut self, name: &str, spec: PciSpec) -> Result<Device, Error> {
        let PciSpec { address, way } = spec;
        let domain = match &self.shared {
            None => domain_for(address, way)?,
            Some(Shared::Vfio { domain, first }) => match way {
                Some(way) if way != domain.way() => {
                    let why = format!(
                        "a device reached by {way} cannot share memory with {first}, which is reached by {}; give both the same way",
                        domain.way()
                    );
                    return Err(not_sharable(name, why));
                }
                _ => domain.clone(),
            },
            Some(other) => return Err(other.refuse(name, "a PCI function")),
        };
        let function = domain.open(address)?;
        let device = Device::real(function, self.clock.clone())?;
        self.shared.get_or_insert_with(|| Shared::Vfio { domain, first: name.into() });
        Ok(device)
    }

    fn connect(&mut self, name: &str, socket: &Path) -> Result<Device, Error> {
        let domain = match &self.shared {
            None => UserDomain::new(),
            Some(Shared::User { domain, .. }) => domain.clone(),
            Some(other) => return Err(other.refuse(name, "a vfio-user device")),
        };
        let device = Device::served(domain.open(socket)?, self.clock.clone())?;
        self.shared.get_or_insert_with(|| Shared::User { domain, first: name.into() });
        Ok(device)
    }
}

/// A domain for a first function, reached as it can be.
fn domain_for(address: PciAddress, way: Option<Way>) -> Result<Domain, vfio::Error> {
    let root = Root::system();
    // Looked at first: that a module is missing is no help where the address is wrong.
    if let Some(cause) = diagnose::exists(&root, address) {
        return Err(cause.error(address, "opening it"));
    }
    Domain::new(way.unwrap_or_else(|| Way::detect(&root, address)))
}

fn not_sharable(device: &str, why: String) -> Error {
    Error::NotSharable { device: device.into(), why }
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
