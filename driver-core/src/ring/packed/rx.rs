//! The receive half.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::queue::{MARKS_AND_ID, PackedQueue, unknown};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{self, PoolInner, RawBuf};
use crate::buf::pool::BufPool;
use crate::ring::error::RingError;
use crate::ring::fault::QueueFault;
use crate::ring::lane::Pair;
use crate::ring::virtq::{F_WRITE, HEADER_BYTES, MAX_HEADER, VirtqTaken, stocked};

/// A receive queue full of lent buffers: what is taken is replaced at once, in the same descriptor and under the same buffer ID.
///
/// Each buffer is lent from `HEADER` bytes before its data on, so that a header that the device writes lies in the headroom and the frame at its
/// buffer's home address. The device sees replacements together, when they are published: an ID that comes twice before is seen.
///
/// Dropping it leaks its memory and buffers, since nothing here knows whether the device still writes to them; a driver that has seen the device
/// stop calls [`PackedRx::release`].
pub struct PackedRx<const HEADER: usize> {
    pub(super) queue: ManuallyDrop<PackedQueue>,
    /// The buffer behind each ID.
    pub(super) slots: Box<[RawBuf]>,
    pub(super) pool: BufPool,
    /// IOVA minus pointer, of the pool, less the header.
    pub(super) delta: u64,
    lent_bytes: u32,
    /// There are four bytes of headroom more than a header, as blocks of frames want it.
    sees_blocks: bool,
}

