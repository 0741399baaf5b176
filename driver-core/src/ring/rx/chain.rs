//! Frames of several buffers, in one go.

use core::ptr::NonNull;

use super::RxRing;
use super::taking::Begun;
use crate::barrier;
use crate::buf::CHUNK;
use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, Growing};
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::meta::{LEN_SHIFT, VLAN_VALID};
use crate::ring::desc as words;
use crate::ring::lane::Pair;
use crate::ring::rules::RX_LENGTH;

/// The most segments of a frame that goes in one go.
const MAX_SEGMENTS: usize = 40;
const _: () = assert!(MAX_SEGMENTS <= CHUNK, "a stack has room for them");

/// What a run over descriptors has at hand.
struct Run {
    desc: NonNull<Pair>,
    slots: NonNull<RawBuf>,
    /// The next descriptor's number times [`SCALE`], and what it is masked with.
    at: usize,
    mask: usize,
    /// The empty buffers at hand lie between these.
    base: NonNull<RawBuf>,
    top: NonNull<RawBuf>,
    /// With the top below this there may be too few for a frame.
    few: NonNull<RawBuf>,
    /// How many a frame may have before its last.
    reach: usize,
    pool: NonNull<PoolInner>,
    delta: u64,
    /// A buffer's bytes.
    room: u64,
    /// Bits of a second word that say whether it goes on like this, and those that the frame shows.
    tested: u64,
    shown: u64,
}

/// So one number is how far in a slot lies, and half of how far in its descriptor does.
const SCALE: usize = size_of::<RawBuf>();
const _: () = assert!(size_of::<Pair>() == 2 * SCALE);

/// How far a frame was taken.
struct Part {
    /// Where the segment behind its last goes.
    place: NonNull<Frame>,
    bytes: u64,
    /// The second word of the descriptor behind it, 0 where it cannot be taken, and the length in it.
    high: u64,
    len: u64,
}

impl RxRing {
    /// Whether the next descriptor begins a frame of several buffers, and no other is under way ([`RxRing::allow_ordinary`]).
    #[inline(always)]
    pub fn has_chain(&self) -> bool {
        // One that ends where it begins is none.
        self.ordinary == self.whole && self.peek().high() & self.whole == self.done
    }

    /// Moves frames of several buffers to `batch`, which has room for `most`, at most so many, while one follows another.
    ///
    /// It stops at a descriptor that is not done, has any of the `bad` bits, a VLAN tag that is not hidden or a length beyond its buffer, is the only one of its frame or
    /// would be more than its `max_segments`th or 40th, or has no empty buffer to take its place; and behind a frame of more than `max_bytes` bytes. A frame that it is in the middle of then goes
    /// to `begun`, and nothing is ordinary ([`RxRing::allow_ordinary`]) until its end came. Returns how many frames went to the batch.
    ///
    /// `bad` and `hide` are as for [`RxRing::take`]. What is known of a frame is what its last descriptor says. Each word of a descriptor is read once, the second before the first.
    #[inline(never)]
    #[allow(clippy::too_many_arguments, reason = "limits and bits are the driver's constants, as a rule")]
    pub fn take_chains(
        &mut self,
        batch: &mut Batch,
        most: usize,
        begun: &mut Option<Begun>,
        max_segments: usize,
        max_bytes: usize,
        bad: u64,
        hide: u64,
    ) -> usize {
        let Some(first) = batch.places(most) else { return 0 };
        // SAFETY: there are `most` places.
        let (mut place, end) = (first, unsafe { first.add(most) });
        // Brings the pool's stack to hand, so that the run may be kept.
        batch.stock(&self.pool, 1);
        let mut run = self.run(batch, max_segments, bad, hide);
        while place != end {
            if run.top < run.few {
                self.keep(&run, batch);
                batch.refill(&self.pool, max_segments);
                run = self.run(batch, max_segments, bad, hide);
                if run.top == run.base {
                    break;
                }
            }
            // SAFETY: the place is free, and the run has what it says.
            if !unsafe { self.take_frame(&mut run, place, max_bytes, begun) } {
                break;
            }
            // SAFETY: the end is further on.
            place = unsafe { place.add(1) };
        }
        self.keep(&run, batch);
        // SAFETY: every place before this one has a complete frame.
        unsafe {
            let frames = place.offset_from_unsigned(first);
            batch.commit(frames);
            frames
        }
    }

    /// Takes the next frame as [`RxRing::take_chains`] does, in fewer steps than that needs for many, if as many empty buffers lie at hand as it may need at most.
    #[inline(always)]
    pub fn take_chain(&mut self, batch: &mut Batch, begun: &mut Option<Begun>, max_segments: usize, max_bytes: usize, bad: u64, hide: u64) -> bool {
        let Some(place) = batch.places(1) else { return false };
        let mut run = self.run(batch, max_segments, bad, hide);
        if run.top < run.few {
            return false;
        }
        // SAFETY: the place is free, and the run has what it says.
        let taken = unsafe { self.take_frame(&mut run, place, max_bytes, begun) };
        self.keep(&run, batch);
        if taken {
            // SAFETY: the place has a complete frame.
            unsafe { batch.commit(1) };
        }
        taken
    }

