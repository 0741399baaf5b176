//! What can go wrong with a wire.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::length::{MAX_FRAME_BYTES, MIN_FRAME_BYTES};

/// What went wrong with a wire: what was tried, on what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The operating system refused something.
    System {
        /// What was tried, for instance "open the capture file".
        action: &'static str,
        /// The file, socket or device.
        on: String,
        /// The system's answer.
        cause: String,
        /// What to do about it; may be empty.
        remedy: String,
    },
    /// A file is no capture file.
    NotACapture {
        /// The file.
        file: PathBuf,
        /// What it looks like.
        seen: String,
    },
    /// A capture file ends within a record or holds nonsense. The frames before it were delivered.
    Broken {
        /// The file.
        file: PathBuf,
        /// Whole frames before the damage.
        frames: u64,
        /// What was found there.
        cause: String,
    },
    /// A capture file was not taken on Ethernet, or not all of it was: frames of its other interfaces were left out.
    LinkType {
        /// The file.
        file: PathBuf,
        /// Ethernet frames before the first that was left out.
        frames: u64,
        /// The first other link type found, by its number in the registry of libpcap's link types.
        link_type: u32,
        /// How many frames were left out so far; 0 where the file was refused as a whole.
        skipped: u64,
    },
    /// Records of a capture file were left out, because no Ethernet wire carries frames of that length.
    FrameSize {
        /// The file.
        file: PathBuf,
        /// The first such record, counted from 1.
        record: u64,
        /// Its length in bytes.
        len: usize,
        /// How many records were left out so far.
        skipped: u64,
    },
    /// The device behind the wire is gone.
    Gone {
        /// The device.
        device: String,
    },
    /// An option of a device spec is wrong.
    Option {
        /// What is wrong and what would be right.
        message: String,
    },
}

impl WireError {
    pub(crate) fn system(action: &'static str, on: impl AsRef<Path>, cause: &io::Error, remedy: impl Into<String>) -> Self {
        Self::System { action, on: on.as_ref().display().to_string(), cause: cause.to_string(), remedy: remedy.into() }
    }

    /// Whether the device behind the wire is gone for good, and the card with it.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    pub(crate) fn option(message: impl Into<String>) -> Self {
        Self::Option { message: message.into() }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { action, on, cause, remedy } => {
                write!(f, "{on}: cannot {action}: {cause}")?;
                if remedy.is_empty() { Ok(()) } else { write!(f, "; {remedy}") }
            }
            Self::NotACapture { file, seen } => write!(f, "{}: not a capture file ({seen}): give a file in pcap or pcapng format", file.display()),
            Self::Broken { file, frames, cause } => {
                write!(f, "{}: broken after frame {frames}: {cause}; the frames before were delivered", file.display())
            }
            Self::LinkType { file, frames, link_type, skipped } => {
                write!(f, "{}: ", file.display())?;
                if *skipped > 0 {
                    write!(f, "{skipped} frame(s) of other links left out, the first ")?;
                }
                write!(f, "after frame {frames}: link type {link_type} is not Ethernet (1): give a capture that was taken on an Ethernet interface")
            }
            Self::FrameSize { file, record, len, skipped } => write!(
                f,
                "{}: {skipped} frame(s) left out, the first is number {record} with {len} bytes: \
                 an Ethernet wire carries {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES} bytes (captures with longer frames come from segmentation offload)",
                file.display()
            ),
            Self::Gone { device } => write!(f, "{device}: the device was removed while the wire was in use: make it again and start anew"),
            Self::Option { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for WireError {}
