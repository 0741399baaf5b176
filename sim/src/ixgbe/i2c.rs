//! The management bus of the SFP+ cage: I2CCTL moves clock and data by hand, and the module answers (8.2.3.1.5).

use super::card::Ixgbe;
use super::regs::{ESDP, I2CCTL};
use crate::slot::Slot;

/// I2CCTL (8.2.3.1.5): what the lines are, and what software drives. Lines are open drain: who drives low wins.
const CLK_IN: u32 = 1;
const CLK_OUT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;
/// ESDP (8.2.3.1.4): pin 3 turns the module's laser off.
const ESDP_SDP3: u32 = 1 << 3;

impl Ixgbe {
    pub(super) fn read_i2cctl(&self) -> u32 {
        let driven = self.regs.at(I2CCTL) & (CLK_OUT | DATA_OUT);
        let data = driven & DATA_OUT != 0 && (!self.module.pulls || self.is_copper());
        driven | if driven & CLK_OUT != 0 { CLK_IN } else { 0 } | if data { DATA_IN } else { 0 }
    }

    pub(super) fn write_i2cctl(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(I2CCTL, value & (CLK_OUT | DATA_OUT));
        self.module.sees(slot.carrier(), self.regs.has(ESDP, ESDP_SDP3));
        self.module.drive(value & CLK_OUT != 0, value & DATA_OUT != 0);
    }
}
