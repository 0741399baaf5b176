//! The registers of a virtual function (8.3). Where a port has one of the same name without VF or VT before it, the bits are that one's.

use driver_core::reg::{ReadToClear, Reg, RegArray, Ro, Rw, Wo};
use driver_core::reg_flags;

use super::{DcaRxctrl, DcaTxctrl, Eicr, Links, Rscctl, Rxdctl, Srrctl, Txdctl};

/// How much of BAR0 the registers take.
pub const VF_BAR_BYTES: usize = 16 * 1024;
/// Queues of each direction that have registers. How many of them are the function's, its physical function says.
pub const VF_QUEUES: u32 = 8;
/// MSI-X vectors.
pub const VF_VECTORS: u32 = 3;

/// Function control.
pub const VFCTRL: Reg<Vfctrl, Wo> = Reg::new(0x0_0000, "VFCTRL", "8.3");
/// Link status, as LINKS.
pub const VFLINKS: Reg<Links, Ro> = Reg::new(0x0_0010, "VFLINKS", "8.3");
/// The mailbox's bits. A read clears some of them.
pub const VFMAILBOX: Reg<Vfmailbox, ReadToClear> = Reg::new(0x0_02fc, "VFMAILBOX", "8.3");
/// The mailbox's bits, written.
pub const VFMAILBOX_WRITE: Reg<Vfmailbox, Wo> = Reg::new(0x0_02fc, "VFMAILBOX", "8.3");
/// The mailbox's memory.
pub const VFMBMEM: RegArray<u32, Rw> = RegArray::new(0x0_0200, 4, 16, "VFMBMEM", "8.3");
/// Types of packets; bits 31:29 say how many bits of the redirection table's entries choose a queue ("RQPL").
pub const VFPSRTYPE: Reg<u32, Rw> = Reg::new(0x0_0300, "VFPSRTYPE", "8.3");
/// VFPSRTYPE: headers behind which frames are split, on queues that do so: those of TCP, UDP, IPv4, IPv6 and Ethernet.
pub const VFPSRTYPE_HEADERS: u32 = 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 12;
/// VFPSRTYPE.RQPL.
pub const VFPSRTYPE_RQPL_SHIFT: u32 = 29;

/// Interrupt causes, a bit a vector.
pub const VTEICR: Reg<Eicr, Rw> = Reg::new(0x0_0100, "VTEICR", "8.3");
/// Causes to raise by hand.
pub const VTEICS: RegArray<u32, Wo> = RegArray::new(0x0_0104, 4, 1, "VTEICS", "8.3");
/// Vectors let through.
pub const VTEIMS: RegArray<u32, Rw> = RegArray::new(0x0_0108, 4, 1, "VTEIMS", "8.3");
/// Vectors masked.
pub const VTEIMC: RegArray<u32, Wo> = RegArray::new(0x0_010c, 4, 1, "VTEIMC", "8.3");
/// Causes that clear themselves when their message is sent.
pub const VTEIAC: Reg<u32, Rw> = Reg::new(0x0_0110, "VTEIAC", "8.3");
/// Vectors that mask themselves when their message is sent.
pub const VTEIAM: Reg<u32, Rw> = Reg::new(0x0_0114, "VTEIAM", "8.3");
/// Intervals of vectors.
pub const VTEITR: RegArray<u32, Rw> = RegArray::new(0x0_0820, 4, VF_VECTORS, "VTEITR", "8.3");
/// There are none from vector 24 on.
pub(crate) const NO_EITR: RegArray<u32, Rw> = RegArray::new(0x0_0880, 4, 0, "VTEITR", "8.3");
/// Which vector a queue's causes go to; two queues a register.
pub const VTIVAR: RegArray<u32, Rw> = RegArray::new(0x0_0120, 4, 4, "VTIVAR", "8.3");
/// Which vector the mailbox's causes go to, in bits 7:0.
pub const VTIVAR_MISC: Reg<u32, Rw> = Reg::new(0x0_0140, "VTIVAR_MISC", "8.3");

