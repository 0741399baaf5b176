//! Polled receive: what the card's descriptors say, and how one of its queues is armed and stopped. Datasheet section 7.1.

use alloc::sync::Arc;
use core::fmt;

use driver_core::barrier;
use driver_core::buf::meta::Words;
use driver_core::buf::{Batch, Frame, Segmentation};
use driver_core::host::{Bar, Clock, Doorbell};
use driver_core::queue::core::{NotTaken, Piece, RxCore, RxError, RxKernel, RxLimits, Silence, Stop, Taken};
use driver_core::queue::{QueueFault, RxHooked};
use driver_core::ring::{BLOCK, Begun, RxRing, RxTakeError, WholeError, WholeLimits};

use crate::desc::rx as bits;
use crate::irq::{Paced, RxVector};
use crate::ptp::Ptp;
use crate::queues::{Patience, stop_rx};
use crate::regs::STATUS;
use crate::silence::silence;
use crate::stats::Counting;

pub(crate) mod whole;

/// One receive queue.
pub type Rx<B> = RxCore<Receive<B>>;

/// What a receive queue of these cards is made of.
pub struct Receive<B: Bar> {
    ring: RxRing,
    tail: B::Doorbell,
    bar: B,
    clock: Arc<dyn Clock>,
    /// Which of the card's queues it is.
    index: u16,
    /// Let through when the queue is armed.
    vector: RxVector,
    /// How far apart its interrupts are.
    paced: Paced,
    /// Bits of a descriptor that no frame is to show.
    hidden: u64,
    counting: Arc<Counting<B>>,
    /// The card's clock, where it runs.
    ptp: Option<Arc<Ptp<B>>>,
    /// How often the queue finds nothing until it looks whether the card's counters are to be read.
    idle_looks: u32,
    /// How large a frame may be that the ring puts together.
    limits: WholeLimits,
}

const TOO_LONG: QueueFault = QueueFault::Protocol("the device reports a frame longer, or in more pieces, than MAXFRS, or RSCCTL, lets through");
const NEXT: QueueFault = QueueFault::Protocol("the device goes on with a large receive in a descriptor where none of it can be (NEXTP)");
/// A frame with a time stamp is put together piece by piece, and then judged.
const NO_CHAIN: u64 = bits::ERRORS | bits::TS | bits::TSIP;
/// A queue that is polled without a pause finds nothing so often in less than a millisecond, and one that is polled ten times a second in 25 s.
const IDLE_LOOKS: u32 = 250;

impl<B: Bar> Receive<B> {
    /// On a ring whose hardware queue may be running already. `hidden`: what frames do not show of what the card says of them.
    #[allow(clippy::too_many_arguments, reason = "each is the queue's own")]
    pub(crate) fn new(
        ring: RxRing,
        tail: B::Doorbell,
        bar: B,
        clock: Arc<dyn Clock>,
        index: u16,
        vector: Option<u16>,
        hidden: u64,
        counting: Arc<Counting<B>>,
        paced: Paced,
        limits: WholeLimits,
        ptp: Option<Arc<Ptp<B>>>,
    ) -> Self {
        let vector = RxVector::new(vector);
        Self { ring, tail, bar, clock, index, vector, paced, hidden, counting, ptp, idle_looks: IDLE_LOOKS, limits }
    }

    #[inline(always)]
    fn found_nothing(&mut self) {
        self.idle_looks -= 1;
        if self.idle_looks == 0 {
            self.look_at_counters();
        }
    }

    #[cold]
    fn too_many_bytes(&self, len_bytes: u32) -> QueueFault {
        QueueFault::Length { slot: self.ring.next(), len_bytes, max_bytes: self.ring.pool().data_bytes() }
    }

    /// The queue found nothing, and has time: without a control handle that is looked at, nobody else reads the card's counters before they are full.
    #[cold]
    #[inline(never)]
    fn look_at_counters(&mut self) {
        self.idle_looks = IDLE_LOOKS;
        self.counting.read_if_due();
    }
}

impl<B: Bar> RxKernel for Receive<B> {
    type Lent = RxRing;
    const DRIVER: &'static str = "ixgbe";
    const COUNTS_BYTES: bool = false;
    /// Each has a done bit of its own.
    const COUNTS_READY: bool = false;
    const HAS_TAKE_ONLY: bool = true;
    /// 7.1.6.2: all but the length and DD is valid in the descriptor with EOP.
    const LAST_SAYS: bool = true;
    const ALWAYS_RINGS: bool = true;
    const TOO_LONG: Option<QueueFault> = Some(TOO_LONG);

    fn capacity(&self) -> u32 {
        self.ring.len()
    }

    #[inline(always)]
    fn ready(&mut self) -> Result<usize, QueueFault> {
        Ok(usize::MAX)
    }

    #[inline(always)]
    fn take_only(&mut self, batch: &mut Batch) -> Option<u64> {
        // The slot that is emptied and filled again is the last that the card may use: the tail.
        let tail = self.ring.next();
        if !self.ring.take_plain(batch) {
            return None;
        }
        barrier::before_doorbell();
        self.tail.ring(tail);
        Some(0)
    }

    #[inline(always)]
    fn stock(&mut self, batch: &mut Batch) -> bool {
        self.ring.stock(batch)
    }

    #[inline(always)]
    fn take_first(&mut self, batch: &mut Batch, most: usize) -> Taken {
        Taken { frames: self.ring.take_blocks(batch, most), bytes: 0 }
    }

