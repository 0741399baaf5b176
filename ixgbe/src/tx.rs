//! Transmit: what the card's descriptors say, and how one of its queues is stopped. Datasheet section 7.2.

use alloc::sync::Arc;
use core::fmt;

use driver_core::barrier;
use driver_core::buf::{Batch, BufPool, Frame};
use driver_core::ether::FrameLimits;
use driver_core::host::{Bar, Clock, Doorbell};
use driver_core::offload::{Headers, Work};
use driver_core::queue::core::{Left, Put, Silence, Stop, TxCore, TxKernel, WhyStuck};
use driver_core::queue::{QueueFault, TxHooked};
use driver_core::ring::{BLOCK, PutWhole, Reclaimed, TxRing};

use crate::card::answers;
use crate::desc::tx as bits;
use crate::irq::TxVector;
use crate::ptp::{Ptp, Slot};
use crate::queues::{Patience, stop_tx};
use crate::regs::Links;
use crate::regs::places::Places;
use crate::silence::silence;

mod context;

/// One transmit queue.
pub type Tx<B> = TxCore<Transmit<B>>;

/// What a transmit queue of these cards is made of.
pub struct Transmit<B: Bar> {
    pub(crate) ring: TxRing,
    pub(crate) tail: B::Doorbell,
    pub(crate) bar: B,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) places: &'static Places,
    pub(crate) index: u16,
    /// What the card does of what frames ask for, where it can.
    pub(crate) work: Work,
    /// The EtherType of the outer VLAN tag that frames begin with.
    pub(crate) outer: Option<u16>,
    /// What fires for the queue where it is armed.
    pub(crate) vector: Option<TxVector>,
    /// The card's clock, where it runs.
    pub(crate) ptp: Option<Arc<Ptp<B>>>,
}

impl<B: Bar> Transmit<B> {
    /// Gives the card the context of what the frame asks for. Returns how it is cut, where it is, and what its descriptors say beside their lengths.
    #[inline(never)]
    fn ask(&mut self, frame: &mut Frame) -> (Option<Headers>, u64) {
        let headers = context::headers(frame);
        if let Some(headers) = &headers {
            headers.prime(frame);
        }
        let more = context::of(frame, headers.as_ref(), self.outer).map_or(Some(0), |context| self.ring.set_context(&context, frame));
        let more = more.unwrap_or_else(|| {
            log::error!("ixgbe transmit queue {}: the counted descriptor of a context was not free", self.index);
            0
        });
        let stamp = self.stamp(frame, headers.is_some());
        (headers, more | stamp)
    }

    /// What the frame's descriptors, the next of the ring, say of a stamp that it asks for. STAMP-CUT: one that is cut goes without.
    fn stamp(&self, frame: &Frame, is_cut: bool) -> u64 {
        let Some((ptp, id)) = self.ptp.as_ref().zip(frame.asked_timestamp()) else { return 0 };
        if is_cut {
            ptp.skip(id);
            return 0;
        }
        let slot = Slot { queue: self.index, index: self.ring.tail(), len: self.ring.len() };
        if ptp.ask(id, slot) { bits::STAMPED } else { 0 }
    }
}

impl<B: Bar> TxKernel for Transmit<B> {
    type Lent = TxRing;
    const DRIVER: &'static str = "ixgbe";
    const COUNTS_BYTES: bool = false;
    const HAS_PUT_ONLY: bool = true;
    const ALWAYS_RINGS: bool = true;
    const TRY_AGAIN_AFTER: usize = BLOCK;
    const MAX_SEGMENTS: usize = bits::MAX_SEGMENTS;
    /// The context.
    const MORE_DESCRIPTORS: usize = 1;
    const MAX_CUT_BYTES: usize = bits::PAYLEN_MAX as usize;

    #[inline(always)]
    fn capacity(&self) -> u32 {
        // A full ring would look like an empty one.
        self.ring.len() - 1
    }

    #[inline(always)]
    fn free(&self) -> u32 {
        self.ring.free()
    }

    #[inline(always)]
    fn pool(&self) -> &BufPool {
        self.ring.pool()
    }

    fn owes_report(&self) -> bool {
        self.ring.owes_report()
    }

