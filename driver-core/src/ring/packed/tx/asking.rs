//! Frames that ask for a checksum.

use core::ptr::NonNull;

use super::PackedTx;
use crate::buf::batch::Batch;
use crate::ring::virtq::asking::Asking;

impl<const HEADER: usize> PackedTx<HEADER> {
    /// Takes frames from the front of `batch` that are ordinary ones but for the checksum that the first of them asks for. Returns how many, and their bytes.
    #[inline(never)]
    pub(super) fn put_asking(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> (usize, u64) {
        let Some((pool, lengths)) = Asking::of_front(&mut self.asking, batch, (min_bytes, max_bytes)) else { return (0, 0) };
        // SAFETY: the frame at the front is alive.
        if !self.is_in_order || !unsafe { self.turn_to(pool) } {
            return (0, 0);
        }
        let to_end = self.slots.len() - usize::from(self.queue.offset(self.queue.next_avail));
        let run = batch.len().min(self.free()).min(to_end);
        let frames = NonNull::from(batch.frames_mut()).cast();
        // SAFETY: as in `put_ordinary`.
        let done = unsafe {
            if self.sources.pool() == self.pool.as_ptr() {
                self.put_run::<true, true>(frames, run, lengths)
            } else {
                self.put_run::<false, true>(frames, run, lengths)
            }
        };
        // The frames at the front are in the slots now.
        batch.advance(done.0);
        done
    }
}
