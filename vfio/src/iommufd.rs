//! The device-node way: `/dev/vfio/devices/vfioN` bound to `/dev/iommu`, whose I/O address space (IOAS) the functions of a domain share.
//!
//! Kernel interface: `include/uapi/linux/iommufd.h` and Documentation/userspace-api/iommufd.rst.

use std::ffi::c_ulong;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use iommufd_bindings::{
    IOMMUFD_CMD_IOAS_ALLOC, IOMMUFD_CMD_IOAS_IOVA_RANGES, IOMMUFD_CMD_IOAS_MAP, IOMMUFD_CMD_IOAS_UNMAP, IOMMUFD_TYPE, iommu_ioas_alloc,
    iommu_ioas_iova_ranges, iommu_ioas_map, iommu_ioas_unmap, iommu_iova_range, iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE, iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as WRITEABLE,
};

use crate::address::PciAddress;
use crate::container::open_node;
use crate::error::{Cause, Error};
use crate::ioctl;
use crate::limits::Limits;
use crate::sysfs::{Root, diagnose};
use crate::way::Way;

const fn request(command: u32) -> c_ulong {
    rustix::ioctl::opcode::none(IOMMUFD_TYPE, command as u8) as c_ulong
}

/// `IOMMU_IOAS_ALLOC`: a new address space's ID.
fn ioas_alloc(iommufd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut alloc = iommu_ioas_alloc { size: size_of::<iommu_ioas_alloc>() as u32, ..Default::default() };
    // SAFETY: the structure carries its size and lives through the call.
    unsafe { ioctl::raw(iommufd, request(IOMMUFD_CMD_IOAS_ALLOC), (&raw mut alloc) as usize) }?;
    Ok(alloc.out_ioas_id)
}

