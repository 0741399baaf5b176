//! The kernel's VFIO requests (`include/uapi/linux/vfio.h`), one function each. iommufd's are in [`crate::iommufd`].
//!
//! Every argument structure begins with `argsz`. A caller sets it to what it knows and has room for; a kernel that has more to say writes the size
//! it wants back, and the request is made again with that much room. Requests that a signal interrupted are made again as well.

use std::ffi::{CString, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use vfio_bindings::bindings::vfio::*;

/// Request numbers: `_IO(VFIO_TYPE, VFIO_BASE + n)`. Groups, containers and devices use some of them twice.
const fn request(n: u32) -> c_ulong {
    rustix::ioctl::opcode::none(VFIO_TYPE, (VFIO_BASE + n) as u8) as c_ulong
}
const GET_API_VERSION: c_ulong = request(0);
const CHECK_EXTENSION: c_ulong = request(1);
const SET_IOMMU: c_ulong = request(2);
const GROUP_GET_STATUS: c_ulong = request(3);
const GROUP_SET_CONTAINER: c_ulong = request(4);
const GROUP_GET_DEVICE_FD: c_ulong = request(6);
const DEVICE_GET_INFO: c_ulong = request(7);
const DEVICE_GET_REGION_INFO: c_ulong = request(8);
const DEVICE_GET_IRQ_INFO: c_ulong = request(9);
const DEVICE_SET_IRQS: c_ulong = request(10);
const DEVICE_RESET: c_ulong = request(11);
const DEVICE_GET_PCI_HOT_RESET_INFO: c_ulong = request(12);
const DEVICE_PCI_HOT_RESET: c_ulong = request(13);
const IOMMU_GET_INFO: c_ulong = request(12);
const IOMMU_MAP_DMA: c_ulong = request(13);
const IOMMU_UNMAP_DMA: c_ulong = request(14);
const DEVICE_BIND_IOMMUFD: c_ulong = request(18);
const DEVICE_ATTACH_IOMMUFD_PT: c_ulong = request(19);

/// No answer of the kernel is anywhere near this long; a larger `argsz` is nonsense.
const LARGEST_ANSWER_BYTES: usize = 1 << 20;

/// Makes a request again until no signal interrupts it.
///
/// # Safety
/// `argument` is what `request` takes on this kind of descriptor: a value, or a pointer to a structure that lives through the call and is as long as
/// its `argsz` says.
pub(crate) unsafe fn raw(fd: BorrowedFd<'_>, request: c_ulong, argument: usize) -> io::Result<i32> {
    #[cfg(test)]
    if let Some(answer) = made_up::answer(request, argument) {
        return answer;
    }
    loop {
        // SAFETY: the caller's promise about the argument; the descriptor is open while it is borrowed.
        let answer = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) };
        if answer >= 0 {
            return Ok(answer);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A structure of the kernel's that consists of integers and begins with its own size.
///
/// # Safety
/// `repr(C)`, every bit pattern valid, no padding that matters, and the first field is the `u32` size.
pub(crate) unsafe trait Sized32: Copy {}
// SAFETY: see the definitions in vfio.h: plain integers, `argsz` first.
unsafe impl Sized32 for vfio_group_status {}
// SAFETY: as above.
unsafe impl Sized32 for vfio_device_info {}
// SAFETY: as above.
unsafe impl Sized32 for vfio_region_info {}
// SAFETY: as above.
unsafe impl Sized32 for vfio_irq_info {}
// SAFETY: as above.
unsafe impl Sized32 for vfio_iommu_type1_info {}
// SAFETY: as above.
unsafe impl Sized32 for vfio_device_bind_iommufd {}
// SAFETY: as above.
unsafe impl Sized32 for vfio_device_attach_iommufd_pt {}

/// An answer and what follows it: the head, and all bytes from the head's first on.
pub(crate) struct Answer<T> {
    pub(crate) head: T,
    pub(crate) bytes: Vec<u8>,
}

/// Makes a request whose structure may be followed by more than the head, growing the room until the kernel is content.
fn grown<T: Sized32>(fd: BorrowedFd<'_>, request: c_ulong, head: T) -> io::Result<Answer<T>> {
    let mut len = size_of::<T>();
    loop {
        let mut room = vec![0u64; len.div_ceil(8)];
        let at = room.as_mut_ptr().cast::<u8>();
        // SAFETY: the room is at least as long as the head, aligned to 8 as no structure of the kernel exceeds, and `T: Sized32` makes both copies
        // plain integers with the size first; the kernel writes at most `argsz` bytes.
        let (answer, wanted) = unsafe {
            at.cast::<T>().write(head);
            at.cast::<u32>().write(len as u32);
            raw(fd, request, at as usize)?;
            (at.cast::<T>().read(), at.cast::<u32>().read() as usize)
        };
        if wanted > LARGEST_ANSWER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the kernel asks for an answer of {wanted} bytes")));
        }
        if wanted <= len {
            let mut bytes: Vec<u8> = room.iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes.truncate(len);
            return Ok(Answer { head: answer, bytes });
        }
        len = wanted;
    }
}

/// Makes a request whose structure has a fixed size.
fn fixed<T: Sized32>(fd: BorrowedFd<'_>, request: c_ulong, mut argument: T) -> io::Result<T> {
    let at = &raw mut argument;
    // SAFETY: `T: Sized32`, and the structure lives on this stack through the call.
    unsafe {
        at.cast::<u32>().write(size_of::<T>() as u32);
        raw(fd, request, at as usize)?;
    }
    Ok(argument)
}

/// The capability chain behind an answer: `(id, bytes of the capability from its header on)`.
///
/// A chain that leaves the answer, is not aligned, or runs backwards ends there.
pub(crate) fn capabilities(bytes: &[u8], first: u32) -> impl Iterator<Item = (u16, &[u8])> {
    const HEADER: usize = size_of::<vfio_info_cap_header>();
    let mut at = first as usize;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|_| at != 0)?;
        let header = rest.get(..HEADER)?;
        let id = u16::from_ne_bytes([header[0], header[1]]);
        let next = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let end = if next > at { next.min(bytes.len()) } else { bytes.len() };
        let capability = bytes.get(at..end)?;
        at = if next > at { next } else { 0 };
        Some((id, capability))
    })
}

