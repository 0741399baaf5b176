//! As much of virtio over PCI as one transmit queue needs (virtio 1.2, section 4.1).

use std::time::{Duration, Instant};

use driver_core::host::{Bar, Iova, PciError, PciErrorKind, PciFunction};

/// Entries of the queue that is set up.
pub(crate) const QUEUE_SIZE: u16 = 8;

/// The vendor-specific capability of PCI, and virtio's kinds of it (section 4.1.4).
const CAPABILITY_VENDOR: u8 = 0x09;
const VIRTIO_PCI_CAP_COMMON_CFG: u32 = 1;
const VIRTIO_PCI_CAP_NOTIFY_CFG: u32 = 2;

/// Offsets in virtio_pci_common_cfg (section 4.1.4.3).
const DRIVER_FEATURE_SELECT: u32 = 0x08;
const DRIVER_FEATURE: u32 = 0x0c;
const DEVICE_STATUS: u32 = 0x14;
const QUEUE_SELECT: u32 = 0x16;
const QUEUE_SIZE_AT: u32 = 0x18;
const QUEUE_MSIX_VECTOR: u32 = 0x1a;
const QUEUE_ENABLE: u32 = 0x1c;
const QUEUE_NOTIFY_OFF: u32 = 0x1e;
const QUEUE_DESC: u32 = 0x20;
const QUEUE_DRIVER: u32 = 0x28;
const QUEUE_DEVICE: u32 = 0x30;

/// Device status bits (section 2.1).
const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
/// VIRTIO_F_VERSION_1 (32) and VIRTIO_F_ACCESS_PLATFORM (33), as bits of the upper half.
const FEATURES_HIGH: u32 = 0b11;
/// transmitq1 (section 5.1.2).
const TRANSMIT_QUEUE: u16 = 1;

/// A virtio card whose registers are mapped.
pub(crate) struct Card<B> {
    name: String,
    common: (B, u32),
    notify: (B, u32),
    notify_multiplier: u32,
    notify_at: u32,
}

impl<B: Bar> Card<B> {
    /// Finds the structures by their capabilities and opens their BARs.
    pub(crate) fn find<F: PciFunction<Bar = B>>(function: &mut F) -> Result<Self, PciError> {
        let (common, _) = structure(function, VIRTIO_PCI_CAP_COMMON_CFG)?;
        let (notify, capability) = structure(function, VIRTIO_PCI_CAP_NOTIFY_CFG)?;
        let notify_multiplier = function.config_read(capability + 16, 4)?;
        Ok(Self { name: function.name().into(), common, notify, notify_multiplier, notify_at: 0 })
    }

    /// The device status.
    pub(crate) fn status(&self) -> u8 {
        self.common.0.read8(self.common.1 + DEVICE_STATUS)
    }

    /// Resets the device and waits until it says that this is done (section 4.1.4.3.2).
    pub(crate) fn reset(&mut self) -> Result<(), PciError> {
        self.set_status(0);
        let start = Instant::now();
        while self.status() != 0 {
            if start.elapsed() > Duration::from_secs(1) {
                return Err(self.wrong("resetting it", "device_status does not become 0 within a second"));
            }
        }
        Ok(())
    }

    /// Goes through the handshake (section 3.1.1) and enables the transmit queue with its three parts at
    /// these addresses and with interrupt vector 0.
    pub(crate) fn start_transmit_queue(&mut self, descriptors: Iova, driver: Iova, device: Iova) -> Result<(), PciError> {
        let (bar, at) = self.common.clone();
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        for (half, bits) in [(0, 0), (1, FEATURES_HIGH)] {
            bar.write32(at + DRIVER_FEATURE_SELECT, half);
            bar.write32(at + DRIVER_FEATURE, bits);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if self.status() & FEATURES_OK == 0 {
            return Err(self.wrong("agreeing on features", "the card refuses VERSION_1 with ACCESS_PLATFORM"));
        }
        bar.write16(at + QUEUE_SELECT, TRANSMIT_QUEUE);
        bar.write16(at + QUEUE_SIZE_AT, QUEUE_SIZE);
        bar.write16(at + QUEUE_MSIX_VECTOR, 0);
        if bar.read16(at + QUEUE_MSIX_VECTOR) != 0 {
            return Err(self.wrong("giving the queue interrupt vector 0", "the card has no room for it"));
        }
        for (offset, iova) in [(QUEUE_DESC, descriptors), (QUEUE_DRIVER, driver), (QUEUE_DEVICE, device)] {
            bar.write32(at + offset, iova.0 as u32);
            bar.write32(at + offset + 4, (iova.0 >> 32) as u32);
        }
        self.notify_at = self.notify.1 + u32::from(bar.read16(at + QUEUE_NOTIFY_OFF)) * self.notify_multiplier;
        bar.write16(at + QUEUE_ENABLE, 1);
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        Ok(())
    }

    /// Tells the card that the transmit queue has something for it (section 4.1.5.2).
    pub(crate) fn notify_transmit(&self) {
        self.notify.0.write16(self.notify_at, TRANSMIT_QUEUE);
    }

    fn set_status(&mut self, status: u8) {
        self.common.0.write8(self.common.1 + DEVICE_STATUS, status);
    }

    fn wrong(&self, tried: &str, what: &'static str) -> PciError {
        PciError::new(&self.name, tried, PciErrorKind::Config(what))
    }
}

/// The BAR and offset of a virtio structure, and where its capability is.
fn structure<F: PciFunction>(function: &mut F, kind: u32) -> Result<((F::Bar, u32), u16), PciError> {
    let mut after = None;
    while let Some(capability) = function.find_capability(CAPABILITY_VENDOR, after)? {
        // struct virtio_pci_cap: cfg_type at 3, bar at 4, offset at 8.
        if function.config_read(capability + 3, 1)? == kind {
            let index = function.config_read(capability + 4, 1)? as u8;
            let offset = function.config_read(capability + 8, 4)?;
            // SAFETY: see the caller of `allow_dma`.
            let bar = unsafe { function.open_bar(index) }?;
            return Ok(((bar, offset), capability));
        }
        after = Some(capability);
    }
    Err(PciError::new(function.name(), "looking for its virtio structures", PciErrorKind::Missing("such virtio capability")))
}
