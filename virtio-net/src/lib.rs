//! virtio network devices over PCI and memory mapped, driven from an application.
//!
//! [`open`] takes a PCI function, [`open_mmio`] a memory mapped device; it resets the device and reads what it offers; [`VirtioNet::start`] gives the control handle and the queues.
//! After it, only the queues touch the device on the data path, each from its own thread.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`start`], [`control`] | opening and starting; what the control handle does to the device |
//! | `transport` | how the device is reached, as one trait, with modern PCI (where the structures lie, registers, the reset, feature bits) and memory mapped registers |
//! | `card`, `init`, `queues` | what the device says of itself, and its way from a reset to a live one |
//! | `layout`, `watch` | what queues of both layouts can do, and how far the device is in one |
//! | [`rx`], [`tx`] | the data path over [`driver_core::ring::packed`] or [`driver_core::ring::split`] |
//! | `recover` | a device that was reset is set up as it was |
//! | `ctrl` | the control queue: commands, each answered in bounded time |
//! | `filter`, `rss`, `coalesce`, `segment`, `offloads`, `link`, `stats`, `device_stats` | one function of the device each |
//! | [`regs`], [`desc`] | registers, feature bits, descriptors and headers, with the specification's names |
//! | `silence` | where it is vouched for that the device uses lent memory no more |
//! | [`config`], [`error`] | which configurations, what can go wrong |
//!
//! Section numbers are those of Virtual I/O Device (VIRTIO) Version 1.3.
//!
//! Queues are packed where the device offers it and [`Config::packed_queues`](driver_core::device::Config::packed_queues) does not forbid it, else split. Receive and transmit queues come in
//! pairs: where there are more of one direction than of the other, the rest of the pairs is set up and idle. What goes by the control queue is told behind DRIVER_OK.
#![no_std]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod card;
mod coalesce;
pub mod config;
pub mod control;
mod ctrl;
pub mod desc;
mod device_stats;
pub mod error;
mod features;
pub mod filter;
mod init;
pub mod large;
mod layout;
mod link;
mod offloads;
mod queues;
mod recover;
pub mod regs;
mod rss;
mod rules;
pub mod rx;
mod segment;
mod selftest;
mod silence;
pub mod start;
mod stats;
mod transport;
pub mod tx;
mod watch;

pub use control::Control;

pub use driver_core::device::{ConfigError, Error, ErrorKind};
pub use error::HardwareError;
pub use regs::Features;
pub use rx::Rx;
pub use start::{StartError, Started, VirtioNet, open, open_mmio};
pub use tx::Tx;
