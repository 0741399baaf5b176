//! Packets for tests of offloads, and what software makes of them.
// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use driver_core::buf::{BufPool, Checksum, Frame, PoolConfig, Segmentation, SegmentationKind};
use driver_core::ether::MIN_FRAME_BYTES;
use driver_core::offload::{Sum, fill_ipv4};
use proptest::prelude::*;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// A TCP or UDP packet in an Ethernet frame.
#[derive(Debug, Clone)]
pub struct Packet {
    pub protocol: u8,
    pub is_ipv6: bool,
    /// Words of four bytes of IPv4 options; units of eight bytes of IPv6 destination options.
    pub options: usize,
    /// Words of TCP options.
    pub tcp_options: usize,
    /// A tag that is in the frame's bytes.
    pub tag_in_frame: Option<u16>,
    pub payload: Vec<u8>,
}

impl Packet {
    pub fn new(protocol: u8, is_ipv6: bool, payload_bytes: usize) -> Self {
        let payload = (0..payload_bytes).map(|k| (k * 7 + k / 251) as u8).collect();
        Self { protocol, is_ipv6, options: 0, tcp_options: 0, tag_in_frame: None, payload }
    }

    pub fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    fn ip_bytes(&self) -> usize {
        if self.is_ipv6 { 40 + 8 * self.options } else { 20 + 4 * self.options }
    }

    pub fn l4_bytes(&self) -> usize {
        if self.is_tcp() { 20 + 4 * self.tcp_options } else { 8 }
    }

    /// Where the IP header begins.
    pub fn ip_at(&self) -> usize {
        14 + if self.tag_in_frame.is_some() { 4 } else { 0 }
    }

    /// Where the transport begins.
    pub fn l4_at(&self) -> usize {
        self.ip_at() + self.ip_bytes()
    }

    /// Where the payload begins.
    pub fn header_bytes(&self) -> usize {
        self.l4_at() + self.l4_bytes()
    }

    /// Where the transport's checksum goes, from its start.
    pub fn sum_offset(&self) -> usize {
        if self.is_tcp() { 16 } else { 6 }
    }

    /// What asks for the checksum.
    pub fn partial(&self) -> Checksum {
        Checksum::Partial { start: self.l4_at() as u16, offset: self.sum_offset() as u16 }
    }

    /// What asks for its segmentation.
    pub fn cut(&self, mss_bytes: u16) -> Segmentation {
        let kind = match (self.is_tcp(), self.is_ipv6) {
            (true, false) => SegmentationKind::Tcp4,
            (true, true) => SegmentationKind::Tcp6,
            (false, _) => SegmentationKind::Udp,
        };
        Segmentation { kind, mss_bytes, header_bytes: self.header_bytes() as u16 }
    }

    /// As [`Packet::bytes`], in buffers of `pool` that take `first` bytes and then `each`, at most.
    pub fn in_pieces(&self, pool: &BufPool, first: usize, each: usize) -> Frame {
        let bytes = self.bytes();
        let (head, rest) = bytes.split_at(first.min(bytes.len()));
        let mut frame = pool.frame_from(head).unwrap();
        rest.chunks(each).for_each(|piece| frame.append(pool.frame_from(piece).unwrap()));
        frame
    }

