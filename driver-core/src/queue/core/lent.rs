//! Rings as what they are when their queue is gone: memory that a device was lent, and the word for which it comes back.

use alloc::boxed::Box;
use core::fmt;

use crate::buf::batch::Batch;
use crate::ring::command::CommandQueue;
use crate::ring::packed::{PackedRx, PackedTx};
use crate::ring::rx::RxRing;
use crate::ring::split::{InOrderRx, InOrderTx, SplitRx, SplitTx};
use crate::ring::tx::{Reclaimed, TxRing};

/// The word of somebody who saw the hardware fall silent: it reads and writes the memory in question no more. Lent memory goes back for this word alone.
///
/// From a device as a whole it speaks of all that the device was lent; from one hardware queue, of that queue's ring and buffers.
#[derive(Debug)]
pub struct Silence(());

impl Silence {
    /// The hardware has confirmed that it is silent.
    ///
    /// # Safety
    /// It has: a hardware queue, that it was turned off; a whole device, its reset or the end of its memory accesses. The caller saw that in an answer of the
    /// hardware, and hands the word on for that device or queue only.
    pub const unsafe fn confirmed() -> Self {
        Self(())
    }

    /// Gives back the buffers of what a transmit queue's hardware has sent: all that is in flight but for what is `left`. The ring is one that this word speaks of.
    pub fn retire(&self, ring: &mut TxRing, left: Left) {
        // What was queued behind the tail that the device was asked at has not been sent either.
        let behind = ring.tail().wrapping_sub(left.tail) & (ring.len() - 1);
        // SAFETY: the hardware reads no buffer of the ring any more.
        unsafe { ring.retire(left.descriptors.saturating_add(behind)) }
    }

    /// Unmaps the memory of a queue of commands. The queue is one that this word speaks of.
    pub fn release_commands(&self, queue: CommandQueue) {
        // SAFETY: the hardware uses nothing of the queue any more.
        unsafe { queue.release() }
    }

    /// Makes a queue of commands what it was when it was new. The queue is one that this word speaks of.
    pub fn rewind_commands(&self, queue: &mut CommandQueue) {
        // SAFETY: the hardware uses nothing of the queue any more.
        unsafe { queue.rewind() }
    }

    /// Makes a receive ring what it was when it was new. Returns how many frames are lost by it: received, and not taken. The ring is one that this word speaks of.
    pub fn rewind_rx(&self, ring: &mut RxRing) -> u64 {
        let lost = ring.ready_frames();
        // SAFETY: the hardware writes to nothing of the ring any more.
        unsafe { ring.rewind() };
        lost.into()
    }

    /// Makes a transmit ring what it was when it was new; its buffers go to `batch`, or back to their pools. Returns how many frames are lost by it, and what came
    /// back. The ring is one that this word speaks of.
    pub fn rewind_tx(&self, ring: &mut TxRing, batch: &mut Batch) -> (u64, Reclaimed) {
        let lost = ring.pending_frames();
        // SAFETY: the hardware reads nothing of the ring any more.
        (lost.into(), unsafe { ring.rewind(batch) })
    }
}

/// The same of virtio's queues. A received frame in several buffers counts once for each.
impl Silence {
    /// Of a split receive queue.
    pub fn rewind_split_rx<const HEADER: usize>(&self, ring: &mut SplitRx<HEADER>) -> u64 {
        let lost = ring.ready().unwrap_or(0);
        // SAFETY: the hardware writes to nothing of the ring any more.
        unsafe { ring.rewind() };
        lost.into()
    }

    /// Of a split transmit queue.
    pub fn rewind_split_tx<const HEADER: usize>(&self, ring: &mut SplitTx<HEADER>, batch: &mut Batch) -> (u64, Reclaimed) {
        let lost = ring.pending_frames() as u64;
        // SAFETY: the hardware reads nothing of the ring any more.
        (lost, unsafe { ring.rewind(batch) })
    }

    /// Of a split receive queue in order.
    pub fn rewind_in_order_rx<const HEADER: usize>(&self, ring: &mut InOrderRx<HEADER>) -> u64 {
        let lost = ring.ready().unwrap_or(0);
        // SAFETY: the hardware writes to nothing of the ring any more.
        unsafe { ring.rewind() };
        lost.into()
    }

