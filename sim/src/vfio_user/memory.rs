//! What a client maps for DMA: memory of files that it shares, and memory that it must be asked for.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::file_map::FileMap;
use super::proto::{DMA_MAP_HINTS, DMA_MAP_READ, DMA_MAP_WRITE, DMA_UNMAP_ALL, DMA_UNMAP_GET_DIRTY_BITMAP, DmaMap, DmaUnmap, MAX_DMA_MAPS};
use crate::memory::Window;

/// Which file, and whether it is mapped for writing.
#[derive(PartialEq, Eq, Clone, Copy)]
struct FileKey {
    device: u64,
    inode: u64,
    len: usize,
    writable: bool,
}

/// Device addresses that the client answers for by message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) first: u64,
    pub(super) len: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// All that a client has mapped.
#[derive(Default)]
pub(super) struct AddressSpace {
    /// Sorted by first address; no two overlap. The mapping of each lies at the same index of `owners`.
    windows: Vec<Window>,
    owners: Vec<Arc<FileMap>>,
    /// Sorted by first address; none overlaps another or a window.
    asked: Vec<Asked>,
    /// Files that are mapped whole: a client behind an IOMMU of its own maps many small pieces of few files.
    files: Vec<(FileKey, Weak<FileMap>)>,
}

/// Where the pieces of a sorted list begin and end that overlap `first..end`.
fn overlap<T>(list: &[T], first: u64, end: u64, range: impl Fn(&T) -> (u64, u64)) -> std::ops::Range<usize> {
    let from = list.partition_point(|item| range(item).1 <= first);
    let to = list.partition_point(|item| range(item).0 < end);
    from..to.max(from)
}

/// What is left of `first..end` where `cut` is taken away: what lies before it, and behind it.
fn remains((first, end): (u64, u64), cut: (u64, u64)) -> [(u64, u64); 2] {
    [(first, end.min(cut.0).max(first)), (first.max(cut.1).min(end), end)]
}

fn window_range(window: &Window) -> (u64, u64) {
    (window.first, window.first + window.len)
}

fn asked_range(asked: &Asked) -> (u64, u64) {
    (asked.first, asked.first + asked.len)
}

impl AddressSpace {
    /// What lies in memory of this process.
    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Whether the client took away pages of what it shares, and the card found none there.
    pub(super) fn is_lost(&self) -> bool {
        self.owners.iter().any(|owner| owner.is_lost())
    }

    /// What the client is asked for that holds `address`.
    pub(super) fn asked(&self, address: u64) -> Option<&Asked> {
        let index = self.asked.partition_point(|asked| asked.first <= address).checked_sub(1)?;
        self.asked.get(index).filter(|asked| address - asked.first < asked.len)
    }

    /// DMA_MAP.
    ///
    /// # Errors
    /// As the reply's error field: EINVAL for a range or a descriptor that cannot be, EEXIST where something is mapped there already, ENOSPC for too
    /// many mappings, and what mapping the file reports.
    pub(super) fn map(&mut self, map: &DmaMap, descriptors: &[OwnedFd]) -> Result<(), Errno> {
        let (flags, first, len) = (map.flags.get(), map.address.get(), map.size.get());
        let (readable, writable) = (flags & DMA_MAP_READ != 0, flags & DMA_MAP_WRITE != 0);
        let end = first.checked_add(len).filter(|_| len > 0).ok_or(Errno::INVAL)?;
        if (map.argsz.get() as usize) < size_of::<DmaMap>()
            || flags & !(DMA_MAP_READ | DMA_MAP_WRITE | DMA_MAP_HINTS) != 0
            || !(readable || writable)
            || descriptors.len() > 1
        {
            return Err(Errno::INVAL);
        }
        if !overlap(&self.windows, first, end, window_range).is_empty() || !overlap(&self.asked, first, end, asked_range).is_empty() {
            return Err(Errno::EXIST);
        }
        if self.is_full() {
            return Err(Errno::NOSPC);
        }
        let Some(file) = descriptors.first() else {
            let at = self.asked.partition_point(|asked| asked.first < first);
            self.asked.insert(at, Asked { first, len, readable, writable });
            return Ok(());
        };
        let (owner, ptr) = self.memory_of(file, map.offset.get(), len, writable)?;
        let at = self.windows.partition_point(|window| window.first < first);
        self.windows.insert(at, Window { first, len, ptr, readable, writable });
        self.owners.insert(at, owner);
        Ok(())
    }

