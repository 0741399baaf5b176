//! Segments of a flow put together as a kernel behind the card does it (Linux: GRO): one large frame for the driver (5.1.6.4), and what its header says.

use super::gso::{Found, TCP, UDP, folded, header_of_v4, places, pseudo, set, sum, word};
use super::regs::*;

const ACK: u8 = 0x10;
const CWR: u8 = 0x80;
const ECE: u8 = 0x40;
/// PSH and FIN, behind which nothing is joined.
const ENDS: u8 = 0x09;
/// The longest packet that IP describes.
const MOST: usize = 65_535;

/// What the header of a large frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gso {
    pub(super) kind: u8,
    pub(super) hdr_len: u16,
    pub(super) size: u16,
    pub(super) csum_start: u16,
    pub(super) csum_offset: u16,
}

/// A frame for the driver, and what its header says where it was put together.
pub(super) struct Arrived {
    pub(super) bytes: Vec<u8>,
    pub(super) gso: Option<Gso>,
}

/// A frame that grows.
pub(super) struct Large {
    bytes: Vec<u8>,
    found: Found,
    l4: usize,
    size: usize,
    count: usize,
    kind: u32,
    is_over: bool,
}

impl Large {
    /// From the first segment, where more may follow. `takes`: whether the driver takes large frames of such a feature.
    pub(super) fn begin(bytes: Vec<u8>, takes: impl Fn(u32) -> bool) -> Result<Self, Vec<u8>> {
        let Some((found, l4)) = whole(&bytes) else { return Err(bytes) };
        let (kind, feature) = match (found.protocol, found.is_v6) {
            (TCP, false) => (VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_GUEST_TSO4),
            (TCP, true) => (VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_GUEST_TSO6),
            (_, false) => (VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_F_GUEST_USO4),
            (_, true) => (VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_F_GUEST_USO6),
        };
        let flags = flags_of(&bytes, &found, l4);
        let has_ecn = flags & CWR != 0;
        let size = bytes.len() - found.end;
        if !takes(feature) || has_ecn && !takes(VIRTIO_NET_F_GUEST_ECN) || size == 0 {
            return Err(bytes);
        }
        let kind = if has_ecn { kind | VIRTIO_NET_HDR_GSO_ECN } else { kind };
        Ok(Self { bytes, l4, size, count: 1, kind, is_over: flags & ENDS != 0, found })
    }

    /// Whether nothing can follow.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next segment, where it is that of the same flow.
    pub(super) fn add(&mut self, next: Vec<u8>) -> Result<(), Vec<u8>> {
        let Some((found, l4)) = whole(&next) else { return Err(next) };
        let (payload, flags) = (next.len() - found.end, flags_of(&next, &found, l4));
        let follows = found.end == self.found.end
            && self.bytes.len() + payload - self.found.ip <= MOST
            && (1..=self.size).contains(&payload)
            && flags & CWR == 0
            && self.alike(&next) == self.alike(&self.bytes)
            && self.continues(&next);
        if !follows {
            return Err(next);
        }
        self.bytes.extend_from_slice(&next[found.end..]);
        if found.protocol == TCP {
            self.bytes[self.l4 + 13] |= flags & ENDS;
        }
        self.count += 1;
        self.is_over = payload < self.size || flags & ENDS != 0;
        Ok(())
    }

    /// The headers without what is each segment's own.
    fn alike(&self, frame: &[u8]) -> Vec<u8> {
        let (ip, l4) = (self.found.ip, self.l4);
        let mut headers = frame[..self.found.end].to_vec();
        let mut clear = |at: usize, len: usize| headers[at..at + len].fill(0);
        if self.found.is_v6 {
            clear(ip + 4, 2);
        } else {
            // Length, identification, checksum.
            clear(ip + 2, 4);
            clear(ip + 10, 2);
        }
        if self.found.protocol == TCP {
            clear(l4 + 4, 4);
            clear(l4 + 16, 2);
            headers[l4 + 13] &= !(ENDS | CWR);
        } else {
            clear(l4 + 4, 4);
        }
        headers
    }

    /// Whether numbers go on where those of the frame end.
    fn continues(&self, next: &[u8]) -> bool {
        let (ip, l4) = (self.found.ip, self.l4);
        let number = |frame: &[u8]| u32::from_be_bytes([frame[l4 + 4], frame[l4 + 5], frame[l4 + 6], frame[l4 + 7]]);
        let sequence = number(&self.bytes).wrapping_add((self.bytes.len() - self.found.end) as u32);
        let id = word(&self.bytes, ip + 4).wrapping_add(self.count as u16);
        (self.found.is_v6 || word(next, ip + 4) == id) && (self.found.protocol == UDP || number(next) == sequence)
    }

    /// The frame, and its header where it is of more than one segment.
    pub(super) fn finish(mut self) -> Arrived {
        if self.count == 1 {
            return Arrived { bytes: self.bytes, gso: None };
        }
        let (ip, l4, len) = (self.found.ip, self.l4, self.bytes.len());
        if self.found.is_v6 {
            set(&mut self.bytes, ip + 4, (len - ip - 40) as u16);
        } else {
            set(&mut self.bytes, ip + 2, (len - ip) as u16);
            set(&mut self.bytes, ip + 10, 0);
            let checksum = !folded(sum(&self.bytes[ip..l4]));
            set(&mut self.bytes, ip + 10, checksum);
        }
        let is_udp = self.found.protocol == UDP;
        if is_udp {
            set(&mut self.bytes, l4 + 4, (len - l4) as u16);
        }
        let csum_offset = if is_udp { 6 } else { 16 };
        let partial = pseudo(&self.bytes, &self.found, l4);
        set(&mut self.bytes, l4 + csum_offset, partial);
        let gso = Gso {
            kind: self.kind as u8,
            hdr_len: self.found.end as u16,
            size: self.size as u16,
            csum_start: l4 as u16,
            csum_offset: csum_offset as u16,
        };
        Arrived { bytes: self.bytes, gso: Some(gso) }
    }
}

/// TCP's flags.
fn flags_of(frame: &[u8], found: &Found, l4: usize) -> u8 {
    if found.protocol == TCP { frame[l4 + 13] } else { 0 }
}

/// Where the headers of a frame lie that is whole and right: no fragment, nothing behind the packet, good checksums, and of TCP's flags none that says more than that
/// here is data.
fn whole(frame: &[u8]) -> Option<(Found, usize)> {
    let (found, l4) = places(frame)?;
    let ip = found.ip;
    let packet = if found.is_v6 { usize::from(word(frame, ip + 4)) + 40 } else { usize::from(word(frame, ip + 2)) };
    let is_fragment = !found.is_v6 && word(frame, ip + 6) & 0x3fff != 0;
    if packet != frame.len() - ip || is_fragment || !found.is_v6 && folded(sum(&frame[ip..ip + header_of_v4(frame, ip)])) != 0xffff {
        return None;
    }
    let is_data = match found.protocol {
        TCP => frame[l4 + 13] & !(ACK | ENDS | CWR | ECE) == 0,
        _ => word(frame, l4 + 6) != 0 && usize::from(word(frame, l4 + 4)) == frame.len() - l4,
    };
    let total = folded(u64::from(pseudo(frame, &found, l4)) + sum(&frame[l4..]));
    (is_data && total == 0xffff).then_some((found, l4))
}
