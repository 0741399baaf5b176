//! A device that was reset, and what was set since the start is set again (3.1.1): the same features, vectors and queues, by the control handle.
//!
//! 3.1.1 has all queues enabled before DRIVER_OK. So the device goes live when every queue has emptied its ring, or with those that came in time; one that
//! comes later has the device reset once more.

use alloc::sync::Arc;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Moderation, RssConfig, Settings};
use driver_core::ether::MacAddr;
use driver_core::host::{PciFunction, VectorPlan, WaitWaker};
use driver_core::queue::QueueFault;

use crate::card::{Card, lost};
use crate::ctrl::Ctrl;
use crate::error::HardwareError;
use crate::filter::Filters;
use crate::offloads;
use crate::queues::QueueAt;
use crate::regs::{Features, Status};

/// Every queue of a started device, by what it is for.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) rx: Vec<QueueAt>,
    pub(crate) tx: Vec<QueueAt>,
    /// The control queue, and those of pairs that are in use for the other direction alone: empty at each start.
    pub(crate) idle: Vec<QueueAt>,
}

impl Places {
    /// All of them.
    fn all(&self) -> impl Iterator<Item = &QueueAt> {
        self.rx.iter().chain(&self.tx).chain(&self.idle)
    }
}

/// How a started device was set up, to be set up so again.
pub(crate) struct Origin {
    /// The features that were negotiated.
    pub(crate) features: Features,
    pub(crate) permanent_mac: MacAddr,
    pub(crate) places: Places,
    /// What ends the waits of those who sleep on queues' interrupts: no virtio device lets an interrupt fire on demand.
    pub(crate) wakers: Vec<Arc<dyn WaitWaker>>,
    /// Queues that were enabled since the reset.
    pub(crate) enabled: Vec<u16>,
    /// Those of them whose buffers the device was not told of.
    pub(crate) unannounced: Vec<QueueAt>,
    /// DRIVER_OK is set.
    pub(crate) is_live: bool,
}

impl Origin {
    pub(crate) fn new(features: Features, permanent_mac: MacAddr, places: Places, wakers: Vec<Arc<dyn WaitWaker>>) -> Self {
        let enabled = places.all().map(|at| at.index).collect();
        Self { features, permanent_mac, places, wakers, enabled, unannounced: Vec::new(), is_live: true }
    }
}

impl<F: PciFunction> Card<F> {
    /// From a reset that was confirmed to where queues can be set up: the same features once more, and the vector of configuration changes.
    pub(crate) fn come_back(&self, features: Features, settings: &Settings) -> Result<(), ErrorKind> {
        self.acknowledge();
        let offered = self.transport.offered();
        if !offered.contains(features) {
            return Err(HardwareError::FeaturesRefused { accepted: features, offered }.into());
        }
        self.agree(features)?;
        let vector = settings.vectors().map(VectorPlan::control);
        match vector {
            Some(vector) if !self.transport.set_config_vector(Some(vector)) => {
                Err(HardwareError::Vector { what: "configuration changes", vector }.into())
            }
            Some(_) => Ok(()),
            None => {
                self.transport.set_config_vector(None);
                Ok(())
            }
        }
    }

    /// Tells a device that has just gone live by its control queue all that it is to be set to: at a start, and behind each reset.
    pub(crate) fn tell_all(
        &self,
        ctrl: &mut Ctrl<F>,
        features: Features,
        (rss, pairs): (&RssConfig, u16),
        settings: &Settings,
        permanent_mac: MacAddr,
    ) -> Result<Filters, ErrorKind> {
        self.spread(ctrl, features, pairs, rss)?;
        offloads::restore(ctrl, &*self.transport, features, settings)?;
        if settings.vectors().is_some() && settings.moderation() != Moderation::Adaptive {
            self.coalesce(ctrl, features, settings.moderation(), settings)?;
        }
        Filters::configure(ctrl, &*self.transport, features, settings, permanent_mac)
    }

    /// Sets a queue up again whose ring is as when it was new, and enables it.
    pub(crate) fn restart_queue(&self, at: &QueueAt) -> Result<(), ErrorKind> {
        let transport = &self.transport;
        let size = self.queue_size(at.index)?;
        if size < at.size {
            return Err(HardwareError::Queue { index: at.index, size }.into());
        }
        transport.place_queue(at.index, at.size, at.areas);
        if let (false, Some(vector)) = (transport.set_queue_vector(at.index, at.vector), at.vector) {
            return Err(HardwareError::Vector { what: "a queue that had it", vector }.into());
        }
        transport.enable_queue(at.index);
        Ok(())
    }

    /// Whether the device has turned one of these queues off, which are on but for those that the driver has reset.
    pub(crate) fn has_lost_queue(&self, enabled: &[u16]) -> bool {
        enabled.iter().any(|&index| !self.transport.was_reset(index) && !self.transport.is_enabled(index))
    }

    /// What the status says of a device that is being set up again, or is live.
    pub(crate) fn look_while(&self, is_live: bool) -> Option<QueueFault> {
        if is_live {
            return self.look();
        }
        match lost(self.transport.status() | Status::DRIVER_OK)? {
            QueueFault::Gone => self.look(),
            fault => Some(fault),
        }
    }
}
