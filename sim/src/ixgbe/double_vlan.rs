//! Whether the card expects an outer VLAN tag on every frame, behind which it filters, strips and inserts (7.4.5).

use super::card::Ixgbe;
use super::regs::{CTRL_EXT, CTRL_EXT_EXTENDED_VLAN, DMATXCTL, DMATXCTL_GDV, EXVET, PFVTCTL, VLNCTRL};
use super::tags::{TagTypes, begins_with_tag};

/// PFVTCTL: the X550's pools by tags.
const POOLING_MODE: u32 = 3 << 16;

impl Ixgbe {
    /// Whether received frames are expected to have an outer tag.
    pub(super) fn expects_outer_tags(&self) -> bool {
        self.regs.has(CTRL_EXT, CTRL_EXT_EXTENDED_VLAN)
    }

    pub(super) fn tag_types(&self) -> TagTypes {
        TagTypes { inner: self.regs.at(VLNCTRL) as u16, outer: self.expects_outer_tags().then(|| self.outer_type()) }
    }

    fn outer_type(&self) -> u16 {
        (self.regs.at(EXVET) >> 16) as u16
    }

    /// Whether packets that are sent are expected to have an outer tag, and this one has.
    pub(super) fn outer_tag_of(&self, packet: &[u8]) -> Option<bool> {
        self.regs.has(DMATXCTL, DMATXCTL_GDV).then(|| begins_with_tag(packet, self.outer_type()))
    }

    /// What is wrong with how the two directions are set up.
    pub(super) fn unfit_tags(&self) -> Option<&'static str> {
        if self.expects_outer_tags() != self.regs.has(DMATXCTL, DMATXCTL_GDV) {
            Some("CTRL_EXT.EXTENDED_VLAN and DMATXCTL.GDV differ")
        } else if self.expects_outer_tags() && self.is_x550() && self.regs.at(PFVTCTL) & POOLING_MODE != 0 {
            Some("CTRL_EXT.EXTENDED_VLAN is on while PFVTCTL chooses pools by a tag")
        } else {
            None
        }
    }
}
