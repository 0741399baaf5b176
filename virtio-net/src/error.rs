//! What can go wrong, said so that the reader knows what to do next.

use alloc::string::String;
use core::fmt;

use driver_core::device::ConfigError;
use driver_core::ether::MacAddr;
use driver_core::host::{DmaError, PciError, PciFunction, PciId};
use driver_core::queue::GateError;
use driver_core::reg::WaitError;
use driver_core::ring::RingError;

use crate::device::VirtioNet;
use crate::regs::Features;

/// Why an operation on a device failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The function is no virtio network card.
    UnknownId {
        /// The function's name.
        function: String,
        /// What it says it is.
        id: PciId,
    },
    /// The function has no modern interface.
    NotModern {
        /// The function's name.
        function: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// A structure is smaller than what it must hold.
    Structure {
        /// The function's name.
        function: String,
        /// Which structure.
        structure: &'static str,
        /// The bytes of it that are there.
        len_bytes: u32,
        /// The bytes needed.
        needed_bytes: u32,
    },
    /// The device did not do in time what it was told.
    Timeout {
        /// The function's name.
        function: String,
        /// Which register, what for, and the last value.
        timeout: WaitError,
    },
    /// The device took FEATURES_OK back.
    FeaturesRefused {
        /// The function's name.
        function: String,
        /// What the driver accepted.
        accepted: Features,
        /// What the device offers.
        offered: Features,
    },
    /// The configuration changed at every look.
    ConfigUnstable {
        /// The function's name.
        function: String,
        /// How often it was read.
        tries: usize,
    },
    /// The device's configuration makes no sense.
    DeviceConfig {
        /// The function's name.
        function: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The device bypasses the IOMMU.
    NoAccessPlatform {
        /// The function's name.
        function: String,
    },
    /// A queue is missing or its size is no power of two.
    Queue {
        /// The function's name.
        function: String,
        /// The queue's number.
        index: u16,
        /// Its size as the device tells it.
        size: u16,
    },
    /// The device did not take an interrupt vector.
    Vector {
        /// The function's name.
        function: String,
        /// What for.
        what: &'static str,
        /// The vector.
        vector: u16,
    },
    /// The device asks for a reset.
    NeedsReset {
        /// The function's name.
        function: String,
    },
    /// The device is stopped.
    Stopped {
        /// The function's name.
        function: String,
    },
    /// The configuration asks for what the device cannot do.
    Config(ConfigError),
    /// An address is not what a filter takes.
    Address {
        /// The address.
        mac: MacAddr,
        /// What is wanted.
        wanted: &'static str,
    },
    /// The device cannot change its address.
    FixedMac {
        /// The function's name.
        function: String,
    },
    /// A PCI operation failed.
    Pci(PciError),
    /// Memory for rings or buffers could not be had.
    Dma(DmaError),
    /// A ring could not be made of what the driver asked for: a mistake in the driver.
    Ring(RingError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownId { function, id } => {
                write!(f, "{function} is {id}, which the virtio-net driver does not drive: it is for network cards 1af4:1041 and 1af4:1000")
            }
            Self::NotModern { function, missing } => write!(
                f,
                "{function} lacks {missing} of virtio 1.0: it speaks the legacy interface alone; configure it as modern (QEMU: disable-legacy=on or disable-modern=off)"
            ),
            Self::Structure { function, structure, len_bytes, needed_bytes } => write!(
                f,
                "{function}: its {structure} structure has {len_bytes:#x} bytes where {needed_bytes:#x} are needed: the capability list is wrong, or the BAR was mapped in part"
            ),
            Self::Timeout { function, timeout } => {
                write!(
                    f,
                    "{function}: {timeout}; the device may still use memory: reset the function, and restart the hypervisor if that does not help"
                )
            }
            Self::FeaturesRefused { function, accepted, offered } => write!(
                f,
                "{function}: the device does not work with features {:#x} ({}) of the {:#x} that it offers: see the hypervisor's log for the one it insists on",
                accepted.bits(),
                accepted.names().join(" "),
                offered.bits()
            ),
            Self::ConfigUnstable { function, tries } => {
                write!(f, "{function}: config_generation changed during each of {tries} looks at the device configuration: the device is broken")
            }
            Self::DeviceConfig { function, what } => write!(f, "{function}: the device configuration is wrong: {what}; correct it in the hypervisor"),
            Self::NoAccessPlatform { function } => write!(
                f,
                "{function}: the device does not offer VIRTIO_F_ACCESS_PLATFORM: it takes addresses for physical ones, past the IOMMU, and would write to foreign memory; turn it on in the hypervisor (QEMU: iommu_platform=on)"
            ),
            Self::Queue { function, index, size } => {
                write!(
                    f,
                    "{function}: queue {index} has {size} descriptors as the device tells, which is no power of two: the device is broken or has no such queue"
                )
            }
            Self::Vector { function, what, vector } => {
                write!(f, "{function}: the device does not take vector {vector} for {what}: give it more vectors, or poll")
            }
            Self::NeedsReset { function } => write!(f, "{function}: the device asks for a reset (DEVICE_NEEDS_RESET): stop it and open it again"),
            Self::Stopped { function } => write!(f, "{function} is stopped: open it again"),
            Self::Config(error) => error.fmt(f),
            Self::Address { mac, wanted } => write!(f, "{mac} is no {wanted} address"),
            Self::FixedMac { function } => {
                write!(f, "{function}: this driver cannot change the device's address (no VIRTIO_NET_F_CTRL_MAC_ADDR): set it in the hypervisor")
            }
            Self::Pci(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
impl From<GateError> for Error {
    fn from(error: GateError) -> Self {
        Self::Config(ConfigError::Gate(error))
    }
}
impl From<PciError> for Error {
    fn from(error: PciError) -> Self {
        Self::Pci(error)
    }
}
impl From<DmaError> for Error {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}

/// A device could not be started: why, and the device, stopped, to be started otherwise.
pub type StartError<F> = driver_core::device::config::StartError<Error, VirtioNet<F>>;

impl<F: PciFunction> From<StartError<F>> for Error {
    fn from(error: StartError<F>) -> Self {
        error.into_parts().0
    }
}
