//! Frames that ask for a checksum whose place their words say: many together, as those that ask for nothing.

use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::{Ask, Frame};
use crate::buf::memory::PoolInner;
use crate::buf::meta::{self, Checksum};
use crate::ring::lane::LengthLanes;

/// Makes the device's header of a frame whose checksum it is to fill in: of the byte where the sum begins, and where it goes, counted from there.
pub type Requests<const HEADER: usize> = fn(u16, u16) -> [u8; HEADER];

/// What frames have in common that go together.
#[derive(Clone, Copy)]
pub(in crate::ring) struct Asking<const HEADER: usize> {
    headers: Requests<HEADER>,
    pub(in crate::ring) request: u16,
    /// For whether eight ask for the same.
    pub(in crate::ring) requests: LengthLanes,
    pub(in crate::ring) header: [u8; HEADER],
    /// The shortest of them in which the checksum lies.
    min_bytes: u16,
}

impl<const HEADER: usize> Asking<HEADER> {
    /// The tags of such frames.
    pub(in crate::ring) const TAGS: u64 = Ask::SUM_TAGS;

    /// Whose headers `headers` makes.
    pub(in crate::ring) fn new(headers: Requests<HEADER>) -> Self {
        Self { headers, request: 0, requests: LengthLanes::all(0), header: headers(0, 0), min_bytes: 2 }
    }

    /// Turns to what the frame at the front of `batch` asks for, where that is a checksum alone: its pool, and of which lengths frames may be that go with it.
    #[inline(always)]
    pub(in crate::ring) fn of_front(
        asking: &mut Option<Self>,
        batch: &Batch,
        (min_bytes, max_bytes): (u16, u16),
    ) -> Option<(NonNull<PoolInner>, (u16, u16))> {
        let (asking, first) = (asking.as_mut()?, batch.frames().first()?);
        let is_one = asking.turn_to(first);
        let min_bytes = min_bytes.max(asking.min_bytes);
        (is_one && min_bytes <= max_bytes).then(|| (first.pool_ptr(), (min_bytes, max_bytes)))
    }

    /// Turns to what `frame` asks for, where that is a checksum alone and it lies in one buffer at home, and says whether it is.
    #[inline(always)]
    fn turn_to(&mut self, frame: &Frame) -> bool {
        // SAFETY: there is a frame.
        let request = unsafe { request_of(NonNull::from(frame)) };
        let is_one = Ask::is_sum_alone(frame);
        if is_one && request != self.request {
            self.turn(request);
        }
        is_one
    }

    #[cold]
    fn turn(&mut self, request: u16) {
        if let Checksum::Partial { start, offset } = meta::requested(&[0, u64::from(request) << meta::REQUEST_SHIFT]) {
            (self.request, self.requests) = (request, LengthLanes::all(request));
            (self.header, self.min_bytes) = ((self.headers)(start, offset), start + offset + 2);
        }
    }
}

/// The 16 bits that say for which checksum a frame asks.
///
/// # Safety
/// There is one.
#[inline(always)]
pub(in crate::ring) unsafe fn request_of(frame: NonNull<Frame>) -> u16 {
    // SAFETY: the caller's. A frame is 32 bytes, {pointer, pool} and two words: the bits are bytes 26 and 27.
    unsafe { frame.cast::<u16>().add(13).read() }
}

const _: () = assert!(meta::REQUEST_SHIFT == 16, "bytes 2 and 3 of the second word");
