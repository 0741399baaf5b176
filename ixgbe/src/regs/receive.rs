//! Receive: filters (8.2.3.7), DMA (8.2.3.8), flow control (8.2.3.3), security (8.2.3.12).

use driver_core::reg::{Reg, RegArray, Ro, Rw};
use driver_core::reg_flags;

/// Queues of each direction that the registers below reach: the first bank of 64.
pub const QUEUES: u32 = 64;

/// Filter control.
pub const FCTRL: Reg<Fctrl, Rw> = Reg::new(0x0_5080, "FCTRL", "8.2.3.7.1");
/// VLAN control.
pub const VLNCTRL: Reg<Vlnctrl, Rw> = Reg::new(0x0_5088, "VLNCTRL", "8.2.3.7.2");
/// Multicast control.
pub const MCSTCTRL: Reg<Mcstctrl, Rw> = Reg::new(0x0_5090, "MCSTCTRL", "8.2.3.7.3");
/// Receive checksum control.
pub const RXCSUM: Reg<Rxcsum, Rw> = Reg::new(0x0_5000, "RXCSUM", "8.2.3.7.5");
/// Which headers are told apart, by pool.
pub const PSRTYPE: RegArray<Psrtype, Rw> = RegArray::new(0x0_ea00, 4, 64, "PSRTYPE", "8.2.3.7.4");
/// Receive filter control.
pub const RFCTL: Reg<Rfctl, Rw> = Reg::new(0x0_5008, "RFCTL", "8.2.3.7.6");
/// The multicast hash table: 4096 bits.
pub const MTA: RegArray<u32, Rw> = RegArray::new(0x0_5200, 4, 128, "MTA", "8.2.3.7.7");
/// Receive address, bytes 0 to 3.
pub const RAL: RegArray<u32, Rw> = RegArray::new(0x0_a200, 8, 128, "RAL", "8.2.3.7.8");
/// Receive address, bytes 4 and 5, and whether it counts.
pub const RAH: RegArray<Rah, Rw> = RegArray::new(0x0_a204, 8, 128, "RAH", "8.2.3.7.9");
/// Pools that a receive address leads to, two registers an address.
pub const MPSAR: RegArray<u32, Rw> = RegArray::new(0x0_a600, 4, 256, "MPSAR", "8.2.3.7.10");
/// How frames are spread over queues. This and the next two also answer at 0x0EC80, 0x0EB80 and 0x0EB00; RSS-OFFSETS says why not there.
pub const MRQC: Reg<Mrqc, Rw> = Reg::new(0x0_5818, "MRQC", "8.2.3.7.12");
/// The key of the spreading hash, 40 bytes.
pub const RSSRK: RegArray<u32, Rw> = RegArray::new(0x0_5c80, 4, 10, "RSSRK", "8.2.3.7.14");
/// The spreading table: 128 entries of 8 bits.
pub const RETA: RegArray<u32, Rw> = RegArray::new(0x0_5c00, 4, 32, "RETA", "8.2.3.7.15");
/// X550: the rest of the spreading table, entries 128 to 511.
pub const ERETA: RegArray<u32, Rw> = RegArray::new(0x0_ee80, 4, 96, "ERETA", "8.2.3.7.15 (X550)");
/// Five-tuple filters; bit 31: the filter is in use.
pub const FTQF: RegArray<u32, Rw> = RegArray::new(0x0_e600, 4, 128, "FTQF", "8.2.3.7.19");
/// Ethertype filters.
pub const ETQF: RegArray<u32, Rw> = RegArray::new(0x0_5128, 4, 8, "ETQF", "8.2.3.7.21");

