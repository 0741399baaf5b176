//! The sk_buff, where it comes from, and how many travel together.

pub(crate) mod batch;
pub(crate) mod cache;
pub(crate) mod copy;
pub(crate) mod frame;
pub(crate) mod memory;
pub mod meta;
pub(crate) mod pool;
#[cfg(all(test, loom))]
mod pool_loom_tests;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use cache::BufCache;
pub use frame::{Frame, FrameError, Segments};
pub use meta::{Checksum, FlowMatch, Rss, RssKind, Segmentation, SegmentationKind};
pub use pool::{BufPool, CHUNK, PoolConfig, PoolError};
