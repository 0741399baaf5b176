//! Scenarios once more, on a card that uses buffers in order and tells of many by the last one (VIRTIO_F_IN_ORDER).

mod after_a_lie;
mod clauses_rings;
mod frames;
mod hooks;
mod jumbo;
mod large_receive;
mod lying_device;
mod notification_data;
mod recovery;
mod rig;
mod room;
mod segmentation;
mod states;
mod ward;
