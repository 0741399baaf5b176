//! Simulated network cards.
//!
//! A [`Model`] is a card: configuration space, registers, DMA through an [`Iommu`] that faults, interrupt vectors, and a port that is
//! plugged into a [`wire::Wire`]. [`SimDevice`] carries a model inside this process and presents it as a
//! [`PciFunction`](driver_core::host::PciFunction): stepped by hand in tests, by its program's calls ([`Stepped`]), or on a thread of its own when a wire is live.
//!
//! # What safe code cannot do
//! A card writes to the memory that frames lie in. Whoever steers it otherwise than by a driver answers for that, by name: who writes registers
//! ([`PciFunction::open_bar`](driver_core::host::PciFunction::open_bar)), looks at memory as a device ([`Iommu::write`], [`Held::device`]), has a second function
//! beside a driver's ([`SimDevice::another_function`]), changes a running model ([`SimDevice::with_model`]) or makes it lie ([`ixgbe::Ixgbe::faults`]), or writes
//! a [`Model`].
//! ```compile_fail,E0133
//! let iommu = sim::Iommu::new();
//! let region = iommu.domain().allocate(4096).unwrap();
//! iommu.write(region.iova(), &[0xff]).unwrap();
//! ```
//! ```compile_fail,E0133
//! # fn registers(device: &sim::SimDevice) {
//! use driver_core::host::PciFunction;
//! let bar = device.function().open_bar(0).unwrap();
//! # }
//! ```
//! ```compile_fail,E0133
//! # fn memory(iommu: &sim::Iommu) {
//! let (memory, violations) = (iommu.hold(), sim::Violations::default());
//! let dma = memory.device(true, &violations);
//! # }
//! ```
//! ```compile_fail,E0133
//! # fn lie(device: &sim::SimDevice) {
//! device.with_model(|card: &mut sim::ixgbe::Ixgbe| card.faults().rx_length = Some(9000));
//! # }
//! ```
//!
//! A model is stricter than the hardware where the datasheet forbids something: it records a [`Violation`]. A test ends by asserting that there is none:
//! a [`Testbed`] does.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod chassis;
pub mod clock;
pub mod config;
pub mod device;
mod dma;
pub mod function;
pub mod iommu;
pub mod ixgbe;
mod memory;
mod mishap;
pub mod model;
pub mod msix;
mod pace;
mod schedule;
mod slot;
mod stepped;
mod testbed;
pub mod vfio_user;
pub mod violation;
pub mod virtio_net;
pub mod wire;

pub use clock::{Clocked, HostClock, SimClock};
pub use device::{Live, SimDevice};
pub use dma::Dma;
pub use function::{SimBar, SimDoorbell, SimFunction, SimInterrupt};
pub use iommu::{Held, Iommu};
pub use memory::{DmaFault, FaultCause};
pub use mishap::Mishap;
pub use model::{Legacy, Model};
pub use slot::Slot;
pub use stepped::{Stepped, Stepper};
pub use testbed::Testbed;
pub use violation::{Violation, Violations};
