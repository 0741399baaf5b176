//! The link: carrier, forced states, status registers, and the copper PHY behind MDIO (3.7, 8.2.3.22).

use super::card::Ixgbe;
use super::interrupt::CAUSE_LSC;
use super::options::{Cage, Speeds};
use super::regs::{AUTOC, AUTOC_RESTART_AN, AUTOC2, AUTOC2_FORCE_LINK_DOWN, ESDP, HLREG0, HLREG0_LPBK, LINKS, MSCA, MSRWD, STATUS, STATUS_LINK_UP};
use super::state::FlowControl;
use crate::slot::Slot;

/// LINKS (8.2.3.22.20): since the last read the link was never down.
const LINKS_LATCHED: u32 = 1 << 7;
/// LINKS: the speed, and the X550's bit for those between.
const LINKS_SPEED_SHIFT: u32 = 28;
const LINKS_SPEED_NON_STD: u32 = 1 << 27;
const LINKS_UP: u32 = 1 << 30;
/// LINKS: the Clause 73 negotiation has ended.
const LINKS_KX_AN_COMP: u32 = 1 << 31;

/// AUTOC.LMS: the link modes with Clause 73 negotiation have this bit (8.2.3.22.19).
const AUTOC_LMS_NEGOTIATES: u32 = 4 << 13;
/// ANLP1.ANAS: the negotiation's state, 0 when it does not run (8.2.3.22.24).
const ANLP1_ANAS_DETECT: u32 = 2 << 16;
/// ESDP (8.2.3.1.4): pin 2 tells whether a module sits in the cage; its direction is output where bit 10 is set.
const ESDP_SDP2: u32 = 1 << 2;
const ESDP_SDP2_IODIR: u32 = 1 << 10;

/// MSCA (8.2.3.22.11).
const MSCA_COMMAND: u32 = 1 << 30;
const MSCA_OP_WRITE: u32 = 1;
const MSCA_OP_READ: u32 = 3;
const MSCA_OP_READ_NEXT: u32 = 2;

impl Ixgbe {
    /// Whether transmit is looped to receive inside the MAC.
    #[inline]
    pub(super) fn is_looped(&self) -> bool {
        self.regs.has(HLREG0, HLREG0_LPBK)
    }

    /// Whether frames can move.
    #[inline]
    pub(super) fn port_is_up(&self) -> bool {
        self.link.up || self.is_looped() && self.is_forced_up()
    }

    /// Follows the carrier and the forced states. Returns whether something changed.
    #[inline]
    pub(super) fn follow_link(&mut self, slot: &Slot<'_>) -> bool {
        let wanted = slot.carrier() && !self.regs.has(AUTOC2, AUTOC2_FORCE_LINK_DOWN) && !self.is_resetting() && self.medium_is_there();
        if wanted == self.link.up {
            return false;
        }
        if !wanted {
            self.set_link(slot, false);
            return true;
        }
        if self.link.up_us == u64::MAX {
            self.link.up_us = slot.now_us() + self.options.link_up_us;
        }
        if slot.now_us() < self.link.up_us {
            return false;
        }
        self.set_link(slot, true);
        true
    }

    fn set_link(&mut self, slot: &Slot<'_>, up: bool) {
        self.link.up = up;
        self.link.speed = self.trained_speed();
        self.link.up_us = u64::MAX;
        self.link.was_down |= !up;
        if !up {
            self.flow = FlowControl::new();
        }
        self.regs.change(STATUS, STATUS_LINK_UP, up);
        self.follow_speed(slot);
        self.interrupts.misc(CAUSE_LSC);
    }

    /// What the link comes up at: what was asked for, or what a copper PHY agrees on.
    fn trained_speed(&self) -> Speeds {
        match self.options.speed_mbps {
            100 => Speeds::M100,
            1_000 => Speeds::G1,
            _ if self.is_copper() => self.agreed().fastest().unwrap_or(Speeds::G10),
            _ => Speeds::G10,
        }
    }

