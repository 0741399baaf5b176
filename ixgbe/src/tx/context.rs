//! What frames ask of the card beside being sent, as context descriptors say it (7.2.3.2.3, 7.2.5).

use driver_core::buf::{Checksum, Frame};
use driver_core::ether::{HEADER_BYTES, MIN_FRAME_BYTES, VLAN_TAG_BYTES};
use driver_core::offload::{Headers, Work};
use driver_core::ring::TxContext;

use crate::desc::{context as bits, tx};

/// Of a transport that the card has checksums for.
struct Transport {
    /// TUCMD.L4T.
    kind: u64,
    /// The shortest header, in bytes.
    header_bytes: u16,
}

/// The transport whose checksum goes `offset` bytes behind its start. To the card it is a matter of that place alone, and of the zero that UDP does not send.
const fn transport(offset: u16) -> Option<Transport> {
    match offset {
        6 => Some(Transport { kind: bits::L4T_UDP, header_bytes: 8 }),
        16 => Some(Transport { kind: bits::L4T_TCP, header_bytes: 20 }),
        _ => None,
    }
}

/// SCTP, whose CRC has a place of its own (7.2.5).
const SCTP: Transport = Transport { kind: bits::L4T_SCTP, header_bytes: 12 };

/// The shortest IPv4 header; lengths of all IP headers are multiples of 4.
const MIN_IP_BYTES: u16 = 20;

/// The bytes before the network header. Behind an outer tag of this EtherType another may lie.
fn mac_bytes(frame: &Frame, outer: Option<u16>) -> u16 {
    HEADER_BYTES as u16 + frame.vlan_headers(outer) as u16 * VLAN_TAG_BYTES as u16
}

/// The context of the checksum that the frame asks for; `None`: it asks for none, or the card has none that would fit.
fn checksum(frame: &Frame, outer: Option<u16>) -> Option<TxContext> {
    match frame.checksum() {
        Checksum::Partial { start, offset } => at(frame, start, transport(offset)?, outer),
        // SCTP-PADDING: a CRC goes to the end of what the card is given, where a short frame has its padding already.
        Checksum::PartialSctp { start } if frame.len() >= MIN_FRAME_BYTES => at(frame, start, SCTP, outer),
        _ => None,
    }
}

/// The context for the checksum of a transport that begins at byte `start`.
fn at(frame: &Frame, start: u16, Transport { kind, header_bytes }: Transport, outer: Option<u16>) -> Option<TxContext> {
    let mac_bytes = mac_bytes(frame, outer);
    // A tag that software puts in before the card sees the frame must not make it too long.
    let room = MIN_IP_BYTES..=bits::IPLEN_MAX - VLAN_TAG_BYTES as u16;
    let ip_bytes = start.checked_sub(mac_bytes).filter(|bytes| room.contains(bytes) && bytes.is_multiple_of(4))?;
    let min_bytes = start + header_bytes;
    let mut context = bits::new(mac_bytes, ip_bytes);
    // CONTEXT-SPLIT: without IXSM and TSE the card does not look whether the packet is IPv4, nor where its header begins.
    context.words[1] |= kind;
    (context.more, context.min_bytes) = (tx::TXSM, min_bytes);
    (frame.len() >= min_bytes.into()).then_some(context)
}

/// Where the headers are of a frame that the card cuts.
pub(super) fn headers(frame: &Frame) -> Option<Headers> {
    Headers::of(frame, frame.segmentation()?).ok()
}

/// The context of a frame that is cut: 7.2.4, with all checksums inserted.
fn segmentation(headers: &Headers) -> TxContext {
    let mut context = bits::new(headers.mac_bytes, headers.ip_bytes);
    let (kind, more) = if headers.is_ipv6 { (0, 0) } else { (bits::IPV4, tx::IXSM) };
    let transport = if headers.is_tcp { bits::L4T_TCP } else { bits::L4T_UDP };
    let lengths = u64::from(headers.l4_bytes) << bits::L4LEN_SHIFT | u64::from(headers.mss_bytes) << bits::MSS_SHIFT;
    context.words[1] |= kind | transport | lengths;
    context.more = tx::TSE | tx::TXSM | more;
    context
}

/// What the card does of `driven` for this frame.
pub(super) fn done_by_card(frame: &Frame, driven: Work, outer: Option<u16>) -> Work {
    // OUTER-MISSING: it does not look into a frame without the outer tag that it was told of.
    if outer.is_some_and(|outer| !frame.begins_with_tag(outer)) {
        return Work::empty();
    }
    let mut work = driven;
    if let Some(cut) = frame.segmentation() {
        // Headers that are none are refused by name, and not here.
        let is_beyond = Headers::of(frame, cut).is_ok_and(|headers| headers.ip_bytes > bits::IPLEN_MAX);
        work.set(Work::CHECKSUM | Work::SEGMENTATION, driven.contains(Work::SEGMENTATION) && !is_beyond);
        return work;
    }
    let sums = Work::CHECKSUM | Work::SCTP_CRC;
    if work.intersects(sums)
        && matches!(frame.checksum(), Checksum::Partial { .. } | Checksum::PartialSctp { .. })
        && checksum(frame, outer).is_none()
    {
        work -= sums;
    }
    work
}

/// The context of a frame that asks for nothing that the card does not do; `None` where it asks for nothing.
pub(super) fn of(frame: &Frame, headers: Option<&Headers>, outer: Option<u16>) -> Option<TxContext> {
    let mut context = headers.map_or_else(|| checksum(frame, outer), |headers| Some(segmentation(headers)));
    if let Some(tag) = frame.vlan() {
        let context = context.get_or_insert_with(|| bits::new(mac_bytes(frame, outer), 0));
        context.words[0] |= u64::from(tag) << bits::VLAN_SHIFT;
        context.more |= tx::VLE;
    }
    if outer.is_some()
        && let Some(context) = &mut context
    {
        // Whether another frame that asks for the same has its outer tag its words do not say: each is looked at.
        context.min_bytes = u16::MAX;
    }
    context
}
