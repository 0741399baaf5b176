//! A started device with one queue in each direction.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::buf::batch::Batch;
use crate::buf::pool::BufPool;
use crate::device::contract::{NetDriver, Started};
use crate::queue::contract::{RxQueue, TxQueue, TxState};
use crate::testing::frames::{bytes_of, fill};

/// More frames than a test sends or receives in one go.
const BATCH: usize = 256;

/// The control handle, the first receive and the first transmit queue, and the pool of a started device.
#[allow(clippy::exhaustive_structs, reason = "taken apart by tests")]
pub struct Parts<D: NetDriver> {
    /// The control handle.
    pub control: D::Control,
    /// The first receive queue.
    pub rx: D::Rx,
    /// The first transmit queue.
    pub tx: D::Tx,
    /// The pool.
    pub pool: BufPool,
}

impl<D: NetDriver> Parts<D> {
    /// Of a device that was just started. Further queues are dropped.
    ///
    /// # Panics
    /// Where it has no queue in one of the directions.
    pub fn of(mut started: Started<D>) -> Self {
        Self { control: started.control, rx: started.rx.remove(0), tx: started.tx.remove(0), pool: started.pool }
    }

    /// What is there now, by one poll.
    pub fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut batch = Batch::new(BATCH);
        self.rx.poll(&mut batch, BATCH);
        batch.frames().iter().map(bytes_of).collect()
    }

    /// Sends frames of these bytes.
    ///
    /// # Panics
    /// Where the queue does not take all of them, or stops.
    pub fn send<B: AsRef<[u8]>>(&mut self, frames: impl IntoIterator<Item = B>) {
        let mut batch = Batch::new(BATCH);
        fill(&mut batch, &self.pool, frames);
        assert_eq!(self.tx.submit(&mut batch), TxState::Running);
        assert!(batch.is_empty(), "{} frames are left by a queue that runs", batch.len());
    }

    /// How often the transmit queue wakes from now on.
    pub fn count_wakes(&mut self) -> Arc<AtomicU32> {
        count_wakes(&mut self.tx)
    }
}

/// How often a transmit queue wakes from now on.
pub fn count_wakes(tx: &mut impl TxQueue) -> Arc<AtomicU32> {
    let woken = Arc::new(AtomicU32::new(0));
    let count = woken.clone();
    tx.on_wake(Some(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })));
    woken
}
