//! The receive half.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{self, PoolInner, RawBuf};
use crate::buf::meta::LEN_SHIFT;
use crate::buf::pool::BufPool;
use crate::ring::error::RingError;
use crate::ring::fault::QueueFault;
use crate::ring::split::queue::{SplitQueue, descriptor};
use crate::ring::virtq::judged::header_of;
use crate::ring::virtq::{F_WRITE, HEADER_BYTES, HookRules, MAX_HEADER, VirtqTaken, first_word, stocked};

/// A receive queue full of lent buffers: what is taken is replaced at once, in the same descriptor. Descriptor, entry of the available ring and entry of the used ring have
/// the same place, so that the available ring is written once.
///
/// Each buffer is lent from `HEADER` bytes before its data on, as in [`SplitRx`](crate::ring::split::SplitRx).
///
/// Dropping it leaks its memory and buffers, since nothing here knows whether the device still writes to them; a driver that has seen the device
/// stop calls [`InOrderRx::release`].
pub struct InOrderRx<const HEADER: usize> {
    queue: ManuallyDrop<SplitQueue>,
    /// The buffer behind each descriptor.
    slots: Box<[RawBuf]>,
    pool: BufPool,
    /// IOVA minus pointer, of the pool, less the header.
    delta: u64,
    lent_bytes: u32,
    burst: Burst,
}

/// Buffers that one used entry stands for.
#[derive(Debug, Clone, Copy, Default)]
struct Burst {
    /// How many of them were not taken.
    left: u16,
    /// What the device wrote to the last one; the others are full.
    last_bytes: u32,
}

