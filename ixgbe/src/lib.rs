//! Intel 82599, X540 and X550 10 Gbit/s Ethernet controllers, driven from an application.
//!
//! [`open`] takes a PCI function, resets the card and reads its address; [`Ixgbe::start`] gives the control handle and the queues.
//! After it, only the queues touch the card on the data path, each from its own thread.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`start`], [`control`] | opening and starting; what the control handle does to the card |
//! | `card`, `reset`, `eeprom`, `semaphore`, `init`, `queues`, `irq` | the card's life in the datasheet's order, section by section |
//! | `filter`, `link`, `phy`, `rss`, `stats` | one function of the card each |
//! | `health` | what a card tells of itself: registers, EEPROM, the module in its cage, what its test of itself finds |
//! | [`rx`], [`tx`] | the data path |
//! | [`regs`], [`desc`] | registers and descriptors, with the datasheet's names |
//! | `silence` | where it is vouched for that the card uses lent memory no more |
//! | [`id`], [`config`], [`error`] | which cards, which configurations, what can go wrong |
//!
//! # Rules
//!
//! A [`Rule`](driver_core::device::Rule) goes to the table of the card that fits it: EtherType filters (8), the SYN filter (1), five-tuple filters (128), and flow director where
//! [`Config::flow_table`](driver_core::device::Config::flow_table) gives it a part of the packet buffer. The card looks at them in this order. Rules with priorities that would want another
//! order are refused, as is what no table compares, by the name of the field.
//!
//! ```
//! use driver_core::device::{Config, FlowRoom, FlowTable, NetDevice, Rule};
//!
//! # fn main() -> Result<(), ixgbe::Error> {
//! # let (near, _far) = sim::wire::peer::pair(8);
//! # let model = sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions::new());
//! # let card = sim::SimDevice::new("sim", Box::new(model), Box::new(near), sim::Iommu::new());
//! # let clock = std::sync::Arc::new(sim::SimClock::new([card.clone()]));
//! # let device = ixgbe::open(card.function(), clock)?;
//! let mut control = device.start(&Config::new().rx_queues(4).flow_table(FlowTable::Exact(FlowRoom::Small)))?.control;
//! let dns = control.add_rule(&Rule::to_queue(3).destination([10, 0, 0, 1]).udp().destination_port(53))?;
//! control.add_rule(&Rule::drop().source_within([192, 0, 2, 0], [255, 255, 255, 0]))?;
//! let refused = control.add_rule(&Rule::drop().source([10, 0, 0, 9])).unwrap_err();
//! assert!(refused.to_string().contains("has one mask for all, which rule 1 set (source 255.255.255.0)"));
//! control.remove_rule(dns)?;
//! assert_eq!(control.rules().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Counters
//!
//! [`xstats`](driver_core::device::NetDevice::xstats) has every statistics register of the card's family, and those of its queues, under DPDK's names or names made like them. Octets include
//! check sequences, but for those of queues and of DMA, and so do sizes. Linux's `ethtool -S` calls some of them otherwise:
//!
//! | here | register | `ethtool -S` |
//! | --- | --- | --- |
//! | `rx_good_packets`, `rx_good_octets` | GPRC, GORC | `rx_pkts_nic` (less what was missed), `rx_bytes_nic` |
//! | `tx_good_packets`, `tx_good_octets` | GPTC, GOTC | `tx_pkts_nic`, `tx_bytes_nic` (both less pause frames) |
//! | `rx_broadcast_packets` | BPRC | `broadcast` |
//! | `rx_length_field_errors`, `rx_oversize_errors`, `rx_undersize_errors` | RLEC, ROC, RUC | `rx_length_errors`, `rx_long_length_errors`, `rx_short_length_errors` |
//! | `rx_q0_dropped` and its like | QPRDC | `rx_no_dma_resources` (all queues) |
//! | `rx_priority0_dropped` and its like | RXMPC | `rx_missed_errors` (all packet buffers) |
//! | `rx_xon_packets`, `rx_xoff_packets`, `tx_xon_packets`, `tx_xoff_packets` | LXONRXCNT, LXOFFRXCNT, LXONTXC, LXOFFTXC | `rx_flow_control_xon` and its like |
//! | `flow_director_matched_filters`, `flow_director_missed_filters` | FDIRMATCH, FDIRMISS | `fdir_match`, `fdir_miss` |
//! | `os2bmc_*` | O2BGPTC and others | the same |
//!
//! Section numbers are those of the Intel 82599 datasheet (331520). Where it contradicts itself or is silent, DATASHEET.md beside this crate names
//! the reading that was taken, and the code cites it by that name in capitals.
#![no_std]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bring_up;
mod card;
pub mod config;
pub mod control;
pub mod desc;
mod eeprom;
pub mod error;
mod filter;
mod health;
pub mod id;
mod init;
mod irq;
mod link;
mod pause;
mod phy;
mod queues;
mod recover;
pub mod regs;
mod reset;
mod rss;
pub mod rx;
mod semaphore;
mod silence;
pub mod start;
mod stats;
pub mod tx;
mod whole;

pub use control::Control;
pub use driver_core::device::{ConfigError, Error, ErrorKind};
pub use error::HardwareError;
pub use filter::UNICAST_FILTERS;
pub use rx::Rx;
pub use start::{Ixgbe, StartError, Started, open};
pub use tx::Tx;