impl<const HEADER: usize> PackedRx<HEADER> {
    /// Lends a buffer of `pool` with each descriptor and makes it available; the device was not notified. The device does not know of the queue yet: it can
    /// be told after this. A header is at most 64 bytes.
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Headroom`], [`RingError::PoolTooSmall`]; nothing is kept then, and the queue's memory is unmapped.
    pub fn new(queue: PackedQueue, pool: &BufPool) -> Result<Self, RingError> {
        const { assert!(HEADER <= MAX_HEADER) }
        let mut batch = stocked::<HEADER>(queue.domain(), queue.size(), pool)?;
        let size = usize::from(queue.size());
        let slots: Vec<_> = (0..size).map_while(|_| batch.take_spare(pool)).collect();
        let mut rx = Self {
            slots: slots.into(),
            queue: ManuallyDrop::new(queue),
            pool: pool.clone(),
            delta: pool.inner().delta.wrapping_sub(HEADER as u64),
            lent_bytes: pool.data_bytes() + HEADER as u32,
            sees_blocks: pool.headroom_bytes() as usize >= HEADER + size_of::<Pair>() - HEADER_BYTES,
        };
        rx.make_all_available();
        Ok(rx)
    }

    fn make_all_available(&mut self) {
        for id in 0..self.slots.len() {
            let (iova, word) = (self.slots.get(id).map_or(0, |buf| self.iova_of(*buf)), self.lent_word(id as u16));
            self.queue.put(iova, word);
        }
        self.queue.publish();
    }

    /// Where the device writes when it is lent `buf`.
    #[inline(always)]
    pub(super) fn iova_of(&self, buf: RawBuf) -> u64 {
        buf.word().wrapping_add(self.delta)
    }

    /// The second word of a descriptor, less the marks.
    #[inline(always)]
    pub(super) fn lent_word(&self, id: u16) -> u64 {
        u64::from(self.lent_bytes) | u64::from(id) << 32 | u64::from(F_WRITE) << 48
    }

    /// The ring.
    #[inline(always)]
    pub fn queue(&self) -> &PackedQueue {
        &self.queue
    }

    /// Bytes lent with each descriptor.
    #[inline(always)]
    pub fn lent_bytes(&self) -> u32 {
        self.lent_bytes
    }

    /// The pool that the buffers come from.
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// Whether a used descriptor is there that was not taken.
    #[inline(always)]
    pub fn is_ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// How many buffers the device gave back that were not taken.
    pub fn ready(&self) -> u16 {
        let (queue, mut ready) = (&self.queue, 0);
        while ready < queue.size() {
            let place = queue.next_used.wrapping_add(ready);
            let word = queue.word(place);
            if (word ^ queue.used_marks(place)) >> 32 & u64::from(MARKS_AND_ID & !0xffff) != 0 {
                break;
            }
            let skipped = if queue.is_in_order() { queue.skipped(place, (word >> 32) as u16).unwrap_or(0) } else { 0 };
            ready += 1 + skipped;
        }
        ready
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.8.21.2).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Asks for an interrupt at the next used descriptor, and says whether there is one already.
    pub fn arm(&mut self) -> bool {
        self.queue.arm()
    }

    /// Asks for no interrupts. One may come all the same, for what the device used before it saw this.
    #[inline(always)]
    pub fn disarm(&mut self) {
        self.queue.disarm();
    }

    /// How many used buffers can be taken of `wanted`: for each an empty one has to lie at hand.
    #[inline(always)]
    pub fn covered(&self, batch: &mut Batch, wanted: usize) -> usize {
        if batch.spares_of(self.pool.as_ptr()).1 >= wanted {
            return wanted;
        }
        let wanted = wanted.min(self.slots.len());
        wanted.min(batch.stock(&self.pool, wanted))
    }

    /// Takes the next used buffer whatever it is like and in whatever order it comes, for an empty one of `batch`; `None` where none is used, or none at hand
    /// ([`PackedRx::covered`]).
    ///
    /// # Errors
    /// [`QueueFault::Index`], [`QueueFault::Length`]: the device names a buffer that it does not have, or more bytes than it was lent.
    pub fn take(&mut self, batch: &mut Batch) -> Result<Option<VirtqTaken>, QueueFault> {
        let Some(word) = self.queue.used() else { return Ok(None) };
        let (mut used_bytes, mut id) = (word as u32, (word >> 32) as u16);
        let limit = self.slots.len();
        let first = self.queue.offset(self.queue.next_used);
        if self.queue.is_in_order() && id != first {
            self.spread(id, used_bytes)?;
            (used_bytes, id) = (self.lent_bytes, first);
        }
        let Some(slot) = self.slots.get_mut(usize::from(id)) else { return Err(unknown(id.into(), limit)) };
        // What was lent anew since the last publication lies at its ID's own offset: the device has not got it.
        if self.queue.is_unpublished(id.into()) {
            return Err(unknown(id.into(), limit));
        }
        if used_bytes > self.lent_bytes {
            return Err(QueueFault::Length { slot: id.into(), len_bytes: used_bytes, max_bytes: self.lent_bytes });
        }
        let Some(empty) = batch.take_ready(self.pool.as_ptr()) else { return Ok(None) };
        let filled = core::mem::replace(slot, empty);
        let iova = self.iova_of(empty);
        let is_in_order = id == first;
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        let word = self.lent_word(id);
        self.queue.put(iova, word);
        if !is_in_order {
            self.queue.flush();
        }
        // SAFETY: the slot owned the buffer, which is one of the pool's, and has just given it up.
        let frame = unsafe { Frame::fresh(filled, self.pool.as_ptr()) };
        Ok(Some(VirtqTaken { frame, id: id.into(), used_bytes }))
    }

    /// Has every buffer up to the one that the next used descriptor names, with what was used of it, look as if the device had given each back by itself (2.8.8). "The
    /// skipped buffers [...] are assumed to have been used (read or written) by the device completely."
    #[cold]
    fn spread(&mut self, id: u16, used_bytes: u32) -> Result<(), QueueFault> {
        let next = self.queue.next_used;
        let Some(skipped) = self.queue.skipped(next, id) else { return Err(unknown(id.into(), self.slots.len())) };
        if used_bytes > self.lent_bytes {
            return Err(QueueFault::Length { slot: id.into(), len_bytes: used_bytes, max_bytes: self.lent_bytes });
        }
        self.queue.mark_used(next.wrapping_add(skipped), used_bytes);
        for place in (0..skipped).rev() {
            self.queue.mark_used(next.wrapping_add(place), self.lent_bytes);
        }
        Ok(())
    }

    /// Makes every buffer that is lent available again, in a queue that is otherwise as new: for a device that was reset and is to be told of the queue
    /// once more. Frames that it filled and nobody took are lost.
    ///
    /// # Safety
    /// As for [`PackedRx::release`].
    pub unsafe fn rewind(&mut self) {
        // SAFETY: the caller's.
        unsafe { self.queue.rewind() };
        self.make_all_available();
    }

    /// Takes the queue apart: its buffers return to the pool and its memory is unmapped.
    ///
    /// # Safety
    /// The device has confirmed that it stopped: it does not write to the ring or its buffers any more.
    pub unsafe fn release(mut self) {
        let pool: NonNull<PoolInner> = self.pool.as_ptr();
        // SAFETY: the slots owned the buffers, which are the pool's; `self` is consumed, so no slot is read again.
        unsafe { memory::give_back(pool, &self.slots) };
        // SAFETY: `self` is consumed, and `PackedRx` has no `Drop` of its own.
        unsafe { ManuallyDrop::drop(&mut self.queue) };
    }
}

mod ordinary;

impl<const HEADER: usize> fmt::Debug for PackedRx<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedRx({} descriptors)", self.slots.len())
    }
}
