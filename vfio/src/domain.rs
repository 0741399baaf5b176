//! One set of DMA mappings and the functions that share it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_core::host::{DmaDomain, DmaError, DmaMapper, IovaAllocator, Mapping};

use crate::address::PciAddress;
use crate::container::Container;
use crate::error::{Cause, Error};
use crate::function::VfioFunction;
use crate::iommufd::Ioas;
use crate::memory::Memory;
use crate::noiommu::Pool;
use crate::sysfs::{Root, diagnose};

/// How VFIO is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The device node `/dev/vfio/devices/vfioN` with `/dev/iommu`. Linux 6.6 and later, where it was built in.
    Iommufd,
    /// The group `/dev/vfio/N` with a type1v2 container.
    Group,
    /// The group `/dev/vfio/noiommu-N`: the device sees physical addresses and may overwrite any memory of the machine. Never chosen unasked.
    NoIommu,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iommufd => "iommufd",
            Self::Group => "group",
            Self::NoIommu => "noiommu",
        })
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ways = [Self::Iommufd, Self::Group, Self::NoIommu];
        ways.into_iter()
            .find(|way| way.to_string() == text)
            .ok_or_else(|| format!("'{text}' is no way to reach VFIO: write iommufd, group or noiommu"))
    }
}

impl Way {
    /// The way that the system has for this function: iommufd where there is a device node and this process may open it and `/dev/iommu`, else the group.
    pub fn detect(root: &Root, address: PciAddress) -> Self {
        let iommu = root.path("dev/iommu");
        let usable = root.device_node(address).is_some_and(|node| {
            let nodes = [node, iommu];
            nodes.iter().all(|node| node.exists() && diagnose::permission(root, node).is_none())
        });
        if usable && !root.is_noiommu_group(address) { Self::Iommufd } else { Self::Group }
    }
}

/// What the IOMMU takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The smallest page that it maps.
    pub page_bytes: u64,
    /// First and last address of the ranges that all functions of the domain can use. Empty in no-IOMMU mode.
    pub ranges: Vec<(u64, u64)>,
    /// How many more mappings the kernel allows, where it says so.
    pub mappings_left: Option<u64>,
}

impl Limits {
    /// From the bitmap of page sizes.
    pub(crate) fn from_page_sizes(bitmap: u64) -> Self {
        let page_bytes = if bitmap == 0 { 4096 } else { 1 << bitmap.trailing_zeros() };
        Self { page_bytes, ranges: Vec::new(), mappings_left: None }
    }
}

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
    shared: Arc<Shared>,
    dma: DmaDomain,
}

#[derive(Debug)]
enum Backend {
    Type1(Container),
    Ioas(Ioas),
    Physical(Container),
}

/// What the functions and the regions of a domain share. Descriptors of devices and regions each keep it alive.
pub(crate) struct Shared {
    // Closed before the state drops what memory it may still hold.
    backend: Backend,
    root: Root,
    way: Way,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    limits: Option<Limits>,
    iovas: Option<IovaAllocator>,
    /// The mappings by their device address.
    live: BTreeMap<u64, Memory>,
    open: Vec<PciAddress>,
    /// The memory of no-IOMMU mode.
    physical: Pool,
    warned: bool,
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
        let backend = match way {
            Way::Iommufd => Backend::Ioas(Ioas::open(&root)?),
            Way::Group => Backend::Type1(Container::open(&root, way)?),
            Way::NoIommu => {
                if let Some(cause) = diagnose::noiommu_mode(&root).or_else(|| diagnose::noiommu_privilege(&root)) {
                    return Err(cause.error("no-IOMMU mode", "opening a domain"));
                }
                log::warn!("no-IOMMU mode: nothing keeps the device from overwriting any memory of this machine");
                Backend::Physical(Container::open(&root, way)?)
            }
        };
        let shared = Arc::new(Shared { root, way, state: Mutex::default(), backend });
        Ok(Self { dma: DmaDomain::new(shared.clone()), shared })
    }

    /// Opens a function into this domain.
    ///
    /// # Errors
    /// [`Error`] with the cause found by looking; [`Cause::NotSharable`] where it cannot live with those already here.
    pub fn open(&self, address: PciAddress) -> Result<VfioFunction, Error> {
        let device = self.shared.attach(address)?;
        VfioFunction::start(Arc::new(device), self.clone())
    }

    /// How it reaches its devices.
    pub fn way(&self) -> Way {
        self.shared.way
    }

    /// The memory of this domain.
    pub fn dma(&self) -> &DmaDomain {
        &self.dma
    }

    /// What the IOMMU takes, asked anew. `None` while no function was opened.
    pub fn limits(&self) -> Option<Limits> {
        self.shared.lock().limits.as_ref()?;
        self.shared.limits().ok()
    }

    /// The root folder that it looks below.
    pub(crate) fn root(&self) -> &Root {
        &self.shared.root
    }

    /// Resets the slot or bus of a function by the groups that this domain holds; `None` where it lacks one.
    pub(crate) fn hot_reset(&self, device: BorrowedFd<'_>, groups: &[u32]) -> Option<io::Result<()>> {
        match &self.shared.backend {
            Backend::Type1(container) | Backend::Physical(container) => container.hot_reset(device, groups),
            Backend::Ioas(_) => Some(crate::ioctl::hot_reset(device, &[])),
        }
    }

    /// The functions that are open in it.
    pub fn functions(&self) -> Vec<PciAddress> {
        self.shared.lock().open.clone()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("way", &self.shared.way).field("functions", &self.functions()).finish_non_exhaustive()
    }
}

