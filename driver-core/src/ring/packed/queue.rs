//! The memory of one packed virtqueue, and how far driver and device are.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use crate::barrier;
use crate::host::dma::{DmaDomain, DmaRegion, Iova};
use crate::ring::desc::DescRing;
use crate::ring::error::RingError;
use crate::ring::fault::QueueFault;
use crate::ring::memory::RingMemory;
use crate::ring::words::DmaWords;

/// VIRTQ_DESC_F_AVAIL and VIRTQ_DESC_F_USED (2.8.1), where they lie in a descriptor's second word.
const AVAIL: u64 = 1 << (48 + 7);
const USED: u64 = 1 << (48 + 15);
/// The two, and the buffer ID between length and flags, of the upper half of the second word.
pub(super) const MARKS_AND_ID: u32 = ((AVAIL | USED) >> 32) as u32 | 0xffff;

/// What of a used descriptor's second word is tested: marks, buffer ID and length.
pub(super) const TESTED: u64 = (MARKS_AND_ID as u64) << 32 | 0xffff_ffff;

/// From one buffer ID to the next, in a second word.
pub(super) const NEXT_ID: u64 = 1 << 32;

/// RING_EVENT_FLAGS_DISABLE and RING_EVENT_FLAGS_DESC (2.8.10), behind the place that they go with; RING_EVENT_FLAGS_ENABLE is 0.
const EVENTS_DISABLE: u32 = 1 << 16;
const EVENTS_DESC: u32 = 2 << 16;
const EVENTS_MASK: u32 = 3 << 16;
/// The wrap counter above a place's offset (2.8.14).
const EVENT_WRAP: u32 = 1 << 15;

/// The most descriptors of a packed queue (2.8).
const MAX_SIZE: u16 = 32768;

/// The memory of one packed virtqueue.
///
/// Places are counted from the start, modulo 65536: the ring's size divides that, and the bit above an offset is the round's, by which a wrap counter is told.
#[derive(Debug)]
pub struct PackedQueue {
    pub(super) desc: DescRing,
    /// Driver event suppression. Written here, read by the device.
    driver: DmaWords<u32>,
    /// Device event suppression. Written by the device.
    device: DmaWords<u32>,
    size: u16,
    /// Descriptors written.
    pub(super) next_avail: u16,
    /// Of them, those that the device may use. The first one behind has its second word in `held`: while it is not there, the device looks no further.
    published: u16,
    /// The second word of the first descriptor that is not published.
    pub(super) held: u64,
    /// Up to where the device was told, as far as its wish for notifications goes.
    announced: u16,
    /// Descriptors taken back.
    pub(super) next_used: u16,
    event_idx: bool,
    in_order: bool,
    /// Whether the device is asked to interrupt.
    armed: bool,
}

impl PackedQueue {
    /// A queue of `size` descriptors, a power of two of at most 32768, in a region of its own. `event_idx`: VIRTIO_F_EVENT_IDX was negotiated. Interrupts are off.
    ///
    /// # Errors
    /// [`RingError::Entries`], [`RingError::Dma`].
    pub fn new(domain: &DmaDomain, size: u16, event_idx: bool) -> Result<Self, RingError> {
        Self::check_size(size)?;
        Self::in_memory(&mut RingMemory::new(domain, Self::memory_bytes(size))?, size, event_idx)
    }

    /// The same in a part of `memory`: [`PackedQueue::memory_bytes`] of it.
    ///
    /// # Errors
    /// [`RingError::Entries`], [`RingError::Memory`].
    pub fn in_memory(memory: &mut RingMemory, size: u16, event_idx: bool) -> Result<Self, RingError> {
        Self::check_size(size)?;
        let n = u32::from(size);
        // 2.8.10.1: descriptors are aligned to 16 bytes, the event suppression structures to 4.
        let mut event = || DmaWords::in_part(memory.take(DmaWords::<u32>::part_bytes(1), 4)?, 1);
        let (driver, device) = (event()?, event()?);
        let mut queue = Self {
            desc: DescRing::in_part(memory.take(DescRing::part_bytes(n), 16)?, n)?,
            driver,
            device,
            size,
            next_avail: 0,
            published: 0,
            held: 0,
            announced: 0,
            next_used: 0,
            event_idx,
            in_order: false,
            armed: true,
        };
        queue.disarm();
        Ok(queue)
    }

    /// The same of a device that uses buffers in order (VIRTIO_F_IN_ORDER): one used descriptor may stand for many buffers, and any other order is a fault.
    #[must_use]
    pub fn in_order(self, in_order: bool) -> Self {
        Self { in_order, ..self }
    }

