//! An opened device, before it is started.

use std::fmt;
use std::sync::Arc;

use driver_core::device::error::steps;
use driver_core::device::{Config, DeviceInfo, During, Error as DeviceError, NetDevice, Started};
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{RxQueue, TxQueue};
use sim::{Live, Model, SimDevice};
use vfio::{Events, UserFunction, VfioFunction, Way};

use crate::control::Erased;
use crate::drivers::{self, IXGBE, SUPPORTED, VIRTIO_NET};
use crate::error::Error;
use crate::port::{Parts, Port};
use crate::spec::Card;

/// A device that is reset and identified. Dropping it closes it.
pub struct Device {
    // Declared first, so that the driver lets go of a simulated card before its thread ends.
    driver: Box<dyn Driver>,
    origin: Origin,
}

/// What stands behind a device.
pub(crate) enum Origin {
    /// A simulated card that moves on a thread of its own.
    Sim { card: SimDevice, live: Live },
    /// A PCI function of the kernel's or of a vfio-user server: what happens to it beside its queues.
    Vfio(Events),
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.info().name)
    }
}

/// The host's clock for the driver of a simulated card. While the driver sleeps the card moves here too: on a busy machine its own thread may not get
/// the processor for longer than a driver waits for any hardware.
struct CardClock {
    host: Arc<dyn Clock>,
    card: SimDevice,
}

impl Clock for CardClock {
    fn now_us(&self) -> u64 {
        self.host.now_us()
    }
    fn sleep_us(&self, us: u64) {
        self.host.sleep_us(us);
        self.card.advance_us(us);
    }
}

impl Device {
    pub(crate) fn simulated(card: SimDevice, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        // The driver's resets take time on the card: it moves before the driver opens it.
        let live = card.run();
        let driver = open_driver(card.function(), Arc::new(CardClock { host: clock, card: card.clone() }), false)?;
        Ok(Self { driver, origin: Origin::Sim { card, live } })
    }

    pub(crate) fn real(function: VfioFunction, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (events, way) = (function.events(), function.domain().way());
        Ok(Self { driver: open_driver(function, clock, way == Way::NoIommu)?, origin: Origin::Vfio(events) })
    }

    pub(crate) fn served(function: UserFunction, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let events = function.events();
        Ok(Self { driver: open_driver(function, clock, false)?, origin: Origin::Vfio(events) })
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
        Ok(Port::new(driver.start(config)?, origin))
    }
}

/// Opens the function with the driver that its IDs ask for. `physical`: there is no IOMMU, and IOVAs are physical addresses.
fn open_driver<F: PciFunction>(function: F, clock: Arc<dyn Clock>, physical: bool) -> Result<Box<dyn Driver>, Error> {
    let device = function.name().to_owned();
    let id = function.id().during(&device, steps::OPENING)?;
    match drivers::driver_for(id.vendor, id.device).map(|driven| driven.driver) {
        Some(IXGBE) => Ok(Box::new(ixgbe::open(function, clock)?)),
        Some(VIRTIO_NET) => {
            let mut driver = virtio_net::open(function, clock)?;
            if physical {
                // SAFETY: there is no IOMMU, says the caller.
                unsafe { driver.assume_physical_addresses() };
            }
            Ok(Box::new(driver))
        }
        _ => Err(Error::NoDriver { device, id, supported: SUPPORTED }),
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
        let started = (*self).start(config).map_err(|error| Error::Device(error.into()))?;
        Ok(Parts::erase(started, true))
    }
}

impl<F: PciFunction> Driver for virtio_net::VirtioNet<F> {
    fn info(&self) -> &DeviceInfo {
        self.info()
    }

    fn start(self: Box<Self>, config: &Config) -> Result<Parts, Error> {
        let started = (*self).start(config).map_err(|error| Error::Device(error.into()))?;
        Ok(Parts::erase(started, false))
    }
}

impl Parts {
    /// What a driver gave, without its types.
    fn erase<C, R, T>(started: Started<C, R, T>, counts_sent: bool) -> Self
    where
        C: NetDevice<Error = DeviceError> + 'static,
        R: RxQueue + 'static,
        T: TxQueue + 'static,
    {
        let Started { control, rx, tx, pool, .. } = started;
        Self {
            control: Box::new(Erased(control)),
            rx: rx.into_iter().map(|queue| Box::new(queue) as _).collect(),
            tx: tx.into_iter().map(|queue| Box::new(queue) as _).collect(),
            pool,
            counts_sent,
        }
    }
}

/// The model of `card` with `mac` as its own address. An ixgbe card hangs after `hang_tx_after` transmitted frames, where that is given.
pub(crate) fn model(card: Card, mac: [u8; 6], hang_tx_after: Option<u64>) -> Box<dyn Model> {
    let ixgbe = |device| Box::new(sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions::new().device(device).mac(mac).hang_tx_after(hang_tx_after)));
    match card {
        Card::I82599 => ixgbe(0x10fb),
        Card::X540 => ixgbe(0x1528),
        Card::X550 => ixgbe(0x1563),
        Card::VirtioNet => Box::new(sim::virtio_net::VirtioNet::new(sim::virtio_net::VirtioNetOptions::new().mac(mac))),
    }
}