/// A function's descriptor, and its place in the domain. Fields drop in this order: the kernel stops the device first.
#[derive(Debug)]
pub(crate) struct Device {
    fd: OwnedFd,
    address: PciAddress,
    /// Every device but a made-up one has it.
    _membership: Option<Membership>,
}

impl Device {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
    pub(crate) fn address(&self) -> PciAddress {
        self.address
    }
    /// Any file in a device's place.
    #[cfg(test)]
    pub(crate) fn made_up(fd: OwnedFd, address: PciAddress) -> Self {
        Self { fd, address, _membership: None }
    }
}

struct Membership {
    address: PciAddress,
    shared: Arc<Shared>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.open.retain(|&open| open != self.address);
        if state.open.is_empty() {
            state.physical.settle();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attach(self: &Arc<Self>, address: PciAddress) -> Result<Device, Error> {
        let mut state = self.lock();
        if state.open.contains(&address) {
            return Err(Cause::OpenAlready(address).error(address, "opening it"));
        }
        let looks_wrong = diagnose::exists(&self.root, address).or_else(|| diagnose::bound(&self.root, address));
        let looks_wrong = looks_wrong.or_else(|| match self.way {
            Way::NoIommu => (!self.root.is_noiommu_group(address)).then(|| Cause::NotSharable {
                way: self.way,
                why: "an IOMMU serves the device, which is then opened as a group or with iommufd".into(),
            }),
            _ => diagnose::group_of(&self.root, address),
        });
        if let Some(cause) = looks_wrong {
            return Err(cause.error(address, format!("opening it ({})", self.way)));
        }
        let fd = match &self.backend {
            Backend::Type1(container) | Backend::Physical(container) => container.attach(&self.root, address)?,
            Backend::Ioas(ioas) => ioas.attach(&self.root, address, state.open.is_empty() && state.live.is_empty())?,
        };
        state.open.push(address);
        // Taken before the lock goes: an error below must not find the address registered by nobody.
        let membership = Membership { address, shared: Arc::clone(self) };
        let device = Device { fd, address, _membership: Some(membership) };
        let learned = self.learn(&mut state, address);
        drop(state);
        learned.map(|()| device)
    }

    /// Asks what the IOMMU takes, now that one more function narrows it, and carves out what is mapped.
    fn learn(&self, state: &mut State, address: PciAddress) -> Result<(), Error> {
        let mut limits = self.limits().map_err(|e| Cause::kernel(&e, "").error(address, "asking which addresses the IOMMU takes"))?;
        if limits.ranges.is_empty() && self.way != Way::NoIommu {
            // Kernels before 5.4 report no ranges. Every IOMMU takes 32 bits; sysfs tells what is reserved there.
            let reserved: Vec<_> = diagnose::reserved_regions(&self.root, address).into_iter().map(|(first, last, _)| (first, last)).collect();
            limits.ranges = without(&[(0, 0xffff_ffff)], &reserved);
        }
        let live: Vec<_> = state.live.iter().map(|(&iova, memory)| (iova, iova + (memory.len() as u64 - 1))).collect();
        let free = without(&limits.ranges, &live);
        state.iovas = IovaAllocator::new(limits.page_bytes, free.into_iter().map(|(first, last)| first..=last));
        state.limits = Some(limits);
        Ok(())
    }

    fn limits(&self) -> io::Result<Limits> {
        match &self.backend {
            Backend::Type1(container) | Backend::Physical(container) => container.limits(),
            Backend::Ioas(ioas) => ioas.limits(),
        }
    }

    fn allocate(&self, len_bytes: usize) -> Result<Mapping, Cause> {
        let mut state = self.lock();
        let Some(limits) = state.limits.clone() else {
            return Err(Cause::kernel(&io::Error::from_raw_os_error(libc::ENODEV), "open a function into the domain first"));
        };
        if let Backend::Physical(_) = self.backend {
            return state.physical.allocate(&self.root, len_bytes);
        }
        let granule = usize::try_from(limits.page_bytes).unwrap_or(usize::MAX);
        let memory = Memory::allocate(&self.root, len_bytes, granule)?;
        if !state.warned
            && let Some(warning) = memory.warning(&self.root)
        {
            state.warned = true;
            log::warn!("{}: {warning}; 4 KiB pages serve, but cost speed. To mend it: {}", self.name(), warning.remedy());
        }
        let (len, align) = (memory.len() as u64, memory.page_bytes() as u64);
        let ranges = limits.ranges;
        let iovas = state.iovas.as_mut().ok_or(Cause::Iova { why: "the IOMMU reports no page size".into(), ranges: ranges.clone() })?;
        let iova = iovas.take(len, align).map_err(|exhausted| Cause::Iova { why: exhausted.to_string(), ranges: ranges.clone() })?;
        let vaddr = memory.ptr().as_ptr() as u64;
        // SAFETY: the memory is owned by the state until `unmap` takes the mapping away, is touched through raw pointers alone, and no
        // Rust object lives in it.
        let mapped = unsafe {
            match &self.backend {
                Backend::Type1(container) | Backend::Physical(container) => container.map(vaddr, iova.0, len),
                Backend::Ioas(ioas) => ioas.map(vaddr, iova.0, len),
            }
        };
        if let Err(error) = mapped {
            iovas.give_back(iova, len);
            return Err(self.why_unmapped(&error, iova.0, len, ranges));
        }
        let mapping = Mapping { ptr: memory.ptr(), iova, len_bytes: memory.len(), page_bytes: memory.page_bytes() };
        state.live.insert(iova.0, memory);
        Ok(mapping)
    }

    fn why_unmapped(&self, error: &io::Error, iova: u64, len: u64, ranges: Vec<(u64, u64)>) -> Cause {
        let why = format!("the kernel refuses device address {iova:#x} for {len} bytes ({error})");
        match error.raw_os_error() {
            Some(libc::ENOSPC) if self.way == Way::Group => Cause::MappingLimit { limit: diagnose::mapping_limit(&self.root) },
            Some(libc::ENOMEM) => diagnose::memlock(&self.root, len)
                .unwrap_or_else(|| Cause::kernel(error, "the pages could not be pinned; other processes of this user may have locked memory")),
            Some(libc::EINVAL | libc::EEXIST | libc::EADDRINUSE | libc::ERANGE | libc::ENOENT) => Cause::Iova { why, ranges },
            _ => Cause::kernel(error, &why),
        }
    }
}

// SAFETY: `map` gives anonymous memory of the kernel's: zeroed, page aligned, in nobody else's hands, kept in `live` until `unmap`, whoever else is
// gone, since the caller's DmaDomain holds this object. Behind an IOMMU the functions reach what was mapped and nothing else. Without one they could
// reach all memory, which the user accepted by name; freed memory is then kept until no function is open.
unsafe impl DmaMapper for Shared {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let failed = |cause: Cause| DmaError { len_bytes, domain: self.name(), why: format!("{cause}. To mend it: {}", cause.remedy()) };
        self.allocate(len_bytes).map_err(failed)
    }

