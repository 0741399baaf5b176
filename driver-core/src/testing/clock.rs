//! Clocks that the test moves.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::host::clock::Clock;

/// Time passes in sleep alone, and by one microsecond at each look, so that every wait ends, and ends at once.
#[derive(Debug, Default)]
pub struct FakeClock(AtomicU64);

impl FakeClock {
    /// A clock at 0.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Clock for FakeClock {
    fn now_us(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}

/// Time passes in sleep alone: for tests of what happens at one microsecond and not at the one before.
#[derive(Debug, Default)]
pub struct SleepClock(AtomicU64);

impl SleepClock {
    /// A clock at 0.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Clock for SleepClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}
