//! Queues whose device uses buffers in the order in which it gets them (VIRTIO_F_IN_ORDER, 2.7.9): descriptors are made available in the table's order, round and round, and one
//! used entry may stand for many buffers.
//!
//! | type | what it is |
//! | --- | --- |
//! | [`InOrderRx`] | the buffer behind each descriptor, which is the entry's of the same place in both rings |
//! | [`InOrderTx`] | frames in flight, between the descriptor of the oldest and the one behind the youngest |
//!
//! A device that names a buffer out of its turn is told as broken.

mod rx;
mod tx;

pub use rx::InOrderRx;
pub use tx::InOrderTx;
