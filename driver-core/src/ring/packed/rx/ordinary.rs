//! Ordinary frames that come in order: eight at a time, and one by one.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::PackedRx;
use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::meta::LEN_SHIFT;
use crate::ring::desc::{self, BLOCK};
use crate::ring::lane::Pair;
use crate::ring::packed::queue::{MARKS_AND_ID, NEXT_ID, TESTED};
use crate::ring::virtq::judged::header_of;
use crate::ring::virtq::{HASH_HEADER_BYTES, HEADER_BYTES, HookRules, first_halves, first_word};

/// Frames on their way from the slots to a batch, one behind another.
struct Run<'a> {
    rules: &'a HookRules,
    pool: NonNull<PoolInner>,
    /// The shortest used length, and what the longest is above it.
    min_used: u32,
    span: u32,
    desc: NonNull<Pair>,
    slots: *mut RawBuf,
    places: NonNull<Frame>,
    /// The empty buffer that is taken next, and those below it.
    spares: NonNull<RawBuf>,
    /// In the upper half, what makes of the next used descriptor's second word what its length is above the shortest.
    least: Pair,
    /// What makes of an empty buffer the next descriptor.
    lent: Pair,
    /// What makes of it, where it is the first that the device may not use yet, one that is not available; else nothing.
    hides: Pair,
    done: usize,
    bytes: u64,
}

impl<const HEADER: usize> PackedRx<HEADER> {
    /// The bounds of used lengths; `None`: there are none.
    #[inline(always)]
    pub(in crate::ring::packed) fn bounds(&self, rules: &HookRules) -> Option<(u32, u32)> {
        const { assert!(HEADER >= HEADER_BYTES, "rules look at twelve bytes") }
        let (min_used, max_used) = (rules.used_bytes.0.max(HEADER as u32), rules.used_bytes.1.min(self.lent_bytes));
        Some((min_used, max_used.checked_sub(min_used)?))
    }

    /// Moves ordinary frames to `batch`, `count` at most, as many as empty buffers lie at hand, and returns how many, and their bytes. It stops before one that is not
    /// ordinary. `batch` has room for `count` frames, or none are taken.
    ///
    /// An ordinary frame comes in order, and `rules` find its length and its header to be one's.
    #[inline]
    pub fn take_ordinary(&mut self, batch: &mut Batch, count: usize, rules: &HookRules) -> (usize, u64) {
        let Some(bounds) = self.bounds(rules).filter(|_| count > 0 && batch.places(count).is_some()) else { return (0, 0) };
        let (mut done, mut bytes) = (0, 0);
        while done < count {
            let to_end = self.slots.len() - usize::from(self.queue.offset(self.queue.next_used));
            let (spares, spare_count) = batch.spares_of(self.pool.as_ptr());
            let most = to_end.min(count - done).min(spare_count);
            let Some(places) = batch.places(most).filter(|_| most > 0) else { break };
            // SAFETY: there are `most` places, as many empty buffers below `spare_count`, and as many descriptors up to the ring's end. The bounds lie within the
            // header and what is lent. What was moved is counted.
            let (frames, more) = unsafe {
                let (frames, more) = self.take_run((places, spares.add(spare_count - 1)), most, rules, bounds);
                batch.set_spares(self.pool.as_ptr(), spare_count - frames);
                batch.commit(frames);
                (frames, more)
            };
            done += frames;
            bytes += more;
            if frames < most {
                break;
            }
        }
        (done, bytes)
    }

    /// Returns how many frames went, and their bytes.
    ///
    /// # Safety
    /// `most` places for frames are at `places`, and as many empty buffers of this queue's pool from `spares` downwards; as many descriptors lie from the next one to
    /// the ring's end. The bounds lie within the header and what is lent. The caller counts the frames, and gives up as many buffers.
    #[inline(never)]
    unsafe fn take_run(
        &mut self,
        (places, spares): (NonNull<Frame>, NonNull<RawBuf>),
        most: usize,
        rules: &HookRules,
        (min_used, span): (u32, u32),
    ) -> (usize, u64) {
        let next = self.queue.next_used;
        let first = self.queue.offset(next);
        let lent = self.lent_word(first) | self.queue.available_marks(self.queue.next_avail);
        let mut run = Run {
            rules,
            pool: self.pool.as_ptr(),
            min_used,
            span,
            desc: self.queue.desc.at(first.into()),
            // SAFETY: `first` is below the number of slots.
            slots: unsafe { self.slots.as_mut_ptr().add(first.into()) },
            places,
            spares,
            least: Pair::new(0, (self.queue.used_marks(next) | u64::from(first) << 32 | u64::from(min_used)).wrapping_neg()),
            lent: Pair::new(self.delta, lent),
            hides: Pair::new(0, self.queue.hide_first(lent)),
            done: 0,
            bytes: 0,
        };
        // SAFETY: each takes no more than what is left of `most`; for the rest the caller's.
        unsafe {
            while most - run.done >= BLOCK && self.sees_blocks && run.take_block::<HEADER>() {}
            while run.done < most && run.take_one::<HEADER>() {}
        }
        self.queue.next_used = next.wrapping_add(run.done as u16);
        self.queue.next_avail = self.queue.next_avail.wrapping_add(run.done as u16);
        (run.done, run.bytes)
    }

