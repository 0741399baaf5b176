//! Simulated network cards.
//!
//! A [`Model`] is a card: configuration space, registers, DMA through an [`Iommu`] that faults, interrupt vectors, and a port that is
//! plugged into a [`wire::Wire`]. [`SimDevice`] carries a model inside this process and presents it as a
//! [`PciFunction`](driver_core::host::PciFunction), stepped by hand in tests or on a thread of its own when a wire is live.
//!
//! A model is stricter than the hardware where the datasheet forbids something: it records a [`Violation`]. A test ends by asserting that there is none.

pub mod clock;
pub mod config;
pub mod device;
mod dma;
pub mod function;
pub mod iommu;
pub mod ixgbe;
pub mod model;
pub mod msix;
pub mod vfio_user;
pub mod violation;
pub mod virtio_net;
pub mod wire;

pub use clock::{HostClock, SimClock};
pub use device::{Live, SimDevice};
pub use dma::Dma;
pub use function::{SimBar, SimDoorbell, SimFunction, SimInterrupt};
pub use iommu::{DmaFault, Held, Iommu};
pub use model::{Host, Legacy, Model};
pub use violation::{Violation, Violations};
