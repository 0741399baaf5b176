//! Why something was not done in software.

use core::fmt;

/// Why something was not done. The frame is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffloadError {
    /// The place of a partial checksum, or the start of its sum, is not in the frame.
    Place {
        /// Where its sum begins, in bytes from the start of the frame.
        start: u16,
        /// Where it goes, in bytes from `start`.
        offset: u16,
        /// The frame's length in bytes.
        len_bytes: usize,
    },
    /// The frame carries neither IPv4 nor IPv6, or another packet than was asked for.
    NotIp,
    /// A length in the packet's headers does not fit the bytes that are there.
    Malformed,
    /// The packet is a fragment: its checksum covers what others carry.
    Fragment,
    /// The protocol (its number in the IP header) has no checksum that is known here.
    Protocol(u8),
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { start, offset, len_bytes } => write!(
                f,
                "a checksum that begins at byte {start} and goes {offset} bytes behind that lies outside of a frame of {len_bytes} bytes: count from its first byte"
            ),
            Self::NotIp => f.write_str(
                "the frame carries no such IP packet right behind its Ethernet header and VLAN tags, and so no checksum that is known here",
            ),
            Self::Malformed => f.write_str("a length in the packet's headers does not fit the bytes that are there: set the lengths first"),
            Self::Fragment => f.write_str("the packet is a fragment, and its checksum covers what others carry: compute it before the packet is cut"),
            Self::Protocol(number) => {
                write!(f, "IP protocol {number} has no checksum that is known here: TCP, UDP, SCTP, ICMP and ICMPv6 have")
            }
        }
    }
}

impl core::error::Error for OffloadError {}
