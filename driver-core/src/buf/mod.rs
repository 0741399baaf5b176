//! The sk_buff, where it comes from, and how many travel together.
//!
//! | file | what is in it, each above those before it |
//! | --- | --- |
//! | [`meta`] | what is known of a frame: the vocabulary, and the two words that a frame carries |
//! | `raw` | empty buffers as integers, and where a pool's buffers lie |
//! | `free` | the free list: a stack of blocks of buffers, without a lock |
//! | `memory` | a pool's region, what keeps it, private places |
//! | `frame/` | the sk_buff: [`Frame`] and its verbs |
//! | `pool` | handles to pools: [`BufPool`] |
//! | `copy` | bytes into frames |
//! | `cache` | empty buffers at hand: [`BufCache`] |
//! | `batch` | frames in order, with a cache: [`Batch`] |
//!
//! A buffer's **home address** is where its data begins when it is empty; a frame whose data begin there is **at home**, and **plain** if besides it is
//! one buffer and its two words say all that is known of it.

pub(crate) mod batch;
pub(crate) mod cache;
pub(crate) mod copy;
pub(crate) mod frame;
mod free;
#[cfg(all(test, loom))]
mod free_loom_tests;
#[cfg(all(test, not(loom)))]
mod free_tests;
pub(crate) mod memory;
pub mod meta;
pub(crate) mod pool;
#[cfg(all(test, loom))]
mod pool_loom_tests;
mod raw;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use cache::BufCache;
pub use frame::{Frame, FrameError, Segments};
pub use memory::CHUNK;
pub use meta::{Checksum, FlowMatch, Rss, RssKind, Segmentation, SegmentationKind};
pub use pool::{BufPool, PoolConfig, PoolError};
