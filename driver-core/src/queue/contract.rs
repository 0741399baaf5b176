//! The contracts of receive and transmit queues, which every driver fulfils.

use alloc::boxed::Box;
use core::fmt;

use crate::buf::batch::Batch;
use crate::host::pci::Interrupt;
use crate::offload::OffloadError;
use crate::ring::fault::QueueFault;

/// How many frames a poll takes unless the caller says otherwise (Linux's NAPI weight).
pub const DEFAULT_BUDGET: usize = 64;

/// One receive queue, owned by the thread that polls it.
///
/// Whatever stands between a driver's queue and an application is a queue too: it polls the one below and does its work on what came.
///
/// ```
/// use driver_core::buf::Batch;
/// use driver_core::host::Interrupt;
/// use driver_core::queue::{QueueFault, RxCounters, RxQueue};
///
/// /// Counts the bytes that pass.
/// struct Metered<Q> {
///     below: Q,
///     bytes: u64,
/// }
///
/// impl<Q: RxQueue> RxQueue for Metered<Q> {
///     fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
///         let before = batch.len();
///         let taken = self.below.poll(batch, budget);
///         // A batch may have held frames already: the new ones are behind them.
///         self.bytes += batch.frames()[before..].iter().map(|frame| frame.len() as u64).sum::<u64>();
///         taken
///     }
///     fn arm(&mut self) -> bool {
///         self.below.arm()
///     }
///     fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
///         self.below.interrupt()
///     }
///     fn fault(&self) -> Option<QueueFault> {
///         self.below.fault()
///     }
///     fn counters(&self) -> RxCounters {
///         self.below.counters()
///     }
/// }
///
/// # struct Idle;
/// # impl RxQueue for Idle {
/// #     fn poll(&mut self, _: &mut Batch, _: usize) -> usize { 0 }
/// #     fn arm(&mut self) -> bool { false }
/// #     fn interrupt(&mut self) -> Option<&mut dyn Interrupt> { None }
/// #     fn fault(&self) -> Option<QueueFault> { None }
/// #     fn counters(&self) -> RxCounters { RxCounters::default() }
/// # }
/// # let queue = Idle;
/// // What an application polls, whatever lies below.
/// let mut queue: Box<dyn RxQueue> = Box::new(Metered { below: queue, bytes: 0 });
/// assert_eq!(queue.poll(&mut Batch::new(64), 64), 0);
/// ```
pub trait RxQueue: Send {
    /// Moves at most `budget` received frames to the back of `batch` and returns how many. Also bounded by the batch's room.
    ///
    /// Never blocks and never panics. Each slot it empties it fills with an empty buffer: one that `batch` holds from completed transmits if there
    /// is one, else from the pool. Where no buffer is to be had it takes no more frames; they stay on the device until buffers return.
    ///
    /// Of a queue that is broken or whose device is stopped nothing is taken: see [`RxQueue::fault`].
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize;

    /// Lets the queue's interrupt fire at the next frame, where it has one. Returns `true` where frames are waiting already, and then the caller polls
    /// again instead of sleeping.
    fn arm(&mut self) -> bool;

    /// The interrupt that fires for this queue once it is armed. `None` where the device was started without interrupts.
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt>;

    /// What broke the queue, or keeps it from working, if anything does. A broken queue receives nothing until the device is restarted, and its interrupt
    /// fires no more.
    fn fault(&self) -> Option<QueueFault>;

    /// What this queue counted itself.
    fn counters(&self) -> RxCounters;
}

impl<Q: RxQueue + ?Sized> RxQueue for Box<Q> {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        (**self).poll(batch, budget)
    }
    fn arm(&mut self) -> bool {
        (**self).arm()
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        (**self).interrupt()
    }
    fn fault(&self) -> Option<QueueFault> {
        (**self).fault()
    }
    fn counters(&self) -> RxCounters {
        (**self).counters()
    }
}

/// One transmit queue, owned by the thread that submits to it.
pub trait TxQueue: Send {
    /// Takes frames from the front of `batch`, as many as there is room for, and hands them to the device with at most one doorbell.
    /// What it did not take stays in `batch`, in order. Frames are padded to 60 bytes; those in memory of another domain are copied. A checksum or a VLAN tag
    /// that a frame asks for and that the device does not put in is put in by software.
    ///
    /// Never blocks and never panics, wakers aside. Buffers of frames sent earlier come back into `batch`, where the next [`RxQueue::poll`] finds them.
    fn submit(&mut self, batch: &mut Batch) -> TxState;

    /// Returns the buffers of frames that were sent to their pools, wakes the queue where enough descriptors are free again, and says how many descriptors came
    /// back. Of a queue that is broken or whose device is stopped none come back before it is dropped.
    fn reclaim(&mut self) -> usize;

