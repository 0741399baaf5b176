//! Functions of the card that the model does not have: turning one on is reported, lest a driver be believed to work with it.

use super::card::Ixgbe;
use super::file::name_of;
use super::regs::{ETQF, FCCFG, HLREG0, L34TIMIR, MRQC, MTQC, RTTDCS, RXCSUM, RXCSUM_PCSD, TIMADJH, TSAUXC, TSAUXC_DISABLE_SYSTIME, TSIM, VLNCTRL};
use crate::slot::Slot;

const PRIORITY_FLOW: &str = "priority flow control is not modelled";
const CLASSES: &str = "traffic classes are not modelled";
const POOLS: &str = "pools of this kind are not modelled";
const WAKE_UP: &str = "wake-up is not modelled";
const LOW_LATENCY: &str = "low-latency interrupts are not modelled";
const FCOE: &str = "FCoE is not modelled";
const MACSEC: &str = "MACsec is not modelled";
const IPSEC: &str = "IPsec is not modelled";
const TARGETS: &str = "target times, outputs and inputs of the clock are not modelled";

/// What `value` in the register at `offset` turns on and the model does not have, with the section that describes it.
fn not_modelled(offset: u32, value: u32, is_x550: bool) -> Option<(&'static str, &'static str)> {
    let any = |bits: u32| value & bits != 0;
    match offset {
        // Receive filters and steering.
        ETQF..0x05148 if any(1 << 27) => Some((FCOE, "8.2.3.7.21")),
        ETQF..0x05148 if any(1 << 26) => Some((POOLS, "8.2.3.7.21")),
        ETQF..0x05148 if any(1 << 19) => Some(("EtherType filters by user priority are not modelled", "8.2.3.7.21")),
        L34TIMIR..0x0EA00 if any(1 << 20) => Some((LOW_LATENCY, "8.2.3.5.13")),
        0x0EC00..0x0EC20 if any(1 << 29) => Some((LOW_LATENCY, "8.2.3.7.22")),
        0x0F400..0x0F600 if value != 0 => Some(("the unicast table is not modelled", "8.2.3.27.12")),
        VLNCTRL if any(1 << 29) => Some(("filtering by a VLAN tag's CFI is not modelled", "8.2.3.7.2")),
        0x05AC0 if any(1 << 3) => Some((LOW_LATENCY, "8.2.3.5.15")),
        // A sum of the payload stands where the hash would (7.1.5).
        RXCSUM if any(1 << 12) && !any(RXCSUM_PCSD) => Some(("the fragment checksum is not modelled", "8.2.3.7.5")),
        HLREG0 if any(1 << 28) => Some(("stripping of padding is not modelled", "8.2.3.22.8")),
        // Tags and tunnels.
        0x05084 if any(1 << 31) => Some(("E-tags are not modelled", "(X550)")),
        0x0507C if value != 0 => Some(("tunnels are not modelled", "(X550)")),
        // Queues of traffic classes and of virtual machines.
        FCCFG if any(1 << 4) => Some((PRIORITY_FLOW, "8.2.3.3.7")),
        MRQC if matches!(value & 0xF, 2..=7 | 9 | 12..) => Some((CLASSES, "8.2.3.7.12")),
        MRQC if any(1 << 13) => Some(("a pool's own redirection table and key are not modelled", "8.2.3.7.12 (X550)")),
        MTQC if any(1) => Some((CLASSES, "8.2.3.9.15")),
        0x02430 if any(6) => Some((CLASSES, "8.2.3.10.1")),
        RTTDCS if any(0x13) => Some((CLASSES, "8.2.3.10.2")),
        0x0CD00 if any(1 << 5 | 1 << 8) => Some((CLASSES, "8.2.3.10.3")),
        0x04984 if any(1 << 31) => Some(("limits of a queue's rate are not modelled", "8.2.3.10.16")),
        0x0F000..0x0F100 if any(1 << 26) => Some(("the unicast table is not modelled", "8.2.3.27.14")),
        0x0F600..0x0F610 if any(0xF) => Some(("mirroring is not modelled", "8.2.3.27.17")),
        0x08000..0x08100 if any(3 << 30) => Some(("a VLAN of a pool's own is not modelled", "8.2.3.27.13")),
        // Offloads.
        0x02418 | 0x05108 | 0x0ED00 if any(1) => Some((FCOE, "8.2.3.20")),
        0x08900 | 0x08E00 if any(1) => Some((IPSEC, "8.2.3.14")),
        0x08A04 if any(3) => Some((MACSEC, "8.2.3.13")),
        0x08F04 if any(3 << 2) => Some((MACSEC, "8.2.3.13")),
        // Clocks and counters.
        TSAUXC if any(!TSAUXC_DISABLE_SYSTIME) => Some((TARGETS, "8.2.3.26")),
        TIMADJH if is_x550 => Some(("adjustments by TIMADJ are not modelled", "8.2.3.26 (X550)")),
        TSIM if any(!(1 << 1)) => Some((TARGETS, "8.2.3.26 (X550)")),
        0x0004C if any(3 << 8) => Some(("the TCP timer is not modelled", "8.2.3.5")),
        0x11010 if any(1 << 31) => Some(("counters of PCI Express are not modelled", "8.2.3.4.2")),
        // Power and manageability.
        0x05800 if any(0x13) => Some((WAKE_UP, "8.2.3.24.1")),
        0x05808 if value != 0 => Some((WAKE_UP, "8.2.3.24.2")),
        0x10200 if any(2) => Some((WAKE_UP, "8.2.3.2.8")),
        0x05820 if any(1 << 17) => Some(("manageability is not modelled", "8.2.3.25")),
        _ => None,
    }
}

