//! Where a frame's checksums are, and what they cover. No length of a packet is believed before it was compared with what is there.

use crate::buf::frame::Frame;
use crate::ether::{HEADER_BYTES, VLAN_TAG_BYTES};
use crate::offload::error::OffloadError;
use crate::offload::sum::Sum;

/// EtherTypes (IEEE 802 numbers).
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
/// Of outer tags, before IEEE 802.1ad had a number.
const OLD_SERVICE_VLAN: u16 = 0x9100;
/// VLAN tags that are looked behind.
const MAX_TAGS: usize = 2;
/// Extension headers that are looked behind.
pub(super) const MAX_EXTENSIONS: usize = 8;

/// IP protocols (IANA's numbers).
pub(super) const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
pub(super) const DESTINATION: u8 = 60;
const SCTP: u8 = 132;

const IPV4_MIN_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;

/// The IPv4 header: checked for its length, and nothing else.
pub(super) struct Ipv4Header {
    pub(super) at: usize,
    pub(super) end: usize,
}

/// Where the checksum of an IPv4 header is (RFC 791).
pub(super) const IPV4_CHECKSUM: usize = 10;

/// Where SCTP's CRC is, from the start of its header (RFC 9260, section 3.1).
pub(super) const SCTP_CRC: u16 = 8;

/// What a transport checksum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The ones' complement sum, with a pseudo header where the sum has begun with one.
    Internet,
    Crc32c,
}

/// A transport checksum: where it is, and what it covers.
pub(super) struct Transport {
    pub(super) protocol: u8,
    pub(super) is_ipv6: bool,
    /// There is a fragment header before it, although it is whole (RFC 6946).
    pub(super) is_atomic_fragment: bool,
    pub(super) algorithm: Algorithm,
    /// The pseudo header, where the protocol has one.
    pub(super) pseudo: Sum,
    /// The first byte that it covers, from the frame's start.
    pub(super) from: usize,
    /// Behind the last.
    pub(super) to: usize,
    /// Where it is, from the frame's start.
    pub(super) place: usize,
}

/// `N` bytes at `at`.
pub(super) fn bytes<const N: usize>(frame: &Frame, at: usize) -> Result<[u8; N], OffloadError> {
    let mut bytes = [0; N];
    frame.load(at, &mut bytes).map_err(|_| OffloadError::Malformed)?;
    Ok(bytes)
}

/// The EtherType behind the VLAN tags, and where what it names begins.
pub(super) fn network(frame: &Frame) -> Result<(u16, usize), OffloadError> {
    behind_tags(|at| bytes(frame, at).ok()).ok_or(OffloadError::NotIp)
}

/// The same in the bytes of a frame's first buffer.
pub(super) fn network_in(data: &[u8]) -> Option<(u16, usize)> {
    behind_tags(|at| data.get(at..)?.first_chunk().copied())
}

/// The same of a frame whose bytes at a place `word` gives.
#[inline(always)]
fn behind_tags(word: impl Fn(usize) -> Option<[u8; 2]>) -> Option<(u16, usize)> {
    let mut at = HEADER_BYTES;
    for _ in 0..=MAX_TAGS {
        match u16::from_be_bytes(word(at - 2)?) {
            VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN => at += VLAN_TAG_BYTES,
            kind => return Some((kind, at)),
        }
    }
    None
}

/// The IPv4 header of a frame that has one.
pub(super) fn ipv4_header(frame: &Frame) -> Result<Ipv4Header, OffloadError> {
    match network(frame)? {
        (IPV4, at) => ipv4_header_at(frame, at),
        _ => Err(OffloadError::NotIp),
    }
}

/// Source and destination address of an IP packet, one behind the other: 8 bytes or 32.
pub(super) fn ip_addresses<'a>(frame: &Frame, into: &'a mut [u8; 32]) -> Option<&'a [u8]> {
    let (from, len) = match network(frame).ok()? {
        (IPV4, at) => (ipv4_header_at(frame, at).ok()?.at + 12, 8),
        (IPV6, at) if bytes(frame, at).is_ok_and(|[first]| first >> 4 == 6) => (at + 8, 32),
        _ => return None,
    };
    let into = into.get_mut(..len)?;
    frame.load(from, into).ok()?;
    Some(into)
}

