//! How a card that moves on a thread of its own shares the processor with its driver.

use std::time::Duration;

/// How many steps the live thread makes before it looks whether a driver waits for the model's lock.
pub(crate) const STEPS_PER_TURN: usize = 2;
/// How often an idle live thread yields before it sleeps: a driver in the middle of a burst is answered without a system call.
pub(crate) const IDLE_YIELDS: u32 = 64;
/// A yield that took longer than this, in microseconds, let another thread run.
pub(crate) const CROWDED_YIELD_US: u64 = 20;
/// How long an idle live thread sleeps where its wire has no descriptor to sleep on.
pub(crate) const POLL_SLEEP: Duration = Duration::from_micros(100);
/// How long it sleeps where every event has a descriptor: only a carrier change comes without one.
pub(crate) const EVENT_SLEEP: Duration = Duration::from_millis(10);
