//! The frames: how one is made from its sequence number, and how it is known again.
//!
//! | bytes | holds |
//! | --- | --- |
//! | 0 to 13 | destination, source, EtherType 0x88b5 (IEEE 802, for local experiments) |
//! | 14, 15 | direction, 0 |
//! | 16 to 23 | flow, frame length (32 bits each) |
//! | 24 to 31 | sequence number |
//! | 32 to 39 | checksum of bytes 12 to 31 |
//! | 40 to the end | words that follow from the checksum, so from all of the above |
//!
//! Numbers are little-endian. The length is that of the frame, so that a cut frame is known as such.

use super::config::TrafficConfig;
use crate::wire::random::{GOLDEN, mix};

const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];
const HEADER_BYTES: usize = 40;
/// The part before the sequence number, which is the same in all frames of a direction.
const FIXED_BYTES: usize = 24;

/// The frames of one direction.
#[derive(Debug, Clone)]
pub(super) struct Format {
    frame_bytes: usize,
    fixed: [u64; FIXED_BYTES / 8],
    /// The same with the addresses exchanged, as an application that sends frames back may do.
    exchanged: [u64; FIXED_BYTES / 8],
    /// The checksum's part that comes from `fixed`.
    salt: u64,
}

pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Format {
    pub(super) fn new(config: &TrafficConfig, direction: usize) -> Self {
        let (to, from) = (config.macs[direction], config.macs[1 - direction]);
        let fixed = |to: [u8; 6], from: [u8; 6]| {
            let mut bytes = [0; FIXED_BYTES];
            bytes[..6].copy_from_slice(&to);
            bytes[6..12].copy_from_slice(&from);
            bytes[12..14].copy_from_slice(&ETHER_TYPE);
            bytes[14] = direction as u8;
            bytes[16..20].copy_from_slice(&config.flow.to_le_bytes());
            bytes[20..].copy_from_slice(&(config.frame_bytes as u32).to_le_bytes());
            bytes
        };
        let words = |bytes: [u8; FIXED_BYTES]| [word(&bytes), word(&bytes[8..]), word(&bytes[16..])];
        let (fixed, exchanged) = (words(fixed(to, from)), words(fixed(from, to)));
        let salt = mix(mix(fixed[2] ^ GOLDEN).wrapping_add(fixed[1] >> 32));
        Self { frame_bytes: config.frame_bytes, fixed, exchanged, salt }
    }

    /// Makes frame number `number`.
    #[inline]
    pub(super) fn fill(&self, number: u64, frame: &mut Vec<u8>) {
        // Every byte is written below: what a used buffer holds needs no clearing.
        frame.resize(self.frame_bytes, 0);
        let Some((header, body)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else { return };
        let checksum = mix(number ^ self.salt);
        for (bytes, word) in header.chunks_exact_mut(8).zip(self.fixed) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        header[24..32].copy_from_slice(&number.to_le_bytes());
        header[32..].copy_from_slice(&checksum.to_le_bytes());
        fill_words(body, checksum);
    }

    /// The number of a frame of this direction that arrived as it was made; `None` where a byte differs.
    #[inline]
    pub(super) fn check(&self, frame: &[u8]) -> Option<u64> {
        if frame.len() != self.frame_bytes {
            return None;
        }
        let (header, body) = frame.split_first_chunk::<HEADER_BYTES>()?;
        let fixed = [word(header), word(&header[8..]), word(&header[16..])];
        // Three words are compared here sooner than by a call.
        let differs = |from: &[u64; 3]| fixed[0] ^ from[0] | fixed[1] ^ from[1] | fixed[2] ^ from[2];
        if differs(&self.fixed) != 0 && differs(&self.exchanged) != 0 {
            return None;
        }
        let number = word(&header[24..32]);
        let checksum = mix(number ^ self.salt);
        // One test at the end instead of one a word: intact is what nearly all frames are.
        let differing = word(&header[32..]) ^ checksum | differing_words(body, checksum);
        (differing == 0).then_some(number)
    }
}

/// Fills `bytes` with words that follow from `value`.
#[inline(always)]
pub(super) fn fill_words(bytes: &mut [u8], mut value: u64) {
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        value = value.wrapping_add(GOLDEN);
        word.copy_from_slice(&value.to_le_bytes());
    }
    let rest = words.into_remainder();
    rest.copy_from_slice(&value.wrapping_add(GOLDEN).to_le_bytes()[..rest.len()]);
}

/// Bits that are otherwise than [`fill_words`] leaves them in any word; 0: it made `bytes`.
#[inline(always)]
pub(super) fn differing_words(bytes: &[u8], mut value: u64) -> u64 {
    let (mut differing, mut words) = (0, bytes.chunks_exact(8));
    for bytes in &mut words {
        value = value.wrapping_add(GOLDEN);
        differing |= word(bytes) ^ value;
    }
    let rest = words.remainder();
    let rest_word = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    differing | (rest_word ^ value.wrapping_add(GOLDEN)) & !(u64::MAX << (8 * rest.len()))
}
