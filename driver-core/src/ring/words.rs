//! Arrays of little-endian words in DMA memory, for rings that are not made of 16-byte descriptors (virtio's available and used rings).

use core::marker::PhantomData;
use core::ptr::NonNull;

use alloc::sync::Arc;

use crate::host::dma::{DmaDomain, DmaRegion, Iova};
use crate::ring::error::RingError;
use crate::ring::memory::{self, RingPart};

/// More words than any ring has: the available and used rings of 32768 entries have 65539 of them.
const MAX_WORDS: u32 = 1 << 24;

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
///
/// Storing takes `&mut self`: words are written by plain accesses, as the device sees them, and two threads that stored to one through shared
/// references would race.
///
/// ```compile_fail,E0596
/// use driver_core::ring::DmaWords;
/// fn set(words: &DmaWords<u32>) {
///     words.store(0, 1); // not through a shared reference
/// }
/// ```
#[derive(Debug)]
pub struct DmaWords<W> {
    part: RingPart,
    mask: u32,
    kind: PhantomData<fn() -> W>,
}

impl<W: Word> DmaWords<W> {
    /// At least `count` words, all zero, in a region of their own: the number is rounded up to a power of two.
    ///
    /// # Errors
    /// [`RingError::Entries`] beyond 2^24 words, [`RingError::Dma`] from the host.
    pub fn new(domain: &DmaDomain, count: u32) -> Result<Self, RingError> {
        Self::check_count(count)?;
        Self::in_part(RingPart::alone(domain, Self::len_bytes(count))?, count)
    }

    /// The same in memory that the caller gives.
    ///
    /// # Errors
    /// [`RingError::Entries`] beyond 2^24 words; [`RingError::Memory`], [`RingError::Alignment`] where they do not fit the part.
    pub fn in_part(part: RingPart, count: u32) -> Result<Self, RingError> {
        Self::check_count(count)?;
        part.check(Self::len_bytes(count), align_of::<W>())?;
        Ok(Self { part, mask: slots(count) - 1, kind: PhantomData })
    }

    /// How many bytes of a [`RingMemory`](crate::ring::memory::RingMemory) `count` words take.
    pub const fn part_bytes(count: u32) -> usize {
        memory::part_bytes(Self::len_bytes(count))
    }

    const fn len_bytes(count: u32) -> usize {
        slots(count) as usize * size_of::<W>()
    }

    fn check_count(count: u32) -> Result<(), RingError> {
        if count > MAX_WORDS { Err(RingError::Entries { entries: count, min: 0, max: MAX_WORDS }) } else { Ok(()) }
    }

    /// Where the device finds the first word.
    pub fn iova(&self) -> Iova {
        self.part.iova()
    }

    /// The address of word `index` (masked).
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> NonNull<W> {
        // SAFETY: `index & mask` is below the number of words that the part was seen to hold when this was made.
        unsafe { self.part.ptr().cast::<W>().add((index & self.mask) as usize) }
    }

    /// Reads word `index` (masked) in one access.
    #[inline(always)]
    pub fn load(&self, index: u32) -> W {
        // SAFETY: `at` gives a word of the part, which was seen to be aligned for words; nobody in this process writes to it meanwhile, since that takes
        // `&mut self` or, inside of this crate, the ownership of the ring that has the words.
        unsafe { self.at(index).read_volatile() }.swap_from_le()
    }

    /// Writes word `index` (masked) in one access.
    #[inline(always)]
    pub fn store(&mut self, index: u32, value: W) {
        // SAFETY: as in `load`, and `&mut self` keeps every other thread of this process away.
        unsafe { self.at(index).write_volatile(value.swap_to_le()) }
    }

    /// Word 0 for another thread to look at, while nobody in this process writes to it.
    pub(crate) fn first(&self) -> FirstWord<W> {
        FirstWord { at: self.at(0), _region: self.part.region().clone() }
    }

    /// Sets every word to zero.
    ///
    /// # Safety
    /// The device does not use the words.
    pub(crate) unsafe fn clear(&mut self) {
        // SAFETY: the device does not use them, by the caller's word, and `&mut self` keeps everybody else away.
        unsafe { self.part.clear() }
    }
}

/// A word that the device alone writes. It keeps the memory.
#[derive(Debug)]
pub(crate) struct FirstWord<W> {
    at: NonNull<W>,
    _region: Arc<DmaRegion>,
}

// SAFETY: the word is memory of a region, which is valid from any thread; it is only ever read, and no thread of this process writes to it.
unsafe impl<W: Send> Send for FirstWord<W> {}
// SAFETY: as above.
unsafe impl<W: Sync> Sync for FirstWord<W> {}

impl<W: Word> FirstWord<W> {
    pub(crate) fn load(&self) -> W {
        // SAFETY: an aligned word of the region that this keeps, written by the device alone.
        unsafe { self.at.read_volatile() }.swap_from_le()
    }
}

/// How many words there are where `count` were asked for.
const fn slots(count: u32) -> u32 {
    match count.checked_next_power_of_two() {
        Some(0) | None => 1 << 31,
        Some(slots) => slots,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::domain;

    #[test]
    fn words_are_little_endian_and_indexes_wrap_at_the_next_power_of_two() {
        let (domain, mapper) = domain();
        let mut words: DmaWords<u16> = DmaWords::new(&domain, 5).unwrap();
        words.store(3, 0x1234);
        words.store(8, 0xabcd);
        assert_eq!((words.load(3), words.load(11), words.load(0)), (0x1234, 0x1234, 0xabcd));
        // As the device sees them.
        let mut bytes = [0; 8];
        // SAFETY: 16 bytes were asked for, and nobody writes to them meanwhile.
        unsafe { mapper.read(words.iova(), &mut bytes) };
        assert_eq!(bytes, [0xcd, 0xab, 0, 0, 0, 0, 0x34, 0x12]);
    }

    #[test]
    fn a_number_of_words_that_no_ring_has_is_refused() {
        let domain = domain().0;
        for count in [(1 << 24) + 1, 1 << 31, u32::MAX] {
            assert_eq!(DmaWords::<u32>::new(&domain, count).unwrap_err(), RingError::Entries { entries: count, min: 0, max: 1 << 24 });
        }
        assert_eq!(DmaWords::<u32>::new(&domain, 0).unwrap().load(u32::MAX), 0);
    }
}
