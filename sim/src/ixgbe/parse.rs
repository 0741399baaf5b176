//! What the card reads out of a received frame: VLAN tag, packet type, checksums, and the bytes that RSS hashes (7.1.6.2, 7.1.2.8).

use std::ops::Range;

use super::offload::crc32c;
use super::tags::{TAG_BYTES, TagTypes, tag_at};

/// Packet type bits of the receive descriptor (7.1.6.2, bits 4 to 16).
pub(super) mod packet_type {
    pub(in super::super) const IPV4: u32 = 1 << 4;
    pub(in super::super) const IPV4_OPTIONS: u32 = 1 << 5;
    pub(in super::super) const IPV6: u32 = 1 << 6;
    pub(in super::super) const IPV6_EXTENSIONS: u32 = 1 << 7;
    pub(in super::super) const TCP: u32 = 1 << 8;
    pub(in super::super) const UDP: u32 = 1 << 9;
    pub(in super::super) const SCTP: u32 = 1 << 10;
}

/// An Ethernet header without tags.
const ETHERNET_BYTES: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86DD;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// Whether there is an outer tag, where the card expects one.
    pub has_outer: bool,
    /// The control information of the VLAN tag that is filtered and stripped, where there is one: the frame's first, or the one behind its outer one.
    pub vlan: Option<u16>,
    /// Where what the type names begins: behind all tags that the card knows.
    pub l2_bytes: usize,
    /// Bits of [`packet_type`].
    pub packet_type: u32,
    /// Where source and destination address lie, one behind the other.
    pub addresses: Option<Range<usize>>,
    /// The type behind the tag, or 802.3's length.
    pub ethertype: Option<u16>,
    /// What is in an IP packet, by its number, where it is no fragment.
    pub protocol: Option<u8>,
    /// Where that begins.
    pub l4_at: usize,
    /// Where source and destination port lie, of a TCP or UDP packet that is not a fragment.
    pub ports: Option<Range<usize>>,
    /// Whether the IPv4 header's checksum is right.
    pub ip_checksum: Option<bool>,
    /// Whether the TCP or UDP checksum, or SCTP's CRC, is right, where there is one.
    pub l4_checksum: Option<bool>,
}

/// A TCP segment that may be coalesced, by its places in the frame (7.11.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TcpSegment {
    pub ip_at: usize,
    pub tcp_at: usize,
    pub payload: Range<usize>,
    pub seq: u32,
    pub flags: u8,
}

/// TCP flags, and the options of a segment whose only one is the time stamp (RFC 7323, appendix A).
const TCP_ACK: u8 = 1 << 4;
const TCP_PSH: u8 = 1 << 3;
const TIMESTAMP_OPTION: [u8; 4] = [1, 1, 8, 10];
/// Congestion was experienced (RFC 3168).
const ECN_CE: u8 = 3;

impl Headers {
    pub(super) fn is_tcp(&self) -> bool {
        self.has(packet_type::TCP)
    }

    /// The segment that may be coalesced: right, with data, and nothing but ACK and PSH in its flags and a time stamp in its options.
    pub(super) fn segment(&self, frame: &[u8]) -> Option<TcpSegment> {
        let plain = self.is_tcp() && !self.has(packet_type::IPV4_OPTIONS | packet_type::IPV6_EXTENSIONS);
        if !plain || self.ip_checksum == Some(false) || self.l4_checksum != Some(true) {
            return None;
        }
        let (addresses, tcp_at) = (self.addresses.clone()?, self.ports.clone()?.start);
        let is_v4 = addresses.len() == 8;
        let ip_at = addresses.start - if is_v4 { 12 } else { 8 };
        let class = u8::try_from(be16(frame, ip_at)? >> if is_v4 { 0 } else { 4 } & 0xFF).ok()?;
        let end = ip_at + usize::from(if is_v4 { be16(frame, ip_at + 2)? } else { be16(frame, ip_at + 4)?.checked_add(40)? });
        let tcp = frame.get(tcp_at..end)?;
        let (words, flags) = (tcp.get(12)? >> 4, *tcp.get(13)?);
        let has_fit_options = words == 5 || words == 8 && tcp.get(20..24)? == TIMESTAMP_OPTION;
        let has_fit_flags = flags & !TCP_PSH == TCP_ACK && tcp.get(12)? & 0xF == 0;
        let payload = tcp_at + 4 * usize::from(words)..end;
        let fits = class & 3 != ECN_CE && has_fit_options && has_fit_flags && !payload.is_empty();
        fits.then_some(TcpSegment { ip_at, tcp_at, payload, seq: u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?), flags })
    }

    /// Source and destination port of TCP, UDP or SCTP, in the order of the wire.
    pub(super) fn l4_ports(&self, frame: &[u8]) -> Option<[u8; 4]> {
        let has_ports = self.has(packet_type::TCP | packet_type::UDP | packet_type::SCTP);
        frame.get(self.l4_at..)?.first_chunk().copied().filter(|_| has_ports)
    }

    pub(super) fn has(&self, bits: u32) -> bool {
        self.packet_type & bits != 0
    }
}

