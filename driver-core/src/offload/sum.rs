//! The Internet checksum (RFC 1071): ones' complement sums of 16-bit words.

use crate::buf::frame::Frame;

/// Bytes that are summed in one go, in four lanes of 64 bits: the compiler makes vector instructions of it, where the processor has them.
const BLOCK: usize = 32;

/// A ones' complement sum under way: pieces of any length, one behind the other, the first byte being the high half of a word.
///
/// ```
/// use driver_core::offload::Sum;
///
/// // The example of RFC 1071, section 3, in pieces that split its words.
/// let mut sum = Sum::new();
/// for piece in [&[0x00, 0x01, 0xf2][..], &[0x03, 0xf4, 0xf5, 0xf6], &[0xf7]] {
///     sum.add(piece);
/// }
/// assert_eq!((sum.value(), sum.checksum()), (0xddf2, !0xddf2));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// Of words as this processor loads them, the first byte low: the sum does not mind (RFC 1071 section 2B), and is turned at the end.
    total: u64,
    /// So far an odd number of bytes: what follows begins in the low half of a word.
    is_odd: bool,
}

impl Sum {
    /// Of nothing.
    pub const fn new() -> Self {
        Self { total: 0, is_odd: false }
    }

    /// Goes on with `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        let piece = fold(sum_of_words(bytes));
        self.total += u64::from(if self.is_odd { piece.swap_bytes() } else { piece });
        self.is_odd ^= !bytes.len().is_multiple_of(2);
    }

    /// Goes on with bytes `from` to `to` of `frame`, or as many of them as there are.
    pub fn add_frame(&mut self, frame: &Frame, from: usize, to: usize) {
        pieces(frame, from, to).for_each(|piece| self.add(piece));
    }

    /// The sum. It is zero only where all that was summed is zero.
    pub const fn value(&self) -> u16 {
        fold(self.total).swap_bytes()
    }

    /// What goes into a packet: the sum's complement.
    pub const fn checksum(&self) -> u16 {
        !self.value()
    }
}

/// Bytes `from` to `to` of a frame, or as many of them as there are, segment by segment.
pub(super) fn pieces(frame: &Frame, from: usize, to: usize) -> impl Iterator<Item = &[u8]> {
    let mut begins = 0;
    frame.segments().map(move |segment| {
        let (start, end) = (from.saturating_sub(begins).min(segment.len()), to.saturating_sub(begins).min(segment.len()));
        begins += segment.len();
        segment.get(start..end).unwrap_or_default()
    })
}

/// Adds the carries to the low 16 bits until there are none. Zero stays zero, and nothing else becomes it.
pub(super) const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The sum, unfolded, of little-endian words, the last padded with zeros where bytes are left. A lane takes two
/// 32-bit words a block, so that it overflows no sooner than in a slice of 64 GiB.
fn sum_of_words(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut lanes = [0u64; BLOCK / 8];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u64::from_le_bytes(*word);
            // Halves of a word: no carry is lost, and none has to be looked for.
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    let (words, rest) = rest.as_chunks::<4>();
    let words = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum::<u64>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    lanes.iter().sum::<u64>() + words + u64::from(u32::from_le_bytes(last))
}
