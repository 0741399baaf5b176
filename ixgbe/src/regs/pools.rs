//! Pools of queues (8.2.3.27): which pools a frame goes to.

use driver_core::reg::{Reg, RegArray, Rw};
use driver_core::reg_flags;

/// Virtualisation control.
pub const PFVTCTL: Reg<Pfvtctl, Rw> = Reg::new(0x0_51b0, "PFVTCTL", "8.2.3.27.1");
/// Pools that receive, a bit each.
pub const PFVFRE: RegArray<u32, Rw> = RegArray::new(0x0_51e0, 4, 2, "PFVFRE", "8.2.3.27.6");
/// Pools that transmit, a bit each.
pub const PFVFTE: RegArray<u32, Rw> = RegArray::new(0x0_8110, 4, 2, "PFVFTE", "8.2.3.27.7");
/// Whether frames go from pool to pool; bit 0.
pub const PFDTXGSWC: Reg<u32, Rw> = Reg::new(0x0_8220, "PFDTXGSWC", "8.2.3.27.11");
/// The unicast hash table: 4096 bits.
pub const PFUTA: RegArray<u32, Rw> = RegArray::new(0x0_f400, 4, 128, "PFUTA", "8.2.3.27.12");
/// What comes into a pool beside the frames of its addresses.
pub const PFVML2FLT: RegArray<Pfvml2flt, Rw> = RegArray::new(0x0_f000, 4, 64, "PFVML2FLT", "8.2.3.27.14");
/// VLANs that lead to pools: the id in bits 11:0.
pub const PFVLVF: RegArray<u32, Rw> = RegArray::new(0x0_f100, 4, 64, "PFVLVF", "8.2.3.27.15");
/// Their pools, two registers a VLAN.
pub const PFVLVFB: RegArray<u32, Rw> = RegArray::new(0x0_f200, 4, 128, "PFVLVFB", "8.2.3.27.16");

/// PFVLVF: the filter is in use.
pub const PFVLVF_VI_EN: u32 = 1 << 31;
/// PSRTYPE: where the number of bits is that choose a queue of the pool.
pub const PSRTYPE_RQPL_SHIFT: u32 = 29;
/// MTQC: transmit queues are in pools.
pub const MTQC_VT_ENA: u32 = 1 << 1;
/// MTQC: 64 of them.
pub const MTQC_64_POOLS: u32 = 1 << 2;
/// MTQC: 32 of them.
pub const MTQC_32_POOLS: u32 = 2 << 2;

reg_flags! {
    /// Bits of [`PFVTCTL`].
    pub struct Pfvtctl {
        /// Virtualisation is on ("VT_Ena").
        const VT_ENA = 1 << 0;
        /// The pool of frames that no filter gives one ("DEF_PL"), six bits.
        const DEF_PL = 0x3f << 7;
        /// By what the X550 chooses pools; 0: by addresses and VLANs.
        const POOLING_MODE = 3 << 16;
        /// There is no such pool ("Dis_Def_Pool").
        const DIS_DEF_POOL = 1 << 29;
        /// A frame may go to several pools ("Rpl_En").
        const RPL_EN = 1 << 30;
    }
}
reg_flags! {
    /// Bits of [`PFVML2FLT`].
    pub struct Pfvml2flt {
        /// Frames without a VLAN tag.
        const AUPE = 1 << 24;
        /// Multicast frames that the hash table lets in.
        const ROMPE = 1 << 25;
        /// Broadcast.
        const BAM = 1 << 27;
    }
}
