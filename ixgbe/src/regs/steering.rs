//! Which queue a received frame goes to: EtherType, SYN and 5-tuple filters (8.2.3.7, 8.2.3.5.13), VLANs, flow director (8.2.3.21).

use driver_core::reg::{Reg, RegArray, Ro, Rw};
use driver_core::reg_flags;

/// VLANs that come in: 4096 bits.
pub const VFTA: RegArray<u32, Rw> = RegArray::new(0x0_a000, 4, 128, "VFTA", "8.2.3.7.11");
/// Source address of a five-tuple filter, in the order of the wire.
pub const SAQF: RegArray<u32, Rw> = RegArray::new(0x0_e000, 4, 128, "SAQF", "8.2.3.7.16");
/// Its destination address.
pub const DAQF: RegArray<u32, Rw> = RegArray::new(0x0_e200, 4, 128, "DAQF", "8.2.3.7.17");
/// Its ports in the order of the wire, the source's in the lower half.
pub const SDPQF: RegArray<u32, Rw> = RegArray::new(0x0_e400, 4, 128, "SDPQF", "8.2.3.7.18");
/// Its queue.
pub const L34TIMIR: RegArray<u32, Rw> = RegArray::new(0x0_e800, 4, 128, "L34TIMIR", "8.2.3.5.13");
/// The queue of an Ethertype filter.
pub const ETQS: RegArray<u32, Rw> = RegArray::new(0x0_ec00, 4, 8, "ETQS", "8.2.3.7.22");
/// The SYN filter.
pub const SYNQF: Reg<u32, Rw> = Reg::new(0x0_ec30, "SYNQF", "8.2.3.7.20");

/// FTQF: where the priority is, 3 bits.
pub const FTQF_PRIORITY_SHIFT: u32 = 2;
/// FTQF, bits 29:25: what is not compared, source address, destination address, source port, destination port, protocol.
pub const FTQF_MASK_SHIFT: u32 = 25;
/// FTQF: the pool is not compared.
pub const FTQF_POOL_MASK: u32 = 1 << 30;
/// FTQF: the filter is in use.
pub const FTQF_QUEUE_ENABLE: u32 = 1 << 31;
/// L34TIMIR, bits 19:13: "Must be set to 1000000b".
pub const L34TIMIR_RESERVED: u32 = 1 << 19;
/// L34TIMIR: where the queue is, 7 bits.
pub const L34TIMIR_QUEUE_SHIFT: u32 = 21;
/// ETQF: the filter is in use.
pub const ETQF_FILTER_ENABLE: u32 = 1 << 31;
/// ETQS: the filter chooses a queue.
pub const ETQS_QUEUE_EN: u32 = 1 << 31;
/// ETQS: where the queue is, 7 bits.
pub const ETQS_QUEUE_SHIFT: u32 = 16;
/// SYNQF: the filter is in use.
pub const SYNQF_ENABLE: u32 = 1;
/// SYNQF: where the queue is, 7 bits.
pub const SYNQF_QUEUE_SHIFT: u32 = 1;
/// SYNQF.SYNQFP: the filter goes before those of five-tuples.
pub const SYNQF_FIRST: u32 = 1 << 31;

