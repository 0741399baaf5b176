//! NAPI: poll within a budget; done early, arm the interrupt and wait; busy, stay in polling.

use core::fmt;

use crate::buf::batch::Batch;
use crate::host::pci::{Interrupt, PciError, PciErrorKind};
use crate::queue::cancel::Canceller;
use crate::queue::contract::{DEFAULT_BUDGET, RxQueue};
use crate::queue::spin::{Spin, Spinning};
use crate::ring::fault::QueueFault;

/// How long a stalled queue sleeps before it looks for buffers again, in microseconds.
pub(super) const STALL_US: u64 = 100;

/// How long a poller that can be cancelled sleeps at a time, in microseconds, on an interrupt that cannot be woken.
pub(super) const CANCEL_LOOK_US: u64 = 10_000;

/// A receive queue that sleeps on its interrupt where nothing is there.
///
/// ```
/// use driver_core::buf::Batch;
/// use driver_core::queue::{PollError, Poller, RxQueue};
/// # use driver_core::host::Interrupt;
/// # use driver_core::queue::{QueueFault, RxCounters};
///
/// /// Receives until the device stops, and returns how many frames came.
/// fn receive(queue: impl RxQueue) -> Result<usize, PollError> {
///     let mut poller = match Poller::new(queue) {
///         Ok(poller) => poller,
///         // Started without interrupts, the queue comes back, to be polled by hand.
///         Err(none) => return Ok(none.into_queue().poll(&mut Batch::new(64), 64)),
///     };
///     let (mut batch, mut all) = (Batch::new(64), 0);
///     loop {
///         match poller.next(&mut batch, Some(1_000_000)) {
///             Ok(count) => all += count,
///             Err(PollError::Queue(QueueFault::Stopped)) => return Ok(all),
///             Err(error) => return Err(error),
///         }
///         batch.clear();
///     }
/// }
/// # struct Idle;
/// # impl RxQueue for Idle {
/// #     fn poll(&mut self, _: &mut Batch, _: usize) -> usize { 0 }
/// #     fn arm(&mut self) -> bool { false }
/// #     fn interrupt(&mut self) -> Option<&mut dyn Interrupt> { None }
/// #     fn fault(&self) -> Option<QueueFault> { None }
/// #     fn counters(&self) -> RxCounters { RxCounters::default() }
/// # }
/// # assert_eq!(receive(Idle), Ok(0));
/// ```
pub struct Poller<Q> {
    queue: Q,
    budget: usize,
    waits: u64,
    polls: u64,
    canceller: Option<Canceller>,
    spinning: Spinning,
}

impl<Q: RxQueue> Poller<Q> {
    /// A poller with the default budget.
    ///
    /// # Errors
    /// [`NoInterrupt`] with the queue, where it has none to sleep on.
    pub fn new(mut queue: Q) -> Result<Self, NoInterrupt<Q>> {
        if queue.interrupt().is_none() {
            return Err(NoInterrupt { queue });
        }
        Ok(Self { queue, budget: DEFAULT_BUDGET, waits: 0, polls: 0, canceller: None, spinning: Spinning::default() })
    }

    /// The same with another budget (at least 1).
    #[must_use]
    pub fn with_budget(mut self, budget: usize) -> Self {
        self.budget = budget.max(1);
        self
    }

    /// The same that polls on for a while before it sleeps; without this it sleeps at once.
    #[must_use]
    pub fn with_spin(mut self, spin: Spin) -> Self {
        self.spinning = Spinning::new(spin);
        self
    }

    /// Receives into `batch`; where nothing is there, sleeps until the interrupt fires or `timeout_us` passed (`None`: no limit).
    /// Returns how many frames came, 0 after a timeout, after a wake-up for nothing, or where the batch has no room.
    ///
    /// A queue that is broken, or whose device is stopped, is never slept on: that it is comes back at once, and when its last frames were handed up. While
    /// this sleeps it does not see that another thread stops the device: where that may happen, give a limit, or have that thread cancel the wait
    /// ([`Poller::canceller`]).
    ///
    /// # Errors
    /// [`PollError`]
    pub fn next(&mut self, batch: &mut Batch, timeout_us: Option<u64>) -> Result<usize, PollError> {
        // Before the frames: a busy queue never sleeps, and is to be cancelled too.
        self.look_for_cancel()?;
        let received = self.poll(batch)?;
        // Frames are here, or there is no room for any: sleeping would be wrong in both cases.
        if received > 0 || batch.room() == 0 {
            return Ok(received);
        }
        let received = self.spin(batch)?;
        if received > 0 {
            return Ok(received);
        }
        // A frame that came between the poll and the arming fires no interrupt: `arm` looks once more.
        if self.queue.arm() {
            let received = self.poll(batch)?;
            if received > 0 {
                return Ok(received);
            }
            // Frames are there but no buffers for them: no interrupt tells when one returns.
            self.wait(Some(timeout_us.unwrap_or(STALL_US).min(STALL_US)))?;
        } else {
            self.wait(timeout_us)?;
        }
        self.poll(batch)
    }

