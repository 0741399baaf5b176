//! Frames that pools send: to other pools of the port, to the wire, or nowhere (7.10.3.4, 7.10.3.9).

use super::{MTQC_32_POOLS, MTQC_NUM, PFVFTE, Ways, bit};
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::parse::parse;
use crate::ixgbe::regs::MTQC;
use crate::ixgbe::stats::Cast;

/// PFVFSPOOF (8.2.3.27.11): a register for eight pools; source addresses are checked, and VLANs.
const PFVFSPOOF: u32 = 0x08200;
const VLANAS_SHIFT: u32 = 8;
/// PFDTXGSWC.LBE (8.2.3.27.11): frames go from pool to pool.
const PFDTXGSWC: u32 = 0x08220;
const LBE: u32 = 1;
/// PFVMTXSW (8.2.3.27.10): pools that receive what they send themselves.
const PFVMTXSW: u32 = 0x05180;
/// Frames that were not sent because their source was not their pool's (8.2.3.23).
const SSVPC: u32 = 0x08780;

impl Ixgbe {
    /// The pool of a transmit queue.
    fn sending_pool(&self, queue: u32) -> u32 {
        queue / if self.regs.at(MTQC) & MTQC_NUM == MTQC_32_POOLS { 4 } else { 2 }
    }

    /// Whether a transmit queue's pool may send.
    #[inline]
    pub(in crate::ixgbe) fn may_send(&self, queue: u32) -> bool {
        !self.has_pools() || self.pair(PFVFTE) & bit(self.sending_pool(queue)) != 0
    }

    /// Where a frame of a transmit queue goes.
    #[inline]
    pub(in crate::ixgbe) fn ways_of(&mut self, frame: &[u8], queue: u32) -> Ways {
        if self.has_pools() { self.ways_from_pool(frame, self.sending_pool(queue)) } else { Ways::WIRE }
    }

    fn ways_from_pool(&mut self, frame: &[u8], source: u32) -> Ways {
        let tag = parse(frame, self.tag_types()).vlan;
        if self.is_spoofed(frame, tag, source) {
            self.regs.count(SSVPC, 1);
            return Ways::NOWHERE;
        }
        // 7.10.3.4: nothing is switched without a link, and nothing while the receiver is off.
        if !self.regs.has(PFDTXGSWC, LBE) || !self.receives() {
            return Ways::WIRE;
        }
        let cast = Cast::of(frame);
        let is_here = frame.first_chunk().is_some_and(|mac| self.address_pools(mac).is_some());
        let others = self.addressed(frame, cast) & (!bit(source) | self.pair(PFVMTXSW));
        Ways { pools: self.let_in(self.in_vlan(others, tag)), to_wire: cast != Cast::Unicast || !is_here }
    }

    /// Whether a frame's source address or VLAN is not its pool's, and that is looked at.
    fn is_spoofed(&self, frame: &[u8], tag: Option<u16>, pool: u32) -> bool {
        let checks = self.regs.at(PFVFSPOOF + 4 * (pool / 8)) >> (pool % 8);
        let has = |pools: u64| pools & bit(pool) != 0;
        let source = frame.get(6..).and_then(|rest| rest.first_chunk::<6>());
        let is_foreign = || !source.is_some_and(|mac| self.address_pools(mac).is_some_and(has));
        checks & 1 != 0 && is_foreign() || checks >> VLANAS_SHIFT & 1 != 0 && tag.is_some_and(|tag| !has(self.vlan_pools(u32::from(tag & 0xFFF))))
    }
}
