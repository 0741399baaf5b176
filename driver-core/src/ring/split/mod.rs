//! Split virtqueues (virtio 1.2, section 2.7): two rings and a descriptor table in DMA memory, the indexes that are believed in private memory, and
//! for each direction the slots that say which buffer lies behind which descriptor.
//!
//! | type | what it is |
//! | --- | --- |
//! | [`SplitQueue`] | the memory and its indexes |
//! | [`SplitRx`] | every descriptor stands for one slot that holds one empty buffer |
//! | [`SplitTx`] | frames in flight, and which descriptors are free |
//! | [`InOrderRx`], [`InOrderTx`] | the same of devices that use buffers in the order in which they get them |
//!
//! Of what the device can write only the used ring is ever read, each word once for each decision, and every index is checked before it is used.

mod command;
pub(crate) mod hook;
mod in_order;
mod queue;
mod rx;
mod table;
mod tx;

pub use crate::ring::virtq::{F_INDIRECT, F_NEXT, F_WRITE, HEADER_BYTES, HookRules};
pub use in_order::{InOrderRx, InOrderTx};
pub use queue::{SplitQueue, UsedIndex, descriptor, need_event};
pub use rx::SplitRx;
pub use tx::SplitTx;
