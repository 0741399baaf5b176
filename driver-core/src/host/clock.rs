//! Time, given by the host: drivers read no clock of their own.

/// A monotonic clock and a way to wait.
///
/// A simulated card's clock advances the card while a driver sleeps, which makes tests deterministic.
pub trait Clock: Send + Sync {
    /// Microseconds since some fixed moment. Never goes back.
    fn now_us(&self) -> u64;
    /// The same in nanoseconds, as finely as the host has it: what a device's clock is compared with.
    fn now_ns(&self) -> u64 {
        self.now_us().saturating_mul(1000)
    }
    /// Waits for at least `us` microseconds.
    fn sleep_us(&self, us: u64);
}

impl<C: Clock + ?Sized> Clock for alloc::sync::Arc<C> {
    fn now_us(&self) -> u64 {
        (**self).now_us()
    }
    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }
    fn sleep_us(&self, us: u64) {
        (**self).sleep_us(us);
    }
}
