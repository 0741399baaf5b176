//! Opening devices: what several devices of one program share.

use std::fmt;
#[cfg(feature = "vfio")]
use std::path::Path;
use std::sync::Arc;

use driver_core::host::Clock;

use crate::clock::HostClock;
use crate::device::Device;
use crate::error::Error;
use crate::spec::Spec;
#[cfg(feature = "sim")]
use crate::{origin::sim::Cards, spec::SimSpec};
#[cfg(feature = "vfio")]
use crate::{origin::vfio, spec::PciSpec};

/// What the devices of one program share: a DMA domain, so that a frame received on one is sent on another without a copy, and a clock.
///
/// Simulated cards, PCI functions and vfio-user devices, or PCI functions reached in different ways, cannot share one: who wants both makes two hosts and
/// copies.
pub struct Host {
    shared: Option<Shared>,
    clock: Arc<dyn Clock>,
}

/// The DMA domain, of the kind of the first device.
#[cfg_attr(not(any(feature = "sim", feature = "vfio")), allow(dead_code, reason = "no kind of device is built in"))]
enum Shared {
    #[cfg(feature = "sim")]
    Sim(Cards),
    #[cfg(feature = "vfio")]
    Vfio { domain: ::vfio::Domain, first: String },
    #[cfg(feature = "vfio")]
    User { domain: ::vfio::UserDomain, first: String },
}

#[cfg(feature = "vfio")]
impl Shared {
    /// The error for a device of another kind.
    fn refuse(&self, device: &str, kind: &str) -> Error {
        let with = match self {
            #[cfg(feature = "sim")]
            Self::Sim(_) => "simulated cards",
            Self::Vfio { first, .. } | Self::User { first, .. } => first,
        };
        not_sharable(device, format!("{kind} cannot share memory with {with}; open it by a host of its own, and copy frames between them"))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared {
            None => f.write_str("Host(no device opened)"),
            #[cfg(feature = "sim")]
            Some(Shared::Sim(cards)) => write!(f, "Host({cards:?})"),
            #[cfg(feature = "vfio")]
            Some(Shared::Vfio { domain, .. }) => write!(f, "Host({domain:?})"),
            #[cfg(feature = "vfio")]
            Some(Shared::User { domain, .. }) => write!(f, "Host({domain:?})"),
            #[cfg(not(any(feature = "sim", feature = "vfio")))]
            Some(none) => match *none {},
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
        match spec.parse::<Spec>()? {
            #[cfg(feature = "sim")]
            Spec::Sim(sim) => {
                let wire = sim.wire.open(&self.clock).map_err(|error| Error::Wire { device: spec.into(), error })?;
                self.simulate(spec, &sim, wire)
            }
            #[cfg(feature = "vfio")]
            Spec::Pci(pci) => self.reach(spec, pci),
            #[cfg(feature = "vfio")]
            Spec::VfioUser(path) => self.connect(spec, &path),
        }
    }

    /// Opens the simulated card that `spec` names, plugged into `wire` in place of what its options say.
    ///
    /// # Errors
    /// As [`Host::open`]; and [`Error::Spec`] where `spec` is not simulated.
    #[cfg(feature = "sim")]
    pub fn plug(&mut self, spec: &str, wire: Box<dyn sim::wire::Wire>) -> Result<Device, Error> {
        match spec.parse()? {
            Spec::Sim(sim) => self.simulate(spec, &sim, wire),
            #[cfg(feature = "vfio")]
            _ => Err(crate::SpecError::new(spec, "only a simulated card can be plugged into a wire of the program: sim:ixgbe").into()),
        }
    }

    #[cfg(feature = "sim")]
    fn simulate(&mut self, name: &str, spec: &SimSpec, wire: Box<dyn sim::wire::Wire>) -> Result<Device, Error> {
        match self.shared.get_or_insert_with(|| Shared::Sim(Cards::new())) {
            Shared::Sim(cards) => cards.open(name, spec, wire, self.clock.clone()),
            #[cfg(feature = "vfio")]
            other => Err(other.refuse(name, "a simulated card")),
        }
    }

    #[cfg(feature = "vfio")]
    fn reach(&mut self, name: &str, spec: PciSpec) -> Result<Device, Error> {
        let domain = match &self.shared {
            None => vfio::domain_for(spec)?,
            Some(Shared::Vfio { domain, first }) => match spec.way {
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
        let device = vfio::reach(&domain, spec.address, self.clock.clone())?;
        self.shared.get_or_insert_with(|| Shared::Vfio { domain, first: name.into() });
        Ok(device)
    }

    #[cfg(feature = "vfio")]
    fn connect(&mut self, name: &str, socket: &Path) -> Result<Device, Error> {
        let domain = match &self.shared {
            None => ::vfio::UserDomain::new(),
            Some(Shared::User { domain, .. }) => domain.clone(),
            Some(other) => return Err(other.refuse(name, "a vfio-user device")),
        };
        let device = vfio::connect(&domain, socket, self.clock.clone())?;
        self.shared.get_or_insert_with(|| Shared::User { domain, first: name.into() });
        Ok(device)
    }
}

#[cfg(feature = "vfio")]
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
