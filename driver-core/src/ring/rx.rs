//! The receive half of a card whose descriptors are 16 bytes: the driver writes a buffer's address, the device writes completion words over it.
//!
//! Which buffer lies in which slot is kept in private memory; what the device writes decides only how many bytes of that buffer are a frame.
//! The kernel works in blocks of 8 descriptors: one test whether all are done and ordinary, 16-byte loads and stores, a scalar path for the rest.
//! `ring/scalar.rs` has the same loop as a datasheet tells it; begin there.

use alloc::boxed::Box;
use core::fmt;
use core::ptr::NonNull;

use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{self, RawBuf};
use crate::buf::meta::{LEN_SHIFT, QUEUE_SHIFT, VLAN_VALID};
use crate::buf::pool::BufPool;
use crate::host::dma::Iova;
use crate::ring::desc::{self as words, BLOCK, DescRing};
use crate::ring::error::{self, RingError};
use crate::ring::lane::Pair;
use crate::ring::memory::RingPart;
use crate::ring::rules::{RX_LENGTH, RxRules};

mod apart;
mod chain;
mod taking;
mod whole;

pub use apart::{LargeRules, SplitRules, WholeLimits};
use apart::{Manner, lent_high};
pub use taking::{Begun, RxTakeError, WholeError};

/// Where the first word of a frame has the queue's number.
const QUEUE_MASK: u64 = 0x3ff << QUEUE_SHIFT;
/// What makes no frame look ordinary: a bit that no ring tests (the lowest of a length), so that nothing is left of it in words that were masked with
/// what a ring tests.
const NEVER: u64 = 1 << LEN_SHIFT;

/// A receive ring, full of lent buffers.
///
/// Dropping it leaks its memory and buffers, since nothing here knows whether the device still writes to them; a driver that has seen the hardware
/// queue stop calls [`RxRing::release`].
pub struct RxRing {
    pub(super) desc: core::mem::ManuallyDrop<DescRing>,
    /// The buffer that is lent with each descriptor.
    pub(super) slots: Box<[RawBuf]>,
    pub(super) pool: BufPool,
    /// The next descriptor that the device completes.
    pub(super) next: u32,
    /// What the tested bits of an ordinary frame are; with [`NEVER`] among them while only the scalar path may run.
    pub(super) ordinary: u64,
    /// The bits that a frame in one buffer has: done and end.
    pub(super) whole: u64,
    /// Where frames do not lie one behind the other, 0: other ways find no descriptor that is done.
    pub(super) done: u64,
    /// There, the bit that says it.
    pub(super) done_apart: u64,
    pub(super) end: u64,
    /// The same, and the bits that mark a frame.
    unmarked_end: u64,
    /// Those of `RxRules`, and every length that has a bit outside of the buffer's size.
    pub(super) unusual: u64,
    /// The bits that decide whether a frame is ordinary.
    pub(super) tested: u64,
    /// How long an ordinary frame is at most, where that is more than `unusual` lets through; else 0.
    pub(super) max_len: u16,
    /// The bits of the first word that a frame keeps: not those that the rules drop, nor those where it has its queue.
    pub(super) kept: u64,
    pub(super) queue: u64,
    /// IOVA minus pointer, of the pool.
    pub(super) delta: u64,
    /// Where descriptors are not frames one behind the other; `ordinary` has [`NEVER`] then.
    ///
    /// What is in it the device may still write to, as to the slots' buffers: of frames that are not complete it corrects the headers.
    manner: core::mem::ManuallyDrop<Option<Box<Manner>>>,
}

impl RxRing {
    /// A ring of `entries` descriptors (a power of two, at least 8), each with a buffer of `pool`, in a region of its own in the pool's domain.
    /// `queue` is what the frames say they came from.
    ///
    /// # Errors
    /// [`RingError`]; nothing is kept then.
    pub fn new(pool: &BufPool, entries: u32, queue: u16, rules: RxRules) -> Result<Self, RingError> {
        check(entries, rules)?;
        Self::with_ring(DescRing::new(pool.domain(), entries)?, pool, queue, rules)
    }

