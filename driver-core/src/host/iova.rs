//! The allocator of device addresses, which obeys the ranges and page sizes that an IOMMU reports.

use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use crate::host::dma::Iova;

/// Hands out ranges of device addresses, lowest first.
///
/// ```
/// use driver_core::host::{IovaAllocator, IovaRequest};
/// let pages = |len_bytes| IovaRequest { len_bytes, align: 4096 };
/// let mut iovas = IovaAllocator::new(4096, [0x1000..=0xffff]).unwrap();
/// let a = iovas.take(pages(5000)).unwrap();
/// assert_eq!(a.0, 0x1000);
/// assert_eq!(iovas.take(pages(1)).unwrap().0, 0x3000);
/// iovas.give_back(a, 5000).unwrap();
/// assert_eq!(iovas.take(pages(0x2000)).unwrap().0, 0x1000);
/// ```
#[derive(Debug)]
pub struct IovaAllocator {
    page_bytes: u64,
    /// What may be handed out at all, in the form of `free`.
    usable: Vec<(u64, u64)>,
    /// Free ranges: page-aligned first and last page, sorted, never touching.
    free: Vec<(u64, u64)>,
}

/// What [`IovaAllocator::take`] is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: a length and an alignment, which must not be mixed up")]
pub struct IovaRequest {
    /// How many bytes, rounded up to pages.
    pub len_bytes: u64,
    /// Of what the first address is to be a multiple: a power of two.
    pub align: u64,
}

/// No range of device addresses is left that would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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

/// A range was given back that nobody has: it was not handed out, or given back before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IovaNotTaken {
    /// Its first address.
    pub iova: Iova,
    /// Its length in bytes.
    pub len_bytes: u64,
}

impl fmt::Display for IovaNotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes of device addresses from {:#x} on were given back that are not in use: report it, this is a bug",
            self.len_bytes, self.iova
        )
    }
}
impl core::error::Error for IovaNotTaken {}

impl IovaAllocator {
    /// `page_bytes`: the smallest page that the IOMMU maps, a power of two. `usable`: the ranges it reports, reserved regions taken out.
    /// Address 0 is never handed out, because devices and drivers use it for "none".
    ///
    /// Returns `None` where `page_bytes` is not a power of two.
    pub fn new(page_bytes: u64, usable: impl IntoIterator<Item = RangeInclusive<u64>>) -> Option<Self> {
        if !page_bytes.is_power_of_two() {
            return None;
        }
        let mut free = Vec::new();
        for range in usable {
            let first = (*range.start()).max(page_bytes).checked_next_multiple_of(page_bytes);
            // The last page must lie in the range whole.
            let last = range.end().checked_sub(page_bytes - 1).map(|last| last & !(page_bytes - 1));
            if let (Some(first), Some(last)) = (first, last)
                && first <= last
            {
                insert(&mut free, page_bytes, first, last);
            }
        }
        Some(Self { page_bytes, usable: free.clone(), free })
    }

