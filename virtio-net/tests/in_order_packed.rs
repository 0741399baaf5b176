//! Scenarios of this folder once more, on a card that uses buffers in order and tells of many by the last one (VIRTIO_F_IN_ORDER).

#![allow(clippy::duplicate_mod, reason = "each scenario has the rig as a module of its own")]

#[path = "after_a_lie.rs"]
mod after_a_lie;
#[path = "clauses_rings.rs"]
mod clauses_rings;
#[path = "frames.rs"]
mod frames;
#[path = "hooks.rs"]
mod hooks;
#[path = "jumbo.rs"]
mod jumbo;
#[path = "large_receive.rs"]
mod large_receive;
#[path = "lying_device.rs"]
mod lying_device;
#[path = "notification_data.rs"]
mod notification_data;
#[path = "recovery.rs"]
mod recovery;
#[path = "room.rs"]
mod room;
#[path = "segmentation.rs"]
mod segmentation;
#[path = "states.rs"]
mod states;