    /// How many bytes of a [`RingMemory`] a queue of `size` descriptors takes.
    pub const fn memory_bytes(size: u16) -> usize {
        DescRing::part_bytes(size as u32) + 2 * DmaWords::<u32>::part_bytes(1)
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

    /// The addresses of the descriptor ring, the driver's and the device's event suppression: queue_desc, queue_driver, queue_device.
    pub fn areas(&self) -> [Iova; 3] {
        [self.desc.iova(), self.driver.iova(), self.device.iova()]
    }

    /// The offset of a place in the ring.
    #[inline(always)]
    pub(super) fn offset(&self, place: u16) -> u16 {
        place & self.desc.mask() as u16
    }

    /// The marks of a descriptor that is available at this place (2.8.1): AVAIL as the wrap counter, which is 1 in the first round, USED its inverse.
    #[inline(always)]
    pub(super) fn available_marks(&self, place: u16) -> u64 {
        if place & self.size == 0 { AVAIL } else { USED }
    }

    /// The same of one that is used: both as the wrap counter.
    #[inline(always)]
    pub(super) fn used_marks(&self, place: u16) -> u64 {
        used_marks(self.size, place)
    }

    /// A look from another thread at a queue that shows its `progress`.
    pub(super) fn watch(&self, progress: &Arc<Progress>) -> PackedWatch {
        // SAFETY: a descriptor has two words.
        let at = unsafe { self.desc.at(0).cast::<u64>().add(1) };
        PackedWatch { at, size: self.size, in_order: self.in_order, progress: progress.clone(), _region: self.desc.region().clone() }
    }

    /// Descriptors that were written and not taken back.
    #[inline(always)]
    pub(super) fn outstanding(&self) -> u16 {
        self.next_avail.wrapping_sub(self.next_used)
    }

    /// Whether descriptors were written that the device may not use yet.
    #[inline(always)]
    pub(super) fn has_unpublished(&self) -> bool {
        self.published != self.next_avail
    }

    /// Whether one of the descriptors that the device may not use yet lies at this offset.
    pub(super) fn is_unpublished(&self, offset: u32) -> bool {
        let unpublished = self.next_avail.wrapping_sub(self.published);
        (offset as u16).wrapping_sub(self.published) & (self.size - 1) < unpublished
    }

    /// The second word of a descriptor, as the device may have written it.
    #[inline(always)]
    pub(super) fn word(&self, place: u16) -> u64 {
        // SAFETY: an offset is below the number of descriptors, of two aligned words each.
        u64::from_le(unsafe { self.desc.at_unmasked(self.offset(place).into()).cast::<u64>().add(1).read_volatile() })
    }

    /// The second word of the next descriptor that comes back, if it is used. What the device wrote before may be read.
    #[inline(always)]
    pub(super) fn used(&self) -> Option<u64> {
        let word = self.word(self.next_used);
        let is_used = word & (AVAIL | USED) == self.used_marks(self.next_used);
        barrier::after_done();
        is_used.then_some(word)
    }

    /// Whether buffers have to come back in order.
    #[inline(always)]
    pub(super) fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// How many places behind `place`, at which a used descriptor names this buffer, the buffer lies, where a device that uses buffers in order may name it there: for all
    /// of them (2.8.8). `None`: the device does not have such a buffer.
    pub(super) fn skipped(&self, place: u16, id: u16) -> Option<u16> {
        let skipped = id.wrapping_sub(self.offset(place)) & (self.size - 1);
        (id < self.size && skipped < self.published.wrapping_sub(place)).then_some(skipped)
    }

    /// Writes a descriptor that the device has used, and did not write, since another one stands for it, as the device would have: with the ID of its own place.
    pub(super) fn mark_used(&mut self, place: u16, len: u32) {
        let word = u64::from(len) | u64::from(self.offset(place)) << 32 | self.used_marks(place);
        // SAFETY: `at` gives a descriptor of the ring, of two aligned words.
        unsafe { store_word(self.desc.at(self.offset(place).into()).cast::<u64>().add(1), word) };
    }

    /// Writes the next descriptor: its address, and length, buffer ID and flags without the marks.
    #[inline(always)]
    pub(super) fn put(&mut self, iova: u64, word: u64) {
        let (place, word) = (self.next_avail, word | self.available_marks(self.next_avail));
        let at = self.desc.at(self.offset(place).into()).cast::<u64>();
        // SAFETY: `at` gives a descriptor of the ring, of two aligned words.
        unsafe { at.write_volatile(iova.to_le()) };
        if place == self.published {
            self.held = word;
        } else {
            // SAFETY: as above.
            unsafe { store_word(at.add(1), word) };
        }
        self.next_avail = place.wrapping_add(1);
    }

    /// Writes the next descriptor, as [`PackedQueue::put`], for the device to use at once. All before it are published.
    #[inline(always)]
    pub(super) fn put_now(&mut self, iova: u64, word: u64) {
        let place = self.next_avail;
        let word = word | self.available_marks(place);
        // SAFETY: an offset is below the number of descriptors, of two aligned words each.
        unsafe {
            let at = self.desc.at_unmasked(self.offset(place).into()).cast::<u64>();
            at.write_volatile(iova.to_le());
            barrier::before_doorbell();
            store_word(at.add(1), word);
        }
        self.next_avail = place.wrapping_add(1);
        self.published = self.next_avail;
    }

    /// Counts `count` descriptors that were written with their marks: the device may use them, unless there are others before them that it may not.
    #[inline(always)]
    pub(super) fn was_put(&mut self, count: u16) {
        let is_all = !self.has_unpublished();
        self.next_avail = self.next_avail.wrapping_add(count);
        if is_all {
            self.published = self.next_avail;
        }
    }

    /// Takes `word`, which is to be the second one of the next descriptor, for [`PackedQueue::flush`] to write, if that descriptor is the first that the device may not
    /// use yet. Returns what makes of it one that is not available: as in the other round; else nothing.
    #[inline(always)]
    pub(super) fn hide_first(&mut self, word: u64) -> u64 {
        if self.has_unpublished() {
            return 0;
        }
        self.held = word;
        let marks = self.available_marks(self.next_avail);
        (AVAIL ^ USED ^ marks).wrapping_sub(marks)
    }

    /// Lets the device use what was written, without a look at whether it wants to be told.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        if self.has_unpublished() {
            // 2.8.21.1: all of the descriptors are out before the first one's flags are.
            barrier::before_doorbell();
            // SAFETY: `at` gives a descriptor of the ring, of two aligned words.
            unsafe { store_word(self.desc.at(self.offset(self.published).into()).cast::<u64>().add(1), self.held) };
            self.published = self.next_avail;
        }
    }

    /// Shows the device what was written, and says whether it wants to be notified (2.8.21.2).
    #[inline(always)]
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.announced, self.next_avail);
        if old == new {
            return false;
        }
        self.flush();
        self.announced = new;
        // The flags must be out before the look at whether the device sleeps, else both sides could wait for ever.
        barrier::store_then_load();
        self.wants(self.device.load(0), new, old)
    }

    /// Whether a side whose event suppression structure says this wants to hear of the places from `old` to `new` (2.8.10).
    #[inline(always)]
    fn wants(&self, event: u32, new: u16, old: u16) -> bool {
        if event & EVENTS_MASK == EVENTS_DISABLE {
            return false;
        }
        event & EVENTS_MASK != EVENTS_DESC || !self.event_idx || self.passes(event, new, old)
    }

    /// Where the next descriptor will be made available, as a notification tells it (2.9): its offset, and the wrap counter in the bit above.
    #[inline(always)]
    pub fn next_available(&self) -> u16 {
        let place = self.published;
        self.offset(place) | if place & self.size == 0 { EVENT_WRAP as u16 } else { 0 }
    }

    /// Whether the place that an event suppression structure names is one of those from `old` to `new`, fewer than two rounds.
    #[inline(always)]
    fn passes(&self, event: u32, new: u16, old: u16) -> bool {
        let offset = event as u16 & (self.size - 1);
        let round = if event & EVENT_WRAP != 0 { 0 } else { self.size };
        let two_rounds = self.size.wrapping_mul(2).wrapping_sub(1);
        let behind = new.wrapping_sub(offset | round).wrapping_sub(1) & two_rounds;
        behind < new.wrapping_sub(old)
    }

    /// Asks for an interrupt when the next descriptor is used, and says whether it is already.
    pub(super) fn arm(&mut self) -> bool {
        self.arm_behind(1)
    }

    /// Asks for an interrupt when `count` more descriptors are used, or all that the device has, and says whether one is already. Without event indexes it comes at
    /// the next one.
    pub(super) fn arm_behind(&mut self, count: u16) -> bool {
        self.armed = true;
        let event = if self.event_idx {
            let place = self.next_used.wrapping_add(count.min(self.outstanding()).saturating_sub(1));
            let wrap = if place & self.size == 0 { EVENT_WRAP } else { 0 };
            u32::from(self.offset(place)) | wrap | EVENTS_DESC
        } else {
            0
        };
        self.driver.store(0, event);
        // As in `publish`, the other way round.
        barrier::store_then_load();
        self.is_ready()
    }

    /// Whether the next descriptor is used.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.used().is_some()
    }

    /// Whether the device is asked to interrupt.
    #[inline(always)]
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Asks for no interrupts.
    #[inline(always)]
    pub(super) fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.driver.store(0, EVENTS_DISABLE);
        }
    }

    /// Makes the queue what it was when it was new.
    ///
    /// # Safety
    /// The device uses the queue no more, and does not until it is told of it again.
    pub(in crate::ring) unsafe fn rewind(&mut self) {
        for offset in 0..self.size {
            // SAFETY: `at` gives a descriptor of the ring, of two aligned words.
            unsafe { store_word(self.desc.at(offset.into()).cast::<u64>().add(1), 0) };
        }
        // SAFETY: the device uses none of the words, by the caller's word.
        unsafe {
            self.driver.clear();
            self.device.clear();
        }
        (self.next_avail, self.published, self.announced, self.next_used, self.held) = (0, 0, 0, 0, 0);
        self.armed = true;
        self.disarm();
    }
}

