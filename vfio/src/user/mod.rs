//! vfio-user, client side: PCI functions that another process serves over a unix socket.
//!
//! The protocol is VFIO's requests as messages: `docs/vfio-user.rst` and `include/vfio-user.h` of libvfio-user, which QEMU's `vfio-user-pci` speaks too.
//!
//! What a server says is checked as what a device says is. Two things are left to trust, as between any two processes that share memory:
//!
//! * Each server maps all memory of the domain, the frames of the other devices included. It cannot shorten it: these files are sealed.
//! * The file behind a BAR is seen to be long enough before it is mapped. A server that shortens it later, or whose file system has no room for its pages,
//!   ends this process with a bus error (SIGBUS) at the next access. A memfd with the seal `F_SEAL_SHRINK` cannot be shortened. The seal is not asked for:
//!   servers made with libvfio-user often share plain files, which have none, and without the mapping each doorbell is a system call. Nor is the signal
//!   caught, as `sim`'s server does, which trusts no client: a library of drivers does not decide over the signals of its process.

mod cause;
mod channel;
mod commands;
mod connection;
mod domain;
mod function;
mod memory;
mod socket;
mod vectors;
mod version;
mod wire;

pub use cause::ServerCause;
pub use domain::UserDomain;
pub use function::UserFunction;

pub(crate) use connection::Connection;
