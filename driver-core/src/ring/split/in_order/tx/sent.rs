//! What was sent: which frames the used entries stand for, and the way of their buffers back.

use super::InOrderTx;
use crate::buf::batch::Batch;
use crate::ring::fault::QueueFault;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::{EMPTY, FRAME, TAG_MASK, flight};

impl<const HEADER: usize> InOrderTx<HEADER> {
    /// Puts the buffers of frames that the device used onto `batch`'s stack of empty buffers (or back to their pools).
    ///
    /// # Errors
    /// [`QueueFault`]: the device names a descriptor out of its turn, or used more than it was given. Frames before were taken.
    #[inline(always)]
    pub fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
        let mut all = Reclaimed::default();
        let (mut left, before) = (self.queue.ready()?, self.first);
        while left > 0 {
            let named = self.named(left)?;
            all.bytes += self.give_back(batch, named);
            left -= named;
        }
        all.descriptors = self.first.wrapping_sub(before).into();
        Ok(all)
    }

    /// Where the chain behind that of `head` begins.
    #[inline(always)]
    fn next_head(&self, head: u16) -> u16 {
        let count = self.counts.get(usize::from(head)).copied().unwrap_or(1);
        self.descriptor_of(head.wrapping_add(count))
    }

    /// For how many frames the used entries stand of which so many frames are told: all of them, or those before an entry that makes no sense.
    #[inline(never)]
    fn named(&self, ready: u16) -> Result<u16, QueueFault> {
        let (mut head, mut named) = (self.descriptor_of(self.first), 0);
        while named < ready {
            let id = self.queue.used_id_behind(named);
            let mut count = 1;
            // 2.7.9: the entry of a batch lies where its first buffer's would, and names the last one.
            while u32::from(head) != id && count <= ready - named {
                head = self.next_head(head);
                count += 1;
            }
            if count > ready - named {
                return if named > 0 { Ok(named) } else { Err(QueueFault::Index { index: id, limit: self.slots.len() as u32 }) };
            }
            head = self.next_head(head);
            named += count;
        }
        Ok(named)
    }

    /// Gives back the oldest frames, so many, and returns the bytes of those that were more than one buffer.
    fn give_back(&mut self, batch: &mut Batch, count: u16) -> u64 {
        let (mut done, mut bytes) = (0, 0);
        while done < count {
            let ordinary = self.give_back_ordinary(batch, count - done);
            done += ordinary;
            if ordinary == 0 {
                bytes += self.give_back_one(batch);
                done += 1;
            }
        }
        self.queue.next_used = self.queue.next_used.wrapping_add(count);
        bytes
    }

    /// Up to `count` frames of one buffer each, of one pool, as far as they lie behind one another, and the stack has room.
    #[inline(always)]
    fn give_back_ordinary(&mut self, batch: &mut Batch, count: u16) -> u16 {
        let first = usize::from(self.descriptor_of(self.first));
        let Some(slots) = self.slots.get_mut(first..) else { return 0 };
        let Some(tag) = slots.first().map(|word| word & TAG_MASK) else { return 0 };
        let Some(pool) = self.sources.named(tag as u8) else { return 0 };
        let run = batch.room_for(pool).min(count.into());
        let (spares, spare_count) = batch.spares_of(pool);
        let mut done = 0;
        for slot in slots.iter_mut().take(run) {
            if *slot & TAG_MASK != tag {
                break;
            }
            // SAFETY: the stack has room for `run` buffers of this pool above `spare_count`. A slot with this tag owns a buffer of it, and gives it up.
            unsafe { spares.cast::<u64>().add(spare_count + done).write(*slot - tag) };
            *slot = EMPTY;
            done += 1;
        }
        if done > 0 {
            // SAFETY: `done` buffers were put there.
            unsafe { batch.set_spares(pool, spare_count + done) };
            self.first = self.first.wrapping_add(done as u16);
        }
        done as u16
    }

    /// The oldest frame, whatever it is. Returns its bytes where the whole frame was kept.
    #[cold]
    fn give_back_one(&mut self, batch: &mut Batch) -> u64 {
        let head = usize::from(self.descriptor_of(self.first));
        let (Some(slot), Some(count)) = (self.slots.get_mut(head), self.counts.get_mut(head)) else { return 0 };
        let word = core::mem::replace(slot, EMPTY);
        self.first = self.first.wrapping_add(core::mem::replace(count, 1));
        if word != FRAME && word != EMPTY {
            // SAFETY: a slot that is neither empty nor `FRAME` owned a buffer of the pool that its tag names.
            unsafe { flight::give_back(&self.sources, batch, word) };
        } else if let Some(frame) = self.frames.get_mut(head).and_then(Option::take) {
            return batch.recycle_counted(frame);
        }
        0
    }

    /// How many frames are in flight that the device did not give back. One that it cuts counts as all that it makes of it.
    pub fn pending_frames(&mut self) -> usize {
        let ready = self.queue.ready().unwrap_or(0);
        let (mut head, mut frames) = (self.descriptor_of(self.first), 0);
        for place in 0..self.queue.given() {
            if place >= ready {
                frames += self.slots.get(usize::from(head)).map_or(0, |&word| flight::frames_of(word, self.frames.get(usize::from(head))));
            }
            head = self.next_head(head);
        }
        frames
    }
}
