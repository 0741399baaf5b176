//! The contracts of receive and transmit queues, which every driver fulfils.

use alloc::boxed::Box;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::host::pci::{Interrupt, PciError};
use crate::queue::refusal::{Refusal, TxDrops};
use crate::ring::fault::QueueFault;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::verdict::Settled;

/// How many frames a poll takes unless the caller says otherwise (Linux's NAPI weight).
pub const DEFAULT_BUDGET: usize = 64;

/// How long a wait for room on a transmit queue without an interrupt sleeps at most before it looks again, in microseconds: 1 ms, in which a line of 10 Gbit/s sends
/// 812 frames of 1514 bytes.
pub const TX_PAUSE_US: u64 = 1000;

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
    /// Of a queue that is broken or whose device is stopped nothing is taken: see [`RxQueue::fault`]. While the device is being recovered nothing comes either, and a call
    /// of this is what lets the queue go on behind it.
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

    /// For [`PollWith`](crate::queue::PollWith), which is what programs call: begins a call with a hook. A queue that stands above another leaves it as it is, so that
    /// frames are judged when they have come through it; one that hands the ring of the queue below on has its frames judged where they lie.
    fn hook_begin(&mut self) -> RxHooked<'_> {
        RxHooked::whole()
    }

    /// For [`PollWith`](crate::queue::PollWith): counts what the hook settled, and hands emptied slots to the device.
    fn hook_end(&mut self, _settled: &Settled, _batch: &mut Batch) {}
}

/// A queue that is lent, or that is somewhere else, is one.
macro_rules! held {
    ($($holder:ty),*) => {
        $(
            impl<Q: RxQueue + ?Sized> RxQueue for $holder {
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
                fn hook_begin(&mut self) -> RxHooked<'_> {
                    (**self).hook_begin()
                }
                fn hook_end(&mut self, settled: &Settled, batch: &mut Batch) {
                    (**self).hook_end(settled, batch);
                }
            }
        )*
    };
}
held!(Box<Q>, &mut Q);

/// One transmit queue, owned by the thread that submits to it.
pub trait TxQueue: Send {
    /// Takes frames from the front of `batch`, as many as there is room for, and hands them to the device with at most one doorbell.
    /// What it did not take stays in `batch`, in order. Frames are padded to 60 bytes; those in memory of another domain are copied. A checksum or a VLAN tag
    /// that a frame asks for and that the device does not put in is put in by software, unless [`Config::software`](crate::device::Config::software) says otherwise.
    ///
    /// Never blocks and never panics, wakers aside. Buffers of frames sent earlier come back into `batch`, where the next [`RxQueue::poll`] finds them.
    fn submit(&mut self, batch: &mut Batch) -> TxState;

