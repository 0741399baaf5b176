//! What every transmit queue asks of a frame, whatever its device.

use crate::buf::frame::{Frame, FrameError};
use crate::ether::{FrameLimits, HEADER_BYTES, padding_bytes};
use crate::queue::contract::Refusal;

/// Whether a frame has a length that can be sent, and its bytes lie in no more than `max_segments` places.
pub(super) fn check(frame: &Frame, limits: FrameLimits, max_segments: usize) -> Result<(), Refusal> {
    let len_bytes = frame.len();
    if len_bytes < HEADER_BYTES {
        return Err(Refusal::TooShort { len_bytes });
    }
    let max_bytes = limits.longest(frame.has_vlan_header());
    if len_bytes > max_bytes {
        return Err(Refusal::TooLong { len_bytes, max_bytes });
    }
    // Padding goes behind the last segment, which may have been empty until then.
    let gets_bytes = padding_bytes(len_bytes) > 0 && frame.segments().last().is_some_and(<[u8]>::is_empty);
    let segments = frame.segments().filter(|segment| !segment.is_empty()).count() + usize::from(gets_bytes);
    if segments > max_segments {
        return Err(Refusal::TooManySegments { segments, max: max_segments });
    }
    Ok(())
}

/// Zeros behind a frame that is shorter than the wire demands.
pub(super) fn pad(frame: &mut Frame) -> Result<(), FrameError> {
    match padding_bytes(frame.len()) {
        0 => Ok(()),
        missing => frame.put(missing).map(|zeros| zeros.fill(0)),
    }
}
