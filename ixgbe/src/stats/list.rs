//! All statistics registers of these cards, and what they are called for others.
//!
//! A name says direction, what is counted, and the unit, as DPDK's names do: they are the only ones in the field that name each register by itself (Linux's
//! `ethtool -S` has a third of them, mixed with what the driver counts). What DPDK leaves out is named in the same way, the management controller's counters as
//! Linux does. Elsewhere DPDK's name says something else than the register: octets are called so, since they include check sequences, and RLEC is not all
//! errors of length.

use driver_core::reg::{ReadToClear, Reg, RegArray};

use crate::id::Family;
use crate::regs::*;

/// What a row counts in.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// One register.
    One(Reg<u32, ReadToClear>),
    /// A pair, of which the low half is read first.
    Pair(Reg<u32, ReadToClear>, Reg<u32, ReadToClear>),
    /// A register of two counters with 16 bits each; the upper one has a name of its own.
    Halves(Reg<u32, ReadToClear>, &'static str),
    /// Registers of a kind. In the name, `#` stands for the number.
    Each(RegArray<u32, ReadToClear>),
}

/// Which cards have a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chips {
    All,
    /// X540 and X550: there the management controller shares the port with the host.
    FromX540,
    /// 82599 and X540: the X550 has no FCoE.
    UpToX540,
}

impl Chips {
    pub(crate) const fn have(self, family: Family) -> bool {
        match self {
            Self::All => true,
            Self::FromX540 => matches!(family, Family::X540 | Family::X550),
            Self::UpToX540 => matches!(family, Family::I82599 | Family::X540),
        }
    }
}

/// How many registers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// Those that `Stats` is made of, and those of which one counts whatever happens at the port.
    Brief,
    /// All.
    Whole,
}

/// A register, or several of a kind.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) chips: Chips,
    /// The least look that reads it.
    pub(crate) look: Look,
}

impl Row {
    /// How many counters it has.
    pub(crate) const fn counters(&self) -> usize {
        match self.place {
            Place::One(_) | Place::Pair(..) => 1,
            Place::Halves(..) => 2,
            Place::Each(array) => array.count() as usize,
        }
    }

    /// The offset of its first register.
    pub(crate) fn offset(&self) -> u32 {
        match self.place {
            Place::One(register) | Place::Pair(register, _) | Place::Halves(register, _) => register.offset(),
            Place::Each(array) => array.iter().next().map_or(0, Reg::offset),
        }
    }
}

const fn row(name: &'static str, place: Place, look: Look) -> Row {
    Row { name, place, chips: Chips::All, look }
}

/// Read by every look.
const fn brief(name: &'static str, register: Reg<u32, ReadToClear>) -> Row {
    row(name, Place::One(register), Look::Brief)
}

const fn one(name: &'static str, register: Reg<u32, ReadToClear>) -> Row {
    row(name, Place::One(register), Look::Whole)
}

const fn octets(name: &'static str, low: Reg<u32, ReadToClear>, high: Reg<u32, ReadToClear>, look: Look) -> Row {
    row(name, Place::Pair(low, high), look)
}

const fn each(name: &'static str, registers: RegArray<u32, ReadToClear>) -> Row {
    row(name, Place::Each(registers), Look::Whole)
}

const fn fcoe(name: &'static str, register: Reg<u32, ReadToClear>) -> Row {
    Row { chips: Chips::UpToX540, ..one(name, register) }
}

const fn from_x540(name: &'static str, register: Reg<u32, ReadToClear>) -> Row {
    Row { chips: Chips::FromX540, ..one(name, register) }
}