impl Ixgbe {
    /// Reports a write that turns on what the model does not have.
    pub(super) fn report_absent(&self, slot: &Slot<'_>, offset: u32, value: u32) {
        if let Some((what, section)) = not_modelled(offset, value, self.is_x550()) {
            slot.violation(what, format_args!("{}", name_of(offset).0), value.into(), section);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::regs::{Access, MAP, Row};
    use super::*;

    /// The model does what these ask for, as far as FIDELITY.md says.
    const MODELLED: &str = "CTRL ESDP I2CCTL EEC EERD EEWR SWSM SW_FW_SYNC HICR FLEX_MNG FCTTV FCRTL FCRTH FCRTV EICR EIMS EIAC EIAM EIMS_EX EIAM_EX EITR IVAR \
        IVAR_MISC GPIE FCTRL MCSTCTRL PSRTYPE RFCTL MTA RAL/RAH VFTA RSSRK RETA ERETA SRRCTL RDRXCTL RXPBSIZE RXCTRL QDE DTXTCPFLGL \
        DTXTCPFLGH SECTXCTRL SECRXCTRL MSCA MSRWD MAXFRS MFLCN AUTOC AUTOC2 PICAUSE/PIENA RQSMR TQSM LEDCTL SAQF DAQF SDPQF FTQF L34TIMIR ETQF ETQS SYNQF FDIRCTRL FDIRSIPV6 FDIRIPSA \
        FDIRIPDA FDIRPORT FDIRVLAN FDIRHASH FDIRCMD FDIRDIP4M FDIRSIP4M FDIRTCPM FDIRUDPM FDIRHKEY FDIRSKEY FDIRM FDIRIP6M FDIRSCTPM TSYNCRXCTL RXMTRL \
        TSYNCTXCTL SYSTIML/H SYSTIMR TIMINCA CTRL_EXT EXVET DMATXCTL PFVTCTL MPSAR PFVFRE PFVFTE PFFLPL/H PFVMTXSW PFVLVF PFVLVFB PFVFSPOOF/PFDTXGSWC";

    /// Parameters of a function, and the register that turns it on.
    const PARAMETERS: &[(&str, &str)] = &[
        ("PFCTOP RTRUP2TC RTRPT4C/S", "RTRPCS"),
        ("RQTC", "MRQC"),
        ("RTTUP2TC TXLLQ RTTDQSEL/RTTDT1C/RTTDT1S RTTDT2C/S", "RTTDCS"),
        ("RTTPT2C/S", "RTTPCS"),
        ("RTTBCNTG RTTBCN", "RTTBCNRM/RC/RS/RD/TECC"),
        ("LLITHRESH", "L34TIMIR"),
        ("FCDMARW FCPARAM TEOFF/TSOFF", "FCPTR/FCBUFF"),
        ("TRGTTIM/CLKTIM TSSDP", "TSAUXC"),
        ("IPAV IP4AT IP6AT FHFT", "WUFC"),
        ("MAVTV/MFUTP MANC2H MDEF/MIPAF MMAL/MMAH MDEF_EXT METF", "MANC/MFVAL"),
    ];

    /// They turn nothing on that a driver would wait for or a byte would show: hints to the bus and the caches, thresholds, electrical settings of the
    /// link, registers of the firmware and the flash, error reports of a bus without errors, and what a port has for virtual functions, of which this one has none.
    const WITHOUT_EFFECT: &str = "FLA EEMNGCTL FLOP SRAMREL GCR PHYADR/PHYDAT/PHYCTL GCR_EXT DCA_CTRL PBACL RSCDBU RDDCC DROPEN DTXMXSZRQ TXPBSIZE \
        MNGTXMAP TXPBTHRESH DCA_RXCTRL SECTXBUFFAF SECTXMINIFG PCS1G PAP SERDESC MACS MMNGC ANLPNP/KRPCS/FECS MACC CORECTL SMADARCTL \
        PFMAILBOX PFMBICR/PFMBIMR PFVFLREC VMECM PFMBMEM CIAA/CIAD EITRSEL ATLASCTL RXDSTATCTRL WUS LSWFW HSMC/FWSTS I2CCTL_X550";

    /// Whether some value written to one of the row's registers is reported.
    fn is_reported(row: &Row) -> bool {
        let values = || (0..32).map(|bit| 1 << bit).chain([0]);
        (0..row.count).any(|i| values().any(|value| not_modelled(row.first + i * row.stride, value, true).is_some()))
    }

    #[test]
    fn every_register_is_modelled_or_reports_what_it_turns_on() {
        let switches = |name: &str| MAP.iter().any(|row| row.name == name && is_reported(row));
        for (parameters, switch) in PARAMETERS {
            assert!(switches(switch), "{switch} turns on what {parameters:?} describes, and nothing reports it");
        }
        let parameters = PARAMETERS.iter().map(|(names, _)| *names);
        let named: Vec<_> = parameters.chain([MODELLED, WITHOUT_EFFECT]).flat_map(str::split_whitespace).collect();
        for row in MAP.iter().filter(|row| row.access == Access::Rw) {
            assert!(named.contains(&row.name) || switches(row.name), "{} at {:#07x} takes writes; say what becomes of them", row.name, row.first);
        }
        for name in named {
            assert!(MAP.iter().any(|row| row.name == name), "{name} is no register of the map");
        }
    }

    #[test]
    fn what_a_reset_leaves_turns_nothing_on() {
        for row in MAP.iter().filter(|row| row.count == 1) {
            assert_eq!(not_modelled(row.first, row.reset, true), None, "{}", row.name);
        }
    }
}
