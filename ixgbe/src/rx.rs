//! Polled receive: descriptors in, frames out. Datasheet section 7.1.

use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;

use driver_core::barrier;
use driver_core::buf::meta::VLAN_SHIFT;
use driver_core::buf::{Batch, Frame};
use driver_core::ether::FrameLimits;
use driver_core::host::{Bar, Doorbell};
use driver_core::queue::{QueueFault, RxCounters, RxQueue};
use driver_core::ring::{BLOCK, RxRing, RxTakeError};

use crate::desc::rx as bits;
use crate::shared::Shared;

/// One receive queue.
///
/// Dropped while the device runs, it stops its hardware queue first; if the card does not confirm that, the ring and its buffers leak,
/// since the card may still write to them.
pub struct Rx<B: Bar> {
    ring: ManuallyDrop<RxRing>,
    tail: B::Doorbell,
    bar: B,
    shared: Arc<Shared>,
    index: u16,
    /// Written to EIMS to let the queue's vector fire; 0 without interrupts.
    interrupt: u32,
    /// Bits of a descriptor that no frame is to show.
    hidden: u64,
    /// The first buffers of a frame whose last descriptor is not done yet.
    partial: Option<Frame>,
    limits: FrameLimits,
    fault: Option<QueueFault>,
    counters: RxCounters,
}

/// What became of one descriptor.
enum One {
    /// A whole frame went to the batch.
    Frame,
    /// The descriptor was used up, but gave no frame (yet).
    Nothing,
    /// The next descriptor is not done, or cannot be taken now.
    Stop,
}

impl<B: Bar> Rx<B> {
    /// A queue on a ring whose hardware is set up and enabled. `interrupt`: the queue's bit in EIMS.
    pub(crate) fn new(
        ring: RxRing,
        bar: B,
        tail: B::Doorbell,
        shared: Arc<Shared>,
        (index, interrupt): (u16, u32),
        limits: FrameLimits,
        hidden: u64,
    ) -> Self {
        Self {
            ring: ManuallyDrop::new(ring),
            tail,
            bar,
            shared,
            index,
            interrupt,
            // The card sets VP for every tagged frame; the tag is still in the frame, since stripping is off (section 7.4.3).
            hidden: hidden | bits::VP | 0xffff << VLAN_SHIFT,
            partial: None,
            limits,
            fault: None,
            counters: RxCounters::default(),
        }
    }

    /// The queue's number.
    pub fn index(&self) -> u16 {
        self.index
    }

    #[inline(always)]
    fn deliver(&mut self, batch: &mut Batch, frame: Frame) -> One {
        // `poll` keeps its budget within the batch's room, so the push cannot fail; if it did, the frame would go back to the pool.
        match batch.push(frame) {
            Ok(()) => One::Frame,
            Err(_) => One::Nothing,
        }
    }

    #[cold]
    fn not_taken(&mut self, error: RxTakeError) -> One {
        match error {
            RxTakeError::NotDone => {}
            RxTakeError::Bad => {
                self.counters.errors += 1;
                self.set_partial(None);
                return One::Nothing;
            }
            RxTakeError::NoBuffer => self.counters.stalls += 1,
            RxTakeError::Length { len_bytes } => {
                let max_bytes = self.ring.pool().data_bytes();
                self.break_queue(QueueFault::Length { slot: self.ring.next(), len_bytes, max_bytes });
            }
        }
        One::Stop
    }

    /// A descriptor that is not done, part of a longer frame, marked bad, tagged, or longer than the quick test allows; or no buffer lies ready.
    #[cold]
    fn take_unusual(&mut self, batch: &mut Batch) -> One {
        if self.fault.is_some() {
            return One::Stop;
        }
        let (frame, ended) = match self.ring.take(batch, bits::ERRORS, self.hidden) {
            Ok(taken) => taken,
            Err(error) => return self.not_taken(error),
        };
        let frame = match self.partial.take() {
            Some(mut head) => {
                head.append(frame);
                head
            }
            None => frame,
        };
        let longest = self.limits.longest(true);
        let most = longest / self.ring.pool().data_bytes() as usize + 1;
        if frame.len() > longest || frame.segments().count() > most {
            self.break_queue(QueueFault::Protocol("the device reports a frame longer, or in more pieces, than MAXFRS lets through"));
            return One::Stop;
        }
        if !ended {
            self.set_partial(Some(frame));
            return One::Nothing;
        }
        self.set_partial(None);
        self.deliver(batch, frame)
    }