/// All that count for the whole port. [`QPRC`] and its like, which count for a queue, are beside.
pub(crate) const LIST: &[Row] = &[
    // What the MAC received, by kind.
    one("rx_good_packets", GPRC),
    octets("rx_good_octets", GORCL, GORCH, Look::Whole),
    one("rx_broadcast_packets", BPRC),
    brief("rx_multicast_packets", MPRC),
    brief("rx_total_packets", TPR),
    octets("rx_total_octets", TORL, TORH, Look::Brief),
    one("rx_unfiltered_packets", RXNFGPC),
    octets("rx_unfiltered_octets", RXNFGBCL, RXNFGBCH, Look::Whole),
    one("rx_size_64_packets", PRC64),
    one("rx_size_65_to_127_packets", PRC127),
    one("rx_size_128_to_255_packets", PRC255),
    one("rx_size_256_to_511_packets", PRC511),
    one("rx_size_512_to_1023_packets", PRC1023),
    one("rx_size_1024_to_max_packets", PRC1522),
    // What was wrong with it.
    brief("rx_crc_errors", CRCERRS),
    brief("rx_illegal_byte_errors", ILLERRC),
    brief("rx_error_bytes", ERRBC),
    brief("rx_length_field_errors", RLEC),
    brief("rx_undersize_errors", RUC),
    brief("rx_fragment_errors", RFC),
    brief("rx_oversize_errors", ROC),
    brief("rx_jabber_errors", RJC),
    one("rx_mac_short_packet_dropped", MSPDC),
    one("rx_l3_l4_xsum_error", XEC),
    brief("mac_local_errors", MLFC),
    brief("mac_remote_errors", MRFC),
    row("rx_priority#_dropped", Place::Each(RXMPC), Look::Brief),
    // What went into memory.
    one("rx_dma_packets", RXDGPC),
    octets("rx_dma_octets", RXDGBCL, RXDGBCH, Look::Whole),
    one("rx_dma_duplicated_packets", RXDDPC),
    octets("rx_dma_duplicated_octets", RXDDBCL, RXDDBCH, Look::Whole),
    one("rx_dma_loopback_packets", RXLPBKPC),
    octets("rx_dma_loopback_octets", RXLPBKBCL, RXLPBKBCH, Look::Whole),
    one("rx_dma_duplicated_loopback_packets", RXDLPBKPC),
    octets("rx_dma_duplicated_loopback_octets", RXDLPBKBCL, RXDLPBKBCH, Look::Whole),
    // What was sent.
    brief("tx_good_packets", GPTC),
    octets("tx_good_octets", GOTCL, GOTCH, Look::Brief),
    one("tx_multicast_packets", MPTC),
    one("tx_broadcast_packets", BPTC),
    brief("tx_total_packets", TPT),
    one("tx_size_64_packets", PTC64),
    one("tx_size_65_to_127_packets", PTC127),
    one("tx_size_128_to_255_packets", PTC255),
    one("tx_size_256_to_511_packets", PTC511),
    one("tx_size_512_to_1023_packets", PTC1023),
    one("tx_size_1024_to_max_packets", PTC1522),
    one("tx_dma_packets", TXDGPC),
    octets("tx_dma_octets", TXDGBCL, TXDGBCH, Look::Whole),
    one("tx_switch_security_dropped", SSVPC),
    // Flow control.
    brief("rx_xon_packets", LXONRXCNT),
    brief("rx_xoff_packets", LXOFFRXCNT),
    brief("tx_xon_packets", LXONTXC),
    brief("tx_xoff_packets", LXOFFTXC),
    each("rx_priority#_xon_packets", PXONRXCNT),
    each("rx_priority#_xoff_packets", PXOFFRXCNT),
    each("tx_priority#_xon_packets", PXONTXC),
    each("tx_priority#_xoff_packets", PXOFFTXC),
    each("tx_priority#_xon_to_xoff_packets", PXON2OFFCNT),
    // Flow director.
    row("flow_director_added_filters", Place::Halves(FDIRUSTAT, "flow_director_removed_filters"), Look::Whole),
    row("flow_director_filter_add_errors", Place::Halves(FDIRFSTAT, "flow_director_filter_remove_errors"), Look::Whole),
    one("flow_director_matched_filters", FDIRMATCH),
    one("flow_director_missed_filters", FDIRMISS),
    // Fibre Channel over Ethernet; a dword is four bytes.
    fcoe("rx_fcoe_crc_errors", FCCRC),
    fcoe("rx_fcoe_dropped", FCOERPDC),
    fcoe("rx_fcoe_last_errors", FCLAST),
    fcoe("rx_fcoe_packets", FCOEPRC),
    fcoe("rx_fcoe_dwords", FCOEDWRC),
    fcoe("tx_fcoe_packets", FCOEPTC),
    fcoe("tx_fcoe_dwords", FCOEDWTC),
    // The firmware and the management controller.
    one("rx_management_packets", MNGPRC),
    one("rx_management_dropped", MNGPDC),
    one("tx_management_packets", MNGPTC),
    from_x540("os2bmc_rx_by_bmc", O2BGPTC),
    from_x540("os2bmc_tx_by_bmc", B2OSPC),
    from_x540("os2bmc_tx_by_host", O2BSPC),
    from_x540("os2bmc_rx_by_host", B2OGPRC),
    from_x540("bmc_rx_unicast_packets", BUPRC),
    from_x540("bmc_rx_multicast_packets", BMPRC),
    from_x540("bmc_rx_broadcast_packets", BBPRC),
    from_x540("bmc_tx_unicast_packets", BUPTC),
    from_x540("bmc_tx_multicast_packets", BMPTC),
    from_x540("bmc_tx_broadcast_packets", BBPTC),
    from_x540("bmc_rx_crc_errors", BCRCERRS),
    from_x540("bmc_rx_xon_packets", BXONRXC),
    from_x540("bmc_rx_xoff_packets", BXOFFRXC),
    from_x540("bmc_tx_xon_packets", BXONTXC),
    from_x540("bmc_tx_xoff_packets", BXOFFTXC),
];

/// How many counters they are together.
pub(crate) const COUNTERS: usize = {
    let (mut sum, mut at) = (0, 0);
    while at < LIST.len() {
        sum += LIST[at].counters();
        at += 1;
    }
    sum
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn registers(row: &Row) -> std::vec::Vec<Reg<u32, ReadToClear>> {
        match row.place {
            Place::One(register) | Place::Halves(register, _) => std::vec![register],
            Place::Pair(low, high) => std::vec![low, high],
            Place::Each(array) => array.iter().collect(),
        }
    }

    #[test]
    fn no_name_and_no_register_is_listed_twice() {
        let mut names: std::vec::Vec<_> = LIST.iter().map(|row| row.name).collect();
        names.extend(LIST.iter().filter_map(|row| if let Place::Halves(_, upper) = row.place { Some(upper) } else { None }));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let offsets: std::vec::Vec<_> = LIST.iter().flat_map(registers).map(Reg::offset).collect();
        assert_eq!(offsets.iter().collect::<BTreeSet<_>>().len(), offsets.len());
        assert!(LIST.iter().all(|row| row.name.contains('#') == matches!(row.place, Place::Each(_))));
    }

    #[test]
    fn a_pair_is_one_register_and_the_next() {
        for row in LIST {
            if let Place::Pair(low, high) = row.place {
                assert_eq!(high.offset(), low.offset() + 4, "{}", row.name);
            }
        }
    }
}
