//! What was sent: the used descriptors, and the way of the buffers back.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::PackedTx;
use crate::buf::batch::Batch;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::ring::desc::{self, BLOCK};
use crate::ring::fault::QueueFault;
use crate::ring::lane::Pair;
use crate::ring::packed::queue::{MARKS_AND_ID, NEXT_ID, unknown};
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::{EMPTY, FRAME, TAG_MASK, flight};

impl<const HEADER: usize> PackedTx<HEADER> {
    /// Puts the buffers of frames that the device used onto `batch`'s stack of empty buffers (or back to their pools).
    ///
    /// # Errors
    /// [`QueueFault::Index`]: the device names a buffer that it does not have. Those before that one were taken.
    #[inline(always)]
    pub fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
        let mut all = Reclaimed::default();
        // The marks of the last round may well be those of a ring in which nothing is in flight.
        if self.queue.outstanding() == 0 {
            return self.nothing_in_flight();
        }
        let before = self.queue.next_used;
        while self.queue.is_ready() {
            if self.queue.outstanding() == 0 {
                self.nothing_in_flight()?;
                break;
            }
            if self.reclaim_ordinary(batch) == 0 {
                let (count, bytes) = self.reclaim_whole(batch);
                all.bytes += if count > 0 { bytes } else { self.reclaim_one(batch)? };
            }
        }
        self.is_in_order |= self.queue.outstanding() == 0;
        all.descriptors = self.queue.next_used.wrapping_sub(before).into();
        self.progress.show(&self.queue);
        Ok(all)
    }

    /// Puts buffers of frames that came back in order onto `batch`'s stack, until `wanted` of `pool` lie there, or one is not ordinary.
    #[inline(always)]
    pub(in crate::ring::packed) fn reclaim_for(&mut self, batch: &mut Batch, pool: NonNull<PoolInner>, wanted: usize) {
        while batch.spares_of(pool).1 < wanted && self.queue.outstanding() > 0 && (self.reclaim_ordinary(batch) > 0 || self.spread_next()) {}
        self.is_in_order |= self.queue.outstanding() == 0;
    }

    /// A used descriptor that is none of those that the device was given.
    #[inline(always)]
    fn nothing_in_flight(&self) -> Result<Reclaimed, QueueFault> {
        match self.queue.used() {
            Some(word) => Err(unknown(((word >> 32) as u16).into(), self.slots.len())),
            None => Ok(Reclaimed::default()),
        }
    }

    /// Takes used descriptors of one buffer each that come in order, up to the ring's end, as long as they are such of one pool, and the stack has room.
    #[inline(always)]
    fn reclaim_ordinary(&mut self, batch: &mut Batch) -> usize {
        let first = self.queue.offset(self.queue.next_used);
        let Some(word) = self.slots.get(usize::from(first)) else { return 0 };
        let tag = word & TAG_MASK;
        let Some(pool) = self.sources.named(tag as u8) else { return 0 };
        let to_end = self.slots.len() - usize::from(first);
        let run = batch.room_for(pool).min(usize::from(self.queue.outstanding())).min(to_end);
        let (spares, spare_count) = batch.spares_of(pool);
        // SAFETY: the stack has room for `run` buffers of this pool above `spare_count`, and as many descriptors and slots lie behind one another.
        unsafe {
            let to = spares.add(spare_count);
            let done = if tag == 0 { self.reclaim_run::<true>(to, run, 0) } else { self.reclaim_run::<false>(to, run, tag) };
            if done > 0 {
                batch.set_spares(pool, spare_count + done);
            }
            done
        }
    }

    /// # Safety
    /// Room for `count` buffers of the pool with this tag at `spares`, and as many descriptors from the next one to the ring's end. `OWN`: the tag is 0, that of the
    /// queue's pool.
    #[inline(never)]
    unsafe fn reclaim_run<const OWN: bool>(&mut self, spares: NonNull<RawBuf>, count: usize, tag: u64) -> usize {
        let tag = if OWN { 0 } else { tag };
        let next = self.queue.next_used;
        let first = self.queue.offset(next);
        let desc = self.queue.desc.at(first.into()).cast::<u64>();
        let mut expected = (self.queue.used_marks(next) >> 32) as u32 | u32::from(first);
        // SAFETY: `first` is below the number of slots.
        let slots = unsafe { self.slots.as_mut_ptr().add(first.into()) };
        let mut done = 0;
        // The marks and IDs of the two second words that are looked at, less those that are expected.
        let tested = Pair::new(u64::from(MARKS_AND_ID) << 32, u64::from(MARKS_AND_ID) << 32);
        while count - done >= BLOCK {
            let least = (u64::from(expected) << 32).wrapping_neg();
            let mut least = Pair::new(least, least.wrapping_sub(NEXT_ID));
            let mut others = Pair::new(0, 0);
            // SAFETY: eight descriptors, slots and places are left. For the rest see below.
            unsafe {
                let (desc, slots) = (desc.cast::<Pair>().add(done), slots.add(done).cast::<Pair>());
                for k in 0..BLOCK / 2 {
                    let words = desc::load(desc.add(2 * k)).high_high(desc::load(desc.add(2 * k + 1)));
                    others = others.or(words.and(tested).plus(least));
                    least = least.plus(Pair::new((2 * NEXT_ID).wrapping_neg(), (2 * NEXT_ID).wrapping_neg()));
                }
                let bufs: [Pair; BLOCK / 2] = core::array::from_fn(|k| slots.add(k).read_unaligned());
                let untagged = Pair::new(tag.wrapping_neg(), tag.wrapping_neg());
                let bufs = bufs.map(|pair| if OWN { pair } else { pair.plus(untagged) });
                let tags = bufs[1..].iter().fold(bufs[0], |a, &b| a.or(b));
                if others.low() | others.high() | (tags.low() | tags.high()) & TAG_MASK != 0 {
                    break;
                }
                for (k, pair) in bufs.into_iter().enumerate() {
                    spares.cast::<Pair>().as_ptr().byte_add(8 * done).add(k).write_unaligned(pair);
                    slots.add(k).write_unaligned(Pair::new(EMPTY, EMPTY));
                }
            }
            expected = expected.wrapping_add(BLOCK as u32);
            done += BLOCK;
        }
        while done < count {
            // SAFETY: `done` is below `count`: descriptor, slot and place lie inside their memory. A slot with this tag owns a buffer of this pool, and takes one
            // descriptor. The used length means nothing for buffers that the device only reads.
            unsafe {
                let word = u64::from_le(desc.add(2 * done + 1).read_volatile());
                let slot = slots.add(done);
                let buf = *slot;
                if ((word >> 32) as u32 ^ expected) & MARKS_AND_ID != 0 || buf & TAG_MASK != tag {
                    break;
                }
                *slot = EMPTY;
                spares.cast::<u64>().add(done).write(buf - tag);
                expected = expected.wrapping_add(1);
            }
            done += 1;
        }
        crate::barrier::after_done();
        self.queue.next_used = next.wrapping_add(done as u16);
        done
    }

    /// Takes the next used descriptor whatever it is, and returns its frame's bytes where the whole frame was kept.
    #[cold]
    fn reclaim_one(&mut self, batch: &mut Batch) -> Result<u64, QueueFault> {
        let Some(word) = self.queue.used() else { return Ok(0) };
        let id = (word >> 32) as u16;
        let limit = self.slots.len();
        let first = self.queue.offset(self.queue.next_used);
        let id = match self.queue.is_in_order() && id != first {
            true if self.spread(id) => first,
            true => return Err(unknown(id.into(), limit)),
            false => id,
        };
        let at = usize::from(id);
        let (Some(slot), Some(count)) = (self.slots.get_mut(at), self.progress.counts.get(at)) else { return Err(unknown(id.into(), limit)) };
        let word = core::mem::replace(slot, EMPTY);
        if word == EMPTY {
            return Err(unknown(id.into(), limit));
        }
        if id != first {
            (self.is_in_order, self.singles) = (false, 0);
        }
        // 2.8.6: the next used descriptor lies behind all of this chain's.
        self.queue.next_used = self.queue.next_used.wrapping_add(count.swap(1, Ordering::Relaxed));
        let mut bytes = 0;
        if word != FRAME {
            // SAFETY: a slot that is neither empty nor `FRAME` owned a buffer of the pool that its tag names.
            unsafe { flight::give_back(&self.sources, batch, word) };
        } else if let Some(frame) = self.frames.get_mut(at).and_then(Option::take) {
            bytes = batch.recycle_counted(frame);
        }
        Ok(bytes)
    }

    /// [`PackedTx::spread`] of the next used descriptor. Whether it stood for more than its own frame.
    #[inline(always)]
    fn spread_next(&mut self) -> bool {
        self.queue.is_in_order() && self.spread_used()
    }

    #[cold]
    fn spread_used(&mut self) -> bool {
        let id = self.queue.used().map(|word| (word >> 32) as u16);
        id.is_some_and(|id| id != self.queue.offset(self.queue.next_used) && self.spread(id))
    }

    /// Has every frame up to that of the buffer that the next used descriptor names look as if the device had given each back by itself (2.8.8). Whether there is such
    /// a one.
    fn spread(&mut self, id: u16) -> bool {
        let next = self.queue.next_used;
        let is_in_flight = self.slots.get(usize::from(id)).is_some_and(|&slot| slot != EMPTY);
        let Some(skipped) = self.queue.skipped(next, id).filter(|_| is_in_flight) else { return false };
        let mut behind = 0;
        while behind < skipped {
            let Some(count) = self.progress.count(self.queue.offset(next.wrapping_add(behind))) else { return false };
            behind += count;
            self.queue.mark_used(next.wrapping_add(behind), 0);
        }
        self.queue.mark_used(next, 0);
        behind == skipped
    }

    /// How many frames are in flight that the device did not give back. One that it cuts counts as all that it makes of it.
    pub fn pending_frames(&self) -> usize {
        let frames_of = |id: usize| self.slots.get(id).map_or(0, |&word| flight::frames_of(word, self.frames.get(id)));
        let in_flight: usize = (0..self.slots.len()).map(frames_of).sum();
        let (queue, mut place, mut back) = (&self.queue, self.queue.next_used, 0);
        while back < in_flight {
            let word = queue.word(place);
            let id = (word >> 32) as u16;
            let is_used = (word ^ queue.used_marks(place)) >> 32 & u64::from(MARKS_AND_ID & !0xffff) == 0;
            if !is_used || frames_of(id.into()) == 0 {
                break;
            }
            // A device that uses buffers in order names the last one of many.
            let mut head = if queue.is_in_order() { queue.offset(place) } else { id };
            while let Some(count) = self.progress.count(head) {
                place = place.wrapping_add(count);
                back += frames_of(head.into());
                if head == id || back >= in_flight {
                    break;
                }
                head = queue.offset(place);
            }
        }
        in_flight.saturating_sub(back)
    }
}
