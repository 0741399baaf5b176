//! Virtual functions of the 82599, X540 and X550 (7.10.2, 8.3): a PCI function with queues of a port whose physical function somebody else drives.
//!
//! [`open`] resets the function and asks its physical one for an address; [`IxgbeVf::start`] gives a control handle and queues, which are those of a port
//! ([`Rx`](crate::Rx), [`Tx`](crate::Tx)): descriptors, rings, offloads and interrupts are the same, and their registers lie elsewhere.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`id`] | which devices |
//! | `mailbox` | the 16 words between the two functions, and the bits that tell whose they are |
//! | `requests` | what is asked of the physical function, version by version |
//! | `reset` | bringing the function to silence, and the handshake behind that |
//! | `bring_up` | setting it up: the same by a start and by a recovery |
//! | `spread` | RSS |
//! | [`start`], [`control`] | opening and starting; what the control handle does |
//!
//! # What a virtual function has, and what not
//!
//! Filters are its physical function's: address, further addresses, up to 30 multicast addresses, VLANs and receive modes are asked for, and what is refused is an
//! error with the request's name. Without [`vlans`](driver_core::device::Config::vlans) frames without a tag come in, and none with one. A receive mode that is refused at the start is told in the log,
//! and the function does without. Rules, flow control, EEPROM and module are its physical function's too; segments are not put together and headers not split. On 82599 and X540 so are the key and the table of RSS;
//! [`settings`](driver_core::device::NetDevice::settings) tells them where the physical function does. Frames may be longer than the function's MTU, up to the port's.
//!
//! A reset of the physical function takes its virtual ones with it. [`watch`](driver_core::device::NetDevice::watch) sees it by the mailbox, and recovers the function as it does
//! one that hangs.

mod bring_up;
pub mod control;
pub mod id;
mod limits;
mod mailbox;
mod requests;
mod reset;
mod spread;
pub mod start;

pub use control::Control;
pub use start::{IxgbeVf, StartError, Started, open};
