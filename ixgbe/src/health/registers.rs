//! The registers that tell how a card is set and what it does, by name and field.
//!
//! None that a read changes is among them: no cause (EICR), no counter, no semaphore (SWSM; SW_FW_SYNC from the X540 on). Bit 7 of LINKS
//! alone, which nobody here believes, says whether there was a link since the last read.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use driver_core::device::{FieldValue, RegisterValue};
use driver_core::host::RegSpace;

use crate::id::Family;
use crate::stats::Queues;

/// A field's name, its highest and its lowest bit.
type Field = (&'static str, u32, u32);

/// How many there are of a register.
#[derive(Clone, Copy)]
enum Number {
    One,
    /// So many, at distances of so many bytes.
    Array(u32, u32),
    /// One for each receive queue that is used.
    EachRx,
    /// One for each transmit queue that is used.
    EachTx,
}

struct Row {
    name: &'static str,
    offset: u32,
    number: Number,
    section: &'static str,
    fields: &'static [Field],
    /// X540 and X550 have it too.
    is_common: bool,
}

const fn row(name: &'static str, offset: u32, number: Number, section: &'static str, fields: &'static [Field]) -> Row {
    Row { name, offset, number, section, fields, is_common: true }
}

const fn one(name: &'static str, offset: u32, section: &'static str, fields: &'static [Field]) -> Row {
    row(name, offset, Number::One, section, fields)
}

const fn only_82599(name: &'static str, offset: u32, section: &'static str, fields: &'static [Field]) -> Row {
    Row { is_common: false, ..one(name, offset, section, fields) }
}

/// Bytes between the registers of one queue and those of the next.
const QUEUE_BYTES: u32 = 0x40;

const CAUSES: &[Field] = &[
    ("RTXQ", 15, 0),
    ("FLOW_DIRECTOR", 16, 16),
    ("RX_MISS", 17, 17),
    ("PCI_EXCEPTION", 18, 18),
    ("MAILBOX", 19, 19),
    ("LSC", 20, 20),
    ("LINKSEC", 21, 21),
    ("MNG", 22, 22),
    ("ECC", 28, 28),
    ("TCP_TIMER", 30, 30),
    ("OTHER_CAUSE", 31, 31),
];
const IVAR: &[Field] = &[
    ("INT_ALLOC_0", 5, 0),
    ("VALID_0", 7, 7),
    ("INT_ALLOC_1", 13, 8),
    ("VALID_1", 15, 15),
    ("INT_ALLOC_2", 21, 16),
    ("VALID_2", 23, 23),
    ("INT_ALLOC_3", 29, 24),
    ("VALID_3", 31, 31),
];

const LIST: &[Row] = &[
    // General control.
    one("CTRL", 0x0_0000, "8.2.3.1.1", &[("PCIE_MASTER_DISABLE", 2, 2), ("LRST", 3, 3), ("RST", 26, 26)]),
    one(
        "STATUS",
        0x0_0008,
        "8.2.3.1.2",
        &[("LAN_ID", 3, 2), ("LINK_UP", 7, 7), ("NUM_VFS", 17, 10), ("IOV_MODE", 18, 18), ("PCIE_MASTER_ENABLE_STATUS", 19, 19)],
    ),
    one(
        "CTRL_EXT",
        0x0_0018,
        "8.2.3.1.3",
        &[("PFRSTD", 14, 14), ("NS_DIS", 16, 16), ("RO_DIS", 17, 17), ("EXTENDED_VLAN", 26, 26), ("DRV_LOAD", 28, 28)],
    ),
    one("ESDP", 0x0_0020, "8.2.3.1.4", &[("SDP_DATA", 7, 0), ("SDP_IODIR", 15, 8)]),
    // EEPROM, firmware, bus.
    one("EEC", 0x1_0010, "8.2.3.2.1", &[("EE_REQ", 6, 6), ("EE_GNT", 7, 7), ("EE_PRES", 8, 8), ("AUTO_RD", 9, 9), ("EE_SIZE", 14, 11)]),
    one("FWSM", 0x1_0148, "8.2.3.4.10", &[("FW_MODE", 3, 1), ("FW_VAL_BIT", 15, 15), ("EXT_ERR_IND", 24, 19)]),
    one("GCR_EXT", 0x1_1050, "8.2.3.4.12", &[("VT_MODE", 1, 0), ("BUFFERS_CLEAR_FUNC", 30, 30)]),
    // Interrupts.
    one("EIMS", 0x0_0880, "8.2.3.5.3", CAUSES),
    row("EIMS_EX", 0x0_0aa0, Number::Array(2, 4), "8.2.3.5.8", &[]),
    one("EIAC", 0x0_0810, "8.2.3.5.5", CAUSES),
    row("EITR", 0x0_0820, Number::Array(24, 4), "8.2.3.5.12", &[("ITR_INTERVAL", 11, 3), ("CNT_WDIS", 31, 31)]),
    row("IVAR", 0x0_0900, Number::Array(64, 4), "8.2.3.5.16", IVAR),
    one("IVAR_MISC", 0x0_0a00, "8.2.3.5.17", &IVAR_MISC),
    one(
        "GPIE",
        0x0_0898,
        "8.2.3.5.18",
        &[
            ("MULTIPLE_MSIX", 4, 4),
            ("OCD", 5, 5),
            ("EIMEN", 6, 6),
            ("RSC_DELAY", 13, 11),
            ("VT_MODE", 15, 14),
            ("EIAME", 30, 30),
            ("PBA_SUPPORT", 31, 31),
        ],
    ),
    // Flow control.
    row("FCTTV", 0x0_3200, Number::Array(4, 4), "8.2.3.3.2", &[("TTV_EVEN", 15, 0), ("TTV_ODD", 31, 16)]),
    row("FCRTL", 0x0_3220, Number::Array(8, 4), "8.2.3.3.3", &[("RTL", 18, 5), ("XONE", 31, 31)]),
    row("FCRTH", 0x0_3260, Number::Array(8, 4), "8.2.3.3.4", &[("RTH", 18, 5), ("FCEN", 31, 31)]),
    one("FCCFG", 0x0_3d00, "8.2.3.3.7", &[("TFCE", 4, 3)]),
    // Receive filters.
    one("FCTRL", 0x0_5080, "8.2.3.7.1", &[("SBP", 1, 1), ("MPE", 8, 8), ("UPE", 9, 9), ("BAM", 10, 10)]),
    one("EXVET", 0x0_5078, "8.2.3.1.7", &[("VET_EXT", 31, 16)]),
    one("VLNCTRL", 0x0_5088, "8.2.3.7.2", &[("VET", 15, 0), ("CFI", 28, 28), ("CFIEN", 29, 29), ("VFE", 30, 30)]),
    one("MCSTCTRL", 0x0_5090, "8.2.3.7.3", &[("MO", 1, 0), ("MFE", 2, 2)]),
    one("RXCSUM", 0x0_5000, "8.2.3.7.5", &[("IPPCSE", 12, 12), ("PCSD", 13, 13)]),
    one("RFCTL", 0x0_5008, "8.2.3.7.6", &[("RSC_DIS", 5, 5), ("NFSW_DIS", 6, 6), ("NFSR_DIS", 7, 7)]),
    row("RAL", 0x0_a200, Number::Array(16, 8), "8.2.3.7.8", &[]),
    row("RAH", 0x0_a204, Number::Array(16, 8), "8.2.3.7.9", &[("RAH", 15, 0), ("AV", 31, 31)]),
    one("MRQC", 0x0_5818, "8.2.3.7.12", MRQC),
    row("RETA", 0x0_5c00, Number::Array(32, 4), "8.2.3.7.15", &[("ENTRY_0", 3, 0), ("ENTRY_1", 11, 8), ("ENTRY_2", 19, 16), ("ENTRY_3", 27, 24)]),
    one(
        "FDIRCTRL",
        0x0_ee00,
        "8.2.3.21.1",
        &[("PBALLOC", 1, 0), ("INIT_DONE", 3, 3), ("PERFECT_MATCH", 4, 4), ("REPORT_STATUS", 5, 5), ("DROP_QUEUE", 14, 8)],
    ),
    // Receive.
    one("RXCTRL", 0x0_3000, "8.2.3.8.10", &[("RXEN", 0, 0)]),
    one(
        "RDRXCTL",
        0x0_2f00,
        "8.2.3.8.8",
        &[("CRCSTRIP", 1, 1), ("DMAIDONE", 3, 3), ("RSCFRSTSIZE", 21, 17), ("RSCACKC", 25, 25), ("FCOE_WRFIX", 26, 26)],
    ),
    row("RXPBSIZE", 0x0_3c00, Number::Array(8, 4), "8.2.3.8.9", &[("SIZE", 19, 10)]),
    one("SECRXCTRL", 0x0_8d00, "8.2.3.12.5", &[("SECRX_DIS", 0, 0), ("RX_DIS", 1, 1)]),
    one("SECRXSTAT", 0x0_8d04, "8.2.3.12.6", &[("SECRX_RDY", 0, 0), ("SECRX_OFF", 1, 1)]),
    row("RDBAL", 0x0_1000, Number::EachRx, "8.2.3.8.1", &[]),
    row("RDBAH", 0x0_1004, Number::EachRx, "8.2.3.8.2", &[]),
    row("RDLEN", 0x0_1008, Number::EachRx, "8.2.3.8.3", &[]),
    row("RDH", 0x0_1010, Number::EachRx, "8.2.3.8.4", &[]),
    row("RDT", 0x0_1018, Number::EachRx, "8.2.3.8.5", &[]),
    row("RXDCTL", 0x0_1028, Number::EachRx, "8.2.3.8.6", &[("ENABLE", 25, 25), ("VME", 30, 30)]),
    row(
        "SRRCTL",
        0x0_1014,
        Number::EachRx,
        "8.2.3.8.7",
        &[("BSIZEPACKET", 4, 0), ("BSIZEHEADER", 13, 8), ("RDMTS", 24, 22), ("DESCTYPE", 27, 25), ("DROP_EN", 28, 28)],
    ),
    row("DCA_RXCTRL", 0x0_100c, Number::EachRx, "8.2.3.11.1", &[]),
    // Transmit.
    one("DMATXCTL", 0x0_4a80, "8.2.3.9.2", &[("TE", 0, 0), ("GDV", 3, 3), ("VT", 31, 16)]),
    one("DTXMXSZRQ", 0x0_8100, "8.2.3.9.1", &[("MAX_BYTES_NUM_REQ", 11, 0)]),
    row("TXPBSIZE", 0x0_cc00, Number::Array(8, 4), "8.2.3.9.13", &[("SIZE", 19, 10)]),
    row("TXPBTHRESH", 0x0_4950, Number::Array(8, 4), "8.2.3.9.16", &[("THRESH", 9, 0)]),
    one("MTQC", 0x0_8120, "8.2.3.9.15", &[("RT_ENA", 0, 0), ("VT_ENA", 1, 1), ("NUM_TC_OR_Q", 3, 2)]),
    one("RTTDCS", 0x0_4900, "8.2.3.10.2", &[("TDPAC", 0, 0), ("VMPAC", 1, 1), ("TDRM", 4, 4), ("ARBDIS", 6, 6)]),
    one("SECTXCTRL", 0x0_8800, "8.2.3.12.1", &[("SECTX_DIS", 0, 0), ("TX_DIS", 1, 1), ("STORE_FORWARD", 2, 2)]),
    one("SECTXSTAT", 0x0_8804, "8.2.3.12.2", &[("SECTX_RDY", 0, 0), ("SECTX_OFF", 1, 1)]),
    row("TDBAL", 0x0_6000, Number::EachTx, "8.2.3.9.5", &[]),
    row("TDBAH", 0x0_6004, Number::EachTx, "8.2.3.9.6", &[]),
    row("TDLEN", 0x0_6008, Number::EachTx, "8.2.3.9.7", &[]),
    row("TDH", 0x0_6010, Number::EachTx, "8.2.3.9.8", &[]),
    row("TDT", 0x0_6018, Number::EachTx, "8.2.3.9.9", &[]),
    row(
        "TXDCTL",
        0x0_6028,
        Number::EachTx,
        "8.2.3.9.10",
        &[("PTHRESH", 6, 0), ("HTHRESH", 14, 8), ("WTHRESH", 22, 16), ("ENABLE", 25, 25), ("SWFLSH", 26, 26)],
    ),
    row("DCA_TXCTRL", 0x0_600c, Number::EachTx, "8.2.3.11.2", &[]),
    // Virtualization.
    one("PFVTCTL", 0x0_51b0, "8.2.3.27.1", &[("VT_ENA", 0, 0), ("DEF_PL", 12, 7), ("DIS_DEF_POOL", 29, 29), ("RPL_EN", 30, 30)]),
    // MAC and link.
    one("HLREG0", 0x0_4240, "8.2.3.22.8", HLREG0),
    one("MAXFRS", 0x0_4268, "8.2.3.22.13", &[("MFS", 31, 16)]),
    one("MFLCN", 0x0_4294, "8.2.3.22.34", &[("PMCF", 0, 0), ("DPF", 1, 1), ("RPFCE", 2, 2), ("RFCE", 3, 3)]),
    only_82599(
        "AUTOC",
        0x0_42a0,
        "8.2.3.22.19",
        &[("FLU", 0, 0), ("10G_PMA_PMD_PARALLEL", 8, 7), ("1G_PMA_PMD", 9, 9), ("RESTART_AN", 12, 12), ("LMS", 15, 13)],
    ),
    only_82599("AUTOC2", 0x0_42a8, "8.2.3.22.22", &[("10G_PMA_PMD_SERIAL", 17, 16), ("LINK_DISABLE", 30, 28)]),
    one("LINKS", 0x0_42a4, "8.2.3.22.20", &[("LINK_SPEED", 29, 28), ("LINK_UP", 30, 30)]),
];

const IVAR_MISC: [Field; 4] = [IVAR[0], IVAR[1], IVAR[2], IVAR[3]];
const MRQC: &[Field] = &[
    ("MRQE", 3, 0),
    ("RSS_TCP_IPV4", 16, 16),
    ("RSS_IPV4", 17, 17),
    ("RSS_IPV6", 20, 20),
    ("RSS_TCP_IPV6", 21, 21),
    ("RSS_UDP_IPV4", 22, 22),
    ("RSS_UDP_IPV6", 23, 23),
];
const HLREG0: &[Field] = &[
    ("TXCRCEN", 0, 0),
    ("RXCRCSTRP", 1, 1),
    ("JUMBOEN", 2, 2),
    ("TXPADEN", 10, 10),
    ("LPBK", 15, 15),
    ("MDCSPD", 16, 16),
    ("CONTMDC", 17, 17),
    ("RXLNGTHERREN", 27, 27),
    ("RXPADSTRIPEN", 28, 28),
];

/// Reads all of them that a card of this family has, those of queues as far as they are used.
pub(crate) fn read(bar: &impl RegSpace, family: Family, queues: Queues) -> Vec<RegisterValue> {
    let mut all = Vec::new();
    for row in LIST.iter().filter(|row| row.is_common || family == Family::I82599) {
        let (count, stride) = match row.number {
            Number::One => (1, 0),
            Number::Array(count, stride) => (count, stride),
            Number::EachRx => (queues.rx.into(), QUEUE_BYTES),
            Number::EachTx => (queues.tx.into(), QUEUE_BYTES),
        };
        for at in 0..count {
            let at = if matches!(row.number, Number::EachRx) { queues.layout.queue(at as u16).into() } else { at };
            let offset = row.offset + at * stride;
            let name = if matches!(row.number, Number::One) { Cow::Borrowed(row.name) } else { format!("{}[{at}]", row.name).into() };
            let value = bar.read32(offset);
            all.push(RegisterValue::new(name, offset, row.section, value, fields(row.fields, value)));
        }
    }
    all
}

/// The parts of `value`.
fn fields(named: &[Field], value: u32) -> Vec<FieldValue> {
    named.iter().map(|&(name, highest, lowest)| FieldValue::new(name, value << (31 - highest) >> (31 - highest + lowest))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_field_is_its_bits() {
        let all = [("A", 0, 0), ("B", 4, 1), ("C", 31, 5), ("D", 31, 0)];
        let values: Vec<_> = fields(&all, 0xdead_beef).iter().map(|field| field.value).collect();
        assert_eq!(values, [1, 0x7, 0xdead_beef >> 5, 0xdead_beef]);
    }

    #[test]
    fn names_offsets_and_bits_are_listed_once() {
        for (at, row) in LIST.iter().enumerate() {
            assert!(LIST[at + 1..].iter().all(|other| other.name != row.name && other.offset != row.offset), "{}", row.name);
            let mut bits = BTreeSet::new();
            for &(name, highest, lowest) in row.fields {
                assert!(lowest <= highest && highest < 32, "{}.{name}", row.name);
                assert!((lowest..=highest).all(|bit| bits.insert(bit)), "{}.{name}: of another field", row.name);
            }
        }
    }

    /// A read clears or takes these (8.2.3.5.1, 8.2.3.4.9, 10.5.4, 8.2.3.23).
    #[test]
    fn none_is_changed_by_a_read() {
        let bar = driver_core::testing::PlainBar::new(crate::regs::BAR_BYTES);
        let read = read(&bar, Family::I82599, Queues { rx: 16, tx: 16, has_drops: false, layout: crate::layout::Layout::PLAIN });
        let is_counter = |offset: u32| {
            matches!(offset, 0x3f00..0x4238 | 0xcf00..0xd000 | 0x2f50..0x2fa0 | 0x8680..0x87c0 | 0xee50..0xee60)
                || (0x1030..0x1040).contains(&(offset & !0xfc0))
        };
        for register in read {
            assert!(!matches!(register.offset, 0x800 | 0x1_0140 | 0x1_0160) && !is_counter(register.offset), "{}", register.name);
        }
    }
}