    /// Polls on, as long as it is to.
    fn spin(&mut self, batch: &mut Batch) -> Result<usize, PollError> {
        for _ in 0..self.spinning.polls() {
            core::hint::spin_loop();
            self.look_for_cancel()?;
            let received = self.poll(batch)?;
            if received > 0 {
                self.spinning.found();
                return Ok(received);
            }
        }
        self.spinning.in_vain();
        Ok(0)
    }

    /// What ends [`Poller::next`] from elsewhere, also one that waits without a limit. All of one poller's are the same.
    ///
    /// A host whose interrupts cannot be woken ([`Interrupt::waker`](crate::host::Interrupt::waker)) has the poller look for itself, every 10 ms while it sleeps.
    ///
    /// # Errors
    /// [`PciError`] where the host has nothing left to wake it by.
    pub fn canceller(&mut self) -> Result<Canceller, PciError> {
        if let Some(canceller) = &self.canceller {
            return Ok(canceller.clone());
        }
        let waker = self.queue.interrupt().map_or(Ok(None), Interrupt::waker)?;
        Ok(self.canceller.insert(Canceller::new(waker)).clone())
    }

    /// How often it polled, and how often it slept.
    pub fn counts(&self) -> (u64, u64) {
        (self.polls, self.waits)
    }

    /// The queue.
    pub fn queue(&self) -> &Q {
        &self.queue
    }

    /// The queue, with its interrupt for `epoll` and its kin: [`RxQueue::interrupt`].
    pub fn queue_mut(&mut self) -> &mut Q {
        &mut self.queue
    }

    /// Gives the queue back.
    pub fn into_queue(self) -> Q {
        self.queue
    }

    fn look_for_cancel(&self) -> Result<(), PollError> {
        match &self.canceller {
            Some(canceller) if canceller.take() => Err(PollError::Cancelled),
            _ => Ok(()),
        }
    }

    /// A cancellation that comes before the sleep has set its mark before it wakes the interrupt, which then lets nobody sleep.
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<(), PollError> {
        self.waits += 1;
        let looks = self.canceller.as_ref().is_some_and(|canceller| !canceller.wakes());
        let mut left_us = timeout_us;
        loop {
            let slice_us = if looks { Some(left_us.unwrap_or(u64::MAX).min(CANCEL_LOOK_US)) } else { left_us };
            let woken = match self.queue.interrupt() {
                Some(interrupt) => interrupt.wait(slice_us),
                // `new` has seen it.
                None => {
                    Err(PciError::new("a receive queue", "waiting for its interrupt", PciErrorKind::Missing("interrupt any more: poll the queue")))
                }
            };
            let fired = woken.map_err(PollError::Interrupt)?;
            self.look_for_cancel()?;
            left_us = left_us.map(|left| left.saturating_sub(slice_us.unwrap_or(left)));
            if !looks || fired > 0 || left_us == Some(0) {
                return Ok(());
            }
        }
    }

    /// Frames first: what came before a fault is handed up.
    fn poll(&mut self, batch: &mut Batch) -> Result<usize, PollError> {
        self.polls += 1;
        match self.queue.poll(batch, self.budget) {
            0 => self.queue.fault().map_or(Ok(0), |fault| Err(PollError::Queue(fault))),
            received => Ok(received),
        }
    }
}

impl<Q> fmt::Debug for Poller<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, polls, waits, .. } = self;
        f.debug_struct("Poller").field("budget", budget).field("polls", polls).field("waits", waits).finish_non_exhaustive()
    }
}

/// Why [`Poller::next`] receives nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the queue, its interrupt and its user are all there is")]
pub enum PollError {
    /// The queue is broken, or its device is stopped.
    Queue(QueueFault),
    /// The queue's interrupt cannot be waited for.
    Interrupt(PciError),
    /// A [`Canceller`] was used. The queue works as before.
    Cancelled,
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(fault) => write!(f, "the receive queue gives no more frames: {fault}"),
            Self::Interrupt(error) => write!(f, "waiting for a receive queue's interrupt: {error}"),
            Self::Cancelled => f.write_str("the wait for frames was cancelled, as its program asked for: the queue works as before"),
        }
    }
}

impl core::error::Error for PollError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Queue(fault) => Some(fault),
            Self::Interrupt(error) => Some(error),
            Self::Cancelled => None,
        }
    }
}

/// A queue that cannot be slept on, since it has no interrupt.
pub struct NoInterrupt<Q> {
    queue: Q,
}

impl<Q> NoInterrupt<Q> {
    /// The queue, to be polled.
    pub fn into_queue(self) -> Q {
        self.queue
    }
}

impl<Q> fmt::Debug for NoInterrupt<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoInterrupt")
    }
}

impl<Q> fmt::Display for NoInterrupt<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receive queue has no interrupt to sleep on: start the device with interrupts, or poll the queue")
    }
}

impl<Q> core::error::Error for NoInterrupt<Q> {}

#[cfg(all(test, loom))]
#[path = "poller_loom_tests.rs"]
mod loom_tests;
