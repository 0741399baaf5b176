//! The transmit half of a card whose descriptors are 16 bytes: buffer address, then a word of lengths and commands, over which the device
//! writes a done bit where it was asked to.
//!
//! The frames' buffers are kept in private memory until the device reports; then they go to the caller's
//! [`Batch`] as empty buffers. A report is asked for once in [`REPORT_EVERY`] descriptors, and one look at it completes them all.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, may_ask};
use crate::buf::memory::RawBuf;
use crate::buf::pool::BufPool;
use crate::host::dma::Iova;
use crate::ring::desc::{self as words, BLOCK, DescRing};
use crate::ring::error::{self, RingError};
use crate::ring::lane::{LengthLanes, Pair};
use crate::ring::memory::RingPart;
use crate::ring::owners::Owners;
use crate::ring::rules::{TX_LENGTH, TxRules};
use context::{Asking, Contexts};

mod asking;
mod chain;
mod context;
mod sent;

pub use context::TxContext;

/// Descriptors between two reports.
pub const REPORT_EVERY: u32 = 32;

/// A transmit ring.
///
/// Dropping it leaks its memory and the buffers in flight, since nothing here knows whether the device still reads them; a driver that has seen the
/// hardware queue stop calls [`TxRing::release`].
pub struct TxRing {
    pub(super) desc: core::mem::ManuallyDrop<DescRing>,
    /// Buffers in flight at `head..tail`.
    pub(super) slots: Box<[RawBuf]>,
    /// Of which pools they are.
    pub(super) owners: Owners,
    /// Lengths of frames in flight, at their first descriptor, where somebody asked for them.
    pub(super) bytes: Box<[u32]>,
    /// Descriptors that report, oldest at `report_head`.
    pub(super) reports: Box<[u32]>,
    pub(super) report_head: u32,
    pub(super) report_tail: u32,
    pub(super) pool: BufPool,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// Descriptors since the last that asked for a report, with those that `singles` may add.
    pub(super) unreported: u32,
    /// How many frames may still go by [`TxRing::put_only`].
    pub(super) singles: u32,
    pub(super) rules: TxRules,
    pub(super) lengths: LengthLanes,
    /// The shortest ordinary frame, and longest less shortest, in bytes.
    pub(super) min_bytes: u32,
    pub(super) len_span: u32,
    /// See [`TxRules::length_factor`].
    pub(super) length_factor: u64,
    /// What was last written for a descriptor: memory that the device can write is not read back.
    pub(super) last: Pair,
    /// What the device was told of frames that ask for more than to be sent.
    contexts: Option<Box<Contexts>>,
    /// Where frames end that the device cuts, and how many more it makes of each.
    cuts: Vec<(u32, u32)>,
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
            owners: Owners::new(pool, len),
            bytes: (0..if count_bytes { len } else { 0 }).map(|_| 0).collect(),
            reports: (0..len).map(|_| 0).collect(),
            report_head: 0,
            report_tail: 0,
            pool: pool.clone(),
            head: 0,
            tail: 0,
            unreported: 0,
            singles: 0,
            last: Pair::new(0, 0),
            contexts: Contexts::of(rules),
            cuts: Vec::new(),
            min_bytes: rules.min_bytes.into(),
            len_span: (rules.max_bytes - rules.min_bytes).into(),
            length_factor: rules.length_factor(),
            lengths: LengthLanes::new(rules.command, rules.payload_shift, rules.min_bytes, rules.max_bytes),
            rules,
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

    /// Takes ordinary frames from the front of `batch` in blocks of 8, as long as the next 8 are all plain frames of one pool of this ring's domain within
    /// the length limits, and there is room in one piece. Returns how many it took.
    #[inline]
    pub fn put_blocks(&mut self, batch: &mut Batch) -> usize {
        let at = self.tail;
        let room = self.free().min(self.desc.len() - at) as usize;
        let blocks = batch.len().min(room) / BLOCK;
        if blocks == 0 {
            return 0;
        }
        let frames = NonNull::from(batch.frames_mut()).cast::<Frame>();
        // SAFETY: `blocks` blocks of frames are in the batch, the first of which is alive, and as many free descriptors and slots follow `at` before the
        // ring's end.
        let taken = unsafe {
            let word = frames.as_ref().pool_word();
            if !self.owners.turn_to(word, (self.head, at)) {
                return if may_ask(word) { self.put_asking_blocks(batch, blocks) } else { 0 };
            }
            self.run_blocks(frames, blocks, None)
        };
        batch.advance(taken);
        self.tail = (at + taken as u32) & self.desc.mask();
        taken
    }

