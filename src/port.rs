//! A started device: control, queues, and what is to be said at the end.

use std::fmt;
#[cfg(feature = "vfio")]
use std::os::fd::BorrowedFd;
use std::time::Duration;

use driver_core::buf::BufPool;
use driver_core::device::{Accounts, Caps, DeviceState, NetDevice, NetDriver, Started, Stats, XStat};
#[cfg(feature = "sim")]
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue};
#[cfg(feature = "sim")]
use sim::wire::WireError;

use crate::affinity::{self, Affinity};
use crate::error::Error;
use crate::event::Event;
use crate::origin::Origin;
use crate::pools::Share;
#[cfg(feature = "sim")]
use crate::stepped::{SteppedRx, SteppedTx};

/// A started device. Dropping it stops the device.
#[non_exhaustive]
pub struct Port {
    /// Link, filters, statistics.
    pub control: Box<dyn NetDevice>,
    /// Receive queues, each with its interrupt where the configuration asked for them. Take them out to give them to workers.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Transmit queues.
    pub tx: Vec<Box<dyn TxQueue>>,
    /// The pool that receive buffers come from. Frames to send come from it too. Ports of one [`Host`](crate::Host) may share it: see
    /// [`Device::start`](crate::Device::start).
    pub pool: BufPool,
    _share: Option<Share>,
    // Declared last: a simulated card moves until the driver has let go of it.
    origin: Box<dyn Origin>,
}

impl Port {
    pub(crate) fn new<D: NetDriver>(started: Started<D>, share: Option<Share>, origin: Box<dyn Origin>) -> Self {
        let Started { control, rx, tx, pool, .. } = started;
        let port = Self {
            control: Box::new(control),
            rx: rx.into_iter().map(|queue| Box::new(queue) as _).collect(),
            tx: tx.into_iter().map(|queue| Box::new(queue) as _).collect(),
            pool,
            _share: share,
            origin,
        };
        #[cfg(feature = "sim")]
        if let Some(stepper) = port.origin.stepper() {
            return port.stepped_by(&stepper);
        }
        port
    }

    /// The same with queues that move the card.
    #[cfg(feature = "sim")]
    fn stepped_by(self, stepper: &sim::Stepper) -> Self {
        let rx = self.rx.into_iter().map(|below| Box::new(SteppedRx { below, stepper: stepper.clone() }) as _).collect();
        let tx = self.tx.into_iter().map(|below| Box::new(SteppedTx { below, stepper: stepper.clone() }) as _).collect();
        Self { rx, tx, ..self }
    }

    /// How the device was named.
    pub fn name(&self) -> &str {
        &self.control.info().name
    }

    /// On which processor each queue is best told of, and its thread best run; nothing where the device was started without interrupts. The processors are those that
    /// this process may use, in turn.
    pub fn affinity(&self) -> Vec<Affinity> {
        affinity::of(&*self.control)
    }

    /// Takes out the first receive and the first transmit queue, `None` where they were taken out before: what a program with one worker needs.
    pub fn take_queues(&mut self) -> Option<(Box<dyn RxQueue>, Box<dyn TxQueue>)> {
        if self.rx.is_empty() || self.tx.is_empty() {
            return None;
        }
        Some((self.rx.remove(0), self.tx.remove(0)))
    }

    /// Everything that the device and its driver count, by name and per queue: [`NetDevice::xstats`].
    pub fn xstats(&mut self) -> Vec<XStat> {
        self.control.xstats()
    }

    /// Whether all that will ever arrive has been written to the receive rings: then a poll that finds nothing was the last.
    ///
    /// Only a simulated card can know that, of a capture file that was read through or a generator that was stopped. While the card waits for free
    /// descriptors it may hold more, so ask, poll with room in the batch, and believe the answer only where nothing came. Of a real device it is never
    /// said.
    pub fn is_input_over(&self) -> bool {
        self.origin.is_input_over()
    }

