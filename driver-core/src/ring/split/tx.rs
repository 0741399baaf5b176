//! The transmit half.

use alloc::boxed::Box;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::queue::{SplitQueue, descriptor};
use super::table;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::PoolInner;
use crate::buf::pool::BufPool;
use crate::host::dma::{DmaDomain, Iova};
use crate::ring::error::{self, RingError};
use crate::ring::fault::QueueFault;
use crate::ring::memory::RingMemory;
use crate::ring::owners::Sources;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::apart::{Apart, place, place_header};
use crate::ring::virtq::asking::{Asking, Requests, request_of};
use crate::ring::virtq::{EMPTY, F_NEXT, FRAME, TAG_MASK, flight, pieces};

mod asking;
mod sent;
mod whole;

/// No further descriptor in a chain.
const END: u16 = u16::MAX;

/// A transmit queue: frames in flight, numbered by the first descriptor of their chain, and the descriptors that are free.
///
/// Each frame is sent with a header of `HEADER` bytes (at most 64), in its headroom where there is room, else in a place of its own.
///
/// Dropping it leaks its memory and the frames in flight, since nothing here knows whether the device still reads them; a driver that has seen the device
/// stop calls [`SplitTx::release`].
pub struct SplitTx<const HEADER: usize> {
    pub(super) queue: ManuallyDrop<SplitQueue>,
    pub(super) apart: Apart<HEADER>,
    /// The buffer in flight behind each descriptor, with the tag of its pool; [`EMPTY`], or [`FRAME`].
    pub(super) slots: Box<[u64]>,
    pub(super) sources: Sources,
    /// Frames in flight that are more than one buffer.
    pub(super) frames: ManuallyDrop<Box<[Option<Frame>]>>,
    /// Descriptors that are free, at `..free_count`.
    pub(super) free: Box<[u16]>,
    pub(super) free_count: usize,
    /// Shadow of each descriptor's `next`: what the device could write to the table is never read.
    pub(super) next: Box<[u16]>,
    /// How many frames may still go by [`SplitTx::put_only`].
    pub(super) singles: u32,
    pub(super) pool: BufPool,
    /// What frames had in common that asked for a checksum last, where the device fills them in.
    asking: Option<Asking<HEADER>>,
}

