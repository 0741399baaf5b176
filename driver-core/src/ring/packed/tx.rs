//! The transmit half.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::queue::{NEXT_ID, PackedQueue, PackedWatch, Progress};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::PoolInner;
use crate::buf::pool::BufPool;
use crate::host::dma::{DmaDomain, Iova};
use crate::ring::desc::{self, BLOCK};
use crate::ring::error::{self, RingError};
use crate::ring::lane::{LengthLanes, Pair};
use crate::ring::memory::RingMemory;
use crate::ring::owners::Sources;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::apart::{Apart, HeaderWords, place_header};
use crate::ring::virtq::asking::{Asking, Requests, request_of};
use crate::ring::virtq::{EMPTY, F_INDIRECT, F_NEXT, FRAME, TAG_MASK, flight, pieces};

mod asking;
mod sent;
mod whole;

/// A transmit queue: frames in flight by their buffer ID, which is the offset of their first descriptor as long as the device gives them back in order.
///
/// Each frame is sent with a header of `HEADER` bytes (at most 64), in its headroom where there is room, else in a place of its own.
///
/// Dropping it leaks its memory and the frames in flight, since nothing here knows whether the device still reads them; a driver that has seen the device
/// stop calls [`PackedTx::release`].
pub struct PackedTx<const HEADER: usize> {
    pub(super) queue: ManuallyDrop<PackedQueue>,
    apart: Apart<HEADER>,
    /// The buffer in flight behind each ID, with the tag of its pool; [`EMPTY`], or [`FRAME`].
    pub(super) slots: Box<[u64]>,
    /// How many descriptors each takes (1 where a slot holds a buffer), and how far the queue is.
    progress: Arc<Progress>,
    pub(super) sources: Sources,
    /// Frames in flight that are more than one buffer.
    frames: ManuallyDrop<Box<[Option<Frame>]>>,
    /// How many frames may still go by [`PackedTx::put_only`].
    pub(super) singles: u32,
    /// What came back since nothing was in flight came in order: the ID of a descriptor that is free is free as well.
    pub(super) is_in_order: bool,
    pub(super) pool: BufPool,
    /// What frames had in common that asked for a checksum last, where the device fills them in.
    asking: Option<Asking<HEADER>>,
}

