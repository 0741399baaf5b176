//! Statistics (8.2.3.23). Reading a counter clears it; one that is full stays so until it is read.
//!
//! Octets are counted in 36 bits, in pairs of registers: the low half first, whose read holds the high half for the next, which clears both.

use driver_core::reg::{ReadToClear, Reg, RegArray, Rw};

const STATISTICS: &str = "8.2.3.23";
const FLOW_DIRECTOR: &str = "8.2.3.21";
/// Of the X540's datasheet, and the X550's.
const FROM_X540: &str = "8.2.3.23 (X540)";

/// Queues that have counters of their own.
pub const COUNTED_QUEUES: u32 = 16;
/// Packet buffers, and priorities of flow control.
pub const PRIORITIES: u32 = 8;

/// A register that counts.
type Counter = Reg<u32, ReadToClear>;
/// Some of a kind.
type Counters = RegArray<u32, ReadToClear>;

/// Frames with a bad check sequence.
pub const CRCERRS: Counter = Reg::new(0x0_4000, "CRCERRS", STATISTICS);
/// Frames with an illegal byte.
pub const ILLERRC: Counter = Reg::new(0x0_4004, "ILLERRC", STATISTICS);
/// Frames with an error byte.
pub const ERRBC: Counter = Reg::new(0x0_4008, "ERRBC", STATISTICS);
/// Frames too short for the MAC to look at.
pub const MSPDC: Counter = Reg::new(0x0_4010, "MSPDC", STATISTICS);
/// Frames missed for want of room in a packet buffer.
pub const RXMPC: Counters = RegArray::new(0x0_3fa0, 4, PRIORITIES, "RXMPC", STATISTICS);
/// Local faults of the MAC.
pub const MLFC: Counter = Reg::new(0x0_4034, "MLFC", STATISTICS);
/// Remote faults of the MAC.
pub const MRFC: Counter = Reg::new(0x0_4038, "MRFC", STATISTICS);
/// Frames whose length field is wrong.
pub const RLEC: Counter = Reg::new(0x0_4040, "RLEC", STATISTICS);

/// Pause frames sent that end a pause.
pub const LXONTXC: Counter = Reg::new(0x0_3f60, "LXONTXC", STATISTICS);
/// Pause frames sent that begin one.
pub const LXOFFTXC: Counter = Reg::new(0x0_3f68, "LXOFFTXC", STATISTICS);
/// Pause frames received that end a pause.
pub const LXONRXCNT: Counter = Reg::new(0x0_41a4, "LXONRXCNT", STATISTICS);
/// Pause frames received that begin one.
pub const LXOFFRXCNT: Counter = Reg::new(0x0_41a8, "LXOFFRXCNT", STATISTICS);
/// As [`LXONTXC`], of one priority.
pub const PXONTXC: Counters = RegArray::new(0x0_3f00, 4, PRIORITIES, "PXONTXC", STATISTICS);
/// As [`LXOFFTXC`], of one priority.
pub const PXOFFTXC: Counters = RegArray::new(0x0_3f20, 4, PRIORITIES, "PXOFFTXC", STATISTICS);
/// As [`LXONRXCNT`], of one priority.
pub const PXONRXCNT: Counters = RegArray::new(0x0_4140, 4, PRIORITIES, "PXONRXCNT", STATISTICS);
/// As [`LXOFFRXCNT`], of one priority.
pub const PXOFFRXCNT: Counters = RegArray::new(0x0_4160, 4, PRIORITIES, "PXOFFRXCNT", STATISTICS);
/// How often a priority went from XON to XOFF.
pub const PXON2OFFCNT: Counters = RegArray::new(0x0_3240, 4, PRIORITIES, "PXON2OFFCNT", STATISTICS);

