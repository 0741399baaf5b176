//! Why a verb of a frame could not be done.

use core::fmt;

/// Why a verb could not be done. The frame is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Not enough room before the data.
    Headroom {
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// Not enough room behind the data.
    Tailroom {
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// The (first segment of the) frame has fewer bytes.
    Short {
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// `reserve` on a frame that has data already.
    NotEmpty,
    /// The pool has no free buffer.
    PoolEmpty,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headroom { wanted_bytes, have_bytes } => write!(f, "{wanted_bytes} bytes do not fit into {have_bytes} bytes of headroom"),
            Self::Tailroom { wanted_bytes, have_bytes } => write!(f, "{wanted_bytes} bytes do not fit into {have_bytes} bytes of tailroom"),
            Self::Short { wanted_bytes, have_bytes } => write!(f, "{wanted_bytes} bytes are more than the {have_bytes} bytes that are there"),
            Self::NotEmpty => f.write_str("headroom can only be reserved in a frame without data"),
            Self::PoolEmpty => f.write_str("the pool has no free buffer: drop frames, or make it larger"),
        }
    }
}
impl core::error::Error for FrameError {}