    /// What the link's speed is in Mbit/s, `None` without one.
    pub(super) fn speed_mbps(&self) -> Option<u32> {
        self.link.up.then_some(match self.link.speed {
            Speeds::M100 => 100,
            Speeds::G1 => 1_000,
            Speeds::G2_5 => 2_500,
            Speeds::G5 => 5_000,
            _ => 10_000,
        })
    }

    /// Whether what is between MAC and wire lets a link come up: a module for Ethernet, or a PHY that agrees with its partner. What a link has stays while it is up.
    fn medium_is_there(&self) -> bool {
        if self.is_copper() { self.link.up && !self.is_too_hot() || self.phy_agrees() } else { self.options.cage == Cage::Sr }
    }

    /// The link goes down, and is trained anew.
    pub(super) fn restart_link(&mut self, slot: &Slot<'_>) {
        if self.link.up {
            self.set_link(slot, false);
        }
    }

    pub(super) fn read_links(&mut self) -> u32 {
        let mut value = self.regs.at(LINKS);
        if self.link.up {
            value |= LINKS_UP | links_speed(self.link.speed) | LINKS_KX_AN_COMP;
            if !self.link.was_down {
                value |= LINKS_LATCHED;
            }
        }
        self.link.was_down = !self.link.up;
        value
    }

    pub(super) fn read_anlp1(&self) -> u32 {
        if self.regs.has(AUTOC, AUTOC_LMS_NEGOTIATES) { ANLP1_ANAS_DETECT } else { 0 }
    }

    pub(super) fn read_esdp(&self) -> u32 {
        let value = self.regs.at(ESDP);
        if value & ESDP_SDP2_IODIR == 0 && !self.is_copper() && self.options.cage != Cage::Empty { value | ESDP_SDP2 } else { value }
    }

    pub(super) fn write_autoc(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(AUTOC, value & !AUTOC_RESTART_AN);
        if value & AUTOC_RESTART_AN != 0 {
            self.restart_link(slot);
        }
    }

    /// An MDIO command of Clause 45, done at once.
    pub(super) fn write_msca(&mut self, slot: &Slot<'_>, value: u32) {
        let device = (value >> 16 & 0x1F) as u8;
        // One PHY, at address 0; the others' registers read all ones.
        let present = value >> 21 & 0x1F == 0 && self.is_copper();
        if value & MSCA_COMMAND != 0 {
            match value >> 26 & 3 {
                MSCA_OP_WRITE if present => {
                    self.write_mdio(slot, device, self.regs.at(MSRWD) as u16);
                }
                MSCA_OP_READ | MSCA_OP_READ_NEXT => {
                    let data = if present { self.read_mdio(slot, device) } else { 0xFFFF };
                    self.regs.set(MSRWD, u32::from(data) << 16 | self.regs.at(MSRWD) & 0xFFFF);
                    if value >> 26 & 3 == MSCA_OP_READ_NEXT {
                        self.link.mdio = self.link.mdio.wrapping_add(1);
                    }
                }
                MSCA_OP_WRITE => {}
                _ => self.link.mdio = value as u16,
            }
        }
        self.regs.set(MSCA, value & !MSCA_COMMAND);
    }
}

/// 8.2.3.22.20; the X550 says 2.5 Gb/s as a 10 Gb/s that is none, and 5 Gb/s as a 100 Mb/s that is none.
fn links_speed(speed: Speeds) -> u32 {
    match speed {
        Speeds::M100 => 1 << LINKS_SPEED_SHIFT,
        Speeds::G1 => 2 << LINKS_SPEED_SHIFT,
        Speeds::G2_5 => 3 << LINKS_SPEED_SHIFT | LINKS_SPEED_NON_STD,
        Speeds::G5 => 1 << LINKS_SPEED_SHIFT | LINKS_SPEED_NON_STD,
        _ => 3 << LINKS_SPEED_SHIFT,
    }
}
