//! The memory of one virtqueue and its indexes.

use core::ptr::NonNull;

use crate::barrier;
use crate::host::dma::{DmaDomain, Iova};
use crate::ring::desc::DescRing;
use crate::ring::error::RingError;
use crate::ring::fault::QueueFault;
use crate::ring::lane::Pair;
use crate::ring::memory::{self, RingMemory};
use crate::ring::words::{DmaWords, FirstWord};

/// VIRTQ_AVAIL_F_NO_INTERRUPT (2.7.7).
const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// VIRTQ_USED_F_NO_NOTIFY (2.7.10).
const USED_F_NO_NOTIFY: u16 = 1;

/// Where `ring` starts in the available ring: behind `flags` and `idx`, in words of 16 bits.
const AVAIL_RING: u32 = 2;
/// Where `idx` lies in the available ring.
const AVAIL_IDX: u32 = 1;
/// Where `ring` starts in the used ring: behind `flags` and `idx`, which share the first word of 32 bits.
const USED_RING: u32 = 1;

/// How far behind a multiple of 8 the used ring begins (2.7: of 4), so that its entries, behind the first word, lie at multiples of 8 and none lies across two pages: of one
/// that did, QEMU 7.2 behind an emulated IOMMU (7.2.22, without vhost; 11.1.2 does not) writes the second half elsewhere, at the device address that is its offset in the ring.
const USED_BEHIND: usize = 4;

/// A descriptor: address, then length, flags and next (2.7.5).
#[inline(always)]
pub fn descriptor(iova: u64, len_bytes: u32, flags: u16, next: u16) -> Pair {
    Pair::new(iova, u64::from(len_bytes) | u64::from(flags) << 32 | u64::from(next) << 48)
}

/// Whether the other side wants to hear that its index moved from `old` to `new`, having asked for news when it passes `event`:
/// vring_need_event of section 2.7.10. Right across the wrap-around at 65536.
#[inline(always)]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// `idx` of a queue's used ring (2.7.8), for whoever watches the queue from another thread. It stays readable when the queue is gone.
#[derive(Debug)]
pub struct UsedIndex(FirstWord<u32>);

impl UsedIndex {
    /// How many chains the device has given back since the queue was made, modulo 65536. It is the device's word, and not to be believed.
    pub fn load(&self) -> u16 {
        (self.0.load() >> 16) as u16
    }
}

/// The memory of one virtqueue.
#[derive(Debug)]
pub struct SplitQueue {
    pub(super) desc: DescRing,
    /// `flags`, `idx`, `ring`, `used_event`. Written here, read by the device.
    avail: DmaWords<u16>,
    /// `flags` and `idx`, pairs of `id` and `len`, `avail_event`. Written by the device.
    used: DmaWords<u32>,
    size: u16,
    /// `idx` of the available ring, counting entries that the device was not told of yet.
    pub(super) next_avail: u16,
    /// `idx` of the available ring as the device sees it.
    published: u16,
    /// Used entries taken.
    pub(super) next_used: u16,
    /// `idx` of the used ring as [`SplitQueue::ready`] last saw it: no entry behind it is taken.
    seen: u16,
    event_idx: bool,
    /// Whether the device is asked to interrupt.
    armed: bool,
}

/// The most descriptors of a split queue (2.7).
const MAX_SIZE: u16 = 32768;

impl SplitQueue {
    /// A queue of `size` descriptors, a power of two of at most 32768, in a region of its own. `event_idx`: VIRTIO_F_EVENT_IDX was negotiated.
    ///
    /// Interrupts are off: by flag, or by an event index that lies as far away as can be.
    ///
    /// # Errors
    /// [`RingError::Entries`], [`RingError::Dma`].
    pub fn new(domain: &DmaDomain, size: u16, event_idx: bool) -> Result<Self, RingError> {
        Self::check_size(size)?;
        Self::in_memory(&mut RingMemory::new(domain, Self::memory_bytes(size))?, size, event_idx)
    }

