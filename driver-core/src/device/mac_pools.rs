//! How many receive queues a device can give to destination addresses of their own, beside those that have all else.

use core::fmt;

/// One way in which a device's receive queues can be shared out: [`Config::mac_pools`](crate::device::Config::mac_pools).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: two numbers of queues that go together")]
pub struct MacPools {
    /// The most queues that have addresses of their own.
    pub pools: u16,
    /// The most queues that share all other frames beside so many.
    pub spread: u16,
}

impl MacPools {
    /// Whether `pools` queues with addresses of their own and `spread` queues for all else go together.
    pub const fn has(&self, pools: u16, spread: u16) -> bool {
        pools <= self.pools && 1 <= spread && spread <= self.spread
    }
}

impl fmt::Display for MacPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {} beside 1 to {} others", self.pools, self.spread)
    }
}
