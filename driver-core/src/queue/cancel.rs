//! Ending a poller's wait from elsewhere.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::host::pci::WaitWaker;

/// Ends [`Poller::next`](super::Poller::next) on the thread that polls, from any other one or from a signal handler: a mark and, where the host has it, one write to a descriptor.
///
/// One `next` returns [`PollError::Cancelled`](super::PollError::Cancelled) for it: that which sleeps, or the next that is called. However often it was cancelled until then, it is one.
/// The queue stays as it is: who polls may go on. Make and drop it outside of signal handlers, since that allocates and frees.
///
/// ```
/// use driver_core::buf::Batch;
/// use driver_core::queue::{Canceller, PollError, Poller, RxQueue};
/// # use driver_core::host::{Interrupt, PciError};
/// # use driver_core::queue::{QueueFault, RxCounters};
///
/// /// Receives until it is cancelled: a queue for a thread, its end in the caller's hands.
/// fn spawn(queue: impl RxQueue + 'static) -> Option<(Canceller, std::thread::JoinHandle<usize>)> {
///     let mut poller = Poller::new(queue).ok()?;
///     let canceller = poller.canceller().ok()?;
///     let thread = std::thread::spawn(move || {
///         let (mut batch, mut all) = (Batch::new(64), 0);
///         loop {
///             match poller.next(&mut batch, None) {
///                 Ok(count) => all += count,
///                 Err(PollError::Cancelled) => return all,
///                 Err(error) => panic!("{error}"),
///             }
///             batch.clear();
///         }
///     });
///     Some((canceller, thread))
/// }
/// # struct Never;
/// # impl Interrupt for Never {
/// #     fn wait(&mut self, us: Option<u64>) -> Result<u64, PciError> {
/// #         std::thread::sleep(std::time::Duration::from_micros(us.unwrap_or(60_000_000)));
/// #         Ok(0)
/// #     }
/// # }
/// # struct Idle(Never);
/// # impl RxQueue for Idle {
/// #     fn poll(&mut self, _: &mut Batch, _: usize) -> usize { 0 }
/// #     fn arm(&mut self) -> bool { false }
/// #     fn interrupt(&mut self) -> Option<&mut dyn Interrupt> { Some(&mut self.0) }
/// #     fn fault(&self) -> Option<QueueFault> { None }
/// #     fn counters(&self) -> RxCounters { RxCounters::default() }
/// # }
/// # let queue = Idle(Never);
///
/// let (canceller, thread) = spawn(queue).expect("the queue has an interrupt");
/// canceller.cancel();
/// assert_eq!(thread.join().unwrap(), 0);
/// ```
#[derive(Clone)]
pub struct Canceller(Arc<Cancel>);

struct Cancel {
    asked: AtomicBool,
    /// What ends a sleep.
    waker: Option<Arc<dyn WaitWaker>>,
}

impl Canceller {
    /// For waits that `waker` ends; `None`: whoever waits looks for itself.
    pub(super) fn new(waker: Option<Arc<dyn WaitWaker>>) -> Self {
        Self(Arc::new(Cancel { asked: AtomicBool::new(false), waker }))
    }

    /// Ends the `next` under way, or the next one.
    pub fn cancel(&self) {
        // The mark first: who is woken looks for it.
        self.0.asked.store(true, Ordering::SeqCst);
        if let Some(waker) = &self.0.waker {
            waker.wake();
        }
    }

    /// Whether a cancellation ends a sleep by itself.
    pub(super) fn wakes(&self) -> bool {
        self.0.waker.is_some()
    }

    /// Whether it was asked for since the last time. A plain load where it was not, as always but once.
    pub(super) fn take(&self) -> bool {
        self.0.asked.load(Ordering::Acquire) && self.0.asked.swap(false, Ordering::SeqCst)
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("asked", &self.0.asked).finish_non_exhaustive()
    }
}