    /// How many descriptors are not given back yet. A card is asked to report once in 32 descriptors, so the last 31 may stay until more are sent
    /// or the queue is dropped.
    fn pending(&self) -> usize;

    /// Calls `wake` once for each time that the queue stopped: when it runs again, or when `reclaim` or `submit` finds that it never will.
    ///
    /// It is called from within [`TxQueue::submit`] and [`TxQueue::reclaim`]. Where it panics, no buffer is lost, and it is not called again for that stop.
    fn on_wake(&mut self, wake: Option<WakeFn>);

    /// What broke the queue, or keeps it from working, if anything does.
    fn fault(&self) -> Option<QueueFault>;

    /// What this queue counted itself.
    fn counters(&self) -> TxCounters;
}

impl<Q: TxQueue + ?Sized> TxQueue for Box<Q> {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        (**self).submit(batch)
    }
    fn reclaim(&mut self) -> usize {
        (**self).reclaim()
    }
    fn pending(&self) -> usize {
        (**self).pending()
    }
    fn on_wake(&mut self, wake: Option<WakeFn>) {
        (**self).on_wake(wake);
    }
    fn fault(&self) -> Option<QueueFault> {
        (**self).fault()
    }
    fn counters(&self) -> TxCounters {
        (**self).counters()
    }
}

/// What a stopped transmit queue calls when it runs again.
pub type WakeFn = Box<dyn FnMut() + Send>;

/// What [`TxQueue::submit`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[allow(clippy::exhaustive_enums, reason = "who sends needs an answer to each")]
pub enum TxState {
    /// All frames were taken, and there is room for more.
    Running,
    /// The queue is stopped: what is left in the batch waits until [`TxQueue::reclaim`] or `submit` finds enough descriptors free.
    Stopped,
    /// The frame at the front of the batch cannot be sent as it is; it stays there. Those before it were taken.
    Refused(Refusal),
    /// The queue is broken and takes nothing.
    Broken(QueueFault),
}

/// Why a frame cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The frame has no bytes, or fewer than an Ethernet header has.
    TooShort {
        /// The frame's length in bytes.
        len_bytes: usize,
    },
    /// The frame is longer than the MTU allows.
    TooLong {
        /// The frame's length in bytes.
        len_bytes: usize,
        /// The longest frame, header included and check sequence not.
        max_bytes: usize,
    },
    /// The frame has more segments than the device gathers.
    TooManySegments {
        /// Its segments.
        segments: usize,
        /// What the device takes.
        max: usize,
    },
    /// The frame asks for work that neither the device nor software does: segmentation.
    Offload(&'static str),
    /// The frame asks for a checksum that cannot be filled in.
    Checksum(OffloadError),
    /// The frame has to be copied, since it lies in memory that the device cannot reach or has no room for what is to be put in, and no buffer is free just
    /// now: buffers that return make it possible.
    NoBounceBuffer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len_bytes } => write!(f, "a frame of {len_bytes} bytes has no whole Ethernet header (14 bytes)"),
            Self::TooLong { len_bytes, max_bytes } => {
                write!(f, "a frame of {len_bytes} bytes is longer than the MTU allows ({max_bytes} bytes): raise the MTU or send less")
            }
            Self::TooManySegments { segments, max } => {
                write!(f, "a frame of {segments} segments is more than the device gathers ({max}): call linearize first")
            }
            Self::Offload(what) => write!(f, "this queue does not do {what}: do it in software first"),
            Self::Checksum(why) => why.fmt(f),
            Self::NoBounceBuffer => f.write_str(
                "the frame lies in memory of another DMA domain, or has no room for padding or a VLAN tag, and the pool has no buffer to copy it to: \
                 give the pool more buffers, put both devices in one domain, or leave headroom in frames",
            ),
        }
    }
}

/// Counters of one receive queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RxCounters {
    /// Frames handed up.
    pub packets: u64,
    /// Frames that were not, because the device marked them bad or something was wrong with them.
    pub errors: u64,
    /// Polls that stopped because no buffer was free.
    pub stalls: u64,
    /// Doorbells that were rung.
    pub doorbells: u64,
}

/// Counters of one transmit queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxCounters {
    /// Frames taken from the caller.
    pub packets: u64,
    /// Frames copied because they lay in memory of another domain, or had no room for what was to be put in.
    pub bounced: u64,
    /// Changes from running to stopped.
    pub stops: u64,
    /// Changes from stopped to running.
    pub wakes: u64,
    /// Doorbells that were rung.
    pub doorbells: u64,
}