    /// The same in memory that the caller gives: [`DescRing::part_bytes`] of it.
    ///
    /// # Errors
    /// [`RingError`]; nothing is kept then.
    pub fn in_part(part: RingPart, pool: &BufPool, entries: u32, queue: u16, rules: RxRules) -> Result<Self, RingError> {
        check(entries, rules)?;
        Self::with_ring(DescRing::in_part(part, entries)?, pool, queue, rules)
    }

    fn with_ring(desc: DescRing, pool: &BufPool, queue: u16, rules: RxRules) -> Result<Self, RingError> {
        error::same_domain(desc.domain(), pool)?;
        let mut slots = Box::new_uninit_slice(desc.len() as usize);
        let free = memory::take_block(pool.inner(), &mut slots);
        let more = pool.available();
        if free < slots.len() || more == 0 {
            // SAFETY: `take_block` initialised the first `free` places with buffers that are ours.
            unsafe { memory::give_back(pool.as_ptr(), core::slice::from_raw_parts(slots.as_ptr().cast(), free)) };
            // A filled buffer leaves its slot only for an empty one: with none beside those in the slots no frame would ever come up.
            return Err(RingError::PoolTooSmall { entries: desc.len(), needed: desc.len() + 1, free: free as u32 + more });
        }
        // SAFETY: every place was filled.
        let slots = unsafe { slots.assume_init() };
        // So that one OR over a block of words finds every length beyond the buffer, all lengths that are no less than the largest power of two in
        // it are unusual: a full buffer of 2048 bytes takes the scalar path, which compares. Where the buffer has much more than that, lengths are
        // compared in the blocks as well.
        let room = pool.data_bytes().min(0xffff);
        let safe_len = (1u64 << room.ilog2()) - 1;
        let unusual = rules.unusual | VLAN_VALID | (0xffff & !safe_len) << LEN_SHIFT;
        let max_len = if room.is_power_of_two() { 0 } else { room as u16 };
        let whole = rules.done | rules.end;
        // Nothing but lengths beyond a buffer is tested of the length, and a buffer has at least 64 bytes.
        debug_assert_eq!((whole | unusual) & NEVER, 0);
        let mut ring = Self {
            desc: core::mem::ManuallyDrop::new(desc),
            slots,
            pool: pool.clone(),
            next: 0,
            ordinary: whole,
            whole,
            done: rules.done,
            done_apart: 0,
            end: rules.end,
            unmarked_end: rules.end | rules.marked,
            unusual,
            tested: whole | unusual,
            max_len,
            kept: !(rules.dropped | QUEUE_MASK),
            queue: u64::from(queue & 0x3ff) << QUEUE_SHIFT,
            delta: pool.inner().delta,
            manner: core::mem::ManuallyDrop::new(None),
        };
        ring.lend_all();
        Ok(ring)
    }

    /// Where the device finds the ring.
    pub fn iova(&self) -> Iova {
        self.desc.iova()
    }