impl<const HEADER: usize> PackedTx<HEADER> {
    /// An empty queue. Frames of `pool` take the short way. Chains of up to `table` descriptors lie in tables of their own, in `domain`, which is the queue's, and take one of the
    /// queue; 0: none do. A header is at most
    /// 64 bytes.
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Dma`].
    pub fn new(queue: PackedQueue, domain: &DmaDomain, pool: &BufPool, table: u16) -> Result<Self, RingError> {
        let mut memory = RingMemory::new(domain, Self::memory_bytes(queue.size(), table))?;
        Self::in_memory(&mut memory, queue, pool, table)
    }

    /// The same with headers and tables in a part of `memory`: [`PackedTx::memory_bytes`] of it, beside what the queue took.
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Memory`].
    pub fn in_memory(memory: &mut RingMemory, queue: PackedQueue, pool: &BufPool, table: u16) -> Result<Self, RingError> {
        error::same_domain(queue.domain(), pool)?;
        error::same_domain(memory.domain(), pool)?;
        let size = queue.size();
        Ok(Self {
            apart: Apart::in_memory(memory, size, table)?,
            slots: (0..size).map(|_| EMPTY).collect(),
            progress: Arc::new(Progress::new(size)),
            sources: Sources::new(pool),
            frames: ManuallyDrop::new((0..size).map(|_| None).collect()),
            queue: ManuallyDrop::new(queue),
            singles: 0,
            is_in_order: true,
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

    /// The ring.
    #[inline(always)]
    pub fn queue(&self) -> &PackedQueue {
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
        self.slots.len() - usize::from(self.queue.outstanding())
    }

    /// Descriptors that the device has.
    pub fn pending(&self) -> usize {
        self.queue.outstanding().into()
    }

    /// The pool whose frames take the short way.
    #[inline(always)]
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// Asks for an interrupt when the device has given back so many frames that `descriptors` more are free, or all frames, and says whether it gave any back
    /// already. Without event indexes the interrupt comes at the next frame, and at each one behind it until [`PackedTx::disarm`].
    pub fn arm(&mut self, descriptors: u32) -> bool {
        self.queue.arm_behind(descriptors.try_into().unwrap_or(u16::MAX))
    }

    /// Asks for no interrupts, as [`PackedRx::disarm`](super::PackedRx::disarm).
    pub fn disarm(&mut self) {
        self.queue.disarm();
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.8.21.2).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        let tells = self.queue.publish();
        self.progress.show(&self.queue);
        tells
    }

    /// What another thread sees of how far the device is.
    pub fn watch(&self) -> PackedWatch {
        self.queue.watch(&self.progress)
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
            if min_bytes > max_bytes || !self.is_in_order || !unsafe { self.turn_to(first.pool_word()) } {
                break;
            }
            let to_end = self.slots.len() - usize::from(self.queue.offset(self.queue.next_avail));
            let run = batch.len().min(self.free()).min(to_end);
            let frames = NonNull::from(batch.frames_mut()).cast();
            // SAFETY: `run` frames are in the batch, and as many descriptors free up to the ring's end; the source's pool has the headroom.
            let (count, more) = unsafe {
                if self.sources.pool() == self.pool.as_ptr() {
                    self.put_run::<true, false>(frames, run, (min_bytes, max_bytes))
                } else {
                    self.put_run::<false, false>(frames, run, (min_bytes, max_bytes))
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
    /// `count` frames are at `frames`; those that are taken, the caller forgets. As many descriptors are free up to the ring's end, and
    /// their offsets are IDs that are free. The source's pool is alive and has `HEADER` bytes of headroom; `OWN`: it is the queue's. `max_bytes` is no less than
    /// `min_bytes`. `ASKS`: frames go that ask for the checksum that is noted, and else those that ask for nothing.
    #[inline(never)]
    unsafe fn put_run<const OWN: bool, const ASKS: bool>(
        &mut self,
        frames: NonNull<Frame>,
        count: usize,
        (min_bytes, max_bytes): (u16, u16),
    ) -> (usize, u64) {
        let asking = if ASKS { self.asking } else { None };
        let (header, request) = asking.map_or((HeaderWords::ZERO, 0), |asking| (HeaderWords::of(asking.header), asking.request));
        let next = self.queue.next_avail;
        let first = self.queue.offset(next);
        let desc = self.queue.desc.at(first.into());
        let tag = if OWN { 0 } else { self.sources.names() & TAG_MASK };
        let lengths = LengthLanes::new(0, None, min_bytes, max_bytes);
        // What makes of {pointer, pool} {IOVA of the header, 0}.
        let tags = if ASKS { Asking::<HEADER>::TAGS } else { 0 };
        let key = self.sources.key().plus(Pair::new((HEADER as u64).wrapping_neg(), tags.wrapping_neg()));
        // What a descriptor's second word is beside the length.
        let mut rest = u64::from(first) << 32 | self.queue.available_marks(next) | HEADER as u64;
        // SAFETY: `first` is below the number of slots.
        let slots = unsafe { self.slots.as_mut_ptr().add(first.into()) };
        // The first that the device may not use yet needs its own length to be held back.
        let mut hides = self.queue.hide_first(rest);
        let is_first = hides != 0;
        let (mut done, mut bytes) = (0, 0);
        while count - done >= BLOCK {
            // SAFETY: eight frames, slots and descriptors are left. A frame is 32 bytes, {pointer, pool} and two words, with the length at bytes 28 and 29. The sum's
            // high word is 0 for an untagged frame of the source's pool: one buffer with its data at home, behind `HEADER` bytes of headroom.
            unsafe {
                let (frames, slots, desc) = (frames.add(done), slots.add(done), desc.add(done));
                let sums: [Pair; BLOCK] = core::array::from_fn(|k| frames.add(k).cast::<Pair>().read().plus(key));
                let others = sums[1..].iter().fold(sums[0], |a, &b| a.or(b));
                let lens = core::array::from_fn(|k| frames.add(k).cast::<u16>().add(14).read());
                if others.high() != 0 || !lengths.all_within(lens) {
                    break;
                }
                if ASKS && !asking.is_some_and(|all| all.requests.all_within(core::array::from_fn(|k| request_of(frames.add(k))))) {
                    break;
                }
                let lens = lengths.words(lens);
                let sum = lens[1..].iter().fold(lens[0], |a, &b| a.plus(b));
                bytes += sum.low() + sum.high();
                for (k, pair) in lens.into_iter().enumerate() {
                    let words = pair.plus(Pair::new(rest.wrapping_add(hides), rest + NEXT_ID));
                    hides = 0;
                    rest += 2 * NEXT_ID;
                    for (at, desc_words) in [(2 * k, sums[2 * k].low_low(words)), (2 * k + 1, sums[2 * k + 1].low_high(words))] {
                        slots.add(at).write(
                            if ASKS {
                                header.place::<HEADER>(frames.add(at).as_ref().ptr())
                            } else {
                                place_header::<HEADER>(frames.add(at).as_ref().ptr())
                            } + tag,
                        );
                        desc::store(desc.add(at), desc_words);
                    }
                }
            }
            done += BLOCK;
        }
        while done < count {
            // SAFETY: `done` is below `count`: frame, slot and descriptor lie inside their memory. The frame is such a one as above.
            unsafe {
                let frame = frames.add(done);
                let sum = frame.cast::<Pair>().read().plus(key);
                let len = frame.as_ref().linear_len() as u16;
                if sum.high() != 0 || len.wrapping_sub(min_bytes) > max_bytes.wrapping_sub(min_bytes) || ASKS && request_of(frame) != request {
                    break;
                }
                slots
                    .add(done)
                    .write(if ASKS { header.place::<HEADER>(frame.as_ref().ptr()) } else { place_header::<HEADER>(frame.as_ref().ptr()) } + tag);
                desc::store(desc.add(done), Pair::new(sum.low(), (rest + u64::from(len)).wrapping_add(hides)));
                hides = 0;
                rest += NEXT_ID;
                bytes += u64::from(len);
            }
            done += 1;
        }
        if is_first && done > 0 {
            // SAFETY: the first of the frames that were taken.
            self.queue.held += unsafe { frames.as_ref() }.linear_len() as u64;
        }
        self.queue.next_avail = next.wrapping_add(done as u16);
        (done, bytes)
    }

    /// Takes the frame of `batch` if it is its only one, an ordinary one as for [`PackedTx::put_ordinary`] of the pool that the last frames were of, and one that
    /// [`PackedTx::allow_singles`] allowed. Returns its bytes.
    #[inline(always)]
    pub fn put_only(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> Option<u64> {
        let frame = batch.only()?;
        let singles = self.singles.checked_sub(1)?;
        let (len, min, max) = (frame.linear_len() as u32, u32::from(min_bytes), u32::from(max_bytes));
        // SAFETY: the frame is alive.
        if len.wrapping_sub(min) > max.wrapping_sub(min) || !unsafe { self.sources.is_source(frame.pool_word()) } {
            return None;
        }
        // SAFETY: `allow_singles` saw that more descriptors are free, their IDs too, and that the source's pool has the headroom. An offset is below the number of
        // slots. The frame is one buffer with its data at home.
        unsafe {
            let word = place_header::<HEADER>(frame.ptr());
            batch.forget_all();
            let id = self.queue.offset(self.queue.next_avail);
            *self.slots.get_unchecked_mut(usize::from(id)) = word | self.sources.names() & TAG_MASK;
            let iova = word.wrapping_add(self.sources.delta()).wrapping_sub(HEADER as u64);
            self.queue.put_now(iova, (u64::from(len) + HEADER as u64) | (u64::from(id) << 32));
        }
        self.singles = singles;
        Some(len.into())
    }

    /// Lets as many frames of the pool that the last were of go by [`PackedTx::put_only`] as can with more than `min_free` descriptors free before each, and
    /// at most `most`.
    pub fn allow_singles(&mut self, min_free: u32, most: u32) {
        let spare = (self.free() as u32).saturating_sub(min_free);
        self.singles = if self.is_in_order && self.sources.headroom_bytes() >= HEADER { spare.min(most) } else { 0 };
    }

    /// The most descriptors of the queue that a frame of so many segments takes, or of fewer.
    pub fn most_descriptors(&self, segments: usize) -> usize {
        self.apart.most_descriptors(segments + usize::from(HEADER > 0))
    }

    /// How many descriptors of the queue `frame` takes. More than [`PackedTx::len`]: it cannot be sent.
    pub fn descriptors(&self, frame: &Frame) -> usize {
        self.apart.descriptors_of(pieces::<HEADER>(frame))
    }

    /// An ID that no frame in flight has: the next descriptor's offset, but for a device that gave others back before it. There are as many as descriptors.
    fn free_id(&self) -> Option<u16> {
        let id = self.queue.offset(self.queue.next_avail);
        if self.slots.get(usize::from(id)) == Some(&EMPTY) {
            return Some(id);
        }
        self.slots.iter().position(|&slot| slot == EMPTY).map(|id| id as u16)
    }

    /// Queues any frame for which [`PackedTx::descriptors`] are free. Where its header finds no room right before its first byte, that has a place of its own.
    ///
    /// # Errors
    /// The frame, where there are not so many; where a segment is in a domain that the device does not reach; and where there is nothing to be sent, neither
    /// a byte nor a header.
    pub fn put(&mut self, mut frame: Frame, header: [u8; HEADER]) -> Result<(), Frame> {
        self.singles = 0;
        let count = pieces::<HEADER>(&frame);
        let needed = self.apart.descriptors_of(count);
        let can_be_sent = (1..=self.free()).contains(&needed) && frame.all_reachable(self.pool.domain());
        let Some(id) = can_be_sent.then(|| self.free_id()).flatten() else { return Err(frame) };
        let pieces = self.apart.pieces(id, &mut frame, header);
        if self.apart.fits_table(count) {
            self.put_table(id, pieces);
        } else {
            self.put_chain(id, pieces);
        }
        let at = usize::from(id);
        if let (Some(slot), Some(count), Some(place)) = (self.slots.get_mut(at), self.progress.counts.get(at), self.frames.get_mut(at)) {
            *slot = FRAME;
            count.store(needed as u16, Ordering::Relaxed);
            *place = Some(frame);
        }
        Ok(())
    }

    /// Descriptors one after another in the table of `id`, where no flag is needed (2.8.7).
    fn put_table(&mut self, id: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
        if let Some((table, bytes)) = self.apart.put_table(id, pieces, |(iova, len), _, _| Pair::new(iova.0, len.into())) {
            self.queue.put(table.0, u64::from(bytes) | (u64::from(id) << 32) | (u64::from(F_INDIRECT) << 48));
        }
    }

    /// Descriptors of the ring itself. The ID is in each of them.
    fn put_chain(&mut self, id: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
        let mut pieces = pieces.peekable();
        while let Some((iova, len)) = pieces.next() {
            let flags = if pieces.peek().is_some() { F_NEXT } else { 0 };
            self.queue.put(iova.0, u64::from(len) | u64::from(id) << 32 | u64::from(flags) << 48);
        }
    }

    /// Gives every frame in flight back and makes the queue what it was when it was new: for a device that was reset and is to be told of the queue once
    /// more. Returns what was in flight.
    ///
    /// # Safety
    /// As for [`PackedTx::release`].
    pub unsafe fn rewind(&mut self, batch: &mut Batch) -> Reclaimed {
        let all = self.give_all_back(batch);
        // SAFETY: the caller's.
        unsafe { self.queue.rewind() };
        self.is_in_order = true;
        self.progress.counts.iter().for_each(|count| count.store(1, Ordering::Relaxed));
        self.progress.show(&self.queue);
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
    /// The device has confirmed that it stopped: it does not read the ring or its buffers any more.
    pub unsafe fn release(mut self) {
        self.give_all_back(&mut Batch::new(1));
        // SAFETY: `self` is consumed, and `PackedTx` has no `Drop` of its own.
        unsafe {
            ManuallyDrop::drop(&mut self.frames);
            ManuallyDrop::drop(&mut self.queue);
            self.apart.release();
        }
    }
}

impl<const HEADER: usize> fmt::Debug for PackedTx<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedTx({} descriptors, {} pending)", self.len(), self.pending())
    }
}
