//! Memory for a device's rings: one region that a device can reach, cut into parts.
//!
//! A device has many rings, and each mapping costs an entry of the IOMMU and at least a page. [`RingMemory`] maps once and hands out [`RingPart`]s one
//! after another; rings that are made without one map a region for themselves.
//!
//! ```
//! use driver_core::host::DmaDomain;
//! use driver_core::buf::{BufPool, PoolConfig};
//! use driver_core::ring::{DescRing, RingError, RingMemory, RxRing, RxRules, TxRing, TxRules};
//!
//! fn rings(domain: &DmaDomain, pool: &BufPool, rx: RxRules, tx: TxRules) -> Result<(RxRing, TxRing), RingError> {
//!     // The 82599 wants its rings at multiples of 128 bytes (8.2.3.8.1, RDBAL).
//!     let mut memory = RingMemory::new(domain, DescRing::part_bytes(512) + DescRing::part_bytes(256))?;
//!     let part = memory.take(DescRing::part_bytes(512), 128)?;
//!     let rx = RxRing::in_part(part, pool, 512, 0, rx)?;
//!     let part = memory.take(DescRing::part_bytes(256), 128)?;
//!     Ok((rx, TxRing::in_part(part, pool, 256, tx, false)?))
//! }
//! ```

use alloc::sync::Arc;
use core::fmt;
use core::ptr::NonNull;

use crate::host::dma::{DmaDomain, DmaRegion, Iova};
use crate::ring::error::RingError;

/// Parts begin at multiples of this, so that no two of them share a cache line (nor the pair of lines that processors fetch together): they are
/// written by different threads and by the device.
const STEP_BYTES: usize = 128;
/// More than any device's rings take together.
const MAX_BYTES: usize = 1 << 32;

/// How many bytes of a [`RingMemory`] a part of `len_bytes` takes where it is aligned to no more than 128 bytes.
pub(crate) const fn part_bytes(len_bytes: usize) -> usize {
    match len_bytes.checked_next_multiple_of(STEP_BYTES) {
        Some(bytes) => bytes,
        None => usize::MAX,
    }
}

/// One region for several rings. It hands out parts from its start to its end and takes none back: the whole region is unmapped when the last part is
/// gone, and never where one of them is leaked.
#[derive(Debug)]
pub struct RingMemory {
    region: Arc<DmaRegion>,
    used_bytes: usize,
}

impl RingMemory {
    /// Maps at least `len_bytes` of zeros: the sum of what the rings say that they need, such as
    /// [`DescRing::part_bytes`](crate::ring::desc::DescRing::part_bytes).
    ///
    /// # Errors
    /// [`RingError::Dma`]; [`RingError::Memory`] beyond 4 GiB, which no device's rings take.
    pub fn new(domain: &DmaDomain, len_bytes: usize) -> Result<Self, RingError> {
        if len_bytes > MAX_BYTES {
            return Err(RingError::Memory { needed_bytes: len_bytes, have_bytes: MAX_BYTES });
        }
        Ok(Self { region: Arc::new(domain.allocate(len_bytes)?), used_bytes: 0 })
    }

    /// The domain that it is mapped in.
    pub fn domain(&self) -> &DmaDomain {
        self.region.domain()
    }

    /// How many bytes were not handed out yet.
    pub fn free_bytes(&self) -> usize {
        self.region.len_bytes() - self.used_bytes
    }

    /// The next `len_bytes`, all zero, which begin at a multiple of `align_bytes` both for the processor and for the device.
    ///
    /// # Errors
    /// [`RingError::Memory`] where there are not so many, [`RingError::Alignment`] where `align_bytes` is no power of two or more than the mapping keeps.
    pub fn take(&mut self, len_bytes: usize, align_bytes: usize) -> Result<RingPart, RingError> {
        let misaligned = RingError::Alignment { align_bytes };
        if !align_bytes.is_power_of_two() {
            return Err(misaligned);
        }
        let (first, iova) = (self.region.ptr(), self.region.iova());
        let too_small = RingError::Memory { needed_bytes: len_bytes, have_bytes: self.free_bytes() };
        let after = |offset: usize| first.addr().get().checked_add(offset);
        let Some(start) = after(self.used_bytes).and_then(|at| at.checked_next_multiple_of(align_bytes.max(STEP_BYTES))) else {
            return Err(too_small);
        };
        let offset = start - first.addr().get();
        let end = offset.checked_add(len_bytes).filter(|&end| end <= self.region.len_bytes());
        let Some(end) = end else { return Err(too_small) };
        let iova = iova.offset(offset as u64);
        if !iova.0.is_multiple_of(align_bytes as u64) {
            return Err(misaligned);
        }
        self.used_bytes = end;
        // SAFETY: `offset` is at most the region's length.
        let ptr = unsafe { first.add(offset) };
        Ok(RingPart { region: self.region.clone(), ptr, iova, len_bytes })
    }
}

/// A part of a [`RingMemory`] that is its owner's alone, all zero at first. It keeps the region.
pub struct RingPart {
    region: Arc<DmaRegion>,
    ptr: NonNull<u8>,
    iova: Iova,
    len_bytes: usize,
}