    /// The same in a part of `memory`: [`SplitQueue::memory_bytes`] of it.
    ///
    /// # Errors
    /// [`RingError::Entries`], [`RingError::Memory`].
    pub fn in_memory(memory: &mut RingMemory, size: u16, event_idx: bool) -> Result<Self, RingError> {
        Self::check_size(size)?;
        let n = u32::from(size);
        let (avail, used) = (Self::avail_words(n), Self::used_words(n));
        // 2.7: descriptor table, available ring and used ring are aligned to 16, 2 and 4 bytes.
        let mut queue = Self {
            desc: DescRing::in_part(memory.take(DescRing::part_bytes(n), 16)?, n)?,
            avail: DmaWords::in_part(memory.take(DmaWords::<u16>::part_bytes(avail), 2)?, avail)?,
            used: DmaWords::in_part(memory.take(USED_BEHIND + DmaWords::<u32>::part_bytes(used), 8)?.behind(USED_BEHIND)?, used)?,
            size,
            next_avail: 0,
            published: 0,
            next_used: 0,
            seen: 0,
            event_idx,
            armed: true,
        };
        queue.disarm();
        Ok(queue)
    }

    /// How many bytes of a [`RingMemory`] a queue of `size` descriptors takes.
    pub const fn memory_bytes(size: u16) -> usize {
        let n = size as u32;
        let (avail, used) = (Self::avail_words(n), Self::used_words(n));
        DescRing::part_bytes(n) + DmaWords::<u16>::part_bytes(avail) + memory::part_bytes(USED_BEHIND + DmaWords::<u32>::part_bytes(used))
    }

    /// `flags`, `idx`, `ring`, `used_event` (2.7.6).
    const fn avail_words(n: u32) -> u32 {
        AVAIL_RING + n + 1
    }

    /// `flags` and `idx`, `ring` of two words each, `avail_event` (2.7.8).
    const fn used_words(n: u32) -> u32 {
        USED_RING + 2 * n + 1
    }

    fn check_size(size: u16) -> Result<(), RingError> {
        if size.is_power_of_two() { Ok(()) } else { Err(RingError::Entries { entries: size.into(), min: 1, max: MAX_SIZE.into() }) }
    }

    /// The domain that it is mapped in.
    pub fn domain(&self) -> &DmaDomain {
        self.desc.domain()
    }

    /// How many descriptors there are.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// What another thread sees of how far the device is.
    pub fn used_index(&self) -> UsedIndex {
        UsedIndex(self.used.first())
    }

    /// The addresses of the descriptor table, the available ring and the used ring: queue_desc, queue_driver, queue_device.
    pub fn areas(&self) -> [Iova; 3] {
        [self.desc.iova(), self.avail.iova(), self.used.iova()]
    }

    #[inline(always)]
    fn slot(&self, index: u16) -> u32 {
        u32::from(index & (self.size - 1))
    }

    /// Entries of the available ring that the device has and did not return.
    #[inline(always)]
    pub(super) fn outstanding(&self) -> u16 {
        self.published.wrapping_sub(self.next_used)
    }

    /// Entries of the available ring whose chains were not taken back, those among them that the device was not told of.
    pub(super) fn given(&self) -> u16 {
        self.next_avail.wrapping_sub(self.next_used)
    }

    /// How many used entries wait, of those that were not taken. What the device wrote before them may be read.
    ///
    /// # Errors
    /// [`QueueFault::Protocol`] where the device claims to have used more than it was given.
    #[inline(always)]
    pub(super) fn ready(&mut self) -> Result<u16, QueueFault> {
        let idx = (self.used.load(0) >> 16) as u16;
        let ready = idx.wrapping_sub(self.next_used);
        if ready > self.outstanding() {
            return Err(QueueFault::Protocol("the used ring's idx runs ahead of the buffers that the device was given"));
        }
        self.seen = idx;
        barrier::after_done();
        Ok(ready)
    }

    /// How many of the used entries that [`SplitQueue::ready`] saw were not taken yet. Never more than what the device has.
    #[inline(always)]
    pub(super) fn seen(&self) -> usize {
        self.seen.wrapping_sub(self.next_used).into()
    }

    /// The next used entry, one of those that [`SplitQueue::seen`] counts: `id` and `len` as the device wrote them.
    #[inline(always)]
    pub(super) fn used_entry(&self) -> (u32, u32) {
        let at = USED_RING + 2 * self.slot(self.next_used);
        (self.used.load(at), self.used.load(at + 1))
    }

    /// The `id` of the used entry that lies so many behind the next.
    pub(super) fn used_id_behind(&self, count: u16) -> u32 {
        self.used.load(USED_RING + 2 * self.slot(self.next_used.wrapping_add(count)))
    }

    /// Where the next used entry lies, and how many lie behind one another from there to the end of the ring.
    #[inline(always)]
    pub(super) fn used_run(&self) -> (NonNull<u32>, usize) {
        let slot = self.slot(self.next_used);
        (self.used.at(USED_RING + 2 * slot), usize::from(self.size) - slot as usize)
    }

