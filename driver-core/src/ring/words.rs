//! Arrays of little-endian words in DMA memory, for rings that are not made of 16-byte descriptors (virtio's available and used rings).

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::host::dma::{DmaDomain, DmaError, DmaRegion, Iova};

/// A word that is read and written in one access: `u16` or `u32`.
pub trait Word: Copy + sealed::Sealed {
    #[doc(hidden)]
    fn swap_from_le(self) -> Self;
    #[doc(hidden)]
    fn swap_to_le(self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

macro_rules! word {
    ($($word:ty)*) => { $(
        impl Word for $word {
            #[inline(always)]
            fn swap_from_le(self) -> Self {
                Self::from_le(self)
            }
            #[inline(always)]
            fn swap_to_le(self) -> Self {
                self.to_le()
            }
        }
    )* };
}
word!(u16 u32);

/// Words that driver and device both read and write. Indexes are masked, so that none reaches outside the memory and none costs a branch.
#[derive(Debug)]
pub struct DmaWords<W> {
    region: DmaRegion,
    mask: u32,
    kind: PhantomData<fn() -> W>,
}

impl<W: Word> DmaWords<W> {
    /// At least `count` words, all zero: the number is rounded up to a power of two.
    ///
    /// # Errors
    /// [`DmaError`] from the host.
    pub fn new(domain: &DmaDomain, count: u32) -> Result<Self, DmaError> {
        let count = count.max(1).checked_next_power_of_two().unwrap_or(1 << 31);
        Ok(Self { region: domain.allocate(count as usize * size_of::<W>())?, mask: count - 1, kind: PhantomData })
    }

    /// Where the device finds the first word: aligned to a page.
    pub fn iova(&self) -> Iova {
        self.region.iova()
    }

    /// The address of word `index` (masked).
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> NonNull<W> {
        // SAFETY: `index & mask` is below the number of words that the region was allocated for.
        unsafe { self.region.ptr().cast::<W>().add((index & self.mask) as usize) }
    }

    /// Reads word `index` (masked) in one access.
    #[inline(always)]
    pub fn load(&self, index: u32) -> W {
        // SAFETY: `at` gives a word of the region; regions are page aligned, hence words naturally.
        unsafe { self.at(index).read_volatile() }.swap_from_le()
    }

    /// Writes word `index` (masked) in one access.
    #[inline(always)]
    pub fn store(&self, index: u32, value: W) {
        // SAFETY: as in `load`.
        unsafe { self.at(index).write_volatile(value.swap_to_le()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::dma::{DmaMapper, Mapping};
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use core::ptr::NonNull;

    /// Memory whose device sees it at 0x10000.
    struct Heap;

    // SAFETY: leaked page-aligned heap memory, zeroed, used once and never freed; the device is this test.
    unsafe impl DmaMapper for Heap {
        fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
            #[repr(align(4096))]
            #[derive(Clone)]
            struct Page(#[allow(dead_code, reason = "only its address is used")] [u8; 4096]);
            let pages = alloc::vec![Page([0; 4096]); len_bytes.div_ceil(4096)];
            let len_bytes = pages.len() * 4096;
            Ok(Mapping { ptr: NonNull::from(Box::leak(pages.into_boxed_slice())).cast(), iova: Iova(0x10000), len_bytes, page_bytes: 4096 })
        }
        unsafe fn unmap(&self, _: Mapping) {}
        fn name(&self) -> alloc::string::String {
            "heap".into()
        }
    }

    #[test]
    fn words_are_little_endian_and_indexes_wrap_at_the_next_power_of_two() {
        let domain = DmaDomain::new(Arc::new(Heap));
        let words: DmaWords<u16> = DmaWords::new(&domain, 5).unwrap();
        assert_eq!(words.iova(), Iova(0x10000));
        words.store(3, 0x1234);
        words.store(8, 0xabcd);
        assert_eq!((words.load(3), words.load(11), words.load(0)), (0x1234, 0x1234, 0xabcd));
        // SAFETY: 16 bytes were asked for, and no reference to them exists.
        let bytes: [u8; 8] = unsafe { words.region.ptr().cast().read() };
        assert_eq!(bytes, [0xcd, 0xab, 0, 0, 0, 0, 0x34, 0x12]);
    }
}
