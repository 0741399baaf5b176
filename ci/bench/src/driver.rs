//! The drivers that are measured.

use clap::ValueEnum;

use crate::lap::Lap;
use crate::{ixgbe_stub, virtio_stub};

/// Which driver.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Driver {
    Ixgbe,
    VirtioNet,
}

impl Driver {
    /// A lap of it over rings of `ring` descriptors, in batches of `batch` frames.
    pub(crate) fn lap(self, ring: u32, batch: usize) -> Box<dyn Lap> {
        match self {
            Self::Ixgbe => ixgbe_stub::lap(ring, batch),
            Self::VirtioNet => virtio_stub::lap(ring, batch),
        }
    }
}
