//! Frames of several buffers, in one go.

use core::ptr::NonNull;

use super::{REPORT_EVERY, TxRing};
use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, TAG_NEXT};
use crate::buf::memory::{PoolInner, RawBuf};
use crate::ring::lane::Pair;

/// What a run over descriptors has at hand.
struct Run {
    desc: NonNull<Pair>,
    slots: NonNull<RawBuf>,
    /// The next descriptor's number times [`SCALE`], and what it is masked with.
    at: usize,
    mask: usize,
    /// The pool that all segments are of.
    pool: NonNull<PoolInner>,
    delta: u64,
    /// What descriptors say beside their lengths that do not end a frame.
    more: u64,
    /// The same of one that does.
    end: u64,
    /// See [`TxRing`].
    unreported: u32,
    last: [u64; 2],
}

/// How many bytes a frame may have: at least `min`, and less than `below` more.
struct Lengths {
    min: u64,
    below: u64,
}

impl Lengths {
    #[inline(always)]
    fn contains(&self, bytes: u64) -> bool {
        bytes.wrapping_sub(self.min) < self.below
    }
}

/// So one number is how far in a slot lies, and half of how far in its descriptor does.
const SCALE: usize = size_of::<RawBuf>();
const _: () = assert!(size_of::<Pair>() == 2 * SCALE);

/// The last segment of a frame of which the others' descriptors are written.
struct Last {
    /// Where its slot and its descriptor lie.
    at: usize,
    iova: u64,
    len: u64,
    /// The whole frame's bytes.
    bytes: u64,
}

impl TxRing {
    /// Whether the frame at the front of `batch` is of several buffers and asks for nothing.
    #[inline(always)]
    pub fn has_chain(&self, batch: &Batch) -> bool {
        batch.frames().first().is_some_and(is_chain) && self.gathers()
    }

    /// Whether descriptors without an end may come before the one with it, and no bytes are counted.
    #[inline(always)]
    fn gathers(&self) -> bool {
        self.rules.end != 0 && self.bytes.is_empty()
    }

    /// Takes frames from the front of `batch` while each is a chain of plain segments of one pool of this ring's domain, each with bytes, `max_segments` at most
    /// and with no less bytes than an ordinary frame and no more than `max_bytes` nor 65535, and as many descriptors are free. Returns how many.
    ///
    /// The first of a frame's descriptors says what that of an ordinary frame of so many bytes does, the others of no payload; each has the length of its
    /// buffer, and the last alone the end ([`TxRules::with_end`]): rings without such a bit take none, nor do those that count bytes.
    ///
    /// [`TxRules::with_end`]: crate::ring::TxRules::with_end
    #[inline(never)]
    pub fn put_chains(&mut self, batch: &mut Batch, max_segments: usize, max_bytes: usize) -> usize {
        if !self.gathers() {
            return 0;
        }
        self.count_singles();
        let mut taken = 0;
        while let Some(frames) = batch.frames().get(taken..)
            && let Some(first) = frames.first()
            // SAFETY: the frame is alive.
            && unsafe { self.owners.turn_to(first.pool_ptr(), (self.head, self.tail)) }
        {
            let more = self.put_chains_of_source(frames, max_segments, max_bytes);
            taken += more;
            if more == 0 || taken == batch.len() {
                break;
            }
        }
        // They are forgotten: the slots own their buffers now.
        batch.advance(taken);
        taken
    }

    /// The same for the frames of the source's pool. The caller forgets those that were taken.
    #[inline(never)]
    fn put_chains_of_source(&mut self, frames: &[Frame], max_segments: usize, max_bytes: usize) -> usize {
        let mut run = self.run();
        let (linked, from, free, lengths) = (run.pool.addr().get() | TAG_NEXT, self.tail, self.free(), self.lengths_of_chains(max_bytes));
        let (mut left, mut taken) = (free as usize, 0);
        for frame in frames {
            if frame.pool_word().addr().get() != linked {
                break;
            }
            let most = if left < max_segments { left } else { max_segments };
            // SAFETY: so many descriptors are free; the frame is of the run's pool, and another segment is linked behind its first.
            let Some(last) = (unsafe { run.put_begin(frame, most) }) else { break };
            if !lengths.contains(last.bytes) {
                break;
            }
            // SAFETY: the others' descriptors were just written.
            left -= unsafe { self.put_end(&mut run, frame, &last) };
            taken += 1;
        }
        self.keep(&run);
        // SAFETY: the former tail is a slot.
        unsafe { self.owners.set_source(from, free - left as u32, free) };
        taken
    }

    /// Takes the only frame of `batch` as [`TxRing::put_chains`] does, in fewer steps than that needs for many; and not where it comes from another pool than the one before.
    #[inline(always)]
    pub fn put_chain(&mut self, batch: &mut Batch, max_segments: usize, max_bytes: usize) -> bool {
        let Some(frame) = batch.only() else { return false };
        let (pool, from, free) = (frame.pool_ptr(), self.tail, self.free());
        // SAFETY: the frame is alive.
        let is_source = unsafe { self.owners.sources.is_source(pool) };
        if !is_source || !is_chain(frame) || !self.gathers() {
            return false;
        }
        self.count_singles();
        let mut run = self.run();
        // SAFETY: as in `put_chains_of_source`.
        let Some(last) = (unsafe { run.put_begin(frame, max_segments.min(free as usize)) }) else { return false };
        if !self.lengths_of_chains(max_bytes).contains(last.bytes) {
            return false;
        }
        // SAFETY: as in `put_chains_of_source`. The frame is forgotten: the slots own its buffers now.
        unsafe {
            let count = self.put_end(&mut run, frame, &last);
            self.owners.set_source(from, count as u32, free);
        }
        self.keep(&run);
        batch.forget_all();
        true
    }

