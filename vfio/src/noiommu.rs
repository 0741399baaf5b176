//! No-IOMMU mode: the device sees physical addresses, so its memory is huge pages that follow one another in physical memory.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use driver_core::host::{Iova, IovaAllocator, IovaRequest, Mapping};
use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

use crate::error::Cause;
use crate::sysfs::{Root, diagnose};

/// Regions are carved from stretches in steps of this size.
const STEP_BYTES: u64 = 4096;

/// The memory of a domain in no-IOMMU mode.
///
/// What is given back is not handed out again while a function is open: nothing but the end of all DMA tells that a device is done with it.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    chunks: Vec<Chunk>,
    /// Freed regions: physical address and length.
    waiting: Vec<(u64, u64)>,
}

/// A stretch and what of it is free, by physical address. One allocator each, since stretches that touch in physical memory lie apart in this process.
#[derive(Debug)]
struct Chunk {
    stretch: Stretch,
    free: IovaAllocator,
}

impl Chunk {
    fn new(stretch: Stretch) -> Option<Self> {
        let range = stretch.physical..=stretch.physical + (stretch.len() as u64 - 1);
        Some(Self { free: IovaAllocator::new(STEP_BYTES, [range])?, stretch })
    }

    fn holds(&self, physical: u64) -> bool {
        physical.checked_sub(self.stretch.physical).is_some_and(|at| at < self.stretch.len() as u64)
    }

    /// Carves a region and zeroes it.
    fn take(&mut self, len: u64) -> Option<Mapping> {
        let iova = self.free.take(IovaRequest { len_bytes: len, align: STEP_BYTES }).ok()?;
        let at = self.stretch.ptr().as_ptr().wrapping_add((iova.0 - self.stretch.physical) as usize);
        let mapping = Mapping { ptr: NonNull::new(at)?, iova, len_bytes: len as usize, page_bytes: self.stretch.page_bytes };
        // SAFETY: the allocator gave these bytes of the stretch to nobody else, and no device was told of them since all functions were closed.
        unsafe { mapping.ptr.write_bytes(0, mapping.len_bytes) };
        Some(mapping)
    }
}

impl Pool {
    /// At least `len` bytes, contiguous in physical memory.
    pub(crate) fn allocate(&mut self, root: &Root, len: usize) -> Result<Mapping, Cause> {
        let bytes = (len as u64).max(1).checked_next_multiple_of(STEP_BYTES).ok_or(Cause::NoMemory { len_bytes: len as u64 })?;
        if let Some(mapping) = self.chunks.iter_mut().find_map(|chunk| chunk.take(bytes)) {
            return Ok(mapping);
        }
        let mut chunk = Chunk::new(Stretch::allocate(root, len)?).ok_or(Cause::NoMemory { len_bytes: bytes })?;
        let mapping = chunk.take(bytes).ok_or(Cause::NoMemory { len_bytes: bytes })?;
        self.chunks.push(chunk);
        Ok(mapping)
    }

    /// Takes a region back. `in_use`: a function is open.
    pub(crate) fn give_back(&mut self, mapping: &Mapping, in_use: bool) {
        self.waiting.push((mapping.iova.0, mapping.len_bytes as u64));
        if !in_use {
            self.settle();
        }
    }

    /// No function is open any more: what waits is free, and stretches without a region go back to the system.
    pub(crate) fn settle(&mut self) {
        for (physical, len) in self.waiting.drain(..) {
            let chunk = self.chunks.iter_mut().find(|chunk| chunk.holds(physical));
            if let Some(Err(error)) = chunk.map(|chunk| chunk.free.give_back(Iova(physical), len)) {
                log::error!("no-IOMMU mode: {error}");
            }
        }
        self.chunks.retain(|chunk| chunk.free.free_bytes() < chunk.stretch.len() as u64);
    }
}

/// Huge pages that are contiguous in this process and in physical memory. The kernel neither swaps nor, in practice, moves them.
#[derive(Debug)]
struct Stretch {
    view: View,
    physical: u64,
    page_bytes: usize,
}

impl Stretch {
    fn ptr(&self) -> NonNull<u8> {
        self.view.at
    }
    fn len(&self) -> usize {
        self.view.len
    }

