//! The way back of what a transmit queue has in flight, in either layout: a slot's word says what lies behind it.

use core::mem;

use super::{EMPTY, FRAME, TAG_MASK};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::RawBuf;
use crate::ring::owners::Sources;

/// Puts the buffer that a slot held, and holds no more, back to where it is from. `word` is neither [`EMPTY`] nor [`FRAME`].
///
/// # Safety
/// A slot with this word owned a buffer of the pool that `sources` name by its tag.
pub(in crate::ring) unsafe fn give_back(sources: &Sources, batch: &mut Batch, word: u64) {
    let tag = word & TAG_MASK;
    if let (Some(pool), Some(buf)) = (sources.named(tag as u8), RawBuf::from_word(word - tag)) {
        // SAFETY: the caller's.
        unsafe { batch.put_spares(pool, &[buf]) };
    }
}

/// How many frames the device makes of what a slot with this word holds, where a frame that is more than one buffer is `frame`: one that it cuts counts as all that it makes of it.
pub(in crate::ring) fn frames_of(word: u64, frame: Option<&Option<Frame>>) -> usize {
    match word {
        EMPTY => 0,
        FRAME => frame.and_then(Option::as_ref).map_or(1, Frame::segments_on_wire),
        _ => 1,
    }
}

/// Empties every slot, and returns the bytes of the frames that were more than one buffer.
///
/// # Safety
/// As for [`give_back`], of each slot that is not empty.
pub(in crate::ring) unsafe fn give_all_back(slots: &mut [u64], frames: &mut [Option<Frame>], sources: &Sources, batch: &mut Batch) -> u64 {
    for slot in slots {
        let word = mem::replace(slot, EMPTY);
        if word != EMPTY && word != FRAME {
            // SAFETY: the caller's: the slot has given it up.
            unsafe { give_back(sources, batch, word) };
        }
    }
    let mut bytes = 0;
    for frame in frames.iter_mut().filter_map(Option::take) {
        bytes += frame.len() as u64;
        batch.recycle(frame);
    }
    bytes
}
