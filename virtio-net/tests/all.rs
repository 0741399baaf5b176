//! The scenarios of this folder in one binary, which is linked once; most of them over both layouts of queues.
//! `cargo test -p barewire-virtio-net --test all rss::` runs those of one file, `split::rss::` the same over split queues alone.

#![allow(clippy::duplicate_mod, reason = "each layout has the scenarios and their rig as modules of its own")]

mod clauses_config;
mod clauses_features;
mod double_vlan_missing;
mod hostile_control;
#[path = "in_order_scenarios.rs"]
mod in_order_packed;
#[path = "in_order_scenarios.rs"]
mod in_order_split;
#[path = "scenarios.rs"]
mod packed;
mod packed_devices;
#[path = "../../ixgbe/tests/packets/mod.rs"]
mod packets;
mod ptp_refused;
mod rounds;
mod rules_refused;
#[path = "scenarios.rs"]
mod split;

use packed::rig;
