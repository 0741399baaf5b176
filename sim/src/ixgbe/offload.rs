//! What transmit descriptors ask for: checksums, segmentation, and VLAN tags, as their context describes the packet (7.2.3.2.3, 7.2.4, 7.2.5).

use std::ops::Range;

/// A context descriptor, as it came (7.2.3.2.3).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context {
    words: [u64; 2],
    /// Whether it was given since the queue began anew.
    given: bool,
}

/// TUCMD.L4T.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum L4 {
    Udp,
    Tcp,
    Sctp,
}

/// POPTS of a data descriptor: insert the IPv4 header's checksum, and the transport's.
pub(super) const IXSM: u64 = 1 << 40;
pub(super) const TXSM: u64 = 1 << 41;
/// The shortest headers that MACLEN and IPLEN can mean.
const ETHERNET_BYTES: usize = 14;
const SHORTEST_IP: usize = 20;
/// TUCMD.IPV4.
const IPV4: u64 = 1 << 10;

impl Context {
    pub(super) fn new(words: [u64; 2]) -> Self {
        Self { words, given: true }
    }

    /// What is wrong with it for a packet whose first data descriptor is `first`, which asks for something that a context says.
    pub(super) fn problem(&self, first: u64) -> Option<&'static str> {
        let Range { start, end } = self.ip();
        if !self.given {
            Some("a packet asks for what no context describes")
        } else if start < ETHERNET_BYTES {
            Some("a context's MACLEN is shorter than an Ethernet header")
        } else if first & (TXSM | IXSM) != 0 && end - start < SHORTEST_IP {
            Some("a context's IPLEN is shorter than an IP header")
        } else {
            None
        }
    }

    pub(super) fn vlan(&self) -> u16 {
        (self.words[0] >> 16) as u16
    }

    fn ip(&self) -> Range<usize> {
        let at = (self.words[0] >> 9 & 0x7F) as usize;
        at..at + (self.words[0] & 0x1FF) as usize
    }

    fn is_ipv4(&self) -> bool {
        self.words[1] & IPV4 != 0
    }

    fn l4(&self) -> Option<L4> {
        [L4::Udp, L4::Tcp, L4::Sctp].get((self.words[1] >> 11 & 3) as usize).copied()
    }

    /// Where the packet's payload starts, where it is segmented.
    fn header_bytes(&self) -> usize {
        self.ip().end + (self.words[1] >> 40 & 0xFF) as usize
    }

    fn mss(&self) -> usize {
        (self.words[1] >> 48) as usize
    }
}

/// The ones' complement sum of big-endian 16-bit words, folded.
pub(super) fn sum(bytes: &[u8], initial: u32) -> u16 {
    let mut sum = initial;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    ((sum & 0xFFFF) + (sum >> 16)) as u16
}

fn put16(packet: &mut [u8], at: usize, value: u16) {
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// Inserts what `first`, the packet's first data descriptor, asks for. `l4_bytes` is added to the transport's sum: the length that software
/// leaves out of the pseudo header of a packet that is to be segmented. Returns what is wrong with the request.
pub(super) fn insert_checksums(packet: &mut [u8], first: u64, context: &Context, l4_bytes: u32) -> Option<&'static str> {
    let ip = context.ip();
    if first & IXSM != 0 {
        if !context.is_ipv4() || ip.len() < 20 || packet.len() < ip.end {
            return Some("an IPv4 checksum was asked for without an IPv4 header");
        }
        put16(packet, ip.start + 10, 0);
        let checksum = !sum(&packet[ip.clone()], 0);
        put16(packet, ip.start + 10, checksum);
    }
    if first & TXSM == 0 {
        return None;
    }
    let (at, len) = match context.l4() {
        Some(L4::Udp) => (6, 8),
        Some(L4::Tcp) => (16, 20),
        Some(L4::Sctp) => return insert_crc32c(packet, ip.end),
        None => return Some("a context's L4T is reserved"),
    };
    if packet.len() < ip.end + len {
        return Some("a packet is too short for the header whose checksum was asked for");
    }
    // The field holds the pseudo header's sum (7.2.5.2).
    let checksum = match !sum(&packet[ip.end..], l4_bytes) {
        0 if len == 8 => 0xFFFF,
        checksum => checksum,
    };
    put16(packet, ip.end + at, checksum);
    None
}

