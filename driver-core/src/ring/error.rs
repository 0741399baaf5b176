//! Why a ring could not be made.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::buf::pool::BufPool;
use crate::host::dma::{DmaDomain, DmaError};

/// Why a ring could not be made. Nothing is kept then: buffers are back in their pool, and memory of the ring's own is unmapped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The host gave no memory.
    Dma(DmaError),
    /// The memory that the ring was given is too small.
    Memory {
        /// Bytes needed.
        needed_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// The memory does not begin at a multiple of what the device asks for, or no memory can.
    Alignment {
        /// What the device asks for, in bytes.
        align_bytes: usize,
    },
    /// No ring has so many descriptors.
    Entries {
        /// Asked for.
        entries: u32,
        /// The fewest.
        min: u32,
        /// The most.
        max: u32,
    },
    /// The pool has too few free buffers to lend one with each descriptor.
    PoolTooSmall {
        /// The ring's descriptors.
        entries: u32,
        /// Buffers needed.
        needed: u32,
        /// Buffers free.
        free: u32,
    },
    /// The pool's buffers have less room before the data than the device's header takes.
    Headroom {
        /// Bytes of the header.
        needed_bytes: usize,
        /// Bytes before the data of an empty buffer.
        have_bytes: usize,
    },
    /// The ring's memory and the pool's are mapped for different devices.
    Domain {
        /// Where the ring's memory is.
        ring: String,
        /// Where the pool's memory is.
        pool: String,
    },
    /// The rules contradict themselves.
    Rules(RulesError),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dma(error) => error.fmt(f),
            Self::Memory { needed_bytes, have_bytes } => {
                write!(f, "a ring needs {needed_bytes} bytes, and the memory it was given has {have_bytes}: allocate more for the device's rings")
            }
            Self::Alignment { align_bytes } => write!(
                f,
                "a ring that begins at a multiple of {align_bytes} bytes does not fit this memory: ask for a power of two that is no more than a page"
            ),
            Self::Entries { entries, min, max } => {
                write!(f, "a ring of {entries} descriptors cannot be made: take a power of two from {min} to {max}")
            }
            Self::PoolTooSmall { entries, needed, free } => write!(
                f,
                "a receive ring of {entries} descriptors needs {needed} buffers, and the pool has {free} free: make the pool larger or the ring smaller"
            ),
            Self::Headroom { needed_bytes, have_bytes } => write!(
                f,
                "the device's header takes {needed_bytes} bytes before a frame, and the pool's buffers have {have_bytes}: make a pool with more headroom"
            ),
            Self::Domain { ring, pool } => {
                write!(
                    f,
                    "the ring lies in {ring} and its pool in {pool}: take a pool of the device's own domain, since no other address is right for it"
                )
            }
            Self::Rules(error) => error.fmt(f),
        }
    }
}
impl core::error::Error for RingError {}

impl From<DmaError> for RingError {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}
impl From<RulesError> for RingError {
    fn from(error: RulesError) -> Self {
        Self::Rules(error)
    }
}

/// Whether the addresses of `pool`'s buffers mean something to the devices that reach the ring's memory.
pub(crate) fn same_domain(ring: &DmaDomain, pool: &BufPool) -> Result<(), RingError> {
    if ring.is_same(pool.domain()) {
        return Ok(());
    }
    Err(RingError::Domain { ring: format!("{ring:?}"), pool: format!("{:?}", pool.domain()) })
}

/// How a card's rules for its descriptors contradict themselves: a mistake in the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RulesError {
    /// A part that must be exactly one bit is not.
    NotOneBit {
        /// Which.
        part: RulePart,
        /// What it is.
        bits: u64,
    },
    /// Two parts claim the same bits.
    Overlap {
        /// One.
        part: RulePart,
        /// The other.
        with: RulePart,
        /// The bits that both claim.
        bits: u64,
    },
    /// The shortest frame is longer than the longest.
    Lengths {
        /// The shortest, in bytes.
        min_bytes: u16,
        /// The longest, in bytes.
        max_bytes: u16,
    },
    /// A length of 16 bits does not fit where the frame's whole length is said to be.
    PayloadShift {
        /// Its lowest bit.
        shift: u32,
    },
}

/// A part of a descriptor's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RulePart {
    /// The bit that the device sets when it is done.
    Done,
    /// The bits that say that a frame ends here.
    End,
    /// The bits that make a frame unusual.
    Unusual,
    /// The buffer's length.
    Length,
    /// The whole frame's length.
    PayloadLength,
    /// The fixed bits of a transmit descriptor.
    Command,
    /// The bit that asks for a report.
    Report,
}

impl fmt::Display for RulePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "the done bit",
            Self::End => "the end of a frame",
            Self::Unusual => "the unusual bits",
            Self::Length => "the buffer's length",
            Self::PayloadLength => "the frame's length",
            Self::Command => "the command",
            Self::Report => "the report bit",
        })
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rules for a ring's descriptors are wrong: ")?;
        match self {
            Self::NotOneBit { part, bits } => write!(f, "{part} is {bits:#x}, which is not one bit"),
            Self::Overlap { part, with, bits } => write!(f, "{part} and {with} both claim {bits:#x}"),
            Self::Lengths { min_bytes, max_bytes } => write!(f, "the shortest frame has {min_bytes} bytes and the longest {max_bytes}"),
            Self::PayloadShift { shift } => write!(f, "the frame's length cannot begin at bit {shift}, only at 32 to 48"),
        }?;
        f.write_str("; correct the driver's constants")
    }
}
impl core::error::Error for RulesError {}
