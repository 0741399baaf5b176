//! Which frames the device cuts, and what their header says (5.1.6.2).

use driver_core::buf::meta::Checksum;
use driver_core::buf::{Frame, SegmentationKind};
use driver_core::offload::Headers;

use crate::desc::{HDR_F_NEEDS_CSUM, HDR_GSO_ECN, HDR_GSO_TCPV4, HDR_GSO_TCPV6, HDR_GSO_UDP_L4, Header};
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

/// The headers of a frame that asks to be cut, if the device does it.
pub(crate) fn by_device(frame: &Frame, negotiated: Features) -> bool {
    let Some(cut) = frame.segmentation() else { return false };
    let feature = match cut.kind {
        SegmentationKind::Tcp4 => Features::HOST_TSO4,
        SegmentationKind::Tcp6 => Features::HOST_TSO6,
        SegmentationKind::Udp => Features::HOST_USO,
        _ => return false,
    };
    // 5.1.6.2.1: no "TCP packets requiring segmentation offload which have the Explicit Congestion Notification bit set, unless the VIRTIO_NET_F_HOST_ECN feature
    // is negotiated". Headers that are none are refused by name, and not here.
    let is_beyond =
        |headers: Headers| headers.packet_bytes() > MAX_PACKET_BYTES || headers.has_ecn(frame) && !negotiated.contains(Features::HOST_ECN);
    negotiated.contains(feature) && !Headers::of(frame, cut).is_ok_and(is_beyond)
}

/// The device's header of a frame that it cuts, whose own are written as the device wants them; `None`: it asks for nothing of the kind.
pub(crate) fn header(frame: &mut Frame) -> Option<Header> {
    let headers = Headers::of(frame, frame.segmentation()?).ok()?;
    headers.complete(frame);
    let Checksum::Partial { start, offset } = headers.partial() else { return None };
    let kind = match (headers.is_tcp, headers.is_ipv6) {
        (true, false) => HDR_GSO_TCPV4,
        (true, true) => HDR_GSO_TCPV6,
        (false, _) => HDR_GSO_UDP_L4,
    };
    let ecn = if headers.has_ecn(frame) { HDR_GSO_ECN } else { 0 };
    // A header that lies in one buffer: its length has 16 bits.
    let hdr_len = headers.bytes() as u16;
    Some(Header {
        flags: HDR_F_NEEDS_CSUM,
        gso_type: kind | ecn,
        hdr_len,
        gso_size: headers.mss_bytes,
        csum_start: start,
        csum_offset: offset,
        num_buffers: 0,
    })
}