/// Good frames received of 64 bytes, check sequence included as in those that follow.
pub const PRC64: Counter = Reg::new(0x0_405c, "PRC64", STATISTICS);
/// Of 65 to 127 bytes.
pub const PRC127: Counter = Reg::new(0x0_4060, "PRC127", STATISTICS);
/// Of 128 to 255 bytes.
pub const PRC255: Counter = Reg::new(0x0_4064, "PRC255", STATISTICS);
/// Of 256 to 511 bytes.
pub const PRC511: Counter = Reg::new(0x0_4068, "PRC511", STATISTICS);
/// Of 512 to 1023 bytes.
pub const PRC1023: Counter = Reg::new(0x0_406c, "PRC1023", STATISTICS);
/// Of 1024 bytes and more.
pub const PRC1522: Counter = Reg::new(0x0_4070, "PRC1522", STATISTICS);
/// Good frames received, missed ones included (GPRC-MISSED).
pub const GPRC: Counter = Reg::new(0x0_4074, "GPRC", STATISTICS);
/// Good broadcast frames received.
pub const BPRC: Counter = Reg::new(0x0_4078, "BPRC", STATISTICS);
/// Good multicast frames received.
pub const MPRC: Counter = Reg::new(0x0_407c, "MPRC", STATISTICS);
/// Good frames sent.
pub const GPTC: Counter = Reg::new(0x0_4080, "GPTC", STATISTICS);
/// Octets of good frames received, low.
pub const GORCL: Counter = Reg::new(0x0_4088, "GORCL", STATISTICS);
/// Octets of good frames received, high.
pub const GORCH: Counter = Reg::new(0x0_408c, "GORCH", STATISTICS);
/// Octets of good frames sent, low.
pub const GOTCL: Counter = Reg::new(0x0_4090, "GOTCL", STATISTICS);
/// Octets of good frames sent, high.
pub const GOTCH: Counter = Reg::new(0x0_4094, "GOTCH", STATISTICS);
/// Frames shorter than 64 bytes, otherwise good.
pub const RUC: Counter = Reg::new(0x0_40a4, "RUC", STATISTICS);
/// Frames shorter than 64 bytes with a bad check sequence.
pub const RFC: Counter = Reg::new(0x0_40a8, "RFC", STATISTICS);
/// Frames longer than allowed, otherwise good.
pub const ROC: Counter = Reg::new(0x0_40ac, "ROC", STATISTICS);
/// Frames longer than allowed with a bad check sequence.
pub const RJC: Counter = Reg::new(0x0_40b0, "RJC", STATISTICS);
/// Frames received for the firmware.
pub const MNGPRC: Counter = Reg::new(0x0_40b4, "MNGPRC", STATISTICS);
/// Frames for the firmware that it had no room for.
pub const MNGPDC: Counter = Reg::new(0x0_40b8, "MNGPDC", STATISTICS);
/// Frames that the firmware sent.
pub const MNGPTC: Counter = Reg::new(0x0_cf90, "MNGPTC", STATISTICS);
/// Octets of all frames received, low.
pub const TORL: Counter = Reg::new(0x0_40c0, "TORL", STATISTICS);
/// Octets of all frames received, high.
pub const TORH: Counter = Reg::new(0x0_40c4, "TORH", STATISTICS);
/// All frames received.
pub const TPR: Counter = Reg::new(0x0_40d0, "TPR", "8.2.3.23.59");
/// All frames sent.
pub const TPT: Counter = Reg::new(0x0_40d4, "TPT", STATISTICS);
/// Frames sent of 64 bytes.
pub const PTC64: Counter = Reg::new(0x0_40d8, "PTC64", STATISTICS);
/// Of 65 to 127 bytes.
pub const PTC127: Counter = Reg::new(0x0_40dc, "PTC127", STATISTICS);
/// Of 128 to 255 bytes.
pub const PTC255: Counter = Reg::new(0x0_40e0, "PTC255", STATISTICS);
/// Of 256 to 511 bytes.
pub const PTC511: Counter = Reg::new(0x0_40e4, "PTC511", STATISTICS);
/// Of 512 to 1023 bytes.
pub const PTC1023: Counter = Reg::new(0x0_40e8, "PTC1023", STATISTICS);
/// Of 1024 bytes and more.
pub const PTC1522: Counter = Reg::new(0x0_40ec, "PTC1522", STATISTICS);
/// Multicast frames sent.
pub const MPTC: Counter = Reg::new(0x0_40f0, "MPTC", STATISTICS);
/// Broadcast frames sent.
pub const BPTC: Counter = Reg::new(0x0_40f4, "BPTC", STATISTICS);
/// Frames with a bad IPv4, TCP, UDP or SCTP checksum.
pub const XEC: Counter = Reg::new(0x0_4120, "XEC", STATISTICS);
/// Good frames received, whether the filters let them through or not.
pub const RXNFGPC: Counter = Reg::new(0x0_41b0, "RXNFGPC", STATISTICS);
/// Their octets, low.
pub const RXNFGBCL: Counter = Reg::new(0x0_41b4, "RXNFGBCL", STATISTICS);
/// Their octets, high.
pub const RXNFGBCH: Counter = Reg::new(0x0_41b8, "RXNFGBCH", STATISTICS);

