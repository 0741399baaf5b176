//! Packed virtqueues (virtio 1.3, section 2.8): one ring of descriptors that both sides write, and a word for each side that says when it wants to hear of the other.
//!
//! | type | what it is |
//! | --- | --- |
//! | [`PackedQueue`] | the memory, and how far each side is |
//! | [`PackedRx`] | a ring that is full of empty buffers at all times |
//! | [`PackedTx`] | frames in flight, by buffer ID |
//!
//! A device gives buffers back in the ring's order of places, by the buffer ID that it found there: where it uses them in the order in which they were made available, as
//! all do that we know, the ID is the place's number, and the short ways take nothing else. Any other order goes one at a time.
//!
//! Of a used descriptor AVAIL and USED alone are tested: whether a device sets WRITE (DPDK does, QEMU does not) says nothing. The length is believed on receive, within
//! what was lent, and ignored on transmit. A chain's ID stands in each of its descriptors, since devices give back the first's or the last's, and its length is kept
//! by ID in private memory.

mod command;
pub(crate) mod hook;
mod queue;
mod rx;
mod tx;

pub use queue::{PackedQueue, PackedWatch};
pub use rx::PackedRx;
pub use tx::PackedTx;
