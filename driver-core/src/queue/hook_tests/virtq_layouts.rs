//! The two layouts of virtqueues, with the device's end of each.

use std::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::BufPool;
use crate::host::dma::DmaDomain;
use crate::queue::hook_tests::virtq::SIZE;
use crate::queue::hook_tests::virtq_queues::RULES;
use crate::ring::VirtqTaken;
use crate::ring::fault::QueueFault;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::packed::{PackedQueue, PackedRx, PackedTx};
use crate::ring::split::{HEADER_BYTES, SplitQueue, SplitRx, SplitTx};
use crate::testing::{DescEnd, PackedChain, PackedEnd, SplitEnd};

/// A buffer that a driver made available: its ID, the addresses and lengths of its descriptors, and where it is read, its bytes.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) id: u16,
    pub(super) pieces: Vec<(u64, u32)>,
    pub(super) bytes: Vec<u8>,
}

/// The device's end of a queue.
pub(super) trait End {
    /// What was made available since the last call, with its bytes where the device `reads`.
    fn next(&mut self, reads: bool) -> Vec<Given>;
    fn use_one(&mut self, id: u16, len_bytes: u32, descriptors: u16);
    /// Shows the driver what was used, where using it has not.
    fn publish(&mut self);
    /// The address in a descriptor.
    fn address(&self, place: u16) -> u64;
}

pub(super) trait RxLike: Sized {
    type End: End;
    fn make(domain: &DmaDomain, pool: &BufPool) -> (Self, Self::End);
    fn is_ready(&mut self) -> bool;
    fn next(&mut self, batch: &mut Batch) -> Result<Option<VirtqTaken>, QueueFault>;
    fn covers_one(&mut self, batch: &mut Batch) -> bool;
    fn show(&mut self, batch: &mut Batch);
    fn hooked(&mut self) -> RxHooked<'_>;
    /// # Safety
    /// The card is at rest.
    unsafe fn end(self);
}

pub(super) trait TxLike: Sized {
    type End: End;
    fn make(domain: &DmaDomain, pool: &BufPool) -> (Self, Self::End);
    fn take_back(&mut self, batch: &mut Batch) -> bool;
    fn descriptors_of(&self, frame: &Frame) -> usize;
    fn room(&self) -> usize;
    fn in_flight(&self) -> usize;
    fn send(&mut self, frame: Frame);
    fn show(&mut self);
    fn hooked(&mut self) -> TxHooked<'_>;
    /// # Safety
    /// The card is at rest.
    unsafe fn end(self);
}

/// One layout.
pub(super) trait Layout {
    type Rx: RxLike;
    type Tx: TxLike;
}

pub(super) struct Split;
pub(super) struct Packed;

impl Layout for Split {
    type Rx = SplitRx<HEADER_BYTES>;
    type Tx = SplitTx<HEADER_BYTES>;
}
impl Layout for Packed {
    type Rx = PackedRx<HEADER_BYTES>;
    type Tx = PackedTx<HEADER_BYTES>;
}

impl End for SplitEnd {
    fn next(&mut self, reads: bool) -> Vec<Given> {
        let heads = self.next_heads();
        let given = heads.into_iter().map(|id| {
            let (iova, len, flags, next) = self.descriptor(id);
            let mut pieces = std::vec![(iova.0, len)];
            if flags & crate::ring::split::F_NEXT != 0 {
                let (iova, len, ..) = self.descriptor(next);
                pieces.push((iova.0, len));
            }
            // SAFETY: it is in flight.
            Given { id, pieces, bytes: if reads { unsafe { self.gather(id) } } else { Vec::new() } }
        });
        given.collect()
    }
    fn use_one(&mut self, id: u16, len_bytes: u32, _: u16) {
        Self::use_one(self, id.into(), len_bytes);
    }
    fn publish(&mut self) {
        Self::publish(self);
    }
    fn address(&self, place: u16) -> u64 {
        self.descriptor(place).0.0
    }
}

/// With the ring itself.
pub(super) struct PackedCard {
    end: PackedEnd,
    ring: DescEnd,
}

