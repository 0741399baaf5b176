//! The transmit half.

use alloc::boxed::Box;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::PoolInner;
use crate::buf::pool::BufPool;
use crate::host::dma::{DmaDomain, Iova};
use crate::ring::error::{self, RingError};
use crate::ring::memory::RingMemory;
use crate::ring::owners::Sources;
use crate::ring::split::queue::{SplitQueue, descriptor};
use crate::ring::split::table;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::apart::{Apart, place_header};
use crate::ring::virtq::{EMPTY, F_NEXT, FRAME, TAG_MASK, flight, pieces};

mod sent;
mod whole;

/// A transmit queue: frames in flight by the first descriptor of their chain. Descriptors are taken in the table's order and come back so: those in flight lie between
/// two counts.
///
/// Each frame is sent with a header of `HEADER` bytes (at most 64), in its headroom where there is room, else in a place of its own.
///
/// Dropping it leaks its memory and the frames in flight, since nothing here knows whether the device still reads them; a driver that has seen the device
/// stop calls [`InOrderTx::release`].
pub struct InOrderTx<const HEADER: usize> {
    queue: ManuallyDrop<SplitQueue>,
    apart: Apart<HEADER>,
    /// The buffer in flight behind each descriptor, with the tag of its pool; [`EMPTY`], or [`FRAME`].
    slots: Box<[u64]>,
    /// How many descriptors the chain of each head takes (1 where a slot holds a buffer).
    counts: Box<[u16]>,
    sources: Sources,
    /// Frames in flight that are more than one buffer.
    frames: ManuallyDrop<Box<[Option<Frame>]>>,
    /// Descriptors that came back, and those that were taken, both modulo 65536.
    first: u16,
    behind: u16,
    /// How many frames may still go by [`InOrderTx::put_only`].
    singles: u32,
    pool: BufPool,
}