    /// The `len` bytes at `offset` of a file, in this process.
    fn memory_of(&mut self, file: &OwnedFd, offset: u64, len: u64, writable: bool) -> Result<(Arc<FileMap>, NonNull<u8>), Errno> {
        let stat = fstat(file)?;
        let len = usize::try_from(len).map_err(|_| Errno::INVAL)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            // A device that can be mapped, of which nobody says how long it is.
            let map = Arc::new(FileMap::new(file, offset, len, writable)?);
            let ptr = map.ptr;
            return Ok((map, ptr));
        }
        let file_len = usize::try_from(stat.st_size).map_err(|_| Errno::INVAL)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        if offset.checked_add(len).is_none_or(|end| end > file_len) {
            return Err(Errno::INVAL);
        }
        let key = FileKey { device: stat.st_dev, inode: stat.st_ino, len: file_len, writable };
        let known = self.files.iter().find(|(known, _)| *known == key).and_then(|(_, map)| map.upgrade());
        let map = match known {
            Some(map) => map,
            None => {
                let map = Arc::new(FileMap::new(file, 0, file_len, writable)?);
                self.files.retain(|(_, map)| map.strong_count() > 0);
                self.files.push((key, Arc::downgrade(&map)));
                map
            }
        };
        // SAFETY: `offset` lies inside the mapping, which is as long as the file.
        let ptr = unsafe { map.ptr.add(offset) };
        Ok((map, ptr))
    }

    /// DMA_UNMAP. Ranges that nobody mapped are left alone; of a mapping that lies partly inside, the rest stays.
    ///
    /// # Errors
    /// As the reply's error field: EINVAL for a range that cannot be, EOPNOTSUPP where a bitmap of written pages is asked for, ENOSPC where too many
    /// mappings would be left.
    pub(super) fn unmap(&mut self, unmap: &DmaUnmap) -> Result<(), Errno> {
        let (flags, first, len) = (unmap.flags.get(), unmap.address.get(), unmap.size.get());
        if flags & DMA_UNMAP_GET_DIRTY_BITMAP != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if (unmap.argsz.get() as usize) < size_of::<DmaUnmap>() || flags & !DMA_UNMAP_ALL != 0 {
            return Err(Errno::INVAL);
        }
        if flags & DMA_UNMAP_ALL != 0 {
            if first != 0 || len != 0 {
                return Err(Errno::INVAL);
            }
            *self = Self::default();
            return Ok(());
        }
        // The last range may end with the address space, where nothing can be mapped.
        len.checked_sub(1).and_then(|rest| first.checked_add(rest)).ok_or(Errno::INVAL)?;
        let end = first.saturating_add(len);
        if self.is_full() && self.splits(first, end) {
            return Err(Errno::NOSPC);
        }
        self.cut(first, end);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.windows.len() + self.asked.len() >= MAX_DMA_MAPS
    }

    /// Whether taking `first..end` away makes two mappings of one. Else there are no more than before.
    fn splits(&self, first: u64, end: u64) -> bool {
        let windows = &self.windows[overlap(&self.windows, first, end, window_range)];
        let asked = &self.asked[overlap(&self.asked, first, end, asked_range)];
        let mut hit = windows.iter().map(window_range).chain(asked.iter().map(asked_range));
        hit.any(|(from, to)| from < first && end < to)
    }

    fn cut(&mut self, first: u64, end: u64) {
        let hit = overlap(&self.windows, first, end, window_range);
        let (mut windows, mut owners) = (Vec::new(), Vec::new());
        for (window, owner) in self.windows[hit.clone()].iter().zip(&self.owners[hit.clone()]) {
            for (from, to) in remains(window_range(window), (first, end)) {
                if from < to {
                    // SAFETY: `from` lies inside the window.
                    let ptr = unsafe { window.ptr.add((from - window.first) as usize) };
                    windows.push(Window { first: from, len: to - from, ptr, ..*window });
                    owners.push(Arc::clone(owner));
                }
            }
        }
        self.windows.splice(hit.clone(), windows);
        // The files' mappings that nothing refers to any more end here.
        self.owners.splice(hit, owners);
        let hit = overlap(&self.asked, first, end, asked_range);
        let rest = self.asked[hit.clone()].iter().flat_map(|asked| {
            let parts = remains(asked_range(asked), (first, end)).into_iter().filter(|(from, to)| from < to);
            parts.map(|(from, to)| Asked { first: from, len: to - from, ..*asked })
        });
        let rest: Vec<_> = rest.collect();
        self.asked.splice(hit, rest);
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::io::{dup, pwrite};

    use super::*;

    fn map(space: &mut AddressSpace, flags: u32, offset: u64, first: u64, len: u64, file: Option<&OwnedFd>) -> Result<(), Errno> {
        let argsz = size_of::<DmaMap>() as u32;
        let map = DmaMap { argsz: argsz.into(), flags: flags.into(), offset: offset.into(), address: first.into(), size: len.into() };
        let files: Vec<_> = file.iter().map(|file| dup(file).unwrap()).collect();
        space.map(&map, &files)
    }

    fn unmap(space: &mut AddressSpace, first: u64, len: u64) {
        let argsz = size_of::<DmaUnmap>() as u32;
        space.unmap(&DmaUnmap { argsz: argsz.into(), flags: 0.into(), address: first.into(), size: len.into() }).unwrap();
    }

    /// A file whose pages begin with their number.
    fn numbered(pages: u64) -> OwnedFd {
        let file = memfd_create("numbered", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, pages * 4096).unwrap();
        (0..pages).for_each(|page| _ = pwrite(&file, &[page as u8], page * 4096).unwrap());
        file
    }

    /// The number of the page where each window begins.
    fn windows(space: &AddressSpace) -> Vec<(u64, u64, u8)> {
        // SAFETY: windows lie in the mapping of a file, which the space holds.
        space.windows().iter().map(|window| (window.first, window.len, unsafe { *window.ptr.as_ptr() })).collect()
    }

    #[test]
    fn a_cut_leaves_what_lies_around_it() {
        let file = numbered(16);
        let mut space = AddressSpace::default();
        map(&mut space, 3, 0x2000, 0x10000, 0x8000, Some(&file)).unwrap();
        map(&mut space, 3, 0xb000, 0x1a000, 0x4000, Some(&file)).unwrap();
        map(&mut space, 1, 0, 0x18000, 0x2000, None).unwrap();
        assert_eq!(windows(&space), [(0x10000, 0x8000, 2), (0x1a000, 0x4000, 11)]);
        unmap(&mut space, 0x13000, 0x2000);
        assert_eq!(windows(&space), [(0x10000, 0x3000, 2), (0x15000, 0x3000, 7), (0x1a000, 0x4000, 11)]);
        unmap(&mut space, 0x17000, 0x4000);
        assert_eq!(windows(&space), [(0x10000, 0x3000, 2), (0x15000, 0x2000, 7), (0x1b000, 0x3000, 12)]);
        assert!(space.asked(0x18000).is_none());
        map(&mut space, 3, 0, 0x13000, 0x2000, None).unwrap();
        unmap(&mut space, 0x13800, 0x800);
        assert!(space.asked(0x13800).is_none());
        assert_eq!([0x13000, 0x137ff, 0x14000].map(|at| space.asked(at).map(|asked| asked.len)), [Some(0x800), Some(0x800), Some(0x1000)]);
        unmap(&mut space, 0, 1 << 63);
        assert!(windows(&space).is_empty() && space.asked(0x13000).is_none());
    }

    /// A hole in a mapping makes two of it: holes count.
    #[test]
    fn there_is_a_most_that_is_kept() {
        let mut space = AddressSpace::default();
        let unmap = |space: &mut AddressSpace, first: u64, len: u64| {
            space.unmap(&DmaUnmap { argsz: 24.into(), flags: 0.into(), address: first.into(), size: len.into() })
        };
        map(&mut space, 3, 0, 0, 1 << 40, None).unwrap();
        for hole in 0..MAX_DMA_MAPS as u64 - 1 {
            unmap(&mut space, 0x2000 * hole + 0x1000, 0x1000).unwrap();
        }
        assert_eq!(space.asked.len(), MAX_DMA_MAPS);
        assert_eq!(unmap(&mut space, 1 << 39, 0x1000), Err(Errno::NOSPC));
        assert_eq!(map(&mut space, 3, 0, 1 << 40, 0x1000, None), Err(Errno::NOSPC));
        assert!(space.asked(1 << 39).is_some(), "what is refused changes nothing");
        // What leaves no more than before is not refused.
        unmap(&mut space, (1 << 40) - 0x1000, 0x1000).unwrap();
        unmap(&mut space, 0x800, 0x2000).unwrap();
        unmap(&mut space, 0x4000, 0x1000).unwrap();
        unmap(&mut space, 1 << 39, 0x1000).unwrap();
        assert_eq!(space.asked.len(), MAX_DMA_MAPS);
    }

    #[test]
    fn a_file_is_mapped_once_and_let_go() {
        let file = numbered(16);
        let mut space = AddressSpace::default();
        for page in 0..16 {
            map(&mut space, 3, (15 - page) * 4096, page * 4096, 4096, Some(&file)).unwrap();
        }
        assert_eq!(windows(&space).iter().map(|&(.., number)| number).collect::<Vec<_>>(), (0..16).rev().collect::<Vec<_>>());
        assert_eq!(space.files.len(), 1);
        assert_eq!(space.files[0].1.strong_count(), 16);
        // For reading alone it is mapped once more.
        map(&mut space, 1, 0, 0x20000, 4096, Some(&file)).unwrap();
        assert_eq!(space.files.len(), 2);
        unmap(&mut space, 0, 0x10000);
        assert_eq!(space.files.iter().map(|(_, map)| map.strong_count()).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_device_that_may_only_read_does_not_write() {
        use crate::dma::Dma;
        use crate::violation::Violations;
        use driver_core::host::Iova;
        let (file, violations) = (numbered(2), Violations::default());
        let mut space = AddressSpace::default();
        map(&mut space, 1, 0, 0, 4096, Some(&file)).unwrap();
        map(&mut space, 3, 4096, 4096, 4096, Some(&file)).unwrap();
        map(&mut space, 1, 0, 8192, 4096, Some(&file)).unwrap();
        let dma = Dma::new(space.windows(), None, true, &violations);
        let mut bytes = [0; 2];
        dma.read(Iova(4095), &mut bytes).unwrap();
        assert_eq!(bytes, [0, 1]);
        assert!(dma.write(Iova(4095), &[9, 9]).is_err() && dma.store8(Iova(0), 1).is_err());
        assert!(dma.write(Iova(8191), &[9, 9]).is_err());
        assert_eq!((dma.load8(Iova(4096)), dma.load2(Iova(8190))), (Ok(1), Ok(0)), "a write that faults in part does nothing");
        dma.write(Iova(4096), &[9]).unwrap();
        assert_eq!((dma.load8(Iova(4096)), violations.total()), (Ok(9), 3));
    }
}
