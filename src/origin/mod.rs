//! Where devices come from: simulated cards of this process, and PCI functions by VFIO or a vfio-user socket. Each kind stands behind a feature of its own.

#[cfg(feature = "vfio")]
use std::os::fd::BorrowedFd;

use crate::event::Event;

#[cfg(feature = "sim")]
pub(crate) mod sim;
#[cfg(feature = "vfio")]
pub(crate) mod vfio;

/// What stands behind a device beside its driver. A kind of device says what it knows better than these defaults.
pub(crate) trait Origin: Send {
    /// Whether all that will ever arrive is in the receive rings.
    fn is_input_over(&self) -> bool {
        false
    }
    /// The first error of its wire.
    #[cfg(feature = "sim")]
    fn wire_error(&self) -> Option<::sim::wire::WireError> {
        None
    }
    /// What moves it, where its program's calls do.
    #[cfg(feature = "sim")]
    fn stepper(&self) -> Option<::sim::Stepper> {
        None
    }
    /// What happened to the device as a whole.
    fn event(&self) -> Option<Event> {
        None
    }
    /// A descriptor that is readable while there is an event.
    #[cfg(feature = "vfio")]
    fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Ends it, when the driver has let go of the device.
    fn finish(self: Box<Self>) -> End {
        End::good()
    }
}

/// How what stood behind a device ended.
pub(crate) struct End {
    /// Whether the device counts every frame, so that the driver's accounts must be those of the device.
    pub(crate) is_watched: bool,
    /// What the driver did that the datasheet forbids.
    pub(crate) violations: Vec<String>,
    /// What became of the device's wire.
    #[cfg(feature = "sim")]
    pub(crate) wire: Result<(), ::sim::wire::WireError>,
}

impl End {
    pub(crate) fn good() -> Self {
        Self {
            is_watched: false,
            violations: Vec::new(),
            #[cfg(feature = "sim")]
            wire: Ok(()),
        }
    }
}