    /// Takes the next frame if it is ordinary, in order, and there are a place for it and an empty buffer in its stead. It is lent anew in the next descriptor, at once.
    #[inline(always)]
    fn take_next(&mut self, batch: &mut Batch, rules: &HookRules, (min_used, span): (u32, u32)) -> Option<u64> {
        let next = self.queue.next_used;
        let id = self.queue.offset(next);
        let word = self.queue.word(next);
        let expected = (self.queue.used_marks(next) >> 32) as u32 | u32::from(id);
        let used_bytes = word as u32;
        if ((word >> 32) as u32 ^ expected) & MARKS_AND_ID != 0 || used_bytes.wrapping_sub(min_used) > span {
            return None;
        }
        barrier::after_done();
        let pool = self.pool.as_ptr();
        // SAFETY: an offset is below the number of slots. The buffer was lent and came back, and has a header's headroom (seen in `new`). The place is one for a
        // frame, which is written and counted; the buffer leaves its slot for an empty one, and its length is within its room.
        unsafe {
            let slot = self.slots.get_unchecked_mut(usize::from(id));
            let filled = *slot;
            let (low, high) = header_of::<HEADER>(filled);
            if !rules.is_usual(low, high) {
                return None;
            }
            let (place, empty) = batch.exchange_one(pool)?;
            *slot = empty;
            place.cast::<ManuallyDrop<Frame>>().write(frame_of::<HEADER>(filled, pool, used_bytes, rules.known(low)));
            let iova = self.iova_of(empty);
            self.queue.next_used = next.wrapping_add(1);
            let word = self.lent_word(id);
            self.queue.put_now(iova, word);
        }
        Some(u64::from(used_bytes) - HEADER as u64)
    }

    /// Moves the next frame to `batch` if it is there, an ordinary one as for [`PackedRx::take_ordinary`], nothing is unpublished, no interrupt is asked for, and
    /// an empty buffer lies at hand, which takes its place. Returns its bytes.
    #[inline(always)]
    pub fn take_only(&mut self, batch: &mut Batch, rules: &HookRules) -> Option<u64> {
        if self.queue.is_armed() || self.queue.has_unpublished() {
            return None;
        }
        let bounds = self.bounds(rules)?;
        self.take_next(batch, rules, bounds)
    }
}

/// # Safety
/// The buffer is one of `pool`, and the caller's, who forgets it. The used bytes are a header's at least, and within what was lent.
#[inline(always)]
unsafe fn frame_of<const HEADER: usize>(filled: RawBuf, pool: NonNull<PoolInner>, used_bytes: u32, known: u64) -> ManuallyDrop<Frame> {
    let len = u64::from(used_bytes - HEADER as u32);
    // SAFETY: the caller's.
    unsafe {
        let mut frame = ManuallyDrop::new(Frame::fresh(filled, pool));
        frame.set_plain_words([first_word::<HEADER>(filled.ptr()), known | len << LEN_SHIFT]);
        frame
    }
}

/// The first twelve bytes of headers, each the last of two words.
struct Headers {
    any: Pair,
    all: Pair,
}

impl Headers {
    /// Of the header bytes that are set in any, and in all, the first eight and the other four.
    fn parts(pair: Pair) -> (u64, u32) {
        (pair.low() >> 32 | pair.high() << 32, (pair.high() >> 32) as u32)
    }

    /// What is known of each of the frames, where none is unusual, and the same is known of all.
    #[inline(always)]
    fn known(&self, rules: &HookRules) -> Option<u64> {
        let ((any_low, any_high), (all_low, all_high)) = (Self::parts(self.any), Self::parts(self.all));
        let is_usual = rules.is_usual(any_low, any_high) && rules.is_usual(0, all_high) && (any_low ^ all_low) & rules.known == 0;
        is_usual.then(|| rules.known(any_low))
    }
}