impl<const HEADER: usize> SplitTx<HEADER> {
    /// An empty queue. Frames of `pool` take the short way. Chains of up to `table` descriptors lie in tables of their own, in `domain`, which is the queue's, and take one of the
    /// queue; 0: none do.
    ///
    /// A header is at most 64 bytes, as in [`SplitRx`](super::SplitRx).
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Dma`].
    pub fn new(queue: SplitQueue, domain: &DmaDomain, pool: &BufPool, table: u16) -> Result<Self, RingError> {
        let mut memory = RingMemory::new(domain, Self::memory_bytes(queue.size(), table))?;
        Self::in_memory(&mut memory, queue, pool, table)
    }

    /// The same with headers and tables in a part of `memory`: [`SplitTx::memory_bytes`] of it, beside what the queue took.
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Memory`].
    pub fn in_memory(memory: &mut RingMemory, queue: SplitQueue, pool: &BufPool, table: u16) -> Result<Self, RingError> {
        error::same_domain(queue.domain(), pool)?;
        error::same_domain(memory.domain(), pool)?;
        let size = queue.size();
        Ok(Self {
            apart: Apart::in_memory(memory, size, table)?,
            slots: (0..size).map(|_| EMPTY).collect(),
            sources: Sources::new(pool),
            frames: ManuallyDrop::new((0..size).map(|_| None).collect()),
            free: (0..size).rev().collect(),
            free_count: size.into(),
            next: (0..size).map(|_| END).collect(),
            queue: ManuallyDrop::new(queue),
            singles: 0,
            pool: pool.clone(),
            asking: None,
        })
    }

    /// The same of a device that fills in checksums: frames that ask for one go together as ordinary ones do, with the header that `requests` makes of the checksum's place.
    #[must_use]
    pub fn requests(self, requests: Option<Requests<HEADER>>) -> Self {
        Self { asking: requests.map(Asking::new), ..self }
    }

    /// How many bytes of a [`RingMemory`] the headers of a queue of `size` descriptors take, and tables of `table` descriptors each.
    pub const fn memory_bytes(size: u16, table: u16) -> usize {
        Apart::<HEADER>::memory_bytes(size, table)
    }

    /// The rings and their indexes.
    #[inline(always)]
    pub fn queue(&self) -> &SplitQueue {
        &self.queue
    }

    /// How many descriptors there are.
    #[allow(clippy::len_without_is_empty, reason = "`pending` says what is in it")]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Descriptors that are free.
    #[inline(always)]
    pub fn free(&self) -> usize {
        self.free_count
    }

    /// Descriptors that the device has.
    pub fn pending(&self) -> usize {
        self.len() - self.free_count
    }

    /// The pool whose frames take the short way.
    #[inline(always)]
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// How many frames the device gave back that [`SplitTx::reclaim`] did not take.
    ///
    /// # Errors
    /// [`QueueFault::Protocol`] where the device claims to have used more than it was given.
    #[inline(always)]
    pub fn ready(&mut self) -> Result<u16, QueueFault> {
        self.queue.ready()
    }

    /// Asks for an interrupt when the device has given back so many frames that `descriptors` more are free, or all frames, and says whether it gave any back
    /// already. Without event indexes the interrupt comes at the next frame, and at each one behind it until [`SplitTx::disarm`].
    pub fn arm(&mut self, descriptors: u32) -> bool {
        // Each frame has one descriptor at least.
        self.queue.arm_behind(descriptors.try_into().unwrap_or(u16::MAX))
    }

    /// Asks for no interrupts, as [`SplitRx::disarm`](super::SplitRx::disarm).
    pub fn disarm(&mut self) {
        self.queue.disarm();
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.7.10).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Turns to the pool of frames whose pool word is `word`, and says whether they can be ordinary: plain ones of a pool in the queue's domain, with headroom
    /// for the header.
    ///
    /// # Safety
    /// A frame with this pool word is alive.
    #[inline(always)]
    pub(super) unsafe fn turn_to(&mut self, word: NonNull<PoolInner>) -> bool {
        let Self { sources, slots, .. } = self;
        // SAFETY: the caller's.
        let is_source = unsafe { sources.is_source(word) || sources.turn_to(word, &|name| slots.iter().any(|slot| slot & TAG_MASK == name.into())) };
        is_source && sources.headroom_bytes() >= HEADER
    }

    /// Takes ordinary frames from the front of `batch`: those of one buffer of a pool in this queue's domain, with a length in `min_bytes..=max_bytes`, for
    /// which nothing is asked for but to send them: their header is all zeros. Returns how many, and their bytes.
    #[inline(always)]
    pub fn put_ordinary(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> (usize, u64) {
        self.singles = 0;
        let (mut done, mut bytes) = (0, 0);
        while let Some(first) = batch.frames().first() {
            // SAFETY: the frame is alive.
            if min_bytes > max_bytes || !unsafe { self.turn_to(first.pool_word()) } {
                break;
            }
            let (avail, room) = self.queue.avail_run();
            let run = batch.len().min(self.free_count).min(room);
            let frames = NonNull::from(batch.frames_mut()).cast();
            // SAFETY: `run` frames are in the batch, as many descriptors free, and as many entries at `avail`; the source's pool has the headroom.
            let (count, more) = unsafe {
                if self.sources.pool() == self.pool.as_ptr() {
                    self.put_run::<true, false>(frames, avail, run, (min_bytes, max_bytes))
                } else {
                    self.put_run::<false, false>(frames, avail, run, (min_bytes, max_bytes))
                }
            };
            // The frames at the front are in the slots now.
            batch.advance(count);
            done += count;
            bytes += more;
            if count == 0 {
                break;
            }
        }
        if done == 0 && !batch.is_empty() {
            return self.put_asking(batch, min_bytes, max_bytes);
        }
        (done, bytes)
    }

    /// # Safety
    /// `count` frames are at `frames`; those that are taken, the caller forgets. As many descriptors are free, and as many entries of the available ring are
    /// at `avail`, the next one first. The source's pool is alive and has `HEADER` bytes of headroom; `OWN`: it is the queue's. `max_bytes` is no less than
    /// `min_bytes`. `ASKS`: frames go that ask for the checksum that is noted, and else those that ask for nothing.
    #[inline(never)]
    unsafe fn put_run<const OWN: bool, const ASKS: bool>(
        &mut self,
        frames: NonNull<Frame>,
        avail: NonNull<u16>,
        count: usize,
        (min_bytes, max_bytes): (u16, u16),
    ) -> (usize, u64) {
        let asking = if ASKS { self.asking } else { None };
        let (header, request) = asking.map_or(([0; HEADER], 0), |asking| (asking.header, asking.request));
        let tags = if ASKS { Asking::<HEADER>::TAGS as usize } else { 0 };
        let (slots, descriptors) = (self.slots.as_mut_ptr(), self.queue.desc.at(0));
        let (pool, iova) = (self.sources.pool(), self.sources.delta().wrapping_sub(HEADER as u64));
        let tag = if OWN { 0 } else { self.sources.names() & TAG_MASK };
        // SAFETY: there are `count` numbers below `free_count`, by the caller's word.
        let free = unsafe { self.free.as_ptr().add(self.free_count - count) };
        let (mut done, mut bytes) = (0, 0);
        while done < count {
            // SAFETY: `done` is below `count`: frame, number and entry lie inside their memory; the number is below that of slots and descriptors. A frame
            // whose pool word, tags included, is a pool's address is one buffer of it with its data at home, behind `HEADER` bytes of headroom.
            unsafe {
                let frame = frames.add(done).as_ref();
                let len = frame.linear_len() as u16;
                if frame.pool_word().addr().get() != pool.addr().get() | tags || len.wrapping_sub(min_bytes) > max_bytes.wrapping_sub(min_bytes) {
                    break;
                }
                if ASKS && request_of(frames.add(done)) != request {
                    break;
                }
                let id = *free.add(count - 1 - done);
                let word = place(frame.ptr(), if ASKS { header } else { [0; HEADER] });
                *slots.add(usize::from(id)) = word + tag;
                // Two words are enough: the device looks only after `publish`. No flags, no next.
                let words = descriptors.add(usize::from(id)).cast::<u64>();
                words.write_volatile(word.wrapping_add(iova).to_le());
                words.add(1).write_volatile((u64::from(len) + HEADER as u64).to_le());
                avail.add(done).write_volatile(id.to_le());
                bytes += u64::from(len);
            }
            done += 1;
        }
        self.free_count -= done;
        self.queue.next_avail = self.queue.next_avail.wrapping_add(done as u16);
        (done, bytes)
    }

    /// Takes the frame of `batch` if it is its only one, an ordinary one as for [`SplitTx::put_ordinary`] of the pool that the last frames were of, and one that
    /// [`SplitTx::allow_singles`] allowed. Returns its bytes.
    #[inline(always)]
    pub fn put_only(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> Option<u64> {
        let frame = batch.only()?;
        let singles = self.singles.checked_sub(1)?;
        let (len, min, max) = (frame.linear_len() as u32, u32::from(min_bytes), u32::from(max_bytes));
        // SAFETY: the frame is alive.
        if len.wrapping_sub(min) > max.wrapping_sub(min) || !unsafe { self.sources.is_source(frame.pool_word()) } {
            return None;
        }
        // SAFETY: `allow_singles` saw that more descriptors are free, and that the source's pool has the headroom. The number is below that of slots and
        // descriptors. The frame is one buffer with its data at home.
        unsafe {
            let top = self.free_count - 1;
            let id = *self.free.get_unchecked(top);
            let word = place_header::<HEADER>(frame.ptr());
            batch.forget_all();
            *self.slots.get_unchecked_mut(usize::from(id)) = word | self.sources.names() & TAG_MASK;
            let words = self.queue.desc.at_unmasked(id.into()).cast::<u64>();
            words.write_volatile(word.wrapping_add(self.sources.delta()).wrapping_sub(HEADER as u64).to_le());
            words.add(1).write_volatile((u64::from(len) + HEADER as u64).to_le());
            self.free_count = top;
            self.queue.make_available(id);
        }
        self.singles = singles;
        Some(len.into())
    }

    /// Lets as many frames of the pool that the last were of go by [`SplitTx::put_only`] as can with more than `min_free` descriptors free before each, and
    /// at most `most`.
    pub fn allow_singles(&mut self, min_free: u32, most: u32) {
        let spare = (self.free_count as u32).saturating_sub(min_free);
        self.singles = if self.sources.headroom_bytes() >= HEADER { spare.min(most) } else { 0 };
    }

    /// The most descriptors of the queue that a frame of so many segments takes, or of fewer.
    pub fn most_descriptors(&self, segments: usize) -> usize {
        self.apart.most_descriptors(segments + usize::from(HEADER > 0))
    }

    /// How many descriptors of the queue `frame` takes. More than [`SplitTx::len`]: it cannot be sent.
    pub fn descriptors(&self, frame: &Frame) -> usize {
        self.apart.descriptors_of(pieces::<HEADER>(frame))
    }

    /// Queues any frame for which [`SplitTx::descriptors`] are free. Where its header finds no room right before its first byte, that has a place of its own.
    ///
    /// # Errors
    /// The frame, where there are not so many; where a segment is in a domain that the device does not reach; and where there is nothing to be sent, neither
    /// a byte nor a header.
    pub fn put(&mut self, mut frame: Frame, header: [u8; HEADER]) -> Result<(), Frame> {
        self.singles = 0;
        let count = pieces::<HEADER>(&frame);
        let needed = self.apart.descriptors_of(count);
        let can_be_sent = (1..=self.free_count).contains(&needed) && frame.all_reachable(self.pool.domain());
        let Some(head) = can_be_sent.then(|| self.take_free()).flatten() else { return Err(frame) };
        let table = self.apart.fits_table(count);
        let pieces = self.apart.pieces(head, &mut frame, header);
        if table {
            table::put(&mut self.queue, &mut self.apart, head, pieces);
        } else {
            self.put_chain(head, pieces);
        }
        self.queue.make_available(head);
        let head = usize::from(head);
        if let (Some(slot), Some(place)) = (self.slots.get_mut(head), self.frames.get_mut(head)) {
            *slot = FRAME;
            *place = Some(frame);
        }
        Ok(())
    }

    pub(super) fn take_free(&mut self) -> Option<u16> {
        let top = self.free_count.checked_sub(1)?;
        self.free_count = top;
        self.free.get(top).copied()
    }

    /// Descriptors of the queue itself, chained by `next`.
    fn put_chain(&mut self, head: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
        let mut pieces = pieces.peekable();
        let mut id = head;
        while let Some((iova, len)) = pieces.next() {
            let next = if pieces.peek().is_some() { self.take_free() } else { None };
            let flags = if next.is_some() { F_NEXT } else { 0 };
            self.queue.desc.store(id.into(), descriptor(iova.0, len, flags, next.unwrap_or(0)));
            if let Some(place) = self.next.get_mut(usize::from(id)) {
                *place = next.unwrap_or(END);
            }
            match next {
                Some(next) => id = next,
                None => return,
            }
        }
    }

    /// Gives every frame in flight back and makes the queue what it was when it was new: for a device that was reset and is to be told of the queue once
    /// more. Returns what was in flight.
    ///
    /// # Safety
    /// As for [`SplitTx::release`].
    pub unsafe fn rewind(&mut self, batch: &mut Batch) -> Reclaimed {
        let all = self.give_all_back(batch);
        // SAFETY: the caller's.
        unsafe { self.queue.rewind() };
        for (place, id) in self.free.iter_mut().zip((0..self.queue.size()).rev()) {
            *place = id;
        }
        self.next.fill(END);
        self.free_count = self.free.len();
        all
    }

    /// How many frames are in flight that the device did not give back. One that it cuts counts as all that it makes of it.
    pub fn pending_frames(&mut self) -> usize {
        let ready = self.ready().unwrap_or(0);
        let frames_of = |id: usize| self.slots.get(id).map_or(0, |&word| flight::frames_of(word, self.frames.get(id)));
        let in_flight: usize = (0..self.slots.len()).map(frames_of).sum();
        let back = (0..ready).map(|k| frames_of(self.queue.used_id_behind(k) as usize)).sum();
        in_flight.saturating_sub(back)
    }

    /// Empties every slot.
    fn give_all_back(&mut self, batch: &mut Batch) -> Reclaimed {
        let descriptors = self.pending() as u32;
        self.singles = 0;
        // SAFETY: a slot that is neither empty nor `FRAME` owns a buffer of the pool that its tag names.
        let bytes = unsafe { flight::give_all_back(&mut self.slots, &mut self.frames, &self.sources, batch) };
        Reclaimed { descriptors, bytes }
    }

    /// Takes the queue apart: frames in flight return to their pools and its memory is unmapped.
    ///
    /// # Safety
    /// The device has confirmed that it stopped: it does not read the rings or their buffers any more.
    pub unsafe fn release(mut self) {
        self.give_all_back(&mut Batch::new(1));
        // SAFETY: `self` is consumed, and `SplitTx` has no `Drop` of its own.
        unsafe {
            ManuallyDrop::drop(&mut self.frames);
            ManuallyDrop::drop(&mut self.queue);
            self.apart.release();
        }
    }
}

impl<const HEADER: usize> fmt::Debug for SplitTx<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SplitTx({} descriptors, {} pending)", self.len(), self.pending())
    }
}
