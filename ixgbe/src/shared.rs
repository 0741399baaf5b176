//! What the control handle and the queues, on their several threads, know of one another.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use driver_core::host::Clock;

/// How far a device is from writing to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It sends and receives.
    Running = 0,
    /// It was told to stop and has not confirmed it: it may still write to memory.
    Stopping = 1,
    /// It confirmed that it writes to no memory any more.
    Stopped = 2,
}

/// One for each started device. Queues ask it before they give their buffers back.
pub struct Shared {
    state: AtomicU8,
    /// Transmit descriptors that were given up when their queue stopped.
    unsent: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: AtomicU8::new(State::Running as u8), unsent: AtomicU64::new(0), clock }
    }

    /// How far the device is.
    #[inline]
    pub fn state(&self) -> State {
        // Acquire: whoever sees Stopped also sees all that the device wrote before it confirmed.
        match self.state.load(Ordering::Acquire) {
            0 => State::Running,
            2 => State::Stopped,
            _ => State::Stopping,
        }
    }

    /// Whether the device confirmed that it writes to no memory any more: buffers lent to it may go back to their pool.
    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.state() == State::Stopped
    }

    /// Whether the queues may hand it anything.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// The host's clock, for the waits of a queue that is dropped alive.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Transmit descriptors that were given up when their queue stopped.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    pub(crate) fn count_unsent(&self, descriptors: u32) {
        self.unsent.fetch_add(descriptors.into(), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state()).finish()
    }
}
