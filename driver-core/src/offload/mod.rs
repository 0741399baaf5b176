//! What a stack leaves to its device, and what the device leaves to the stack, done in software: checksums, VLAN tags, segmentation ([`Frame::cut`]), and the
//! hash by which flows are told apart.
//!
//! A transmit queue calls it for what its device lacks ([`Work`]); a stack calls it through its frames: [`Frame::fill_in_checksum`] for one that is to be
//! filled in, [`Frame::verify_checksum`] for one that nobody has looked at. All of it works on frames in several buffers that end where they like, and
//! believes no length in a packet before it has compared it with the bytes that are there.
//!
//! | file | what is in it, each above those before it |
//! | --- | --- |
//! | `sum` | ones' complement sums, with odd offsets and odd pieces |
//! | `crc32c` | the checksum of SCTP |
//! | `error` | why something could not be done |
//! | `packet` | where a frame's checksums are, and what they cover |
//! | `checksum` | filled in, computed, verified |
//! | `vlan` | a tag into a frame |
//! | `segment` | a frame into many |
//! | `work` | what a frame asks for |
//! | `toeplitz` | the hash of RSS, of a frame or of what is known of its flow |
//!
//! [`Frame::fill_in_checksum`]: crate::buf::Frame::fill_in_checksum
//! [`Frame::cut`]: crate::buf::Frame::cut
//! [`Frame::verify_checksum`]: crate::buf::Frame::verify_checksum

pub(crate) mod checksum;
pub(crate) mod crc32c;
pub(crate) mod error;
pub(crate) mod packet;
pub(crate) mod segment;
#[cfg(test)]
mod segment_tests;
pub(crate) mod sum;
#[cfg(test)]
mod tests;
pub(crate) mod toeplitz;
pub(crate) mod vlan;
pub(crate) mod work;

pub use checksum::{fill_ipv4, fill_transport, verify_ipv4, verify_transport};
pub use crc32c::Crc32c;
pub use error::OffloadError;
pub use segment::{Headers, SegmentationError};
pub use sum::Sum;
pub use toeplitz::{FlowTuple, RssTypes, toeplitz};
pub use work::Work;