    /// The frame as a stack hands it over that leaves the transport's checksum to its device: with the pseudo header's sum in its place. The IPv4 header has its
    /// checksum.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        if let Some(tag) = self.tag_in_frame {
            bytes.extend([0x81, 0x00]);
            bytes.extend(tag.to_be_bytes());
        }
        // What is to be cut may be longer than any packet.
        let l4_len = self.l4_bytes() + self.payload.len();
        if self.is_ipv6 {
            let extension = if self.options > 0 { 60 } else { self.protocol };
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend(((l4_len + 8 * self.options) as u16).to_be_bytes());
            bytes.extend([extension, 64]);
            bytes.extend((0..32).map(|k| 0x20 + k));
            if self.options > 0 {
                // Next header, length in units behind the first, PadN.
                bytes.extend([self.protocol, self.options as u8 - 1, 1, (8 * self.options - 4) as u8]);
                bytes.extend(vec![0; 8 * self.options - 4]);
            }
        } else {
            bytes.extend([0x08, 0x00, 0x45 + self.options as u8, 0]);
            bytes.extend(((self.ip_bytes() + l4_len) as u16).to_be_bytes());
            bytes.extend([0x12, 0xfe, 0x40, 0, 64, self.protocol, 0, 0, 10, 9, 8, 7, 10, 1, 2, 3]);
            // No operation.
            bytes.extend(vec![1; 4 * self.options]);
        }
        let l4_at = bytes.len();
        assert_eq!(l4_at, self.l4_at());
        if self.is_tcp() {
            bytes.extend([0x04, 0xd2, 0, 80, 0xff, 0xff, 0xff, 0x10, 0, 0, 0, 9, ((5 + self.tcp_options) as u8) << 4, 0x19, 0x20, 0, 0, 0, 0, 0]);
            bytes.extend(vec![1; 4 * self.tcp_options]);
        } else {
            bytes.extend([0x04, 0xd2, 0, 7]);
            bytes.extend((l4_len as u16).to_be_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend_from_slice(&self.payload);
        let mut pseudo = Sum::new();
        let ip = self.ip_at();
        pseudo.add(if self.is_ipv6 { &bytes[ip + 8..ip + 40] } else { &bytes[ip + 12..ip + 20] });
        pseudo.add(&(l4_len as u32).to_be_bytes());
        pseudo.add(&[0, self.protocol]);
        let place = l4_at + self.sum_offset();
        bytes[place..place + 2].copy_from_slice(&pseudo.value().to_be_bytes());
        if !self.is_ipv6 {
            let (head, _) = bytes.split_at_mut(l4_at);
            let mut frame = pool().frame_from(head).unwrap();
            fill_ipv4(&mut frame).unwrap();
            head.copy_from_slice(frame.data());
        }
        bytes
    }
}

/// A pool for software alone.
pub fn pool() -> BufPool {
    let (domain, _) = driver_core::testing::domain();
    BufPool::new(&domain, PoolConfig::new(128)).unwrap()
}

/// The frame's bytes.
pub fn of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

/// What the wire has to carry of a frame that asks to be cut: by software.
pub fn cut_by_software(frame: &Frame) -> Vec<Vec<u8>> {
    let (domain, _) = driver_core::testing::domain();
    let pool = BufPool::new(&domain, PoolConfig::new(8192)).unwrap();
    let segments = frame.cut(&pool).unwrap();
    let whole = |segment: Frame| {
        let mut bytes = of(&segment.copy_with_vlan(&pool).unwrap());
        bytes.resize(bytes.len().max(MIN_FRAME_BYTES), 0);
        bytes
    };
    segments.into_iter().map(whole).collect()
}

/// What the wire has to carry of a frame that asks for a checksum, or a tag, or both: by software.
pub fn by_software(bytes: &[u8], checksum: Option<Checksum>, tag: Option<u16>) -> Vec<u8> {
    let pool = pool();
    let mut frame = pool.frame_from(bytes).unwrap();
    if let Some(checksum) = checksum {
        frame.set_checksum(checksum);
        frame.fill_in_checksum().unwrap();
    }
    frame.set_vlan(tag);
    let mut bytes = of(&frame.copy_with_vlan(&pool).unwrap());
    bytes.resize(bytes.len().max(MIN_FRAME_BYTES), 0);
    bytes
}

/// The bytes with a TCP checksum of 0xffff as 0: to the sum both are the same, and only UDP tells them apart.
pub fn normal(mut bytes: Vec<u8>, place: usize) -> Vec<u8> {
    if bytes[place..place + 2] == [0xff; 2] {
        bytes[place..place + 2].fill(0);
    }
    bytes
}

prop_compose! {
    /// Any packet that goes into one frame.
    pub fn packets()(
        is_tcp: bool,
        is_ipv6: bool,
        options in 0usize..4,
        tcp_options in 0usize..11,
        tag_in_frame in prop::option::weighted(0.2, any::<u16>()),
        payload in prop::collection::vec(any::<u8>(), 0..1300),
    ) -> Packet {
        let protocol = if is_tcp { TCP } else { UDP };
        Packet { protocol, is_ipv6, options, tcp_options, tag_in_frame, payload }
    }
}
