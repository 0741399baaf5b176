//! What breaks a queue.

use core::fmt;

/// What a device did that it must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueFault {
    /// It reported a frame longer than the buffer it was lent.
    Length {
        /// The descriptor's index.
        slot: u32,
        /// The length that the device wrote.
        len_bytes: u32,
        /// The room of the buffer.
        max_bytes: u32,
    },
    /// It named a descriptor or buffer that was not lent to it.
    Index {
        /// What it named.
        index: u32,
        /// What the ring has.
        limit: u32,
    },
    /// It wrote something else that makes no sense.
    Protocol(&'static str),
    /// The device is stopped or does not answer.
    Stopped,
}

impl fmt::Display for QueueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { slot, len_bytes, max_bytes } => {
                write!(f, "descriptor {slot}: the device reports {len_bytes} bytes in a buffer of {max_bytes}")
            }
            Self::Index { index, limit } => write!(f, "the device names descriptor {index} of {limit}, which was not lent to it"),
            Self::Protocol(what) => f.write_str(what),
            Self::Stopped => f.write_str("the device is stopped"),
        }
    }
}
impl core::error::Error for QueueFault {}
