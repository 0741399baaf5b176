//! Scenarios once more, on a card that uses buffers in order and tells of many by the last one (VIRTIO_F_IN_ORDER): `tests/all.rs` holds this file twice, for both layouts.

mod after_a_lie;
mod clauses_rings;
mod frames;
mod hash_report;
mod hooks;
mod in_order;
mod jumbo;
mod large_receive;
mod lying_device;
mod mixed_batches;
mod notification_data;
mod queue_reset;
mod recovery;
mod rig;
mod room;
mod rounds;
mod segmentation;
mod states;
mod ward;