impl<const HEADER: usize> InOrderRx<HEADER> {
    /// Lends a buffer of `pool` with each descriptor and makes it available; the device was not notified. The device does not know of the queue yet: it can
    /// be told after this. A header is at most 64 bytes.
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Headroom`], [`RingError::PoolTooSmall`]; nothing is kept then, and the queue's memory is unmapped.
    pub fn new(queue: SplitQueue, pool: &BufPool) -> Result<Self, RingError> {
        const { assert!(HEADER >= HEADER_BYTES && HEADER <= MAX_HEADER, "rules look at twelve bytes") }
        let mut batch = stocked::<HEADER>(queue.domain(), queue.size(), pool)?;
        let size = usize::from(queue.size());
        let slots: Vec<_> = (0..size).map_while(|_| batch.take_spare(pool)).collect();
        let mut rx = Self {
            slots: slots.into(),
            queue: ManuallyDrop::new(queue),
            pool: pool.clone(),
            delta: pool.inner().delta.wrapping_sub(HEADER as u64),
            lent_bytes: pool.data_bytes() + HEADER as u32,
            burst: Burst::default(),
        };
        rx.make_all_available();
        Ok(rx)
    }

    fn make_all_available(&mut self) {
        for (id, buf) in (0..).zip(&self.slots) {
            let iova = buf.word().wrapping_add(self.delta);
            self.queue.desc.store(id, descriptor(iova, self.lent_bytes, F_WRITE, 0));
            self.queue.make_available(id as u16);
        }
        self.queue.publish();
    }

    /// The rings and their indexes.
    #[inline(always)]
    pub fn queue(&self) -> &SplitQueue {
        &self.queue
    }

    /// Bytes lent with each descriptor.
    #[inline(always)]
    pub fn lent_bytes(&self) -> u32 {
        self.lent_bytes
    }

    /// How many buffers the device gave back that were not taken, as [`SplitRx::ready`](crate::ring::split::SplitRx::ready).
    ///
    /// # Errors
    /// [`QueueFault::Protocol`] where the device claims to have used more than it was given.
    #[inline(always)]
    pub fn ready(&mut self) -> Result<u16, QueueFault> {
        self.queue.ready()
    }

    /// Whether a used buffer is there that was not taken, or an index that makes no sense, as [`InOrderRx::ready`] will tell. Counts nothing.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.7.10).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Asks for an interrupt at the next used entry, and says whether there is one already.
    pub fn arm(&mut self) -> bool {
        self.queue.arm()
    }

    /// Asks for no interrupts, as [`SplitRx::disarm`](crate::ring::split::SplitRx::disarm).
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

    /// The place of the next used buffer, and how many bytes the device wrote there: one of those that [`SplitQueue::seen`] counts.
    #[inline(always)]
    fn next(&mut self) -> Result<(u16, u32), QueueFault> {
        let place = self.queue.next_used & (self.queue.size() - 1);
        if self.burst.left > 0 {
            return Ok((place, if self.burst.left == 1 { self.burst.last_bytes } else { self.lent_bytes }));
        }
        let (id, used_bytes) = self.queue.used_entry();
        if id == place.into() {
            return Ok((place, used_bytes));
        }
        self.begin_burst(place, id, used_bytes)
    }

    /// An entry that stands for all buffers up to the one that it names. "The skipped buffers [...] are assumed to have been used (read or written) by the device
    /// completely."
    #[cold]
    fn begin_burst(&mut self, place: u16, id: u32, last_bytes: u32) -> Result<(u16, u32), QueueFault> {
        let (limit, seen) = (u32::from(self.queue.size()), self.queue.seen());
        let skipped = (id as u16).wrapping_sub(place) & (self.queue.size() - 1);
        if id >= limit || usize::from(skipped) >= seen {
            return Err(QueueFault::Index { index: id, limit });
        }
        self.burst = Burst { left: skipped + 1, last_bytes };
        Ok((place, self.lent_bytes))
    }

    /// Passes the next used buffer, in whose place `empty` is lent.
    ///
    /// # Safety
    /// The caller has taken the buffer in the slot at this place, and gives up `empty`, which is one of the queue's pool.
    #[inline(always)]
    unsafe fn lend(&mut self, place: u16, empty: RawBuf) {
        let iova = empty.word().wrapping_add(self.delta);
        // SAFETY: a place is below the number of slots and descriptors. Length and flags stay as `new` wrote them; the device looks only after `publish`.
        unsafe {
            *self.slots.get_unchecked_mut(usize::from(place)) = empty;
            self.queue.desc.at_unmasked(place.into()).cast::<u64>().write_volatile(iova.to_le());
        }
        self.burst.left = self.burst.left.saturating_sub(1);
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        // The entry there names the same descriptor in each round.
        self.queue.next_avail = self.queue.next_avail.wrapping_add(1);
    }

    /// Moves ordinary frames to `batch`, `count` at most, as many as empty buffers lie at hand, and returns how many, and their bytes. It stops before one that is not
    /// ordinary, and takes no more than [`InOrderRx::ready`] counted. `rules` find a frame's length and header to be an ordinary one's.
    #[inline(never)]
    pub fn take_ordinary(&mut self, batch: &mut Batch, count: usize, rules: &HookRules) -> (usize, u64) {
        let pool = self.pool.as_ptr();
        let (min_used, max_used) = (rules.used_bytes.0.max(HEADER as u32), rules.used_bytes.1.min(self.lent_bytes));
        let count = count.min(self.queue.seen()).min(batch.spares_of(pool).1);
        let (mut done, mut bytes) = (0, 0);
        while done < count && min_used <= max_used {
            // What is wrong is told by `take`.
            let Ok((place, used_bytes)) = self.next() else { break };
            if used_bytes.wrapping_sub(min_used) > max_used - min_used {
                break;
            }
            // SAFETY: a place is below the number of slots; the buffer was lent and came back, has a header's headroom (seen in `new`), and its length is within its room. The
            // place in the batch is written before anything else; the buffer leaves its slot for `empty`.
            unsafe {
                let filled = *self.slots.get_unchecked(usize::from(place));
                let (low, high) = header_of::<HEADER>(filled);
                if !rules.is_usual(low, high) {
                    break;
                }
                let Some((to, empty)) = batch.exchange_one(pool) else { break };
                let len = u64::from(used_bytes - HEADER as u32);
                let mut frame = ManuallyDrop::new(Frame::fresh(filled, pool));
                frame.set_plain_words([first_word::<HEADER>(filled.ptr()), rules.known(low) | len << LEN_SHIFT]);
                to.cast::<ManuallyDrop<Frame>>().write(frame);
                self.lend(place, empty);
                bytes += len;
            }
            done += 1;
        }
        (done, bytes)
    }

    /// Takes the next used buffer whatever it is like, for an empty one of `batch`; `None` where none is left of those that [`InOrderRx::ready`] counted, or no empty one at
    /// hand ([`InOrderRx::covered`]).
    ///
    /// # Errors
    /// [`QueueFault::Index`], [`QueueFault::Length`]: the device names a buffer out of its turn, or more bytes than it was lent.
    pub fn take(&mut self, batch: &mut Batch) -> Result<Option<VirtqTaken>, QueueFault> {
        if self.queue.seen() == 0 {
            return Ok(None);
        }
        let (place, used_bytes) = self.next()?;
        if used_bytes > self.lent_bytes {
            return Err(QueueFault::Length { slot: place.into(), len_bytes: used_bytes, max_bytes: self.lent_bytes });
        }
        let (Some(&filled), Some(empty)) = (self.slots.get(usize::from(place)), batch.take_ready(self.pool.as_ptr())) else { return Ok(None) };
        // SAFETY: the slot owned the buffer, which is one of the pool's, and gives it up for the empty one.
        let frame = unsafe {
            self.lend(place, empty);
            Frame::fresh(filled, self.pool.as_ptr())
        };
        Ok(Some(VirtqTaken { frame, id: place.into(), used_bytes }))
    }

    /// Makes every buffer available again, in a queue that is otherwise as new: for a device that was reset and is to be told of the queue once more. Frames that it filled
    /// and nobody took are lost.
    ///
    /// # Safety
    /// As for [`InOrderRx::release`].
    pub unsafe fn rewind(&mut self) {
        // SAFETY: the caller's.
        unsafe { self.queue.rewind() };
        self.burst = Burst::default();
        self.make_all_available();
    }

    /// Takes the queue apart: its buffers return to the pool and its memory is unmapped.
    ///
    /// # Safety
    /// The device has confirmed that it stopped: it does not write to the rings or their buffers any more.
    pub unsafe fn release(mut self) {
        let pool: NonNull<PoolInner> = self.pool.as_ptr();
        // SAFETY: the slots owned the buffers, which are the pool's; `self` is consumed, so no slot is read again.
        unsafe { memory::give_back(pool, &self.slots) };
        // SAFETY: `self` is consumed, and `InOrderRx` has no `Drop` of its own.
        unsafe { ManuallyDrop::drop(&mut self.queue) };
    }
}

impl<const HEADER: usize> fmt::Debug for InOrderRx<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InOrderRx({} descriptors)", self.slots.len())
    }
}
