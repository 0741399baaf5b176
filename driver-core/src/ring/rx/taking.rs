//! What a receive ring gives beside frames: why it gave nothing, and what came of a frame.

use core::fmt;

use crate::buf::frame::Growing;

/// Why [`RxRing::take`](super::RxRing::take) took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver answers each in its own way")]
pub enum RxTakeError {
    /// The device marked the frame bad. The descriptor is used up.
    Bad,
    /// The device is not done with the descriptor.
    NotDone,
    /// No empty buffer to put into the slot. The frame stays in the ring.
    NoBuffer,
    /// The device claims more bytes than it was lent.
    Length {
        /// What it claims.
        len_bytes: u32,
    },
}

impl fmt::Display for RxTakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad => f.write_str("the device marked the frame bad"),
            Self::NotDone => f.write_str("the device is not done with the next descriptor: look again later"),
            Self::NoBuffer => f.write_str("no empty buffer is there to take the filled one's place: drop frames, or make the pool larger"),
            Self::Length { len_bytes } => write!(f, "the device reports {len_bytes} bytes, more than the buffer has that it was lent"),
        }
    }
}
impl core::error::Error for RxTakeError {}

/// Why [`RxRing::take_whole`](super::RxRing::take_whole) took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver answers each in its own way")]
pub enum WholeError {
    /// As of any ring.
    Take(RxTakeError),
    /// The frame has more bytes or buffers than the device may put into one, or more are begun than it may begin.
    TooLong,
    /// The frame goes on in a descriptor that does not exist, or in which another goes on.
    Next {
        /// What the device names.
        descriptor: u16,
    },
}

impl fmt::Display for WholeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(error) => error.fmt(f),
            Self::TooLong => f.write_str("the device puts more bytes or buffers into one frame than it may, or begins more of them"),
            Self::Next { descriptor } => {
                write!(f, "the device goes on with a frame in descriptor {descriptor}, which is not there or where another frame goes on")
            }
        }
    }
}
impl core::error::Error for WholeError {}

/// A frame that came in part, or is too long.
pub struct Begun {
    pub(crate) chain: Growing,
    /// Its end came as well.
    pub(crate) ends: bool,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} buffers", self.chain.bytes, self.chain.segments)
    }
}
