//! The transmit half of a card whose descriptors are 16 bytes: buffer address, then a word of lengths and commands, over which the device
//! writes a done bit where it was asked to.
//!
//! The frames' buffers are kept in private memory until the device reports; then they go to the caller's
//! [`Batch`] as empty buffers. A report is asked for once in [`REPORT_EVERY`] descriptors, and one look at it completes them all.

use alloc::boxed::Box;
use core::fmt;
use core::ptr::NonNull;

use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::pool::BufPool;
use crate::host::dma::Iova;
use crate::ring::desc::{self as words, BLOCK, DescRing};
use crate::ring::error::{self, RingError};
use crate::ring::lane::{self, Pair};
use crate::ring::memory::RingPart;
use crate::ring::rules::{TX_LENGTH, TxRules};

/// Descriptors between two reports.
pub const REPORT_EVERY: u32 = 32;

/// The slot's buffer is of another pool: see `foreign`.
const FOREIGN: u64 = 1;

/// A transmit ring.
///
/// Dropping it leaks its memory and the buffers in flight, since nothing here knows whether the device still reads them; a driver that has seen the
/// hardware queue stop calls [`TxRing::release`].
pub struct TxRing {
    desc: core::mem::ManuallyDrop<DescRing>,
    /// Buffers in flight at `head..tail`, tagged where foreign.
    slots: Box<[RawBuf]>,
    /// The pools of those tagged [`FOREIGN`].
    foreign: Box<[*mut PoolInner]>,
    /// Lengths of frames in flight, at their first descriptor, where somebody asked for them.
    bytes: Box<[u32]>,
    /// Descriptors that report, oldest at `report_head`.
    reports: Box<[u32]>,
    report_head: u32,
    report_tail: u32,
    pool: BufPool,
    head: u32,
    tail: u32,
    unreported: u32,
    rules: TxRules,
    /// Longest less shortest ordinary frame, in bytes.
    len_span: u16,
    /// See [`TxRules::length_factor`].
    length_factor: u64,
    payload_shift: u32,
    /// IOVA minus pointer, of the pool.
    delta: u64,
    /// What was last written for a descriptor: memory that the device can write is not read back.
    last: Pair,
}

// SAFETY: the raw pointers name pools whose buffers this ring owns; both may be owned by any thread.
unsafe impl Send for TxRing {}
// SAFETY: `&TxRing` reads indexes only.
unsafe impl Sync for TxRing {}

/// What [`TxRing::reclaim`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "plain data, which every transmit kernel fills in whole")]
pub struct Reclaimed {
    /// Descriptors that are free again.
    pub descriptors: u32,
    /// Bytes of the frames in them, where they are counted.
    pub bytes: u64,
}

impl TxRing {
    /// An empty ring of `entries` descriptors (a power of two, at least 8) in a region of its own in the pool's domain.
    /// Frames of `pool` take the short way. `count_bytes`: keep the frames' lengths for [`Reclaimed::bytes`].
    ///
    /// # Errors
    /// [`RingError`]
    pub fn new(pool: &BufPool, entries: u32, rules: TxRules, count_bytes: bool) -> Result<Self, RingError> {
        check(entries, rules)?;
        Self::with_ring(DescRing::new(pool.domain(), entries)?, pool, rules, count_bytes)
    }

    /// The same in memory that the caller gives: [`DescRing::part_bytes`] of it.
    ///
    /// # Errors
    /// [`RingError`]
    pub fn in_part(part: RingPart, pool: &BufPool, entries: u32, rules: TxRules, count_bytes: bool) -> Result<Self, RingError> {
        check(entries, rules)?;
        Self::with_ring(DescRing::in_part(part, entries)?, pool, rules, count_bytes)
    }

