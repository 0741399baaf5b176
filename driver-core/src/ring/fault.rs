//! What ends a queue's work.

use core::fmt;

/// Why a queue works no more: what its device did that it must not do, or what became of the device. The first that was seen stays.
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
    /// The device was stopped by its control handle.
    Stopped,
    /// A transmit queue has work and did not move for the time that its configuration gives it, though the device has a link.
    Hung {
        /// The transmit queue's number.
        queue: u16,
        /// When it was seen to move last, on the host's [`Clock`](crate::host::clock::Clock), in microseconds.
        since_us: u64,
    },
    /// The device does not answer any more: unplugged, powered down, or its server has gone.
    Gone,
    /// Somebody else has reset the device, or switched its memory decoding off: it has forgotten how it was set up.
    Reset,
    /// The device asks for a reset (virtio's DEVICE_NEEDS_RESET).
    NeedsReset,
    /// The device reports that something in itself failed, which its reset mends (82599: EICR.ECC, or EICR's PCI exception).
    Hardware(&'static str),
    /// The device was reset and set up anew, and this queue did not come up.
    NotRestarted,
}

impl QueueFault {
    /// Whether it is over when the driver itself resets the device and sets it up as it was: not what the device should not have written.
    pub const fn is_mended_by_reset(&self) -> bool {
        matches!(self, Self::Hung { .. } | Self::Reset | Self::NeedsReset | Self::Hardware(_) | Self::NotRestarted)
    }
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
            Self::Hung { queue, since_us } => {
                write!(
                    f,
                    "transmit queue {queue} hangs: it has work and has not moved since {since_us} us of the host's clock; stop the device and open it again"
                )
            }
            Self::Gone => f.write_str("the device does not answer any more: it was unplugged or powered down, or its server has gone"),
            Self::Reset => f.write_str("the device was reset by somebody else, or its memory decoding switched off: stop it and open it again"),
            Self::Hardware(what) => write!(f, "the device reports {what}, and has to be reset: stop it and open it again"),
            Self::NotRestarted => f.write_str("the device was reset, and this queue of it does not turn on again: stop the device and open it again"),
            Self::NeedsReset => f.write_str("the device asks for a reset (virtio's DEVICE_NEEDS_RESET): stop it and open it again"),
        }
    }
}
impl core::error::Error for QueueFault {}
