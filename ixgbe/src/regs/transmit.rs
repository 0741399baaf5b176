//! Transmit: DMA (8.2.3.9) and arbiters (8.2.3.10).

use driver_core::reg::{Reg, RegArray, Rw};
use driver_core::reg_flags;

use super::QUEUES;

/// How many bytes may be requested from memory at once.
pub const DTXMXSZRQ: Reg<u32, Rw> = Reg::new(0x0_8100, "DTXMXSZRQ", "8.2.3.9.1");
/// Transmit DMA control.
pub const DMATXCTL: Reg<Dmatxctl, Rw> = Reg::new(0x0_4a80, "DMATXCTL", "8.2.3.9.2");
/// Ring address, low.
pub const TDBAL: RegArray<u32, Rw> = RegArray::new(0x0_6000, 0x40, QUEUES, "TDBAL", "8.2.3.9.5");
/// Ring address, high.
pub const TDBAH: RegArray<u32, Rw> = RegArray::new(0x0_6004, 0x40, QUEUES, "TDBAH", "8.2.3.9.6");
/// Ring length in bytes.
pub const TDLEN: RegArray<u32, Rw> = RegArray::new(0x0_6008, 0x40, QUEUES, "TDLEN", "8.2.3.9.7");
/// The next descriptor that the card sends.
pub const TDH: RegArray<u32, Rw> = RegArray::new(0x0_6010, 0x40, QUEUES, "TDH", "8.2.3.9.8");
/// One beyond the last descriptor to send.
pub const TDT: RegArray<u32, Rw> = RegArray::new(0x0_6018, 0x40, QUEUES, "TDT", "8.2.3.9.9");
/// Transmit queue control.
pub const TXDCTL: RegArray<Txdctl, Rw> = RegArray::new(0x0_6028, 0x40, QUEUES, "TXDCTL", "8.2.3.9.10");
/// Transmit packet buffers; the size in KB in bits 19:10.
pub const TXPBSIZE: RegArray<u32, Rw> = RegArray::new(0x0_cc00, 4, 8, "TXPBSIZE", "8.2.3.9.13");
/// Multiple transmit queues command.
pub const MTQC: Reg<u32, Rw> = Reg::new(0x0_8120, "MTQC", "8.2.3.9.15");
/// Up to how many KB a transmit packet buffer is filled.
pub const TXPBTHRESH: RegArray<u32, Rw> = RegArray::new(0x0_4950, 4, 8, "TXPBTHRESH", "8.2.3.9.16");
/// Transmit descriptor arbiter.
pub const RTTDCS: Reg<Rttdcs, Rw> = Reg::new(0x0_4900, "RTTDCS", "8.2.3.10.2");
/// Which queue RTTDT1C and RTTBCNRC mean.
pub const RTTDQSEL: Reg<u32, Rw> = Reg::new(0x0_4904, "RTTDQSEL", "8.2.3.10.13");
/// Credits of the selected queue.
pub const RTTDT1C: Reg<u32, Rw> = Reg::new(0x0_4908, "RTTDT1C", "8.2.3.10.14");
/// Rate limit of the selected queue.
pub const RTTBCNRC: Reg<u32, Rw> = Reg::new(0x0_4984, "RTTBCNRC", "8.2.3.10.16");
/// Direct cache access and ordering of a transmit queue.
pub const DCA_TXCTRL: RegArray<DcaTxctrl, Rw> = RegArray::new(0x0_600c, 0x40, QUEUES, "DCA_TXCTRL", "8.2.3.11.2");

/// TXPBSIZE and RXPBSIZE count KB in bits 19:10.
pub const PBSIZE_KB_SHIFT: u32 = 10;
/// DTXMXSZRQ.Max_byte_num_req, bits 11:0: 1 MB.
pub const DTXMXSZRQ_1MB: u32 = 0xfff;

reg_flags! {
    /// Bits of [`DMATXCTL`].
    pub struct Dmatxctl {
        /// The transmitter is on.
        const TE = 1 << 0;
        /// Packets have an outer VLAN tag ("Global Double VLAN").
        const GDV = 1 << 3;
    }
}
reg_flags! {
    /// Bits of [`TXDCTL`].
    pub struct Txdctl {
        /// Fetch ahead while fewer descriptors than this are on the card.
        const PTHRESH = 0x7f;
        /// Fetch ahead only where this many are waiting in memory.
        const HTHRESH = 0x7f << 8;
        /// Write back in blocks of this many.
        const WTHRESH = 0x7f << 16;
        /// The queue is on.
        const ENABLE = 1 << 25;
        /// Write back at once what is done.
        const SWFLSH = 1 << 26;
    }
}
reg_flags! {
    /// Bits of [`RTTDCS`].
    pub struct Rttdcs {
        /// The arbiter is off, and MTQC may change.
        const ARBDIS = 1 << 6;
    }
}
reg_flags! {
    /// Bits of [`DCA_TXCTRL`].
    pub struct DcaTxctrl {
        /// Descriptors may be written back out of order.
        const DESC_WRITE_BACK_RO_EN = 1 << 11;
    }
}
