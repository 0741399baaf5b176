//! NAPI: poll within a budget; done early, arm the interrupt and wait; busy, stay in polling.

use core::fmt;

use crate::buf::batch::Batch;
use crate::host::pci::{PciError, PciErrorKind};
use crate::queue::contract::{DEFAULT_BUDGET, RxQueue};
use crate::ring::fault::QueueFault;

/// How long a stalled queue sleeps before it looks for buffers again, in microseconds.
const STALL_US: u64 = 100;

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
        Ok(Self { queue, budget: DEFAULT_BUDGET, waits: 0, polls: 0 })
    }

    /// The same with another budget (at least 1).
    #[must_use]
    pub fn with_budget(mut self, budget: usize) -> Self {
        self.budget = budget.max(1);
        self
    }

    /// Receives into `batch`; where nothing is there, sleeps until the interrupt fires or `timeout_us` passed (`None`: no limit).
    /// Returns how many frames came, 0 after a timeout, after a wake-up for nothing, or where the batch has no room.
    ///
    /// A queue that is broken, or whose device is stopped, is never slept on: that it is comes back at once, and when its last frames were handed up. While
    /// this sleeps it does not see that another thread stops the device: where that may happen, give a limit.
    ///
    /// # Errors
    /// [`PollError`]
    pub fn next(&mut self, batch: &mut Batch, timeout_us: Option<u64>) -> Result<usize, PollError> {
        let received = self.poll(batch)?;
        // Frames are here, or there is no room for any: sleeping would be wrong in both cases.
        if received > 0 || batch.room() == 0 {
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

    fn wait(&mut self, timeout_us: Option<u64>) -> Result<(), PollError> {
        self.waits += 1;
        let woken = match self.queue.interrupt() {
            Some(interrupt) => interrupt.wait(timeout_us),
            // `new` has seen it.
            None => Err(PciError::new("a receive queue", "waiting for its interrupt", PciErrorKind::Missing("interrupt any more: poll the queue"))),
        };
        woken.map(drop).map_err(PollError::Interrupt)
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
#[allow(clippy::exhaustive_enums, reason = "the queue and its interrupt are all there is")]
pub enum PollError {
    /// The queue is broken, or its device is stopped.
    Queue(QueueFault),
    /// The queue's interrupt cannot be waited for.
    Interrupt(PciError),
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(fault) => write!(f, "the receive queue gives no more frames: {fault}"),
            Self::Interrupt(error) => write!(f, "waiting for a receive queue's interrupt: {error}"),
        }
    }
}

impl core::error::Error for PollError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Queue(fault) => Some(fault),
            Self::Interrupt(error) => Some(error),
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

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::buf::pool::{BufPool, PoolConfig};
    use crate::host::pci::Interrupt;
    use crate::queue::contract::RxCounters;
    use crate::testing::domain;

    /// Each poll gives as many frames as the script says, each arming what it says.
    struct Script {
        pool: BufPool,
        polls: Vec<usize>,
        arms: Vec<bool>,
        waits: Option<Waits>,
        /// Polls after which the queue is broken.
        breaks_after: usize,
        polled: usize,
    }

    impl RxQueue for Script {
        fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
            self.polled += 1;
            let frames = if self.polls.is_empty() { 0 } else { self.polls.remove(0) };
            batch.fill(&self.pool, frames.min(budget))
        }
        fn arm(&mut self) -> bool {
            self.arms.remove(0)
        }
        fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
            self.waits.as_mut().map(|waits| waits as _)
        }
        fn fault(&self) -> Option<QueueFault> {
            (self.polled >= self.breaks_after).then_some(FAULT)
        }
        fn counters(&self) -> RxCounters {
            RxCounters::default()
        }
    }

    const FAULT: QueueFault = QueueFault::Index { index: 7, limit: 4 };

    /// Remembers for how long it was waited on.
    #[derive(Default)]
    struct Waits(Vec<Option<u64>>);

    impl Interrupt for Waits {
        fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
            self.0.push(timeout_us);
            Ok(1)
        }
    }

    fn script(polls: Vec<usize>, arms: Vec<bool>) -> Script {
        let pool = BufPool::new(&domain().0, PoolConfig::new(256)).unwrap();
        Script { pool, polls, arms, waits: Some(Waits::default()), breaks_after: usize::MAX, polled: 0 }
    }

    /// What one `next` returns, and which waits it made.
    fn next(polls: Vec<usize>, arms: Vec<bool>, timeout_us: Option<u64>, room: usize) -> (usize, Vec<Option<u64>>) {
        let script = script(polls, arms);
        let mut batch = Batch::new(room.max(1));
        if room == 0 {
            batch.fill(&script.pool, 1);
        }
        let mut poller = Poller::new(script).unwrap().with_budget(8);
        let received = poller.next(&mut batch, timeout_us).unwrap();
        let script = poller.into_queue();
        assert!(script.arms.is_empty(), "armed as often as the script says");
        (received, script.waits.unwrap().0)
    }

    #[test]
    fn frames_that_are_there_cost_no_wait() {
        assert_eq!(next(vec![3], vec![], None, 64), (3, vec![]));
        assert_eq!(next(vec![100], vec![], None, 64), (8, vec![]), "no more than the budget");
        assert_eq!(next(vec![0], vec![], None, 0), (0, vec![]), "a full batch is no reason to sleep");
    }

    #[test]
    fn an_idle_queue_is_armed_waited_for_and_polled_again() {
        assert_eq!(next(vec![0, 5], vec![false], Some(777), 64), (5, vec![Some(777)]));
        assert_eq!(next(vec![0, 0], vec![false], None, 64), (0, vec![None]));
    }

    #[test]
    fn a_frame_that_came_before_the_arming_is_not_slept_over() {
        assert_eq!(next(vec![0, 2], vec![true], None, 64), (2, vec![]));
    }

    #[test]
    fn a_stalled_queue_sleeps_a_little_and_not_for_an_interrupt() {
        assert_eq!(next(vec![0, 0, 4], vec![true], None, 64), (4, vec![Some(STALL_US)]));
        assert_eq!(next(vec![0, 0, 0], vec![true], Some(7), 64), (0, vec![Some(7)]));
    }

    #[test]
    fn a_queue_that_breaks_is_not_slept_on() {
        // In the first poll, in the one behind the arming, in the one behind the sleep.
        for (breaks_after, arms, waits) in [(1, vec![], 0), (2, vec![true], 0), (2, vec![false], 1), (3, vec![true], 1)] {
            let mut poller = Poller::new(Script { breaks_after, ..script(vec![], arms) }).unwrap();
            let error = poller.next(&mut Batch::new(8), None).unwrap_err();
            assert_eq!(error, PollError::Queue(FAULT));
            assert!(error.to_string().ends_with("the device names descriptor 7 of 4, which was not lent to it"), "{error}");
            assert_eq!(poller.counts(), (breaks_after as u64, waits));
        }
    }

    #[test]
    fn frames_that_came_before_the_fault_are_handed_up_first() {
        let mut poller = Poller::new(Script { breaks_after: 1, ..script(vec![3], vec![]) }).unwrap();
        let mut batch = Batch::new(8);
        assert_eq!(poller.next(&mut batch, None), Ok(3));
        assert_eq!(poller.next(&mut batch, None), Err(PollError::Queue(FAULT)));
    }

    #[test]
    fn a_queue_without_an_interrupt_comes_back() {
        let error = Poller::new(Script { waits: None, ..script(vec![1], vec![]) }).unwrap_err();
        assert!(error.to_string().contains("start the device with interrupts"), "{error}");
        assert_eq!(error.into_queue().poll(&mut Batch::new(1), 1), 1);
    }

    #[test]
    fn an_interrupt_that_went_away_is_an_error() {
        let mut poller = Poller::new(script(vec![], vec![false])).unwrap();
        poller.queue_mut().waits = None;
        let error = poller.next(&mut Batch::new(1), None).unwrap_err();
        assert!(error.to_string().ends_with("waiting for its interrupt: the function has no interrupt any more: poll the queue"), "{error}");
    }
}
