//! An opened device, before it is started.

use std::fmt;
#[cfg(any(feature = "sim", feature = "vfio"))]
use std::sync::Arc;

use driver_core::device::{Config, DeviceInfo};
#[cfg(any(feature = "sim", feature = "vfio"))]
use driver_core::host::{Clock, PciFunction};

use crate::drivers::AnyDriver;
use crate::error::Error;
use crate::origin::Origin;
use crate::port::Port;

/// A device that is reset and identified. Dropping it closes it.
pub struct Device {
    // Declared first, so that the driver lets go of a simulated card before its thread ends.
    driver: Box<dyn AnyDriver>,
    origin: Box<dyn Origin>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.info().name)
    }
}

impl Device {
    /// Opens `function` with the driver that its IDs ask for. `physical`: there is no IOMMU, and IOVAs are physical addresses.
    #[cfg(any(feature = "sim", feature = "vfio"))]
    pub(crate) fn open<F: PciFunction>(function: F, clock: Arc<dyn Clock>, physical: bool, origin: Box<dyn Origin>) -> Result<Self, Error> {
        Ok(Self { driver: crate::drivers::open(function, clock, physical)?, origin })
    }

    /// What the device is and can do.
    pub fn info(&self) -> &DeviceInfo {
        self.driver.info()
    }

    /// Starts it: the port has the control handle and the queues.
    ///
    /// # Errors
    /// [`Error::Device`] where the configuration is not one for this device, or the device does not come up; it is closed then.
    pub fn start(self, config: &Config) -> Result<Port, Error> {
        let Self { driver, origin } = self;
        driver.start(config, origin)
    }
}
