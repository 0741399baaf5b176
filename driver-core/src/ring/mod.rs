//! Descriptors in DMA memory, and the private shadows that say who owns which buffer.

pub(crate) mod desc;
pub(crate) mod lane;
pub(crate) mod rx;
pub mod split;
#[cfg(test)]
mod tests;
pub(crate) mod tx;
pub(crate) mod words;

pub use desc::{BLOCK, DESC_BYTES, DescRing};
pub use lane::{Pair, all_within, length_words};
pub use rx::{RxRing, RxRingError, RxRules, RxTakeError};
pub use tx::{REPORT_EVERY, Reclaimed, TxRing, TxRules};
pub use words::{DmaWords, Word};