/// Ring address, low.
pub const VFRDBAL: RegArray<u32, Rw> = RegArray::new(0x0_1000, 0x40, VF_QUEUES, "VFRDBAL", "8.3");
/// Ring address, high.
pub const VFRDBAH: RegArray<u32, Rw> = RegArray::new(0x0_1004, 0x40, VF_QUEUES, "VFRDBAH", "8.3");
/// Ring length in bytes.
pub const VFRDLEN: RegArray<u32, Rw> = RegArray::new(0x0_1008, 0x40, VF_QUEUES, "VFRDLEN", "8.3");
/// Direct cache access and ordering of a receive queue.
pub const VFDCA_RXCTRL: RegArray<DcaRxctrl, Rw> = RegArray::new(0x0_100c, 0x40, VF_QUEUES, "VFDCA_RXCTRL", "8.3");
/// The next descriptor that the card uses.
pub const VFRDH: RegArray<u32, Rw> = RegArray::new(0x0_1010, 0x40, VF_QUEUES, "VFRDH", "8.3");
/// Buffer size and descriptor type of a queue.
pub const VFSRRCTL: RegArray<Srrctl, Rw> = RegArray::new(0x0_1014, 0x40, VF_QUEUES, "VFSRRCTL", "8.3");
/// One beyond the last descriptor that the card may use.
pub const VFRDT: RegArray<u32, Rw> = RegArray::new(0x0_1018, 0x40, VF_QUEUES, "VFRDT", "8.3");
/// Receive queue control.
pub const VFRXDCTL: RegArray<Rxdctl, Rw> = RegArray::new(0x0_1028, 0x40, VF_QUEUES, "VFRXDCTL", "8.3");
/// Receive coalescing of a queue.
pub const VFRSCCTL: RegArray<Rscctl, Rw> = RegArray::new(0x0_102c, 0x40, VF_QUEUES, "VFRSCCTL", "8.3");
/// Ring address, low.
pub const VFTDBAL: RegArray<u32, Rw> = RegArray::new(0x0_2000, 0x40, VF_QUEUES, "VFTDBAL", "8.3");
/// Ring address, high.
pub const VFTDBAH: RegArray<u32, Rw> = RegArray::new(0x0_2004, 0x40, VF_QUEUES, "VFTDBAH", "8.3");
/// Ring length in bytes.
pub const VFTDLEN: RegArray<u32, Rw> = RegArray::new(0x0_2008, 0x40, VF_QUEUES, "VFTDLEN", "8.3");
/// Direct cache access and ordering of a transmit queue.
pub const VFDCA_TXCTRL: RegArray<DcaTxctrl, Rw> = RegArray::new(0x0_200c, 0x40, VF_QUEUES, "VFDCA_TXCTRL", "8.3");
/// The next descriptor that the card sends.
pub const VFTDH: RegArray<u32, Rw> = RegArray::new(0x0_2010, 0x40, VF_QUEUES, "VFTDH", "8.3");
/// One beyond the last descriptor to send.
pub const VFTDT: RegArray<u32, Rw> = RegArray::new(0x0_2018, 0x40, VF_QUEUES, "VFTDT", "8.3");
/// Transmit queue control.
pub const VFTXDCTL: RegArray<Txdctl, Rw> = RegArray::new(0x0_2028, 0x40, VF_QUEUES, "VFTXDCTL", "8.3");

/// X550: how the function's own frames are spread.
pub const VFMRQC: Reg<super::Mrqc, Rw> = Reg::new(0x0_3000, "VFMRQC", "8.3 (X550)");
/// X550: its own key.
pub const VFRSSRK: RegArray<u32, Rw> = RegArray::new(0x0_3100, 4, 10, "VFRSSRK", "8.3 (X550)");
/// X550: its own table, of 64 entries.
pub const VFRETA: RegArray<u32, Rw> = RegArray::new(0x0_3200, 4, 16, "VFRETA", "8.3 (X550)");

/// Good frames received. No counter is cleared by a read; each begins anew where it is full.
pub const VFGPRC: Reg<u32, Ro> = Reg::new(0x0_101c, "VFGPRC", "8.3");
/// Good octets received, with check sequences: the lower 32 of 36 bits.
pub const VFGORC_LSB: Reg<u32, Ro> = Reg::new(0x0_1020, "VFGORC_LSB", "8.3");
/// The upper four bits.
pub const VFGORC_MSB: Reg<u32, Ro> = Reg::new(0x0_1024, "VFGORC_MSB", "8.3");
/// Multicast frames received.
pub const VFMPRC: Reg<u32, Ro> = Reg::new(0x0_1034, "VFMPRC", "8.3");
/// Good frames sent.
pub const VFGPTC: Reg<u32, Ro> = Reg::new(0x0_201c, "VFGPTC", "8.3");
/// Good octets sent, likewise.
pub const VFGOTC_LSB: Reg<u32, Ro> = Reg::new(0x0_2020, "VFGOTC_LSB", "8.3");
/// The upper four bits.
pub const VFGOTC_MSB: Reg<u32, Ro> = Reg::new(0x0_2024, "VFGOTC_MSB", "8.3");

reg_flags! {
    /// Bits of [`VFCTRL`].
    pub struct Vfctrl {
        /// Resets the function: its queues and its interrupts.
        const RST = 1 << 26;
    }
}
reg_flags! {
    /// Bits of [`VFMAILBOX`].
    pub struct Vfmailbox {
        /// Tells the physical function that there is a message for it.
        const REQ = 1 << 0;
        /// Tells it that its message was read.
        const ACK = 1 << 1;
        /// The virtual function owns the memory.
        const VFU = 1 << 2;
        /// The physical function owns the memory.
        const PFU = 1 << 3;
        /// The physical function wrote a message; cleared by a read.
        const PFSTS = 1 << 4;
        /// It read the message for it; cleared by a read.
        const PFACK = 1 << 5;
        /// It is in a reset.
        const RSTI = 1 << 6;
        /// Its reset is over; cleared by a read.
        const RSTD = 1 << 7;
    }
}
