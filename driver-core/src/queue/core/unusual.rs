//! Frames that go one at a time: whatever they are like, they are looked at, made ready, and put or refused by name.

use crate::buf::batch::Batch;
use crate::ether::padding_bytes;
use crate::offload::Work;
use crate::queue::core::check::{Prepared, check, check_work, cut, prepare};
use crate::queue::core::kernel::TxKernel;
use crate::queue::core::tx::{Step, TxCore};
use crate::queue::refusal::Refusal;

impl<K: TxKernel> TxCore<K> {
    /// The frame at the front of the batch, whatever it is like.
    #[inline(never)]
    pub(super) fn put_unusual(&mut self, batch: &mut Batch) -> Step {
        let Some(frame) = batch.frames_mut().first_mut() else { return Step::Taken };
        let work = Work::of(frame);
        if !work.is_empty() && self.kernel.put_asking(batch) {
            return Step::Taken;
        }
        let Some(frame) = batch.frames_mut().first_mut() else { return Step::Taken };
        let left = if work.is_empty() { work } else { work - self.kernel.offload(frame) };
        if left.contains(Work::SEGMENTATION) {
            let may = self.software.contains(Work::SEGMENTATION);
            return if may { self.put_segments(batch) } else { Step::Refused(Refusal::SwitchedOff(left - self.software)) };
        }
        let mut extent = frame.extent(self.kernel.pool());
        let headers = match cut(frame, work, K::MAX_CUT_BYTES) {
            Ok(headers) => headers,
            Err(why) => return Step::Refused(why),
        };
        let checked = check(frame, extent, headers.as_ref(), self.tagged, K::MAX_SEGMENTS);
        let checked_work = || check_work(frame, headers.as_ref(), (work, left), self.software, self.tagged);
        if let Err(why) = checked.and_then(|()| if work.is_empty() { Ok(()) } else { checked_work() }) {
            return Step::Refused(why);
        }
        // Before the frame is touched: a full ring leaves it as it is.
        if self.kernel.free() == 0 {
            return Step::NoRoom;
        }
        if !left.is_empty() || !extent.is_reachable || padding_bytes(extent.bytes) > 0 {
            extent = match prepare(frame, left, self.tagged.outer, self.kernel.pool()) {
                Ok(Prepared { extent, is_copied: false }) => extent,
                Ok(Prepared { extent, is_copied: true }) => {
                    self.seat.tally().bounced.add(1);
                    if let Err(why) = check(frame, extent, headers.as_ref(), self.tagged, K::MAX_SEGMENTS) {
                        return Step::Refused(why);
                    }
                    extent
                }
                Err(why) => return Step::Refused(why),
            };
        }
        let (needed, capacity) = (self.kernel.descriptors(frame, extent.filled), self.kernel.capacity() as usize);
        if needed > capacity {
            return Step::Refused(Refusal::TooManySegments { segments: needed, max: capacity });
        }
        if needed > self.kernel.free() as usize {
            return Step::NoRoom;
        }
        let bytes = extent.bytes as u64;
        if let Some(frame) = batch.pop() {
            self.kernel.put_unusual(frame, extent.bytes);
        }
        if let Some(headers) = &headers {
            self.seat.tally().cut.add(headers.segments() as u64 - 1);
        }
        if self.gate.counts_bytes() {
            self.gate.sent(bytes);
        }
        self.count_bytes(bytes);
        Step::Taken
    }
}