/// Frames that were put into memory.
pub const RXDGPC: Counter = Reg::new(0x0_2f50, "RXDGPC", STATISTICS);
/// Their octets, low.
pub const RXDGBCL: Counter = Reg::new(0x0_2f54, "RXDGBCL", STATISTICS);
/// Their octets, high.
pub const RXDGBCH: Counter = Reg::new(0x0_2f58, "RXDGBCH", STATISTICS);
/// Copies of frames for several pools.
pub const RXDDPC: Counter = Reg::new(0x0_2f5c, "RXDDPC", STATISTICS);
/// Their octets, low.
pub const RXDDBCL: Counter = Reg::new(0x0_2f60, "RXDDBCL", STATISTICS);
/// Their octets, high.
pub const RXDDBCH: Counter = Reg::new(0x0_2f64, "RXDDBCH", STATISTICS);
/// Frames from one pool to another.
pub const RXLPBKPC: Counter = Reg::new(0x0_2f68, "RXLPBKPC", STATISTICS);
/// Their octets, low.
pub const RXLPBKBCL: Counter = Reg::new(0x0_2f6c, "RXLPBKBCL", STATISTICS);
/// Their octets, high.
pub const RXLPBKBCH: Counter = Reg::new(0x0_2f70, "RXLPBKBCH", STATISTICS);
/// Copies of frames from one pool to several others.
pub const RXDLPBKPC: Counter = Reg::new(0x0_2f74, "RXDLPBKPC", STATISTICS);
/// Their octets, low.
pub const RXDLPBKBCL: Counter = Reg::new(0x0_2f78, "RXDLPBKBCL", STATISTICS);
/// Their octets, high.
pub const RXDLPBKBCH: Counter = Reg::new(0x0_2f7c, "RXDLPBKBCH", STATISTICS);
/// Frames fetched from memory.
pub const TXDGPC: Counter = Reg::new(0x0_87a0, "TXDGPC", STATISTICS);
/// Their octets, low.
pub const TXDGBCL: Counter = Reg::new(0x0_87a4, "TXDGBCL", STATISTICS);
/// Their octets, high.
pub const TXDGBCH: Counter = Reg::new(0x0_87a8, "TXDGBCH", STATISTICS);
/// Frames not sent since their pool may not send what it tried to.
pub const SSVPC: Counter = Reg::new(0x0_8780, "SSVPC", STATISTICS);

/// Filters of flow director: added in bits 15:0, removed in bits 31:16.
pub const FDIRUSTAT: Counter = Reg::new(0x0_ee50, "FDIRUSTAT", FLOW_DIRECTOR);
/// Filters that could not be added, and not be removed, likewise.
pub const FDIRFSTAT: Counter = Reg::new(0x0_ee54, "FDIRFSTAT", FLOW_DIRECTOR);
/// Frames that met a filter of flow director.
pub const FDIRMATCH: Counter = Reg::new(0x0_ee58, "FDIRMATCH", FLOW_DIRECTOR);
/// Frames that met none.
pub const FDIRMISS: Counter = Reg::new(0x0_ee5c, "FDIRMISS", FLOW_DIRECTOR);

/// FCoE frames whose own check sequence is bad; 16 bits.
pub const FCCRC: Counter = Reg::new(0x0_5118, "FCCRC", STATISTICS);
/// FCoE frames dropped.
pub const FCOERPDC: Counter = Reg::new(0x0_241c, "FCOERPDC", STATISTICS);
/// FCoE exchanges whose last frame had no room; 16 bits.
pub const FCLAST: Counter = Reg::new(0x0_2424, "FCLAST", STATISTICS);
/// FCoE frames received.
pub const FCOEPRC: Counter = Reg::new(0x0_2428, "FCOEPRC", STATISTICS);
/// Their length in units of four bytes.
pub const FCOEDWRC: Counter = Reg::new(0x0_242c, "FCOEDWRC", STATISTICS);
/// FCoE frames sent.
pub const FCOEPTC: Counter = Reg::new(0x0_8784, "FCOEPTC", STATISTICS);
/// Their length in units of four bytes.
pub const FCOEDWTC: Counter = Reg::new(0x0_8788, "FCOEDWTC", STATISTICS);

