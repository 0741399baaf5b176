//! The control side of a started device, whatever its driver.

use driver_core::device::{DeviceInfo, Error as DeviceError, Link, NetDevice, RxMode, Stats};
use driver_core::ether::MacAddr;

use crate::error::Error;

/// [`NetDevice`] without the driver's own types, so that one variable holds any device's control handle.
///
/// Dropping it stops the device.
pub trait Control: Send {
    /// What the device is and can do.
    fn info(&self) -> &DeviceInfo;
    /// The address it has now.
    fn mac(&self) -> MacAddr;
    /// Gives it another address.
    ///
    /// # Errors
    /// As [`NetDevice::set_mac`].
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error>;
    /// The MTU it was started with, in bytes.
    fn mtu(&self) -> u32;
    /// The link as it is now.
    fn link(&mut self) -> Link;
    /// Sets promiscuous and all-multicast mode.
    ///
    /// # Errors
    /// As [`NetDevice::set_rx_mode`].
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error>;
    /// Replaces the further unicast addresses that it receives.
    ///
    /// # Errors
    /// As [`NetDevice::set_unicast_filters`].
    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error>;
    /// Replaces the multicast addresses that it receives.
    ///
    /// # Errors
    /// As [`NetDevice::set_multicast_filters`].
    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error>;
    /// Counters since the start.
    fn stats(&mut self) -> Stats;
    /// Stops the device; when it returns, the device writes to no memory any more.
    ///
    /// # Errors
    /// As [`NetDevice::stop`].
    fn stop(&mut self) -> Result<(), Error>;
}

/// A driver's own control handle behind [`Control`].
pub(crate) struct Erased<D>(pub(crate) D);

impl<D: NetDevice<Error = DeviceError>> Control for Erased<D> {
    fn info(&self) -> &DeviceInfo {
        self.0.info()
    }
    fn mac(&self) -> MacAddr {
        self.0.mac()
    }
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error> {
        Ok(self.0.set_mac(mac)?)
    }
    fn mtu(&self) -> u32 {
        self.0.mtu()
    }
    fn link(&mut self) -> Link {
        self.0.link()
    }
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error> {
        Ok(self.0.set_rx_mode(mode)?)
    }
    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        Ok(self.0.set_unicast_filters(addresses)?)
    }
    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        Ok(self.0.set_multicast_filters(addresses)?)
    }
    fn stats(&mut self) -> Stats {
        self.0.stats()
    }
    fn stop(&mut self) -> Result<(), Error> {
        Ok(self.0.stop()?)
    }
}