/// Writes the second word of a descriptor, at which [`PackedWatch`] may look from another thread.
///
/// # Safety
/// It is an aligned word of a ring.
#[inline(always)]
pub(super) unsafe fn store_word(at: NonNull<u64>, word: u64) {
    // SAFETY: the caller's.
    unsafe { at.write_volatile(word.to_le()) };
}

/// How far a transmit queue and its device are, for whoever watches the queue from another thread. It stays readable when the queue is gone.
#[derive(Debug)]
pub struct PackedWatch {
    /// The second word of the first descriptor.
    at: NonNull<u64>,
    size: u16,
    in_order: bool,
    progress: Arc<Progress>,
    _region: Arc<DmaRegion>,
}

/// What a transmit queue shows of itself.
#[derive(Debug)]
pub(super) struct Progress {
    /// The place of the next descriptor that comes back, and of the one behind the last that was published.
    places: AtomicU32,
    /// How many descriptors the chain of each ID takes.
    pub(super) counts: Box<[AtomicU16]>,
}

impl Progress {
    pub(super) fn new(size: u16) -> Self {
        Self { places: AtomicU32::new(0), counts: (0..size).map(|_| AtomicU16::new(1)).collect() }
    }

    #[inline(always)]
    pub(super) fn show(&self, queue: &PackedQueue) {
        self.places.store(u32::from(queue.next_used) | u32::from(queue.published) << 16, Ordering::Relaxed);
    }