/// The 32-bit word at a byte offset of a capability.
pub(crate) fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The 64-bit word at a byte offset of a capability.
pub(crate) fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// A capability that is an array of pairs of 64-bit words: the count is at byte 8, the pairs start at byte 16
/// (`vfio_iommu_type1_info_cap_iova_range`, `vfio_region_info_cap_sparse_mmap`).
pub(crate) fn pairs(capability: &[u8]) -> Vec<(u64, u64)> {
    let count = word32(capability, 8).unwrap_or(0) as usize;
    (0..count).map_while(|i| Some((word64(capability, 16 + 16 * i)?, word64(capability, 24 + 16 * i)?))).collect()
}

/// `VFIO_GET_API_VERSION` on a container.
pub(crate) fn api_version(container: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: the request takes no argument.
    unsafe { raw(container, GET_API_VERSION, 0) }
}

/// `VFIO_CHECK_EXTENSION` on a container: whether it can be an IOMMU of this type.
pub(crate) fn check_extension(container: BorrowedFd<'_>, extension: u32) -> io::Result<bool> {
    // SAFETY: the request takes a number.
    unsafe { raw(container, CHECK_EXTENSION, extension as usize) }.map(|answer| answer > 0)
}

/// `VFIO_SET_IOMMU` on a container that holds a group.
pub(crate) fn set_iommu(container: BorrowedFd<'_>, iommu: u32) -> io::Result<()> {
    // SAFETY: the request takes a number.
    unsafe { raw(container, SET_IOMMU, iommu as usize) }.map(drop)
}

