//! The pools of a frame that was received (7.10.3.3).

use super::{DEF_PL_SHIFT, DIS_DEF_POOL, PFFLP, PFVFRE, RPL_EN, bit};
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::parse::Headers;
use crate::ixgbe::regs::{PFVTCTL, VLNCTRL};
use crate::ixgbe::stats::Cast;

/// PFVML2FLT (8.2.3.27.14): every unicast frame and every VLAN (X550 alone); frames without a tag; what the multicast table lets in; broadcast; every multicast
/// frame.
const UPE: u32 = 1 << 22;
const VPE: u32 = 1 << 23;
const AUPE: u32 = 1 << 24;
const ROMPE: u32 = 1 << 25;
const BAM: u32 = 1 << 27;
const MPE: u32 = 1 << 28;
/// VLNCTRL.VFE (8.2.3.7.2).
const VFE: u32 = 1 << 30;

impl Ixgbe {
    /// The pools that a frame from the wire goes to, a bit each; none: nobody has it.
    pub(in crate::ixgbe) fn pools_of_received(&self, frame: &[u8], cast: Cast, headers: &Headers) -> u64 {
        let control = self.regs.at(PFVTCTL);
        let mut pools = self.in_vlan(self.addressed(frame, cast), headers.vlan);
        if pools == 0 && control & DIS_DEF_POOL == 0 {
            pools = bit(control >> DEF_PL_SHIFT & 0x3F);
        }
        self.let_in(pools & !self.pruned(frame))
    }

    /// Pools by the destination address: exact, broadcast, hash, promiscuous.
    pub(super) fn addressed(&self, frame: &[u8], cast: Cast) -> u64 {
        let Some(mac) = frame.first_chunk::<6>() else { return 0 };
        let exact = self.address_pools(mac).unwrap_or(0);
        let all_unicast = if self.is_x550() { UPE } else { 0 };
        match cast {
            Cast::Unicast => exact | self.pools_that_take(all_unicast),
            Cast::Broadcast => exact | self.pools_that_take(BAM),
            Cast::Multicast if exact == 0 && self.in_multicast_table(mac) => self.pools_that_take(ROMPE | MPE),
            Cast::Multicast => exact | self.pools_that_take(MPE),
        }
    }

    /// Those of them that are in the frame's VLAN, or take frames without one. Without VLNCTRL.VFE nobody asks.
    pub(super) fn in_vlan(&self, pools: u64, tag: Option<u16>) -> u64 {
        let all_vlans = if self.is_x550() { VPE } else { 0 };
        match tag {
            _ if !self.regs.has(VLNCTRL, VFE) => pools,
            Some(tag) => pools & (self.vlan_pools(u32::from(tag & 0xFFF)) | self.pools_that_take(all_vlans)),
            None => pools & self.pools_that_take(AUPE),
        }
    }

    /// Those of them that receive; one alone where frames are not replicated.
    pub(super) fn let_in(&self, pools: u64) -> u64 {
        let pools = pools & self.pair(PFVFRE);
        if self.regs.has(PFVTCTL, RPL_EN) { pools } else { pools & pools.wrapping_neg() }
    }

    /// Pools that sent the frame themselves, and have it back from a switch, where they do not want it.
    fn pruned(&self, frame: &[u8]) -> u64 {
        let wanting = self.pair(PFFLP);
        let source = frame.get(6..).and_then(|rest| rest.first_chunk::<6>());
        if wanting == 0 { 0 } else { source.and_then(|mac| self.address_pools(mac)).unwrap_or(0) & wanting }
    }
}