    fn with_ring(desc: DescRing, pool: &BufPool, mut rules: TxRules, count_bytes: bool) -> Result<Self, RingError> {
        error::same_domain(desc.domain(), pool)?;
        if count_bytes {
            // No frame has this length: none is ordinary, and each is counted by `put_segment`.
            (rules.min_bytes, rules.max_bytes) = (u16::MAX, u16::MAX);
        }
        let len = desc.len() as usize;
        Ok(Self {
            desc: core::mem::ManuallyDrop::new(desc),
            slots: (0..len).map(|_| RawBuf::MARK).collect(),
            foreign: (0..len).map(|_| core::ptr::null_mut()).collect(),
            bytes: (0..if count_bytes { len } else { 0 }).map(|_| 0).collect(),
            reports: (0..len).map(|_| 0).collect(),
            report_head: 0,
            report_tail: 0,
            pool: pool.clone(),
            head: 0,
            tail: 0,
            unreported: 0,
            last: Pair::new(0, 0),
            len_span: rules.max_bytes - rules.min_bytes,
            length_factor: rules.length_factor(),
            payload_shift: rules.payload_shift.unwrap_or(lane::NOWHERE),
            rules,
            delta: pool.inner().delta,
        })
    }

    /// Where the device finds the ring.
    pub fn iova(&self) -> Iova {
        self.desc.iova()
    }

    /// How many descriptors there are.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "`pending` says what is in it")]
    pub fn len(&self) -> u32 {
        self.desc.len()
    }

    /// The pool whose frames take the short way.
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// What the tail register says: the next descriptor to be filled.
    #[inline(always)]
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// Descriptors that the device has.
    #[inline(always)]
    pub fn pending(&self) -> u32 {
        self.tail.wrapping_sub(self.head) & self.desc.mask()
    }

    /// Descriptors that are free. One always stays apart, since a full ring would look like an empty one.
    #[inline(always)]
    pub fn free(&self) -> u32 {
        self.desc.mask() - self.pending()
    }

    /// Takes ordinary frames from the front of `batch` in blocks of 8, as long as the next 8 are all plain frames of this ring's pool within the
    /// length limits, and there is room in one piece. Returns how many it took.
    #[inline]
    pub fn put_blocks(&mut self, batch: &mut Batch) -> usize {
        let at = self.tail;
        let room = self.free().min(self.desc.len() - at) as usize;
        let blocks = batch.len().min(room) / BLOCK;
        if blocks == 0 {
            return 0;
        }
        let frames = NonNull::from(batch.frames_mut()).cast::<Frame>();
        // SAFETY: `blocks` blocks of frames are in the batch, and as many free descriptors and slots follow `at` before the ring's end.
        let taken = unsafe {
            let slots = NonNull::new_unchecked(self.slots.as_mut_ptr()).add(at as usize);
            self.run_blocks(frames, self.desc.at(at), slots, blocks)
        };
        batch.advance(taken);
        self.tail = (at + taken as u32) & self.desc.mask();
        taken
    }

    /// # Safety
    /// `blocks` blocks are at `frames`, and as many free ones at `desc` and `slots`. The caller forgets the frames that were taken.
    #[inline(always)]
    unsafe fn run_blocks(&mut self, mut frames: NonNull<Frame>, mut desc: NonNull<Pair>, mut slots: NonNull<RawBuf>, blocks: usize) -> usize {
        let rules = self.rules;
        let payload_shift = self.payload_shift;
        let delta = Pair::new(self.delta, (self.pool.as_ptr().addr().get() as u64).wrapping_neg());
        let (mut unreported, mut index) = (self.unreported, self.tail);
        let mut block = 0;
        while block < blocks {
            // SAFETY: every pointer has a whole block behind it, by the caller's word and the steps of this loop. A frame is 32 bytes: {pointer, pool}
            // and two words, with the length at bytes 28 and 29.
            unsafe {
                let lens = core::array::from_fn(|k| frames.add(k).cast::<u16>().add(14).read());
                let owners: [Pair; BLOCK] = core::array::from_fn(|k| frames.add(k).cast::<Pair>().read());
                // The sum's high word is 0 for an untagged frame of this pool, and its low word is the data's IOVA.
                let sums = owners.map(|owner| owner.plus(delta));
                let others = sums[1..].iter().fold(sums[0], |a, &b| a.or(b));
                if others.high() != 0 || !lane::all_within(lens, rules.min_bytes, rules.max_bytes) {
                    break;
                }
                let words = lane::length_words(lens, rules.command, payload_shift);
                unreported += BLOCK as u32;
                let mut report = 0;
                if unreported >= REPORT_EVERY {
                    unreported = 0;
                    report = rules.report;
                    self.push_report(index + (BLOCK as u32 - 1));
                }
                for (k, &pair) in words.iter().enumerate() {
                    let (even, odd) = (2 * k, 2 * k + 1);
                    words::store(desc.add(even), sums[even].low_low(pair));
                    let last = sums[odd].low_high(pair);
                    if odd == BLOCK - 1 {
                        self.last = last;
                    }
                    words::store(desc.add(odd), if odd == BLOCK - 1 { last.or(Pair::new(0, report)) } else { last });
                }
                for (k, owner) in owners.into_iter().enumerate() {
                    slots.add(k).cast::<u64>().write(owner.low());
                }
                frames = frames.add(BLOCK);
                desc = desc.add(BLOCK);
                slots = slots.add(BLOCK);
            }
            index += BLOCK as u32;
            block += 1;
        }
        self.unreported = unreported;
        block * BLOCK
    }

