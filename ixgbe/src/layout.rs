//! Which receive queue of the card is which of the application's. They are the same, but where queues have addresses of their own: those are the first queues of pools.
//!
//! MRQC.MRQE shares 128 queues out among 64 pools of two or 32 pools of four (7.1.2.2); the registers of the first 64 queues are reached here. The first pool has the
//! queues that share all other frames.

use driver_core::device::{MacPools, Settings};

use crate::regs::*;

/// What the cards can do: pools of four queues, and pools of two.
pub(crate) static MAC_POOLS: [MacPools; 2] = [MacPools { pools: 15, spread: 4 }, MacPools { pools: 31, spread: 2 }];

/// How receive queues are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Queues of the application that are in the first pool.
    spread: u16,
    /// Pools of one queue behind it.
    pools: u16,
    /// Queues of the card that each pool has.
    step: u16,
}

impl Layout {
    /// Without pools.
    pub(crate) const PLAIN: Self = Self { spread: u16::MAX, pools: 0, step: 1 };

    pub(crate) fn of(settings: &Settings) -> Self {
        let (spread, pools) = (settings.rx().spread_queues(), settings.rx().mac_pool_count());
        match pools {
            0 => Self::PLAIN,
            _ => Self { spread, pools, step: if spread > 2 { 4 } else { 2 } },
        }
    }

    pub(crate) const fn has_pools(self) -> bool {
        self.pools > 0
    }

    /// All pools, the first included.
    pub(crate) const fn pool_count(self) -> u16 {
        self.pools + 1
    }

    /// Queues that share what no pool behind the first has.
    pub(crate) const fn spread(self) -> u16 {
        self.spread
    }

    /// The pool of one of the application's queues.
    pub(crate) fn pool(self, queue: u16) -> u16 {
        queue.checked_sub(self.spread).map_or(0, |behind| behind + 1)
    }

    /// The card's queue for one of the application's.
    pub(crate) fn queue(self, queue: u16) -> u16 {
        if queue < self.spread { queue } else { self.pool(queue) * self.step }
    }

    /// How many of the card's queues lie from the first to the last that the application's first `count` are.
    pub(crate) fn span(self, count: u16) -> u16 {
        count.checked_sub(1).map_or(0, |last| self.queue(last) + 1)
    }

    /// The mode of receive queues (8.2.3.7.12).
    pub(crate) fn mrqe(self) -> Mrqc {
        match (self.has_pools(), self.spread, self.step) {
            (false, ..) => Mrqc::MRQE_RSS,
            (true, 1, _) => Mrqc::MRQE_64_POOLS,
            (true, _, 2) => Mrqc::MRQE_64_POOLS_RSS,
            (true, ..) => Mrqc::MRQE_32_POOLS_RSS,
        }
    }

    /// The mode of transmit queues (8.2.3.9.15), which has to be the same.
    pub(crate) fn mtqc(self) -> u32 {
        match (self.has_pools(), self.step) {
            (false, _) => 0,
            (true, 2) => MTQC_VT_ENA | MTQC_64_POOLS,
            (true, _) => MTQC_VT_ENA | MTQC_32_POOLS,
        }
    }

    /// GCR_EXT.VT_Mode (8.2.3.4.12), which has to be the same.
    pub(crate) fn vt_mode(self) -> GcrExt {
        match (self.has_pools(), self.step) {
            (false, _) => GcrExt::empty(),
            (true, 2) => GcrExt::VT_MODE_64,
            (true, _) => GcrExt::VT_MODE_32,
        }
    }

    /// PSRTYPE.RQPL of a pool: how many bits of the redirection table's entries choose among its queues.
    pub(crate) fn rqpl(self, pool: u16) -> Psrtype {
        let bits = if self.has_pools() && pool == 0 { u32::from(self.spread.next_power_of_two()).trailing_zeros() } else { 0 };
        Psrtype::from_bits_retain(bits << PSRTYPE_RQPL_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use driver_core::device::{Config, DeviceInfo};
    use driver_core::ether::MacAddr;

    use super::*;

    fn layout(queues: u16, pools: u16) -> Layout {
        let info = DeviceInfo::new("a", "b", "c", MacAddr([2, 0, 0, 0, 0, 1]));
        Layout::of(&Settings::new(&Config::new().rx_queues(queues).mac_pools(pools), &info))
    }

    #[test]
    fn each_queue_behind_the_spread_ones_begins_a_pool() {
        let queues = |layout: Layout, of: &[u16]| of.iter().map(|&queue| (layout.queue(queue), layout.pool(queue))).collect::<alloc::vec::Vec<_>>();
        assert_eq!(queues(layout(4, 0), &[0, 3]), [(0, 0), (3, 0)]);
        assert_eq!(queues(layout(32, 31), &[0, 1, 31]), [(0, 0), (2, 1), (62, 31)]);
        assert_eq!(queues(layout(4, 2), &[0, 1, 2, 3]), [(0, 0), (1, 0), (2, 1), (4, 2)]);
        assert_eq!(queues(layout(18, 15), &[0, 2, 3, 17]), [(0, 0), (2, 0), (4, 1), (60, 15)]);
    }

    /// As many as [`MAC_POOLS`] allows have registers.
    #[test]
    fn the_last_queue_is_one_that_is_reached() {
        for MacPools { pools, spread } in MAC_POOLS {
            assert!(u32::from(layout(pools + spread, pools).span(pools + spread)) <= QUEUES);
        }
        assert_eq!((layout(4, 0).span(4), Layout::PLAIN.span(0)), (4, 0));
    }

    #[test]
    fn all_modes_are_of_one_number_of_pools() {
        let modes =
            |layout: Layout| (layout.mrqe().bits(), layout.mtqc(), layout.vt_mode().bits(), layout.rqpl(0).bits() >> 29, layout.rqpl(1).bits());
        assert_eq!(modes(layout(4, 0)), (1, 0, 0, 0, 0));
        assert_eq!(modes(layout(4, 3)), (8, 6, 3, 0, 0));
        assert_eq!(modes(layout(4, 2)), (11, 6, 3, 1, 0));
        assert_eq!([3, 4].map(|spread| modes(layout(spread + 1, 1))), [(10, 10, 2, 2, 0); 2]);
    }
}
