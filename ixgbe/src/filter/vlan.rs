//! The VLAN filter: VFTA and VLNCTRL.VFE (7.1.1.2).

use alloc::vec;

use driver_core::host::Bar;

use crate::card::Card;
use crate::regs::*;

impl<B: Bar> Card<B> {
    /// Lets frames of these VLANs in, or of every one. The table is whole before it is read, where it was not; FILTER-LIVE: the receiver may be on.
    pub(crate) fn set_vlans(&self, ids: Option<&[u16]>) {
        if let Some(ids) = ids {
            let mut table = vec![0u32; VFTA.count() as usize];
            for &id in ids {
                if let Some(word) = table.get_mut(usize::from(id >> 5)) {
                    *word |= 1 << (id & 31);
                }
            }
            for (register, word) in VFTA.iter().zip(table) {
                register.write(&self.bar, word);
            }
        }
        VLNCTRL.modify(&self.bar, |v| if ids.is_some() { v | Vlnctrl::VFE } else { v - Vlnctrl::VFE });
    }
}
