//! Frames that ask to be cut where their device does not: software does, and all segments go out or none.

use alloc::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::offload::{Headers, SegmentationError, Work};
use crate::queue::core::check::{check, check_work, prepare};
use crate::queue::core::kernel::TxKernel;
use crate::queue::core::tx::{Step, TxCore};
use crate::queue::refusal::Refusal;

/// A segment as it goes to the device.
struct Segment {
    frame: Frame,
    bytes: usize,
    descriptors: usize,
}

impl<K: TxKernel> TxCore<K> {
    /// Takes the frame at the front of `batch`, which asks to be cut, as its segments.
    #[cold]
    #[inline(never)]
    pub(super) fn put_segments(&mut self, batch: &mut Batch) -> Step {
        let Some(frame) = batch.frames().first() else { return Step::Taken };
        let count = match self.segments_of(frame) {
            Ok(count) => count,
            Err(why) => return Step::Refused(why),
        };
        let (capacity, free) = (self.kernel.capacity() as usize, self.kernel.free() as usize);
        // Each takes one descriptor at least: no buffer is touched for what does not fit.
        if count > capacity {
            return Step::Refused(Refusal::TooManySegments { segments: count, max: capacity });
        }
        if count > free {
            return Step::NoRoom;
        }
        let segments = match self.cut_front(batch) {
            // Buffers may be among the batch's empty ones.
            Err(Refusal::Segmentation(SegmentationError::PoolEmpty)) => {
                batch.release_spares();
                self.cut_front(batch)
            }
            segments => segments,
        };
        let segments = match segments {
            Ok(segments) => segments,
            Err(why) => return Step::Refused(why),
        };
        let needed = segments.iter().map(|segment| segment.descriptors).sum();
        if needed > free {
            segments.into_iter().for_each(|segment| batch.recycle(segment.frame));
            return if needed > capacity { Step::Refused(Refusal::TooManySegments { segments: needed, max: capacity }) } else { Step::NoRoom };
        }
        if let Some(whole) = batch.pop() {
            // As the device that cuts: a frame of so many bytes was sent.
            self.count_bytes(whole.len() as u64);
            batch.recycle(whole);
        }
        self.seat.tally().cut.add(count as u64 - 1);
        for Segment { frame, bytes, .. } in segments {
            self.kernel.put_unusual(frame, bytes);
            if self.gate.counts_bytes() {
                self.gate.sent(bytes as u64);
            }
        }
        Step::Taken
    }

    /// How many segments come of the frame, each of which has a length that can be sent.
    fn segments_of(&self, frame: &Frame) -> Result<usize, Refusal> {
        let Some(cut) = frame.segmentation() else { return Ok(1) };
        let headers = Headers::of(frame, cut).map_err(Refusal::Segmentation)?;
        // Where its own bytes lie does not matter.
        check(frame, frame.extent(self.kernel.pool()), Some(&headers), self.tagged, usize::MAX)?;
        let work = Work::of(frame);
        check_work(frame, Some(&headers), (work, work - Work::SEGMENTATION), Work::all(), self.tagged)?;
        Ok(headers.segments())
    }

    /// The segments of the frame at the front, which stays.
    fn cut_front(&self, batch: &Batch) -> Result<Vec<Segment>, Refusal> {
        let (kernel, tagged, software) = (&*self.kernel, self.tagged, self.software);
        let segments = batch.frames().first().map_or_else(|| Ok(Vec::new()), |frame| frame.cut(kernel.pool()).map_err(Refusal::Segmentation))?;
        let prepared = segments.into_iter().map(|mut frame| {
            let work = Work::of(&frame);
            let left = work - kernel.offload(&frame);
            if !software.contains(left) {
                return Err(Refusal::SwitchedOff(left - software));
            }
            let extent = prepare(&mut frame, left, tagged.outer, kernel.pool())?.extent;
            check(&frame, extent, None, tagged, K::MAX_SEGMENTS)?;
            Ok(Segment { bytes: extent.bytes, descriptors: kernel.descriptors(&frame, extent.filled), frame })
        });
        prepared.collect()
    }
}
