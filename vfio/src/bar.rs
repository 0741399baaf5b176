//! Registers: volatile access to the mapped pages of a BAR, reads and writes through the kernel or by messages to the others.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use driver_core::host::{Bar, BarError, Doorbell, RegSpace};
use memmap2::{MmapOptions, MmapRaw};
use volatile::VolatilePtr;

use crate::error::{Cause, Error};
use crate::mapper::Device;
use crate::region::{self, Region};
use crate::user::Connection;

/// One mapped stretch of a BAR.
#[derive(Debug)]
struct Area {
    start: usize,
    map: MmapRaw,
}

impl Area {
    /// The register's address, where `len` bytes at `offset` lie inside.
    #[inline(always)]
    fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let within = offset.checked_sub(self.start)?;
        let fits = self.map.len().checked_sub(within).is_some_and(|rest| rest >= len);
        if fits { NonNull::new(self.map.as_mut_ptr().wrapping_add(within)) } else { None }
    }
}

/// The way to the pages that are not mapped.
#[derive(Debug)]
enum Through {
    /// Reads and writes of the device's descriptor, in which the BAR starts at `offset`.
    Kernel { device: Arc<Device>, offset: u64 },
    /// Messages to a vfio-user server.
    Server { connection: Arc<Connection>, index: u8 },
}

impl Through {
    fn read<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        match self {
            Self::Kernel { device, offset } => region::read(device, offset + at),
            Self::Server { connection, index } => connection.region_read(u32::from(*index), at).map_err(|cause| io::Error::other(cause.to_string())),
        }
    }

    /// Writes are posted, as on a bus, where there is such a thing.
    fn write<const N: usize>(&self, at: u64, bytes: [u8; N]) -> io::Result<()> {
        match self {
            Self::Kernel { device, offset } => region::write(device, offset + at, bytes),
            Self::Server { connection, index } => {
                connection.region_post(u32::from(*index), at, &bytes).map_err(|cause| io::Error::other(cause.to_string()))
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Kernel { device, .. } => device.address().to_string(),
            Self::Server { connection, .. } => connection.name().into(),
        }
    }
}

#[derive(Debug)]
struct Window {
    len: usize,
    areas: Vec<Area>,
    // Dropped last: the descriptor outlives the mappings made from it.
    through: Through,
}

/// One BAR of a VFIO function or of a vfio-user device. Clones share the mapping, which lives as long as one of them.
///
/// Pages that the kernel does not let a process map, and the page of the MSI-X table, are reached by reads and writes of the device's descriptor:
/// slower, and under the kernel's guard. With a vfio-user server they are messages; those that write are not waited for.
#[derive(Debug, Clone)]
pub struct VfioBar {
    /// The largest mapped area, looked at first: in most BARs the only one. Points into `window`.
    first: NonNull<u8>,
    first_start: usize,
    first_len: usize,
    window: Arc<Window>,
}

// SAFETY: the pointer leads into a mapping that `window` keeps; registers have no thread affinity, and every access is one volatile load or store.
unsafe impl Send for VfioBar {}
// SAFETY: as above; the device orders concurrent accesses as it does those of several processors.
unsafe impl Sync for VfioBar {}

impl VfioBar {
    /// Maps what may be mapped of a region.
    pub(crate) fn map(device: &Arc<Device>, region: &Region) -> Result<Self, Error> {
        let through = Through::Kernel { device: Arc::clone(device), offset: region.offset };
        Self::with_areas(region, Some(device.fd()), through)
    }

    /// Maps what may be mapped of a server's region, of which it gave the descriptor.
    pub(crate) fn of_server(connection: Arc<Connection>, index: u8, region: &Region, fd: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        Self::with_areas(region, fd, Through::Server { connection, index })
    }

