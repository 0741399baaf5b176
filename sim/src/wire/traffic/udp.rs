//! Frames of many flows, which a card spreads over its queues: UDP over IPv4, known again by flow and number.
//!
//! | bytes | holds |
//! | --- | --- |
//! | 0 to 13 | destination, source, EtherType 0x0800 |
//! | 14 to 33 | IPv4, from 198.18.0.1 to 198.18.0.2 or back (RFC 2544, for benchmarks), with its checksum |
//! | 34 to 41 | UDP without a checksum; the source port is that of the flow |
//! | 42 to 49 | number within the flow |
//! | 50 to 57 | checksum of direction, length, flow and number |
//! | 58 to the end | words that follow from the checksum |

use super::config::TrafficConfig;
use super::format::{differing_words, fill_words, word};
use crate::wire::random::{GOLDEN, mix};

const HEADER_BYTES: usize = 58;
/// Ethernet, IPv4 and UDP headers.
const FIXED_BYTES: usize = 42;
const SOURCE_PORT: usize = 34;
/// The source port of flow 0, and where all go (RFC 863, discard).
const FIRST_PORT: u16 = 1024;
const DISCARD: [u8; 2] = [0, 9];
/// Flows that have a port.
pub(super) const MAX_FLOWS: u16 = u16::MAX - FIRST_PORT;

/// The frames of one direction.
#[derive(Debug, Clone)]
pub(super) struct UdpFormat {
    frame_bytes: usize,
    flows: u16,
    /// The headers of flow 0, and the same with the addresses exchanged, as an application that sends frames back may do.
    fixed: [u8; FIXED_BYTES],
    exchanged: [u8; FIXED_BYTES],
    /// The checksum's part that is the same for the whole direction.
    salt: u64,
}

impl UdpFormat {
    pub(super) fn new(config: &TrafficConfig, direction: usize) -> Self {
        let (to, from) = (config.macs[direction], config.macs[1 - direction]);
        let len = (config.frame_bytes - 14) as u16;
        let fixed = |to: [u8; 6], from: [u8; 6]| {
            let mut bytes = [0; FIXED_BYTES];
            bytes[..6].copy_from_slice(&to);
            bytes[6..12].copy_from_slice(&from);
            bytes[12..24].copy_from_slice(&[0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17]);
            bytes[16..18].copy_from_slice(&len.to_be_bytes());
            let direction = direction as u8;
            bytes[26..34].copy_from_slice(&[198, 18, 0, 1 + direction, 198, 18, 0, 2 - direction]);
            let sum: u32 = bytes[14..34].as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
            bytes[24..26].copy_from_slice(&(0xffff - (sum % 0xffff) as u16).to_be_bytes());
            bytes[36..38].copy_from_slice(&DISCARD);
            bytes[38..40].copy_from_slice(&(len - 20).to_be_bytes());
            bytes
        };
        let parts = u64::from(config.flow) << 32 | (config.frame_bytes as u64) << 8 | direction as u64;
        Self {
            frame_bytes: config.frame_bytes,
            flows: config.udp_flows,
            fixed: fixed(to, from),
            exchanged: fixed(from, to),
            salt: mix(parts ^ GOLDEN),
        }
    }

    /// How many flows there are.
    pub(super) fn flows(&self) -> u16 {
        self.flows
    }

    fn checksum(&self, flow: u16, number: u64) -> u64 {
        mix(number ^ mix(self.salt.wrapping_add(u64::from(flow))))
    }

    /// Makes frame number `number` of all: flows take turns.
    #[inline(never)]
    pub(super) fn fill(&self, number: u64, frame: &mut Vec<u8>) {
        // Every byte is written below: what a used buffer holds needs no clearing.
        frame.resize(self.frame_bytes, 0);
        let flows = u64::from(self.flows);
        let (flow, number) = ((number % flows) as u16, number / flows);
        let Some((header, body)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else { return };
        header[..FIXED_BYTES].copy_from_slice(&self.fixed);
        header[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&(FIRST_PORT + flow).to_be_bytes());
        let checksum = self.checksum(flow, number);
        header[FIXED_BYTES..FIXED_BYTES + 8].copy_from_slice(&number.to_le_bytes());
        header[FIXED_BYTES + 8..].copy_from_slice(&checksum.to_le_bytes());
        fill_words(body, checksum);
    }

    /// The flow, and the number in it, of a frame of this direction that arrived as it was made; `None` where a byte differs.
    #[inline(never)]
    pub(super) fn check(&self, frame: &[u8]) -> Option<(u16, u64)> {
        if frame.len() != self.frame_bytes {
            return None;
        }
        let (header, body) = frame.split_first_chunk::<HEADER_BYTES>()?;
        let flow = u16::from_be_bytes([header[SOURCE_PORT], header[SOURCE_PORT + 1]]).checked_sub(FIRST_PORT).filter(|&flow| flow < self.flows)?;
        let is_from = |fixed: &[u8; FIXED_BYTES]| {
            header[..SOURCE_PORT] == fixed[..SOURCE_PORT] && header[SOURCE_PORT + 2..FIXED_BYTES] == fixed[SOURCE_PORT + 2..]
        };
        if !is_from(&self.fixed) && !is_from(&self.exchanged) {
            return None;
        }
        let number = word(&header[FIXED_BYTES..]);
        let checksum = self.checksum(flow, number);
        let differing = word(&header[FIXED_BYTES + 8..]) ^ checksum | differing_words(body, checksum);
        (differing == 0).then_some((flow, number))
    }
}
