//! Every scenario of this folder once more, on a card that offers no packed queues.

#![allow(clippy::duplicate_mod, reason = "each scenario has the rig as a module of its own")]

#[path = "after_a_lie.rs"]
mod after_a_lie;
#[path = "announce.rs"]
mod announce;
#[path = "checksums.rs"]
mod checksums;
#[path = "clauses_rings.rs"]
mod clauses_rings;
#[path = "coalescing.rs"]
mod coalescing;
#[path = "ctrl_filters.rs"]
mod ctrl_filters;
#[path = "ctrl_stuck.rs"]
mod ctrl_stuck;
#[path = "ctrl_vlans.rs"]
mod ctrl_vlans;
#[path = "frames.rs"]
mod frames;
#[path = "handshake.rs"]
mod handshake;
#[path = "hash_report.rs"]
mod hash_report;
#[path = "hooks.rs"]
mod hooks;
#[path = "jumbo.rs"]
mod jumbo;
#[path = "large_receive.rs"]
mod large_receive;
#[path = "lying_device.rs"]
mod lying_device;
#[path = "lying_headers.rs"]
mod lying_headers;
#[path = "mmio.rs"]
mod mmio;
#[path = "notification_data.rs"]
mod notification_data;
#[path = "notifications.rs"]
mod notifications;
#[path = "pairs.rs"]
mod pairs;
#[path = "queues.rs"]
mod queues;
#[path = "recovery.rs"]
mod recovery;
#[path = "reset_by_others.rs"]
mod reset_by_others;
#[path = "room.rs"]
mod room;
#[path = "rss.rs"]
mod rss;
#[path = "rx_offloads.rs"]
mod rx_offloads;
#[path = "segmentation.rs"]
mod segmentation;
#[path = "selftest.rs"]
mod selftest;
#[path = "states.rs"]
mod states;