fn be16(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}

/// Reads the headers of `frame`, whose tags are of these types.
#[inline]
pub(super) fn parse(frame: &[u8], types: TagTypes) -> Headers {
    let mut headers = Headers { l2_bytes: ETHERNET_BYTES, ..Headers::default() };
    // What is cut short has fewer headers, as for the card.
    let _ = parse_into(frame, types, &mut headers);
    headers
}

fn parse_into(frame: &[u8], types: TagTypes, headers: &mut Headers) -> Option<()> {
    let mut at = tag_at(false);
    let mut ethertype = be16(frame, at)?;
    if let Some(outer) = types.outer {
        // A frame without its outer tag is not looked into: to no filter but those of addresses, and to no offload, is it more than bytes.
        if ethertype != outer {
            return None;
        }
        headers.has_outer = true;
        at = tag_at(true);
        headers.l2_bytes += TAG_BYTES;
        ethertype = be16(frame, at)?;
    }
    if ethertype == types.inner {
        headers.vlan = be16(frame, at + 2);
        at += TAG_BYTES;
        headers.l2_bytes += TAG_BYTES;
        ethertype = be16(frame, at)?;
    }
    at += 2;
    headers.ethertype = Some(ethertype);
    match ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(frame, at, headers),
        ETHERTYPE_IPV6 => parse_ipv6(frame, at, headers),
        _ => None,
    }
}

fn parse_ipv4(frame: &[u8], at: usize, headers: &mut Headers) -> Option<()> {
    let packet = frame.get(at..)?;
    let first = *packet.first()?;
    let header_len = usize::from(first & 0xF) * 4;
    let header = packet.get(..header_len.max(20))?;
    if first >> 4 != 4 || header_len < 20 {
        return None;
    }
    headers.packet_type |= if header_len > 20 { packet_type::IPV4 | packet_type::IPV4_OPTIONS } else { packet_type::IPV4 };
    headers.addresses = Some(at + 12..at + 20);
    headers.ip_checksum = Some(fold(sum(header)) == 0xFFFF);
    let total_len = usize::from(be16(header, 2)?);
    let is_fragment = be16(header, 6)? & 0x3FFF != 0;
    if is_fragment {
        return None;
    }
    let payload = packet.get(header_len..total_len)?;
    parse_l4(payload, at + header_len, header[9], sum(&header[12..20]), true, headers)
}

fn parse_ipv6(frame: &[u8], at: usize, headers: &mut Headers) -> Option<()> {
    let packet = frame.get(at..)?;
    let header = packet.get(..40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    headers.packet_type |= packet_type::IPV6;
    headers.addresses = Some(at + 8..at + 40);
    let end = 40 + usize::from(be16(header, 4)?);
    let packet = packet.get(..end)?;
    let (mut next, mut offset) = (header[6], 40);
    // Hop-by-hop options, routing, destination options; a fragment ends the walk.
    while matches!(next, 0 | 43 | 60) {
        headers.packet_type |= packet_type::IPV6_EXTENSIONS;
        let extension = packet.get(offset..offset + 2)?;
        next = extension[0];
        offset += 8 + usize::from(extension[1]) * 8;
    }
    if next == 44 {
        headers.packet_type |= packet_type::IPV6_EXTENSIONS;
        return None;
    }
    parse_l4(packet.get(offset..)?, at + offset, next, sum(&header[8..40]), false, headers)
}

fn parse_l4(payload: &[u8], at: usize, protocol: u8, addresses: u64, checksum_optional: bool, headers: &mut Headers) -> Option<()> {
    (headers.protocol, headers.l4_at) = (Some(protocol), at);
    // The pseudo header's length and protocol, in the byte order that `sum` uses.
    let pseudo = addresses + u64::from((payload.len() as u16).to_be()) + u64::from(u16::from(protocol).to_be());
    match protocol {
        TCP if payload.len() >= 20 => headers.packet_type |= packet_type::TCP,
        UDP if payload.len() >= 8 => {
            headers.packet_type |= packet_type::UDP;
            if be16(payload, 6)? == 0 && checksum_optional {
                headers.ports = Some(at..at + 4);
                return None;
            }
        }
        SCTP => {
            headers.packet_type |= packet_type::SCTP;
            let crc = u32::from_le_bytes(*payload.get(8..)?.first_chunk()?);
            headers.l4_checksum = Some(crc32c(&[&payload[..8], &[0; 4], &payload[12..]]) == crc);
            return None;
        }
        _ => return None,
    }
    headers.ports = Some(at..at + 4);
    headers.l4_checksum = Some(fold(pseudo + sum(payload)) == 0xFFFF);
    Some(())
}

/// The ones' complement sum of 16-bit words, not folded, words taken in the processor's order: a sum of all ones is the same in both orders.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut tail = [0; 4];
    tail[..rest.len()].copy_from_slice(rest);
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>() + u64::from(u32::from_ne_bytes(tail))
}

fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
    let sum = (sum & 0xFFFF) + (sum >> 16 & 0xFFFF) + (sum >> 32);
    let sum = (sum & 0xFFFF) + (sum >> 16);
    ((sum & 0xFFFF) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: TagTypes = TagTypes { inner: 0x8100, outer: None };

    /// An IPv4 header whose checksum is the textbook's b861, before a UDP packet without a checksum.
    fn udp4() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
        frame.extend([0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7]);
        frame.resize(14 + 0x73, 0);
        frame
    }

    #[test]
    fn ipv4_header_checksum() {
        let mut frame = udp4();
        let headers = parse(&frame, TAGS);
        assert_eq!(headers.packet_type, packet_type::IPV4 | packet_type::UDP);
        assert_eq!((headers.ip_checksum, headers.l4_checksum), (Some(true), None));
        assert_eq!(headers.ports, Some(34..38));
        frame[20] ^= 1;
        assert_eq!(parse(&frame, TAGS).ip_checksum, Some(false));
    }

    #[test]
    fn udp_checksum_of_odd_length() {
        let mut frame = udp4();
        let len = frame.len() - 34;
        assert_eq!(len % 2, 1);
        frame[38..40].copy_from_slice(&(len as u16).to_be_bytes());
        // By hand: the pseudo header is c0a8 + 0001 + c0a8 + 00c7 + 0011 + 005f, the UDP header adds the length 005f, the payload one byte, ab.
        *frame.last_mut().unwrap() = 0xab;
        let words = [0xc0a8u32, 0x0001, 0xc0a8, 0x00c7, 0x0011, 0x005f, 0x005f, 0xab00];
        let sum: u32 = words.iter().sum();
        let checksum = !((sum & 0xFFFF) + (sum >> 16)) as u16;
        frame[40..42].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(parse(&frame, TAGS).l4_checksum, Some(true));
        frame[41] ^= 0x10;
        assert_eq!(parse(&frame, TAGS).l4_checksum, Some(false));
    }

    #[test]
    fn vlan_and_cut_short() {
        let mut frame = udp4();
        frame.splice(12..12, [0x81, 0x00, 0x60, 0x07]);
        let headers = parse(&frame, TAGS);
        assert_eq!(headers.vlan, Some(0x6007));
        assert!(headers.has(packet_type::UDP));
        for len in 0..frame.len() {
            parse(&frame[..len], TAGS);
        }
        assert_eq!(parse(&frame[..17], TAGS).packet_type, 0);
    }
    #[test]
    fn behind_an_outer_tag() {
        let types = TagTypes { inner: 0x8100, outer: Some(0x88a8) };
        let plain = udp4();
        let with = |tags: &[u8]| [&plain[..12], tags, &plain[12..]].concat();
        let seen = |tags: &[u8]| {
            let headers = parse(&with(tags), types);
            (headers.has_outer, headers.vlan, headers.l2_bytes, headers.has(packet_type::UDP), headers.ethertype)
        };
        assert_eq!(seen(&[0x88, 0xa8, 0, 5, 0x81, 0, 0x60, 7]), (true, Some(0x6007), 22, true, Some(0x0800)));
        assert_eq!(seen(&[0x88, 0xa8, 0, 5]), (true, None, 18, true, Some(0x0800)));
        assert_eq!(seen(&[0x81, 0, 0x60, 7]), (false, None, 14, false, None), "no outer tag");
        assert_eq!(seen(&[]), (false, None, 14, false, None));
        // Both of one type: a single one is the outer.
        let headers = parse(&with(&[0x81, 0, 0x60, 7]), TagTypes { inner: 0x8100, outer: Some(0x8100) });
        assert_eq!((headers.has_outer, headers.vlan, headers.has(packet_type::UDP)), (true, None, true));
    }
}
