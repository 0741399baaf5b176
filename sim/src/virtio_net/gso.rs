//! Segmentation as a device does it whose peer is a kernel (5.1.6.2): one frame of the driver's into many on the wire.

use super::partial::with_checksum;
use super::regs::*;

/// EtherTypes, IP protocols, and flags of TCP.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 2] = [0x8100, 0x88a8];
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const CWR: u8 = 0x80;
const PSH_AND_FIN: u8 = 0x09;

/// The fields of a frame's header that segmentation is asked for by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) gso_type: u32,
    pub(super) hdr_len: usize,
    pub(super) gso_size: usize,
    pub(super) csum_start: usize,
    pub(super) csum_offset: usize,
}

/// What is wrong with a frame that asks for segmentation, and the number that shows it.
pub(super) type Wrong = (&'static str, u64);

/// Where the headers of a frame lie, by its bytes alone.
pub(super) struct Found {
    pub(super) ip: usize,
    pub(super) is_v6: bool,
    pub(super) protocol: u8,
    /// The first byte behind the transport's header.
    pub(super) end: usize,
}

impl Asked {
    fn kind(self) -> u32 {
        self.gso_type & !VIRTIO_NET_HDR_GSO_ECN
    }

    /// The feature that has to be negotiated for it, beside that of ECN.
    pub(super) fn feature(self) -> Option<u32> {
        match self.kind() {
            VIRTIO_NET_HDR_GSO_TCPV4 => Some(VIRTIO_NET_F_HOST_TSO4),
            VIRTIO_NET_HDR_GSO_TCPV6 => Some(VIRTIO_NET_F_HOST_TSO6),
            VIRTIO_NET_HDR_GSO_UDP_L4 => Some(VIRTIO_NET_F_HOST_USO),
            _ => None,
        }
    }

    pub(super) fn has_ecn(self) -> bool {
        self.gso_type & VIRTIO_NET_HDR_GSO_ECN != 0
    }

    /// Cuts the frame. `exact`: VIRTIO_NET_F_GUEST_HDRLEN was negotiated.
    pub(super) fn cut(self, frame: &[u8], exact: bool) -> Result<Vec<Vec<u8>>, Wrong> {
        let found = find(frame, self.csum_start).ok_or(("a frame to be cut has no headers that can be", self.csum_start as u64))?;
        let (is_v6, protocol) = match self.kind() {
            VIRTIO_NET_HDR_GSO_TCPV4 => (false, TCP),
            VIRTIO_NET_HDR_GSO_TCPV6 => (true, TCP),
            _ => (found.is_v6, UDP),
        };
        if (found.is_v6, found.protocol) != (is_v6, protocol) {
            return Err(("a frame to be cut is of another type than its header says", self.gso_type.into()));
        }
        if self.gso_size == 0 {
            return Err(("gso_size is zero", 0));
        }
        if exact && self.hdr_len != found.end || self.hdr_len < found.end {
            return Err(("hdr_len is not the headers' length", self.hdr_len as u64));
        }
        if self.csum_offset != if protocol == TCP { 16 } else { 6 } {
            return Err(("the checksum's place is not the transport's", self.csum_offset as u64));
        }
        if protocol == TCP && frame[self.csum_start + 13] & CWR != 0 && !self.has_ecn() {
            return Err(("TCP with ECN is to be cut and its header does not say so", self.gso_type.into()));
        }
        let place = self.csum_start + self.csum_offset;
        if word(frame, place) != pseudo(frame, &found, self.csum_start) {
            return Err(("the checksum of a frame to be cut is not its pseudo header's sum", word(frame, place).into()));
        }
        let payload = frame.get(found.end..).unwrap_or_default();
        let count = payload.len().div_ceil(self.gso_size).max(1);
        Ok((0..count).map(|k| self.segment(frame, &found, payload, k, count)).collect())
    }

    fn segment(self, frame: &[u8], found: &Found, payload: &[u8], k: usize, count: usize) -> Vec<u8> {
        let from = k * self.gso_size;
        let mut segment = frame[..found.end].to_vec();
        segment.extend_from_slice(&payload[from..payload.len().min(from + self.gso_size)]);
        let (ip, l4, len) = (found.ip, self.csum_start, segment.len());
        if found.is_v6 {
            set(&mut segment, ip + 4, (len - ip - 40) as u16);
        } else {
            set(&mut segment, ip + 2, (len - ip) as u16);
            let id = word(&segment, ip + 4).wrapping_add(k as u16);
            set(&mut segment, ip + 4, id);
            set(&mut segment, ip + 10, 0);
            let sum = !folded(sum(&segment[ip..ip + header_of_v4(&segment, ip)]));
            set(&mut segment, ip + 10, sum);
        }
        if found.protocol == TCP {
            let seq = u32::from_be_bytes([segment[l4 + 4], segment[l4 + 5], segment[l4 + 6], segment[l4 + 7]]).wrapping_add(from as u32);
            segment[l4 + 4..l4 + 8].copy_from_slice(&seq.to_be_bytes());
            if k > 0 {
                segment[l4 + 13] &= !CWR;
            }
            if k + 1 < count {
                segment[l4 + 13] &= !PSH_AND_FIN;
            }
        } else {
            set(&mut segment, l4 + 4, (len - l4) as u16);
        }
        let place = l4 + self.csum_offset;
        let sum = pseudo(&segment, found, l4);
        set(&mut segment, place, sum);
        let mut segment = with_checksum(segment, l4, place);
        // RFC 768: a zero would say that there is none.
        if found.protocol == UDP && word(&segment, place) == 0 {
            set(&mut segment, place, 0xffff);
        }
        segment
    }
}

/// The headers of a frame without extension headers, and where its transport begins.
pub(super) fn places(frame: &[u8]) -> Option<(Found, usize)> {
    let mut ip = 14;
    while TAGS.contains(&frame.get(ip - 2..ip).map(|bytes| word(bytes, 0))?) {
        ip += 4;
    }
    let l4 = if frame.get(ip)? >> 4 == 4 { ip + header_of_v4(frame, ip) } else { ip + 40 };
    find(frame, l4).map(|found| (found, l4))
}

/// The headers of a frame whose transport begins at `l4`.
fn find(frame: &[u8], l4: usize) -> Option<Found> {
    let kind = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut ip = 14;
    while TAGS.contains(&kind(ip - 2)?) {
        ip += 4;
    }
    let (is_v6, protocol) = match kind(ip - 2)? {
        IPV4 if ip + header_of_v4(frame.get(..ip + 20)?, ip) == l4 => (false, frame[ip + 9]),
        IPV6 => {
            let (mut next, mut at) = (*frame.get(ip + 6)?, ip + 40);
            // Hop-by-hop options, routing, destination options.
            while at < l4 && matches!(next, 0 | 43 | 60) {
                (next, at) = (*frame.get(at)?, at + 8 + 8 * usize::from(*frame.get(at + 1)?));
            }
            (at == l4).then_some((true, next))?
        }
        _ => return None,
    };
    let header = match protocol {
        TCP => 4 * usize::from(*frame.get(l4 + 12)? >> 4),
        UDP => 8,
        _ => return None,
    };
    let shortest = if protocol == TCP { 20 } else { 8 };
    (header >= shortest && l4 + header <= frame.len()).then_some(Found { ip, is_v6, protocol, end: l4 + header })
}

pub(super) fn header_of_v4(frame: &[u8], ip: usize) -> usize {
    4 * usize::from(frame[ip] & 15)
}

/// The sum of the pseudo header of all that is behind `l4`.
pub(super) fn pseudo(frame: &[u8], found: &Found, l4: usize) -> u16 {
    let addresses = if found.is_v6 { found.ip + 8..found.ip + 40 } else { found.ip + 12..found.ip + 20 };
    folded(sum(&frame[addresses]) + u64::from(found.protocol) + (frame.len() - l4) as u64)
}

pub(super) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn set(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

pub(super) fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9293 over RFC 791: 10.0.0.1 to 10.0.0.2, 54 bytes of headers, FIN, PSH and CWR; then 25 bytes. The checksum is the pseudo header's sum.
    fn frame() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
        frame.extend([0x45, 0, 0, 65, 0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        // 0x0a00 + 1 + 0x0a00 + 2 + 6 + 45.
        frame.extend([0, 1, 0, 2, 0xff, 0xff, 0xff, 0xf8, 0, 0, 0, 9, 0x50, 0x99, 0x20, 0, 0x14, 0x36, 0, 0]);
        frame.extend(1..=25);
        frame
    }

    const ASKED: Asked =
        Asked { gso_type: VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, hdr_len: 54, gso_size: 10, csum_start: 34, csum_offset: 16 };

    #[test]
    fn segments_have_headers_of_their_own() {
        let segments = ASKED.cut(&frame(), true).unwrap();
        let lens: Vec<_> = segments.iter().map(Vec::len).collect();
        assert_eq!(lens, [64, 64, 59]);
        // Length, identification, sequence number, flags: as RFC 791, 3168 and 9293 have them for three packets.
        let wanted = [(50, 0xffff, 0xffff_fff8, 0x90), (50, 0, 2, 0x10), (45, 1, 12, 0x19)];
        for (segment, (len, id, seq, flags)) in segments.iter().zip(wanted) {
            let found = u32::from_be_bytes([segment[38], segment[39], segment[40], segment[41]]);
            assert_eq!((word(segment, 16), word(segment, 18), found, segment[47]), (len, id, seq, flags));
            assert_eq!(folded(sum(&segment[14..34])), 0xffff);
            assert_eq!(folded(sum(&segment[26..34]) + 6 + (segment.len() as u64 - 34) + sum(&segment[34..])), 0xffff);
        }
        let payload: Vec<u8> = segments.iter().flat_map(|segment| segment[54..].to_vec()).collect();
        assert_eq!(payload, (1..=25).collect::<Vec<u8>>());
    }

    #[test]
    fn what_a_driver_must_not_ask_for_is_named() {
        let table: [(Asked, bool, &str); 9] = [
            (Asked { gso_type: 1, ..ASKED }, true, "TCP with ECN is to be cut and its header does not say so"),
            (Asked { gso_type: 4, ..ASKED }, true, "a frame to be cut is of another type than its header says"),
            (Asked { gso_type: 5, ..ASKED }, true, "a frame to be cut is of another type than its header says"),
            (Asked { gso_size: 0, ..ASKED }, true, "gso_size is zero"),
            (Asked { hdr_len: 55, ..ASKED }, true, "hdr_len is not the headers' length"),
            (Asked { hdr_len: 53, ..ASKED }, false, "hdr_len is not the headers' length"),
            (Asked { csum_start: 35, ..ASKED }, true, "a frame to be cut has no headers that can be"),
            (Asked { csum_start: 65_535, ..ASKED }, true, "a frame to be cut has no headers that can be"),
            (Asked { csum_offset: 6, ..ASKED }, true, "the checksum's place is not the transport's"),
        ];
        for (asked, exact, wanted) in table {
            assert_eq!(asked.cut(&frame(), exact).map_err(|(what, _)| what), Err(wanted));
        }
        assert!(Asked { hdr_len: 60, ..ASKED }.cut(&frame(), false).is_ok(), "a hint");
        let mut other = frame();
        other[50] ^= 1;
        assert_eq!(ASKED.cut(&other, true).map_err(|(what, _)| what), Err("the checksum of a frame to be cut is not its pseudo header's sum"));
        for len in 14..54 {
            assert!(ASKED.cut(&frame()[..len], true).is_err(), "{len} bytes");
        }
    }
}
