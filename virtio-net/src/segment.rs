//! Which frames the device cuts, and what their header says (5.1.6.2).

use driver_core::buf::{Frame, Segmentation, SegmentationKind};
use driver_core::offload::Headers;

use crate::desc::{HDR_GSO_ECN, HDR_GSO_TCPV4, HDR_GSO_TCPV6, HDR_GSO_UDP_L4, Header};
use crate::regs::Features;

/// The longest packet, IP's header included: lengths in packets, of which a device may hand one on uncut, have 16 bits.
const MAX_PACKET_BYTES: usize = 65_535;
/// The most bytes behind the shortest headers, IPv6's and UDP's being longer than IPv4's with UDP's.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_PACKET_BYTES - 28;
/// Everything by which a device cuts.
pub(crate) const CUTS: Features = Features::HOST_TSO4.union(Features::HOST_TSO6).union(Features::HOST_USO);
/// The same, and what goes with it.
const ALL: Features = CUTS.union(Features::HOST_ECN).union(Features::GUEST_HDRLEN);

/// What of `features` frames are judged by.
pub(crate) fn of(features: Features) -> Features {
    features & ALL
}

/// Whether the device does it, of a frame that asks to be cut.
pub(crate) fn by_device(frame: &Frame, negotiated: Features) -> bool {
    let Some(cut) = frame.segmentation() else { return false };
    // Headers that are none are refused by name, and not here.
    feature(cut.kind).is_some_and(|feature| negotiated.contains(feature))
        && Headers::of(frame, cut).map_or(true, |headers| is_within(frame, &headers, negotiated))
}

/// By which feature a device cuts frames of this kind.
fn feature(kind: SegmentationKind) -> Option<Features> {
    Some(match kind {
        SegmentationKind::Tcp4 => Features::HOST_TSO4,
        SegmentationKind::Tcp6 => Features::HOST_TSO6,
        SegmentationKind::Udp => Features::HOST_USO,
        _ => return None,
    })
}

/// Whether a frame is not longer than devices cut. 5.1.6.2.1: no "TCP packets requiring segmentation offload which have the Explicit Congestion Notification bit set, unless
/// the VIRTIO_NET_F_HOST_ECN feature is negotiated".
fn is_within(frame: &Frame, headers: &Headers, negotiated: Features) -> bool {
    headers.packet_bytes() <= MAX_PACKET_BYTES && (negotiated.contains(Features::HOST_ECN) || !headers.has_ecn(frame))
}

/// The device's header of a frame that it cuts, whose own are written as the device wants them; `None`: it asks for nothing of the kind.
pub(crate) fn header(frame: &mut Frame) -> Option<Header> {
    let headers = Headers::of(frame, frame.segmentation()?).ok()?;
    Some(header_of(frame, &headers))
}

/// The same of a frame of so many bytes which the device cuts by `cut` into none that is longer than `longest`, and how many those are.
#[inline(always)]
pub(crate) fn whole(frame: &mut Frame, cut: Segmentation, bytes: usize, negotiated: Features, longest: usize) -> Option<(Header, u32)> {
    let headers = Headers::of_bytes(frame, cut, bytes).ok()?;
    let does = feature(cut.kind).is_some_and(|feature| negotiated.contains(feature)) && is_within(frame, &headers, negotiated);
    let fits = headers.payload_bytes <= MAX_PAYLOAD_BYTES && headers.longest() <= longest;
    (does && fits).then(|| (header_of(frame, &headers), headers.segments() as u32))
}

fn header_of(frame: &mut Frame, headers: &Headers) -> Header {
    headers.complete(frame);
    let kind = match (headers.is_tcp, headers.is_ipv6) {
        (true, false) => HDR_GSO_TCPV4,
        (true, true) => HDR_GSO_TCPV6,
        (false, _) => HDR_GSO_UDP_L4,
    };
    let ecn = if headers.has_ecn(frame) { HDR_GSO_ECN } else { 0 };
    let (start, offset) = headers.partial_place();
    // A header that lies in one buffer: its length has 16 bits.
    Header { gso_type: kind | ecn, hdr_len: headers.bytes() as u16, gso_size: headers.mss_bytes, ..Header::to_fill_in(start, offset) }
}