/// Frames of the host that the management controller (BMC) received.
pub const O2BGPTC: Counter = Reg::new(0x0_41c4, "O2BGPTC", FROM_X540);
/// Frames that the BMC sent to the host.
pub const B2OSPC: Counter = Reg::new(0x0_41c0, "B2OSPC", FROM_X540);
/// Frames that the host sent to the BMC.
pub const O2BSPC: Counter = Reg::new(0x0_87b0, "O2BSPC", FROM_X540);
/// Frames of the BMC that the host received.
pub const B2OGPRC: Counter = Reg::new(0x0_2f90, "B2OGPRC", FROM_X540);
/// Unicast frames that the BMC received from the wire.
pub const BUPRC: Counter = Reg::new(0x0_4180, "BUPRC", FROM_X540);
/// Multicast frames likewise.
pub const BMPRC: Counter = Reg::new(0x0_4184, "BMPRC", FROM_X540);
/// Broadcast frames likewise.
pub const BBPRC: Counter = Reg::new(0x0_4188, "BBPRC", FROM_X540);
/// Unicast frames that the BMC sent to the wire.
pub const BUPTC: Counter = Reg::new(0x0_418c, "BUPTC", FROM_X540);
/// Multicast frames likewise.
pub const BMPTC: Counter = Reg::new(0x0_4190, "BMPTC", FROM_X540);
/// Broadcast frames likewise.
pub const BBPTC: Counter = Reg::new(0x0_4194, "BBPTC", FROM_X540);
/// Frames for the BMC with a bad check sequence.
pub const BCRCERRS: Counter = Reg::new(0x0_4198, "BCRCERRS", FROM_X540);
/// Pause frames for the BMC that end a pause.
pub const BXONRXC: Counter = Reg::new(0x0_419c, "BXONRXC", FROM_X540);
/// Pause frames for the BMC that begin one.
pub const BXOFFRXC: Counter = Reg::new(0x0_41e0, "BXOFFRXC", FROM_X540);
/// Pause frames of the BMC that end a pause.
pub const BXONTXC: Counter = Reg::new(0x0_41e4, "BXONTXC", FROM_X540);
/// Pause frames of the BMC that begin one.
pub const BXOFFTXC: Counter = Reg::new(0x0_41e8, "BXOFFTXC", FROM_X540);

/// Which counters a receive queue counts in: four queues a register, a byte each.
pub const RQSMR: RegArray<u32, Rw> = RegArray::new(0x0_2300, 4, 32, "RQSMR", "8.2.3.23.71");
/// The same for transmit queues.
pub const TQSM: RegArray<u32, Rw> = RegArray::new(0x0_8600, 4, 32, "TQSM", "8.2.3.23.73");
/// Frames received by a queue.
pub const QPRC: Counters = RegArray::new(0x0_1030, 0x40, COUNTED_QUEUES, "QPRC", STATISTICS);
/// Octets received by a queue, low.
pub const QBRC_L: Counters = RegArray::new(0x0_1034, 0x40, COUNTED_QUEUES, "QBRC_L", STATISTICS);
/// Octets received by a queue, high.
pub const QBRC_H: Counters = RegArray::new(0x0_1038, 0x40, COUNTED_QUEUES, "QBRC_H", STATISTICS);
/// Frames that a queue dropped for want of descriptors.
pub const QPRDC: Counters = RegArray::new(0x0_1430, 0x40, COUNTED_QUEUES, "QPRDC", "8.2.3.23.75");
/// Frames sent by a queue (QPTC-OFFSET).
pub const QPTC: Counters = RegArray::new(0x0_8680, 4, COUNTED_QUEUES, "QPTC", STATISTICS);
/// Octets sent by a queue, low.
pub const QBTC_L: Counters = RegArray::new(0x0_8700, 8, COUNTED_QUEUES, "QBTC_L", STATISTICS);
/// Octets sent by a queue, high.
pub const QBTC_H: Counters = RegArray::new(0x0_8704, 8, COUNTED_QUEUES, "QBTC_H", STATISTICS);
