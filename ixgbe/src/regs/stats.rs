//! Statistics (8.2.3.23). Reading a counter clears it.

use driver_core::reg::{ReadToClear, Reg, RegArray, Rw};

const STATISTICS: &str = "8.2.3.23";

/// Queues that have counters of their own.
pub const COUNTED_QUEUES: u32 = 16;

/// Frames with a bad check sequence.
pub const CRCERRS: Reg<u32, ReadToClear> = Reg::new(0x0_4000, "CRCERRS", STATISTICS);
/// Frames with an illegal byte.
pub const ILLERRC: Reg<u32, ReadToClear> = Reg::new(0x0_4004, "ILLERRC", STATISTICS);
/// Frames with an error byte.
pub const ERRBC: Reg<u32, ReadToClear> = Reg::new(0x0_4008, "ERRBC", STATISTICS);
/// Frames missed for want of room in a packet buffer.
pub const RXMPC: RegArray<u32, ReadToClear> = RegArray::new(0x0_3fa0, 4, 8, "RXMPC", STATISTICS);
/// Local faults of the MAC.
pub const MLFC: Reg<u32, ReadToClear> = Reg::new(0x0_4034, "MLFC", STATISTICS);
/// Remote faults of the MAC.
pub const MRFC: Reg<u32, ReadToClear> = Reg::new(0x0_4038, "MRFC", STATISTICS);
/// Frames whose length field is wrong.
pub const RLEC: Reg<u32, ReadToClear> = Reg::new(0x0_4040, "RLEC", STATISTICS);
/// Good frames received, missed ones included (GPRC-MISSED).
pub const GPRC: Reg<u32, ReadToClear> = Reg::new(0x0_4074, "GPRC", STATISTICS);
/// Good multicast frames received.
pub const MPRC: Reg<u32, ReadToClear> = Reg::new(0x0_407c, "MPRC", STATISTICS);
/// Good frames sent.
pub const GPTC: Reg<u32, ReadToClear> = Reg::new(0x0_4080, "GPTC", STATISTICS);
/// Octets of good frames received, low; bits 35:32 are in the next register, which clears both.
pub const GORCL: Reg<u32, ReadToClear> = Reg::new(0x0_4088, "GORCL", STATISTICS);
/// Octets of good frames received, high.
pub const GORCH: Reg<u32, ReadToClear> = Reg::new(0x0_408c, "GORCH", STATISTICS);
/// Octets of good frames sent, low.
pub const GOTCL: Reg<u32, ReadToClear> = Reg::new(0x0_4090, "GOTCL", STATISTICS);
/// Octets of good frames sent, high.
pub const GOTCH: Reg<u32, ReadToClear> = Reg::new(0x0_4094, "GOTCH", STATISTICS);
/// Frames shorter than 64 bytes, otherwise good.
pub const RUC: Reg<u32, ReadToClear> = Reg::new(0x0_40a4, "RUC", STATISTICS);
/// Frames shorter than 64 bytes with a bad check sequence.
pub const RFC: Reg<u32, ReadToClear> = Reg::new(0x0_40a8, "RFC", STATISTICS);
/// Frames longer than allowed, otherwise good.
pub const ROC: Reg<u32, ReadToClear> = Reg::new(0x0_40ac, "ROC", STATISTICS);
/// Frames longer than allowed with a bad check sequence.
pub const RJC: Reg<u32, ReadToClear> = Reg::new(0x0_40b0, "RJC", STATISTICS);
/// Octets of all frames received, low.
pub const TORL: Reg<u32, ReadToClear> = Reg::new(0x0_40c0, "TORL", STATISTICS);
/// Octets of all frames received, high.
pub const TORH: Reg<u32, ReadToClear> = Reg::new(0x0_40c4, "TORH", STATISTICS);
/// All frames received.
pub const TPR: Reg<u32, ReadToClear> = Reg::new(0x0_40d0, "TPR", "8.2.3.23.59");
/// All frames sent.
pub const TPT: Reg<u32, ReadToClear> = Reg::new(0x0_40d4, "TPT", STATISTICS);

/// Which counters a receive queue counts in: four queues a register, a byte each.
pub const RQSMR: RegArray<u32, Rw> = RegArray::new(0x0_2300, 4, 32, "RQSMR", "8.2.3.23.71");
/// The same for transmit queues.
pub const TQSM: RegArray<u32, Rw> = RegArray::new(0x0_8600, 4, 32, "TQSM", "8.2.3.23.73");
/// Frames received by a queue.
pub const QPRC: RegArray<u32, ReadToClear> = RegArray::new(0x0_1030, 0x40, COUNTED_QUEUES, "QPRC", STATISTICS);
/// Octets received by a queue, low.
pub const QBRC_L: RegArray<u32, ReadToClear> = RegArray::new(0x0_1034, 0x40, COUNTED_QUEUES, "QBRC_L", STATISTICS);
/// Octets received by a queue, high.
pub const QBRC_H: RegArray<u32, ReadToClear> = RegArray::new(0x0_1038, 0x40, COUNTED_QUEUES, "QBRC_H", STATISTICS);
/// Frames that a queue dropped for want of descriptors.
pub const QPRDC: RegArray<u32, ReadToClear> = RegArray::new(0x0_1430, 0x40, COUNTED_QUEUES, "QPRDC", "8.2.3.23.75");
