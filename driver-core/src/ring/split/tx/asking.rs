//! Frames that ask for a checksum.

use core::ptr::NonNull;

use super::SplitTx;
use crate::buf::batch::Batch;
use crate::ring::virtq::asking::Asking;

impl<const HEADER: usize> SplitTx<HEADER> {
    /// Takes frames from the front of `batch` that are ordinary ones but for the checksum that the first of them asks for. Returns how many, and their bytes.
    #[inline(never)]
    pub(super) fn put_asking(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> (usize, u64) {
        let Some((pool, lengths)) = Asking::of_front(&mut self.asking, batch, (min_bytes, max_bytes)) else { return (0, 0) };
        // SAFETY: the frame at the front is alive.
        if !unsafe { self.turn_to(pool) } {
            return (0, 0);
        }
        let (avail, room) = self.queue.avail_run();
        let run = batch.len().min(self.free_count).min(room);
        let frames = NonNull::from(batch.frames_mut()).cast();
        // SAFETY: as in `put_ordinary`.
        let done = unsafe {
            if self.sources.pool() == self.pool.as_ptr() {
                self.put_run::<true, true>(frames, avail, run, lengths)
            } else {
                self.put_run::<false, true>(frames, avail, run, lengths)
            }
        };
        // The frames at the front are in the slots now.
        batch.advance(done.0);
        done
    }
}