    /// In the middle of a frame every descriptor takes the scalar way.
    fn set_partial(&mut self, partial: Option<Frame>) {
        self.ring.allow_ordinary(partial.is_none());
        self.partial = partial;
    }

    #[cold]
    fn break_queue(&mut self, fault: QueueFault) {
        log::error!("ixgbe receive queue {} is broken: {fault}", self.index);
        self.ring.allow_ordinary(false);
        self.fault = Some(fault);
    }

    #[inline(never)]
    fn poll_many(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let before = self.ring.next();
        let taken = self.drain(batch, budget.min(batch.room()));
        if self.ring.next() != before {
            self.ring_doorbell(taken);
        }
        taken
    }

    /// Lends the refilled slots to the card.
    #[inline(always)]
    fn ring_doorbell(&mut self, taken: usize) {
        self.counters.packets += taken as u64;
        if self.shared.is_running() {
            self.counters.doorbells += 1;
            // Section 7.1.9: the tail is one beyond the last descriptor that the card may use.
            let tail = self.ring.tail();
            barrier::before_doorbell();
            self.tail.ring(tail);
        }
    }

    /// Takes up to `budget` frames without writing the tail. Returns the frames.
    #[inline(always)]
    fn drain(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let mut taken = 0;
        let mut blocks = true;
        // Descriptors without a frame do not count against the budget; a card that fills them as fast as they are emptied must not keep us here.
        let mut without_frame = self.ring.len();
        loop {
            if blocks && budget - taken >= BLOCK {
                taken += self.ring.take_blocks(batch, budget - taken);
            }
            if taken >= budget {
                break;
            }
            if self.ring.take_plain(batch) {
                taken += 1;
            } else {
                match self.take_unusual(batch) {
                    One::Frame => taken += 1,
                    One::Nothing if without_frame > 0 => without_frame -= 1,
                    One::Nothing | One::Stop => break,
                }
            }
            // A block starts anywhere, but after a scalar step it is tried again only where blocks are due, at the ring's end at the latest.
            blocks = self.ring.next().is_multiple_of(BLOCK as u32);
        }
        taken
    }
}

impl<B: Bar> RxQueue for Rx<B> {
    #[inline]
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        // One frame at a time is the way of a caller that cares for latency: the straight path spares it the loops.
        if budget == 1 && self.ring.take_plain(batch) {
            self.ring_doorbell(1);
            return 1;
        }
        self.poll_many(batch, budget)
    }

    fn arm(&mut self) -> bool {
        if self.shared.is_running() && self.interrupt != 0 {
            crate::regs::EIMS.write(&self.bar, crate::regs::Eicr::from_bits_retain(self.interrupt));
            // The write must have reached the card before the look: a frame that comes after it fires the interrupt.
            let _flushed = crate::regs::STATUS.read(&self.bar);
        }
        barrier::store_then_load();
        self.fault.is_none() && self.ring.peek().high() & bits::DD != 0
    }

    fn fault(&self) -> Option<QueueFault> {
        self.fault.or_else(|| (!self.shared.is_running()).then_some(QueueFault::Stopped))
    }

    fn counters(&self) -> RxCounters {
        self.counters
    }
}

impl<B: Bar> Drop for Rx<B> {
    fn drop(&mut self) {
        let confirmed = self.shared.is_stopped() || crate::queues::stop_rx(&self.bar, self.shared.clock(), self.index).is_ok();
        if !confirmed {
            log::error!("ixgbe receive queue {}: the card does not confirm that it stopped; its {} buffers leak", self.index, self.ring.len());
            return;
        }
        // SAFETY: the ring is taken out once, here, and the hardware queue has confirmed that it stopped.
        #[allow(unsafe_code, reason = "only here is it known that the card writes no more")]
        unsafe {
            ManuallyDrop::take(&mut self.ring).release();
        }
    }
}

impl<B: Bar> fmt::Debug for Rx<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ixgbe receive queue {}: {:?}", self.index, self.ring)
    }
}
