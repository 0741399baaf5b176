//! What every transmit queue asks of a frame and does for it, whatever its device.

use crate::buf::frame::{Extent, Frame, FrameError};
use crate::buf::pool::BufPool;
use crate::ether::{FrameLimits, HEADER_BYTES, VLAN_TAG_BYTES, padding_bytes};
use crate::offload::checksum::checksum_place;
use crate::offload::{Headers, SegmentationError, Work};
use crate::queue::refusal::Refusal;

/// How long frames are, and the EtherType of the outer VLAN tag that they may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tagged {
    pub(super) limits: FrameLimits,
    pub(super) outer: Option<u16>,
}

/// Into what the device cuts a frame that asks for it.
pub(super) fn cut(frame: &Frame, work: Work, max: usize) -> Result<Option<Headers>, Refusal> {
    let Some(cut) = work.contains(Work::SEGMENTATION).then(|| frame.segmentation()).flatten() else { return Ok(None) };
    let headers = Headers::of(frame, cut).map_err(Refusal::Segmentation)?;
    let bytes = headers.payload_bytes;
    if bytes > max { Err(Refusal::Segmentation(SegmentationError::Payload { bytes, max })) } else { Ok(Some(headers)) }
}

/// Whether a frame of this extent, or what it is cut into, has a length that can be sent, and its bytes lie in no more than `max_segments` places.
pub(super) fn check(frame: &Frame, extent: Extent, cut: Option<&Headers>, tagged: Tagged, max_segments: usize) -> Result<(), Refusal> {
    let limits = tagged.limits;
    let len_bytes = cut.map_or(extent.bytes, Headers::longest);
    if len_bytes < HEADER_BYTES {
        return Err(Refusal::TooShort { len_bytes });
    }
    if len_bytes > limits.longest(false) {
        let max_bytes = limits.longest_with(frame.vlan_headers(tagged.outer));
        if len_bytes > max_bytes {
            return Err(Refusal::TooLong { len_bytes, max_bytes });
        }
    }
    // Padding goes behind the last segment, which may have been empty until then.
    let gets_bytes = cut.is_none() && padding_bytes(len_bytes) > 0 && extent.ends_empty;
    let segments = extent.filled + usize::from(gets_bytes);
    if segments > max_segments {
        return Err(Refusal::TooManySegments { segments, max: max_segments });
    }
    Ok(())
}

/// Zeros behind a frame that is shorter than the wire demands. One that is to be cut has none: they would be payload.
fn pad(frame: &mut Frame) -> Result<(), FrameError> {
    match padding_bytes(frame.len()) {
        0 => Ok(()),
        _ if frame.segmentation().is_some() => Ok(()),
        missing => frame.put(missing).map(|zeros| zeros.fill(0)),
    }
}

/// Whether the work that a frame asks for can be done: `left` of it by `software`, the rest by the device.
pub(super) fn check_work(
    frame: &Frame,
    cut: Option<&Headers>,
    (work, left): (Work, Work),
    software: Work,
    Tagged { limits, outer }: Tagged,
) -> Result<(), Refusal> {
    if !software.contains(left) {
        return Err(Refusal::SwitchedOff(left - software));
    }
    checksum_place(frame).map_err(Refusal::Checksum)?;
    // Whoever puts it in.
    if work.contains(Work::VLAN) {
        let (len_bytes, max_bytes) =
            (cut.map_or_else(|| frame.len(), Headers::longest) + VLAN_TAG_BYTES, limits.longest_with(frame.vlan_headers(outer) + 1));
        if len_bytes > max_bytes {
            return Err(Refusal::TooLong { len_bytes, max_bytes });
        }
    }
    Ok(())
}

/// A frame as it goes to the device.
pub(super) struct Prepared {
    pub(super) extent: Extent,
    /// It is another, in buffers of the queue's pool.
    pub(super) is_copied: bool,
}

/// Does what is left to software, pads, and brings the frame into memory that devices of the domain of `pool` reach.
pub(super) fn prepare(frame: &mut Frame, left: Work, outer: Option<u16>, pool: &BufPool) -> Result<Prepared, Refusal> {
    let mut is_copied = do_work(frame, left, outer, pool)?;
    if !frame.all_reachable(pool.domain()) || pad(frame).is_err() {
        // Memory of another domain, or no room for the padding in any of its buffers: send a copy.
        match frame.copy(pool).and_then(|mut copy| pad(&mut copy).map(|()| copy)) {
            Ok(copy) => *frame = copy,
            Err(_) => return Err(Refusal::NoBounceBuffer),
        }
        is_copied = true;
    }
    Ok(Prepared { extent: frame.extent(pool), is_copied })
}

/// Does what is left to software, and says whether that took a copy in buffers of `pool`.
fn do_work(frame: &mut Frame, left: Work, outer: Option<u16>, pool: &BufPool) -> Result<bool, Refusal> {
    // Before the tag moves it: then the sum's start is still what the frame's owner said.
    if left.intersects(Work::CHECKSUM | Work::SCTP_CRC) {
        frame.fill_in_checksum().map_err(Refusal::Checksum)?;
    }
    if !left.contains(Work::VLAN) || frame.insert_vlan_behind(outer).is_ok() {
        return Ok(false);
    }
    // No headroom, or addresses in several pieces.
    *frame = frame.copy_with_vlan_behind(outer, pool).map_err(|_| Refusal::NoBounceBuffer)?;
    Ok(true)
}