impl Run<'_> {
    /// Writes the descriptor `k` behind the next one, for an empty buffer that goes to its slot.
    ///
    /// # Safety
    /// Descriptor, slot and empty buffer are left.
    #[inline(always)]
    unsafe fn lend(&mut self, k: usize) {
        // SAFETY: the caller's.
        unsafe {
            let empty = self.spares.sub(self.done + k).read();
            self.slots.add(self.done + k).write(empty);
            let words = Pair::new(empty.word(), 0).plus(self.lent);
            desc::store(self.desc.add(self.done + k), if k == 0 { words.plus(self.hides) } else { words });
        }
        self.lent = self.lent.plus(Pair::new(0, NEXT_ID));
    }

    /// Takes the next frame, if it is there and ordinary.
    ///
    /// # Safety
    /// A descriptor, a slot, a place and an empty buffer are left. The slot's buffer was lent, and a header's headroom is before it.
    #[inline(always)]
    unsafe fn take_one<const HEADER: usize>(&mut self) -> bool {
        // SAFETY: the caller's; the buffer has come back, and its length is within its room.
        unsafe {
            let above = desc::load(self.desc.add(self.done)).and(Pair::new(0, TESTED)).plus(self.least).high();
            if above > self.span.into() {
                return false;
            }
            barrier::after_done();
            let filled = *self.slots.add(self.done);
            let (low, high) = header_of::<HEADER>(filled);
            if !self.rules.is_usual(low, high) {
                return false;
            }
            self.lend(0);
            let used_bytes = self.min_used + above as u32;
            self.places.add(self.done).cast::<ManuallyDrop<Frame>>().write(frame_of::<HEADER>(filled, self.pool, used_bytes, self.rules.known(low)));
            self.bytes += u64::from(used_bytes) - HEADER as u64;
        }
        self.hides = Pair::new(0, 0);
        self.least = self.least.plus(Pair::new(0, NEXT_ID.wrapping_neg()));
        self.done += 1;
        true
    }

    /// Takes the next eight frames, if all of them are there, ordinary, and the same is known of each.
    ///
    /// # Safety
    /// As for [`Run::take_one`], eight times; four bytes of headroom are before each header.
    #[inline(always)]
    unsafe fn take_block<const HEADER: usize>(&mut self) -> bool {
        // SAFETY: the caller's; the buffers have come back, and their lengths are within their room. A frame is 32 bytes: {pointer, pool} and two words.
        unsafe {
            let (desc, slots) = (self.desc.add(self.done), self.slots.add(self.done));
            // What a used length is above the shortest, with nothing over it: neither in marks nor in the ID, nor borrowed from them.
            let mut least = self.least;
            let above: [Pair; BLOCK] = core::array::from_fn(|k| {
                let above = desc::load(desc.add(k)).and(Pair::new(0, TESTED)).plus(least);
                least = least.plus(Pair::new(0, NEXT_ID.wrapping_neg()));
                above
            });
            let most = above[1..].iter().fold(above[0], |a, &b| a.max_u16(b)).high();
            if most > u64::from(self.span.min(u16::MAX.into())) {
                return false;
            }
            barrier::after_done();
            let header = |k: usize| (*slots.add(k)).ptr().sub(HEADER - HEADER_BYTES).cast::<Pair>().sub(1).read_unaligned();
            let first = header(0);
            let headers = (1..BLOCK)
                .map(header)
                .fold(Headers { any: first, all: first }, |Headers { any, all }, one| Headers { any: any.or(one), all: all.and(one) });
            let Some(known) = headers.known(self.rules) else { return false };
            let words = Pair::new(0, u64::from(self.min_used - HEADER as u32) << LEN_SHIFT | known);
            for (k, above) in above.into_iter().enumerate() {
                let place = self.places.add(self.done + k).cast::<Pair>();
                let filled = *slots.add(k);
                Frame::write_owner(place.cast(), filled, self.pool);
                place.add(1).write(above.shl32().plus(words));
                if HEADER == HASH_HEADER_BYTES {
                    place.add(1).cast().write(first_halves(filled.ptr()));
                }
                self.lend(k);
            }
            let above = above[1..].iter().fold(above[0], |a, &b| a.plus(b)).high();
            self.bytes += above + BLOCK as u64 * u64::from(self.min_used - HEADER as u32);
            self.least = least;
        }
        self.hides = Pair::new(0, 0);
        self.done += BLOCK;
        true
    }
}

// The length of a frame is what `above` has in the word's low half, shifted by half a word.
const _: () = assert!(LEN_SHIFT == 32);
