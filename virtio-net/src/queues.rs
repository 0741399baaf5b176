//! The device's queues: setting one up, and turning it on (4.1.5.1.3).

use driver_core::device::{DeviceState, ErrorKind};
use driver_core::host::PciFunction;
use driver_core::queue::QueueFault;
use driver_core::ring::RingMemory;

use crate::card::{Card, lost};
use crate::config::MAX_RING;
use crate::error::HardwareError;
use crate::layout::Layout;
use crate::regs::{Features, common, net};
use crate::transport::Notify;

/// A queue that is set up.
pub(crate) struct QueueUp<F: PciFunction, Q> {
    pub(crate) queue: Q,
    pub(crate) notify: Notify<F>,
    /// It has the vector that it was to have.
    pub(crate) interrupts: bool,
}

impl<F: PciFunction> Card<F> {
    /// The largest size of a queue, which it has after a reset; the queue stays selected.
    pub(crate) fn queue_size(&self, index: u16) -> Result<u16, ErrorKind> {
        let common = &self.transport.common;
        common::QUEUE_SELECT.write(common, index);
        let size = common::QUEUE_SIZE.read(common);
        if size == u16::MAX && lost(self.transport.status()) == Some(QueueFault::Gone) {
            return Err(ErrorKind::NotRunning(DeviceState::Gone));
        }
        if !size.is_power_of_two() || u32::from(size) > MAX_RING {
            return Err(HardwareError::Queue { index, size }.into());
        }
        Ok(size)
    }

    /// How many descriptors a queue is to have: as many as wanted, where the device has them.
    pub(crate) fn ring_size(&self, index: u16, wanted: u32) -> Result<u16, ErrorKind> {
        let size = self.queue_size(index)?.min(wanted.min(MAX_RING) as u16);
        if u32::from(size) < wanted {
            log::info!("{}: queue {index} has {size} descriptors, the most that the device has, not {wanted}", self.transport.name);
        }
        Ok(size)
    }

    /// Select, size, addresses in `memory`, vector. The queue is not enabled yet.
    pub(crate) fn set_up_queue<L: Layout>(
        &self,
        index: u16,
        memory: &mut RingMemory,
        size: u16,
        features: Features,
        vector: Option<u16>,
    ) -> Result<QueueUp<F, L::Queue>, ErrorKind> {
        let (transport, common) = (&self.transport, &self.transport.common);
        let queue = L::queue(memory, size, features.contains(Features::EVENT_IDX))?;
        common::QUEUE_SELECT.write(common, index);
        common::QUEUE_SIZE.write(common, size);
        let [desc, driver, device] = L::areas(&queue);
        common::QUEUE_DESC.write(common, desc.0);
        common::QUEUE_DRIVER.write(common, driver.0);
        common::QUEUE_DEVICE.write(common, device.0);
        let takes = self.give_vector(vector);
        if let (Some(vector), false) = (vector, takes) {
            if index == net::RECEIVEQ {
                return Err(HardwareError::Vector { what: "the receive queue", vector }.into());
            }
            // Who waits for room can do so by the clock.
            log::info!("{}: the device does not take vector {vector} for queue {index}, which interrupts nobody", transport.name);
            self.give_vector(None);
        }
        let notify = transport.notify()?;
        Ok(QueueUp { queue, notify, interrupts: vector.is_some() && takes })
    }

    /// Gives the selected queue a vector, or none. Whether the device took it (4.1.5.1.2).
    fn give_vector(&self, vector: Option<u16>) -> bool {
        let (common, vector) = (&self.transport.common, vector.unwrap_or(common::NO_VECTOR));
        common::QUEUE_MSIX_VECTOR.write(common, vector);
        common::QUEUE_MSIX_VECTOR.read(common) == vector
    }

    /// 4.1.5.1.3: a queue is enabled when all else is set up.
    pub(crate) fn enable_queue(&self, index: u16) {
        common::QUEUE_SELECT.write(&self.transport.common, index);
        common::QUEUE_ENABLE.write(&self.transport.common, 1);
    }
}