    /// Takes the lowest range that will do.
    ///
    /// # Errors
    /// [`IovaExhausted`], also where the alignment is no power of two.
    pub fn take(&mut self, IovaRequest { len_bytes, align }: IovaRequest) -> Result<Iova, IovaExhausted> {
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
    ///
    /// # Errors
    /// [`IovaNotTaken`], and nothing changed: a part of the range is free, or was never to be had.
    pub fn give_back(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IovaNotTaken> {
        let page = self.page_bytes;
        let wrong = IovaNotTaken { iova, len_bytes };
        let pages = len_bytes.max(1).checked_next_multiple_of(page).filter(|_| iova.0.is_multiple_of(page));
        let last = pages.and_then(|bytes| iova.0.checked_add(bytes - page)).ok_or(wrong)?;
        let is_usable = self.usable.iter().any(|&(f, l)| f <= iova.0 && last <= l);
        let is_free = self.free.iter().any(|&(f, l)| f <= last && iova.0 <= l);
        if !is_usable || is_free {
            return Err(wrong);
        }
        insert(&mut self.free, page, iova.0, last);
        Ok(())
    }

    /// Takes out whatever is free of a range that is in use already: of an allocator made anew beside mappings that stay.
    pub fn exclude(&mut self, iova: Iova, len_bytes: u64) {
        let page = self.page_bytes;
        let (start, end) = (iova.0, iova.0.saturating_add(len_bytes.max(1) - 1));
        // The pages that the range touches, by their first addresses.
        let (start, end) = (start & !(page - 1), end & !(page - 1));
        let around = |&(first, last): &(u64, u64)| {
            let before = (first < start).then(|| (first, last.min(start - page)));
            let behind = (last > end).then(|| (first.max(end + page), last));
            [before, behind]
        };
        self.free = self.free.iter().flat_map(around).flatten().collect();
    }

    /// How many bytes are free.
    pub fn free_bytes(&self) -> u64 {
        self.free.iter().map(|&(first, last)| (last - first).saturating_add(self.page_bytes)).fold(0, u64::saturating_add)
    }
}

/// Adds a range to sorted ones, and makes one of those that touch.
fn insert(ranges: &mut Vec<(u64, u64)>, page: u64, mut first: u64, mut last: u64) {
    ranges.retain(|&(f, l)| {
        let touches = f <= last.saturating_add(page) && first <= l.saturating_add(page);
        if touches {
            first = first.min(f);
            last = last.max(l);
        }
        !touches
    });
    let at = ranges.partition_point(|&(f, _)| f < first);
    ranges.insert(at, (first, last));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn partial_pages_at_the_ends_of_a_range_are_not_used() {
        let mut iovas = IovaAllocator::new(4096, [0x1800..=0x4fff, 0x6000..=0x6ffe]).unwrap();
        assert_eq!(iovas.free_bytes(), 3 * 4096);
        assert_eq!(iovas.take(IovaRequest { len_bytes: 3 * 4096, align: 4096 }).unwrap(), Iova(0x2000));
        assert_eq!(iovas.take(IovaRequest { len_bytes: 1, align: 1 }).unwrap_err().largest_bytes, 0);
    }

    #[test]
    fn a_39_bit_range_ends_where_it_ends() {
        let top = (1u64 << 39) - 1;
        let mut iovas = IovaAllocator::new(4096, [0..=top]).unwrap();
        assert!(iovas.take(IovaRequest { len_bytes: 1 << 39, align: 4096 }).is_err());
        let all_but_first_page = (1 << 39) - 4096;
        assert_eq!(iovas.take(IovaRequest { len_bytes: all_but_first_page, align: 4096 }).unwrap(), Iova(4096));
    }

    #[test]
    fn the_whole_64_bit_space_does_not_overflow() {
        let mut iovas = IovaAllocator::new(4096, [0..=u64::MAX]).unwrap();
        assert!(iovas.take(IovaRequest { len_bytes: u64::MAX, align: 4096 }).is_err());
        assert_eq!(iovas.take(IovaRequest { len_bytes: 1 << 21, align: 1 << 21 }).unwrap(), Iova(1 << 21));
        assert!(IovaAllocator::new(3000, [0..=u64::MAX]).is_none());
    }

    #[test]
    fn what_is_in_use_already_is_not_handed_out_and_comes_back() {
        let pages = |len_bytes| IovaRequest { len_bytes, align: 1 };
        let mut iovas = IovaAllocator::new(4096, [0x1000..=0x9fff]).unwrap();
        iovas.exclude(Iova(0x3800), 0x1000);
        iovas.exclude(Iova(0x9000), u64::MAX);
        iovas.exclude(Iova(0), 1);
        assert_eq!(iovas.free_bytes(), 6 * 4096);
        assert_eq!([2, 4].map(|n| iovas.take(pages(n * 4096)).unwrap().0), [0x1000, 0x5000]);
        assert!(iovas.take(pages(1)).is_err());
        iovas.give_back(Iova(0x3000), 0x2000).unwrap();
        assert_eq!(iovas.give_back(Iova(0x4000), 1), Err(IovaNotTaken { iova: Iova(0x4000), len_bytes: 1 }), "twice");
        assert_eq!(iovas.take(pages(0x2000)).unwrap(), Iova(0x3000));
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
                    iovas.give_back(Iova(iova), len).unwrap();
                } else if let Ok(iova) = iovas.take(IovaRequest { len_bytes: len, align: 1 << align }) {
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
                iovas.give_back(Iova(iova), len).unwrap();
            }
            prop_assert_eq!(iovas.free_bytes(), before);
        }

        /// Whatever is given back and asked for, nothing is handed out twice, and nothing that is not usable.
        #[test]
        fn nonsense_changes_nothing(
            pages in prop_oneof![Just(1u64), Just(4096), Just(1 << 63), any::<u64>()],
            usable in proptest::collection::vec((extreme(), extreme()), 0..4),
            calls in proptest::collection::vec((0..5, extreme(), extreme()), 0..20),
        ) {
            let Some(mut iovas) = IovaAllocator::new(pages, usable.iter().map(|&(first, last)| first..=last)) else {
                prop_assert!(!pages.is_power_of_two());
                return Ok(());
            };
            let (mut held, mut excluded) = (Vec::<(u64, u64)>::new(), false);
            for (call, a, b) in calls {
                let free = iovas.free_bytes();
                if call == 0 {
                    iovas.exclude(Iova(a), b);
                    excluded = true;
                    prop_assert!(iovas.free_bytes() <= free);
                } else if call < 3 {
                    if let Ok(iova) = iovas.take(IovaRequest { len_bytes: a, align: b }) {
                        let last = iova.0 + (a.max(1).next_multiple_of(pages) - 1);
                        prop_assert!(iova.0 != 0 && iova.0.is_multiple_of(b));
                        prop_assert!(usable.iter().any(|&(f, _)| f <= iova.0) && usable.iter().any(|&(_, l)| last <= l));
                        prop_assert!(held.iter().all(|&(f, l)| last < f || l < iova.0));
                        held.push((iova.0, last));
                    }
                } else if iovas.give_back(Iova(a), b).is_err() {
                    prop_assert_eq!(iovas.free_bytes(), free);
                } else {
                    let last = a + (b.max(1).next_multiple_of(pages) - 1);
                    let is_held = |at: u64| held.iter().any(|&(f, l)| f <= at && at <= l);
                    // What was excluded may be given back as well.
                    prop_assert!(excluded || is_held(a) && is_held(last));
                    let cut = |(f, l): (u64, u64)| [(f < a).then(|| (f, l.min(a - 1))), (l > last).then(|| (f.max(last + 1), l))];
                    held = held.into_iter().flat_map(cut).flatten().collect();
                }
            }
        }
    }

    /// Numbers at which arithmetic ends, and some others.
    fn extreme() -> impl Strategy<Value = u64> {
        let ends = [0, 1, 4095, 4096, 8192, 1 << 39, 1 << 63, u64::MAX - 4096, u64::MAX - 4095, u64::MAX];
        prop_oneof![3 => prop::sample::select(ends.to_vec()), 1 => (0u64..64).prop_map(|page| page << 12), 1 => any::<u64>()]
    }
}