    /// At least `len` bytes. Looks for a run among as many free pages as it needs first, among all of them then.
    fn allocate(root: &Root, len: usize) -> Result<Self, Cause> {
        let sizes = diagnose::huge_page_sizes(root);
        let smallest = sizes.last().copied().unwrap_or(2 << 20);
        let mut best = Cause::NoHugePages { page_bytes: smallest, total: 0, needed: (len as u64).div_ceil(smallest) };
        for size in sizes {
            if size != smallest && (len as u64) < size / 2 {
                continue;
            }
            let needed = (len as u64).div_ceil(size);
            let (total, free) = diagnose::huge_page_count(root, size);
            if free < needed {
                if size == smallest && !matches!(best, Cause::NotContiguous { .. }) {
                    best = Cause::NoHugePages { page_bytes: size, total, needed };
                }
                continue;
            }
            for pages in [needed, free] {
                match Self::among(pages as usize, needed as usize, size as usize)? {
                    Ok(stretch) => return Ok(stretch),
                    Err(largest) => best = Cause::NotContiguous { len_bytes: len as u64, largest_bytes: largest as u64 * size },
                }
            }
        }
        Err(best)
    }

    /// Takes `pages` pages and keeps the first run of `needed`. The inner error is the length of the longest run.
    fn among(pages: usize, needed: usize, size: usize) -> Result<Result<Self, usize>, Cause> {
        let failed = |error: rustix::io::Errno| Cause::kernel(&error.into(), "the huge pages could not be had");
        let flags = match size.trailing_zeros() {
            30 => MemfdFlags::HUGE_1GB,
            21 => MemfdFlags::HUGE_2MB,
            // Other sizes by the same encoding: the binary logarithm from bit 26 on.
            bits => MemfdFlags::from_bits_retain(bits << 26),
        };
        let file = rustix::fs::memfd_create("barewire-dma", flags | MemfdFlags::HUGETLB | MemfdFlags::CLOEXEC).map_err(failed)?;
        rustix::fs::ftruncate(&file, (pages * size) as u64).map_err(failed)?;
        let all = View::new(&file, pages * size).map_err(failed)?;
        let physical: Vec<u64> = (0..pages).map(|page| physical_address(all.at.as_ptr() as u64 + (page * size) as u64)).collect::<Result<_, _>>()?;
        let run = match longest_run(&physical, size as u64, needed) {
            Ok(run) => run,
            Err(largest) => return Ok(Err(largest)),
        };
        let view = View::new(&file, needed * size).map_err(failed)?;
        for (i, &page) in run.iter().enumerate() {
            view.place(&file, i * size, page * size, size).map_err(failed)?;
        }
        drop(all);
        release_others(&file, pages, &run, size);
        Ok(Ok(Self { physical: physical[run[0]], view, page_bytes: size }))
    }
}

/// The pages, by index, of the first run of `needed` pages whose addresses follow one another; else the length of the longest run.
fn longest_run(physical: &[u64], size: u64, needed: usize) -> Result<Vec<usize>, usize> {
    let mut order: Vec<usize> = (0..physical.len()).collect();
    order.sort_by_key(|&page| physical[page]);
    let follows = |a: &usize, b: &usize| physical[*a] + size == physical[*b];
    let runs: Vec<&[usize]> = order.chunk_by(follows).collect();
    let fits = runs.iter().find(|run| run.len() >= needed);
    fits.map(|run| run[..needed].to_vec()).ok_or_else(|| runs.iter().map(|run| run.len()).max().unwrap_or(0))
}

/// Gives back the pages that are not in the run. Where that fails they go with the descriptor and the view.
fn release_others(file: &OwnedFd, pages: usize, run: &[usize], size: usize) {
    use rustix::fs::{FallocateFlags, fallocate};
    for page in (0..pages).filter(|page| !run.contains(page)) {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = fallocate(file, hole, (page * size) as u64, size as u64) {
            log::debug!("giving back a huge page: {error}");
        }
    }
}

/// A shared mapping of a memory file.
#[derive(Debug)]
struct View {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the view owns its pages; it gives out a pointer and no references.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    fn new(file: &OwnedFd, len: usize) -> rustix::io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping at an address that the kernel chooses disturbs no other.
        let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, flags, file, 0) }?;
        let view = Self { at: NonNull::new(at.cast()).ok_or(rustix::io::Errno::NOMEM)?, len };
        // SAFETY: the range is the mapping just made; the advice changes what a child process inherits and nothing else.
        unsafe { rustix::mm::madvise(at, len, rustix::mm::Advice::LinuxDontFork) }?;
        Ok(view)
    }

    /// Puts another part of the file at `offset` of the view.
    fn place(&self, file: &OwnedFd, offset: usize, from: usize, len: usize) -> rustix::io::Result<()> {
        assert!(offset + len <= self.len, "a page outside the view");
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE | MapFlags::FIXED);
        let at = self.at.as_ptr().wrapping_add(offset);
        // SAFETY: what is replaced lies inside this view (checked above), which nobody has looked into yet.
        unsafe {
            rustix::mm::mmap(at.cast(), len, protection, flags, file, from as u64)?;
            rustix::mm::madvise(at.cast(), len, rustix::mm::Advice::LinuxDontFork)
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the mapping is this view's own, and who used its addresses owned or borrowed it.
        if let Err(error) = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), self.len) } {
            log::error!("unmapping {} bytes of DMA memory: {error}", self.len);
        }
    }
}

