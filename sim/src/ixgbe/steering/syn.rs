//! The SYN filter: SYNQF (7.1.2.4, 8.2.3.7.20).

use crate::ixgbe::parse::Headers;

const ENABLE: u32 = 1;
const RX_QUEUE_SHIFT: u32 = 1;
/// SYNQFP: the SYN filter goes before the 5-tuple filters.
const FIRST: u32 = 1 << 31;
/// SYN among TCP's flags, and where these are in the header.
const SYN: u8 = 1 << 1;
const FLAGS_AT: usize = 13;

pub(super) fn is_on(synqf: u32) -> bool {
    synqf & ENABLE != 0
}

pub(super) fn is_first(synqf: u32) -> bool {
    synqf & FIRST != 0
}

/// The queue of a segment with SYN, with ACK or without.
pub(super) fn queue(synqf: u32, frame: &[u8], headers: &Headers) -> Option<u32> {
    let tcp_at = headers.ports.clone().filter(|_| is_on(synqf) && headers.is_tcp())?.start;
    let flags = frame.get(tcp_at + FLAGS_AT)?;
    (flags & SYN != 0).then_some(synqf >> RX_QUEUE_SHIFT & 0x7F)
}
