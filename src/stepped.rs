//! The queues of a simulated card that its program's calls move: each call moves it, and goes on to the driver's queue.

use driver_core::buf::{Batch, Frame};
use driver_core::host::{Interrupt, PciError};
use driver_core::queue::{QueueFault, RxCounters, RxHooked, RxQueue, Settled, TxCounters, TxHooked, TxQueue, TxState, WakeFn};
use sim::Stepper;

/// A receive queue.
pub(crate) struct SteppedRx {
    pub(crate) below: Box<dyn RxQueue>,
    pub(crate) stepper: Stepper,
}

impl RxQueue for SteppedRx {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        self.stepper.turn();
        let taken = self.below.poll(batch, budget);
        if taken == 0 {
            self.stepper.idle();
        }
        taken
    }
    fn arm(&mut self) -> bool {
        self.stepper.turn();
        self.below.arm()
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.below.interrupt()
    }
    fn fault(&self) -> Option<QueueFault> {
        self.below.fault()
    }
    fn counters(&self) -> RxCounters {
        self.below.counters()
    }
    fn hook_begin(&mut self) -> RxHooked<'_> {
        self.stepper.turn();
        let way = self.below.hook_begin();
        if way.is_nothing() {
            self.stepper.idle();
        }
        way
    }
    fn hook_end(&mut self, settled: &Settled, batch: &mut Batch) {
        self.below.hook_end(settled, batch);
    }
}

/// A transmit queue.
pub(crate) struct SteppedTx {
    pub(crate) below: Box<dyn TxQueue>,
    pub(crate) stepper: Stepper,
}

impl TxQueue for SteppedTx {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        let state = self.below.submit(batch);
        if batch.is_empty() {
            self.stepper.given();
        } else {
            self.stepper.turn();
        }
        state
    }
    fn reclaim(&mut self) -> usize {
        self.stepper.turn();
        self.below.reclaim()
    }
    fn pending(&self) -> usize {
        self.below.pending()
    }
    fn arm(&mut self) -> bool {
        self.stepper.turn();
        self.below.arm()
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.below.interrupt()
    }
    fn wait_for_room(&mut self, timeout_us: Option<u64>) -> Result<bool, PciError> {
        self.below.wait_for_room(timeout_us)
    }
    fn on_wake(&mut self, wake: Option<WakeFn>) {
        self.below.on_wake(wake);
    }
    fn fault(&self) -> Option<QueueFault> {
        self.below.fault()
    }
    fn counters(&self) -> TxCounters {
        self.below.counters()
    }
    fn hook_begin(&mut self, batch: &mut Batch) -> TxHooked<'_> {
        let way = self.below.hook_begin(batch);
        if way.is_full() {
            self.stepper.turn();
        }
        way
    }
    fn hook_end(&mut self, frames: u32, bytes: u64, by_allowance: bool) {
        self.below.hook_end(frames, bytes, by_allowance);
        self.stepper.given();
    }
    fn hook_frame(&mut self, frame: Frame) -> Result<(), (Frame, bool)> {
        let result = self.below.hook_frame(frame);
        if result.is_ok() {
            self.stepper.given();
        } else {
            self.stepper.turn();
        }
        result
    }
}
