//! NAPI: poll within a budget; done early, arm the interrupt and wait; busy, stay in polling.

use crate::buf::batch::Batch;
use crate::host::pci::{Interrupt, PciError};
use crate::queue::contract::{DEFAULT_BUDGET, RxQueue};

/// How long a stalled queue sleeps before it looks for buffers again, in microseconds.
const STALL_US: u64 = 100;

/// A receive queue with its interrupt.
#[derive(Debug)]
pub struct Poller<Q, I> {
    queue: Q,
    interrupt: I,
    budget: usize,
    waits: u64,
    polls: u64,
}

impl<Q: RxQueue, I: Interrupt> Poller<Q, I> {
    /// A poller with the default budget.
    pub fn new(queue: Q, interrupt: I) -> Self {
        Self { queue, interrupt, budget: DEFAULT_BUDGET, waits: 0, polls: 0 }
    }

    /// The same with another budget (at least 1).
    #[must_use]
    pub fn with_budget(mut self, budget: usize) -> Self {
        self.budget = budget.max(1);
        self
    }

    /// Receives into `batch`; where nothing is there, sleeps until the interrupt fires or `timeout_us` passed (`None`: no limit).
    /// Returns how many frames came, 0 after a timeout or a wake-up for nothing.
    ///
    /// # Errors
    /// [`PciError`] where the function is gone.
    pub fn next(&mut self, batch: &mut Batch, timeout_us: Option<u64>) -> Result<usize, PciError> {
        let received = self.poll(batch);
        // Frames are here, or there is no room for any: sleeping would be wrong in both cases.
        if received > 0 || batch.room() == 0 {
            return Ok(received);
        }
        // A frame that came between the poll and the arming fires no interrupt: `arm` looks once more.
        if self.queue.arm() {
            let received = self.poll(batch);
            if received > 0 {
                return Ok(received);
            }
            // Frames are there but no buffers for them: no interrupt tells when one returns.
            self.wait(Some(timeout_us.unwrap_or(STALL_US).min(STALL_US)))?;
        } else {
            self.wait(timeout_us)?;
        }
        Ok(self.poll(batch))
    }

    /// How often it polled, and how often it slept.
    pub fn counts(&self) -> (u64, u64) {
        (self.polls, self.waits)
    }

    /// The queue.
    pub fn queue(&self) -> &Q {
        &self.queue
    }

    /// The queue.
    pub fn queue_mut(&mut self) -> &mut Q {
        &mut self.queue
    }

    /// The interrupt, for `epoll` and its kin.
    pub fn interrupt(&self) -> &I {
        &self.interrupt
    }

    /// Takes it apart.
    pub fn into_parts(self) -> (Q, I) {
        (self.queue, self.interrupt)
    }

    fn wait(&mut self, timeout_us: Option<u64>) -> Result<(), PciError> {
        self.waits += 1;
        self.interrupt.wait(timeout_us).map(drop)
    }

    fn poll(&mut self, batch: &mut Batch) -> usize {
        self.polls += 1;
        self.queue.poll(batch, self.budget)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::buf::pool::{BufPool, PoolConfig};
    use crate::queue::contract::{QueueFault, RxCounters};
    use crate::testing::domain;

    /// Each poll gives as many frames as the script says, each arming what it says.
    struct Script {
        pool: BufPool,
        polls: Vec<usize>,
        arms: Vec<bool>,
    }

    impl RxQueue for Script {
        fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
            let frames = if self.polls.is_empty() { 0 } else { self.polls.remove(0) };
            batch.fill(&self.pool, frames.min(budget))
        }
        fn arm(&mut self) -> bool {
            self.arms.remove(0)
        }
        fn fault(&self) -> Option<QueueFault> {
            None
        }
        fn counters(&self) -> RxCounters {
            RxCounters::default()
        }
    }

    /// Remembers for how long it was waited on.
    #[derive(Default)]
    struct Waits(Vec<Option<u64>>);

    impl Interrupt for Waits {
        fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
            self.0.push(timeout_us);
            Ok(1)
        }
    }

    /// What one `next` returns, and which waits it made.
    fn next(polls: Vec<usize>, arms: Vec<bool>, timeout_us: Option<u64>, room: usize) -> (usize, Vec<Option<u64>>) {
        let pool = BufPool::new(&domain().0, PoolConfig::new(256)).unwrap();
        let mut batch = Batch::new(room.max(1));
        if room == 0 {
            batch.fill(&pool, 1);
        }
        let mut poller = Poller::new(Script { pool, polls, arms }, Waits::default()).with_budget(8);
        let received = poller.next(&mut batch, timeout_us).unwrap();
        let (script, waits) = poller.into_parts();
        assert!(script.arms.is_empty(), "armed as often as the script says");
        (received, waits.0)
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
}
