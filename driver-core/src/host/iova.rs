//! The allocator of device addresses, which obeys the ranges and page sizes that an IOMMU reports.

use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use crate::host::dma::Iova;

/// Hands out ranges of device addresses, lowest first.
///
/// ```
/// use driver_core::host::IovaAllocator;
/// let mut iovas = IovaAllocator::new(4096, [0x1000..=0xffff]).unwrap();
/// let a = iovas.take(5000, 4096).unwrap();
/// assert_eq!(a.0, 0x1000);
/// assert_eq!(iovas.take(1, 4096).unwrap().0, 0x3000);
/// iovas.give_back(a, 5000);
/// assert_eq!(iovas.take(0x2000, 4096).unwrap().0, 0x1000);
/// ```
#[derive(Debug)]
pub struct IovaAllocator {
    page_bytes: u64,
    /// Free ranges: page-aligned first and last page, sorted, never touching.
    free: Vec<(u64, u64)>,
}

/// No range of device addresses is left that would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IovaExhausted {
    /// Bytes asked for.
    pub len_bytes: u64,
    /// Alignment asked for.
    pub align: u64,
    /// The longest free range, in bytes (before alignment).
    pub largest_bytes: u64,
}

impl fmt::Display for IovaExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no range of {} bytes aligned to {:#x} is left in the IOMMU's address ranges (the longest has {} bytes): ask for fewer or smaller buffers",
            self.len_bytes, self.align, self.largest_bytes
        )
    }
}
impl core::error::Error for IovaExhausted {}

impl IovaAllocator {
    /// `page_bytes`: the smallest page that the IOMMU maps, a power of two. `usable`: the ranges it reports, reserved regions taken out.
    /// Address 0 is never handed out, because devices and drivers use it for "none".
    ///
    /// Returns `None` where `page_bytes` is not a power of two.
    pub fn new(page_bytes: u64, usable: impl IntoIterator<Item = RangeInclusive<u64>>) -> Option<Self> {
        if !page_bytes.is_power_of_two() {
            return None;
        }
        let mut allocator = Self { page_bytes, free: Vec::new() };
        for range in usable {
            let first = (*range.start()).max(page_bytes).checked_next_multiple_of(page_bytes);
            // The last page must lie in the range whole.
            let last = range.end().checked_sub(page_bytes - 1).map(|last| last & !(page_bytes - 1));
            if let (Some(first), Some(last)) = (first, last)
                && first <= last
            {
                allocator.insert(first, last);
            }
        }
        Some(allocator)
    }

    /// Takes the lowest range of `len_bytes` (rounded up to pages) whose first address is a multiple of `align` (a power of two).
    ///
    /// # Errors
    /// [`IovaExhausted`]
    pub fn take(&mut self, len_bytes: u64, align: u64) -> Result<Iova, IovaExhausted> {
        let page = self.page_bytes;
        let exhausted = |free: &[(u64, u64)]| IovaExhausted {
            len_bytes,
            align,
            largest_bytes: free.iter().map(|&(first, last)| (last - first).saturating_add(page)).max().unwrap_or(0),
        };
        let (Some(len), true) = (len_bytes.max(1).checked_next_multiple_of(page), align.is_power_of_two()) else {
            return Err(exhausted(&self.free));
        };
        let align = align.max(page);
        for i in 0..self.free.len() {
            let (first, last) = self.free[i];
            let Some(start) = first.checked_next_multiple_of(align) else { continue };
            let Some(end) = start.checked_add(len - page) else { continue };
            if end > last {
                continue;
            }
            self.free.remove(i);
            if end < last {
                self.free.insert(i, (end + page, last));
            }
            if first < start {
                self.free.insert(i, (first, start - page));
            }
            return Ok(Iova(start));
        }
        Err(exhausted(&self.free))
    }

    /// Gives a range back that [`IovaAllocator::take`] handed out, with the same length.
    pub fn give_back(&mut self, iova: Iova, len_bytes: u64) {
        let len = len_bytes.max(1).next_multiple_of(self.page_bytes);
        self.insert(iova.0, iova.0 + (len - self.page_bytes));
    }

    /// How many bytes are free.
    pub fn free_bytes(&self) -> u64 {
        self.free.iter().map(|&(first, last)| (last - first).saturating_add(self.page_bytes)).fold(0, u64::saturating_add)
    }

    fn insert(&mut self, mut first: u64, mut last: u64) {
        let page = self.page_bytes;
        self.free.retain(|&(f, l)| {
            let touches = f <= last.saturating_add(page) && first <= l.saturating_add(page);
            if touches {
                first = first.min(f);
                last = last.max(l);
            }
            !touches
        });
        let at = self.free.partition_point(|&(f, _)| f < first);
        self.free.insert(at, (first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn partial_pages_at_the_ends_of_a_range_are_not_used() {
        let mut iovas = IovaAllocator::new(4096, [0x1800..=0x4fff, 0x6000..=0x6ffe]).unwrap();
        assert_eq!(iovas.free_bytes(), 3 * 4096);
        assert_eq!(iovas.take(3 * 4096, 4096).unwrap(), Iova(0x2000));
        assert_eq!(iovas.take(1, 1).unwrap_err().largest_bytes, 0);
    }

    #[test]
    fn a_39_bit_range_ends_where_it_ends() {
        let top = (1u64 << 39) - 1;
        let mut iovas = IovaAllocator::new(4096, [0..=top]).unwrap();
        assert!(iovas.take(1 << 39, 4096).is_err());
        let all_but_first_page = (1 << 39) - 4096;
        assert_eq!(iovas.take(all_but_first_page, 4096).unwrap(), Iova(4096));
    }

    #[test]
    fn the_whole_64_bit_space_does_not_overflow() {
        let mut iovas = IovaAllocator::new(4096, [0..=u64::MAX]).unwrap();
        assert!(iovas.take(u64::MAX, 4096).is_err());
        assert_eq!(iovas.take(1 << 21, 1 << 21).unwrap(), Iova(1 << 21));
        assert!(IovaAllocator::new(3000, [0..=u64::MAX]).is_none());
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]
        #[test]
        fn ranges_never_overlap_and_all_come_back(
            steps in proptest::collection::vec((1u64..40_000, 12u32..17, any::<prop::sample::Index>(), any::<bool>()), 1..200)
        ) {
            let usable = [0x3000..=0x2_ffff, 0x8_0000..=0x12_3fff];
            let mut iovas = IovaAllocator::new(4096, usable.clone()).unwrap();
            let before = iovas.free_bytes();
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (len, align, pick, give) in steps {
                if give && !held.is_empty() {
                    let (iova, len) = held.swap_remove(pick.index(held.len()));
                    iovas.give_back(Iova(iova), len);
                } else if let Ok(iova) = iovas.take(len, 1 << align) {
                    prop_assert_eq!(iova.0 % (1 << align), 0);
                    let end = iova.0 + len.next_multiple_of(4096) - 1;
                    prop_assert!(usable.iter().any(|u| u.contains(&iova.0) && u.contains(&end)));
                    for &(other, other_len) in &held {
                        prop_assert!(end < other || iova.0 > other + other_len.next_multiple_of(4096) - 1);
                    }
                    held.push((iova.0, len));
                }
            }
            for (iova, len) in held {
                iovas.give_back(Iova(iova), len);
            }
            prop_assert_eq!(iovas.free_bytes(), before);
        }
    }
}
