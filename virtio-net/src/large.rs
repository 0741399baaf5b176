//! Large received frames, which the device put together from segments: when they are taken, and what their header says (5.1.6.3.1, 5.1.6.4).

use driver_core::buf::meta::Checksum;
use driver_core::buf::{Frame, Segmentation, SegmentationKind};
use driver_core::device::Settings;

use crate::desc::{HDR_GSO_ECN, HDR_GSO_TCPV4, HDR_GSO_TCPV6, HDR_GSO_UDP_L4, Header, NET_HDR_BYTES};
use crate::regs::Features;

/// Everything by which a device makes large frames.
pub(crate) const FRAMES: Features = Features::GUEST_TSO4.union(Features::GUEST_TSO6).union(Features::GUEST_USO4).union(Features::GUEST_USO6);
/// The same, and what goes with it.
pub(crate) const ALL: Features = FRAMES.union(Features::GUEST_ECN);

/// The longest frame with a header, by 5.1.6.3.1: what a receive queue has to have room for.
const MAX_USED_BYTES: u32 = 65_562;
/// The longest frame.
pub(crate) const MAX_FRAME_BYTES: usize = MAX_USED_BYTES as usize - NET_HDR_BYTES;

/// What is taken of `features` for large frames; what is not, is said. `room_bytes`: what the buffers of a receive queue hold.
pub(crate) fn guest_offloads(name: &str, features: Features, settings: &Settings, room_bytes: u64) -> Features {
    let offered = features & ALL;
    if !settings.coalesces() {
        return Features::empty();
    }
    let why = if !features.contains(Features::MRG_RXBUF) {
        "no buffer holds a large frame, and frames are to lie in one each"
    } else if !features.contains(Features::GUEST_CSUM) {
        "the device is to say nothing of checksums"
    } else if room_bytes < MAX_USED_BYTES.into() {
        "the buffers of a receive queue hold none: give it a longer ring, or larger buffers"
    } else {
        return offered;
    };
    log::warn!("{name}: the device does not put received segments together, since {why}: they come one by one");
    Features::empty()
}

/// What of `features` received frames are judged by.
pub(crate) fn of(features: Features) -> Features {
    features & ALL
}

/// Says of a frame how it is cut again, by its header, and returns of how many segments it is; `None`: it is not what its header says, or that was not
/// negotiated. 5.1.6.4.2: the driver "MUST NOT rely on hdr_len to be correct": headers end where they say themselves.
pub(crate) fn mark(frame: &mut Frame, header: &Header, negotiated: Features) -> Option<u16> {
    // 5.1.6.4.1: of a large frame at least the checksum is known.
    if matches!(frame.checksum(), Checksum::Unknown) {
        return None;
    }
    let is_ecn = header.gso_type & HDR_GSO_ECN != 0;
    let kind = match header.gso_type & !HDR_GSO_ECN {
        HDR_GSO_TCPV4 => SegmentationKind::Tcp4,
        HDR_GSO_TCPV6 => SegmentationKind::Tcp6,
        HDR_GSO_UDP_L4 if !is_ecn => SegmentationKind::Udp,
        _ => return None,
    };
    let (cut, headers) = Segmentation::of_received(frame, kind, header.gso_size).ok()?;
    let mut needed = match (headers.is_tcp, headers.is_ipv6) {
        (true, false) => Features::GUEST_TSO4,
        (true, true) => Features::GUEST_TSO6,
        (false, false) => Features::GUEST_USO4,
        (false, true) => Features::GUEST_USO6,
    };
    needed.set(Features::GUEST_ECN, is_ecn);
    if !negotiated.contains(needed) {
        return None;
    }
    let segments = headers.segments().try_into().ok()?;
    if segments > 1 {
        frame.set_segmentation(Some(cut));
        frame.set_coalesced(Some(segments));
    }
    Some(segments)
}
