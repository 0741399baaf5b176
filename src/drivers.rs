//! Which driver is for which device.

/// A device that a driver of this family drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Driven {
    /// The driver's name.
    pub driver: &'static str,
    /// The device's name.
    pub device: &'static str,
}

/// The driver for the PCI function with these IDs; `None` where there is none.
///
/// ```
/// assert_eq!(barewire::driver_for(0x8086, 0x10fb).unwrap().driver, "ixgbe");
/// assert_eq!(barewire::driver_for(0x1af4, 0x1041).unwrap().driver, "virtio-net");
/// assert_eq!(barewire::driver_for(0x8086, 0x1234), None);
/// ```
pub fn driver_for(vendor: u16, device: u16) -> Option<Driven> {
    use virtio_net::regs::pci as virtio;
    match (vendor, device) {
        (ixgbe::id::VENDOR, _) => {
            let model = ixgbe::id::MODELS.iter().find(|model| model.device == device)?;
            Some(Driven { driver: IXGBE, device: model.name })
        }
        (virtio::VENDOR, virtio::MODERN_DEVICE) => Some(Driven { driver: VIRTIO_NET, device: "virtio network device" }),
        (virtio::VENDOR, virtio::TRANSITIONAL_DEVICE) => Some(Driven { driver: VIRTIO_NET, device: "virtio network device (transitional)" }),
        _ => None,
    }
}

pub(crate) const IXGBE: &str = "ixgbe";
pub(crate) const VIRTIO_NET: &str = "virtio-net";

/// What is driven, for errors.
pub(crate) const SUPPORTED: &str = "Intel 82599, X540 and X550 (ixgbe), and virtio network devices (virtio-net)";