/// Flow director control.
pub const FDIRCTRL: Reg<Fdirctrl, Rw> = Reg::new(0x0_ee00, "FDIRCTRL", "8.2.3.21.1");
/// The key of the hash that finds a filter.
pub const FDIRHKEY: Reg<u32, Rw> = Reg::new(0x0_ee68, "FDIRHKEY", "8.2.3.21");
/// The key of the signature.
pub const FDIRSKEY: Reg<u32, Rw> = Reg::new(0x0_ee6c, "FDIRSKEY", "8.2.3.21");
/// Bits of a destination address that are not compared, in the order of the wire.
pub const FDIRDIP4M: Reg<u32, Rw> = Reg::new(0x0_ee3c, "FDIRDIP4M", "8.2.3.21");
/// Bits of a source address that are not compared.
pub const FDIRSIP4M: Reg<u32, Rw> = Reg::new(0x0_ee40, "FDIRSIP4M", "8.2.3.21");
/// Bits of TCP's ports that are not compared; the destination's above, each half in the reverse order.
pub const FDIRTCPM: Reg<u32, Rw> = Reg::new(0x0_ee44, "FDIRTCPM", "8.2.3.21");
/// Bits of UDP's ports likewise.
pub const FDIRUDPM: Reg<u32, Rw> = Reg::new(0x0_ee48, "FDIRUDPM", "8.2.3.21");
/// X550: bits of SCTP's ports likewise.
pub const FDIRSCTPM: Reg<u32, Rw> = Reg::new(0x0_ee78, "FDIRSCTPM", "8.2.3.21 (X550)");
/// Fields that are not compared.
pub const FDIRM: Reg<Fdirm, Rw> = Reg::new(0x0_ee70, "FDIRM", "8.2.3.21");
/// A filter's source address, in the order of the wire.
pub const FDIRIPSA: Reg<u32, Rw> = Reg::new(0x0_ee18, "FDIRIPSA", "8.2.3.21");
/// Its destination address.
pub const FDIRIPDA: Reg<u32, Rw> = Reg::new(0x0_ee1c, "FDIRIPDA", "8.2.3.21");
/// Its ports as numbers, the destination's above.
pub const FDIRPORT: Reg<u32, Rw> = Reg::new(0x0_ee20, "FDIRPORT", "8.2.3.21");
/// Its VLAN tag.
pub const FDIRVLAN: Reg<u32, Rw> = Reg::new(0x0_ee24, "FDIRVLAN", "8.2.3.21");
/// Its hash, and above software's index or the signature.
pub const FDIRHASH: Reg<u32, Rw> = Reg::new(0x0_ee28, "FDIRHASH", "8.2.3.21");
/// Flow director's commands.
pub const FDIRCMD: Reg<Fdircmd, Rw> = Reg::new(0x0_ee2c, "FDIRCMD", "8.2.3.21");
/// How many filters are free.
pub const FDIRFREE: Reg<u32, Ro> = Reg::new(0x0_ee38, "FDIRFREE", "8.2.3.21");

/// FDIRCTRL: where the queue of dropped frames is.
pub const FDIRCTRL_DROP_Q_SHIFT: u32 = 8;
/// FDIRCTRL: where the place of the flexible bytes is, in words of 16 bits.
pub const FDIRCTRL_FLEX_SHIFT: u32 = 16;
/// FDIRCTRL: where half the longest list of a bucket is.
pub const FDIRCTRL_MAX_LENGTH_SHIFT: u32 = 24;
/// FDIRCMD: where the type of a flow is.
pub const FDIRCMD_TYPE_SHIFT: u32 = 5;
/// FDIRCMD: where the queue is.
pub const FDIRCMD_QUEUE_SHIFT: u32 = 16;
/// FDIRHASH: where software's index or the signature is.
pub const FDIRHASH_NAME_SHIFT: u32 = 16;

reg_flags! {
    /// Bits of [`FDIRCTRL`].
    pub struct Fdirctrl {
        /// 01b: 64 KB of the packet buffer; with all of them zero flow director is off.
        const PBALLOC_64K = 1;
        /// 10b: 128 KB.
        const PBALLOC_128K = 2;
        /// 11b: 256 KB.
        const PBALLOC_256K = 3;
        /// The table is ready.
        const INIT_DONE = 1 << 3;
        /// Perfect match instead of signatures.
        const PERFECT_MATCH = 1 << 4;
    }
}
reg_flags! {
    /// Bits of [`FDIRM`]: each field that is set is not compared.
    pub struct Fdirm {
        /// The VLAN's id.
        const VLANID = 1 << 0;
        /// The VLAN's priority.
        const VLANP = 1 << 1;
        /// The pool.
        const POOL = 1 << 2;
        /// Which of TCP, UDP, SCTP it is.
        const L4P = 1 << 3;
        /// The flexible bytes.
        const FLEX = 1 << 4;
        /// Whether an IPv6 destination is one of the card's own.
        const DIPV6 = 1 << 5;
    }
}
reg_flags! {
    /// Bits of [`FDIRCMD`].
    pub struct Fdircmd {
        /// The command; zero: done.
        const CMD = 3;
        /// 01b: add a filter.
        const CMD_ADD = 1;
        /// 10b: remove one.
        const CMD_REMOVE = 2;
        /// 11b: look for one.
        const CMD_QUERY = 3;
        /// The filter that was looked for is there.
        const FILTER_VALID = 1 << 2;
        /// A filter that is there is changed.
        const FILTER_UPDATE = 1 << 3;
        /// Frames go to the queue of dropped ones.
        const DROP = 1 << 9;
        /// To be set where a filter is written.
        const LAST = 1 << 11;
        /// Frames go to the filter's queue.
        const QUEUE_EN = 1 << 15;
    }
}