    /// Where the next entry of the available ring lies, and how many lie behind one another from there to the end of the ring.
    #[inline(always)]
    pub(super) fn avail_run(&self) -> (NonNull<u16>, usize) {
        let slot = self.slot(self.next_avail);
        (self.avail.at(AVAIL_RING + slot), usize::from(self.size) - slot as usize)
    }

    /// Puts a descriptor chain's head into the available ring. The device sees it after [`SplitQueue::publish`].
    #[inline(always)]
    pub(super) fn make_available(&mut self, head: u16) {
        self.avail.store(AVAIL_RING + self.slot(self.next_avail), head);
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Where the next chain will be made available, as a notification tells it (2.9): the available index.
    #[inline(always)]
    pub fn next_available(&self) -> u16 {
        self.published
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.7.10).
    #[inline(always)]
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_avail);
        if old == new {
            return false;
        }
        // 2.7.13.3: "The driver performs a suitable memory barrier to ensure the device sees the updated descriptor table and available ring before the
        // next step."
        barrier::before_doorbell();
        self.avail.store(AVAIL_IDX, new);
        self.published = new;
        // 2.7.13.4: the index must be out before the look at whether the device sleeps, else both sides could wait for ever.
        barrier::store_then_load();
        // Each with a look of its own, which is three instructions less than one at either place.
        if self.event_idx {
            self.wants(self.used.load(USED_RING + 2 * u32::from(self.size)) as u16, new, old)
        } else {
            self.wants(self.used.load(0) as u16, new, old)
        }
    }

    /// Whether a device wants to hear that the available index moved from `old` to `new`, whose `avail_event` or flags are `word`.
    #[inline(always)]
    fn wants(&self, word: u16, new: u16, old: u16) -> bool {
        if self.event_idx { need_event(word, new, old) } else { word & USED_F_NO_NOTIFY == 0 }
    }

    /// Asks for an interrupt at the next used entry, and says whether there is one already.
    pub(super) fn arm(&mut self) -> bool {
        self.arm_behind(1)
    }

    /// Asks for an interrupt when `entries` more are used, or all that the device has, and says whether one is already. Without event indexes it comes at the next one.
    pub(super) fn arm_behind(&mut self, entries: u16) -> bool {
        self.armed = true;
        if self.event_idx {
            let before_last = entries.min(self.outstanding()).saturating_sub(1);
            self.avail.store(AVAIL_RING + u32::from(self.size), self.next_used.wrapping_add(before_last));
        } else {
            self.avail.store(0, 0);
        }
        // As in `publish`, the other way round.
        barrier::store_then_load();
        self.is_ready()
    }

    /// Whether the device's index moved: there is something to be polled for, and be it only an index that makes no sense.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        (self.used.load(0) >> 16) as u16 != self.next_used
    }

    /// Whether the device is asked to interrupt.
    #[inline(always)]
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Asks for no interrupts.
    ///
    /// With event indexes nobody can say 'never', only which entry is to interrupt: that is set to the one that was taken last, which comes round again
    /// after 65536 entries. Until the device sees it, and once in each round, an interrupt may come all the same: there is nothing to be done for it.
    #[inline(always)]
    pub(super) fn disarm(&mut self) {
        if !self.armed {
            return;
        }
        self.armed = false;
        if self.event_idx {
            self.avail.store(AVAIL_RING + u32::from(self.size), self.next_used.wrapping_sub(1));
        } else {
            self.avail.store(0, AVAIL_F_NO_INTERRUPT);
        }
    }
    /// Makes the queue what it was when it was new, but for the descriptors, of which none is available.
    ///
    /// # Safety
    /// The device uses the queue no more, and does not until it is told of it again.
    pub(in crate::ring) unsafe fn rewind(&mut self) {
        // SAFETY: the device uses none of the words, by the caller's word.
        unsafe {
            self.avail.clear();
            self.used.clear();
        }
        (self.next_avail, self.published, self.next_used, self.seen) = (0, 0, 0, 0);
        self.armed = true;
        self.disarm();
    }
}