    fn with_areas(region: &Region, fd: Option<BorrowedFd<'_>>, through: Through) -> Result<Self, Error> {
        let failed = |error: &io::Error| Cause::kernel(error, "").error(through.name(), "mapping a BAR");
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| failed(&io::Error::from_raw_os_error(libc::EFBIG)));
        let mut areas = Vec::new();
        for (range, fd) in fd.iter().flat_map(|fd| region.mappable.iter().map(move |range| (range, fd))) {
            let mut options = MmapOptions::new();
            options.offset(region.offset + range.start).len(size(range.end - range.start)?);
            match options.map_raw(fd) {
                Ok(map) => areas.push(Area { start: size(range.start)?, map }),
                // A server answers messages for all of a BAR: its descriptor saves them and is not needed.
                Err(error) if matches!(through, Through::Server { .. }) => {
                    log::warn!("{}: {range:#x?} of a BAR cannot be mapped and is reached by messages: {error}", through.name());
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        let len = size(region.len)?;
        areas.sort_by_key(|area| std::cmp::Reverse(area.map.len()));
        let first = areas.first().map(|area| (NonNull::new(area.map.as_mut_ptr()), area.start, area.map.len()));
        let (first, first_start, first_len) = first.unwrap_or((None, 0, 0));
        let window = Arc::new(Window { len, areas, through });
        Ok(Self { first: first.unwrap_or(NonNull::dangling()), first_start, first_len, window })
    }

    /// How many bytes are mapped; the rest goes through the kernel or by messages.
    pub fn mapped_bytes(&self) -> usize {
        self.window.areas.iter().map(|area| area.map.len()).sum()
    }

    /// Where `N` bytes at `offset` are mapped. `None`: not mapped, not aligned, or outside.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: u32) -> Option<NonNull<u8>> {
        let offset = offset as usize;
        if !offset.is_multiple_of(N) {
            return None;
        }
        let within = offset.wrapping_sub(self.first_start);
        if within < self.first_len && self.first_len - within >= N {
            return NonNull::new(self.first.as_ptr().wrapping_add(within));
        }
        self.at_other(offset, N)
    }

    #[cold]
    fn at_other(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        self.window.areas.iter().find_map(|area| area.at(offset, len))
    }

    /// Whether `N` aligned bytes at `offset` are part of the BAR.
    fn has<const N: usize>(&self, offset: u32) -> bool {
        (offset as usize).is_multiple_of(N) && (offset as usize).checked_add(N).is_some_and(|end| end <= self.window.len)
    }

    #[cold]
    fn read_through<const N: usize>(&self, offset: u32) -> [u8; N] {
        // All ones is what the bus answers where nobody does.
        let answer = if self.has::<N>(offset) { self.window.through.read(u64::from(offset)).ok() } else { None };
        answer.unwrap_or([0xff; N])
    }

    #[cold]
    fn write_through<const N: usize>(&self, offset: u32, bytes: [u8; N]) {
        if self.has::<N>(offset)
            && let Err(error) = self.window.through.write(u64::from(offset), bytes)
        {
            log::debug!("{}: register write at {offset:#x} was lost: {error}", self.window.through.name());
        }
    }
}

/// A read and a write of one width.
macro_rules! access {
    ($read:ident, $write:ident, $int:ty) => {
        #[inline(always)]
        fn $read(&self, offset: u32) -> $int {
            match self.at::<{ size_of::<$int>() }>(offset) {
                // SAFETY: `at` gave the address of an aligned register inside a mapping that `self.window` keeps, readable and writable.
                Some(at) => <$int>::from_le(unsafe { VolatilePtr::new(at.cast::<$int>()) }.read()),
                None => <$int>::from_le_bytes(self.read_through(offset)),
            }
        }
        #[inline(always)]
        fn $write(&self, offset: u32, value: $int) {
            match self.at::<{ size_of::<$int>() }>(offset) {
                // SAFETY: as for reading.
                Some(at) => unsafe { VolatilePtr::new(at.cast::<$int>()) }.write(value.to_le()),
                None => self.write_through(offset, value.to_le_bytes()),
            }
        }
    };
}

impl RegSpace for VfioBar {
    fn len_bytes(&self) -> usize {
        self.window.len
    }
    access!(read8, write8, u8);
    access!(read16, write16, u16);
    access!(read32, write32, u32);
    access!(read64, write64, u64);
}

impl Bar for VfioBar {
    type Doorbell = VfioDoorbell;