/// `IOMMU_IOAS_IOVA_RANGES`: alignment, and the ranges that all attached devices can address (first and last address).
/// The kernel answers `EMSGSIZE` with the count where the room is too small.
fn iova_ranges(iommufd: BorrowedFd<'_>, ioas_id: u32) -> io::Result<(u64, Vec<(u64, u64)>)> {
    const MOST: usize = 1 << 16;
    let mut room = vec![iommu_iova_range::default(); 16];
    loop {
        let mut ranges = iommu_ioas_iova_ranges {
            size: size_of::<iommu_ioas_iova_ranges>() as u32,
            ioas_id,
            num_iovas: room.len() as u32,
            allowed_iovas: room.as_mut_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: the structure carries its size; it and the room of `num_iovas` ranges that it points to live through the call.
        let answer = unsafe { ioctl::raw(iommufd, request(IOMMUFD_CMD_IOAS_IOVA_RANGES), (&raw mut ranges) as usize) };
        let found = ranges.num_iovas as usize;
        match answer {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && found > room.len() && found <= MOST => {
                room.resize(found, iommu_iova_range::default());
            }
            Err(error) => return Err(error),
            Ok(_) => return Ok((ranges.out_iova_alignment, room.iter().take(found).map(|range| (range.start, range.last)).collect())),
        }
    }
}

/// `IOMMU_IOAS_MAP` at a fixed address, readable and writable for the devices.
///
/// # Safety
/// As [`ioctl::map_dma`].
unsafe fn ioas_map(iommufd: BorrowedFd<'_>, ioas_id: u32, user_va: u64, iova: u64, length: u64) -> io::Result<()> {
    let flags = FIXED_IOVA | READABLE | WRITEABLE;
    let size = size_of::<iommu_ioas_map>() as u32;
    let mut map = iommu_ioas_map { size, flags, ioas_id, user_va, length, iova, ..Default::default() };
    // SAFETY: the structure carries its size and lives through the call; the caller's promise covers the memory.
    unsafe { ioctl::raw(iommufd, request(IOMMUFD_CMD_IOAS_MAP), (&raw mut map) as usize) }.map(drop)
}

/// `IOMMU_IOAS_UNMAP`. Answers how many bytes the kernel unmapped.
fn ioas_unmap(iommufd: BorrowedFd<'_>, ioas_id: u32, iova: u64, length: u64) -> io::Result<u64> {
    let mut unmap = iommu_ioas_unmap { size: size_of::<iommu_ioas_unmap>() as u32, ioas_id, iova, length };
    // SAFETY: the structure carries its size and lives through the call.
    unsafe { ioctl::raw(iommufd, request(IOMMUFD_CMD_IOAS_UNMAP), (&raw mut unmap) as usize) }?;
    Ok(unmap.length)
}

/// One I/O address space. It goes with its descriptor.
#[derive(Debug)]
pub(crate) struct Ioas {
    iommufd: OwnedFd,
    id: u32,
}

impl Ioas {
    pub(crate) fn open(root: &Root) -> Result<Self, Error> {
        let node = root.path("dev/iommu");
        let iommufd = open_node(root, &node, "iommufd")?;
        let id = ioas_alloc(iommufd.as_fd()).map_err(|e| Cause::kernel(&e, "").error(node.display(), "making an I/O address space"))?;
        Ok(Self { iommufd, id })
    }

    #[cfg(test)]
    pub(crate) fn made_up(iommufd: OwnedFd) -> Self {
        Self { iommufd, id: 0 }
    }

    /// Opens the function's device node and attaches the function to the address space.
    pub(crate) fn attach(&self, root: &Root, address: PciAddress, first: bool) -> Result<OwnedFd, Error> {
        let node = root.device_node(address).ok_or_else(|| {
            let looked_for = root.function(address).join("vfio-dev");
            let cause = diagnose::bound(root, address);
            cause
                .or_else(|| diagnose::group_of(root, address))
                .unwrap_or(Cause::ModuleMissing { module: "vfio-pci (with CONFIG_VFIO_DEVICE_CDEV)", looked_for })
                .error(address, "looking for its device node")
        })?;
        let device = open_node(root, &node, "vfio-pci")?;
        if let Err(error) = ioctl::bind_iommufd(device.as_fd(), self.iommufd.as_fd()) {
            // Closed before looking who has it open.
            drop(device);
            return Err(unbound(root, address, &error).error(address, "binding its device node to iommufd"));
        }
        ioctl::attach_iommufd_pt(device.as_fd(), self.id).map_err(|error| {
            let why = format!("the kernel refuses the function in the address space ({error})");
            let cause = match error.raw_os_error() {
                Some(libc::EPERM) => diagnose::not_permitted(root, address, Way::Iommufd, &error),
                _ if first => Cause::kernel(&error, ""),
                _ => Cause::NotSharable { way: Way::Iommufd, why },
            };
            cause.error(address, "attaching it to the I/O address space")
        })?;
        Ok(device)
    }

    /// What all attached functions can address now.
    pub(crate) fn limits(&self) -> io::Result<Limits> {
        let (alignment, ranges) = iova_ranges(self.iommufd.as_fd(), self.id)?;
        // The kernel allows any alignment where it says 1; memory is handed out in pages anyway.
        let page_bytes = alignment.next_power_of_two().max(rustix::param::page_size() as u64);
        Ok(Limits { page_bytes, ranges, mappings_left: None })
    }

    /// # Safety
    /// As [`ioctl::map_dma`].
    pub(crate) unsafe fn map(&self, vaddr: u64, iova: u64, len: u64) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { ioas_map(self.iommufd.as_fd(), self.id, vaddr, iova, len) }
    }

    pub(crate) fn unmap(&self, iova: u64, len: u64) -> io::Result<()> {
        match ioas_unmap(self.iommufd.as_fd(), self.id, iova, len)? {
            unmapped if unmapped == len => Ok(()),
            unmapped => Err(io::Error::other(format!("the kernel unmapped {unmapped} bytes of {len}"))),
        }
    }
}

/// Why a device could not be bound: its group is in the kernel's hands or in another process', the firmware keeps it, or nothing remaps its interrupts (Linux
/// 6.12 looks at that here, the first with iommufd where the device is attached).
fn unbound(root: &Root, address: PciAddress, error: &io::Error) -> Cause {
    let looked = match error.raw_os_error() {
        Some(libc::EPERM) => {
            Some(diagnose::group_viable(root, address).unwrap_or_else(|| diagnose::not_permitted(root, address, Way::Iommufd, error)))
        }
        Some(libc::EBUSY | libc::EINVAL) => {
            diagnose::group_viable(root, address).or_else(|| diagnose::reserved(root, address)).or_else(|| diagnose::busy(root, address))
        }
        _ => None,
    };
    looked.unwrap_or_else(|| match (error.raw_os_error(), root.device_node(address)) {
        (Some(libc::EBUSY), Some(node)) => Cause::Busy { node, holders: Vec::new() },
        _ => Cause::kernel(error, "a function of its IOMMU group may be in the hands of a process that cannot be seen from here"),
    })
}
