//! Frames in any number of buffers, each in one walk to the device and one back.

use super::InOrderTx;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::ring::split::queue::descriptor;
use crate::ring::virtq::{FRAME, PutWhole, is_apart};

impl<const HEADER: usize> InOrderTx<HEADER> {
    /// Whether the frame at the front of `batch` may be one for [`InOrderTx::put_whole`], and not for [`InOrderTx::put_ordinary`].
    #[inline(always)]
    pub fn has_whole(&self, batch: &Batch) -> bool {
        self.apart.has_whole(batch)
    }

    /// Takes frames from the front of `batch`, of any number of buffers of one pool of this queue's domain, each with bytes, as far as they fit a table, have room for a header
    /// before their first byte, and `header` makes one. It is given the frame, and its bytes, and says how many frames the device makes of it.
    pub fn put_whole(&mut self, batch: &mut Batch, mut header: impl FnMut(&mut Frame, usize) -> Option<([u8; HEADER], u32)>) -> PutWhole {
        self.singles = 0;
        let mut done = PutWhole::default();
        while self.free() > 0
            && let Some(frame) = batch.frames_mut().first_mut()
        {
            // SAFETY: the frame is alive.
            if is_apart::<HEADER>(frame) || !unsafe { self.turn_to(frame.pool_ptr()) } {
                break;
            }
            let id = self.descriptor_of(self.behind);
            let source = (self.sources.pool(), self.sources.delta());
            let (Some(slot), Some(kept)) = (self.slots.get_mut(usize::from(id)), self.frames.get_mut(usize::from(id))) else { break };
            // SAFETY: the source's pool is alive. The descriptor is free, and with it its table.
            let Some((frame, gathered)) = (unsafe { self.apart.take_whole::<true>(id, batch, source, &mut header) }) else { break };
            *slot = FRAME;
            *kept = Some(frame);
            self.behind = self.behind.wrapping_add(1);
            self.queue.desc.store(id.into(), descriptor(gathered.iova, gathered.len as u32, gathered.flags, 0));
            self.queue.make_available(id);
            done.count(gathered.bytes, gathered.frames);
        }
        done
    }
}
