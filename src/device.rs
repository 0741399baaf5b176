//! An opened device, before it is started.

use std::fmt;
#[cfg(any(feature = "sim", feature = "vfio"))]
use std::sync::Arc;
use std::time::Duration;

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::error::steps;
use driver_core::device::{Config, DeviceInfo, During, SelfTest};
use driver_core::host::DmaDomain;
#[cfg(any(feature = "sim", feature = "vfio"))]
use driver_core::host::{Clock, PciFunction};

use crate::drivers::AnyDriver;
use crate::error::Error;
use crate::origin::Origin;
use crate::pools::{Place, Pools};
use crate::port::Port;

/// A device that is reset and identified. Dropping it closes it.
pub struct Device {
    // Declared first, so that the driver lets go of a simulated card before its thread ends.
    driver: Box<dyn AnyDriver>,
    origin: Box<dyn Origin>,
    domain: DmaDomain,
    /// Among the devices of its host.
    place: Option<Place>,
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
        let domain = function.dma().clone();
        Ok(Self { driver: crate::drivers::open(function, clock, physical)?, origin, domain, place: None })
    }

    /// The same as one of its host's.
    #[cfg_attr(not(any(feature = "sim", feature = "vfio")), allow(dead_code, reason = "no kind of device is built in"))]
    pub(crate) fn among(self, pools: &Pools) -> Self {
        let place = pools.add(&self.domain, self.driver.info(), self.driver.own_pool());
        Self { place: Some(place), ..self }
    }

    /// What the device is and can do.
    pub fn info(&self) -> &DeviceInfo {
        self.driver.info()
    }

    /// Makes a pool of buffers that this device reaches, and with it every other device of its [`Host`](crate::Host). Given to several of them by
    /// [`Config::pool`], it is shared: then it has to hold as many buffers as their receive rings together, and some for frames on their way. For all devices of a
    /// host: [`Host::pool`](crate::Host::pool).
    ///
    /// ```
    /// # #[cfg(all(feature = "sim", feature = "ixgbe"))]
    /// # fn main() -> Result<(), barewire::Error> {
    /// use barewire::{Config, PoolConfig};
    ///
    /// let devices = barewire::open_all(&["sim:ixgbe", "sim:ixgbe"])?;
    /// // Frames of up to 9014 bytes lie in one piece.
    /// let pool = devices[0].pool(PoolConfig::new(4096).data_bytes(9216))?;
    /// let config = Config::new().mtu(9000).pool(pool);
    /// let ports = devices.into_iter().map(|device| device.start(&config)).collect::<Result<Vec<_>, _>>()?;
    /// # assert_eq!(ports.len(), 2);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "sim", feature = "ixgbe")))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] where `config` makes no pool, or the memory cannot be had or mapped.
    pub fn pool(&self, config: PoolConfig) -> Result<BufPool, Error> {
        Ok(BufPool::new(&self.domain, config).during(&self.info().name, steps::MAKING_A_POOL)?)
    }

    /// Tests the device, part by part, as `ethtool -t` does offline: registers, EEPROM, interrupts, frames that it loops back, link, as far as it has them. It is taken
    /// from its link for that, and can be started afterwards. The link is waited for at most `link_wait`.
    ///
    /// ```
    /// # #[cfg(all(feature = "sim", feature = "ixgbe"))]
    /// # fn main() -> Result<(), barewire::Error> {
    /// let mut device = barewire::open("sim:ixgbe,defect=loopback")?;
    /// let test = device.self_test(std::time::Duration::ZERO)?;
    /// let wrong: Vec<_> = test.flaws().map(|(part, _)| part.name()).collect();
    /// assert_eq!(wrong, ["loopback", "link"], "it is plugged into nothing");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "sim", feature = "ixgbe")))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] where its driver has no test, or it does not come out of a reset. What is wrong with it is in the result.
    pub fn self_test(&mut self, link_wait: Duration) -> Result<SelfTest, Error> {
        self.driver.self_test(u64::try_from(link_wait.as_micros()).unwrap_or(u64::MAX))
    }

    /// Ends it without a start. Returns what it did that the datasheet forbids, in the words of a simulated card, which watches its driver.
    pub fn close(self) -> Vec<String> {
        let Self { driver, origin, .. } = self;
        drop(driver);
        origin.finish().violations
    }

    /// Starts it: the port has the control handle and the queues.
    ///
    /// Where its buffers come from: the pool of [`Config::pool`]; without it the host's ([`Host::pool`](crate::Host::pool)); without that one too, one that
    /// is **shared by all ports of the [`Host`](crate::Host)**, so that a frame received on one port goes out on another as it would on its own. It is made
    /// when the first device is started, with as many buffers as this one and all other devices that are open then would have in pools of their own, and as
    /// large as any of them needs, where they are started with the same configuration. A device that would not do with it gets a pool of its own, and frames
    /// go between the two all the same: one that is opened later, one that is started with more queues or longer rings, or with an MTU for which it needs
    /// larger buffers (only where a frame has to lie in one: see [`Caps::RX_SCATTER`](driver_core::device::Caps::RX_SCATTER)). Who is to keep many frames of
    /// one port for long gives it a pool, lest the other run short.
    ///
    /// ```
    /// # #[cfg(all(feature = "sim", feature = "ixgbe", feature = "virtio-net"))]
    /// # fn main() -> Result<(), barewire::Error> {
    /// use barewire::{Config, Host};
    ///
    /// let mut host = Host::new();
    /// let (a, b) = (host.open("sim:ixgbe")?, host.open("sim:virtio-net")?); // all before the first is started
    /// let (a, b) = (a.start(&Config::new())?, b.start(&Config::new())?);
    /// assert!(a.pool.is_same(&b.pool));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "sim", feature = "ixgbe", feature = "virtio-net")))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] where the configuration is not one for this device, or the device does not come up; it is closed then.
    pub fn start(self, config: &Config) -> Result<Port, Error> {
        let Self { driver, origin, place, .. } = self;
        let (config, share) = place.map_or_else(|| (config.clone(), None), |place| place.config(config));
        driver.start(&config, share, origin)
    }
}
