//! The sk_buff, where it comes from, and how many travel together.

pub(crate) mod batch;
pub(crate) mod frame;
pub(crate) mod memory;
pub(crate) mod pool;
#[cfg(all(test, loom))]
mod pool_loom_tests;

pub use batch::Batch;
pub use frame::{Checksum, Frame, FrameError, Rss, RssKind, Segmentation, SegmentationKind, Segments, meta};
pub use pool::{BufPool, CHUNK, PoolConfig, PoolError};