    /// Takes the next frame, and says whether it did.
    ///
    /// # Safety
    /// The place is free, and the run is this ring's, with an empty buffer at hand.
    #[inline(always)]
    unsafe fn take_frame(&mut self, run: &mut Run, place: NonNull<Frame>, max_bytes: usize, begun: &mut Option<Begun>) -> bool {
        let from = run.top;
        // SAFETY: the caller's.
        let part = unsafe { run.take_begin(place, self.done) };
        let ends = part.high & run.tested == self.whole && part.len <= run.room && run.top != from;
        let mut bytes = part.bytes as usize;
        if ends {
            bytes += part.len as usize;
            // SAFETY: the segments before are linked up to the part's place, the descriptor is done, with a length within its buffer, and an empty buffer is at hand.
            unsafe {
                let low = run.take_end(&part);
                Frame::say(place, [low & self.kept | self.queue, part.high & run.shown]);
            }
        }
        if ends && bytes <= max_bytes {
            return true;
        }
        // SAFETY: so many segments were written at the place and behind it.
        *begun = unsafe { self.begun(place, bytes, from.offset_from_unsigned(run.top), ends) };
        false
    }

    /// A run from the next descriptor on, with the empty buffers of `batch`.
    #[inline(always)]
    fn run(&mut self, batch: &mut Batch, max_segments: usize, bad: u64, hide: u64) -> Run {
        let pool = self.pool.as_ptr();
        let (base, count) = batch.spares_of(pool);
        let most = max_segments.clamp(1, MAX_SEGMENTS);
        Run {
            desc: self.desc.at(0),
            // SAFETY: a slice's pointer is never null.
            slots: unsafe { NonNull::new_unchecked(self.slots.as_mut_ptr()) },
            at: self.next as usize * SCALE,
            mask: self.desc.mask() as usize * SCALE,
            base,
            // SAFETY: so many lie there.
            top: unsafe { base.add(count) },
            // SAFETY: a stack has room for more.
            few: unsafe { base.add(most) },
            reach: most.min(count).saturating_sub(1),
            pool,
            delta: self.delta,
            room: self.pool.inner().data_bytes.into(),
            tested: self.whole | bad | VLAN_VALID & !hide,
            shown: !hide & !RX_LENGTH,
        }
    }

    /// Notes how far the run came, while the pool's stack is at hand.
    #[inline(always)]
    fn keep(&mut self, run: &Run, batch: &mut Batch) {
        self.next = (run.at / SCALE) as u32;
        // SAFETY: the run took what lay above off.
        unsafe { batch.set_spares(run.pool, run.top.offset_from_unsigned(run.base)) };
    }

    /// What came of a frame, if anything did.
    ///
    /// # Safety
    /// `segments` were written from `first` on, each where the one before links to. The caller forgets the place.
    #[cold]
    #[inline(never)]
    unsafe fn begun(&mut self, first: NonNull<Frame>, bytes: usize, segments: usize, ends: bool) -> Option<Begun> {
        if segments == 0 {
            return None;
        }
        barrier::after_done();
        self.allow_ordinary(ends);
        // SAFETY: the caller's.
        Some(Begun { chain: unsafe { Growing::of_written(first, bytes, segments) }, ends })
    }
}

impl Run {
    /// The words of the next descriptor.
    #[inline(always)]
    fn words(&self) -> NonNull<u64> {
        // SAFETY: `at` is masked.
        unsafe { self.desc.byte_add(2 * self.at).cast() }
    }

    /// Takes the descriptors of a frame but for its last, each with an empty buffer in exchange. One is left for that.
    ///
    /// # Safety
    /// `place` takes a frame, and a frame's empty buffers are at hand.
    #[inline(always)]
    unsafe fn take_begin(&mut self, mut place: NonNull<Frame>, done: u64) -> Part {
        // SAFETY: there are so many.
        let (mut bytes, rest) = (0, unsafe { self.top.sub(self.reach) });
        loop {
            // SAFETY: the descriptor is one of the ring's.
            let high = u64::from_le(unsafe { self.words().add(1).read_volatile() });
            let len = (high & RX_LENGTH) >> LEN_SHIFT;
            if high & self.tested != done {
                return Part { place, bytes, high, len };
            }
            if len > self.room || self.top == rest {
                return Part { place, bytes, high: 0, len };
            }
            // SAFETY: an empty buffer is at hand. The filled one is a segment, with a length within it, where its predecessor links to.
            unsafe {
                let filled = self.exchange();
                place = Frame::write_segment(place, filled, self.pool, [0, len << LEN_SHIFT], true);
            }
            bytes += len;
        }
    }

    /// Takes the last descriptor of a frame, and returns its first word.
    ///
    /// # Safety
    /// The descriptor behind `part` is done, with a length within its buffer, and an empty buffer is at hand.
    #[inline(always)]
    unsafe fn take_end(&mut self, part: &Part) -> u64 {
        barrier::after_done();
        // SAFETY: the caller's.
        unsafe {
            let low = u64::from_le(self.words().read_volatile());
            let filled = self.exchange();
            Frame::write_segment(part.place, filled, self.pool, [0, part.len << LEN_SHIFT], false);
            low
        }
    }

    /// Puts an empty buffer into the next slot, lends it, and returns the one that was there.
    ///
    /// # Safety
    /// The descriptor is done, and an empty buffer is at hand.
    #[inline(always)]
    unsafe fn exchange(&mut self) -> RawBuf {
        // SAFETY: the caller's; `at` is masked.
        unsafe {
            self.top = self.top.sub(1);
            let empty = self.top.read();
            words::store(self.words().cast(), Pair::new(empty.word().wrapping_add(self.delta), 0));
            let filled = self.slots.byte_add(self.at).replace(empty);
            self.at = (self.at + SCALE) & self.mask;
            filled
        }
    }
}