// SAFETY: the part is memory of a region, which is valid from any thread, and no other part has its bytes; all access goes through raw pointers whose
// users state their own reasons.
unsafe impl Send for RingPart {}
// SAFETY: as above; `&RingPart` gives addresses and no access.
unsafe impl Sync for RingPart {}

impl RingPart {
    /// A region of at least `len_bytes` for one ring alone.
    pub(crate) fn alone(domain: &DmaDomain, len_bytes: usize) -> Result<Self, RingError> {
        RingMemory::new(domain, len_bytes)?.take(len_bytes, STEP_BYTES)
    }

    /// The same without its first `bytes`.
    ///
    /// # Errors
    /// [`RingError::Memory`] where it has fewer.
    pub(crate) fn behind(self, bytes: usize) -> Result<Self, RingError> {
        let Self { region, ptr, iova, len_bytes } = self;
        let Some(left) = len_bytes.checked_sub(bytes) else {
            return Err(RingError::Memory { needed_bytes: bytes, have_bytes: len_bytes });
        };
        // SAFETY: the part has more than `bytes` at `ptr`, or just as many.
        Ok(Self { region, ptr: unsafe { ptr.add(bytes) }, iova: iova.offset(bytes as u64), len_bytes: left })
    }

    /// Where the device finds the first byte.
    pub fn iova(&self) -> Iova {
        self.iova
    }

    /// The length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The domain that it is mapped in.
    pub fn domain(&self) -> &DmaDomain {
        self.region.domain()
    }

    /// What keeps the memory.
    pub(crate) fn region(&self) -> &Arc<DmaRegion> {
        &self.region
    }

    /// The first byte, for whoever owns the part.
    #[inline(always)]
    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// Whether the part has `needed_bytes` and begins where values aligned to `align_bytes` may lie.
    pub(crate) fn check(&self, needed_bytes: usize, align_bytes: usize) -> Result<(), RingError> {
        if self.len_bytes < needed_bytes {
            return Err(RingError::Memory { needed_bytes, have_bytes: self.len_bytes });
        }
        if !self.ptr.addr().get().is_multiple_of(align_bytes) {
            return Err(RingError::Alignment { align_bytes });
        }
        Ok(())
    }

    /// Sets every byte to zero.
    ///
    /// # Safety
    /// Nobody reads or writes the part meanwhile, the device included.
    pub(crate) unsafe fn clear(&mut self) {
        // SAFETY: the part has `len_bytes` at `ptr`, and by the caller's word there is no other access.
        unsafe { self.ptr.write_bytes(0, self.len_bytes) }
    }
}

impl fmt::Debug for RingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingPart({} bytes at {:#x})", self.len_bytes, self.iova)
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering;

    use super::*;
    use crate::testing::domain;

    #[test]
    fn parts_do_not_touch_and_begin_where_the_device_asks() {
        let (domain, _) = domain();
        let mut memory = RingMemory::new(&domain, 4096).unwrap();
        let (a, b) = (memory.take(100, 16).unwrap(), memory.take(1, 1024).unwrap());
        let c = memory.take(part_bytes(6), 2).unwrap();
        let first = a.iova().0;
        assert_eq!((b.iova().0 - first, c.iova().0 - first), (1024, 1024 + 128));
        assert_eq!((a.len_bytes(), c.len_bytes(), memory.free_bytes()), (100, 128, 4096 - 1024 - 256));
        assert!(memory.domain().is_same(&domain) && a.domain().is_same(&domain));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_takes_nothing() {
        let mut memory = RingMemory::new(&domain().0, 4096).unwrap();
        for (len_bytes, align_bytes) in [(4097, 1), (usize::MAX, 128), (1, 1 << 63)] {
            let error = memory.take(len_bytes, align_bytes).unwrap_err();
            assert!(matches!(error, RingError::Memory { .. } | RingError::Alignment { .. }), "{error}");
        }
        for len_bytes in [usize::MAX, MAX_BYTES + 1] {
            let error = RingMemory::new(&domain().0, len_bytes).unwrap_err();
            assert_eq!(error, RingError::Memory { needed_bytes: len_bytes, have_bytes: MAX_BYTES });
        }
        for align_bytes in [0, 3, usize::MAX] {
            assert_eq!(memory.take(1, align_bytes).unwrap_err(), RingError::Alignment { align_bytes });
        }
        assert_eq!(memory.take(4096, 128).unwrap().len_bytes(), 4096);
        assert_eq!(memory.take(1, 1).unwrap_err(), RingError::Memory { needed_bytes: 1, have_bytes: 0 });
        assert_eq!(memory.take(0, 1).unwrap().len_bytes(), 0);
    }

    #[test]
    fn the_region_goes_with_its_last_part() {
        let (domain, mapper) = domain();
        let mut memory = RingMemory::new(&domain, 4096).unwrap();
        let (a, b) = (memory.take(64, 16).unwrap(), memory.take(64, 16).unwrap());
        drop((memory, a));
        assert_eq!(mapper.alive.load(Ordering::SeqCst), 1);
        drop(b);
        assert_eq!(mapper.alive.load(Ordering::SeqCst), 0);
    }
}