    #[inline(always)]
    fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
        Ok(self.ring.reclaim(batch))
    }

    #[inline(always)]
    fn put_only(&mut self, batch: &mut Batch) -> Option<u64> {
        self.ring.put_only(batch).then_some(0)
    }

    #[inline(always)]
    fn allow_singles(&mut self, min_free: u32) {
        self.ring.allow_singles(min_free);
    }

    #[inline(always)]
    fn allows_singles(&self) -> bool {
        self.ring.allows_singles()
    }

    #[inline(always)]
    fn put_first(&mut self, batch: &mut Batch) -> Put {
        Put { bytes: 0, again: self.ring.put_blocks(batch) > 0 }
    }

    #[inline(always)]
    fn put_ordinary(&mut self, batch: &mut Batch) -> Put {
        // The ring's end cuts what goes in one go in two.
        Put { bytes: 0, again: batch.len() >= BLOCK && self.ring.put_blocks(batch) > 0 }
    }

    #[inline(always)]
    fn put_next(&mut self, batch: &mut Batch) -> bool {
        self.ring.put_plain(batch)
    }

    #[inline(always)]
    fn has_chain(&self, batch: &Batch) -> bool {
        self.ring.has_chain(batch)
    }

    #[inline(always)]
    fn put_chains(&mut self, batch: &mut Batch, limits: FrameLimits) -> PutWhole {
        PutWhole { frames: self.ring.put_chains(batch, bits::MAX_SEGMENTS, limits.longest(false)), ..PutWhole::default() }
    }

    #[inline(always)]
    fn put_chain(&mut self, batch: &mut Batch, max_bytes: usize) -> bool {
        self.ring.put_chain(batch, bits::MAX_SEGMENTS, max_bytes)
    }

    fn put_asking(&mut self, batch: &mut Batch) -> bool {
        self.ring.put_asking(batch)
    }

    fn offload(&self, frame: &Frame) -> Work {
        context::done_by_card(frame, self.work, self.outer)
    }

    fn descriptors(&self, frame: &Frame, filled: usize) -> usize {
        if frame.asks_for_nothing() {
            return filled;
        }
        let headers = context::headers(frame);
        filled + usize::from(context::of(frame, headers.as_ref(), self.outer).is_some_and(|context| !self.ring.knows(&context)))
    }

    /// A context where the card knows none that fits, then one descriptor for each segment that has bytes.
    fn put_unusual(&mut self, mut frame: Frame, bytes: usize) {
        let (headers, more) = if frame.asks_for_nothing() { (None, 0) } else { self.ask(&mut frame) };
        let mut first_bytes = bytes as u32;
        // 7.2.3.2.4: PAYLEN is the frame's length, and of one that is cut that of what is behind its headers.
        let payload_bytes = headers.map_or(bytes, |headers| headers.payload_bytes) as u32;
        let mut left = bytes;
        let mut next = Some(frame);
        while let Some(mut segment) = next {
            next = segment.split_rest();
            let len = segment.linear_len();
            if len == 0 {
                continue;
            }
            left -= len;
            let last = left == 0;
            if self.ring.put_segment(segment, bits::data_word(len as u16, payload_bytes, last) | more, last, first_bytes).is_err() {
                // `descriptors` were free, and `split_rest` leaves no next segment.
                log::error!("ixgbe transmit queue {}: a counted descriptor was not free", self.index);
            }
            first_bytes = 0;
        }
        if let Some(headers) = headers {
            self.ring.note_cut(headers.segments() as u32 - 1);
        }
    }

    #[inline(always)]
    fn hooked(&mut self) -> TxHooked<'_> {
        TxHooked::descriptors(&mut self.ring)
    }

    #[inline(always)]
    fn report(&mut self) {
        self.ring.report_last();
    }

    #[inline(always)]
    fn publish(&mut self) -> bool {
        true
    }

    #[inline(always)]
    fn ring_doorbell(&mut self) {
        let tail = self.ring.tail();
        barrier::before_doorbell();
        self.tail.ring(tail);
    }

    fn why_stuck(&mut self) -> WhyStuck {
        if !answers(&self.bar) {
            return WhyStuck::Lost(QueueFault::Gone);
        }
        if self.places.links.read(&self.bar).contains(Links::LINK_UP) { WhyStuck::Unknown } else { WhyStuck::NoLink }
    }

    /// Whatever room is wanted: a full queue's last descriptor asks for a report, and those before it one in so many.
    fn arm(&mut self, _descriptors: u32) {
        if let Some(vector) = &mut self.vector {
            vector.arm(&self.bar, self.places);
        }
    }

    fn disarm(&mut self) {
        if let Some(vector) = &mut self.vector {
            vector.disarm(&self.bar, self.places);
        }
    }

    fn stop(&mut self) -> Stop {
        let mut left = None;
        match silence(stop_tx(&self.bar, self.places, &*self.clock, self.index, &mut Patience::new()).map(|told| left = told)) {
            Ok(silence) => {
                if let Some(left) = left {
                    silence.retire(&mut self.ring, left);
                }
                Stop::Silent(silence)
            }
            Err(error) => {
                log::warn!("ixgbe transmit queue {}: {error}", self.index);
                Stop::Unconfirmed
            }
        }
    }

    fn retire(&mut self, left: Left, silence: &Silence) {
        silence.retire(&mut self.ring, left);
    }

    fn rewind(&mut self, silence: &Silence, batch: &mut Batch) -> (u64, Reclaimed) {
        if let Some(vector) = &mut self.vector {
            // The reset has masked it.
            vector.forget();
        }
        silence.rewind_tx(&mut self.ring, batch)
    }

    fn into_lent(self) -> TxRing {
        self.ring
    }
}

impl<B: Bar> fmt::Debug for Transmit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}
