//! The sk_buff: an owned frame in one or several buffers of a pool.
//!
//! A [`Frame`] is a value of 32 bytes: where its data begins, its pool, and two words that a receive ring stored exactly as the device wrote them
//! (see [`meta`](crate::buf::meta)). Metadata is decoded when it is asked for. What does not fit lies in private memory of the pool, one place a
//! buffer, and a tag in the low bits of the pool's address says so; another says that the data does not begin at the buffer's home address, others
//! that the words carry a VLAN tag, or the place of a checksum to be filled in. A transmit ring finds every tag with the one comparison by which it
//! recognises frames of its own pool: such a frame takes another way, where it is looked at.
//!
//! | file | what is in it, each above those before it |
//! | --- | --- |
//! | `error` | why a verb could not be done |
//! | `handle` | the value itself: tags, bytes, links, drop |
//! | `ask` | what a frame asks of its device, as far as words and tags say it |
//! | `chain` | frames of several buffers |
//! | `verbs` | what moves a frame's ends |
//! | `metadata` | what is known of a frame, and what is wanted |

pub(crate) mod ask;
pub(crate) mod chain;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod metadata;
#[cfg(test)]
mod tests;
pub(crate) mod verbs;

pub(crate) use ask::{Ask, may_ask};
pub use chain::Segments;
pub(crate) use chain::{Extent, Growing};
pub use error::FrameError;
pub use handle::Frame;
pub(crate) use handle::{TAG_MOVED, TAG_NEXT};
