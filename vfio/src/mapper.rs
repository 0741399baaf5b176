//! The memory that the functions of a domain see, and the functions' descriptors.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_core::host::{DmaError, DmaMapper, Iova, IovaAllocator, IovaRequest, Mapping};

use crate::address::PciAddress;
use crate::container::Container;
use crate::error::{Cause, Error};
use crate::iommufd::Ioas;
use crate::limits::{Limits, start_bytes, without};
use crate::memory::Memory;
use crate::noiommu::Pool;
use crate::sysfs::{Root, diagnose};
use crate::way::Way;

#[derive(Debug)]
enum Backend {
    Type1(Container),
    Ioas(Ioas),
    Physical(Container),
}

/// The mappings of a domain and the functions that see them. Descriptors of devices and regions each keep it alive.
pub(crate) struct Mapper {
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
    /// Its devices were unplugged while regions were mapped: these are mapped no more.
    is_over: bool,
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
    mapper: Arc<Mapper>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.mapper.lock();
        state.open.retain(|&open| open != self.address);
        if state.open.is_empty() {
            state.physical.settle();
        }
    }
}

impl Mapper {
    pub(crate) fn open(way: Way, root: Root) -> Result<Self, Error> {
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
        Ok(Self { root, way, state: Mutex::default(), backend })
    }

    pub(crate) fn way(&self) -> Way {
        self.way
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn functions(&self) -> Vec<PciAddress> {
        self.lock().open.clone()
    }

    /// What the IOMMU takes, asked anew. `None` while no function was opened.
    pub(crate) fn limits_now(&self) -> Option<Limits> {
        self.lock().limits.as_ref()?;
        self.limits().ok()
    }

    pub(crate) fn hot_reset(&self, device: BorrowedFd<'_>, groups: &[u32]) -> Option<io::Result<()>> {
        match &self.backend {
            Backend::Type1(container) | Backend::Physical(container) => container.hot_reset(device, groups),
            Backend::Ioas(_) => Some(crate::ioctl::hot_reset(device, &[])),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attach(self: &Arc<Self>, address: PciAddress) -> Result<Device, Error> {
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
            Backend::Type1(container) => {
                // What is left from before would lie at addresses where the device sees nothing.
                state.is_over |= container.forget_unplugged();
                state.is_over &= !state.live.is_empty();
                if state.is_over {
                    return Err(Cause::DomainOver { regions: state.live.len() }.error(address, "opening it (group)"));
                }
                container.attach(&self.root, address)?
            }
            Backend::Physical(container) => container.attach(&self.root, address)?,
            Backend::Ioas(ioas) => ioas.attach(&self.root, address, state.open.is_empty() && state.live.is_empty())?,
        };
        state.open.push(address);
        // Taken before the lock goes: an error below must not find the address registered by nobody.
        let membership = Membership { address, mapper: Arc::clone(self) };
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
        state.iovas = IovaAllocator::new(limits.page_bytes, limits.ranges.iter().map(|&(first, last)| first..=last));
        let State { iovas, live, .. } = state;
        if let Some(iovas) = iovas {
            live.iter().for_each(|(&iova, memory)| iovas.exclude(Iova(iova), memory.len() as u64));
        }
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
        let iova = iovas
            .take(IovaRequest { len_bytes: len, align })
            .map_err(|exhausted| Cause::Iova { why: exhausted.to_string(), ranges: ranges.clone() })?;
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
            let _ = iovas.give_back(iova, len).inspect_err(|error| log::error!("{}: {error}", self.name()));
            return Err(self.why_unmapped(&state, &error, iova.0, len));
        }
        let mapping = Mapping { ptr: memory.ptr(), iova, len_bytes: memory.len(), page_bytes: memory.page_bytes() };
        state.live.insert(iova.0, memory);
        Ok(mapping)
    }

    /// Memory could not be pinned, although the limit seems to allow it.
    fn not_pinned(&self, error: &io::Error) -> Cause {
        let limit = diagnose::memlock_limit(&self.root).map_or("no limit".into(), |bytes| format!("a limit of {bytes} bytes"));
        let unseen = match self.way {
            Way::Iommufd => {
                ", which iommufd counts over all processes of the user, those that cannot be seen from here too: raise it (ulimit -l), or end them"
            }
            _ => ": the system is short of memory, or the limit counts what cannot be seen from here",
        };
        Cause::kernel(error, &format!("the pages could not be pinned, with {limit} on locked memory (RLIMIT_MEMLOCK){unseen}"))
    }

    fn has_lost_iommu(&self) -> bool {
        matches!(&self.backend, Backend::Type1(container) if container.has_lost_iommu())
    }

    fn why_unmapped(&self, state: &State, error: &io::Error, iova: u64, len: u64) -> Cause {
        let why = format!("the kernel refuses device address {iova:#x} for {len} bytes ({error})");
        match error.raw_os_error() {
            Some(libc::ENOSPC) if self.way == Way::Group => Cause::MappingLimit { limit: diagnose::mapping_limit(&self.root) },
            Some(libc::ENOMEM) => diagnose::memlock(&self.root, self.way, state.still_to_lock(len)).unwrap_or_else(|| self.not_pinned(error)),
            Some(libc::EINVAL) if self.has_lost_iommu() => Cause::DomainOver { regions: state.live.len() },
            Some(libc::EINVAL | libc::EEXIST | libc::EADDRINUSE | libc::ERANGE | libc::ENOENT) => {
                Cause::Iova { why, ranges: state.limits.as_ref().map_or(Vec::new(), |limits| limits.ranges.clone()) }
            }
            _ => Cause::kernel(error, &why),
        }
    }
}

impl State {
    /// Bytes that will be locked beside those that are, counted from a mapping of `len` bytes that failed, until all functions that are open are started.
    fn still_to_lock(&self, len: u64) -> u64 {
        let sizes = || self.live.values().map(|memory| memory.len() as u64);
        let largest = sizes().fold(len, u64::max);
        start_bytes(largest, self.open.len() as u64).saturating_sub(sizes().sum()).max(len)
    }
}

// SAFETY: `map` gives anonymous memory of the kernel's: zeroed, page aligned, in nobody else's hands, kept in `live` until `unmap`, whoever else is
// gone, since the caller's DmaDomain holds this object. Behind an IOMMU the functions reach what was mapped and nothing else. Without one they could
// reach all memory, which the user accepted by name; freed memory is then kept until no function is open.
unsafe impl DmaMapper for Mapper {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let failed = |cause: Cause| DmaError::new(len_bytes, self.name(), format!("{cause}. To mend it: {}", cause.remedy()));
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
            Ok(()) => {
                let returned = state.iovas.as_mut().map(|iovas| iovas.give_back(mapping.iova, len));
                if let Some(Err(error)) = returned {
                    // A function that came later may have narrowed the ranges.
                    log::debug!("{}: {error}", self.name());
                }
            }
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

#[cfg(test)]
mod tests;