impl<const HEADER: usize> InOrderTx<HEADER> {
    /// An empty queue, as [`SplitTx::new`](crate::ring::split::SplitTx::new).
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Dma`].
    pub fn new(queue: SplitQueue, domain: &DmaDomain, pool: &BufPool, table: u16) -> Result<Self, RingError> {
        let mut memory = RingMemory::new(domain, Self::memory_bytes(queue.size(), table))?;
        Self::in_memory(&mut memory, queue, pool, table)
    }

    /// The same with headers and tables in a part of `memory`: [`InOrderTx::memory_bytes`] of it, beside what the queue took.
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
            counts: (0..size).map(|_| 1).collect(),
            sources: Sources::new(pool),
            frames: ManuallyDrop::new((0..size).map(|_| None).collect()),
            first: 0,
            behind: 0,
            queue: ManuallyDrop::new(queue),
            singles: 0,
            pool: pool.clone(),
        })
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
        self.slots.len() - self.pending()
    }

    /// Descriptors that the device has.
    #[inline(always)]
    pub fn pending(&self) -> usize {
        self.behind.wrapping_sub(self.first).into()
    }

    /// The pool whose frames take the short way.
    #[inline(always)]
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// The descriptor of a count.
    #[inline(always)]
    fn descriptor_of(&self, count: u16) -> u16 {
        count & (self.queue.size() - 1)
    }

    /// Asks for an interrupt as [`SplitTx::arm`](crate::ring::split::SplitTx::arm) does.
    pub fn arm(&mut self, descriptors: u32) -> bool {
        // Each frame has one descriptor at least.
        self.queue.arm_behind(descriptors.try_into().unwrap_or(u16::MAX))
    }

    /// Asks for no interrupts, as [`SplitRx::disarm`](crate::ring::split::SplitRx::disarm).
    pub fn disarm(&mut self) {
        self.queue.disarm();
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.7.10).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// As for [`SplitTx::put_ordinary`](crate::ring::split::SplitTx::put_ordinary), by frames' pool word.
    ///
    /// # Safety
    /// A frame with this pool word is alive.
    #[inline(always)]
    unsafe fn turn_to(&mut self, word: NonNull<PoolInner>) -> bool {
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
            let to_end = self.slots.len() - usize::from(self.descriptor_of(self.behind));
            let run = batch.len().min(self.free()).min(room).min(to_end);
            let frames = NonNull::from(batch.frames_mut()).cast();
            // SAFETY: `run` frames are in the batch, as many descriptors free up to the table's end, and as many entries at `avail`; the source's pool has the headroom.
            let (count, more) = unsafe { self.put_run(frames, avail, run, (min_bytes, max_bytes)) };
            // The frames at the front are in the slots now.
            batch.advance(count);
            done += count;
            bytes += more;
            if count == 0 {
                break;
            }
        }
        (done, bytes)
    }

    /// # Safety
    /// `count` frames are at `frames`; those that are taken, the caller forgets. As many descriptors are free up to the table's end, and as many entries of the available
    /// ring are at `avail`, the next one first. The source's pool is alive and has `HEADER` bytes of headroom. `max_bytes` is no less than `min_bytes`.
    #[inline(never)]
    unsafe fn put_run(&mut self, frames: NonNull<Frame>, avail: NonNull<u16>, count: usize, (min_bytes, max_bytes): (u16, u16)) -> (usize, u64) {
        let first = self.descriptor_of(self.behind);
        let descriptors = self.queue.desc.at(first.into()).cast::<u64>();
        // SAFETY: `first` is below the number of slots.
        let slots = unsafe { self.slots.as_mut_ptr().add(first.into()) };
        let (pool, iova) = (self.sources.pool(), self.sources.delta().wrapping_sub(HEADER as u64));
        let tag = self.sources.names() & TAG_MASK;
        let (mut done, mut bytes) = (0, 0);
        while done < count {
            // SAFETY: `done` is below `count`: frame, slot, descriptor and entry lie inside their memory. A frame whose pool word, tags included, is a pool's address is one
            // buffer of it with its data at home, behind `HEADER` bytes of headroom.
            unsafe {
                let frame = frames.add(done).as_ref();
                let len = frame.linear_len() as u16;
                if frame.pool_word() != pool || len.wrapping_sub(min_bytes) > max_bytes.wrapping_sub(min_bytes) {
                    break;
                }
                let word = place_header::<HEADER>(frame.ptr());
                slots.add(done).write(word + tag);
                // Two words are enough: the device looks only after `publish`. No flags, no next.
                let words = descriptors.add(2 * done);
                words.write_volatile(word.wrapping_add(iova).to_le());
                words.add(1).write_volatile((u64::from(len) + HEADER as u64).to_le());
                avail.add(done).write_volatile((first + done as u16).to_le());
                bytes += u64::from(len);
            }
            done += 1;
        }
        self.behind = self.behind.wrapping_add(done as u16);
        self.queue.next_avail = self.queue.next_avail.wrapping_add(done as u16);
        (done, bytes)
    }

    /// Takes the frame of `batch` if it is its only one, an ordinary one as for [`InOrderTx::put_ordinary`], and one that [`InOrderTx::allow_singles`] allowed. Returns its
    /// bytes.
    #[inline(always)]
    pub fn put_only(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> Option<u64> {
        batch.only()?;
        let singles = self.singles.checked_sub(1)?;
        let (count, bytes) = self.put_ordinary(batch, min_bytes, max_bytes);
        self.singles = singles;
        (count > 0).then_some(bytes)
    }

    /// Lets as many frames go by [`InOrderTx::put_only`] as can with more than `min_free` descriptors free before each, and at most `most`.
    pub fn allow_singles(&mut self, min_free: u32, most: u32) {
        self.singles = (self.free() as u32).saturating_sub(min_free).min(most);
    }

    /// How many descriptors of the queue `frame` takes. More than [`InOrderTx::len`]: it cannot be sent.
    pub fn descriptors(&self, frame: &Frame) -> usize {
        self.apart.descriptors_of(pieces::<HEADER>(frame))
    }

    /// The most descriptors of the queue that a frame of so many segments takes, or of fewer.
    pub fn most_descriptors(&self, segments: usize) -> usize {
        self.apart.most_descriptors(segments + usize::from(HEADER > 0))
    }

    /// Queues any frame for which [`InOrderTx::descriptors`] are free. Where its header finds no room right before its first byte, that has a place of its own.
    ///
    /// # Errors
    /// The frame, where there are not so many; where a segment is in a domain that the device does not reach; and where there is nothing to be sent, neither
    /// a byte nor a header.
    pub fn put(&mut self, mut frame: Frame, header: [u8; HEADER]) -> Result<(), Frame> {
        self.singles = 0;
        let count = pieces::<HEADER>(&frame);
        let needed = self.apart.descriptors_of(count);
        if !(1..=self.free()).contains(&needed) || !frame.all_reachable(self.pool.domain()) {
            return Err(frame);
        }
        let head = self.descriptor_of(self.behind);
        let table = self.apart.fits_table(count);
        let pieces = self.apart.pieces(head, &mut frame, header);
        if table {
            table::put(&mut self.queue, &mut self.apart, head, pieces);
        } else {
            self.put_chain(head, pieces);
        }
        self.queue.make_available(head);
        self.behind = self.behind.wrapping_add(needed as u16);
        let at = usize::from(head);
        if let (Some(slot), Some(count), Some(place)) = (self.slots.get_mut(at), self.counts.get_mut(at), self.frames.get_mut(at)) {
            *slot = FRAME;
            *count = needed as u16;
            *place = Some(frame);
        }
        Ok(())
    }

    /// Descriptors of the queue itself, each behind the other: 2.7.5.2 has `next` 0 at the table's end, and one more elsewhere.
    fn put_chain(&mut self, head: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
        let (mut pieces, mut id) = (pieces.peekable(), head);
        while let Some((iova, len)) = pieces.next() {
            let behind = self.descriptor_of(id + 1);
            let (flags, next) = if pieces.peek().is_some() { (F_NEXT, behind) } else { (0, 0) };
            self.queue.desc.store(id.into(), descriptor(iova.0, len, flags, next));
            id = behind;
        }
    }

    /// Gives every frame in flight back and makes the queue what it was when it was new: for a device that was reset and is to be told of the queue once
    /// more. Returns what was in flight.
    ///
    /// # Safety
    /// As for [`InOrderTx::release`].
    pub unsafe fn rewind(&mut self, batch: &mut Batch) -> Reclaimed {
        let all = self.give_all_back(batch);
        // SAFETY: the caller's.
        unsafe { self.queue.rewind() };
        self.counts.fill(1);
        (self.first, self.behind) = (0, 0);
        all
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
        // SAFETY: `self` is consumed, and `InOrderTx` has no `Drop` of its own.
        unsafe {
            ManuallyDrop::drop(&mut self.frames);
            ManuallyDrop::drop(&mut self.queue);
            self.apart.release();
        }
    }
}

impl<const HEADER: usize> fmt::Debug for InOrderTx<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InOrderTx({} descriptors, {} pending)", self.len(), self.pending())
    }
}