    /// How many descriptors there are.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> u32 {
        self.desc.len()
    }

    /// The pool that the buffers come from.
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// How many bytes a frame in one buffer has at most.
    #[inline(always)]
    pub(super) fn room_bytes(&self) -> u32 {
        self.pool.inner().data_bytes.min(0xffff)
    }

    /// The next descriptor that the device completes.
    #[inline(always)]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// What the tail register says when every slot but one belongs to the device: the slot before `next`.
    #[inline(always)]
    pub fn tail(&self) -> u32 {
        self.next.wrapping_sub(1) & self.desc.mask()
    }

    /// The completion words of the next descriptor.
    #[inline(always)]
    pub fn peek(&self) -> Pair {
        self.desc.load(self.next)
    }

    /// Whether the device is done with the next descriptor.
    #[inline(always)]
    pub fn is_ready(&self) -> bool {
        self.peek().high() & (self.done | self.done_apart) != 0
    }

    /// How many whole frames the device is done with that were not taken, but for the rest of one that was taken in part. Where frames come up by
    /// [`RxRing::take_whole`], those that were begun count as well, and a large receive as many as it has segments.
    pub fn ready_frames(&self) -> u32 {
        if let Some(manner) = self.manner.as_deref() {
            return self.ready_or_begun(manner);
        }
        let (mask, len) = (self.desc.mask(), self.desc.len());
        let words = (0..len).map(|k| self.desc.load((self.next + k) & mask).high()).take_while(|word| word & self.done != 0);
        let ends: u32 = words.map(|word| u32::from(word & self.whole == self.whole)).sum();
        ends.saturating_sub((self.ordinary != self.whole).into())
    }

    /// While `false`, no frame counts as ordinary: [`RxRing::take_plain`] and [`RxRing::take_blocks`] take nothing. For a driver that is
    /// in the middle of a frame of several descriptors.
    pub fn allow_ordinary(&mut self, allow: bool) {
        self.ordinary = if allow && self.manner.is_none() { self.whole } else { self.whole | NEVER };
    }

    /// Whether completion words are those of an ordinary whole frame.
    #[inline(always)]
    pub(super) fn is_ordinary(&self, words: Pair) -> bool {
        words.high() & self.tested == self.ordinary || self.max_len > 0 && self.is_long_ordinary(words)
    }

    /// The same for a frame of a length that `unusual` has bits of.
    #[cold]
    #[inline(never)]
    fn is_long_ordinary(&self, words: Pair) -> bool {
        words.high() & self.tested & !RX_LENGTH == self.ordinary && (words.high() >> LEN_SHIFT) as u16 <= self.max_len
    }

    /// Moves the next frame to `batch` if it is an ordinary one, an empty buffer lies ready there, and there is room.
    #[inline(always)]
    pub fn take_plain(&mut self, batch: &mut Batch) -> bool {
        let at = self.next;
        // SAFETY: `next` is always below the number of descriptors and slots.
        let (desc, slot) = unsafe { (self.desc.at_unmasked(at), NonNull::new_unchecked(self.slots.as_mut_ptr()).add(at as usize)) };
        // SAFETY: the ring is alive.
        let words = unsafe { words::load(desc) };
        if !self.is_ordinary(words) {
            return false;
        }
        barrier::after_done();
        let pool = self.pool.as_ptr();
        // SAFETY: the place is written below, and nothing comes before.
        let Some((place, empty)) = (unsafe { batch.exchange_one(pool) }) else { return false };
        // SAFETY: the slot's buffer is done, of this pool, and leaves the slot for `empty`; an ordinary frame's length is within
        // its buffer, by `unusual`; `place` is a free place that `exchange_one` counted, and is written here.
        unsafe {
            let filled = slot.replace(empty);
            let mut frame = Frame::fresh(filled, pool);
            frame.set_plain_words([words.low() & self.kept | self.queue, words.high()]);
            place.write(frame);
            words::store(desc, Pair::new(empty.word().wrapping_add(self.delta), 0));
        }
        self.next = (at + 1) & self.desc.mask();
        true
    }

    /// Sees to it that an empty buffer lies ready in `batch`, and says whether there was none and is one now.
    #[inline(always)]
    pub fn stock(&self, batch: &mut Batch) -> bool {
        batch.spares_of(self.pool.as_ptr()).1 == 0 && batch.stock(&self.pool, 1) > 0
    }

    /// Moves ordinary frames to `batch` in blocks of 8, at most `budget` frames, as long as the next 8 are all done, ordinary and contiguous, and
    /// empty buffers are there. Returns how many it moved.
    #[inline(always)]
    pub fn take_blocks(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let at = self.next as usize;
        let pool = self.pool.as_ptr();
        let wanted = budget.min(self.slots.len() - at) / BLOCK;
        if wanted == 0 {
            return 0;
        }
        if batch.spares_of(pool).1 < wanted * BLOCK {
            if !self.is_ordinary(self.peek()) {
                return 0;
            }
            batch.refill(&self.pool, wanted * BLOCK);
        }
        let (spares, spare_count) = batch.spares_of(pool);
        let blocks = wanted.min(spare_count / BLOCK);
        let Some(places) = batch.places(blocks * BLOCK) else { return 0 };
        // SAFETY: `blocks` blocks of descriptors and slots follow `at` before the ring's end, as many places are free in the batch,
        // and as many empty buffers of this pool lie at the top of the stack.
        let taken = unsafe {
            let top = spares.add(spare_count);
            let slots = NonNull::new_unchecked(self.slots.as_mut_ptr()).add(at);
            let desc = self.desc.at_unmasked(at as u32);
            if self.max_len == 0 {
                self.run_blocks::<false>(places, desc, slots, top, blocks)
            } else {
                self.run_blocks::<true>(places, desc, slots, top, blocks)
            }
        };
        self.next = (at + taken) as u32 & self.desc.mask();
        // SAFETY: `run_blocks` wrote `taken` frames and took as many buffers off the stack.
        unsafe {
            batch.commit(taken);
            batch.set_spares(pool, spare_count - taken);
        }
        taken
    }

    /// `LONG`: lengths up to `max_len` are ordinary.
    ///
    /// # Safety
    /// `blocks` blocks are at `desc`, `slots` and (uninitialised) `places`, and below `top` empty buffers of this ring's pool.
    #[inline(always)]
    unsafe fn run_blocks<const LONG: bool>(
        &self,
        mut places: NonNull<Frame>,
        mut desc: NonNull<Pair>,
        mut slots: NonNull<RawBuf>,
        mut top: NonNull<RawBuf>,
        blocks: usize,
    ) -> usize {
        let pool = self.pool.as_ptr();
        let delta = Pair::new(self.delta, self.delta);
        let unusual = if LONG { self.unusual & !RX_LENGTH } else { self.unusual };
        let (whole, ordinary) = (self.whole, self.ordinary);
        let (max_len, queue, kept) = (self.max_len, Pair::new(self.queue, 0), self.kept);
        for block in 0..blocks {
            // SAFETY: every pointer has a whole block behind it (or, for `top`, below it), by the caller's word and the steps of this loop.
            unsafe {
                let mut words = [Pair::new(0, 0); BLOCK];
                for (k, word) in words.iter_mut().enumerate() {
                    *word = words::load(desc.add(k));
                }
                let all = words[1..].iter().fold(words[0], |a, &b| a.and(b));
                let any = words[1..].iter().fold(words[0], |a, &b| a.or(b));
                // The first word is stored as it came, but for the queue's number, which is ORed to it: what would have to be cleared must be zero.
                if all.high() & whole != ordinary || any.high() & unusual | any.low() & !kept != 0 {
                    return block * BLOCK;
                }
                if LONG {
                    let longest = words[1..].iter().fold(words[0], |a, &b| a.max_u16(b));
                    if (longest.high() >> LEN_SHIFT) as u16 > max_len {
                        return block * BLOCK;
                    }
                }
                barrier::after_done();
                top = top.sub(BLOCK);
                for (k, word) in words.into_iter().enumerate() {
                    // A frame is {pointer, pool} and the two words: see `Frame`.
                    let place = places.add(k);
                    Frame::write_owner(place, slots.add(k).read(), pool);
                    place.cast::<Pair>().add(1).write(word.or(queue));
                }
                for k in (0..BLOCK).step_by(2) {
                    let two = top.add(k).cast::<Pair>().read_unaligned();
                    slots.add(k).cast::<Pair>().write_unaligned(two);
                    let iovas = two.plus(delta);
                    words::store(desc.add(k), iovas.low_zero());
                    words::store(desc.add(k + 1), iovas.high_zero());
                }
                places = places.add(BLOCK);
                desc = desc.add(BLOCK);
                slots = slots.add(BLOCK);
            }
        }
        blocks * BLOCK
    }

    /// Takes the next descriptor's frame, if it is done, and puts an empty buffer into its slot. Also says whether the frame ends with this descriptor.
    ///
    /// The descriptor is read once. Where its second word has any of the `bad` bits, the buffer stays in its slot and goes back to the device. The
    /// frame's second word is what was read less the bits in `hide`, which the driver does not want to be decoded.
    ///
    /// # Errors
    /// [`RxTakeError`]; but for [`RxTakeError::Bad`] the slot is as it was.
    #[inline]
    pub fn take(&mut self, batch: &mut Batch, bad: u64, hide: u64) -> Result<(Frame, bool), RxTakeError> {
        let [w0, w1] = self.peek().words();
        if w1 & self.done == 0 {
            return Err(RxTakeError::NotDone);
        }
        barrier::after_done();
        if w1 & bad != 0 {
            self.skip();
            return Err(RxTakeError::Bad);
        }
        let len_bytes = (w1 >> LEN_SHIFT) as u16;
        if u32::from(len_bytes) > self.pool.inner().data_bytes {
            return Err(RxTakeError::Length { len_bytes: len_bytes.into() });
        }
        let Some(empty) = batch.take_spare(&self.pool) else { return Err(RxTakeError::NoBuffer) };
        // SAFETY: `next` is always below the number of slots.
        let slot = unsafe { self.slots.get_unchecked_mut(self.next as usize) };
        let filled = core::mem::replace(slot, empty);
        // SAFETY: the slot's buffer was lent and is done; it is of this pool.
        let mut frame = unsafe { Frame::fresh(filled, self.pool.as_ptr()) };
        // SAFETY: the length was checked against the buffer's room.
        unsafe { frame.set_words([w0 & self.kept | self.queue, w1 & (!hide | RX_LENGTH)]) };
        self.rearm(empty);
        Ok((frame, w1 & self.unmarked_end == self.end))
    }

    /// Gives the next descriptor's buffer back to the device as it is: its frame is not wanted.
    #[inline]
    pub fn skip(&mut self) {
        if self.manner.is_some() {
            return self.lend_next();
        }
        // SAFETY: `next` is always below the number of slots.
        let same = unsafe { *self.slots.get_unchecked(self.next as usize) };
        self.rearm(same);
    }

    #[inline(always)]
    pub(super) fn rearm(&mut self, buf: RawBuf) {
        let iova = buf.word().wrapping_add(self.delta);
        self.desc.store(self.next, Pair::new(iova, 0));
        self.next = (self.next + 1) & self.desc.mask();
    }

    /// Lends every buffer again, from the first descriptor on: for a hardware queue that stopped and is to start anew. Frames that it filled and nobody
    /// took are lost.
    ///
    /// # Safety
    /// As for [`RxRing::release`].
    pub unsafe fn rewind(&mut self) {
        self.forget_begun();
        self.lend_all();
        self.next = 0;
        self.allow_ordinary(true);
    }

    /// Writes every descriptor.
    fn lend_all(&mut self) {
        for (index, &buf) in (0..).zip(&self.slots) {
            let high = lent_high(self.manner.as_deref(), index, self.delta);
            self.desc.store(index, Pair::new(buf.word().wrapping_add(self.delta), high));
        }
    }

    /// Takes the ring apart: its buffers return to the pool and its memory is unmapped.
    ///
    /// # Safety
    /// The hardware queue has confirmed that it stopped: the device does not write to the ring or its buffers any more.
    pub unsafe fn release(mut self) {
        // SAFETY: the slots' buffers are of this pool and the ring's; `self` is consumed, and `RxRing` has no `Drop` of its own.
        unsafe {
            memory::give_back(self.pool.as_ptr(), &self.slots);
            self.release_manner();
            core::mem::ManuallyDrop::drop(&mut self.desc);
        }
    }
}

fn check(entries: u32, rules: RxRules) -> Result<(), RingError> {
    DescRing::check_entries(entries, BLOCK as u32)?;
    Ok(rules.check()?)
}

impl fmt::Debug for RxRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RxRing({} descriptors at {:#x}, next {})", self.len(), self.iova(), self.next)
    }
}