    fn doorbell(&self, offset: u32) -> Result<VfioDoorbell, BarError> {
        if !self.has::<4>(offset) {
            return Err(BarError::new(offset, self.window.len));
        }
        Ok(VfioDoorbell { at: self.at::<4>(offset), offset, bar: self.clone() })
    }
}

/// A validated register of a [`VfioBar`]: one store where its page is mapped.
#[derive(Debug)]
pub struct VfioDoorbell {
    at: Option<NonNull<u8>>,
    offset: u32,
    bar: VfioBar,
}

// SAFETY: as for VfioBar, whose mapping the doorbell keeps.
unsafe impl Send for VfioDoorbell {}

impl Doorbell for VfioDoorbell {
    #[inline(always)]
    fn ring(&self, value: u32) {
        match self.at {
            // SAFETY: `doorbell` found four aligned bytes here, in a mapping that `self.bar` keeps.
            Some(at) => unsafe { VolatilePtr::new(at.cast::<u32>()) }.write(value.to_le()),
            None => self.bar.write_through(self.offset, value.to_le_bytes()),
        }
    }
    #[inline(always)]
    fn ring16(&self, value: u16) {
        match self.at {
            // SAFETY: as above; two of the four bytes.
            Some(at) => unsafe { VolatilePtr::new(at.cast::<u16>()) }.write(value.to_le()),
            None => self.bar.write_through(self.offset, value.to_le_bytes()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use std::ops::Range;
    use std::os::unix::fs::FileExt;

    use super::*;

    const LEN: u64 = 0x4000;
    const OFFSET: u64 = 0x1_0000;

    /// A BAR in a file, whose every byte is its offset's low byte, and the file.
    fn bar(mappable: &[Range<u64>]) -> (VfioBar, std::fs::File) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&(0..LEN).map(|i| i as u8).collect::<Vec<_>>(), OFFSET).unwrap();
        // What lies behind the BAR belongs to another region.
        file.write_all_at(&[0x77; 4096], OFFSET + LEN).unwrap();
        let device = Device::made_up(file.try_clone().unwrap().into(), "01:00.0".parse().unwrap());
        let region = Region { len: LEN, offset: OFFSET, mappable: mappable.to_vec() };
        (VfioBar::map(&Arc::new(device), &region).unwrap(), file)
    }

    #[test]
    fn every_width_reads_and_writes_mapped_or_not() {
        for mappable in [&[0..LEN][..], &[], &[0x1000..0x2000], &[0..0x1000, 0x2000..0x4000]] {
            let (bar, file) = bar(mappable);
            assert_eq!((bar.len_bytes() as u64, bar.mapped_bytes() as u64), (LEN, mappable.iter().map(|r| r.end - r.start).sum()));
            for at in [0x10, 0x1ff8, 0x2000, 0x3ff8] {
                let low = at as u8;
                assert_eq!(bar.read8(at + 1), low + 1);
                assert_eq!(bar.read16(at + 2), u16::from_le_bytes([low + 2, low + 3]));
                assert_eq!(bar.read32(at + 4), u32::from_le_bytes([low + 4, low + 5, low + 6, low + 7]));
                assert_eq!(bar.read64(at), u64::from_le_bytes(std::array::from_fn(|i| low + i as u8)));
                bar.write64(at, 0x8877_6655_4433_2211);
                bar.write32(at, 0xdcba_bcde);
                bar.write16(at + 6, 0x1234);
                bar.write8(at + 5, 0xff);
                let mut seen = [0; 8];
                file.read_exact_at(&mut seen, OFFSET + u64::from(at)).unwrap();
                assert_eq!(seen, [0xde, 0xbc, 0xba, 0xdc, 0x55, 0xff, 0x34, 0x12], "{at:#x} with {mappable:x?}");
            }
        }
    }

    #[test]
    fn what_is_outside_or_not_aligned_reads_all_ones_and_loses_writes() {
        for mappable in [&[0..LEN][..], &[], &[0x3000..0x4000]] {
            let (bar, file) = bar(mappable);
            for at in [LEN as u32, LEN as u32 - 2, LEN as u32 + 0x800, 1, 2, u32::MAX - 3, u32::MAX] {
                assert_eq!(bar.read32(at), u32::MAX, "{at:#x}");
                bar.write32(at, 0);
                assert!(bar.doorbell(at).is_err());
            }
            assert_eq!((bar.read8(LEN as u32), bar.read16(LEN as u32), bar.read64(LEN as u32 - 4)), (0xff, 0xffff, u64::MAX));
            bar.write8(LEN as u32, 0);
            let mut seen = vec![0; LEN as usize + 16];
            file.read_exact_at(&mut seen, OFFSET).unwrap();
            assert!(seen[..LEN as usize].iter().enumerate().all(|(i, &byte)| byte == i as u8) && seen[LEN as usize..] == [0x77; 16]);
        }
    }

    #[test]
    fn a_doorbell_outlives_its_bar_and_works_from_another_thread() {
        for mappable in [&[0..LEN][..], &[0..0x1000], &[0x2000..0x3000]] {
            let (bar, file) = bar(mappable);
            let doorbell = bar.doorbell(0x2008).unwrap();
            drop(bar);
            let ring = move || {
                doorbell.ring(0x0403_0201);
                doorbell.ring16(0xbbaa);
            };
            std::thread::spawn(ring).join().unwrap();
            let mut seen = [0; 5];
            file.read_exact_at(&mut seen, OFFSET + 0x2008).unwrap();
            assert_eq!(seen, [0xaa, 0xbb, 3, 4, 0x0c]);
        }
    }
}