/// Ring address, low.
pub const RDBAL: RegArray<u32, Rw> = RegArray::new(0x0_1000, 0x40, QUEUES, "RDBAL", "8.2.3.8.1");
/// Ring address, high.
pub const RDBAH: RegArray<u32, Rw> = RegArray::new(0x0_1004, 0x40, QUEUES, "RDBAH", "8.2.3.8.2");
/// Ring length in bytes.
pub const RDLEN: RegArray<u32, Rw> = RegArray::new(0x0_1008, 0x40, QUEUES, "RDLEN", "8.2.3.8.3");
/// The next descriptor that the card uses.
pub const RDH: RegArray<u32, Rw> = RegArray::new(0x0_1010, 0x40, QUEUES, "RDH", "8.2.3.8.4");
/// One beyond the last descriptor that the card may use.
pub const RDT: RegArray<u32, Rw> = RegArray::new(0x0_1018, 0x40, QUEUES, "RDT", "8.2.3.8.5");
/// Receive queue control.
pub const RXDCTL: RegArray<Rxdctl, Rw> = RegArray::new(0x0_1028, 0x40, QUEUES, "RXDCTL", "8.2.3.8.6");
/// Buffer size and descriptor type of a queue.
pub const SRRCTL: RegArray<Srrctl, Rw> = RegArray::new(0x0_1014, 0x40, QUEUES, "SRRCTL", "8.2.3.8.7");
/// Receive DMA control.
pub const RDRXCTL: Reg<Rdrxctl, Rw> = Reg::new(0x0_2f00, "RDRXCTL", "8.2.3.8.8");
/// Receive packet buffers; the size in KB in bits 19:10.
pub const RXPBSIZE: RegArray<u32, Rw> = RegArray::new(0x0_3c00, 4, 8, "RXPBSIZE", "8.2.3.8.9");
/// Receive control.
pub const RXCTRL: Reg<Rxctrl, Rw> = Reg::new(0x0_3000, "RXCTRL", "8.2.3.8.10");
/// Receive coalescing of a queue.
pub const RSCCTL: RegArray<Rscctl, Rw> = RegArray::new(0x0_102c, 0x40, QUEUES, "RSCCTL", "8.2.3.8.13");
/// Direct cache access and ordering of a receive queue.
pub const DCA_RXCTRL: RegArray<DcaRxctrl, Rw> = RegArray::new(0x0_100c, 0x40, QUEUES, "DCA_RXCTRL", "8.2.3.11.1");
/// Security on the receive path.
pub const SECRXCTRL: Reg<Secrxctrl, Rw> = Reg::new(0x0_8d00, "SECRXCTRL", "8.2.3.12.5");
/// Its state.
pub const SECRXSTAT: Reg<Secrxstat, Ro> = Reg::new(0x0_8d04, "SECRXSTAT", "8.2.3.12.6");

/// Flow control transmit timer.
pub const FCTTV: RegArray<u32, Rw> = RegArray::new(0x0_3200, 4, 4, "FCTTV", "8.2.3.3.2");
/// Flow control receive threshold, low.
pub const FCRTL: RegArray<u32, Rw> = RegArray::new(0x0_3220, 4, 8, "FCRTL", "8.2.3.3.3");
/// Flow control receive threshold, high.
pub const FCRTH: RegArray<u32, Rw> = RegArray::new(0x0_3260, 4, 8, "FCRTH", "8.2.3.3.4");
/// Flow control refresh threshold.
pub const FCRTV: Reg<u32, Rw> = Reg::new(0x0_32a0, "FCRTV", "8.2.3.3.5");
/// Flow control configuration.
pub const FCCFG: Reg<u32, Rw> = Reg::new(0x0_3d00, "FCCFG", "8.2.3.3.7");

