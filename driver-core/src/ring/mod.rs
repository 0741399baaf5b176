//! Descriptors in DMA memory, and the private shadows that say who owns which buffer.

pub(crate) mod desc;
pub(crate) mod error;
pub(crate) mod lane;
pub(crate) mod memory;
pub(crate) mod rules;
pub(crate) mod rx;
#[cfg(test)]
mod scalar;
pub mod split;
#[cfg(test)]
mod tests;
pub(crate) mod tx;
pub(crate) mod words;

pub use desc::{BLOCK, DESC_BYTES, DescRing};
pub use error::{RingError, RulePart, RulesError};
pub use lane::Pair;
pub use memory::{RingMemory, RingPart};
pub use rules::{RxRules, TxRules};
pub use rx::{RxRing, RxTakeError};
pub use tx::{REPORT_EVERY, Reclaimed, TxRing};
pub use words::{DmaWords, Word};