    /// `asking`: what the frames ask for, where they do.
    ///
    /// # Safety
    /// `blocks` blocks are at `frames`, and as many free slots and descriptors from the tail on, before the ring's end. The caller forgets the frames that were
    /// taken.
    #[inline(always)]
    unsafe fn run_blocks(&mut self, mut frames: NonNull<Frame>, blocks: usize, asking: Option<&Asking>) -> usize {
        let at = self.tail as usize;
        // SAFETY: the tail is below the number of slots and descriptors.
        let (mut desc, mut slots, mut names) = unsafe {
            let slots = NonNull::new_unchecked(self.slots.as_mut_ptr()).add(at);
            (self.desc.at_unmasked(self.tail), slots, self.owners.names_at(at))
        };
        let key = self.owners.sources.key();
        let key = asking.map_or(key, |asking| asking.key(key));
        let name = self.owners.sources.names();
        self.count_singles();
        let mut last = self.last;
        // Blocks until one asks for a report: the first, where segments without an end (`put_segment`) made it overdue.
        let first_due = REPORT_EVERY.saturating_sub(self.unreported).div_ceil(BLOCK as u32).max(1);
        let mut due = first_due;
        let mut block = 0;
        while block < blocks {
            // SAFETY: every pointer has a whole block behind it, by the caller's word and the steps of this loop. A frame is 32 bytes: {pointer, pool}
            // and two words, with the length at bytes 28 and 29. What a slot that is not in flight holds means nothing.
            unsafe {
                // The sum's high word is 0 for an untagged frame of the source's pool, and its low word is the data's IOVA.
                let sums: [Pair; BLOCK] = core::array::from_fn(|k| {
                    let owner = frames.add(k).cast::<Pair>().read();
                    slots.add(k).cast::<u64>().write(owner.low());
                    owner.plus(key)
                });
                let others = sums[1..].iter().fold(sums[0], |a, &b| a.or(b));
                let lens = core::array::from_fn(|k| frames.add(k).cast::<u16>().add(14).read());
                let lengths = if let Some(asking) = asking { &asking.lengths } else { &self.lengths };
                if others.high() != 0 || !lengths.all_within(lens) || asking.is_some_and(|asking| !asking.is_asked_by(frames)) {
                    break;
                }
                let words = lengths.words(lens);
                for k in 0..BLOCK / 2 - 1 {
                    words::store(desc.add(2 * k), sums[2 * k].low_low(words[k]));
                    words::store(desc.add(2 * k + 1), sums[2 * k + 1].low_high(words[k]));
                }
                words::store(desc.add(BLOCK - 2), sums[BLOCK - 2].low_low(words[BLOCK / 2 - 1]));
                last = sums[BLOCK - 1].low_high(words[BLOCK / 2 - 1]);
                let mut word = last;
                due -= 1;
                if due == 0 {
                    due = REPORT_EVERY / BLOCK as u32;
                    word = last.or(Pair::new(0, self.rules.report));
                    self.push_report(self.tail + ((block + 1) * BLOCK) as u32 - 1);
                }
                words::store(desc.add(BLOCK - 1), word);
                names.cast::<u64>().write_unaligned(name);
                frames = frames.add(BLOCK);
                desc = desc.add(BLOCK);
                slots = slots.add(BLOCK);
                names = names.add(BLOCK);
            }
            block += 1;
        }
        let before = if block as u32 >= first_due { 0 } else { self.unreported + (first_due * BLOCK as u32) - REPORT_EVERY };
        self.unreported = before + REPORT_EVERY - due * BLOCK as u32;
        self.last = last;
        block * BLOCK
    }

    /// The second word of a whole frame of `len` bytes.
    #[inline(always)]
    pub(super) fn word(&self, len: u32) -> u64 {
        self.rules.command | (u64::from(len) * self.length_factor)
    }

    #[inline(always)]
    pub(super) fn push_report(&mut self, index: u32) {
        // SAFETY: the position is masked, and `reports` has as many places as the ring.
        unsafe { *self.reports.get_unchecked_mut((self.report_tail & self.desc.mask()) as usize) = index };
        self.report_tail = self.report_tail.wrapping_add(1);
    }

    /// Takes the frame at the front of `batch` if it is an ordinary one of a pool of this ring's domain, and a descriptor is free.
    #[inline(always)]
    pub fn put_plain(&mut self, batch: &mut Batch) -> bool {
        let Some(frame) = batch.frames().first() else { return false };
        let len = frame.linear_len() as u32;
        if len.wrapping_sub(self.min_bytes) > self.len_span || self.free() == 0 {
            return false;
        }
        // SAFETY: the frame is alive.
        if !unsafe { self.owners.turn_to(frame.pool_word(), (self.head, self.tail)) } {
            return false;
        }
        let buf = RawBuf::at(frame.ptr());
        batch.advance(1);
        let iova = buf.word().wrapping_add(self.owners.sources.delta());
        // SAFETY: `tail` is always below the number of slots.
        unsafe { self.owners.names_at(self.tail as usize).write(self.owners.sources.names() as u8) };
        self.store(buf, iova, self.word(len), true);
        true
    }

