//! Rings as what they are when their queue is gone: memory that a device was lent, and the word for which it comes back.

use alloc::boxed::Box;
use core::fmt;

use crate::ring::rx::RxRing;
use crate::ring::split::{SplitRx, SplitTx};
use crate::ring::tx::TxRing;

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
    /// Returns the buffers to their pools and unmaps the ring.
    ///
    /// # Safety
    /// The device has confirmed that it reads and writes neither the ring nor its buffers any more.
    unsafe fn release(self);
}

impl Lent for RxRing {
    unsafe fn release(self) {
        // SAFETY: the caller's.
        unsafe { Self::release(self) }
    }
}

impl Lent for TxRing {
    unsafe fn release(self) {
        // SAFETY: the caller's.
        unsafe { Self::release(self) };
    }
}

impl<const HEADER: usize> Lent for SplitRx<HEADER> {
    unsafe fn release(self) {
        // SAFETY: the caller's.
        unsafe { Self::release(self) }
    }
}

impl<const HEADER: usize> Lent for SplitTx<HEADER> {
    unsafe fn release(self) {
        // SAFETY: the caller's.
        unsafe { Self::release(self) }
    }
}

/// [`Lent`] without its type, and released for a word in place of a caller's promise.
pub(crate) trait Parked: fmt::Debug + Send {
    fn release(self: Box<Self>, silence: &Silence);
}

impl<L: Lent> Parked for L {
    fn release(self: Box<Self>, _: &Silence) {
        // SAFETY: a `Silence` is the word that is asked for here: made of the hardware's own answer, for the device or queue that this memory was lent to.
        unsafe { Lent::release(*self) }
    }
}