    /// The second word of a whole frame of `len` bytes.
    #[inline(always)]
    fn word(&self, len: u16) -> u64 {
        self.rules.command | (u64::from(len) * self.length_factor)
    }

    #[inline(always)]
    fn push_report(&mut self, index: u32) {
        // SAFETY: the position is masked, and `reports` has as many places as the ring.
        unsafe { *self.reports.get_unchecked_mut((self.report_tail & self.desc.mask()) as usize) = index };
        self.report_tail = self.report_tail.wrapping_add(1);
    }

    /// Takes the frame at the front of `batch` if it is an ordinary one of this ring's pool and a descriptor is free.
    #[inline(always)]
    pub fn put_plain(&mut self, batch: &mut Batch) -> bool {
        let Some(frame) = batch.frames().first() else { return false };
        let len = frame.linear_len() as u16;
        // A frame whose pool word, tags included, is this pool's address is plain and ours.
        if frame.pool_word() != self.pool.as_ptr() || len.wrapping_sub(self.rules.min_bytes) > self.len_span || self.free() == 0 {
            return false;
        }
        let buf = RawBuf::at(frame.ptr());
        batch.advance(1);
        let iova = buf.word().wrapping_add(self.delta);
        self.store(buf, iova, self.word(len), true);
        true
    }

    /// Takes the frame of `batch` if it is its only one, an ordinary one of this ring's pool, more than `min_free` descriptors are free, and neither is
    /// a report there nor is one to be asked for: what there is to do then is the least.
    #[inline(always)]
    pub fn put_only(&mut self, batch: &mut Batch, min_free: u32) -> bool {
        let Some(frame) = batch.only() else { return false };
        let (at, mask, unreported) = (self.tail, self.desc.mask(), self.unreported + 1);
        let free = mask - (at.wrapping_sub(self.head) & mask);
        if free <= min_free || unreported >= REPORT_EVERY || self.has_report() {
            return false;
        }
        let len = frame.linear_len() as u16;
        if frame.pool_word() != self.pool.as_ptr() || len.wrapping_sub(self.rules.min_bytes) > self.len_span {
            return false;
        }
        let buf = RawBuf::at(frame.ptr());
        batch.forget_all();
        let iova = buf.word().wrapping_add(self.delta);
        // SAFETY: `tail` is always below the number of slots and descriptors.
        unsafe {
            *self.slots.get_unchecked_mut(at as usize) = buf;
            words::store(self.desc.at_unmasked(at), Pair::new(iova, self.word(len)));
        }
        self.unreported = unreported;
        self.tail = (at + 1) & mask;
        true
    }

    /// Queues one descriptor of a frame: a segment of `frame.linear_len()` bytes with the command `word`, whose buffer length is the segment's whatever it
    /// says. `last`: the frame ends here, and its report may be asked for here. `bytes`: the frame's length, with its first segment; 0 with the others.
    ///
    /// # Errors
    /// Gives the segment back where no descriptor is free, where it has a next segment, or where the device does not reach its memory.
    pub fn put_segment(&mut self, segment: Frame, word: u64, last: bool, bytes: u32) -> Result<(), Frame> {
        let is_foreign = segment.pool_ptr() != self.pool.as_ptr();
        if self.free() == 0 || !segment.is_linear() || is_foreign && !segment.is_reachable(self.pool.domain()) {
            return Err(segment);
        }
        let (iova, len) = (segment.iova().0, segment.linear_len() as u64);
        let (mut slot, pool) = segment.into_raw();
        let at = self.tail as usize;
        if is_foreign {
            slot = slot.with_tag(FOREIGN);
            if let Some(place) = self.foreign.get_mut(at) {
                *place = pool.as_ptr();
            }
        }
        if let Some(place) = self.bytes.get_mut(at) {
            *place = bytes;
        }
        self.store(slot, iova, word & !TX_LENGTH | len, last);
        Ok(())
    }

