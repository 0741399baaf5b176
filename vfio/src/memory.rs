//! Memory for DMA: from huge pages where there are any, else from ordinary ones.

use std::ptr::NonNull;

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::error::Cause;
use crate::sysfs::Root;
use crate::sysfs::diagnose;

/// From this size on a region that found no huge page is worth a warning.
const WARN_FROM_BYTES: usize = 1 << 20;

/// One anonymous mapping of this process, zeroed, kept out of child processes.
#[derive(Debug)]
pub(crate) struct Memory {
    map: MmapRaw,
    /// Bytes in front that are there only so that the rest is aligned.
    skip: usize,
    len: usize,
    page_bytes: usize,
}

impl Memory {
    /// At least `len` bytes whose address and length are multiples of `granule`, the smallest page of the IOMMU (a power of two).
    ///
    /// The page size is the largest of which a region of this size fills at least a half, and of which pages are free.
    pub(crate) fn allocate(root: &Root, len: usize, granule: usize) -> Result<Self, Cause> {
        let too_long = || Cause::NoMemory { len_bytes: len as u64 };
        for size in diagnose::huge_page_sizes(root) {
            let size = usize::try_from(size).map_err(|_| too_long())?;
            if size < granule || len < size / 2 {
                continue;
            }
            let whole = len.checked_next_multiple_of(size).ok_or_else(too_long)?;
            // The kernel reserves the pages here or says no: a later touch does not fail.
            if let Ok(map) = MmapOptions::new().len(whole).huge(Some(size.trailing_zeros() as u8)).map_anon() {
                return Ok(Self::new(map.into(), granule, whole, size));
            }
        }
        let page = rustix::param::page_size();
        let len = len.checked_next_multiple_of(granule.max(page)).ok_or_else(too_long)?;
        let slack = if granule > page { granule } else { 0 };
        let map = MmapOptions::new().len(len.checked_add(slack).ok_or_else(too_long)?).map_anon();
        let map =
            map.map_err(|error| if error.raw_os_error() == Some(libc::ENOMEM) { too_long() } else { Cause::kernel(&error, "mapping memory") })?;
        Ok(Self::new(map.into(), granule, len, page))
    }

    fn new(map: MmapRaw, granule: usize, len: usize, page_bytes: usize) -> Self {
        // A child process that wrote first would otherwise leave this one with a copy that no device knows.
        if let Err(error) = map.advise(Advice::DontFork) {
            log::debug!("madvise(MADV_DONTFORK): {error}");
        }
        let skip = map.as_mut_ptr().align_offset(granule);
        Self { map, skip, len, page_bytes }
    }

    /// First byte.
    pub(crate) fn ptr(&self) -> NonNull<u8> {
        let start = self.map.as_mut_ptr().wrapping_add(self.skip);
        NonNull::new(start).unwrap_or(NonNull::dangling())
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The size of the pages behind it.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// What to tell the user about the pages, where huge ones would have been better.
    pub(crate) fn warning(&self, root: &Root) -> Option<Cause> {
        let smallest = *diagnose::huge_page_sizes(root).last()?;
        let ordinary = self.page_bytes == rustix::param::page_size() && self.len >= WARN_FROM_BYTES;
        let (total, _) = diagnose::huge_page_count(root, smallest);
        ordinary.then(|| Cause::NoHugePages { page_bytes: smallest, total, needed: (self.len as u64).div_ceil(smallest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_whole_pages() {
        for (len, granule) in [(1, 4096), (5000, 4096), (10_000, 65536), (3 << 20, 4096)] {
            let memory = Memory::allocate(&Root::system(), len, granule).unwrap();
            let at = memory.ptr().as_ptr();
            assert!(memory.len() >= len && memory.len().is_multiple_of(granule) && (at as usize).is_multiple_of(granule));
            // SAFETY: the memory is ours, `len` bytes long, and nobody else looks at it.
            let bytes = unsafe { std::slice::from_raw_parts_mut(at, memory.len()) };
            assert!(bytes.iter().all(|&b| b == 0));
            bytes.fill(0xa5);
        }
        for len in [usize::MAX - 5, 1 << 46] {
            assert_eq!(Memory::allocate(&Root::system(), len, 4096).unwrap_err(), Cause::NoMemory { len_bytes: len as u64 });
        }
    }

    #[test]
    fn a_large_region_without_huge_pages_says_so() {
        let tree = crate::sysfs::made_up::Tree::new();
        tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "3\n");
        let large = Memory { page_bytes: rustix::param::page_size(), ..Memory::allocate(&tree.root, 5 << 20, 4096).unwrap() };
        assert_eq!(large.warning(&tree.root), Some(Cause::NoHugePages { page_bytes: 2 << 20, total: 3, needed: 3 }));
        assert_eq!(Memory::allocate(&tree.root, 8192, 4096).unwrap().warning(&tree.root), None);
    }
}
