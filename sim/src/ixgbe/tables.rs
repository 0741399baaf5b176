//! Tables that no reset fills: software writes them whole before the card is let read them.
//!
//! Their initial values are "X", or not given, in 8.2.3.7: memory, which holds what it held before, or nothing in particular. The model's is zero, so that a driver
//! that forgets one would get away with it here, and not on the hardware.

use super::file::RegFile;
use super::regs::{ERETA, MCSTCTRL, MRQC, MTA, PFVTCTL, PFVTCTL_VT_ENA, RETA, RSSRK, RXCTRL, RXCTRL_RXEN, VFTA, VLNCTRL};
use crate::slot::Slot;

/// A table of up to 128 registers, one behind the other.
struct Table {
    name: &'static str,
    first: u32,
    count: u32,
    /// The register by which the card reads it, with the bits that matter and what they are then.
    switch: (u32, u32, &'static [u32]),
    /// The X540 and the 82599 do not have it.
    only_x550: bool,
    /// What is wrong where the switch is on and a register was not written.
    what: &'static str,
    section: &'static str,
}

const MULTICAST: &str = "MCSTCTRL.MFE lets the receiver read a multicast table that was not written whole since the reset";
const VLAN: &str = "VLNCTRL.VFE lets the receiver read a VLAN filter table that was not written whole since the reset";
const SPREADING: &str = "MRQC lets the receiver read a hash key or redirection table that was not written whole since the reset";

const POOLS: &str = "PFVTCTL.VT_Ena lets the receiver read a table of pools that was not written whole since the reset";

/// Spreading, without pools and in them.
const RSS: (u32, u32, &[u32]) = (MRQC, 0xF, &[1, 10, 11]);
const VT: (u32, u32, &[u32]) = (PFVTCTL, PFVTCTL_VT_ENA, &[PFVTCTL_VT_ENA]);

const TABLES: [Table; 8] = [
    Table { name: "MTA", first: MTA, count: 128, switch: (MCSTCTRL, 1 << 2, &[1 << 2]), only_x550: false, what: MULTICAST, section: "4.6.7" },
    Table { name: "VFTA", first: VFTA, count: 128, switch: (VLNCTRL, 1 << 30, &[1 << 30]), only_x550: false, what: VLAN, section: "4.6.7" },
    Table { name: "RSSRK", first: RSSRK, count: 10, switch: RSS, only_x550: false, what: SPREADING, section: "4.6.10.1.1" },
    Table { name: "RETA", first: RETA, count: 32, switch: RSS, only_x550: false, what: SPREADING, section: "4.6.10.1.1" },
    Table { name: "ERETA", first: ERETA, count: 96, switch: RSS, only_x550: true, what: SPREADING, section: "4.6.10.1.1" },
    Table { name: "PFVLVF", first: 0x0F100, count: 64, switch: VT, only_x550: false, what: POOLS, section: "4.6.7" },
    Table { name: "PFVLVFB", first: 0x0F200, count: 128, switch: VT, only_x550: false, what: POOLS, section: "4.6.7" },
    Table { name: "PFUTA", first: 0x0F400, count: 128, switch: VT, only_x550: false, what: POOLS, section: "4.6.7" },
];

/// Which registers of the tables were written since the last reset, a bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written([u128; TABLES.len()]);

impl Written {
    /// Notes a write, wherever it goes.
    pub(super) fn note(&mut self, offset: u32) {
        for (written, table) in self.0.iter_mut().zip(&TABLES) {
            if (table.first..table.first + 4 * table.count).contains(&offset) {
                *written |= 1 << ((offset - table.first) / 4);
            }
        }
    }

    /// Looks behind a write to the register at `offset`, which may have turned on the receiver, or its use of a table.
    pub(super) fn check(&self, slot: &Slot<'_>, regs: &RegFile, is_x550: bool, offset: u32) {
        if !regs.has(RXCTRL, RXCTRL_RXEN) {
            return;
        }
        for (table, written) in TABLES.iter().zip(self.0) {
            let (switch, mask, on) = table.switch;
            let exists = !table.only_x550 || is_x550;
            let missing = written.trailing_ones();
            if exists && [RXCTRL, switch].contains(&offset) && on.contains(&(regs.at(switch) & mask)) && missing < table.count {
                slot.violation(table.what, format_args!("{}[{missing}]", table.name), regs.at(switch).into(), table.section);
            }
        }
    }
}