/// `VFIO_GROUP_GET_STATUS`: whether every device of the group is out of the kernel's hands.
pub(crate) fn group_is_viable(group: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(fixed(group, GROUP_GET_STATUS, vfio_group_status::default())?.flags & VFIO_GROUP_FLAGS_VIABLE != 0)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub(crate) fn group_set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> io::Result<()> {
    let fd: RawFd = container.as_raw_fd();
    // SAFETY: the request takes a pointer to a 32-bit descriptor, which lives through the call.
    unsafe { raw(group, GROUP_SET_CONTAINER, (&raw const fd) as usize) }.map(drop)
}

/// `VFIO_GROUP_GET_DEVICE_FD`: the device's descriptor, by its PCI address.
pub(crate) fn group_device(group: BorrowedFd<'_>, address: &str) -> io::Result<OwnedFd> {
    let address = CString::new(address).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the request takes a pointer to a string that ends in zero, which lives through the call.
    let fd = unsafe { raw(group, GROUP_GET_DEVICE_FD, address.as_ptr() as usize) }?;
    // SAFETY: the kernel made this descriptor for this call and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `VFIO_DEVICE_GET_INFO`.
pub(crate) fn device_info(device: BorrowedFd<'_>) -> io::Result<vfio_device_info> {
    Ok(grown(device, DEVICE_GET_INFO, vfio_device_info::default())?.head)
}

/// `VFIO_DEVICE_GET_REGION_INFO`, with its capabilities.
pub(crate) fn region_info(device: BorrowedFd<'_>, index: u32) -> io::Result<Answer<vfio_region_info>> {
    grown(device, DEVICE_GET_REGION_INFO, vfio_region_info { index, ..Default::default() })
}

/// `VFIO_DEVICE_GET_IRQ_INFO`.
pub(crate) fn irq_info(device: BorrowedFd<'_>, index: u32) -> io::Result<vfio_irq_info> {
    fixed(device, DEVICE_GET_IRQ_INFO, vfio_irq_info { index, ..Default::default() })
}

/// `VFIO_DEVICE_SET_IRQS`: vectors 0 and on of an interrupt trigger these event descriptors. None: the interrupt is turned off.
pub(crate) fn set_irqs(device: BorrowedFd<'_>, index: u32, eventfds: &[BorrowedFd<'_>]) -> io::Result<()> {
    const HEAD_BYTES: u32 = 20;
    let data = if eventfds.is_empty() { VFIO_IRQ_SET_DATA_NONE } else { VFIO_IRQ_SET_DATA_EVENTFD };
    let count = eventfds.len() as u32;
    // struct vfio_irq_set: argsz, flags, index, start, count, data[].
    let mut words = vec![HEAD_BYTES + 4 * count, data | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, count];
    words.extend(eventfds.iter().map(|fd| fd.as_raw_fd() as u32));
    // SAFETY: the words are the structure, argsz is its length in bytes, and it lives through the call.
    match unsafe { raw(device, DEVICE_SET_IRQS, words.as_ptr() as usize) }? {
        0 => Ok(()),
        // The kernel could not get so many vectors from the platform, and turned none on.
        left => Err(io::Error::other(format!("the platform has {left} interrupt vectors left for this device, {count} were asked for"))),
    }
}

/// `VFIO_DEVICE_RESET`: function-level reset, or what the kernel has in its place for this function alone.
pub(crate) fn reset(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    unsafe { raw(device, DEVICE_RESET, 0) }.map(drop)
}

/// A function that a reset of the slot or bus would reset too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dependent {
    /// The IOMMU group, or under iommufd the device's ID (`VFIO_PCI_DEVID_OWNED`, `VFIO_PCI_DEVID_NOT_OWNED` or an ID).
    pub(crate) owner: u32,
    pub(crate) segment: u16,
    pub(crate) bus: u8,
    pub(crate) devfn: u8,
}

/// What `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HotReset {
    /// `VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED`: iommufd, and this process owns all of them.
    pub(crate) all_owned: bool,
    pub(crate) functions: Vec<Dependent>,
}

/// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`. The kernel answers `ENOSPC` with the count where the room is too small.
pub(crate) fn hot_reset_info(device: BorrowedFd<'_>) -> io::Result<HotReset> {
    const HEAD_WORDS: usize = 3;
    let mut count = 8usize;
    loop {
        // struct vfio_pci_hot_reset_info: argsz, flags, count, then two words for each function.
        let mut words = vec![0u32; HEAD_WORDS + 2 * count];
        words[0] = (4 * words.len()) as u32;
        // SAFETY: argsz is the length of the words, which live through the call.
        let answer = unsafe { raw(device, DEVICE_GET_PCI_HOT_RESET_INFO, words.as_mut_ptr() as usize) };
        let found = words[2] as usize;
        match answer {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && found > count && found < LARGEST_ANSWER_BYTES / 8 => count = found,
            Err(error) => return Err(error),
            Ok(_) => {
                let functions = words[HEAD_WORDS..].chunks_exact(2).take(found).map(|pair| {
                    let place = pair[1].to_ne_bytes();
                    Dependent { owner: pair[0], segment: u16::from_ne_bytes([place[0], place[1]]), bus: place[2], devfn: place[3] }
                });
                return Ok(HotReset { all_owned: words[1] & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED != 0, functions: functions.collect() });
            }
        }
    }
}

/// `VFIO_DEVICE_PCI_HOT_RESET`: proves ownership by the groups' descriptors, by none under iommufd.
pub(crate) fn hot_reset(device: BorrowedFd<'_>, groups: &[BorrowedFd<'_>]) -> io::Result<()> {
    // struct vfio_pci_hot_reset: argsz, flags, count, group_fds[].
    let mut words = vec![4 * (3 + groups.len() as u32), 0, groups.len() as u32];
    words.extend(groups.iter().map(|fd| fd.as_raw_fd() as u32));
    // SAFETY: the words are the structure, argsz is its length in bytes, and it lives through the call.
    unsafe { raw(device, DEVICE_PCI_HOT_RESET, words.as_ptr() as usize) }.map(drop)
}

/// `VFIO_IOMMU_GET_INFO`, with its capabilities.
pub(crate) fn iommu_info(container: BorrowedFd<'_>) -> io::Result<Answer<vfio_iommu_type1_info>> {
    grown(container, IOMMU_GET_INFO, vfio_iommu_type1_info::default())
}

