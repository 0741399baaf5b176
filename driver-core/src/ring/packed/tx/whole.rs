//! Frames in any number of buffers, each in one walk to the device and one back.

use core::sync::atomic::Ordering;

use super::PackedTx;
use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::ring::packed::queue::MARKS_AND_ID;
use crate::ring::virtq::{EMPTY, FRAME, PutWhole, is_apart};

impl<const HEADER: usize> PackedTx<HEADER> {
    /// Whether the frame at the front of `batch` may be one for [`PackedTx::put_whole`], and not for [`PackedTx::put_ordinary`].
    #[inline(always)]
    pub fn has_whole(&self, batch: &Batch) -> bool {
        self.apart.has_whole(batch)
    }

    /// Takes frames from the front of `batch`, of any number of buffers of one pool of this queue's domain, each with bytes, as far as they fit a table, have room for a header
    /// before their first byte, and `header` makes one. It is given the frame, and its bytes, and says how many frames the device makes of it.
    pub fn put_whole(&mut self, batch: &mut Batch, mut header: impl FnMut(&mut Frame, usize) -> Option<([u8; HEADER], u32)>) -> PutWhole {
        self.singles = 0;
        let mut done = PutWhole::default();
        while self.is_in_order
            && self.free() > 0
            && let Some(frame) = batch.frames_mut().first_mut()
        {
            // SAFETY: the frame is alive.
            if is_apart::<HEADER>(frame) || !unsafe { self.turn_to(frame.pool_ptr()) } {
                break;
            }
            let id = self.queue.offset(self.queue.next_avail);
            let source = (self.sources.pool(), self.sources.delta());
            let (Some(slot), Some(kept)) = (self.slots.get_mut(usize::from(id)), self.frames.get_mut(usize::from(id))) else { break };
            // SAFETY: the source's pool is alive. The ID is free, and with it its table.
            let Some((frame, gathered)) = (unsafe { self.apart.take_whole::<false>(id, batch, source, &mut header) }) else { break };
            *slot = FRAME;
            *kept = Some(frame);
            self.queue.put(gathered.iova, gathered.len | u64::from(id) << 32 | u64::from(gathered.flags) << 48);
            done.count(gathered.bytes, gathered.frames);
        }
        done
    }

    /// Takes back frames that were kept whole, as long as they come in order. Returns how many, and their bytes.
    #[inline(never)]
    pub(super) fn reclaim_whole(&mut self, batch: &mut Batch) -> (usize, u64) {
        let (mut done, mut bytes) = (0, 0);
        while self.queue.outstanding() > 0 {
            let next = self.queue.next_used;
            let id = self.queue.offset(next);
            let at = usize::from(id);
            let expected = (self.queue.used_marks(next) >> 32) as u32 | u32::from(id);
            if self.slots.get(at) != Some(&FRAME) || ((self.queue.word(next) >> 32) as u32 ^ expected) & MARKS_AND_ID != 0 {
                break;
            }
            barrier::after_done();
            let (Some(slot), Some(count), Some(frame)) =
                (self.slots.get_mut(at), self.progress.counts.get(at), self.frames.get_mut(at).and_then(Option::take))
            else {
                break;
            };
            *slot = EMPTY;
            // This thread alone writes it.
            let descriptors = count.load(Ordering::Relaxed);
            if descriptors != 1 {
                count.store(1, Ordering::Relaxed);
            }
            done += 1;
            self.queue.next_used = next.wrapping_add(descriptors);
            bytes += batch.recycle_counted(frame);
        }
        (done, bytes)
    }
}