impl PackedCard {
    fn new(queue: &PackedQueue) -> Self {
        // SAFETY: the queue lives as long as the card.
        unsafe { Self { end: PackedEnd::new(queue), ring: DescEnd::new(queue.areas()[0], SIZE.into()) } }
    }
}

impl End for PackedCard {
    fn next(&mut self, reads: bool) -> Vec<Given> {
        let chains = self.end.next_chains();
        let given = |chain: PackedChain| Given {
            id: chain.ids[0],
            pieces: chain.pieces.iter().map(|&(iova, len, _)| (iova.0, len)).collect(),
            // SAFETY: it is in flight.
            bytes: if reads { unsafe { self.end.gather(&chain) } } else { Vec::new() },
        };
        chains.into_iter().map(given).collect()
    }
    fn use_one(&mut self, id: u16, len_bytes: u32, descriptors: u16) {
        self.end.use_one(id, len_bytes, descriptors, 0);
    }
    fn publish(&mut self) {}
    fn address(&self, place: u16) -> u64 {
        self.ring.read(place.into())[0]
    }
}

macro_rules! rings {
    ($queue:ident, $rx:ident, $tx:ident, $end:ty, $hooked:ident, |$of:ident| $card:expr, |$this:ident, $batch:ident| $ready:expr, $take:expr, $refill:expr) => {
        impl RxLike for $rx<HEADER_BYTES> {
            type End = $end;
            fn make(domain: &DmaDomain, pool: &BufPool) -> (Self, Self::End) {
                let rx = Self::new($queue::new(domain, SIZE, false).unwrap(), pool).unwrap();
                let $of = rx.queue();
                let card = $card;
                (rx, card)
            }
            fn is_ready(&mut self) -> bool {
                let $this = self;
                $ready
            }
            fn next(&mut self, $batch: &mut Batch) -> Result<Option<VirtqTaken>, QueueFault> {
                let $this = self;
                $take
            }
            fn covers_one(&mut self, batch: &mut Batch) -> bool {
                self.covered(batch, 1) > 0
            }
            fn show(&mut self, $batch: &mut Batch) {
                let $this = self;
                $refill;
                $this.publish();
            }
            fn hooked(&mut self) -> RxHooked<'_> {
                RxHooked::$hooked(self, RULES)
            }
            unsafe fn end(self) {
                // SAFETY: the caller's.
                unsafe { self.release() };
            }
        }

        impl TxLike for $tx<HEADER_BYTES> {
            type End = $end;
            fn make(domain: &DmaDomain, pool: &BufPool) -> (Self, Self::End) {
                let tx = Self::new($queue::new(domain, SIZE, false).unwrap(), domain, pool, 0).unwrap();
                let $of = tx.queue();
                let card = $card;
                (tx, card)
            }
            fn take_back(&mut self, batch: &mut Batch) -> bool {
                self.reclaim(batch).is_ok()
            }
            fn descriptors_of(&self, frame: &Frame) -> usize {
                self.descriptors(frame)
            }
            fn room(&self) -> usize {
                self.free()
            }
            fn in_flight(&self) -> usize {
                self.pending()
            }
            fn send(&mut self, frame: Frame) {
                self.put(frame, [0; HEADER_BYTES]).unwrap();
            }
            fn show(&mut self) {
                self.publish();
            }
            fn hooked(&mut self) -> TxHooked<'_> {
                TxHooked::$hooked(self, 60, 1514)
            }
            unsafe fn end(self) {
                // SAFETY: the caller's.
                unsafe { self.release() };
            }
        }
    };
}
rings!(
    SplitQueue,
    SplitRx,
    SplitTx,
    SplitEnd,
    split,
    // SAFETY: the queue lives as long as the card.
    |queue| unsafe { SplitEnd::new(queue) },
    |rx, batch| matches!(rx.ready(), Ok(1..)),
    {
        let _ = batch;
        rx.take()
    },
    rx.refill(batch)
);
rings!(PackedQueue, PackedRx, PackedTx, PackedCard, packed, |queue| PackedCard::new(queue), |rx, batch| PackedRx::is_ready(rx), rx.take(batch), {
    let _ = batch;
});