    /// Sleeps for `us` microseconds of the device's time, which is simulated for a card of [`Host::stepped`](crate::Host::stepped): that one's cards move meanwhile.
    pub fn sleep_us(&self, us: u64) {
        #[cfg(feature = "sim")]
        if let Some(stepper) = self.origin.stepper() {
            return stepper.clock().sleep_us(us);
        }
        std::thread::sleep(Duration::from_micros(us));
    }

    /// The first error of its wire so far, that of a simulated card; [`Report::wire`] has it too. After a broken capture file all frames before the
    /// damage still arrive; a file that cannot be written or a device that is gone gets no better.
    #[cfg(feature = "sim")]
    pub fn wire_error(&self) -> Option<WireError> {
        self.origin.wire_error()
    }

    /// What happened to the device that its program did not ask for: it does not run any more, or the host wants it back, which stays until the port is gone; or it had
    /// failed and was recovered ([`Config::recovery`](driver_core::device::Config::recovery)), which is told once.
    ///
    /// To be called a few times a second: it looks at the device ([`NetDevice::watch`]), so that one that hangs, is gone or was reset is found out, and its queues
    /// say so; and it is what recovers one. While that lasts there is nothing to tell, and queues are stopped. A program that is asked for its device should let the port go soon: the host waits for it. Asking costs register reads, and system calls on a real
    /// device.
    pub fn event(&mut self) -> Option<Event> {
        let failure = self.look();
        failure.or_else(|| self.control.recovered().map(Event::Recovered)).or_else(|| self.control.alarm().map(Event::Alarm))
    }

    /// What does not pass.
    fn look(&mut self) -> Option<Event> {
        let state = self.control.watch();
        if state.is_failure() { Some(Event::State(state)) } else { self.origin.event() }
    }

    /// The same as an [`Error`] of this device, recoveries apart: what happened to it that its program did not ask for. Where a simulated card's wire took the card with it
    /// ([`sim::wire::Wire::is_gone`], a tap device that was deleted), it is the wire's word.
    pub fn failure(&mut self) -> Option<Error> {
        let event = self.look()?;
        #[cfg(feature = "sim")]
        if let Some(error) = self.wire_error().filter(WireError::is_gone) {
            return Some(Error::Wire { device: self.name().into(), error });
        }
        Some(Error::Event { device: self.name().into(), event })
    }

    /// A descriptor that is readable while the host has an [`event`](Port::event) to tell, for `epoll` and its kin; `None` for simulated cards. What the device
    /// itself does it does not tell.
    #[cfg(feature = "vfio")]
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.origin.events_fd()
    }

    /// Whether the device has sent all that `tx`, its only transmit queue that was used, took: by the device's own count where it has one, else by what
    /// it gave back. Of a device that failed it is never said.
    pub fn is_output_over(&mut self, tx: &mut dyn TxQueue) -> bool {
        self.are_outputs_over(&mut [tx])
    }

    /// The same where several transmit queues were used: those of `queues`, and no others.
    pub fn are_outputs_over(&mut self, queues: &mut [&mut dyn TxQueue]) -> bool {
        if self.control.state().is_failure() {
            return false;
        }
        #[cfg(feature = "sim")]
        if let Some(stepper) = self.origin.stepper() {
            stepper.turn();
        }
        if self.control.info().caps.contains(Caps::TX_COUNT) {
            let wanted = |tx: &&mut dyn TxQueue| tx.counters().packets.saturating_sub(tx.counters().lost);
            return self.control.stats().tx_packets >= queues.iter().map(wanted).sum();
        }
        queues.iter_mut().all(|tx| {
            tx.reclaim();
            tx.pending() == 0
        })
    }

    /// Stops the device and says how it ended. Queues that were taken out and still live are dead from here on.
    pub fn finish(mut self) -> Report {
        let device = self.name().to_owned();
        let stopped = self.control.stop().map_err(Error::from);
        self.rx.clear();
        self.tx.clear();
        // Behind the stop, which counts what was given up.
        let (stats, accounts, state) = (self.control.stats(), self.control.accounts(), self.control.state());
        let Self { control, origin, .. } = self;
        drop(control);
        let end = origin.finish();
        Report {
            device,
            stats,
            accounts,
            state,
            is_watched: end.is_watched,
            violations: end.violations,
            stopped,
            #[cfg(feature = "sim")]
            wire: end.wire,
        }
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
    /// What became of every frame.
    pub accounts: Accounts,
    /// How the device was at the end: stopped, or what had failed before.
    pub state: DeviceState,
    /// Whether the device counts for itself and cannot lose a frame unseen, as a simulated card.
    is_watched: bool,
    /// What the driver did that the datasheet forbids, in the words of the simulated card, which watches it. A real device does not watch.
    pub violations: Vec<String>,
    /// Whether it stopped.
    pub stopped: Result<(), Error>,
    /// What became of its wire: a capture file that was broken or could not be written, a tap device that went away.
    #[cfg(feature = "sim")]
    pub wire: Result<(), WireError>,
}