fn insert_crc32c(packet: &mut [u8], at: usize) -> Option<&'static str> {
    if packet.len() < at + 12 {
        return Some("a packet is too short for the header whose checksum was asked for");
    }
    packet[at + 8..at + 12].fill(0);
    let crc = crc32c(&[&packet[at..]]);
    packet[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
    None
}

/// The CRC-32C of the parts, one behind the other (RFC 9260, appendix A).
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { 0x82F6_3B78 } else { 0 });
    !parts.iter().copied().flatten().fold(!0, step)
}

/// How a packet is cut (7.2.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct Segmentation {
    context: Context,
    first: u64,
    header_bytes: usize,
    payload_bytes: usize,
    mss: usize,
    /// Which TCP flags the first, the middle, and the last segment keep.
    flags: [u16; 3],
}

impl Segmentation {
    /// Fails where the packet cannot be cut so. `flags` are DTXTCPFLGL and DTXTCPFLGH.
    pub(super) fn new(packet_bytes: usize, first: u64, context: Context, flags: [u32; 2]) -> Result<Self, &'static str> {
        let (header_bytes, mss) = (context.header_bytes(), context.mss());
        let l4_bytes = match context.l4() {
            Some(L4::Tcp) => 20,
            Some(L4::Udp) => 8,
            _ => return Err("segmentation was asked for of neither TCP nor UDP"),
        };
        let ip_bytes = if context.is_ipv4() { 20 } else { 40 };
        if context.ip().len() < ip_bytes || header_bytes < context.ip().end + l4_bytes {
            return Err("segmentation was asked for with headers too short");
        }
        if mss == 0 {
            return Err("segmentation was asked for with MSS 0");
        }
        if first & TXSM == 0 || context.is_ipv4() && first & IXSM == 0 {
            return Err("segmentation was asked for without its checksums");
        }
        let payload_bytes = packet_bytes.checked_sub(header_bytes).filter(|&bytes| bytes > 0);
        let payload_bytes = payload_bytes.ok_or("segmentation was asked for without a payload")?;
        let flags = [flags[0] as u16 & 0xFFF, (flags[0] >> 16) as u16 & 0xFFF, flags[1] as u16 & 0xFFF];
        Ok(Self { context, first, header_bytes, payload_bytes, mss, flags })
    }

    pub(super) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    pub(super) fn count(&self) -> usize {
        self.payload_bytes.div_ceil(self.mss)
    }

    /// The length of the longest segment.
    pub(super) fn longest(&self) -> usize {
        self.header_bytes + self.mss.min(self.payload_bytes)
    }

    /// Writes segment `index` of `packet` into `segment`.
    pub(super) fn cut(&self, packet: &[u8], index: usize, segment: &mut Vec<u8>) {
        let payload = self.header_bytes + index * self.mss;
        let part = &packet[payload..packet.len().min(payload + self.mss)];
        segment.clear();
        segment.extend_from_slice(&packet[..self.header_bytes]);
        segment.extend_from_slice(part);
        let ip = self.context.ip();
        let packet_bytes = segment.len() - ip.start;
        let ip_payload = (segment.len() - ip.end) as u16;
        if self.context.is_ipv4() {
            put16(segment, ip.start + 2, packet_bytes as u16);
            let id = u16::from_be_bytes([packet[ip.start + 4], packet[ip.start + 5]]);
            put16(segment, ip.start + 4, id.wrapping_add(index as u16));
        } else {
            put16(segment, ip.start + 4, (packet_bytes - 40) as u16);
        }
        if self.context.l4() == Some(L4::Tcp) {
            self.advance_tcp(segment, ip.end, index);
        } else {
            put16(segment, ip.end + 4, ip_payload);
        }
        // `new` has seen to it that nothing can be wrong.
        let _ = insert_checksums(segment, self.first, &self.context, ip_payload.into());
    }

    fn advance_tcp(&self, segment: &mut [u8], at: usize, index: usize) {
        let Some(sequence) = segment[at + 4..].first_chunk_mut::<4>() else { return };
        *sequence = u32::from_be_bytes(*sequence).wrapping_add((index * self.mss) as u32).to_be_bytes();
        let mut keep = 0xFFF;
        if self.count() > 1 {
            keep = self.flags[if index == 0 { 0 } else { 1 + usize::from(index + 1 == self.count()) }];
        }
        let flags = u16::from_be_bytes([segment[at + 12], segment[at + 13]]);
        put16(segment, at + 12, flags & (0xF000 | keep));
    }
}
