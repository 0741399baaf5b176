//! A started device: control, queues, and what is to be said at the end.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use driver_core::buf::BufPool;
use driver_core::device::Stats;
use driver_core::queue::{RxQueue, TxQueue};
use sim::wire::WireError;
use vfio::Event;

use crate::control::Control;
use crate::device::Origin;
use crate::error::Error;

/// A started device. Dropping it stops the device.
#[non_exhaustive]
pub struct Port {
    /// Link, filters, statistics.
    pub control: Box<dyn Control>,
    /// Receive queues, each with its interrupt where the configuration asked for them. Take them out to give them to workers.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Transmit queues.
    pub tx: Vec<Box<dyn TxQueue>>,
    /// The pool that receive buffers come from. Frames to send come from it too.
    pub pool: BufPool,
    counts_sent: bool,
    // Declared last: a simulated card moves until the driver has let go of it.
    origin: Origin,
}

/// A started device without the driver's types.
pub(crate) struct Parts {
    pub(crate) control: Box<dyn Control>,
    pub(crate) rx: Vec<Box<dyn RxQueue>>,
    pub(crate) tx: Vec<Box<dyn TxQueue>>,
    pub(crate) pool: BufPool,
    /// The device counts in `tx_packets` what has left it, and not the driver what the queues took.
    pub(crate) counts_sent: bool,
}

/// How many steps a simulated card is given to come to rest.
const SETTLE_STEPS: usize = 100_000;

impl Port {
    pub(crate) fn new(parts: Parts, origin: Origin) -> Self {
        let Parts { control, rx, tx, pool, counts_sent } = parts;
        Self { control, rx, tx, pool, counts_sent, origin }
    }

    /// How the device was named.
    pub fn name(&self) -> &str {
        &self.control.info().name
    }

    /// Takes out the first receive and the first transmit queue, `None` where they were taken out before: what a program with one worker needs.
    pub fn take_queues(&mut self) -> Option<(Box<dyn RxQueue>, Box<dyn TxQueue>)> {
        if self.rx.is_empty() || self.tx.is_empty() {
            return None;
        }
        Some((self.rx.remove(0), self.tx.remove(0)))
    }

    /// Whether all that will ever arrive has been written to the receive rings: then a poll that finds nothing was the last.
    ///
    /// Only a simulated card can know that, of a capture file that was read through or a generator that was stopped. While the card waits for free
    /// descriptors it may hold more, so ask, poll with room in the batch, and believe the answer only where nothing came. Of a real device it is never
    /// said.
    pub fn is_input_over(&self) -> bool {
        match &self.origin {
            Origin::Sim { card, .. } => card.wire_finished() && card.settle(SETTLE_STEPS) < SETTLE_STEPS,
            Origin::Vfio(_) => false,
        }
    }

    /// The first error of its wire so far, that of a simulated card; [`Report::wire`] has it too. After a broken capture file all frames before the
    /// damage still arrive; a file that cannot be written or a device that is gone gets no better.
    pub fn wire_error(&self) -> Option<WireError> {
        match &self.origin {
            Origin::Sim { card, .. } => card.wire_error(),
            Origin::Vfio(_) => None,
        }
    }

    /// What happened to the device as a whole: it failed, or the host wants it back. It stays until the port is gone.
    ///
    /// A program that is asked for its device should let the port go soon: the host waits for it. Asking costs system calls on a real device: a few
    /// times a second will do. Simulated cards have no events.
    pub fn event(&self) -> Option<Event> {
        match &self.origin {
            Origin::Sim { .. } => None,
            Origin::Vfio(events) => events.pending(),
        }
    }

    /// A descriptor that is readable while there is an [`event`](Port::event), for `epoll` and its kin; `None` for simulated cards.
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.origin {
            Origin::Sim { .. } => None,
            Origin::Vfio(events) => Some(events.as_fd()),
        }
    }

    /// Whether the device has sent all that `tx`, its only transmit queue that was used, took: by the device's own count where it has one, else by what
    /// it gave back.
    pub fn is_output_over(&mut self, tx: &mut dyn TxQueue) -> bool {
        if self.counts_sent {
            return self.control.stats().tx_packets >= tx.counters().packets;
        }
        tx.reclaim();
        tx.pending() == 0
    }

    /// Stops the device and says how it ended. Queues that were taken out and still live are dead from here on.
    pub fn finish(mut self) -> Report {
        let device = self.name().to_owned();
        let stats = self.control.stats();
        let stopped = self.control.stop();
        self.rx.clear();
        self.tx.clear();
        let Self { control, origin, .. } = self;
        drop(control);
        let (violations, wire) = match origin {
            Origin::Sim { card, live } => {
                let wire = live.stop();
                (card.violations().iter().map(ToString::to_string).collect(), wire)
            }
            Origin::Vfio(_) => (Vec::new(), Ok(())),
        };
        Report { device, stats, violations, stopped, wire }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({}, {} receive and {} transmit queues here)", self.name(), self.rx.len(), self.tx.len())
    }
}

/// How a device ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// How the device was named.
    pub device: String,
    /// Its counters when it was stopped.
    pub stats: Stats,
    /// What the driver did that the datasheet forbids, in the words of the simulated card, which watches it. A real device does not watch.
    pub violations: Vec<String>,
    /// Whether it stopped.
    pub stopped: Result<(), Error>,
    /// What became of its wire: a capture file that was broken or could not be written, a tap device that went away.
    pub wire: Result<(), WireError>,
}

impl Report {
    /// Whether all went well.
    ///
    /// # Errors
    /// The first of: the device did not stop, it saw violations, its wire reported an error.
    pub fn check(self) -> Result<(), Error> {
        self.stopped?;
        if !self.violations.is_empty() {
            return Err(Error::Violations { device: self.device, violations: self.violations });
        }
        self.wire.map_err(|error| Error::Wire { device: self.device, error })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use driver_core::device::Config;
    use driver_core::host::{PciFunction, RegSpace};
    use sim::wire::peer;
    use sim::{HostClock, Iommu, SimDevice};

    use crate::spec::Card;
    use crate::{Device, Error};

    #[test]
    fn what_the_datasheet_forbids_is_an_error_of_the_run() {
        let (near, _far) = peer::pair(4);
        let model = crate::device::model(Card::I82599, [2, 0, 0, 0, 0, 1], None);
        let card = SimDevice::new("sim:ixgbe", model, Box::new(near), Iommu::new());
        let port = Device::simulated(card.clone(), Arc::new(HostClock::new())).unwrap().start(&Config::new()).unwrap();
        // SAFETY: the card refuses what is written here, and writes to no memory by it.
        let registers = unsafe { card.another_function().open_bar(0) }.unwrap();
        // Receive descriptor tail of queue 0 (RDT, 0x01018), beyond the ring of 512.
        registers.write32(0x01018, 9999);
        let report = port.finish();
        assert_eq!(report.violations.len(), 1, "{:?}", report.violations);
        let Err(Error::Violations { device, violations }) = report.check() else { panic!("a violation is an error") };
        assert_eq!((device.as_str(), violations.len()), ("sim:ixgbe", 1));
    }
}