impl Report {
    /// Whether all went well.
    ///
    /// # Errors
    /// The first of: its wire took the device with it, the device had failed, it did not stop, it saw violations, its wire reported an error, frames are in no
    /// account (a simulated card counts).
    pub fn check(self) -> Result<(), Error> {
        #[cfg(feature = "sim")]
        if let Err(error) = &self.wire
            && error.is_gone()
        {
            return Err(Error::Wire { device: self.device, error: error.clone() });
        }
        if self.state.is_failure() {
            return Err(Error::Event { device: self.device, event: Event::State(self.state) });
        }
        self.stopped?;
        if !self.violations.is_empty() {
            return Err(Error::Violations { device: self.device, violations: self.violations });
        }
        #[cfg(feature = "sim")]
        self.wire.map_err(|error| Error::Wire { device: self.device.clone(), error })?;
        if self.is_watched {
            self.accounts.check().map_err(|imbalance| Error::Accounts { device: self.device, imbalance })?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "sim", feature = "ixgbe", feature = "virtio-net"))]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use driver_core::buf::Batch;
    use driver_core::device::{Config, DeviceState, Recovery};
    use driver_core::host::{PciFunction, RegSpace};
    use driver_core::queue::QueueFault;
    use sim::wire::peer::{self, Peer};
    use sim::{HostClock, Iommu, SimDevice};

    use super::{Event, Port};
    use crate::Error;
    use crate::origin::sim::open;
    use crate::spec::{Card, SimSpec};

    /// A card of its own, started, and the far end of its wire.
    fn started(name: &str, card: Card, config: &Config) -> (SimDevice, Port, Peer) {
        let (near, far) = peer::pair(4);
        let card = SimDevice::new(name, SimSpec { card, ..SimSpec::default() }.model([2, 0, 0, 0, 0, 1]), Box::new(near), Iommu::new());
        let port = open(card.clone(), Arc::new(HostClock::new())).unwrap().start(config).unwrap();
        (card, port, far)
    }

    #[test]
    fn what_the_datasheet_forbids_is_an_error_of_the_run() {
        let (card, port, _far) = started("sim:ixgbe", Card::I82599, &Config::new());
        // SAFETY: the card refuses what is written here, and writes to no memory by it.
        let registers = unsafe { card.another_function().open_bar(0) }.unwrap();
        // Receive descriptor tail of queue 0 (RDT, 0x01018), beyond the ring of 512.
        registers.write32(0x01018, 9999);
        let report = port.finish();
        assert_eq!(report.violations.len(), 1, "{:?}", report.violations);
        let Err(Error::Violations { device, violations }) = report.check() else { panic!("a violation is an error") };
        assert_eq!((device.as_str(), violations.len()), ("sim:ixgbe", 1));
    }

    #[test]
    fn what_a_card_did_not_send_is_in_the_report() {
        let (near, _far) = peer::pair(4096);
        let card = SimDevice::new("sim:ixgbe", SimSpec::default().model([2, 0, 0, 0, 0, 1]), Box::new(near), Iommu::new());
        let mut port = open(card.clone(), Arc::new(HostClock::new())).unwrap().start(&Config::new()).unwrap();
        // SAFETY: the fault makes the card do less.
        unsafe { card.with_model(|model: &mut sim::ixgbe::Ixgbe| model.faults().hang_tx_after = Some(1000)) }.unwrap();
        let (rx, mut tx) = port.take_queues().unwrap();
        let (mut batch, begin) = (Batch::new(64), Instant::now());
        while tx.counters().packets < 1502 {
            let missing = 1502 - tx.counters().packets as usize - batch.len();
            for _ in 0..missing.min(64 - batch.len()) {
                batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
            }
            let _ = tx.submit(&mut batch);
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", tx.counters());
        }
        drop((rx, tx, batch));
        let report = port.finish();
        assert_eq!((report.stats.tx_packets, report.stats.tx_dropped), (1000, 502));
        assert_eq!((report.accounts.tx_taken, report.accounts.is_final, report.state), (1502, true, DeviceState::Stopped));
        report.check().unwrap();
    }

    #[test]
    fn a_frame_in_no_account_is_an_error_of_the_run() {
        let (_card, port, _far) = started("sim:ixgbe", Card::I82599, &Config::new());
        let mut report = port.finish();
        report.accounts.tx_taken += 1;
        let error = report.check().unwrap_err().to_string();
        assert_eq!(error, "sim:ixgbe: the transmit queues took 1 frames, and 0 were sent or given up");
    }

    #[test]
    fn what_happened_to_a_device_is_told_by_event_queues_link_and_report() {
        for (name, card) in [("sim:ixgbe", Card::I82599), ("sim:virtio-net", Card::VirtioNet)] {
            let (device, mut port, _far) = started(name, card, &Config::new().recovery(Recovery::Off));
            assert_eq!((port.event(), port.control.state()), (None, DeviceState::Running));
            // SAFETY: a reset makes the card access less.
            unsafe { device.another_function() }.reset().unwrap();
            let event = Event::State(DeviceState::Reset);
            assert_eq!((port.event(), port.event(), port.control.link().up), (Some(event), Some(event), false));
            assert_eq!((port.rx[0].fault(), port.tx[0].fault()), (Some(QueueFault::Reset), Some(QueueFault::Reset)));
            let report = port.finish();
            assert_eq!(report.state, DeviceState::Reset);
            let text = report.check().unwrap_err().to_string();
            assert!(text.starts_with(&format!("{name}: the device was reset by somebody else")), "{text}");
        }
    }

    #[test]
    fn the_links_interrupt_is_reached_whatever_the_driver() {
        for (name, card) in [("sim:ixgbe", Card::I82599), ("sim:virtio-net", Card::VirtioNet)] {
            let (card, mut port, _far) = started(name, card, &Config::new().interrupts(true));
            for up in [true, false, true] {
                card.set_carrier(up);
                let begin = Instant::now();
                while port.control.link().up != up {
                    assert!(begin.elapsed() < Duration::from_secs(20), "{name}: the link does not become {up}");
                    // The first change may have come before the vectors were on.
                    port.control.link_interrupt().expect("interrupts were asked for").wait(Some(100_000)).unwrap();
                }
            }
            card.set_carrier(false);
            assert!(port.control.link_interrupt().unwrap().wait(Some(20_000_000)).unwrap() > 0, "{name}");
            port.finish().check().unwrap();
            let (_card, mut port, _far) = started(name, Card::I82599, &Config::new());
            assert!(port.control.link_interrupt().is_none());
        }
    }
}