    #[inline(always)]
    fn take_ordinary(&mut self, batch: &mut Batch, most: usize) -> Taken {
        let mut frames = 0;
        loop {
            if most - frames >= BLOCK {
                frames += self.ring.take_blocks(batch, most - frames);
            }
            // A block may begin at any descriptor. But behind a single frame it is tried again only at every eighth descriptor: frames that come one by one
            // would pay for the test each time. The ring's end, beyond which no block reaches, is such a place.
            loop {
                if frames == most || !self.ring.take_plain(batch) {
                    return Taken { frames, bytes: 0 };
                }
                frames += 1;
                if self.ring.next().is_multiple_of(BLOCK as u32) {
                    break;
                }
            }
        }
    }

    #[inline(always)]
    fn has_next(&mut self) -> bool {
        let is_ready = self.ring.is_ready();
        if !is_ready {
            self.found_nothing();
        }
        is_ready
    }

    #[inline(always)]
    fn has_chain(&self) -> bool {
        self.ring.has_chain()
    }

    #[inline(always)]
    fn take_chains(&mut self, batch: &mut Batch, most: usize, begun: &mut Option<Begun>, limits: RxLimits) -> usize {
        self.ring.take_chains(batch, most, begun, limits.max_pieces, limits.max_frame_bytes, NO_CHAIN, self.hidden)
    }

    #[inline(always)]
    fn take_chain(&mut self, batch: &mut Batch, begun: &mut Option<Begun>, limits: RxLimits) -> bool {
        self.ring.take_chain(batch, begun, limits.max_pieces, limits.max_frame_bytes, NO_CHAIN, self.hidden)
    }

    #[inline(always)]
    fn is_apart(&self) -> bool {
        self.ring.is_apart()
    }

    fn take_whole(&mut self, batch: &mut Batch) -> Result<Option<Frame>, NotTaken> {
        match self.ring.take_whole(batch, bits::ERRORS, self.hidden, self.limits) {
            Ok(mut frame) => {
                if let Some(frame) = &mut frame
                    && let Some(segments) = frame.coalesced()
                {
                    frame.set_segmentation(Segmentation::of_coalesced(frame, segments));
                }
                Ok(frame)
            }
            Err(WholeError::Take(RxTakeError::NotDone)) => {
                self.found_nothing();
                Err(NotTaken::NotDone)
            }
            Err(WholeError::Take(RxTakeError::NoBuffer)) => Err(NotTaken::NoBuffer),
            Err(WholeError::Take(RxTakeError::Bad)) => Err(NotTaken::Bad),
            Err(WholeError::Take(RxTakeError::Length { len_bytes })) => Err(NotTaken::Fault(self.too_many_bytes(len_bytes))),
            Err(WholeError::TooLong) => Err(NotTaken::Fault(TOO_LONG)),
            Err(WholeError::Next { .. }) => Err(NotTaken::Fault(NEXT)),
        }
    }

    fn take_unusual(&mut self, batch: &mut Batch) -> Result<Piece, NotTaken> {
        match self.ring.take(batch, bits::ERRORS, self.hidden) {
            Ok((frame, ends)) => {
                self.ring.allow_ordinary(ends);
                Ok(Piece { frame, ends })
            }
            Err(RxTakeError::NotDone) => {
                self.idle_looks -= 1;
                if self.idle_looks == 0 {
                    self.look_at_counters();
                }
                Err(NotTaken::NotDone)
            }
            Err(RxTakeError::NoBuffer) => Err(NotTaken::NoBuffer),
            Err(RxTakeError::Bad) => {
                self.ring.allow_ordinary(true);
                Err(NotTaken::Bad)
            }
            Err(RxTakeError::Length { len_bytes }) => {
                let (slot, max_bytes) = (self.ring.next(), self.ring.pool().data_bytes());
                Err(NotTaken::Fault(QueueFault::Length { slot, len_bytes, max_bytes }))
            }
        }
    }

    /// A frame with a time stamp.
    const MARKS: bool = true;

    #[inline(always)]
    fn is_marked_end([_, word]: Words) -> bool {
        bits::is_last(word) && word & (bits::TS | bits::TSIP) != 0
    }

    fn judge_marked(&mut self, frame: &mut Frame) -> Result<(), RxError> {
        self.ring.allow_ordinary(true);
        match &self.ptp {
            Some(ptp) if !ptp.stamp(frame) => Err(RxError::Length),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn hooked(&mut self) -> RxHooked<'_> {
        RxHooked::descriptors(&mut self.ring)
    }

    #[inline(always)]
    fn publish(&mut self) -> bool {
        true
    }

    #[inline(always)]
    fn ring_doorbell(&mut self) {
        // Section 7.1.9: the tail is one beyond the last descriptor that the card may use.
        let tail = self.ring.tail();
        barrier::before_doorbell();
        self.tail.ring(tail);
    }

    fn pace(&mut self, frames: u64) {
        self.vector.keep_apart(&self.bar, self.counting.places(), &mut self.paced, frames, self.clock.now_us());
    }

    fn arm(&mut self) {
        self.counting.read_if_due();
        self.vector.let_through(&self.bar, self.counting.places());
        // The write must have reached the card before the look at the ring: a frame that comes after that look fires the interrupt.
        let _flushed = STATUS.read(&self.bar);
    }

    fn has_frames(&self) -> bool {
        barrier::store_then_load();
        self.ring.is_ready()
    }

    fn stop(&mut self) -> Stop {
        silence(stop_rx(&self.bar, self.counting.places(), &*self.clock, self.index, &Patience::new())).map_or(Stop::Unconfirmed, Stop::Silent)
    }

    fn rewind(&mut self, silence: &Silence) -> u64 {
        self.paced.forget();
        silence.rewind_rx(&mut self.ring)
    }

    fn into_lent(self) -> RxRing {
        self.ring
    }
}

impl<B: Bar> fmt::Debug for Receive<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}