    #[inline(always)]
    fn store(&mut self, slot: RawBuf, iova: u64, mut word: u64, may_report: bool) {
        let at = self.tail;
        // A word that came from outside must not look reported, nor ask for a report that is not in `reports`.
        word &= !(self.rules.done | self.rules.report);
        self.unreported += 1;
        if may_report && self.unreported >= REPORT_EVERY {
            self.unreported = 0;
            word |= self.rules.report;
            self.push_report(at);
        }
        // SAFETY: `tail` is always below the number of slots.
        unsafe { *self.slots.get_unchecked_mut(at as usize) = slot };
        self.last = Pair::new(iova, word);
        self.desc.store(at, self.last);
        self.tail = (at + 1) & self.desc.mask();
    }

    /// Asks for a report with the last queued descriptor, which must end a frame and not be with the device yet. A queue that stops needs it: without,
    /// up to [`REPORT_EVERY`] descriptors would never be reported.
    pub fn report_last(&mut self) {
        if self.unreported > 0 && self.pending() > 0 {
            let last = self.tail.wrapping_sub(1) & self.desc.mask();
            self.desc.store(last, self.last.or(Pair::new(0, self.rules.report)));
            self.unreported = 0;
            self.push_report(last);
        }
    }

    /// The position of the oldest report, if it is there.
    #[inline(always)]
    fn reported(&self) -> Option<u32> {
        if self.report_head == self.report_tail {
            return None;
        }
        // SAFETY: the position is masked, and `reports` has as many places as the ring.
        let at = unsafe { *self.reports.get_unchecked((self.report_head & self.desc.mask()) as usize) };
        (self.desc.load_high(at) & self.rules.done != 0).then_some(at)
    }

    /// Whether the oldest report is there.
    #[inline(always)]
    pub fn has_report(&self) -> bool {
        self.reported().is_some()
    }

    /// Puts the buffers of reported frames onto `batch`'s stack of empty buffers (or back to their pools, where it has no room).
    #[inline(always)]
    pub fn reclaim(&mut self, batch: &mut Batch) -> Reclaimed {
        let mut all = Reclaimed::default();
        while let Some(at) = self.reported() {
            barrier::after_done();
            self.report_head = self.report_head.wrapping_add(1);
            let count = (at.wrapping_sub(self.head) & self.desc.mask()) + 1;
            all.bytes += self.free_slots(batch, count);
            all.descriptors += count;
        }
        all
    }

    /// Frees the `count` oldest slots and returns their frames' bytes.
    #[inline(always)]
    fn free_slots(&mut self, batch: &mut Batch, count: u32) -> u64 {
        let mut left = count;
        while left > 0 {
            let run = left.min(self.desc.len() - self.head);
            let done = self.free_blocks(batch, run as usize / BLOCK);
            if done == 0 {
                self.free_one(batch);
            }
            let step = (done as u32).max(1);
            self.head = (self.head + step) & self.desc.mask();
            left -= step;
        }
        if self.bytes.is_empty() { 0 } else { self.bytes_before_head(count) }
    }

    /// The bytes of the `count` slots that were just freed.
    #[cold]
    fn bytes_before_head(&self, count: u32) -> u64 {
        let mask = self.desc.mask();
        (1..=count).filter_map(|k| self.bytes.get((self.head.wrapping_sub(k) & mask) as usize)).map(|&b| u64::from(b)).sum()
    }