    pub(super) fn count(&self, id: u16) -> Option<u16> {
        Some(self.counts.get(usize::from(id))?.load(Ordering::Relaxed))
    }
}

// SAFETY: the words are memory of a region, which is valid from any thread; they are read, as the device reads them, by volatile accesses of aligned words.
unsafe impl Send for PackedWatch {}
// SAFETY: as above.
unsafe impl Sync for PackedWatch {}

impl PackedWatch {
    /// The places behind the last descriptor that the device gave back, and behind the last that it was given, modulo 65536. The first is the device's word, and not
    /// to be believed; while the queue's thread works, it may be of the past.
    pub fn load(&self) -> (u16, u16) {
        let places = self.progress.places.load(Ordering::Relaxed);
        let (mut used, end) = (places as u16, (places >> 16) as u16);
        for _ in 0..self.size {
            let left = end.wrapping_sub(used);
            let offset = used & (self.size - 1);
            // SAFETY: an offset is below the number of descriptors, of two words each.
            let word = u64::from_le(unsafe { self.at.add(2 * usize::from(offset)).read_volatile() });
            if left == 0 || word & (AVAIL | USED) != used_marks(self.size, used) {
                break;
            }
            let id = (word >> 32) as u16;
            // What lies before the buffer that is named, where it stands for them too.
            let before = if self.in_order { id.wrapping_sub(used) & (self.size - 1) } else { 0 };
            let count = before.saturating_add(self.progress.count(id).unwrap_or(1));
            used = used.wrapping_add(count.min(left));
        }
        (used, end)
    }
}

#[inline(always)]
fn used_marks(size: u16, place: u16) -> u64 {
    if place & size == 0 { AVAIL | USED } else { 0 }
}

/// The fault of a device that names a buffer that it does not have.
#[cold]
pub(super) fn unknown(id: u32, limit: usize) -> QueueFault {
    QueueFault::Index { index: id, limit: limit as u32 }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "handshake_loom_tests.rs"]
mod handshake_loom_tests;
