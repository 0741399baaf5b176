//! Pools of queues (7.10): frames go to the pools of their destination address and VLAN, and to a queue of each; what one pool sends to another's address does not
//! leave the card.
//!
//! A pool is what a virtual function has, or a software's queue of its own (VMDq). Here the port's driver has them all.

mod receive;
mod switch;
#[cfg(test)]
mod tests;

use super::card::Ixgbe;
use super::regs::{MRQC, MTQC, PFVTCTL, PFVTCTL_VT_ENA, PSRTYPE, RAL};
use crate::slot::Slot;

/// PFVTCTL (8.2.3.27.1): the pool of frames that no filter gives one, and that there is none; a frame may go to several.
const DEF_PL_SHIFT: u32 = 7;
const DIS_DEF_POOL: u32 = 1 << 29;
const RPL_EN: u32 = 1 << 30;
/// PFVFRE, PFVFTE (8.2.3.27.6, 8.2.3.27.7): which pools receive and transmit, a bit each.
const PFVFRE: u32 = 0x051E0;
const PFVFTE: u32 = 0x08110;
/// PFFLPL, PFFLPH (8.2.3.27.9): pools that do not receive what has one of their own addresses as its source.
const PFFLP: u32 = 0x050B0;
/// MPSAR (8.2.3.7.10): the pools of a receive address, two registers each.
const MPSAR: u32 = 0x0A600;
/// PFVML2FLT (8.2.3.27.14): which frames come into a pool beside those of its addresses.
const PFVML2FLT: u32 = 0x0F000;
/// PFVLVF (8.2.3.27.15): a VLAN, and that the filter is on. PFVLVFB (8.2.3.27.16): its pools, two registers each.
const PFVLVF: u32 = 0x0F100;
const PFVLVFB: u32 = 0x0F200;
const VLAN_FILTERS: u32 = 64;
const VLVF_VI_EN: u32 = 1 << 31;

/// MRQC.MRQE (8.2.3.7.12): 64 pools of two queues each, without spreading and with; 32 pools of four.
const MRQE: u32 = 0xF;
const MRQE_64_POOLS: u32 = 8;
const MRQE_32_POOLS_SPREAD: u32 = 10;
const MRQE_64_POOLS_SPREAD: u32 = 11;
/// MTQC (8.2.3.9.15): pools are on; how many.
const MTQC_VT_ENA: u32 = 1 << 1;
const MTQC_NUM: u32 = 3 << 2;
const MTQC_64_POOLS: u32 = 1 << 2;
const MTQC_32_POOLS: u32 = 2 << 2;
/// PSRTYPE.RQPL (8.2.3.7.4): how many bits of the redirection table's entries choose a queue of the pool.
const RQPL_SHIFT: u32 = 29;

/// Where a frame goes that a pool sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways {
    /// Pools of this port.
    pub(super) pools: u64,
    pub(super) to_wire: bool,
}

impl Ways {
    const WIRE: Self = Self { pools: 0, to_wire: true };
    const NOWHERE: Self = Self { pools: 0, to_wire: false };
}

/// The bit of a pool in a pair of registers.
fn bit(pool: u32) -> u64 {
    1u64.checked_shl(pool).unwrap_or(0)
}

impl Ixgbe {
    /// Whether queues are in pools.
    #[inline]
    pub(super) fn has_pools(&self) -> bool {
        self.regs.has(PFVTCTL, PFVTCTL_VT_ENA)
    }

    /// How many receive queues each pool has.
    fn pool_queues(&self) -> u32 {
        if self.regs.at(MRQC) & MRQE == MRQE_32_POOLS_SPREAD { 4 } else { 2 }
    }

    /// The pool of a receive queue; without pools all are the first one's.
    pub(super) fn pool_of(&self, queue: u32) -> u32 {
        if self.has_pools() { queue / self.pool_queues() } else { 0 }
    }

    /// PSRTYPE of a receive queue.
    pub(super) fn psrtype_of(&self, queue: u32) -> u32 {
        self.regs.at(PSRTYPE + 4 * self.pool_of(queue))
    }

    /// Whether a hash spreads frames over the queues of their pools.
    pub(super) fn spreads_in_pools(&self) -> bool {
        matches!(self.regs.at(MRQC) & MRQE, MRQE_32_POOLS_SPREAD | MRQE_64_POOLS_SPREAD)
    }

    /// The queue of a pool that an entry of the redirection table chooses.
    pub(super) fn queue_in_pool(&self, pool: u32, entry: u32) -> u32 {
        let chosen = (1 << (self.regs.at(PSRTYPE + 4 * pool) >> RQPL_SHIFT & 3)) - 1;
        pool * self.pool_queues() + (entry & chosen & (self.pool_queues() - 1))
    }

    fn pair(&self, first: u32) -> u64 {
        u64::from(self.regs.at(first + 4)) << 32 | u64::from(self.regs.at(first))
    }

    /// The pools of an exact receive address; none where it is no such.
    fn address_pools(&self, mac: &[u8; 6]) -> Option<u64> {
        let [a, b, c, d, e, f] = *mac;
        let wanted = (u32::from_le_bytes([a, b, c, d]), 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        let places = (0..128).filter(|i| (self.regs.at(RAL + 8 * i), self.regs.at(RAL + 8 * i + 4)) == wanted);
        places.map(|i| self.pair(MPSAR + 8 * i)).reduce(|all, pools| all | pools)
    }

    /// The pools of a VLAN.
    fn vlan_pools(&self, id: u32) -> u64 {
        let places = (0..VLAN_FILTERS).filter(|i| self.regs.at(PFVLVF + 4 * i) & (VLVF_VI_EN | 0xFFF) == VLVF_VI_EN | id);
        places.fold(0, |all, i| all | self.pair(PFVLVFB + 8 * i))
    }

    /// The pools of which PFVML2FLT has one of these bits.
    fn pools_that_take(&self, bits: u32) -> u64 {
        (0..64).filter(|pool| self.regs.at(PFVML2FLT + 4 * pool) & bits != 0).fold(0, |all, pool| all | bit(pool))
    }

    /// Looks when the receiver is turned on, which comes behind all else.
    pub(super) fn check_pools(&self, slot: &Slot<'_>) {
        let (mrqc, mtqc) = (self.regs.at(MRQC), self.regs.at(MTQC));
        let receive = mrqc & MRQE;
        let forbid = |what, name, value: u32, section| slot.violation(what, format_args!("{name}"), value.into(), section);
        if self.has_pools() != matches!(receive, MRQE_64_POOLS | MRQE_32_POOLS_SPREAD | MRQE_64_POOLS_SPREAD) {
            forbid("RXEN was set while MRQC.MRQE and PFVTCTL.VT_Ena do not agree whether there are pools", "MRQC", mrqc, "8.2.3.7.12");
        }
        let pools = match receive {
            _ if !self.has_pools() => 0,
            MRQE_32_POOLS_SPREAD => MTQC_VT_ENA | MTQC_32_POOLS,
            _ => MTQC_VT_ENA | MTQC_64_POOLS,
        };
        if mtqc & (MTQC_VT_ENA | MTQC_NUM) != pools {
            forbid("RXEN was set while MTQC and MRQC do not agree how many pools there are", "MTQC", mtqc, "8.2.3.9.15");
        }
        let default = self.regs.at(PFVTCTL) >> DEF_PL_SHIFT & 0x3F;
        if self.has_pools() && default * self.pool_queues() > 127 {
            forbid("PFVTCTL.DEF_PL is no pool", "PFVTCTL", self.regs.at(PFVTCTL), "8.2.3.27.1");
        }
    }
}