    /// Of a split transmit queue in order.
    pub fn rewind_in_order_tx<const HEADER: usize>(&self, ring: &mut InOrderTx<HEADER>, batch: &mut Batch) -> (u64, Reclaimed) {
        let lost = ring.pending_frames() as u64;
        // SAFETY: the hardware reads nothing of the ring any more.
        (lost, unsafe { ring.rewind(batch) })
    }

    /// Of a packed receive queue.
    pub fn rewind_packed_rx<const HEADER: usize>(&self, ring: &mut PackedRx<HEADER>) -> u64 {
        let lost = ring.ready();
        // SAFETY: the hardware writes to nothing of the ring any more.
        unsafe { ring.rewind() };
        lost.into()
    }

    /// Of a packed transmit queue.
    pub fn rewind_packed_tx<const HEADER: usize>(&self, ring: &mut PackedTx<HEADER>, batch: &mut Batch) -> (u64, Reclaimed) {
        let lost = ring.pending_frames() as u64;
        // SAFETY: the hardware reads nothing of the ring any more.
        (lost, unsafe { ring.rewind(batch) })
    }
}

/// What a transmit queue's hardware has not sent when it fell silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct Left {
    /// How many descriptors, up to the tail.
    pub descriptors: u32,
    /// Where its tail was: a queue on another thread may have been about to move it.
    pub tail: u32,
}

/// What became of the wish to stop one hardware queue.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stop {
    /// It confirmed that it is silent.
    Silent(Silence),
    /// This device cannot stop one queue alone: what was lent waits until all of it is silent.
    WithDevice,
    /// It did not confirm: what was lent leaks.
    Unconfirmed,
}

/// A ring and the buffers in it, all of which its device may read or write.
///
/// Dropping it leaks them: they return for the word of somebody who saw the device fall silent, and not otherwise.
pub trait Lent: fmt::Debug + Send + 'static {
    /// Returns the buffers to their pools and unmaps the ring. Returns how many frames are lost by it: handed over and not sent, or received and not taken.
    ///
    /// # Safety
    /// The device has confirmed that it reads and writes neither the ring nor its buffers any more.
    unsafe fn release(self) -> u64;
}

impl Lent for RxRing {
    unsafe fn release(self) -> u64 {
        let lost = self.ready_frames();
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost.into()
    }
}

impl Lent for TxRing {
    unsafe fn release(self) -> u64 {
        let lost = self.pending_frames();
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost.into()
    }
}

/// A frame in several buffers counts once for each: which belong together is in the headers, which are not read any more.
impl<const HEADER: usize> Lent for SplitRx<HEADER> {
    unsafe fn release(mut self) -> u64 {
        let lost = self.ready().unwrap_or(0);
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost.into()
    }
}

impl<const HEADER: usize> Lent for SplitTx<HEADER> {
    unsafe fn release(mut self) -> u64 {
        let lost = self.pending_frames();
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost as u64
    }
}

/// A frame in several buffers counts once for each, as in other split queues.
impl<const HEADER: usize> Lent for InOrderRx<HEADER> {
    unsafe fn release(mut self) -> u64 {
        let lost = self.ready().unwrap_or(0);
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost.into()
    }
}

impl<const HEADER: usize> Lent for InOrderTx<HEADER> {
    unsafe fn release(mut self) -> u64 {
        let lost = self.pending_frames();
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost as u64
    }
}

/// [`Lent`] without its type, and released for a word in place of a caller's promise.
pub(crate) trait Parked: fmt::Debug + Send {
    fn release(self: Box<Self>, silence: &Silence) -> u64;
}

impl<L: Lent> Parked for L {
    fn release(self: Box<Self>, _: &Silence) -> u64 {
        // SAFETY: a `Silence` is the word that is asked for here: made of the hardware's own answer, for the device or queue that this memory was lent to.
        unsafe { Lent::release(*self) }
    }
}

/// A frame in several buffers counts once for each, as in a split queue.
impl<const HEADER: usize> Lent for PackedRx<HEADER> {
    unsafe fn release(self) -> u64 {
        let lost = self.ready();
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost.into()
    }
}

impl<const HEADER: usize> Lent for PackedTx<HEADER> {
    unsafe fn release(self) -> u64 {
        let lost = self.pending_frames();
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
        lost as u64
    }
}
