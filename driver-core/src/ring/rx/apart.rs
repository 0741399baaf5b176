//! What a ring does whose descriptors are not frames one behind the other, and what it keeps for that.

use alloc::boxed::Box;

use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, Growing};
use crate::buf::memory::RawBuf;
use crate::buf::meta::Checksum;

/// What a ring does beside taking frames one by one.
pub(super) enum Manner {
    Large(Large),
    Split(Split),
}

/// Large receives.
pub(super) struct Large {
    /// By descriptor: the frame that goes on there.
    pub(super) open: Box<[Option<Begun>]>,
    /// How many buffers those have together.
    pub(super) held: u32,
    pub(super) rules: LargeRules,
}

/// Headers in buffers of their own.
pub(super) struct Split {
    /// The buffer for a header that is lent with each descriptor.
    pub(super) headers: Box<[RawBuf]>,
    /// A frame of which not all has come yet.
    pub(super) open: Option<Begun>,
    pub(super) rules: SplitRules,
}

/// A frame of which not all has come yet.
pub(super) struct Begun {
    pub(super) chain: Growing,
    /// How many received segments it was put together from.
    pub(super) segments: u16,
    /// How long the header is that the device split off; 0 where it did not.
    pub(super) header_bytes: u16,
}

/// How descriptors of large receives name each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct LargeRules {
    /// Second word, of a descriptor that is not its frame's last: where it has the number of the next, 16 bits.
    pub next_shift: u32,
    /// How many buffers frames that are not complete have together at most: as many must be in the pool beside those that are lent, and a device that begins
    /// more, so that nothing is left for others, is told as one that does.
    pub held: u32,
}

/// How a descriptor tells of a header that was split off. Its length is in bits 30:21 of the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct SplitRules {
    /// First word: the device found headers.
    pub found: u64,
    /// Second word: they did not fit, and are with the rest.
    pub too_long: u64,
    /// The most bytes that the device puts into a header's buffer.
    pub max_header_bytes: u32,
}

/// How large a frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct WholeLimits {
    /// The most bytes.
    pub max_bytes: usize,
    /// The most buffers.
    pub max_segments: usize,
}

impl Begun {
    pub(super) fn new(frame: Frame, bytes: usize) -> Self {
        Self { chain: Growing::new(frame, bytes), segments: 0, header_bytes: 0 }
    }

    pub(super) fn recycle(self, batch: &mut Batch) {
        batch.recycle(self.chain.into_frame());
    }

    /// The frame, which says of how many segments it was made, or how long the header is before its payload.
    pub(super) fn complete(self) -> Frame {
        let mut frame = self.chain.into_frame();
        if self.segments > 1 {
            frame.set_coalesced(Some(self.segments));
            // Each segment's was right. The one in the frame is the first's.
            if frame.checksum() == Checksum::Good {
                frame.set_checksum(Checksum::GoodButUnsure);
            }
        }
        if self.header_bytes > 0 {
            frame.set_split_header_bytes(Some(self.header_bytes));
        }
        frame
    }
}

/// Second word of descriptor `index` while it is the device's: where its header's buffer is.
pub(super) fn lent_high(manner: Option<&Manner>, index: u32, delta: u64) -> u64 {
    match manner {
        Some(Manner::Split(split)) => split.headers.get(index as usize).map_or(0, |buf| buf.word().wrapping_add(delta)),
        _ => 0,
    }
}
