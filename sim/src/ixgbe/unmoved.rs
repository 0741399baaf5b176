//! Traffic that is counted and that nobody moves.

use super::card::Ixgbe;
use super::stats::Cast;

impl Ixgbe {
    /// Counts `frames` good unicast frames of `len` bytes (without check sequence) as if they had come from the wire and gone to `queue`'s memory. For tests of
    /// who reads the counters: minutes of traffic at 10 Gbit/s, in no time.
    pub fn count_received(&mut self, queue: u32, frames: u32, len: usize) {
        let Self { stats, regs, .. } = self;
        stats.arrived(regs, frames, len);
        stats.well_formed(regs, frames, len);
        stats.accepted(regs, frames, len, Cast::Unicast);
        stats.delivered(regs, queue, frames, len);
    }

    /// The same of frames that `queue` sent.
    pub fn count_sent(&mut self, queue: u32, frames: u32, len: usize) {
        let Self { stats, regs, .. } = self;
        stats.fetched(regs, queue, frames, len);
        stats.sent(regs, frames, len, Cast::Unicast);
    }
}
