//! The host's time.

use std::time::{Duration, Instant};

use driver_core::host::Clock;

/// A clock that started at zero when it was made.
pub(crate) struct HostClock(Instant);

impl HostClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for HostClock {
    fn now_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }

    fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    fn sleep_us(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }
}
