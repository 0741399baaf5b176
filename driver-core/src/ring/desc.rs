//! A ring of 16-byte descriptors in DMA memory, read and written as whole naturally aligned words.
//!
//! A ring knows nothing of who owns a descriptor: [`RxRing`](crate::ring::rx::RxRing) and [`TxRing`](crate::ring::tx::TxRing) do, in private memory.

use alloc::sync::Arc;
use core::ptr::NonNull;

use crate::host::dma::{DmaDomain, DmaRegion, Iova};
use crate::ring::error::RingError;
use crate::ring::lane::Pair;
use crate::ring::memory::{self, RingPart};

/// The size of one descriptor.
pub const DESC_BYTES: usize = 16;
/// Descriptors that the kernels of the rings handle in one step.
pub const BLOCK: usize = 8;

/// The most descriptors that a ring may have: more than any device's, and few enough that a wrong number maps no gigabytes.
pub(crate) const MAX_ENTRIES: u32 = 1 << 20;

/// `N` descriptors of two little-endian 64-bit words each, `N` a power of two.
#[derive(Debug)]
pub struct DescRing {
    part: RingPart,
    mask: u32,
}

impl DescRing {
    /// A zeroed ring of `entries` descriptors (a power of two, at most 2^20) in a region of its own.
    ///
    /// # Errors
    /// [`RingError::Entries`], [`RingError::Dma`].
    pub fn new(domain: &DmaDomain, entries: u32) -> Result<Self, RingError> {
        Self::check_entries(entries, 1)?;
        Self::in_part(RingPart::alone(domain, Self::len_bytes(entries))?, entries)
    }

    /// The same in memory that the caller gives.
    ///
    /// # Errors
    /// [`RingError::Entries`]; [`RingError::Memory`], [`RingError::Alignment`] where they do not fit the part.
    pub fn in_part(part: RingPart, entries: u32) -> Result<Self, RingError> {
        Self::check_entries(entries, 1)?;
        part.check(Self::len_bytes(entries), DESC_BYTES)?;
        Ok(Self { part, mask: entries - 1 })
    }

    /// How many bytes of a [`RingMemory`](crate::ring::memory::RingMemory) a ring of `entries` descriptors takes.
    pub const fn part_bytes(entries: u32) -> usize {
        memory::part_bytes(Self::len_bytes(entries))
    }

    const fn len_bytes(entries: u32) -> usize {
        entries as usize * DESC_BYTES
    }

    /// Whether a ring may have `entries` descriptors where its device asks for `min` at least.
    pub(crate) fn check_entries(entries: u32, min: u32) -> Result<(), RingError> {
        if entries.is_power_of_two() && (min..=MAX_ENTRIES).contains(&entries) {
            Ok(())
        } else {
            Err(RingError::Entries { entries, min, max: MAX_ENTRIES })
        }
    }

    /// Where the device finds the first descriptor.
    pub fn iova(&self) -> Iova {
        self.part.iova()
    }

    /// The domain that it is mapped in.
    pub fn domain(&self) -> &DmaDomain {
        self.part.domain()
    }

    /// What keeps the memory.
    pub(crate) fn region(&self) -> &Arc<DmaRegion> {
        self.part.region()
    }

    /// How many descriptors there are.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> u32 {
        self.mask + 1
    }

    /// What an index is masked with.
    #[inline(always)]
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Reads descriptor `index` (masked) whole.
    ///
    /// On x86-64 this is one 16-byte load. Elsewhere the second word, which has the done bit, is read first, then the first behind a barrier.
    #[inline(always)]
    pub fn load(&self, index: u32) -> Pair {
        // SAFETY: the index is masked, so the descriptor lies in the part.
        unsafe { load(self.at(index)) }
    }

    /// Writes descriptor `index` (masked) whole.
    #[inline(always)]
    pub fn store(&mut self, index: u32, value: Pair) {
        // SAFETY: the index is masked, so the descriptor lies in the part.
        unsafe { store(self.at(index), value) }
    }

    /// Reads the second word of descriptor `index` (masked).
    #[inline(always)]
    pub fn load_high(&self, index: u32) -> u64 {
        // SAFETY: the index is masked, so the word lies in the part, and it is 8-byte aligned.
        u64::from_le(unsafe { self.at(index).cast::<u64>().add(1).read_volatile() })
    }

    /// The address of descriptor `index`.
    ///
    /// # Safety
    /// `index` is below [`DescRing::len`].
    #[inline(always)]
    pub(crate) unsafe fn at_unmasked(&self, index: u32) -> NonNull<Pair> {
        // SAFETY: the caller's.
        unsafe { self.part.ptr().cast::<Pair>().add(index as usize) }
    }

    /// The address of descriptor `index` (masked).
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> NonNull<Pair> {
        // SAFETY: `index & mask` is below the number of descriptors that the part was seen to hold when this was made.
        unsafe { self.part.ptr().cast::<Pair>().add((index & self.mask) as usize) }
    }
}

/// Reads a descriptor that a device may be writing.
///
/// # Safety
/// `at` points to a descriptor of a live ring.
#[inline(always)]
pub(crate) unsafe fn load(at: NonNull<Pair>) -> Pair {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    // SAFETY: the caller's; descriptors are 16-byte aligned: see `DescRing::in_part`.
    unsafe {
        at.read_volatile()
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    // SAFETY: the caller's; both words are 8-byte aligned.
    unsafe {
        let words = at.cast::<u64>();
        let high = words.add(1).read_volatile();
        crate::barrier::after_done();
        Pair::new(u64::from_le(words.read_volatile()), u64::from_le(high))
    }
}

/// Writes a descriptor that a device may be reading.
///
/// # Safety
/// `at` points to a descriptor of a live ring.
#[inline(always)]
pub(crate) unsafe fn store(at: NonNull<Pair>, value: Pair) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    // SAFETY: the caller's; descriptors are 16-byte aligned: see `DescRing::in_part`.
    unsafe {
        at.write_volatile(value);
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    // SAFETY: the caller's; both words are 8-byte aligned.
    unsafe {
        let words = at.cast::<u64>();
        words.write_volatile(value.low().to_le());
        words.add(1).write_volatile(value.high().to_le());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::memory::RingMemory;
    use crate::testing::domain;

    #[test]
    fn numbers_that_no_ring_has_are_refused() {
        let (domain, _) = domain();
        for entries in [0, 3, MAX_ENTRIES + 1, 2 * MAX_ENTRIES, 1 << 31, u32::MAX] {
            let error = DescRing::new(&domain, entries).unwrap_err();
            assert_eq!(error, RingError::Entries { entries, min: 1, max: MAX_ENTRIES });
            assert!(alloc::format!("{error}").starts_with(&alloc::format!("a ring of {entries} descriptors cannot be made")));
        }
        assert_eq!(DescRing::new(&domain, 1).unwrap().len(), 1);
    }

    #[test]
    fn a_part_that_is_too_small_or_lies_askew_is_refused() {
        let mut memory = RingMemory::new(&domain().0, 4096).unwrap();
        let error = DescRing::in_part(memory.take(16 * 8 - 1, 16).unwrap(), 8).unwrap_err();
        assert_eq!(error, RingError::Memory { needed_bytes: 128, have_bytes: 127 });
        assert_eq!(DescRing::in_part(memory.take(DescRing::part_bytes(8), 16).unwrap(), 8).unwrap().len(), 8);
    }
}
