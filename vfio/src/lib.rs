//! PCI functions from Linux VFIO, for the drivers of this family: one [`VfioFunction`] over three ways in. And [`UserFunction`]: the same over a
//! vfio-user socket, from another process in the kernel's place, without privileges.
//!
//! | [`Way`] | device | memory | since |
//! | --- | --- | --- | --- |
//! | `Iommufd` | `/dev/vfio/devices/vfioN` | `/dev/iommu` | Linux 6.6 |
//! | `Group` | `/dev/vfio/N` | type1v2 container `/dev/vfio/vfio` | Linux 3.6 |
//! | `NoIommu` | `/dev/vfio/noiommu-N` | physical addresses of huge pages, no protection | Linux 4.5 |
//!
//! ```no_run
//! use driver_core::host::PciFunction;
//! let mut nic = vfio::VfioFunction::open("0000:01:00.0".parse().unwrap(), None)?;
//! // SAFETY: what is written to them makes the device access what was lent to it, and nothing else.
//! let registers = unsafe { nic.open_bar(0) }.unwrap();
//! let rings = nic.dma().allocate(65536).unwrap();
//! // Frames cross between functions of one domain without a copy.
//! let other = nic.domain().open("0000:02:00.0".parse().unwrap())?;
//! # Ok::<(), vfio::Error>(())
//! ```
//!
//! An [`Error`] says which step failed, on what, why (it looks for the cause in sysfs and procfs), and what mends it.
//! The module [`sysfs`] has the same looks as a list of checks, lists network functions, and binds them to vfio-pci.
//!
//! # Order of things
//! A function's descriptor and every [`driver_core::host::DmaRegion`] keep the domain open, a BAR keeps the function's descriptor open, and a group
//! stays in its domain until that goes. So: dropping the function forbids DMA, dropping a region unmaps it before it is freed, and whatever is
//! dropped first, no device reaches freed memory.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

pub mod sysfs;

mod address;
mod bar;
mod config;
mod container;
mod detect;
mod domain;
mod error;
mod function;
mod ioctl;
mod iommufd;
mod irq;
mod limits;
mod mapper;
mod memory;
mod noiommu;
mod region;
mod user;
mod way;

pub use address::{PciAddress, PciAddressError};
pub use bar::{VfioBar, VfioDoorbell};
pub use domain::Domain;
pub use error::{Cause, Error, Holder, NoIommu, Sibling};
pub use function::VfioFunction;
pub use irq::{Event, Events, VfioInterrupt};
pub use limits::{Limits, start_bytes};
pub use user::{ServerCause, UserDomain, UserFunction};
pub use way::{Way, WayError};