    /// [`submit`](TxQueue::submit) for programs that go on whatever they were given to send: a frame that cannot be sent is dropped and counted in `drops`,
    /// by its cause, and those behind it get their turn. Returns how many frames were taken.
    ///
    /// What is left in `batch` waits for descriptors, in order, as after [`TxState::Stopped`]: call it again after the next poll, or when [`TxQueue::on_wake`]
    /// says so. A frame that needs a copy for which no buffer is free ([`Refusal::NoBounceBuffer`]) is dropped too, so that an empty pool holds up nobody.
    /// Dropped frames leave their buffers in the batch, for the next poll. Who wants to mend a frame, or to send it otherwise, calls `submit` and finds it at
    /// the front of the batch.
    ///
    /// ```
    /// use driver_core::buf::Batch;
    /// use driver_core::queue::{QueueFault, RxQueue, TxDrops, TxQueue};
    ///
    /// /// Sends back what comes, for ever.
    /// fn reflect(rx: &mut dyn RxQueue, tx: &mut dyn TxQueue, drops: &mut TxDrops) -> QueueFault {
    ///     let mut batch = Batch::new(64);
    ///     loop {
    ///         // As much as there is room for beside what waits.
    ///         rx.poll(&mut batch, 64);
    ///         let sent = tx.submit_or_drop(&mut batch, drops);
    ///         if let Some(fault) = sent.err().or(rx.fault()) {
    ///             return fault;
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`QueueFault`] where the queue is broken, as with [`TxState::Broken`]: what it did not take stays in `batch`.
    fn submit_or_drop(&mut self, batch: &mut Batch, drops: &mut TxDrops) -> Result<usize, QueueFault> {
        let (before, mut dropped) = (batch.len(), 0);
        // Each round but the last takes a frame out of the batch.
        loop {
            match self.submit(batch) {
                TxState::Running | TxState::Stopped => break,
                TxState::Broken(fault) => return Err(fault),
                TxState::Refused(why) => {
                    let Some(frame) = batch.pop() else { break };
                    batch.recycle(frame);
                    drops.count(why);
                    dropped += 1;
                }
            }
        }
        Ok(before - batch.len() - dropped)
    }

    /// Returns the buffers of frames that were sent to their pools, wakes the queue where enough descriptors are free again, and says how many descriptors came
    /// back. Of a queue that is broken or whose device is stopped none come back before it is dropped; when a device is recovered, all do.
    fn reclaim(&mut self) -> usize;

    /// How many descriptors are not given back yet. A card is asked to report once in 32 descriptors, so the last 31 may stay until more are sent
    /// or the queue is dropped.
    fn pending(&self) -> usize;

    /// Lets the queue's interrupt fire when a stopped queue can run again, where it has one, and looks once more. Returns `true` where it runs by now, or never
    /// will: then the caller submits again instead of sleeping. A queue that is not armed interrupts nobody; it disarms itself when it runs again.
    ///
    /// This is for event loops; a thread that has nothing else to do calls [`TxQueue::wait_for_room`]. A loop that was woken takes what fired
    /// ([`Interrupt::wait`] with no time) and arms again: it may have been woken for nothing. Where [`TxQueue::interrupt`] is `None` it waits by a timer of
    /// [`TX_PAUSE_US`] instead. A queue that hangs does not interrupt: a loop that wants to know arms again twice a second, too.
    ///
    /// ```
    /// use driver_core::buf::Batch;
    /// use driver_core::queue::{TxQueue, TxState};
    ///
    /// /// Submits, and says whether `batch` is to be tried again when the queue's descriptor is readable.
    /// fn send(queue: &mut dyn TxQueue, batch: &mut Batch) -> bool {
    ///     if let Some(interrupt) = queue.interrupt() {
    ///         let _ = interrupt.wait(Some(0)); // what woke us
    ///     }
    ///     while queue.submit(batch) == TxState::Stopped {
    ///         if !queue.arm() {
    ///             return true;
    ///         }
    ///     }
    ///     false
    /// }
    /// ```
    fn arm(&mut self) -> bool;

    /// The interrupt that fires for this queue once it is armed. `None` where the device was started without interrupts, or has too few vectors.
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt>;

    /// Sleeps until a stopped queue runs again, at most `timeout_us` (`None`: without limit). Returns `true` where it runs by now, or never will, as the next
    /// `submit` tells; `false` after a timeout.
    ///
    /// With an interrupt it sleeps until that fires, and looks at least twice a second whether the queue hangs or was stopped. Without one it sleeps by the
    /// device's clock, each time twice as long as the time before, [`TX_PAUSE_US`] at most, and looks in between.
    ///
    /// # Errors
    /// [`PciError`]: the function is gone, or its interrupt cannot be waited for.
    fn wait_for_room(&mut self, timeout_us: Option<u64>) -> Result<bool, PciError>;

    /// Calls `wake` once for each time that the queue stopped: when it runs again, or when `reclaim` or `submit` finds that it never will.
    ///
    /// It is called from within [`TxQueue::submit`], [`TxQueue::reclaim`], [`TxQueue::arm`] and [`TxQueue::wait_for_room`]. Where it panics, no buffer is lost, and it is not called again for that stop.
    fn on_wake(&mut self, wake: Option<WakeFn>);

    /// What broke the queue, or keeps it from working, if anything does.
    fn fault(&self) -> Option<QueueFault>;

    /// What this queue counted itself.
    fn counters(&self) -> TxCounters;

    /// For [`PollWith`](crate::queue::PollWith), which is what programs call: lends the ring for buffers that a hook sends. A queue that stands above another
    /// leaves it as it is, and gets frames by [`TxQueue::submit`].
    fn hook_begin(&mut self, _batch: &mut Batch) -> TxHooked<'_> {
        TxHooked::whole()
    }

    /// For [`PollWith`](crate::queue::PollWith): counts `frames` more frames of `bytes` bytes that went into the ring since [`TxQueue::hook_begin`], and shows them to the
    /// device. `by_allowance`: as [`Settled::by_allowance`].
    fn hook_end(&mut self, _frames: u32, _bytes: u64, _by_allowance: bool) {}

    /// For [`PollWith`](crate::queue::PollWith): submits one frame.
    ///
    /// # Errors
    /// The frame, where it was not taken, and whether the queue takes no other either.
    fn hook_frame(&mut self, frame: Frame) -> Result<(), (Frame, bool)> {
        let mut batch = Batch::new(1);
        batch.push(frame).map_err(|frame| (frame, false))?;
        let state = self.submit(&mut batch);
        batch.pop().map_or(Ok(()), |frame| Err((frame, matches!(state, TxState::Stopped | TxState::Broken(_)))))
    }
}

