//! The device as the other modules of this crate work on it: its function, its structures, and what it says of itself.
//!
//! [`init`](crate::init) and [`queues`](crate::queues) add the way from a reset to a live device.

use alloc::boxed::Box;
use alloc::sync::Arc;

use driver_core::device::ErrorKind;
use driver_core::device::control::why_all_ones;
use driver_core::ether::{MIN_MTU, MacAddr};
use driver_core::host::{Clock, DmaDomain, PciFunction};
use driver_core::offload::RssTypes;
use driver_core::queue::QueueFault;

use crate::address::local_mac;
use crate::error::HardwareError;
use crate::regs::{Features, Status, net, pci};
use crate::transport::{Mmio, Modern, SharedFunction, Transport};

/// One device.
pub(crate) struct Card<F: PciFunction> {
    pub(crate) function: SharedFunction<F>,
    pub(crate) transport: Box<dyn Transport<F>>,
    /// The memory that it reaches.
    pub(crate) domain: DmaDomain,
    /// Everything that it offers, once it was asked.
    pub(crate) offered: Features,
    /// Pairs of queues that it has.
    pub(crate) max_pairs: u16,
    /// The device's own MTU, where it tells one.
    pub(crate) device_mtu: Option<u32>,
    /// What it can hash.
    pub(crate) hash_types: RssTypes,
}

impl<F: PciFunction> Card<F> {
    /// That the function is a virtio network card, and where its registers are.
    pub(crate) fn find(mut function: F, clock: Arc<dyn Clock>) -> Result<Self, ErrorKind> {
        let id = function.id()?;
        if id.vendor != pci::VENDOR || !matches!(id.device, pci::MODERN_DEVICE | pci::TRANSITIONAL_DEVICE) {
            return Err(ErrorKind::UnknownId { id, driver: "virtio-net", drives: "network cards 1af4:1041 and 1af4:1000" });
        }
        log::info!("{}: {id}", function.name());
        function.enable_registers()?;
        let domain = function.dma().clone();
        let (transport, function) = Modern::find(function, clock)?;
        Ok(Self::reached_by(transport, function, domain))
    }

    /// That memory mapped registers are those of a virtio network card. `None`: no device is there.
    pub(crate) fn at_registers(mut function: F, clock: Arc<dyn Clock>) -> Result<Option<Self>, ErrorKind> {
        function.enable_registers()?;
        let domain = function.dma().clone();
        let found = Mmio::find(function, clock)?;
        Ok(found.map(|(transport, function)| Self::reached_by(transport, function, domain)))
    }

    /// A device that was not asked anything yet.
    fn reached_by(transport: impl Transport<F> + 'static, function: SharedFunction<F>, domain: DmaDomain) -> Self {
        let (offered, hash_types) = (Features::empty(), RssTypes::empty());
        Self { function, transport: Box::new(transport), domain, offered, max_pairs: 1, device_mtu: None, hash_types }
    }

    /// 3.1.1, steps 1 to 3: "Reset the device.", "Set the ACKNOWLEDGE status bit: the guest OS has noticed the device.", "Set the DRIVER status bit".
    pub(crate) fn greet(&self) -> Result<(), ErrorKind> {
        self.transport.reset()?;
        self.acknowledge();
        Ok(())
    }

    /// Steps 2 and 3.
    pub(crate) fn acknowledge(&self) {
        self.transport.add_status(Status::ACKNOWLEDGE);
        self.transport.add_status(Status::DRIVER);
    }

    /// Asks what it offers, and for its address.
    pub(crate) fn identify(&mut self) -> Result<MacAddr, ErrorKind> {
        self.offered = self.transport.offered();
        if !self.offered.contains(Features::VERSION_1) {
            return Err(HardwareError::NotModern { missing: "VIRTIO_F_VERSION_1" }.into());
        }
        self.transport.check_device_len(config_len_bytes(self.takes()))?;
        let mac = self.permanent_mac()?;
        self.device_mtu = self.read_mtu()?;
        self.max_pairs = self.read_max_pairs()?;
        Ok(mac)
    }

    /// What this driver takes of what is offered.
    pub(crate) fn takes(&self) -> Features {
        (self.offered & (Features::USED - self.transport.lacks())).with_what_they_require()
    }

    /// What became of a live device, if it does not run any more.
    pub(crate) fn look(&self) -> Option<QueueFault> {
        lost(self.transport.status()).map(|fault| match fault {
            QueueFault::Gone => why_all_ones(&*self.function.lock()),
            other => other,
        })
    }

    fn permanent_mac(&self) -> Result<MacAddr, ErrorKind> {
        let transport = &self.transport;
        if !self.takes().contains(Features::MAC) {
            return Ok(local_mac(transport.name(), transport.clock().now_us()));
        }
        let mac = transport.config(|device| {
            let mut mac = [0; 6];
            mac.iter_mut().zip(net::MAC.iter()).for_each(|(byte, register)| *byte = register.read(device));
            MacAddr(mac)
        })?;
        if mac.is_valid_unicast() { Ok(mac) } else { Err(HardwareError::DeviceConfig { what: "mac is no unicast address" }.into()) }
    }

    fn read_mtu(&self) -> Result<Option<u32>, ErrorKind> {
        if !self.takes().contains(Features::MTU) {
            return Ok(None);
        }
        let mtu = self.transport.config(|device| net::MTU.read(device))?.into();
        // 5.1.4.1: "The device MUST set mtu to between 68 and 65535 inclusive, if it offers VIRTIO_NET_F_MTU."
        if mtu < MIN_MTU { Err(HardwareError::DeviceConfig { what: "mtu is below 68" }.into()) } else { Ok(Some(mtu)) }
    }
}

/// What the status of a live device says of it: that it does not answer, asks for a reset (2.1.2), or was reset, so that DRIVER is gone, and DRIVER_OK where it was not
/// set behind that.
pub(crate) fn lost(status: Status) -> Option<QueueFault> {
    // All ones have every bit set, DEVICE_NEEDS_RESET too.
    if status.bits() == u8::MAX {
        return Some(QueueFault::Gone);
    }
    if status.contains(Status::DEVICE_NEEDS_RESET) {
        return Some(QueueFault::NeedsReset);
    }
    (!status.contains(Status::DRIVER | Status::DRIVER_OK)).then_some(QueueFault::Reset)
}

/// How many bytes of the device configuration these features need.
fn config_len_bytes(features: Features) -> u32 {
    let ends = [
        (Features::MAC, net::MAC.end()),
        (Features::STATUS, net::STATUS.end()),
        (Features::MQ | Features::RSS, net::MAX_VIRTQUEUE_PAIRS.end()),
        (Features::MTU, net::MTU.end()),
        (Features::SPEED_DUPLEX, net::DUPLEX.end()),
        (Features::RSS | Features::HASH_REPORT, net::SUPPORTED_HASH_TYPES.end()),
    ];
    ends.into_iter().filter(|&(feature, _)| features.intersects(feature)).map(|(_, end)| end).max().unwrap_or(0)
}
