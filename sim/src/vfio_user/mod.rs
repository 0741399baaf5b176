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
//! and waits for the next; who comes meanwhile is told EBUSY. Memory that comes with a descriptor is mapped, and DMA to it costs no message; other memory is
//! read and written by message.
//!
//! A client's mistakes end in an error reply, or in the end of its connection where the next message cannot be found.
//!
//! # What a client can take away
//! Memory and eventfds are shared: the client keeps its ends. None of what it does with them ends the server or makes it wait:
//! * A file that it shortens, and pages that nobody has (huge pages that were not reserved, a full tmpfs): to touch them is a bus error (SIGBUS). The memory
//!   is accessed as it is, so that nobody pays for it; a handler of the signal puts zeros in its place, and the connection ends. The handler is installed for
//!   the process with the first file, and passes on to the one before what happens elsewhere: a program with one of its own installs it earlier.
//! * An eventfd that it makes blocking and fills, at whatever moment: it is signalled by the kernel, as VFIO's interrupts are, which waits for nobody. That
//!   takes asynchronous I/O (io_submit); of a kernel without (CONFIG_AIO), or in a sandbox that forbids it, a client that hits the moment between a look and
//!   a write hangs the server.
//!
//! What is left to trust: a file of a file system that the client serves itself (FUSE) is read when the client likes.

mod asking;
mod bell;
mod bus_error;
mod cable;
mod card;
mod channel;
mod file_map;
mod irq;
mod memory;
mod mishaps;
mod others;
mod proto;
mod server;
mod session;
mod stopper;

pub use cable::Cable;
pub use mishaps::Mishaps;
pub use server::{ServeError, Server};
pub use stopper::Stopper;