reg_flags! {
    /// Bits of [`FCTRL`].
    pub struct Fctrl {
        /// Every multicast frame ("MPE").
        const MPE = 1 << 8;
        /// Every unicast frame ("UPE").
        const UPE = 1 << 9;
        /// Broadcast frames ("BAM").
        const BAM = 1 << 10;
    }
}
reg_flags! {
    /// Bits of [`VLNCTRL`].
    pub struct Vlnctrl {
        /// VLAN filter enable.
        const VFE = 1 << 30;
    }
}
reg_flags! {
    /// Bits of [`MCSTCTRL`].
    pub struct Mcstctrl {
        /// Which 12 bits of the address select the bit of [`MTA`]; 00b: bits 47:36.
        const MO = 3;
        /// The table is in use.
        const MFE = 1 << 2;
    }
}
reg_flags! {
    /// Bits of [`RXCSUM`].
    pub struct Rxcsum {
        /// The write-back has the hash and not the fragment checksum.
        const PCSD = 1 << 13;
    }
}
reg_flags! {
    /// Bits of [`RFCTL`].
    pub struct Rfctl {
        /// No receive coalescing.
        const RSC_DIS = 1 << 5;
    }
}
reg_flags! {
    /// Bits of [`RAH`].
    pub struct Rah {
        /// Bytes 4 and 5 of the address.
        const ADDRESS = 0xffff;
        /// The address counts.
        const AV = 1 << 31;
    }
}
reg_flags! {
    /// Bits of [`MRQC`].
    pub struct Mrqc {
        /// The multiple receive queues mode, four bits; 0: one queue.
        const MRQE = 0xf;
        /// 0001b: spread by hash.
        const MRQE_RSS = 1;
        /// 1000b: 64 pools.
        const MRQE_64_POOLS = 8;
        /// 1010b: 32 pools, spread by hash in each.
        const MRQE_32_POOLS_RSS = 10;
        /// 1011b: 64 pools, spread by hash in each.
        const MRQE_64_POOLS_RSS = 11;
        /// Hash TCP over IPv4.
        const TCP_IPV4 = 1 << 16;
        /// Hash IPv4.
        const IPV4 = 1 << 17;
        /// Hash IPv6.
        const IPV6 = 1 << 20;
        /// Hash TCP over IPv6.
        const TCP_IPV6 = 1 << 21;
        /// Hash UDP over IPv4.
        const UDP_IPV4 = 1 << 22;
        /// Hash UDP over IPv6.
        const UDP_IPV6 = 1 << 23;
    }
}
reg_flags! {
    /// Bits of [`RXDCTL`].
    pub struct Rxdctl {
        /// The queue is on.
        const ENABLE = 1 << 25;
        /// Strip VLAN tags.
        const VME = 1 << 30;
    }
}
reg_flags! {
    /// Bits of [`SRRCTL`].
    pub struct Srrctl {
        /// Buffer size in KB, five bits.
        const BSIZEPACKET = 0x1f;
        /// Descriptor type, three bits.
        const DESCTYPE = 7 << 25;
        /// The size of a header's buffer in units of 64 bytes, six bits.
        const BSIZEHEADER = 0x3f << 8;
        /// 010b: advanced, with the headers in a buffer of their own.
        const DESCTYPE_HEADER_SPLIT = 2 << 25;
        /// 001b: advanced, one buffer.
        const DESCTYPE_ADVANCED_ONE_BUFFER = 1 << 25;
        /// Drop frames for which no descriptor is free.
        const DROP_EN = 1 << 28;
    }
}
reg_flags! {
    /// Bits of [`RDRXCTL`].
    pub struct Rdrxctl {
        /// Strip the check sequence; equals HLREG0.RXCRCSTRP.
        const CRCSTRIP = 1 << 1;
        /// DMA initialisation is done.
        const DMAIDONE = 1 << 3;
        /// To be cleared, as opposed to the hardware's default (4.6.7).
        const RSCFRSTSIZE = 0x1f << 17;
        /// To be set ("RSCACKC").
        const RSCACKC = 1 << 25;
        /// To be set ("FCOE_WRFIX").
        const FCOE_WRFIX = 1 << 26;
    }
}
reg_flags! {
    /// Bits of [`RXCTRL`].
    pub struct Rxctrl {
        /// The receiver is on.
        const RXEN = 1 << 0;
    }
}
reg_flags! {
    /// Bits of [`RSCCTL`].
    pub struct Rscctl {
        /// Coalesce on this queue.
        const RSCEN = 1 << 0;
        /// How many descriptors a large receive may have: 1, 4, 8, 16.
        const MAXDESC = 3 << 2;
    }
}
reg_flags! {
    /// Bits of [`PSRTYPE`]: behind which headers the payload begins, the innermost that is found of those that are set.
    pub struct Psrtype {
        /// TCP.
        const TCPHDR = 1 << 4;
        /// UDP.
        const UDPHDR = 1 << 5;
        /// IPv4.
        const IPV4HDR = 1 << 8;
        /// IPv6.
        const IPV6HDR = 1 << 9;
        /// Ethernet's, with a VLAN tag.
        const L2HDR = 1 << 12;
    }
}
reg_flags! {
    /// Bits of [`DCA_RXCTRL`].
    pub struct DcaRxctrl {
        /// "Reserved. Must be set to 0", against its default.
        const RESERVED_12 = 1 << 12;
        /// Frame data may be written out of order.
        const DATA_WRITE_RO_EN = 1 << 13;
        /// Headers may be written out of order.
        const HEAD_WRITE_RO_EN = 1 << 15;
    }
}
reg_flags! {
    /// Bits of [`SECRXCTRL`].
    pub struct Secrxctrl {
        /// Hold frames back.
        const RX_DIS = 1 << 1;
    }
}
reg_flags! {
    /// Bits of [`SECRXSTAT`].
    pub struct Secrxstat {
        /// The path is empty.
        const SECRX_RDY = 1 << 0;
    }
}