impl<Q: TxQueue + ?Sized> TxQueue for Box<Q> {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        (**self).submit(batch)
    }
    fn submit_or_drop(&mut self, batch: &mut Batch, drops: &mut TxDrops) -> Result<usize, QueueFault> {
        (**self).submit_or_drop(batch, drops)
    }
    fn reclaim(&mut self) -> usize {
        (**self).reclaim()
    }
    fn pending(&self) -> usize {
        (**self).pending()
    }
    fn arm(&mut self) -> bool {
        (**self).arm()
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        (**self).interrupt()
    }
    fn wait_for_room(&mut self, timeout_us: Option<u64>) -> Result<bool, PciError> {
        (**self).wait_for_room(timeout_us)
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
    fn hook_begin(&mut self, batch: &mut Batch) -> TxHooked<'_> {
        (**self).hook_begin(batch)
    }
    fn hook_end(&mut self, frames: u32, bytes: u64, by_allowance: bool) {
        (**self).hook_end(frames, bytes, by_allowance);
    }
    fn hook_frame(&mut self, frame: Frame) -> Result<(), (Frame, bool)> {
        (**self).hook_frame(frame)
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
    /// The queue is stopped: what is left in the batch waits until [`TxQueue::reclaim`] or `submit` finds enough descriptors free;
    /// [`TxQueue::wait_for_room`] sleeps until then. While the device is being recovered ([`Recovery`](crate::device::Recovery)) every queue is.
    Stopped,
    /// The frame at the front of the batch cannot be sent as it is. It stays there, and holds up those behind it, until the caller mends it or takes it out, as
    /// [`TxQueue::submit_or_drop`] does. Those before it were taken.
    Refused(Refusal),
    /// The queue is broken and takes nothing.
    Broken(QueueFault),
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
    /// Frames that lay in the ring when the device was reset.
    pub lost: u64,
    /// Received segments that were put together into frames with others before them: so many more frames came over the wire (Linux: `hw_rsc_aggregated` counts those and the first).
    pub coalesced: u64,
    /// What hooks did with frames, by verdict.
    pub hook: HookCounters,
}

/// What hooks did with the frames of one receive queue, by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookCounters {
    /// Frames handed up, those of `full` that were among them.
    pub passed: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// Frames whose verdict was to abort, or that were to go to a queue that is not there. They were dropped.
    pub aborted: u64,
    /// Frames sent out of the first transmit queue.
    pub sent: u64,
    /// Frames sent out of another.
    pub redirected: u64,
    /// Frames that were to be sent and were not: the queue was full or broken, or refused them. They were dropped or handed up, as [`WhenFull`](crate::queue::WhenFull) says.
    pub full: u64,
    /// Frames that were to be handed up or sent, and were dropped since there was no empty buffer to take their buffer's place.
    pub no_buffer: u64,
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
    /// Frames that were taken from the caller and not sent when the device was reset: their buffers went back.
    pub lost: u64,
}
