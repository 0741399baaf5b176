//! Queues that do nothing but what a card's ring asks for.

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::host::pci::{Interrupt, PciError};
use crate::queue::contract::{RxCounters, RxQueue, TxCounters, TxQueue, TxState, WakeFn};
use crate::queue::hook_tests::sum::add;
use crate::queue::refusal::Refusal;
use crate::ring::fault::QueueFault;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::rx::{RxRing, RxTakeError};
use crate::ring::tx::TxRing;
use crate::ring::verdict::Settled;

/// A receive queue that does nothing but what a ring asks for.
pub(super) struct Rx {
    pub(super) ring: RxRing,
    pub(super) settled: Settled,
    pub(super) doorbells: u64,
    /// As the card sees it.
    pub(super) tail: u32,
}

impl RxQueue for Rx {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let mut came = 0;
        let mut first: Option<Frame> = None;
        while came < budget && batch.room() > 0 {
            match self.ring.take(batch, 1 << 20, 0) {
                Ok((frame, ends)) => {
                    let whole = match first.take() {
                        Some(mut whole) => {
                            whole.append(frame);
                            whole
                        }
                        None => frame,
                    };
                    if ends {
                        batch.push(whole).unwrap();
                        came += 1;
                    } else {
                        first = Some(whole);
                    }
                }
                Err(RxTakeError::Bad) => {}
                Err(_) => break,
            }
        }
        self.tail = self.ring.tail();
        came
    }
    fn arm(&mut self) -> bool {
        false
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        None
    }
    fn fault(&self) -> Option<QueueFault> {
        None
    }
    fn counters(&self) -> RxCounters {
        RxCounters::default()
    }
    fn hook_begin(&mut self) -> RxHooked<'_> {
        RxHooked::descriptors(&mut self.ring)
    }
    fn hook_end(&mut self, settled: &Settled, _: &mut Batch) {
        add(&mut self.settled, settled);
        self.doorbells += 1;
        self.tail = self.ring.tail();
    }
}

/// A transmit queue that does nothing but what a ring asks for.
pub(super) struct Tx {
    pub(super) ring: TxRing,
    /// As the card sees it.
    pub(super) tail: u32,
    pub(super) taken: u64,
    /// Those that the program made.
    pub(super) own: u64,
    /// Frames that came as copies, since their memory is out of reach.
    pub(super) copied: u64,
}

impl TxQueue for Tx {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        self.ring.reclaim(batch);
        while let Some(frame) = batch.frames_mut().first_mut() {
            if frame.len() > 1514 {
                return TxState::Refused(Refusal::TooLong { len_bytes: frame.len(), max_bytes: 1514 });
            }
            if self.ring.free() < frame.segments().count() as u32 {
                return TxState::Stopped;
            }
            if !frame.all_reachable(self.ring.pool().domain()) {
                let Ok(copy) = frame.copy(self.ring.pool()) else { return TxState::Refused(Refusal::NoBounceBuffer) };
                *frame = copy;
                self.copied += 1;
            }
            if let Some(missing) = 60_usize.checked_sub(frame.len()) {
                frame.put(missing).unwrap().fill(0);
            }
            let mut next = batch.pop();
            let total = next.as_ref().map_or(0, Frame::len) as u64;
            while let Some(mut segment) = next {
                next = segment.split_rest();
                let word = 1 << 24 | total << 46;
                self.ring.put_segment(segment, word, next.is_none(), 0).unwrap();
            }
            self.taken += 1;
        }
        self.tail = self.ring.tail();
        TxState::Running
    }
    fn reclaim(&mut self) -> usize {
        0
    }
    fn pending(&self) -> usize {
        self.ring.pending() as usize
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
        if self.ring.free() < 8 {
            self.ring.reclaim(batch);
        }
        if self.ring.free() < 8 { TxHooked::full() } else { TxHooked::descriptors(&mut self.ring) }
    }
    fn hook_end(&mut self, frames: u32, _: u64, by_allowance: bool) {
        self.taken += u64::from(frames);
        if self.ring.free() < 16 {
            self.ring.report_last();
        }
        if frames == 1 && !by_allowance {
            self.ring.allow_singles(16);
        }
        self.tail = self.ring.tail();
    }
}
