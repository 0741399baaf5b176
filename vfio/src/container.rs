//! The group way: a type1v2 container, or a no-IOMMU one, and the groups in it.
//!
//! Kernel interface: Documentation/driver-api/vfio.rst, "VFIO Usage Example".

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use vfio_bindings::bindings::vfio::*;

use crate::address::PciAddress;
use crate::error::{Cause, Error};
use crate::ioctl;
use crate::limits::Limits;
use crate::sysfs::{Root, diagnose};
use crate::way::Way;

/// Opens a VFIO node; where that fails, looks why.
pub(crate) fn open_node(root: &Root, node: &Path, module: &'static str) -> Result<OwnedFd, Error> {
    let opened = File::options().read(true).write(true).open(node);
    opened.map(Into::into).map_err(|error| {
        let cause = match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Cause::ModuleMissing { module, looked_for: node.into() },
            Some(libc::EACCES) => diagnose::permission_on(root, node),
            Some(libc::EPERM) => diagnose::noiommu_privilege(root).unwrap_or_else(|| diagnose::permission_on(root, node)),
            Some(libc::EBUSY) => Cause::Busy { node: node.into(), holders: diagnose::holders(root, node) },
            _ => Cause::kernel(&error, ""),
        };
        cause.error(node.display(), "opening the node")
    })
}

/// One group that this process holds. It stays in its container until the domain goes, because the kernel drops all mappings with the last group.
#[derive(Debug)]
struct Group {
    number: u32,
    fd: OwnedFd,
}

/// A container and its groups.
#[derive(Debug)]
pub(crate) struct Container {
    // Declared before the container's descriptor: groups leave the container before it closes.
    groups: Mutex<Vec<Arc<Group>>>,
    fd: OwnedFd,
    way: Way,
}

impl Container {
    /// Opens a container for [`Way::Group`] or [`Way::NoIommu`].
    pub(crate) fn open(root: &Root, way: Way) -> Result<Self, Error> {
        let node = root.path("dev/vfio/vfio");
        let fd = open_node(root, &node, "vfio")?;
        let version = ioctl::api_version(fd.as_fd()).map_err(|e| Cause::kernel(&e, "").error(node.display(), "asking for the VFIO version"))?;
        let iommu = iommu_type(way);
        let known = ioctl::check_extension(fd.as_fd(), iommu).unwrap_or(false);
        if u32::try_from(version) != Ok(VFIO_API_VERSION) || !known {
            let cause = match way {
                Way::NoIommu => Cause::NoIommuModeOff,
                _ => Cause::ModuleMissing { module: "vfio_iommu_type1", looked_for: root.path("sys/module/vfio_iommu_type1") },
            };
            return Err(cause.error(node.display(), format!("looking for IOMMU type {iommu} of VFIO version {VFIO_API_VERSION}")));
        }
        Ok(Self { groups: Mutex::default(), fd, way })
    }

