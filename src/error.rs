//! What can go wrong with a device as a whole.

use std::fmt;

use driver_core::device::{Error as DeviceError, Imbalance};
use driver_core::host::PciId;
use driver_core::queue::QueueFault;

use crate::event::Event;
use crate::spec::SpecError;

/// Why a device could not be opened, started or used.
///
/// `Debug` reads as `Display` does, so that `fn main() -> Result<(), Error>` tells people what to do.
#[non_exhaustive]
pub enum Error {
    /// The spec names no device.
    Spec(SpecError),
    /// The wire of a simulated device could not be made, or reported an error.
    #[cfg(feature = "sim")]
    Wire {
        /// The device's spec.
        device: String,
        /// What the wire said.
        error: sim::wire::WireError,
    },
    /// A simulated card could not be served at a socket.
    #[cfg(feature = "sim")]
    Serve(sim::vfio_user::ServeError),
    /// The PCI function could not be had.
    #[cfg(feature = "vfio")]
    Vfio(vfio::Error),
    /// No driver is for the device.
    NoDriver {
        /// The device's spec.
        device: String,
        /// What it says it is.
        id: PciId,
        /// What there are drivers for.
        supported: &'static str,
    },
    /// The device cannot share a DMA domain with those that the [`Host`](crate::Host) has opened.
    NotSharable {
        /// The device's spec.
        device: String,
        /// Why, and what to do.
        why: String,
    },
    /// A pool for all devices of a [`Host`](crate::Host) lies in their DMA domain, and none was opened yet.
    NoDomain,
    /// The device failed, or the host wants it back.
    Event {
        /// The device's spec.
        device: String,
        /// What happened.
        event: Event,
    },
    /// Frames are in no account: neither sent nor given up, or received and not told of.
    Accounts {
        /// The device's spec.
        device: String,
        /// Which, and how many.
        imbalance: Imbalance,
    },
    /// The device could not be opened, started or used: function, step, and why. A register that was waited for is below it:
    /// [`DeviceError::wait`], or the chain of [`source`](std::error::Error::source).
    Device(DeviceError),
    /// A queue is broken: the device did what it must not do, or is gone.
    Queue {
        /// The device's spec.
        device: String,
        /// What broke the queue.
        fault: QueueFault,
    },
    /// The driver did to the simulated card what the datasheet forbids.
    Violations {
        /// The device's spec.
        device: String,
        /// Each, in the model's words. Never empty.
        violations: Vec<String>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            #[cfg(feature = "sim")]
            Self::Wire { device, error } => write!(f, "{device}: {error}"),
            #[cfg(feature = "sim")]
            Self::Serve(error) => error.fmt(f),
            #[cfg(feature = "vfio")]
            Self::Vfio(error) => error.fmt(f),
            Self::NoDriver { device, id, supported } => write!(f, "{device}: there is no driver for {id}; there are drivers for {supported}"),
            Self::NotSharable { device, why } => write!(f, "{device}: {why}"),
            Self::NoDomain => {
                f.write_str("a host's pool lies in the DMA domain of its devices, and it has none yet: open one of them before making the pool")
            }
            Self::Event { device, event } => write!(f, "{device}: {event}"),
            Self::Accounts { device, imbalance } => write!(f, "{device}: {imbalance}"),
            Self::Device(error) => error.fmt(f),
            Self::Queue { device, fault } => write!(f, "{device}: {fault}"),
            Self::Violations { device, violations } => {
                write!(f, "{device}: the driver did what the datasheet forbids, {} time(s): {}", violations.len(), violations.join("; "))
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spec(error) => Some(error),
            #[cfg(feature = "sim")]
            Self::Wire { error, .. } => Some(error),
            Self::Device(error) => Some(error),
            Self::Queue { fault, .. } => Some(fault),
            #[cfg(feature = "sim")]
            Self::Serve(error) => Some(error),
            #[cfg(feature = "vfio")]
            Self::Vfio(error) => Some(error),
            Self::Accounts { imbalance, .. } => Some(imbalance),
            Self::Event { .. } | Self::NoDriver { .. } | Self::NotSharable { .. } | Self::NoDomain | Self::Violations { .. } => None,
        }
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

#[cfg(feature = "vfio")]
impl From<vfio::Error> for Error {
    fn from(error: vfio::Error) -> Self {
        Self::Vfio(error)
    }
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}
