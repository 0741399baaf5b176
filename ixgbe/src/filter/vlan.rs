//! The VLAN filter: VFTA and VLNCTRL.VFE (7.1.1.2).

use driver_core::host::Bar;

use crate::card::Card;
use crate::regs::*;

/// VFTA's words, a bit a VLAN.
pub(super) type VlanTable = [u32; 128];

/// Every VLAN comes in.
pub(super) const ALL_VLANS: VlanTable = [u32::MAX; 128];

/// These VLANs come in.
pub(super) fn vlan_table(ids: &[u16]) -> VlanTable {
    let mut table = [0; 128];
    for &id in ids {
        if let Some(word) = table.get_mut(usize::from(id >> 5)) {
            *word |= 1 << (id & 31);
        }
    }
    table
}

impl<B: Bar> Card<B> {
    /// Lets frames of these VLANs in, or of every one. The table is whole before it is read, where it was not; FILTER-LIVE: the receiver may be on.
    pub(super) fn set_vlans(&self, table: Option<&VlanTable>) {
        if let Some(table) = table {
            for (register, &word) in VFTA.iter().zip(table) {
                register.write(&self.bar, word);
            }
        }
        VLNCTRL.modify(&self.bar, |v| if table.is_some() { v | Vlnctrl::VFE } else { v - Vlnctrl::VFE });
    }
}
