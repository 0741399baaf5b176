//! A simulated card behind a vfio-user socket, for clients in other processes: QEMU's `vfio-user-pci` plugs it into a guest.
//!
//! ```no_run
//! use sim::ixgbe::{Ixgbe, IxgbeOptions};
//! use sim::vfio_user::Server;
//! use sim::wire::tap::Tap;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let card = Box::new(Ixgbe::new(IxgbeOptions::default()));
//! let mut server = Server::bind("/tmp/nic.sock".as_ref(), card, Box::new(Tap::open("tap0")?))?;
//! server.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! The protocol is that of libvfio-user's docs/vfio-user.rst, as far as QEMU 10.1 to 11.1 uses it. One client at a time: when it goes, the card is reset
//! and waits for the next. Memory that comes with a descriptor is mapped, and DMA to it costs no message; other memory is read and written by message.
//!
//! A client's mistakes end in an error reply, or in the end of its connection where the next message cannot be found. What a client is trusted with:
//! it must not shorten a file that it shares, for that is a bus error in whoever reads the memory; nor make an eventfd blocking and fill it just
//! between the server's look at it and the write that follows, for then the server waits. One that is full before costs only the signal.

mod asking;
mod bus_error;
mod cable;
mod card;
mod channel;
mod file_map;
mod irq;
mod memory;
mod proto;
mod server;
mod session;
mod stopper;

pub use cable::Cable;
pub use server::{ServeError, Server};
pub use stopper::Stopper;