    /// How many bytes a frame may have.
    #[inline(always)]
    fn lengths_of_chains(&self, max_bytes: usize) -> Lengths {
        // The rules were checked for lengths of 16 bits.
        let (min, max) = (u64::from(self.min_bytes), max_bytes.min(u16::MAX.into()) as u64);
        Lengths { min, below: (max + 1).saturating_sub(min) }
    }

    /// Writes the last descriptor of a frame of which the others are, and says the payload in the first. Returns how many it has.
    ///
    /// # Safety
    /// [`Run::put_begin`] wrote them for this frame and the run, and said what the last is.
    #[inline(always)]
    unsafe fn put_end(&mut self, run: &mut Run, frame: &Frame, last: &Last) -> usize {
        let (first, count) = (run.at, ((last.at.wrapping_sub(run.at) & run.mask) / SCALE) + 1);
        let high = run.end | last.len;
        run.last = [last.iova, high];
        run.unreported += count as u32;
        let mut report = 0;
        if run.unreported >= REPORT_EVERY {
            (run.unreported, report) = (0, self.rules.report);
            self.push_report((last.at / SCALE) as u32);
        }
        // SAFETY: these descriptors are free, and not the device's before the tail is.
        unsafe {
            let payload = last.bytes * (self.length_factor - 1);
            run.write_high(first, run.more | payload | frame.linear_len() as u64);
            run.write(last.at, last.iova, high | report);
        }
        run.at = (last.at + SCALE) & run.mask;
        count
    }

    /// Notes how far a run came.
    #[inline(always)]
    fn keep(&mut self, run: &Run) {
        (self.unreported, self.last, self.tail) = (run.unreported, Pair::new(run.last[0], run.last[1]), (run.at / SCALE) as u32);
    }

    /// A run over frames of the source's pool.
    #[inline(always)]
    fn run(&mut self) -> Run {
        Run {
            desc: self.desc.at(0),
            // SAFETY: a slice's pointer is never null.
            slots: unsafe { NonNull::new_unchecked(self.slots.as_mut_ptr()) },
            at: self.tail as usize * SCALE,
            mask: self.desc.mask() as usize * SCALE,
            pool: self.owners.sources.pool(),
            delta: self.owners.sources.delta(),
            more: self.rules.command & !self.rules.end,
            end: self.rules.command | self.rules.end,
            unreported: self.unreported,
            last: self.last.words(),
        }
    }
}

impl Run {
    /// Writes the slots of a frame's segments, and their descriptors but for the last. `None` where one is not a plain one of the run's pool or has no bytes, or there are more than `most`.
    ///
    /// # Safety
    /// `most` descriptors are free. The first segment is a plain one of the run's pool, behind which one is linked.
    #[inline(always)]
    unsafe fn put_begin(&self, frame: &Frame, most: usize) -> Option<Last> {
        let (plain, linked) = (self.pool.addr().get(), self.pool.addr().get() | TAG_NEXT);
        let stop = (self.at + most * SCALE) & self.mask;
        if most == 0 {
            return None;
        }
        let (mut segment, mut at, mut bytes) = (frame, self.at, 0);
        loop {
            let (word, len, buf) = (segment.pool_word().addr().get(), segment.linear_len() as u64, RawBuf::at(segment.ptr()));
            if len == 0 {
                return None;
            }
            bytes += len;
            let iova = buf.word().wrapping_add(self.delta);
            // SAFETY: the caller's: the slot is free.
            unsafe { self.slots.byte_add(at).write(buf) };
            if word == plain {
                return Some(Last { at, iova, len, bytes });
            }
            // SAFETY: the caller's: the descriptor is free.
            unsafe { self.write(at, iova, self.more | len) };
            at = (at + SCALE) & self.mask;
            if word != linked || at == stop {
                return None;
            }
            // SAFETY: the segment is one of this pool's, whose tags say that it has a next one, which it owns; all of them are borrowed with the first.
            segment = unsafe { self.pool.as_ref().link(segment.ptr()).cast().as_ref() };
        }
    }

    /// Writes a descriptor that is not the device's yet.
    ///
    /// # Safety
    /// It is free, and `at` an offset in the ring.
    #[inline(always)]
    unsafe fn write(&self, at: usize, low: u64, high: u64) {
        // SAFETY: the caller's.
        unsafe {
            self.desc.byte_add(2 * at).cast::<u64>().write_volatile(low.to_le());
            self.write_high(at, high);
        }
    }

    /// Writes the second word of such a descriptor.
    ///
    /// # Safety
    /// As for [`Run::write`].
    #[inline(always)]
    unsafe fn write_high(&self, at: usize, high: u64) {
        // SAFETY: the caller's.
        unsafe { self.desc.byte_add(2 * at).cast::<u64>().add(1).write_volatile(high.to_le()) };
    }
}

/// Whether a frame is a plain one but for that another segment is linked behind it.
#[inline(always)]
fn is_chain(frame: &Frame) -> bool {
    frame.pool_word().addr().get() == frame.pool_ptr().addr().get() | TAG_NEXT
}
