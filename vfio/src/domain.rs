//! One set of DMA mappings and the functions that share it.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use driver_core::host::DmaDomain;

use crate::address::PciAddress;
#[cfg(doc)]
use crate::error::Cause;
use crate::error::Error;
use crate::limits::Limits;
use crate::mapper::{Device, Mapper};
use crate::sysfs::{Root, diagnose, list};
use crate::way::Way;

/// A DMA domain: functions opened into it see the same memory at the same addresses, so a frame received on one is transmitted on another
/// without a copy.
///
/// ```no_run
/// use vfio::{Domain, Way};
/// let domain = Domain::new(Way::Group)?;
/// let a = domain.open("0000:01:00.0".parse().unwrap())?;
/// let b = domain.open("0000:02:00.0".parse().unwrap())?;
/// # Ok::<(), vfio::Error>(())
/// ```
#[derive(Clone)]
pub struct Domain {
    pub(crate) mapper: Arc<Mapper>,
    dma: DmaDomain,
}

impl Domain {
    /// An empty domain on this machine.
    ///
    /// # Errors
    /// [`Error`] with the cause, where the node of the way cannot be opened.
    pub fn new(way: Way) -> Result<Self, Error> {
        Self::with_root(way, Root::system())
    }

    /// An empty domain with the nodes and sysfs of another root folder.
    ///
    /// # Errors
    /// As [`Domain::new`].
    pub fn with_root(way: Way, root: Root) -> Result<Self, Error> {
        Ok(Self::of(Mapper::open(way, root)?))
    }

    /// An empty domain for a function that is then opened into it, by `way` or as the system has it ([`Way::detect`]).
    ///
    /// # Errors
    /// As [`Domain::new`], of the function: what it is, and how to see all that is in its way. [`Cause::NoSuchFunction`] where it does not exist.
    pub fn for_function(root: &Root, address: PciAddress, way: Option<Way>) -> Result<Self, Error> {
        // Looked at first: that a module is missing is no help where the address is wrong.
        if let Some(cause) = diagnose::exists(root, address) {
            return Err(cause.error(address, "opening it"));
        }
        let way = way.unwrap_or_else(|| Way::detect(root, address));
        Self::with_root(way, root.clone()).map_err(|error| error.of_function(address, list::presented(root, address)))
    }

    pub(crate) fn of(mapper: Mapper) -> Self {
        let mapper = Arc::new(mapper);
        Self { dma: DmaDomain::new(mapper.clone()), mapper }
    }

    /// Opens a function's descriptor.
    pub(crate) fn attach(&self, address: PciAddress) -> Result<Device, Error> {
        let function = address.to_string();
        // The function's own nodes say nothing of what it is.
        self.mapper
            .attach(address)
            .map_err(|error| if error.on == function { error } else { error.of_function(address, list::presented(self.root(), address)) })
    }

    /// How it reaches its devices.
    pub fn way(&self) -> Way {
        self.mapper.way()
    }

    /// The memory of this domain.
    pub fn dma(&self) -> &DmaDomain {
        &self.dma
    }

    /// What the IOMMU takes, asked anew. `None` while no function was opened.
    pub fn limits(&self) -> Option<Limits> {
        self.mapper.limits_now()
    }

    /// The root folder that it looks below.
    pub(crate) fn root(&self) -> &Root {
        self.mapper.root()
    }

    /// Resets the slot or bus of a function by the groups that this domain holds; `None` where it lacks one.
    pub(crate) fn hot_reset(&self, device: BorrowedFd<'_>, groups: &[u32]) -> Option<io::Result<()>> {
        self.mapper.hot_reset(device, groups)
    }

    /// The functions that are open in it.
    pub fn functions(&self) -> Vec<PciAddress> {
        self.mapper.functions()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("way", &self.way()).field("functions", &self.functions()).finish_non_exhaustive()
    }
}
