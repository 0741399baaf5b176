//! A ring of 16-byte descriptors in DMA memory, read and written as whole naturally aligned words.
//!
//! A ring knows nothing of who owns a descriptor: [`RxRing`](crate::ring::rx::RxRing) and [`TxRing`](crate::ring::tx::TxRing) do, in private memory.

use core::ptr::NonNull;

use crate::host::dma::{DmaDomain, DmaError, DmaRegion, Iova};
use crate::ring::lane::Pair;

/// The size of one descriptor.
pub const DESC_BYTES: usize = 16;
/// Descriptors that the kernels of the rings handle in one step.
pub const BLOCK: usize = 8;

/// `N` descriptors of two little-endian 64-bit words each, `N` a power of two.
#[derive(Debug)]
pub struct DescRing {
    region: DmaRegion,
    mask: u32,
}

impl DescRing {
    /// Allocates a zeroed ring of `entries` descriptors.
    ///
    /// # Errors
    /// [`DmaError`] from the host, also where `entries` is no power of two.
    pub fn new(domain: &DmaDomain, entries: u32) -> Result<Self, DmaError> {
        let len_bytes = entries as usize * DESC_BYTES;
        if !entries.is_power_of_two() {
            return Err(DmaError {
                len_bytes,
                domain: alloc::format!("{domain:?}"),
                why: alloc::format!("a ring of {entries} descriptors is no power of two"),
            });
        }
        Ok(Self { region: domain.allocate(len_bytes)?, mask: entries - 1 })
    }

    /// Where the device finds the first descriptor.
    pub fn iova(&self) -> Iova {
        self.region.iova()
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
        // SAFETY: the index is masked, so the descriptor lies in the region.
        unsafe { load(self.at(index)) }
    }

    /// Writes descriptor `index` (masked) whole.
    #[inline(always)]
    pub fn store(&mut self, index: u32, value: Pair) {
        // SAFETY: the index is masked, so the descriptor lies in the region.
        unsafe { store(self.at(index), value) }
    }

    /// Reads the second word of descriptor `index` (masked).
    #[inline(always)]
    pub fn load_high(&self, index: u32) -> u64 {
        // SAFETY: the index is masked, so the word lies in the region, and it is 8-byte aligned.
        u64::from_le(unsafe { self.at(index).cast::<u64>().add(1).read_volatile() })
    }

    /// The address of descriptor `index`.
    ///
    /// # Safety
    /// `index` is below [`DescRing::len`].
    #[inline(always)]
    pub(crate) unsafe fn at_unmasked(&self, index: u32) -> NonNull<Pair> {
        // SAFETY: the caller's.
        unsafe { self.region.ptr().cast::<Pair>().add(index as usize) }
    }

    /// The address of descriptor `index` (masked).
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> NonNull<Pair> {
        // SAFETY: `index & mask` is below the number of descriptors that the region was allocated for.
        unsafe { self.region.ptr().cast::<Pair>().add((index & self.mask) as usize) }
    }
}

/// Reads a descriptor that a device may be writing.
///
/// # Safety
/// `at` points to a descriptor of a live ring.
#[inline(always)]
pub(crate) unsafe fn load(at: NonNull<Pair>) -> Pair {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's; descriptors are 16-byte aligned because regions are page aligned.
    unsafe {
        at.read_volatile()
    }
    #[cfg(not(target_arch = "x86_64"))]
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
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's; descriptors are 16-byte aligned because regions are page aligned.
    unsafe {
        at.write_volatile(value);
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's; both words are 8-byte aligned.
    unsafe {
        let words = at.cast::<u64>();
        words.write_volatile(value.low().to_le());
        words.add(1).write_volatile(value.high().to_le());
    }
}