    /// Frees up to `blocks` blocks of 8 slots at `head`, as long as all their buffers are of this ring's pool and the stack has room.
    #[inline(always)]
    fn free_blocks(&mut self, batch: &mut Batch, blocks: usize) -> usize {
        let pool = self.pool.as_ptr();
        let blocks = blocks.min(batch.spare_room(pool) / BLOCK);
        let (base, count) = batch.spares_of(pool);
        let mut done = 0;
        while done < blocks * BLOCK {
            // SAFETY: `blocks` whole blocks follow `head` in `slots`, and as many places `count` on the stack. Both hold addresses of 8 bytes.
            let tags = unsafe {
                let from = NonNull::new_unchecked(self.slots.as_mut_ptr()).add(self.head as usize + done).cast::<Pair>();
                let to = base.add(count + done).cast::<Pair>();
                let four: [Pair; BLOCK / 2] = core::array::from_fn(|k| from.add(k).cast::<[u64; 2]>().read()).map(|[a, b]| Pair::new(a, b));
                for (k, pair) in four.into_iter().enumerate() {
                    to.add(k).cast::<[u64; 2]>().write(pair.words());
                }
                four[0].or(four[1]).or(four[2].or(four[3]))
            };
            if (tags.low() | tags.high()) & FOREIGN != 0 {
                break;
            }
            done += BLOCK;
        }
        if done > 0 {
            // SAFETY: the loop put `done` buffers of this pool, which the slots owned, above `count`.
            unsafe { batch.set_spares(pool, count + done) };
        }
        done
    }

    #[cold]
    fn free_one(&mut self, batch: &mut Batch) {
        let at = self.head as usize;
        let (Some(&slot), Some(&foreign)) = (self.slots.get(at), self.foreign.get(at)) else { return };
        let is_foreign = slot.word() & FOREIGN != 0;
        let pool = match NonNull::new(foreign) {
            Some(pool) if is_foreign => pool,
            _ => self.pool.as_ptr(),
        };
        // SAFETY: the slot owned the buffer, which is of `pool`, and `head` moves past it.
        unsafe { batch.put_spares(pool, &[slot.without_tag(FOREIGN)]) };
    }

    /// Gives every buffer in flight back and makes the ring what it was when it was new: for a hardware queue that stopped and is to start anew. Returns
    /// what was in flight.
    ///
    /// # Safety
    /// As for [`TxRing::release`].
    pub unsafe fn rewind(&mut self, batch: &mut Batch) -> Reclaimed {
        let descriptors = self.pending();
        let bytes = self.free_slots(batch, descriptors);
        for index in 0..self.desc.len() {
            self.desc.store(index, Pair::new(0, 0));
        }
        (self.head, self.tail, self.unreported) = (0, 0, 0);
        (self.report_head, self.report_tail) = (0, 0);
        Reclaimed { descriptors, bytes }
    }

    /// How many frames are in flight, from what is in the descriptors: for a hardware queue that stopped, since the device can write there too.
    pub fn pending_frames(&self) -> u32 {
        let (mask, end) = (self.desc.mask(), self.rules.end);
        (0..self.pending()).map(|k| u32::from(self.desc.load((self.head + k) & mask).high() & end == end)).sum()
    }

    /// Of what is in flight, all but the last `left` descriptors were sent: their buffers go back. For a device that says where it stopped, and reports no more.
    ///
    /// # Safety
    /// The device has confirmed that it does not read the buffers of these descriptors any more.
    pub unsafe fn retire(&mut self, left: u32) {
        let sent = self.pending().saturating_sub(left);
        self.free_slots(&mut Batch::new(BLOCK), sent);
    }

    /// Takes the ring apart: buffers in flight return to their pools and its memory is unmapped. Returns how many descriptors were in flight.
    ///
    /// # Safety
    /// The hardware queue has confirmed that it stopped: the device does not read the ring or its buffers any more.
    pub unsafe fn release(mut self) -> u32 {
        let pending = self.pending();
        let mut batch = Batch::new(BLOCK);
        self.free_slots(&mut batch, pending);
        // SAFETY: `self` is consumed, and `TxRing` has no `Drop` of its own.
        unsafe { core::mem::ManuallyDrop::drop(&mut self.desc) };
        pending
    }
}

fn check(entries: u32, rules: TxRules) -> Result<(), RingError> {
    DescRing::check_entries(entries, BLOCK as u32)?;
    Ok(rules.check()?)
}

impl fmt::Debug for TxRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxRing({} descriptors at {:#x}, {} pending)", self.len(), self.iova(), self.pending())
    }
}
