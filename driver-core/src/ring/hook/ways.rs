//! What queues lend for a call with a hook, and where its frames may go.

use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::ring::hook::virtq::{VirtqRx, VirtqTx};
use crate::ring::packed::{PackedRx, PackedTx};
use crate::ring::rx::RxRing;
use crate::ring::split::{HEADER_BYTES, HookRules, SplitRx, SplitTx};
use crate::ring::tx::TxRing;

/// A receive ring that hooks judge in place, lent by its queue for one call. Nothing but [`PollWith`](crate::queue::PollWith) can use it.
#[derive(Debug)]
pub struct RxHooked<'a>(pub(crate) RxWay<'a>);

#[derive(Debug)]
pub(crate) enum RxWay<'a> {
    /// Nothing is there to be judged, or the queue works no more.
    Nothing,
    /// Frames come up by polls alone.
    Whole,
    Descriptors(&'a mut RxRing),
    Virtq(VirtqRx<'a>, HookRules),
}

impl<'a> RxHooked<'a> {
    /// Nothing is there to be judged, or the queue works no more.
    pub const fn nothing() -> Self {
        Self(RxWay::Nothing)
    }
    /// Whether it is that.
    pub const fn is_nothing(&self) -> bool {
        matches!(self.0, RxWay::Nothing)
    }
    /// The queue's frames cannot be judged in place: they are polled, and judged in the batch.
    pub const fn whole() -> Self {
        Self(RxWay::Whole)
    }
    /// A ring of a card.
    #[inline(always)]
    pub const fn descriptors(ring: &'a mut RxRing) -> Self {
        Self(RxWay::Descriptors(ring))
    }
    /// A virtqueue whose next entry begins a frame; `rules` say which of them are ordinary.
    #[inline(always)]
    pub const fn split(ring: &'a mut SplitRx<HEADER_BYTES>, rules: HookRules) -> Self {
        Self(RxWay::Virtq(VirtqRx::Split(ring), rules))
    }
    /// The same of a packed one.
    #[inline(always)]
    pub const fn packed(ring: &'a mut PackedRx<HEADER_BYTES>, rules: HookRules) -> Self {
        Self(RxWay::Virtq(VirtqRx::Packed(ring), rules))
    }
}

/// A transmit ring that takes buffers from receive rings, lent by its queue for one call. Nothing but [`PollWith`](crate::queue::PollWith) can use it.
#[derive(Debug)]
pub struct TxHooked<'a>(pub(crate) TxWay<'a>);

#[derive(Debug)]
pub(crate) enum TxWay<'a> {
    /// The queue is stopped or broken.
    Full,
    /// The queue takes frames alone.
    Whole,
    Descriptors(&'a mut TxRing),
    /// With the shortest and the longest frame, in bytes.
    Virtq(VirtqTx<'a>, (u16, u16)),
}

impl<'a> TxHooked<'a> {
    /// The queue is stopped or broken.
    pub const fn full() -> Self {
        Self(TxWay::Full)
    }
    /// Whether it is that.
    pub const fn is_full(&self) -> bool {
        matches!(self.0, TxWay::Full)
    }
    /// The queue takes frames alone.
    pub const fn whole() -> Self {
        Self(TxWay::Whole)
    }
    /// A ring of a card.
    #[inline(always)]
    pub const fn descriptors(ring: &'a mut TxRing) -> Self {
        Self(TxWay::Descriptors(ring))
    }
    /// A virtqueue, for frames of `min_bytes..=max_bytes`.
    #[inline(always)]
    pub const fn split(ring: &'a mut SplitTx<HEADER_BYTES>, min_bytes: u16, max_bytes: u16) -> Self {
        Self(TxWay::Virtq(VirtqTx::Split(ring), (min_bytes, max_bytes)))
    }
    /// A packed one.
    #[inline(always)]
    pub const fn packed(ring: &'a mut PackedTx<HEADER_BYTES>, min_bytes: u16, max_bytes: u16) -> Self {
        Self(TxWay::Virtq(VirtqTx::Packed(ring), (min_bytes, max_bytes)))
    }
}

/// What opening a transmit queue gave.
pub(crate) enum Opened<R> {
    /// A ring of the kind that was asked for, to be used until [`Outlets::close`] and by nobody else.
    Ring(NonNull<R>),
    /// The queue takes frames alone, or has another kind of ring.
    Whole,
    Full,
    /// There is no queue of this number.
    Missing,
}

/// The transmit queues that frames can go to.
pub(crate) trait Outlets<R> {
    /// Lends the ring of a queue.
    fn open(&mut self, queue: u8, batch: &mut Batch) -> Opened<R>;
    /// Takes it back, with `frames` more frames of `bytes` bytes.
    fn close(&mut self, queue: u8, frames: u32, bytes: u64);
    /// Sends a frame out of a queue that is not open.
    ///
    /// # Errors
    /// The frame, where it cannot be sent, and whether no other can be either.
    fn put_whole(&mut self, queue: u8, frame: Frame) -> Result<(), (Frame, bool)>;
}