fn ipv4_header_at(frame: &Frame, at: usize) -> Result<Ipv4Header, OffloadError> {
    let [first] = bytes(frame, at)?;
    let len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || len < IPV4_MIN_BYTES || at + len > frame.len() {
        return Err(OffloadError::Malformed);
    }
    Ok(Ipv4Header { at, end: at + len })
}

/// The transport checksum of a frame that has one.
pub(super) fn transport(frame: &Frame) -> Result<Transport, OffloadError> {
    match network(frame)? {
        (IPV4, at) => over_ipv4(frame, at),
        (IPV6, at) => over_ipv6(frame, at),
        _ => Err(OffloadError::NotIp),
    }
}

/// The pseudo header has the destination in the IP header, whatever a source route option says.
fn over_ipv4(frame: &Frame, at: usize) -> Result<Transport, OffloadError> {
    let header = ipv4_header_at(frame, at)?;
    let fixed: [u8; IPV4_MIN_BYTES] = bytes(frame, at)?;
    let end = at + usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if end > frame.len() {
        return Err(OffloadError::Malformed);
    }
    // More fragments, or an offset.
    if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
        return Err(OffloadError::Fragment);
    }
    located(frame, fixed[9], &fixed[12..20], header.end, end, false)
}

fn over_ipv6(frame: &Frame, at: usize) -> Result<Transport, OffloadError> {
    let fixed: [u8; IPV6_BYTES] = bytes(frame, at)?;
    let mut from = at + IPV6_BYTES;
    let end = from + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    if fixed[0] >> 4 != 6 || end > frame.len() {
        return Err(OffloadError::Malformed);
    }
    let (mut next, mut is_atomic_fragment) = (fixed[6], false);
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
            return located(frame, next, &fixed[8..40], from, end, true).map(|found| Transport { is_atomic_fragment, ..found });
        }
        is_atomic_fragment |= next == FRAGMENT;
        let [after, len, high, low] = bytes(frame, from)?;
        let is_part = next == FRAGMENT && u16::from_be_bytes([high, low]) & 0xfff9 != 0;
        if is_part {
            return Err(OffloadError::Fragment);
        }
        // On its way by a routing header, a packet names its next stop, and the sum has its last (RFC 8200 section 8.1).
        if next == ROUTING && low != 0 {
            return Err(OffloadError::Protocol(ROUTING));
        }
        from += if next == FRAGMENT { 8 } else { 8 + usize::from(len) * 8 };
        next = after;
    }
    Err(OffloadError::Protocol(next))
}

/// The checksum of `protocol`, whose bytes are `from` to `end`.
fn located(frame: &Frame, protocol: u8, addresses: &[u8], from: usize, end: usize, is_ipv6: bool) -> Result<Transport, OffloadError> {
    let (place, min_bytes) = match (protocol, is_ipv6) {
        (TCP, _) => (16, 20),
        (UDP, _) => (6, 8),
        (SCTP, _) => (usize::from(SCTP_CRC), 12),
        (ICMP, false) | (ICMPV6, true) => (2, 4),
        _ => return Err(OffloadError::Protocol(protocol)),
    };
    if from + min_bytes > end {
        return Err(OffloadError::Malformed);
    }
    let mut to = end;
    if protocol == UDP {
        // What is behind the length that UDP itself gives is not summed.
        let len = usize::from(u16::from_be_bytes(bytes(frame, from + 4)?));
        if len < min_bytes || from + len > end {
            return Err(OffloadError::Malformed);
        }
        to = from + len;
    }
    let mut pseudo = Sum::new();
    if !matches!(protocol, SCTP | ICMP) {
        pseudo.add(addresses);
        pseudo.add(&((to - from) as u32).to_be_bytes());
        pseudo.add(&[0, protocol]);
    }
    let algorithm = if protocol == SCTP { Algorithm::Crc32c } else { Algorithm::Internet };
    Ok(Transport { protocol, is_ipv6, is_atomic_fragment: false, algorithm, pseudo, from, to, place: from + place })
}
