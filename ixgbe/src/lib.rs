//! Intel 82599, X540 and X550 10 Gbit/s Ethernet controllers, driven from an application.
//!
//! [`open`] takes a PCI function, resets the card and reads its address; [`Ixgbe::start`] gives the control handle and the queues.
//! After it, only the queues touch the card on the data path, each from its own thread.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`start`], [`control`] | opening and starting; what the control handle does to the card |
//! | `card`, `reset`, `eeprom`, `semaphore`, `init`, `queues`, `irq` | the card's life in the datasheet's order, section by section |
//! | `making` | rings, buffers and queues of a start |
//! | [`vf`] | virtual functions, whose physical function somebody else drives |
//! | `filter`, `link`, `phy`, `rss`, `stats` | one function of the card each |
//! | `ptp` | its clock, and time stamps of frames |
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
//! With [`Config::mac_pools`](driver_core::device::Config::mac_pools) the last receive queues are each a pool of the card, which has the frames for the destination addresses that rules give it,
//! alone or with a VLAN; the first ones, up to four, share all else. The other tables are not used then.
//!
//! # Time
//!
//! With [`Config::timestamps`](driver_core::device::Config::timestamps) the card's clock runs and stamps frames: of received ones PTP's event messages, on the X550 all where that is asked for; of
//! sent ones those that ask, one at a time. A frame with a stamp, or one that asks, goes the way of frames that are out of the ordinary: who lets the X550 stamp every frame receives them one by one.
//!
//! ```
//! use driver_core::buf::Batch;
//! use driver_core::device::{Config, Frequency, NetDevice, RxMode, Timestamps};
//! use driver_core::host::Clock;
//! use driver_core::queue::{RxQueue, TxQueue};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use sim::wire::Wire;
//! # let (near, mut far) = sim::wire::peer::pair(8);
//! # let model = sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions::new());
//! # let card = sim::SimDevice::new("sim", Box::new(model), Box::new(near), sim::Iommu::new());
//! # let host = std::sync::Arc::new(sim::SimClock::new([card.clone()]));
//! # let device = ixgbe::open(card.function(), host.clone())?;
//! let mut port = device.start(&Config::new().timestamps(Timestamps::Ptp).rx_mode(RxMode::ALL_MULTICAST))?;
//! let clock = port.control.clock()?; // may go to a time daemon's own thread
//! clock.set(host.now_ns())?;
//! host.sleep_us(5_000);
//! let offset_ns = clock.read()?.offset_ns();
//! clock.adjust(-offset_ns)?;
//! clock.set_frequency(Frequency::from_ppb(-120))?;
//!
//! // A Sync message comes in.
//! # let mut sync = vec![0; 58];
//! # sync[..16].copy_from_slice(&[0x01, 0x1b, 0x19, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0x88, 0xf7, 0, 2]);
//! # far.send(&sync);
//! # host.sleep_us(100);
//! let mut batch = Batch::new(8);
//! port.rx[0].poll(&mut batch, 8);
//! assert!(batch.frames()[0].timestamp_ns().is_some());
//!
//! // A Delay_Req goes out.
//! let mut request = port.pool.frame_from(batch.frames()[0].data())?;
//! request.ask_for_timestamp(Some(7));
//! # batch.clear();
//! # let _ = batch.push(request);
//! # let _ =
//! port.tx[0].submit(&mut batch);
//! host.sleep_us(100);
//! let sent = clock.take_sent()?.expect("it was sent");
//! assert!(sent.id == 7 && sent.at_ns.is_some());
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
mod layout;
mod link;
mod making;
mod pause;
mod phy;
mod ptp;
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
pub mod vf;

pub use control::Control;
pub use driver_core::device::{ConfigError, Error, ErrorKind};
pub use error::HardwareError;
pub use filter::UNICAST_FILTERS;
pub use rx::Rx;
pub use start::{Ixgbe, StartError, Started, open};
pub use tx::Tx;
