//! What a platform gives: one PCI function with its registers, memory that devices reach, interrupts and time.
//!
//! Whoever brings drivers to a new host (an operating system, a hypervisor's guest, no system at all) implements what is here and nothing else.

pub(crate) mod bar;
pub(crate) mod clock;
pub(crate) mod config_space;
pub(crate) mod dma;
pub(crate) mod iova;
pub(crate) mod pci;
pub(crate) mod vectors;

pub use bar::{Bar, BarError, Doorbell, RegSpace};
pub use clock::Clock;
pub use config_space::ConfigSpace;
pub use dma::{DmaDomain, DmaError, DmaMapper, DmaRegion, Iova, Mapping};
pub use iova::{IovaAllocator, IovaExhausted, IovaNotTaken, IovaRequest};
pub use pci::{Interrupt, PciError, PciErrorKind, PciFunction, PciId, WaitWaker};
pub use vectors::{VectorPlan, Vectors, VectorsIter};
