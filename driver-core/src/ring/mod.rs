//! Descriptors in memory that a device reads and writes, and private memory that says which buffer belongs to whom.
//!
//! A **kernel** is one ring with one device's half of the rules: it moves frames between a [`Batch`](crate::buf::Batch) and descriptors, believes nothing
//! that the device wrote before it was checked against private memory, and knows no registers. There are six:
//!
//! | | in one array of 16-byte descriptors, as cards have them | in the split virtqueues of virtio ([`split`]) | in the packed ones ([`packed`]) |
//! | --- | --- | --- | --- |
//! | receive | [`RxRing`] with [`RxRules`] | [`SplitRx`](split::SplitRx) | [`PackedRx`](packed::PackedRx) |
//! | transmit | [`TxRing`] with [`TxRules`] | [`SplitTx`](split::SplitTx) | [`PackedTx`](packed::PackedTx) |
//!
//! # The verbs
//!
//! All of them speak the same language, which the queues above them ([`queue`](crate::queue)) speak too. Where a kernel lacks a verb, the device's rules
//! make it meaningless, or it is a write to a register and the driver's.
//!
//! `PackedRx` and `PackedTx` have those of `SplitRx` and `SplitTx`, but for three: a buffer that is taken is lent anew at once, so that there is no `refill`; each
//! descriptor says by itself that it is used, and `ready` counts for nobody but statistics; and no hook judges there yet.
//!
//! | verb | what it does | `RxRing` | `TxRing` | `SplitRx` | `SplitTx` |
//! | --- | --- | --- | --- | --- | --- |
//! | ready | sees what the device is done with; nothing is taken that it did not see | `is_ready`; each take looks for itself | `has_report` | `ready`, `is_ready` | `ready` |
//! | take | moves received frames to a batch | `take_blocks`, `take_plain`, `take`; `skip` | | `take_ordinary`, `take` | |
//! | put | moves frames of a batch to the device | | `put_blocks`, `put_plain`, `put_only`, `put_segment` | | `put_ordinary`, `put` |
//! | judge | lets a hook say what becomes of frames in their slots, and moves those that go | with a `TxRing` | with an `RxRing` | with a `SplitTx` | with a `SplitRx` |
//! | reclaim | takes the buffers of sent frames back | | `reclaim` | | `reclaim` |
//! | refill | lends empty buffers in place of those taken | with each take | | `covered`, then `refill` | |
//! | publish | shows the device what it may use from now on | `tail`, which the driver writes to a register | `report_last`, then `tail` | `publish` | `publish` |
//! | arm | asks for an interrupt at the next frame | a register | a register | `arm`, `disarm` | |
//! | rewind | starts anew at the first descriptor, for a device that was reset: everything lent is lent again, or comes back | `rewind` | `rewind` | `rewind` | `rewind` |
//! | release | gives buffers and memory back | `release` | `release` | `release` | `release` |
//!
//! An **ordinary** frame lies whole in one buffer and asks for nothing: many of them go through a kernel in one loop. The others go one by one.
//!
//! A virtio device takes commands by a queue of their own, [`CommandQueue`], of either layout.
//!
//! `rewind` and `release` are unsafe: they are where somebody says that the hardware writes no more. A kernel that is dropped leaks its memory and buffers,
//! since it cannot know.
//!
//! # Memory
//!
//! A ring lies in a region of its own, or in a [part](RingPart) of one that it shares with the device's other rings ([`RingMemory`]).

pub(crate) mod command;
pub(crate) mod desc;
pub(crate) mod error;
pub(crate) mod fault;
#[cfg(all(test, loom))]
mod handshake;
pub(crate) mod hook;
pub(crate) mod lane;
pub(crate) mod memory;
pub(crate) mod owners;
pub mod packed;
pub(crate) mod rules;
pub(crate) mod rx;
#[cfg(test)]
mod scalar;
pub mod split;
#[cfg(test)]
mod tests;
pub(crate) mod tx;
pub(crate) mod verdict;
pub(crate) mod virtq;
pub(crate) mod words;

pub use command::CommandQueue;
pub use desc::{BLOCK, DESC_BYTES, DescRing};
pub use error::{RingError, RulePart, RulesError};
pub use fault::QueueFault;
pub use hook::{RxHooked, TxHooked};
pub use lane::Pair;
pub use memory::{RingMemory, RingPart};
pub use rules::{RxRules, TxRules};
pub use rx::{Begun, LargeRules, RxRing, RxTakeError, SplitRules, WholeError, WholeLimits};
pub use tx::{REPORT_EVERY, Reclaimed, TxContext, TxRing};
pub use verdict::{FrameView, Hook, Settled, SettledRest, Verdict, WhenFull};
pub use virtq::asking::Requests;
pub use virtq::{HASH_HEADER_BYTES, Ordinary, PutWhole, VirtqTaken, flow_hash};
pub use words::{DmaWords, Word};
