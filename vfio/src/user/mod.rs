//! vfio-user, client side: PCI functions that another process serves over a unix socket.
//!
//! The protocol is VFIO's requests as messages: `docs/vfio-user.rst` and `include/vfio-user.h` of libvfio-user, which QEMU's `vfio-user-pci` speaks too.

mod cause;
mod channel;
mod commands;
mod connection;
mod domain;
mod function;
mod memory;
mod socket;
mod version;
mod wire;

pub use cause::ServerCause;
pub use domain::UserDomain;
pub use function::UserFunction;

pub(crate) use connection::Connection;
