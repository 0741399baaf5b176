//! VLAN tags: what names them, and where the card puts one in and takes one out, behind an outer one where it looks for that (7.4).

use super::card::Ixgbe;
use super::regs::{CTRL_EXT, CTRL_EXT_EXTENDED_VLAN, DMATXCTL, DMATXCTL_GDV, EXVET, PFVTCTL, VLNCTRL};

/// A tag, in bytes.
pub(super) const TAG_BYTES: usize = 4;
/// Where the first tag of a frame lies: behind its addresses.
const FIRST_AT: usize = 12;
/// Where the tag behind an outer one lies.
const SECOND_AT: usize = FIRST_AT + TAG_BYTES;
/// PFVTCTL: the X550's pools by tags.
const POOLING_MODE: u32 = 3 << 16;

/// The EtherTypes of tags.
#[derive(Debug, Clone, Copy)]
pub(super) struct TagTypes {
    /// VLNCTRL.VET: of the tag that is filtered and stripped.
    pub inner: u16,
    /// EXVET: of the one before it, which every frame has.
    pub outer: Option<u16>,
}

/// Where the tag lies that is inserted and stripped.
pub(super) const fn tag_at(has_outer: bool) -> usize {
    if has_outer { SECOND_AT } else { FIRST_AT }
}

/// Whether the frame begins with a tag of this type.
pub(super) fn begins_with_tag(frame: &[u8], kind: u16) -> bool {
    frame.get(FIRST_AT..FIRST_AT + 2) == Some(&kind.to_be_bytes())
}

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
