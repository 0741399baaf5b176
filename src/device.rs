//! An opened device, before it is started.

use std::fmt;
use std::sync::Arc;

use driver_core::clock::Clock;
use driver_core::device::{Config, DeviceInfo};
use driver_core::pci::PciFunction;
use sim::{Live, Model, SimDevice};

use crate::control::Erased;
use crate::error::Error;
use crate::port::{Parts, Port};
use crate::spec::Card;

/// A device that is reset and identified. Dropping it closes it.
pub struct Device {
    // Declared first, so that the driver lets go of the card before its thread ends.
    driver: Box<dyn Driver>,
    sim: Simulated,
}

/// A simulated card that moves on a thread of its own.
pub(crate) struct Simulated {
    pub(crate) device: SimDevice,
    pub(crate) live: Live,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.info().name)
    }
}

impl Device {
    pub(crate) fn simulated(device: SimDevice, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        // The driver's resets take time on the card: it moves before the driver opens it.
        let live = device.run();
        let opened = ixgbe::open(device.function(), clock);
        let driver = opened.map_err(|error| Error::Driver { device: device.name().into(), tried: "opening", error: Box::new(error) })?;
        Ok(Self { driver: Box::new(driver), sim: Simulated { device, live } })
    }

    /// What the device is and can do.
    pub fn info(&self) -> &DeviceInfo {
        self.driver.info()
    }

    /// Starts it: the port has the control handle and the queues.
    ///
    /// # Errors
    /// [`Error::Driver`] where the configuration is not one for this device, or the device does not come up; it is closed then.
    pub fn start(self, config: &Config) -> Result<Port, Error> {
        let Self { driver, sim } = self;
        Ok(Port::new(driver.start(config)?, sim))
    }
}

/// An opened device without its driver's and its function's types.
trait Driver: Send {
    fn info(&self) -> &DeviceInfo;
    fn start(self: Box<Self>, config: &Config) -> Result<Parts, Error>;
}

impl<F: PciFunction> Driver for ixgbe::Ixgbe<F> {
    fn info(&self) -> &DeviceInfo {
        self.info()
    }

    fn start(self: Box<Self>, config: &Config) -> Result<Parts, Error> {
        let info = self.info().clone();
        let started = (*self).start(config).map_err(|error| Error::driver(&info, "starting", ixgbe::Error::from(error)))?;
        Ok(Parts {
            control: Box::new(Erased(started.control)),
            rx: started.rx.into_iter().map(|queue| Box::new(queue) as _).collect(),
            tx: started.tx.into_iter().map(|queue| Box::new(queue) as _).collect(),
            interrupts: started.interrupts.into_iter().map(|interrupt| Box::new(interrupt) as _).collect(),
            pool: started.pool,
        })
    }
}

/// The model of `card` with `mac` in its EEPROM.
pub(crate) fn model(card: Card, mac: [u8; 6]) -> Box<dyn Model> {
    let device = match card {
        Card::I82599 => 0x10fb,
        Card::X540 => 0x1528,
        Card::X550 => 0x1563,
    };
    Box::new(sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions { device, mac, ..Default::default() }))
}
