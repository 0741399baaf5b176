//! Registers: volatile access to the mapped pages of a BAR, reads and writes through the kernel to the others.

use std::ptr::NonNull;
use std::sync::Arc;

use driver_core::bar::{Bar, BarError, Doorbell};
use memmap2::{MmapOptions, MmapRaw};
use volatile::VolatilePtr;

use crate::domain::Device;
use crate::error::{Cause, Error};
use crate::region::{self, Region};

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

#[derive(Debug)]
struct Window {
    len: usize,
    /// Where the BAR starts in the device's descriptor.
    offset: u64,
    areas: Vec<Area>,
    // Dropped last: the descriptor outlives the mappings made from it.
    device: Arc<Device>,
}

/// One BAR of a VFIO function. Clones share the mapping, which lives as long as one of them.
///
/// Pages that the kernel does not let a process map, and the page of the MSI-X table, are reached by reads and writes of the device's descriptor:
/// slower, and under the kernel's guard.
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
    pub(crate) fn map(device: Arc<Device>, region: &Region) -> Result<Self, Error> {
        let failed = |error: &std::io::Error| Cause::kernel(error, "").error(device.address(), "mapping a BAR");
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| failed(&std::io::Error::from_raw_os_error(libc::EFBIG)));
        let mut areas = Vec::new();
        for range in &region.mappable {
            let mut options = MmapOptions::new();
            options.offset(region.offset + range.start).len(size(range.end - range.start)?);
            areas.push(Area { start: size(range.start)?, map: options.map_raw(&device.fd()).map_err(|e| failed(&e))? });
        }
        let len = size(region.len)?;
        areas.sort_by_key(|area| std::cmp::Reverse(area.map.len()));
        let first = areas.first().map(|area| (NonNull::new(area.map.as_mut_ptr()), area.start, area.map.len()));
        let (first, first_start, first_len) = first.unwrap_or((None, 0, 0));
        let window = Arc::new(Window { len, offset: region.offset, areas, device });
        Ok(Self { first: first.unwrap_or(NonNull::dangling()), first_start, first_len, window })
    }

    /// How many bytes are mapped; the rest goes through the kernel.
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
        let answer = if self.has::<N>(offset) { region::read(&self.window.device, self.window.offset + u64::from(offset)).ok() } else { None };
        answer.unwrap_or([0xff; N])
    }

    #[cold]
    fn write_through<const N: usize>(&self, offset: u32, bytes: [u8; N]) {
        if self.has::<N>(offset)
            && let Err(error) = region::write(&self.window.device, self.window.offset + u64::from(offset), bytes)
        {
            log::debug!("{}: register write at {offset:#x} was lost: {error}", self.window.device.address());
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

impl Bar for VfioBar {
    type Doorbell = VfioDoorbell;

    fn len_bytes(&self) -> usize {
        self.window.len
    }
    access!(read8, write8, u8);
    access!(read16, write16, u16);
    access!(read32, write32, u32);
    access!(read64, write64, u64);

    fn doorbell(&self, offset: u32) -> Result<VfioDoorbell, BarError> {
        if !self.has::<4>(offset) {
            return Err(BarError { offset, len_bytes: self.window.len });
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