    /// Takes the frame of `batch` if it is its only one, an ordinary one of the pool that the last frames were of, and one that
    /// [`TxRing::allow_singles`] allowed: what there is to do then is the least.
    #[inline(always)]
    pub fn put_only(&mut self, batch: &mut Batch) -> bool {
        let Some(frame) = batch.only() else { return false };
        let Some(singles) = self.singles.checked_sub(1) else { return false };
        let len = frame.linear_len() as u32;
        // SAFETY: the frame is alive.
        if len.wrapping_sub(self.min_bytes) > self.len_span || !unsafe { self.owners.sources.is_source(frame.pool_word()) } {
            return false;
        }
        let (buf, at) = (RawBuf::at(frame.ptr()), self.tail);
        let (iova, word) = (buf.word().wrapping_add(self.owners.sources.delta()), self.word(len));
        batch.forget_all();
        // SAFETY: `tail` is always below the number of slots and descriptors.
        unsafe {
            *self.slots.get_unchecked_mut(at as usize) = buf;
            self.owners.names_at(at as usize).write(self.owners.sources.names() as u8);
            // In two halves, which is less to do: the device looks behind the doorbell only.
            let halves = self.desc.at_unmasked(at).cast::<u64>();
            halves.write_volatile(iova.to_le());
            halves.add(1).write_volatile(word.to_le());
        }
        self.singles = singles;
        self.tail = (at + 1) & self.desc.mask();
        true
    }

    /// Lets as many frames go by [`TxRing::put_only`] as can without a report, and with more than `min_free` descriptors free before each.
    #[inline]
    pub fn allow_singles(&mut self, min_free: u32) {
        self.count_singles();
        self.singles = (REPORT_EVERY - 1).saturating_sub(self.unreported).min(self.free().saturating_sub(min_free));
        self.unreported += self.singles;
    }

    /// Whether some of them are left.
    #[inline(always)]
    pub fn allows_singles(&self) -> bool {
        self.singles > 0
    }

    /// Takes back what [`TxRing::allow_singles`] allowed and was not used.
    #[inline(always)]
    pub(super) fn count_singles(&mut self) {
        self.unreported -= self.singles;
        self.singles = 0;
    }

    /// Queues one descriptor of a frame: a segment of `frame.linear_len()` bytes with the command `word`, whose buffer length is the segment's whatever it
    /// says. `last`: the frame ends here, and its report may be asked for here. `bytes`: the frame's length, with its first segment; 0 with the others.
    ///
    /// # Errors
    /// Gives the segment back where no descriptor is free, where it has a next segment, or where the device does not reach its memory.
    #[inline]
    pub fn put_segment(&mut self, segment: Frame, word: u64, last: bool, bytes: u32) -> Result<(), Frame> {
        let pool = segment.pool_ptr();
        if self.free() == 0 || !segment.is_linear() || pool != self.pool.as_ptr() && !segment.is_reachable(self.pool.domain()) {
            return Err(segment);
        }
        let (iova, len) = (segment.iova().0, segment.linear_len() as u64);
        let at = self.tail as usize;
        // SAFETY: the segment is alive.
        unsafe { self.owners.set(at, pool, (self.head, self.tail)) };
        let (slot, _) = segment.into_raw();
        if let Some(place) = self.bytes.get_mut(at) {
            *place = bytes;
        }
        self.store(slot, iova, word & !TX_LENGTH | len, last);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store(&mut self, slot: RawBuf, iova: u64, mut word: u64, may_report: bool) {
        self.count_singles();
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
        self.count_singles();
        if self.unreported > 0 && self.pending() > 0 {
            let last = self.tail.wrapping_sub(1) & self.desc.mask();
            self.desc.store(last, self.last.or(Pair::new(0, self.rules.report)));
            self.unreported = 0;
            self.push_report(last);
        }
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
        (self.head, self.tail, self.unreported, self.singles) = (0, 0, 0, 0);
        (self.report_head, self.report_tail) = (0, 0);
        self.forget_contexts();
        Reclaimed { descriptors, bytes }
    }

    /// Says that the device makes `more` frames of the last one that was queued, beyond itself.
    pub fn note_cut(&mut self, more: u32) {
        let (head, mask, pending) = (self.head, self.desc.mask(), self.pending());
        self.cuts.retain(|(at, _)| at.wrapping_sub(head) & mask < pending.saturating_sub(1));
        self.cuts.push((self.tail.wrapping_sub(1) & mask, more));
    }

    /// How many frames are in flight, from what is in the descriptors: for a hardware queue that stopped, since the device can write there too. One that the device
    /// cuts counts as all that it makes of it.
    pub fn pending_frames(&self) -> u32 {
        let (head, mask, end, pending) = (self.head, self.desc.mask(), self.rules.end, self.pending());
        let cut: u32 = self.cuts.iter().filter(|(at, _)| at.wrapping_sub(head) & mask < pending).map(|(_, more)| more).sum();
        let frames: u32 = (0..pending).map(|k| u32::from(self.desc.load((self.head + k) & mask).high() & end == end)).sum();
        cut + frames
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
