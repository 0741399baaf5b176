//! Which driver is for which device. Each driver stands behind a feature of its name.

use driver_core::device::{Config, DeviceInfo, NetDriver, SelfTest};

use crate::error::Error;
use crate::origin::Origin;
use crate::pools::{OwnPool, Share};
use crate::port::Port;

#[cfg(any(feature = "sim", feature = "vfio"))]
pub(crate) use opening::open;

/// An opened device without its driver's type.
pub(crate) trait AnyDriver: Send {
    fn info(&self) -> &DeviceInfo;
    /// What the driver makes where it is given no pool.
    fn own_pool(&self) -> OwnPool;
    fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error>;
    fn start(self: Box<Self>, config: &Config, share: Option<Share>, origin: Box<dyn Origin>) -> Result<Port, Error>;
}

impl<D: NetDriver> AnyDriver for D {
    fn info(&self) -> &DeviceInfo {
        NetDriver::info(self)
    }

    fn own_pool(&self) -> OwnPool {
        D::pool_config
    }

    fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error> {
        Ok(NetDriver::self_test(self, link_us)?)
    }

    fn start(self: Box<Self>, config: &Config, share: Option<Share>, origin: Box<dyn Origin>) -> Result<Port, Error> {
        let started = NetDriver::start(*self, config).map_err(driver_core::device::Error::from)?;
        Ok(Port::new(started, share, origin))
    }
}

/// A device that a driver of this family drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Driven {
    /// The driver's name.
    pub driver: &'static str,
    /// The device's name.
    pub device: &'static str,
}

/// The driver for the PCI function with these IDs; `None` where there is none, or it was not built in.
///
/// ```
/// # #[cfg(all(feature = "ixgbe", feature = "virtio-net"))] {
/// assert_eq!(barewire::driver_for(0x8086, 0x10fb).unwrap().driver, "ixgbe");
/// assert_eq!(barewire::driver_for(0x8086, 0x10ed).unwrap().driver, "ixgbevf");
/// assert_eq!(barewire::driver_for(0x1af4, 0x1041).unwrap().driver, "virtio-net");
/// # }
/// assert_eq!(barewire::driver_for(0x8086, 0x1234), None);
/// ```
pub fn driver_for(vendor: u16, device: u16) -> Option<Driven> {
    let ids = (vendor, device);
    #[cfg(feature = "ixgbe")]
    if let Some(driven) = ixgbe_for(ids) {
        return Some(driven);
    }
    #[cfg(feature = "virtio-net")]
    if let Some(driven) = virtio_net_for(ids) {
        return Some(driven);
    }
    let _without_drivers = ids;
    None
}

#[cfg(feature = "ixgbe")]
fn ixgbe_for((vendor, device): (u16, u16)) -> Option<Driven> {
    let ports = ixgbe::id::MODELS.iter().map(|model| (IXGBE, model));
    let functions = ixgbe::vf::id::MODELS.iter().map(|model| (IXGBEVF, model));
    let (driver, model) = ports.chain(functions).find(|(_, model)| (ixgbe::id::VENDOR, model.device) == (vendor, device))?;
    Some(Driven { driver, device: model.name })
}

#[cfg(feature = "virtio-net")]
fn virtio_net_for(ids: (u16, u16)) -> Option<Driven> {
    use virtio_net::regs::pci as virtio;
    let device = match ids {
        (virtio::VENDOR, virtio::MODERN_DEVICE) => "virtio network device",
        (virtio::VENDOR, virtio::TRANSITIONAL_DEVICE) => "virtio network device (transitional)",
        _ => return None,
    };
    Some(Driven { driver: VIRTIO_NET, device })
}

#[cfg(feature = "ixgbe")]
const IXGBE: &str = "ixgbe";
#[cfg(feature = "ixgbe")]
const IXGBEVF: &str = "ixgbevf";
#[cfg(feature = "virtio-net")]
const VIRTIO_NET: &str = "virtio-net";

#[cfg(any(feature = "sim", feature = "vfio"))]
mod opening {
    use std::sync::Arc;

    use driver_core::device::During;
    use driver_core::device::error::steps;
    use driver_core::host::{Clock, PciFunction};

    use super::{AnyDriver, driver_for};
    use crate::error::Error;

    /// What is driven, for errors.
    const SUPPORTED: &str = match (cfg!(feature = "ixgbe"), cfg!(feature = "virtio-net")) {
        (true, true) => "Intel 82599, X540 and X550 (ixgbe) with their virtual functions (ixgbevf), and virtio network devices (virtio-net)",
        (true, false) => {
            "Intel 82599, X540 and X550 (ixgbe); virtio network devices need barewire's feature `virtio-net`, which this program was built without"
        }
        (false, true) => {
            "virtio network devices (virtio-net); Intel 82599, X540 and X550 need barewire's feature `ixgbe`, which this program was built without"
        }
        (false, false) => "no device at all: this program was built without barewire's features `ixgbe` and `virtio-net`",
    };

    /// Opens the function with the driver that its IDs ask for. `physical`: there is no IOMMU, and IOVAs are physical addresses.
    pub(crate) fn open<F: PciFunction>(function: F, clock: Arc<dyn Clock>, physical: bool) -> Result<Box<dyn AnyDriver>, Error> {
        let device = function.name().to_owned();
        let id = function.id().during(&device, steps::OPENING)?;
        match driver_for(id.vendor, id.device).map(|driven| driven.driver) {
            #[cfg(feature = "ixgbe")]
            Some(super::IXGBE) => Ok(Box::new(ixgbe::open(function, clock)?)),
            #[cfg(feature = "ixgbe")]
            Some(super::IXGBEVF) => Ok(Box::new(ixgbe::vf::open(function, clock)?)),
            #[cfg(feature = "virtio-net")]
            Some(super::VIRTIO_NET) => {
                let mut driver = virtio_net::open(function, clock)?;
                if physical {
                    // SAFETY: there is no IOMMU, says the caller.
                    unsafe { driver.assume_physical_addresses() };
                }
                Ok(Box::new(driver))
            }
            // Its error says what it is, and why it is not driven.
            #[cfg(feature = "ixgbe")]
            _ if ixgbe::id::Relative::find(&id).is_some() => Ok(Box::new(ixgbe::open(function, clock)?)),
            _ => {
                let _without_drivers = (function, clock, physical);
                Err(Error::NoDriver { device, id, supported: SUPPORTED })
            }
        }
    }
}

#[cfg(all(test, feature = "sim", not(all(feature = "ixgbe", feature = "virtio-net"))))]
mod left_out {
    use crate::Error;

    #[test]
    fn a_driver_that_was_left_out_is_named_with_its_feature() {
        for (feature, is_built_in) in [("ixgbe", cfg!(feature = "ixgbe")), ("virtio-net", cfg!(feature = "virtio-net"))] {
            let spec = format!("sim:{feature}");
            match crate::open(&spec) {
                Ok(device) => assert!(is_built_in && device.info().driver == feature),
                Err(error) => {
                    assert!(matches!(error, Error::NoDriver { .. }) && !is_built_in, "{error}");
                    let text = error.to_string();
                    assert!(text.starts_with(&format!("{spec}: there is no driver for ")) && text.contains(&format!("`{feature}`")), "{text}");
                }
            }
        }
    }
}
