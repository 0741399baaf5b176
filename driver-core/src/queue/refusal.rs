//! Why frames are not sent, and how many were dropped for it.

use alloc::vec::Vec;
use core::fmt;
use core::mem::discriminant;
use core::ops::AddAssign;

use crate::offload::{OffloadError, SegmentationError, Work};

/// Why a frame cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The frame has no bytes, or fewer than an Ethernet header has.
    TooShort {
        /// The frame's length in bytes.
        len_bytes: usize,
    },
    /// The frame is longer than the MTU allows.
    TooLong {
        /// The frame's length in bytes.
        len_bytes: usize,
        /// The longest frame, header included and check sequence not.
        max_bytes: usize,
    },
    /// The frame has more segments than the device gathers.
    TooManySegments {
        /// Its segments.
        segments: usize,
        /// What the device takes.
        max: usize,
    },
    /// The frame asks for work that the device does not do, and that the queue is not to do in software
    /// ([`Config::software`](crate::device::config::Config::software)).
    SwitchedOff(Work),
    /// The frame asks for a checksum that cannot be filled in.
    Checksum(OffloadError),
    /// The frame asks to be cut, and cannot be.
    Segmentation(SegmentationError),
    /// The frame has to be copied, since it lies in memory that the device cannot reach or has no room for what is to be put in, and no buffer is free just
    /// now: buffers that return make it possible.
    NoBounceBuffer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len_bytes } => write!(f, "a frame of {len_bytes} bytes has no whole Ethernet header (14 bytes)"),
            Self::TooLong { len_bytes, max_bytes } => {
                write!(f, "a frame of {len_bytes} bytes is longer than the MTU allows ({max_bytes} bytes): raise the MTU or send less")
            }
            Self::TooManySegments { segments, max } => {
                write!(f, "a frame of {segments} segments is more than the device gathers ({max}): call linearize first")
            }
            Self::SwitchedOff(work) if work.contains(Work::SEGMENTATION) => f.write_str(
                "the frame asks to be cut (TX_SEGMENTATION), which the device does not do and Config::software has switched off: call Frame::cut first, or switch it on",
            ),
            Self::SwitchedOff(work) => {
                // A frame asks for one checksum at most.
                let sum = if work.contains(Work::SCTP_CRC) { "SCTP's CRC (TX_SCTP_CRC)" } else { "its checksum (TX_CHECKSUM)" };
                let (asked, mend) = match (work.intersects(Work::CHECKSUM | Work::SCTP_CRC), work.contains(Work::VLAN)) {
                    (_, false) => (format_args!("{sum} to be filled in"), "call Frame::fill_in_checksum"),
                    (false, true) => (format_args!("a VLAN tag (TX_VLAN_INSERT) to be put in"), "call Frame::insert_vlan"),
                    (true, true) => {
                        (format_args!("{sum} and a VLAN tag (TX_VLAN_INSERT) to be put in"), "call Frame::fill_in_checksum and Frame::insert_vlan")
                    }
                };
                write!(
                    f,
                    "the frame asks for {asked}, which the device does not do and Config::software has switched off: {mend} first, or switch it on"
                )
            }
            Self::Checksum(why) => why.fmt(f),
            Self::Segmentation(why) => why.fmt(f),
            Self::NoBounceBuffer => f.write_str(
                "the frame lies in memory of another DMA domain, or has no room for padding or a VLAN tag, and the pool has no buffer to copy it to: \
                 give the pool more buffers, put both devices in one domain, or leave headroom in frames",
            ),
        }
    }
}

impl Refusal {
    /// Whether both are for the same cause, whatever the frames were like.
    fn has_cause_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SwitchedOff(one), Self::SwitchedOff(another)) => one == another,
            (Self::Segmentation(one), Self::Segmentation(another)) => discriminant(one) == discriminant(another),
            _ => discriminant(self) == discriminant(other),
        }
    }
}

/// Frames that [`TxQueue::submit_or_drop`](crate::queue::TxQueue::submit_or_drop) dropped, by cause.
///
/// ```
/// use driver_core::queue::{Refusal, TxDrops};
///
/// let mut drops = TxDrops::new();
/// for len_bytes in [13, 0, 5] {
///     drops.count(Refusal::TooShort { len_bytes }); // in a program, `submit_or_drop` does
/// }
/// drops.count(Refusal::NoBounceBuffer);
/// assert_eq!(drops.frames(), 4);
/// let counted: Vec<u64> = drops.by_cause().map(|(_first, frames)| frames).collect();
/// assert_eq!(counted, [3, 1]);
/// assert!(drops.to_string().starts_with("3 frames: a frame of 13 bytes has no whole Ethernet header (14 bytes); 1 frame: "));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxDrops {
    /// The first of each cause, in the order in which they came up, and how many there were. Without drops there is nothing on the heap.
    causes: Vec<(Refusal, u64)>,
}

impl TxDrops {
    /// None yet.
    pub const fn new() -> Self {
        Self { causes: Vec::new() }
    }

    /// Counts a frame that was dropped for `why`.
    #[cold]
    pub fn count(&mut self, why: Refusal) {
        self.add(why, 1);
    }

    fn add(&mut self, why: Refusal, frames: u64) {
        match self.causes.iter_mut().find(|(first, _)| first.has_cause_of(&why)) {
            Some((_, count)) => *count += frames,
            None => self.causes.push((why, frames)),
        }
    }

    /// How many frames, whatever the cause.
    pub fn frames(&self) -> u64 {
        self.causes.iter().map(|(_, frames)| frames).sum()
    }

    /// What was wrong with the first frame of each cause, and how many frames were dropped for it, in the order in which the causes came up.
    pub fn by_cause(&self) -> impl ExactSizeIterator<Item = (Refusal, u64)> + '_ {
        self.causes.iter().copied()
    }
}

/// For programs with several queues, each with drops of its own.
impl AddAssign<&Self> for TxDrops {
    fn add_assign(&mut self, others: &Self) {
        for (why, frames) in others.by_cause() {
            self.add(why, frames);
        }
    }
}

impl fmt::Display for TxDrops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (first, frames) in self.by_cause() {
            let plural = if frames == 1 { "" } else { "s" };
            write!(f, "{between}{frames} frame{plural}: {first}")?;
            between = "; ";
        }
        if self.causes.is_empty() { f.write_str("no frame") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_apart_by_cause_and_not_by_frame() {
        let mut drops = TxDrops::new();
        assert_eq!((drops.frames(), drops.by_cause().len(), std::format!("{drops}").as_str()), (0, 0, "no frame"));
        for len_bytes in 0..10 {
            drops.count(Refusal::TooShort { len_bytes });
            drops.count(Refusal::SwitchedOff(Work::SEGMENTATION));
        }
        drops.count(Refusal::SwitchedOff(Work::VLAN));
        let mut wanted = Vec::from([
            (Refusal::TooShort { len_bytes: 0 }, 10),
            (Refusal::SwitchedOff(Work::SEGMENTATION), 10),
            (Refusal::SwitchedOff(Work::VLAN), 1),
        ]);
        assert_eq!(drops.by_cause().collect::<Vec<_>>(), wanted);
        let mut all = TxDrops::new();
        all.count(Refusal::TooShort { len_bytes: 7 });
        all += &drops;
        wanted[0] = (Refusal::TooShort { len_bytes: 7 }, 11);
        assert_eq!((all.frames(), all.by_cause().collect::<Vec<_>>()), (22, wanted));
    }
}
