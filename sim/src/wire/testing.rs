//! What the wires' own tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driver_core::host::Clock;

/// A clock that only moves when somebody sleeps.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}