/// Where a page of this process lies in physical memory (Documentation/admin-guide/mm/pagemap.rst).
fn physical_address(virtual_address: u64) -> Result<u64, Cause> {
    const PRESENT: u64 = 1 << 63;
    const PAGE_FRAME: u64 = (1 << 55) - 1;
    let page = rustix::param::page_size() as u64;
    let read = || -> io::Result<u64> {
        let mut entry = [0; 8];
        File::open("/proc/self/pagemap")?.read_exact_at(&mut entry, virtual_address / page * 8)?;
        Ok(u64::from_ne_bytes(entry))
    };
    let entry = read().map_err(|error| Cause::kernel(&error, "reading /proc/self/pagemap"))?;
    match entry & PAGE_FRAME {
        0 => Err(Cause::Privilege("CAP_SYS_ADMIN")),
        _ if entry & PRESENT == 0 => Err(Cause::kernel(&io::Error::from_raw_os_error(libc::EFAULT), "a huge page is not in memory")),
        frame => Ok(frame * page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_in_any_order_and_the_longest_is_named() {
        let mib = |n: u64| n << 20;
        let physical = [mib(12), mib(10), mib(4), mib(8), mib(100)];
        assert_eq!(longest_run(&physical, mib(2), 3), Ok(vec![3, 1, 0]));
        assert_eq!(longest_run(&physical, mib(2), 1), Ok(vec![2]));
        assert_eq!(longest_run(&physical, mib(2), 4), Err(3));
        assert_eq!(longest_run(&[], mib(2), 1), Err(0));
    }

    #[test]
    fn without_huge_pages_the_cause_names_how_many_are_needed() {
        let tree = crate::sysfs::made_up::Tree::new();
        tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "1\n");
        tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
        let cause = Pool::default().allocate(&tree.root, 5 << 20).unwrap_err();
        assert_eq!(cause, Cause::NoHugePages { page_bytes: 2 << 20, total: 1, needed: 3 });
        assert_eq!(cause.remedy(), "echo 4 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    }

    #[test]
    fn regions_are_carved_and_wait_until_no_function_is_open() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 65536).unwrap();
        let stretch = Stretch { view: View::new(&file, 65536).unwrap(), physical: 0x20_0000, page_bytes: 65536 };
        let mut pool = Pool { chunks: vec![Chunk::new(stretch).unwrap()], waiting: Vec::new() };
        let tree = crate::sysfs::made_up::Tree::new();
        let first = pool.allocate(&tree.root, 5000).unwrap();
        let second = pool.allocate(&tree.root, 57_344).unwrap();
        assert_eq!((first.iova, first.len_bytes, second.iova), (Iova(0x20_0000), 8192, Iova(0x20_2000)));
        assert_eq!(second.ptr.as_ptr() as usize - first.ptr.as_ptr() as usize, 8192);
        // SAFETY: the region is this test's own.
        unsafe { first.ptr.write_bytes(0x5a, 8192) };
        pool.give_back(&first, true);
        assert!(pool.allocate(&tree.root, 4096).is_err(), "a device may still write there");
        pool.settle();
        let again = pool.allocate(&tree.root, 4096).unwrap();
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(again.ptr.as_ptr(), 4096) };
        assert!(again.iova == first.iova && bytes.iter().all(|&byte| byte == 0));
        pool.give_back(&again, true);
        pool.give_back(&second, false);
        assert!(pool.chunks.is_empty());
    }

    #[test]
    fn views_show_the_file_in_the_order_that_was_placed() {
        // The same moves with ordinary pages: huge ones are not to be had everywhere.
        let page = rustix::param::page_size();
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 3 * page as u64).unwrap();
        let file_view = File::from(file.try_clone().unwrap());
        for i in 0..3u8 {
            file_view.write_all_at(&[i + 1], u64::from(i) * page as u64).unwrap();
        }
        let view = View::new(&file, 2 * page).unwrap();
        view.place(&file, 0, 2 * page, page).unwrap();
        view.place(&file, page, 0, page).unwrap();
        // SAFETY: both bytes lie in the view.
        let seen = unsafe { [view.at.as_ptr().read_volatile(), view.at.as_ptr().add(page).read_volatile()] };
        assert_eq!(seen, [3, 1]);
        release_others(&file, 3, &[0, 2], page);
        let mut byte = [9];
        file_view.read_exact_at(&mut byte, page as u64).unwrap();
        assert_eq!(byte, [0]);
    }
}