    unsafe fn unmap(&self, mapping: Mapping) {
        let mut state = self.lock();
        let iova = mapping.iova.0;
        if let Backend::Physical(_) = self.backend {
            let in_use = !state.open.is_empty();
            state.physical.give_back(&mapping, in_use);
            return;
        }
        let Some(memory) = state.live.remove(&iova) else {
            log::error!("{}: no mapping at {iova:#x} to take away", self.name());
            return;
        };
        let len = memory.len() as u64;
        let unmapped = match &self.backend {
            Backend::Type1(container) | Backend::Physical(container) => container.unmap(iova, len),
            Backend::Ioas(ioas) => ioas.unmap(iova, len),
        };
        match unmapped {
            Ok(()) => state.iovas.iter_mut().for_each(|iovas| iovas.give_back(mapping.iova, len)),
            Err(error) => {
                log::error!("{}: unmapping {len} bytes at {iova:#x}: {error}; the memory is kept, since a device may still reach it", self.name());
                state.live.insert(iova, memory);
            }
        }
    }

    fn name(&self) -> String {
        format!("VFIO domain ({})", self.way)
    }
}

/// `ranges` (first and last address) without `holes`.
pub(crate) fn without(ranges: &[(u64, u64)], holes: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = ranges.to_vec();
    for &(hole_first, hole_last) in holes {
        let cut = |(first, last): (u64, u64)| {
            let before = (first < hole_first).then(|| (first, last.min(hole_first - 1)));
            let after = (last > hole_last).then(|| (first.max(hole_last + 1), last));
            let pieces = if hole_last < first || last < hole_first { [Some((first, last)), None] } else { [before, after] };
            pieces.into_iter().flatten()
        };
        rest = rest.into_iter().flat_map(cut).collect();
    }
    rest
}

#[cfg(test)]
mod tests;
