//! What was sent: the used entries, and the way of the buffers back.

use core::ptr::NonNull;

use super::{END, SplitTx};
use crate::buf::batch::Batch;
use crate::buf::memory::RawBuf;
use crate::ring::fault::QueueFault;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::{EMPTY, FRAME, TAG_MASK, flight};

impl<const HEADER: usize> SplitTx<HEADER> {
    /// Puts the buffers of frames that the device used onto `batch`'s stack of empty buffers (or back to their pools).
    ///
    /// # Errors
    /// [`QueueFault`]: the device names a descriptor that it does not have, or used more than it was given. Entries before that one were taken.
    #[inline(always)]
    pub fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
        let ready = usize::from(self.queue.ready()?);
        let mut all = Reclaimed::default();
        if ready == 0 {
            return Ok(all);
        }
        let before = self.free_count;
        let mut left = ready;
        while left > 0 {
            let done = self.reclaim_ordinary(batch, left);
            left -= done;
            if done == 0 {
                all.bytes += self.reclaim_one(batch)?;
                left -= 1;
            }
        }
        all.descriptors = (self.free_count - before) as u32;
        Ok(all)
    }

    /// Takes up to `count` used entries of one buffer each that lie behind one another, as long as they are such of one pool, and the stack has room.
    #[inline(always)]
    fn reclaim_ordinary(&mut self, batch: &mut Batch, count: usize) -> usize {
        let (used, entries) = self.queue.used_run();
        // SAFETY: an entry of the used ring.
        let first = u32::from_le(unsafe { used.read_volatile() });
        let Some(word) = self.slots.get(first as usize) else { return 0 };
        let tag = word & TAG_MASK;
        let Some(pool) = self.sources.named(tag as u8) else { return 0 };
        let room = batch.room_for(pool).min(self.free.len() - self.free_count);
        let run = count.min(room).min(entries);
        let (spares, spare_count) = batch.spares_of(pool);
        // SAFETY: the stack has room for `run` buffers of this pool above `spare_count`, `free` for as many numbers, and as many entries lie behind one
        // another; `reclaim_run` puts `done` buffers there.
        unsafe {
            let to = spares.add(spare_count);
            let done = if tag == 0 { self.reclaim_run::<true>(used, to, run, 0) } else { self.reclaim_run::<false>(used, to, run, tag) };
            if done > 0 {
                batch.set_spares(pool, spare_count + done);
            }
            done
        }
    }

    /// # Safety
    /// Room for `count` buffers of the pool with this tag at `spares` and for as many numbers in `free`, and as many used entries at `used`, the next one first.
    /// `OWN`: the tag is 0, that of the queue's pool.
    #[inline(never)]
    unsafe fn reclaim_run<const OWN: bool>(&mut self, used: NonNull<u32>, spares: NonNull<RawBuf>, count: usize, tag: u64) -> usize {
        let tag = if OWN { 0 } else { tag };
        let (slots, size) = (self.slots.as_mut_ptr(), self.slots.len());
        // SAFETY: there is room behind `free_count`, by the caller's word.
        let free = unsafe { self.free.as_mut_ptr().add(self.free_count) };
        let mut done = 0;
        while done < count {
            // SAFETY: `done` is below `count`: entry, place and number lie inside their memory. `id` is below the number of slots. A slot with this tag owns a
            // buffer of this pool. The used length means nothing for buffers that the device only reads.
            unsafe {
                let id = u32::from_le(used.add(2 * done).read_volatile());
                if id as usize >= size {
                    break;
                }
                let slot = slots.add(id as usize);
                let word = *slot;
                if word & TAG_MASK != tag {
                    break;
                }
                *slot = EMPTY;
                spares.cast::<u64>().add(done).write(word - tag);
                *free.add(done) = id as u16;
            }
            done += 1;
        }
        self.free_count += done;
        self.queue.next_used = self.queue.next_used.wrapping_add(done as u16);
        done
    }

    /// Takes the next used entry whatever it is, and returns its frame's bytes where the whole frame was kept.
    #[inline(never)]
    fn reclaim_one(&mut self, batch: &mut Batch) -> Result<u64, QueueFault> {
        let (id, _) = self.queue.used_entry();
        let wrong = QueueFault::Index { index: id, limit: self.slots.len() as u32 };
        let Some(slot) = self.slots.get_mut(id as usize) else { return Err(wrong) };
        let word = core::mem::replace(slot, EMPTY);
        if word == EMPTY {
            return Err(wrong);
        }
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        let mut bytes = 0;
        if word != FRAME {
            // SAFETY: a slot that is neither empty nor `FRAME` owned a buffer of the pool that its tag names.
            unsafe { flight::give_back(&self.sources, batch, word) };
        } else if let Some(frame) = self.frames.get_mut(id as usize).and_then(Option::take) {
            bytes = batch.recycle_counted(frame);
        }
        self.free_chain(id as u16);
        Ok(bytes)
    }

    /// Frees the descriptors of the chain at `head`.
    fn free_chain(&mut self, head: u16) {
        let mut id = head;
        while let (Some(place), Some(next)) = (self.free.get_mut(self.free_count), self.next.get_mut(usize::from(id))) {
            *place = id;
            self.free_count += 1;
            id = core::mem::replace(next, END);
            if id == END {
                return;
            }
        }
    }
}