#[cfg(all(test, loom))]
#[path = "handshake_loom_tests.rs"]
mod handshake_loom_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::virtq::{F_INDIRECT, F_NEXT, F_WRITE};
    use crate::testing::domain;
    use proptest::prelude::*;

    #[test]
    fn a_descriptor_has_the_fields_where_the_specification_puts_them() {
        let [w0, w1] = descriptor(0x1122_3344_5566_7788, 0x0001_0002, F_NEXT | F_WRITE, 0x8001).words();
        assert_eq!(w0, 0x1122_3344_5566_7788);
        assert_eq!(w1.to_le_bytes(), [0x02, 0x00, 0x01, 0x00, 0x03, 0x00, 0x01, 0x80]);
        assert_eq!((F_NEXT, F_WRITE, F_INDIRECT), (1, 2, 4));
    }

    /// A page is at least 4096 bytes long, and begins at a multiple of that: what lies in 8 bytes from a multiple of 8 lies in one.
    #[test]
    fn no_entry_of_the_used_ring_lies_across_two_pages() {
        for exponent in 0..=15 {
            let queue = SplitQueue::new(&domain().0, 1 << exponent, true).unwrap();
            let first = queue.used.iova().0 + 4 * u64::from(USED_RING);
            assert_eq!(first % 8, 0, "a queue of {}", queue.size());
        }
    }

    /// A queue of 8, as its device left it: the used ring's flags, and behind which entry it wants to be notified.
    fn told(event_idx: bool, flags: u16, avail_event: u16) -> SplitQueue {
        let mut queue = SplitQueue::new(&domain().0, 8, event_idx).unwrap();
        queue.used.store(0, flags.into());
        queue.used.store(USED_RING + 16, avail_event.into());
        queue
    }

    /// Whether the device is to be notified of the next chain, which is the first.
    fn notifies(mut queue: SplitQueue) -> bool {
        queue.make_available(3);
        queue.publish()
    }

    /// 2.7.10.1.
    #[test]
    fn without_event_indexes_the_flags_alone_count() {
        for avail_event in [0, 1, 7, 0xffff] {
            assert!(notifies(told(false, 0, avail_event)), "{avail_event}");
            assert!(!notifies(told(false, USED_F_NO_NOTIFY, avail_event)), "{avail_event}");
        }
    }

    /// 2.7.10.1.
    #[test]
    fn with_event_indexes_the_flags_do_not_count() {
        for flags in [0, USED_F_NO_NOTIFY] {
            assert!(notifies(told(true, flags, 0)), "{flags}");
            assert!([1, 7, 0xffff].into_iter().all(|avail_event| !notifies(told(true, flags, avail_event))), "{flags}");
        }
    }

    /// 2.7.7.1: without event indexes flags are 0 or 1, with them 0.
    #[test]
    fn flags_ask_for_interrupts_or_event_indexes_do() {
        for (event_idx, flags) in [(false, [AVAIL_F_NO_INTERRUPT, 0]), (true, [0, 0])] {
            let mut queue = told(event_idx, 0, 0);
            for _ in 0..3 {
                assert_eq!(queue.avail.load(0), flags[0]);
                queue.arm();
                assert_eq!(queue.avail.load(0), flags[1]);
                queue.disarm();
            }
        }
    }

    /// 2.7.10.1: a device is asked for nothing before it said what it wants, in memory that a device wrote to, too.
    #[test]
    fn the_used_ring_begins_with_zeros_each_time() {
        let mut queue = SplitQueue::new(&domain().0, 8, true).unwrap();
        assert!((0..SplitQueue::used_words(8)).all(|at| queue.used.load(at) == 0));
        (0..SplitQueue::used_words(8)).for_each(|at| queue.used.store(at, u32::MAX));
        // SAFETY: there is no device.
        unsafe { queue.rewind() };
        assert!((0..SplitQueue::used_words(8)).all(|at| queue.used.load(at) == 0));
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]
        /// News is due exactly when the index passes `event`: when the entry `event` is among those from `old` to `new`.
        #[test]
        fn need_event_is_true_when_the_entry_was_passed(event: u16, old: u16, step in 0u16..=32768) {
            let new = old.wrapping_add(step);
            let passed = (0..step).any(|k| old.wrapping_add(k) == event);
            prop_assert_eq!(need_event(event, new, old), passed);
        }

        #[test]
        fn need_event_holds_near_the_wrap_around(event in 65530u32..65546, old in 65530u32..65546, step in 0u16..8) {
            let (event, old) = (event as u16, old as u16);
            let passed = (0..step).any(|k| old.wrapping_add(k) == event);
            prop_assert_eq!(need_event(event, old.wrapping_add(step), old), passed);
        }
    }
}
