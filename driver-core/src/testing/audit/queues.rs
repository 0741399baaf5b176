//! Queues that are watched.

use alloc::sync::Arc;
use core::fmt;

use crate::buf::batch::Batch;
use crate::host::pci::{Interrupt, PciError};
use crate::queue::contract::{RxCounters, RxQueue, TxCounters, TxQueue, TxState, WakeFn};
use crate::ring::fault::QueueFault;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::verdict::Settled;
use crate::testing::audit::book::{Book, Departure, Line, RxLine, TxLine, lock};

/// A receive queue of an audited device.
pub struct AuditedRx<Q> {
    below: Q,
    line: Line<RxLine>,
    _end: Departure,
}

impl<Q: RxQueue> AuditedRx<Q> {
    pub(super) fn new(below: Q, book: &Arc<Book>) -> Self {
        Self { below, line: book.rx_line(), _end: Departure::of(book) }
    }
}

impl<Q: RxQueue> RxQueue for AuditedRx<Q> {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let before = batch.len();
        let said = self.below.poll(batch, budget);
        let came = batch.len().wrapping_sub(before);
        let counters = self.below.counters();
        let mut line = lock(&self.line);
        line.delivered += came as u64;
        line.errors = counters.errors;
        let all = (line.delivered, counters.packets);
        drop(line);
        assert!(came == said, "poll says {said} frames, and {came} came into the batch");
        assert!(all.0 == all.1, "{} frames were handed up until now, and the queue has counted {}", all.0, all.1);
        said
    }
    fn arm(&mut self) -> bool {
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
        self.below.hook_begin()
    }
    fn hook_end(&mut self, settled: &Settled, batch: &mut Batch) {
        self.below.hook_end(settled, batch);
        let counters = self.below.counters();
        let mut line = lock(&self.line);
        line.delivered += u64::from(settled.rest.passed);
        line.in_place += u64::from(settled.frames().wrapping_sub(settled.rest.passed));
        line.errors = counters.errors;
        let delivered = line.delivered;
        drop(line);
        assert!(delivered == counters.packets, "{delivered} frames were handed up until now, and the queue has counted {}", counters.packets);
    }
}

impl<Q: fmt::Debug> fmt::Debug for AuditedRx<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.below.fmt(f)
    }
}

/// A transmit queue of an audited device.
pub struct AuditedTx<Q: TxQueue> {
    below: Q,
    line: Line<TxLine>,
    _end: Departure,
}

impl<Q: TxQueue> AuditedTx<Q> {
    pub(super) fn new(below: Q, book: &Arc<Book>) -> Self {
        Self { below, line: book.tx_line(), _end: Departure::of(book) }
    }

    /// What may give descriptors back.
    fn watched<T>(&mut self, work: impl FnOnce(&mut Q) -> T) -> T {
        let done = work(&mut self.below);
        lock(&self.line).pending = self.below.pending() as u64;
        done
    }
}

impl<Q: TxQueue> TxQueue for AuditedTx<Q> {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        let before = batch.len();
        let state = self.below.submit(batch);
        let took = before.wrapping_sub(batch.len());
        let counted = self.below.counters().packets;
        let mut line = lock(&self.line);
        line.taken += took as u64;
        line.pending = self.below.pending() as u64;
        let taken = line.taken;
        drop(line);
        assert!(taken == counted, "{taken} frames were taken until now, and the queue has counted {counted}");
        state
    }
    fn reclaim(&mut self) -> usize {
        self.watched(TxQueue::reclaim)
    }
    fn pending(&self) -> usize {
        self.below.pending()
    }
    fn arm(&mut self) -> bool {
        self.watched(TxQueue::arm)
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.below.interrupt()
    }
    fn wait_for_room(&mut self, timeout_us: Option<u64>) -> Result<bool, PciError> {
        self.watched(|below| below.wait_for_room(timeout_us))
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
        self.below.hook_begin(batch)
    }
    fn hook_end(&mut self, frames: u32, bytes: u64, by_allowance: bool) {
        self.watched(|below| below.hook_end(frames, bytes, by_allowance));
        let counted = self.below.counters().packets;
        let mut line = lock(&self.line);
        line.taken += u64::from(frames);
        let taken = line.taken;
        drop(line);
        assert!(taken == counted, "{taken} frames were taken until now, and the queue has counted {counted}");
    }
}

impl<Q: TxQueue> Drop for AuditedTx<Q> {
    fn drop(&mut self) {
        // A queue that works sends what it has before it goes, or counts it as given up.
        if self.below.fault().is_none() {
            lock(&self.line).pending = 0;
        }
    }
}

impl<Q: TxQueue + fmt::Debug> fmt::Debug for AuditedTx<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.below.fmt(f)
    }
}
