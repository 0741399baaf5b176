//! NAPI: poll within a budget; done early, arm the interrupt and wait; busy, stay in polling.

use crate::batch::Batch;
use crate::pci::{Interrupt, PciError};
use crate::queue::{DEFAULT_BUDGET, RxQueue};

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
