//! The device's queues: setting one up, and turning it on (4.1.5.1.3).

use driver_core::device::{DeviceState, ErrorKind};
use driver_core::host::{Iova, PciFunction};
use driver_core::queue::QueueFault;
use driver_core::queue::core::Stop;
use driver_core::ring::RingMemory;

use crate::card::{Card, lost};
use crate::config::MAX_RING;
use crate::error::HardwareError;
use crate::layout::Layout;
use crate::regs::Features;
use crate::silence::silence_of_queue;
use crate::transport::{Notify, Transport};

/// A queue that is set up.
pub(crate) struct QueueUp<F: PciFunction, Q> {
    pub(crate) queue: Q,
    pub(crate) notify: Notify<F>,
    pub(crate) at: QueueAt,
}

/// How a queue is set up: after each reset the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueAt {
    pub(crate) index: u16,
    /// Descriptors.
    pub(crate) size: u16,
    /// Descriptor area, driver's area and device's area.
    pub(crate) areas: [Iova; 3],
    /// The vector that it was to have, and that the device took.
    pub(crate) vector: Option<u16>,
}

impl<F: PciFunction> Card<F> {
    /// The largest size of a queue, which it has after a reset.
    pub(crate) fn queue_size(&self, index: u16) -> Result<u16, ErrorKind> {
        let size = self.transport.queue_size(index);
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
            log::info!("{}: queue {index} has {size} descriptors, the most that the device has, not {wanted}", self.transport.name());
        }
        Ok(size)
    }

    /// The same of the control queue, of which nobody asked for a length.
    pub(crate) fn control_size(&self, index: u16, most: u32) -> Result<u16, ErrorKind> {
        Ok(self.queue_size(index)?.min(most as u16))
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
        let transport = &self.transport;
        let queue = L::queue(memory, size, features)?;
        let areas = L::areas(&queue);
        transport.place_queue(index, size, areas);
        let takes = transport.set_queue_vector(index, vector);
        if let (Some(vector), false) = (vector, takes) {
            if index.is_multiple_of(2) {
                return Err(HardwareError::Vector { what: "the receive queue", vector }.into());
            }
            // Who waits for room can do so by the clock.
            log::info!("{}: the device does not take vector {vector} for queue {index}, which interrupts nobody", transport.name());
            transport.set_queue_vector(index, None);
        }
        let notify = transport.notify(index, features)?;
        Ok(QueueUp { queue, notify, at: QueueAt { index, size, areas, vector: vector.filter(|_| takes) } })
    }
}

/// What stops a queue alone: its number, where the device can do that (VIRTIO_F_RING_RESET).
pub(crate) fn alone(index: u16, features: Features) -> Option<u16> {
    features.contains(Features::RING_RESET).then_some(index)
}

/// Stops the hardware of a queue that goes. What a device was lent that cannot stop one queue alone, or does not confirm it, waits until all of it is silent.
pub(crate) fn stop<F: PciFunction>(transport: &dyn Transport<F>, alone: Option<u16>) -> Stop {
    let Some(index) = alone else { return Stop::WithDevice };
    match silence_of_queue(transport.reset_queue(index)) {
        Ok(silence) => Stop::Silent(silence),
        Err(error) => {
            log::warn!("{}: queue {index}: {error}; its buffers come back with the device's", transport.name());
            Stop::WithDevice
        }
    }
}
