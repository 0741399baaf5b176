//! TCP segments with right checksums, or wrong ones.
#![allow(unreachable_pub)]

use super::common::MAC;

pub const ACK: u8 = 0x10;
pub const PSH: u8 = 0x08;
pub const FIN: u8 = 0x01;

/// One TCP segment, and how it may be odd.
#[derive(Clone, Debug)]
pub struct Segment {
    pub port: u16,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub flags: u8,
    pub payload: Vec<u8>,
    /// The time stamp option's value.
    pub stamp: Option<u32>,
    pub v6: bool,
    pub tag: Option<u16>,
    pub tos: u8,
    pub ttl: u8,
    pub options: Vec<u8>,
    pub nonce: bool,
    pub bad_checksum: bool,
}

impl Segment {
    pub fn new(seq: u32, payload: &[u8]) -> Self {
        Self {
            port: 1000,
            seq,
            ack: 77,
            window: 500,
            flags: ACK,
            payload: payload.to_vec(),
            stamp: None,
            v6: false,
            tag: None,
            tos: 0,
            ttl: 64,
            options: Vec::new(),
            nonce: false,
            bad_checksum: false,
        }
    }

    fn tcp(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        if let Some(stamp) = self.stamp {
            options.extend([1, 1, 8, 10]);
            options.extend(stamp.to_be_bytes());
            options.extend([0, 0, 0, 9]);
        }
        let mut tcp = [self.port.to_be_bytes(), 2000u16.to_be_bytes()].concat();
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([((20 + options.len()) as u8 / 4) << 4 | u8::from(self.nonce), self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend_from_slice(&self.payload);
        tcp
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 1]].concat();
        if let Some(tag) = self.tag {
            frame.extend([0x81, 0]);
            frame.extend(tag.to_be_bytes());
        }
        let mut tcp = self.tcp();
        let len = tcp.len() as u16;
        let addresses;
        if self.v6 {
            frame.extend([0x86, 0xDD, 0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([6, self.ttl]);
            addresses = (0..32).collect::<Vec<u8>>();
            frame.extend_from_slice(&addresses);
        } else {
            let mut ip = vec![0x45, self.tos];
            ip.extend((20 + len).to_be_bytes());
            ip.extend([0, 1, 0x40, 0, self.ttl, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            let checksum = !sum(&[&ip]);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            addresses = ip[12..].to_vec();
            frame.extend([8, 0]);
            frame.extend(ip);
        }
        let checksum = !sum(&[&addresses, &[0, 6], &len.to_be_bytes(), &tcp]) ^ u16::from(self.bad_checksum);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(tcp);
        frame
    }
}

/// The ones' complement sum of the parts, each of even length but the last.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let total: u32 = words.sum();
    let folded = (total & 0xFFFF) + (total >> 16);
    ((folded & 0xFFFF) + (folded >> 16)) as u16
}
