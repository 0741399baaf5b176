//! Queues that do nothing but what a virtqueue asks for.

use crate::buf::batch::Batch;
use crate::host::pci::{Interrupt, PciError};
use crate::queue::contract::{RxCounters, RxQueue, TxCounters, TxQueue, TxState, WakeFn};
use crate::queue::hook_tests::sum::add;
use crate::queue::hook_tests::virtq_layouts::{RxLike, TxLike};
use crate::ring::fault::QueueFault;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::split::{HEADER_BYTES, HookRules};
use crate::ring::verdict::Settled;

/// Ordinary: the first two bytes of the header are 0 but for bit 1, which says that the checksum is good.
pub(super) const RULES: HookRules =
    HookRules { used_bytes: (26, 2048), clear: 0xfffd, looked_at: 0xffff_0000, wanted: 1 << 16, known: 2, known_shift: 4 };

/// A receive queue.
pub(super) struct Rx<R> {
    pub(super) ring: R,
    pub(super) settled: Settled,
    pub(super) fault: Option<QueueFault>,
}

impl<R: RxLike + Send> RxQueue for Rx<R> {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let mut came = 0;
        while came < budget && batch.room() > 0 && self.ring.covers_one(batch) && self.ring.is_ready() {
            match self.ring.next(batch) {
                Ok(Some(taken)) if taken.used_bytes < HEADER_BYTES as u32 => {
                    self.fault = Some(QueueFault::Protocol("less than a header"));
                    break;
                }
                Ok(Some(mut taken)) => {
                    taken.frame.put(taken.used_bytes as usize - HEADER_BYTES).unwrap();
                    batch.push(taken.frame).unwrap();
                    came += 1;
                }
                Ok(None) => break,
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        self.ring.show(batch);
        came
    }
    fn arm(&mut self) -> bool {
        false
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        None
    }
    fn fault(&self) -> Option<QueueFault> {
        self.fault
    }
    fn counters(&self) -> RxCounters {
        RxCounters::default()
    }
    fn hook_begin(&mut self) -> RxHooked<'_> {
        if self.fault.is_none() && self.ring.is_ready() { self.ring.hooked() } else { RxHooked::nothing() }
    }
    fn hook_end(&mut self, settled: &Settled, batch: &mut Batch) {
        add(&mut self.settled, settled);
        self.ring.show(batch);
    }
}

/// A transmit queue.
pub(super) struct Tx<R> {
    pub(super) ring: R,
    pub(super) taken: u64,
    pub(super) bytes: u64,
}

impl<R: TxLike + Send> TxQueue for Tx<R> {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        self.ring.take_back(batch);
        while let Some(mut frame) = batch.pop() {
            if let Some(missing) = 60_usize.checked_sub(frame.len()) {
                frame.put(missing).unwrap().fill(0);
            }
            if frame.len() > 1514 || self.ring.descriptors_of(&frame) > self.ring.room() {
                batch.push(frame).unwrap();
                return TxState::Stopped;
            }
            self.bytes += frame.len() as u64;
            self.ring.send(frame);
            self.taken += 1;
        }
        self.ring.show();
        TxState::Running
    }
    fn reclaim(&mut self) -> usize {
        0
    }
    fn pending(&self) -> usize {
        self.ring.in_flight()
    }
    fn arm(&mut self) -> bool {
        true
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        None
    }
    fn wait_for_room(&mut self, _: Option<u64>) -> Result<bool, PciError> {
        Ok(true)
    }
    fn on_wake(&mut self, _: Option<WakeFn>) {}
    fn fault(&self) -> Option<QueueFault> {
        None
    }
    fn counters(&self) -> TxCounters {
        TxCounters::default()
    }
    fn hook_begin(&mut self, batch: &mut Batch) -> TxHooked<'_> {
        if self.ring.room() < 4 && !self.ring.take_back(batch) || self.ring.room() < 4 {
            return TxHooked::full();
        }
        self.ring.hooked()
    }
    fn hook_end(&mut self, frames: u32, bytes: u64, _: bool) {
        self.taken += u64::from(frames);
        self.bytes += bytes;
        self.ring.show();
    }
}