    #[cfg(test)]
    pub(crate) fn made_up(fd: OwnedFd, way: Way) -> Self {
        Self { groups: Mutex::default(), fd, way }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Puts the function's group into the container, where it is not yet, and opens the function.
    pub(crate) fn attach(&self, root: &Root, address: PciAddress) -> Result<OwnedFd, Error> {
        let number = root.iommu_group(address).ok_or_else(|| {
            let cause = diagnose::group_of(root, address).unwrap_or(Cause::NoSuchFunction(address));
            cause.error(address, "looking for its IOMMU group")
        })?;
        let mut groups = self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let group = match groups.iter().find(|group| group.number == number) {
            Some(group) => Arc::clone(group),
            None => Arc::new(self.join(root, address, number, groups.is_empty())?),
        };
        let device = ioctl::group_device(group.fd.as_fd(), &address.to_string()).map_err(|error| {
            let cause = match error.raw_os_error() {
                Some(libc::EPERM) => {
                    diagnose::noiommu_privilege(root).unwrap_or_else(|| Cause::kernel(&error, "the kernel wants the device's VF token"))
                }
                _ => diagnose::bound(root, address).unwrap_or_else(|| Cause::kernel(&error, "")),
            };
            cause.error(address, "opening the function through its group")
        })?;
        if !groups.iter().any(|held| held.number == number) {
            groups.push(group);
        }
        Ok(device)
    }

    fn join(&self, root: &Root, address: PciAddress, number: u32, first: bool) -> Result<Group, Error> {
        let node = root.group_node(address).unwrap_or_default();
        let fd = open_node(root, &node, "vfio-pci").map_err(|error| match *error.cause {
            // Whoever has the function's own node keeps the group's closed.
            Cause::Busy { ref holders, .. } if holders.is_empty() => {
                diagnose::busy(root, address).unwrap_or(*error.cause).error(error.on, error.step)
            }
            _ => error,
        })?;
        let on = node.display();
        let viable = ioctl::group_is_viable(fd.as_fd()).map_err(|e| Cause::kernel(&e, "").error(&on, "asking for the group's status"))?;
        if !viable {
            let cause = diagnose::group_viable(root, address);
            let cause = cause.unwrap_or(Cause::GroupNotViable { group: number, siblings: Vec::new() });
            return Err(cause.error(address, "taking its IOMMU group"));
        }
        ioctl::group_set_container(fd.as_fd(), self.fd()).map_err(|error| {
            let why = format!("the kernel refuses the group in the container ({error})");
            let cause = match error.raw_os_error() {
                _ if first => Cause::kernel(&error, ""),
                Some(libc::EPERM) => diagnose::not_permitted(root, address, self.way, &error),
                _ => Cause::NotSharable { way: self.way, why },
            };
            cause.error(address, "putting its IOMMU group into the container")
        })?;
        if first {
            ioctl::set_iommu(self.fd(), iommu_type(self.way)).map_err(|error| {
                let cause = match error.raw_os_error() {
                    Some(libc::EPERM) => diagnose::not_permitted(root, address, self.way, &error),
                    _ => Cause::kernel(&error, ""),
                };
                cause.error(address, "giving the container its IOMMU")
            })?;
        }
        Ok(Group { number, fd })
    }

    /// What the IOMMU can address now. Other groups in the container narrow it.
    pub(crate) fn limits(&self) -> io::Result<Limits> {
        const FALLBACK_PAGES: u64 = 4096;
        if self.way == Way::NoIommu {
            return Ok(Limits { page_bytes: FALLBACK_PAGES, ranges: Vec::new(), mappings_left: None });
        }
        let info = ioctl::iommu_info(self.fd())?;
        let pages = if info.head.flags & VFIO_IOMMU_INFO_PGSIZES != 0 { info.head.iova_pgsizes } else { FALLBACK_PAGES };
        let first = if info.head.flags & VFIO_IOMMU_INFO_CAPS != 0 { info.head.cap_offset } else { 0 };
        let mut limits = Limits::from_page_sizes(pages);
        for (id, capability) in ioctl::capabilities(&info.bytes, first) {
            match u32::from(id) {
                VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE => limits.ranges = ioctl::pairs(capability),
                VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL => limits.mappings_left = ioctl::word32(capability, 8).map(Into::into),
                _ => {}
            }
        }
        Ok(limits)
    }

    /// # Safety
    /// As [`ioctl::map_dma`].
    pub(crate) unsafe fn map(&self, vaddr: u64, iova: u64, len: u64) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { ioctl::map_dma(self.fd(), vaddr, iova, len) }
    }

    /// Takes a mapping away. Where the IOMMU went from the container there is none left, and that is no error.
    pub(crate) fn unmap(&self, iova: u64, len: u64) -> io::Result<()> {
        match ioctl::unmap_dma(self.fd(), iova, len) {
            // Nothing is mapped there: an IOMMU that is going takes its mappings away before it leaves the container.
            Ok(unmapped) if unmapped == len || unmapped == 0 => Ok(()),
            Ok(unmapped) => Err(io::Error::other(format!("the kernel unmapped {unmapped} bytes of {len}"))),
            Err(_) if self.has_lost_iommu() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the IOMMU that the container had is gone: with the last device of its last group, which was unplugged, the kernel takes the group out of the
    /// container, and with the last group the IOMMU, whose mappings it takes away and whose pages it unpins then. A container without an IOMMU answers each
    /// request for one with `EINVAL`; to this one an IOMMU has no reason to answer so.
    pub(crate) fn has_lost_iommu(&self) -> bool {
        self.way == Way::Group && ioctl::iommu_info(self.fd()).is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
    }

    /// Lets go of groups whose devices were all unplugged: the kernel has taken them out of the container, and gives the number to another group.
    /// Whether the container lost its IOMMU by that: then what was mapped is not any more.
    pub(crate) fn forget_unplugged(&self) -> bool {
        let mut groups = self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let held = groups.len();
        groups.retain(|group| !ioctl::group_is_viable(group.fd.as_fd()).is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV)));
        groups.len() < held && groups.is_empty()
    }

    /// Resets the slot or bus of a device, proving with the descriptors of these groups that all functions on it are ours.
    /// `None`: a group is missing.
    pub(crate) fn hot_reset(&self, device: BorrowedFd<'_>, numbers: &[u32]) -> Option<io::Result<()>> {
        let groups = self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fds: Option<Vec<_>> = numbers.iter().map(|n| groups.iter().find(|g| g.number == *n).map(|g| g.fd.as_fd())).collect();
        Some(ioctl::hot_reset(device, &fds?))
    }
}

fn iommu_type(way: Way) -> u32 {
    if way == Way::NoIommu { VFIO_NOIOMMU_IOMMU } else { VFIO_TYPE1v2_IOMMU }
}
