//! Frames that ask for a checksum.

use core::ptr::NonNull;

use super::PackedTx;
use crate::buf::batch::Batch;

impl<const HEADER: usize> PackedTx<HEADER> {
    /// Takes frames from the front of `batch` that are ordinary ones but for the checksum that the first of them asks for. Returns how many, and their bytes.
    #[inline(never)]
    pub(super) fn put_asking(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> (usize, u64) {
        let (Some(asking), Some(first)) = (&mut self.asking, batch.frames().first()) else { return (0, 0) };
        if !asking.turn_to(first) {
            return (0, 0);
        }
        let min_bytes = min_bytes.max(asking.min_bytes);
        // SAFETY: the frame is alive.
        if min_bytes > max_bytes || !self.is_in_order || !unsafe { self.turn_to(first.pool_ptr()) } {
            return (0, 0);
        }
        let to_end = self.slots.len() - usize::from(self.queue.offset(self.queue.next_avail));
        let run = batch.len().min(self.free()).min(to_end);
        let (frames, lengths) = (NonNull::from(batch.frames_mut()).cast(), (min_bytes, max_bytes));
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