/// `VFIO_IOMMU_MAP_DMA`, readable and writable for the device.
///
/// # Safety
/// The memory belongs to the caller, to whom it no longer matters what a device writes there, until [`unmap_dma`] of the same range.
pub(crate) unsafe fn map_dma(container: BorrowedFd<'_>, vaddr: u64, iova: u64, size: u64) -> io::Result<()> {
    let argsz = size_of::<vfio_iommu_type1_dma_map>() as u32;
    let map = vfio_iommu_type1_dma_map { argsz, flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, vaddr, iova, size };
    // SAFETY: the structure lives through the call; the caller's promise covers the memory.
    unsafe { raw(container, IOMMU_MAP_DMA, (&raw const map) as usize) }.map(drop)
}

/// `VFIO_IOMMU_UNMAP_DMA`. Answers how many bytes the kernel unmapped.
pub(crate) fn unmap_dma(container: BorrowedFd<'_>, iova: u64, size: u64) -> io::Result<u64> {
    let argsz = size_of::<vfio_iommu_type1_dma_unmap>() as u32;
    let mut unmap = vfio_iommu_type1_dma_unmap { argsz, iova, size, ..Default::default() };
    // SAFETY: the structure lives through the call and has no data behind it.
    unsafe { raw(container, IOMMU_UNMAP_DMA, (&raw mut unmap) as usize) }?;
    Ok(unmap.size)
}

/// `VFIO_DEVICE_BIND_IOMMUFD`: takes ownership of the device for this iommufd. Answers the device's ID there.
pub(crate) fn bind_iommufd(device: BorrowedFd<'_>, iommufd: BorrowedFd<'_>) -> io::Result<u32> {
    let bind = vfio_device_bind_iommufd { iommufd: iommufd.as_raw_fd(), ..Default::default() };
    Ok(fixed(device, DEVICE_BIND_IOMMUFD, bind)?.out_devid)
}

/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`: the device's DMA goes through this address space.
pub(crate) fn attach_iommufd_pt(device: BorrowedFd<'_>, pt_id: u32) -> io::Result<()> {
    fixed(device, DEVICE_ATTACH_IOMMUFD_PT, vfio_device_attach_iommufd_pt { pt_id, ..Default::default() }).map(drop)
}

/// A kernel that answers as a test wants, on the thread of the test.
#[cfg(test)]
pub(crate) mod made_up {
    use std::cell::RefCell;

    use super::*;

    type Kernel = Box<dyn Fn(u32, usize) -> Option<io::Result<i32>>>;

    thread_local! {
        static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
    }

    /// From here on `kernel` is asked first, with the request's number and its argument; where it answers `None` the system is asked.
    pub(crate) fn answer_by(kernel: impl Fn(u32, usize) -> Option<io::Result<i32>> + 'static) {
        KERNEL.set(Some(Box::new(kernel)));
    }

    pub(super) fn answer(request: c_ulong, argument: usize) -> Option<io::Result<i32>> {
        // The numbers of both VFIO and iommufd are in the low byte.
        KERNEL.with_borrow(|kernel| kernel.as_ref().and_then(|kernel| kernel(request as u32 & 0xff, argument)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(id: u16, next: u32, body: &[u64]) -> Vec<u8> {
        let mut bytes = id.to_ne_bytes().to_vec();
        bytes.extend(1u16.to_ne_bytes());
        bytes.extend(next.to_ne_bytes());
        bytes.extend(body.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn a_chain_of_two_is_read_in_full() {
        let mut bytes = vec![0; 24];
        bytes.extend(capability(1, 24 + 48, &[2, 0x1000, 0xfedf_ffff, 0xfef0_0000, (1 << 39) - 1]));
        bytes.extend(capability(3, 0, &[65535]));
        let chain: Vec<_> = capabilities(&bytes, 24).collect();
        assert_eq!(chain.iter().map(|c| c.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(pairs(chain[0].1), [(0x1000, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)]);
        assert_eq!(word32(chain[1].1, 8), Some(65535));
    }

    #[test]
    fn a_chain_that_makes_no_sense_ends() {
        let circle = [vec![0; 24], capability(1, 24, &[])].concat();
        assert_eq!(capabilities(&circle, 24).count(), 1);
        let outside = [vec![0; 24], capability(1, 4000, &[])].concat();
        assert_eq!(capabilities(&outside, 24).count(), 1);
        assert_eq!(capabilities(&outside, 30).count(), 0);
        assert_eq!(capabilities(&outside, 0).count(), 0);
        // An array that claims more entries than there are bytes gives those that are there.
        let short = capability(1, 0, &[1000, 1, 2]);
        assert_eq!(pairs(&short), [(1, 2)]);
    }

    #[test]
    fn a_request_on_the_wrong_kind_of_file_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&file);
        assert_eq!(api_version(fd).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(hot_reset_info(fd).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert!(region_info(fd, 0).is_err() && iommu_info(fd).is_err() && unmap_dma(fd, 0, 4096).is_err());
    }
}
