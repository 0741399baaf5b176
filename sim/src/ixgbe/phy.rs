//! The copper PHY of the X540 and the X550, behind MDIO (IEEE 802.3 clause 45; vendor registers as drivers use them): what it offers, what its partner does, and
//! what both agree on.

use super::card::Ixgbe;
use super::options::Speeds;
use crate::slot::Slot;

/// Device type 7, auto-negotiation (IEEE 802.3 45.2.7): control with enable and restart, status, what is offered by the base page and by 10GBASE-T's, and the same of the partner.
const AN: u8 = 7;
const AN_CONTROL: u16 = 0;
const AN_ENABLE: u16 = 1 << 12;
const AN_RESTART: u16 = 1 << 9;
const AN_STATUS: u16 = 1;
const AN_BASE: u16 = 0x10;
const AN_BASE_PARTNER: u16 = 0x13;
const BASE_100TX_FULL: u16 = 1 << 8;
const AN_10G: u16 = 0x20;
const AN_10G_PARTNER: u16 = 0x21;
const OFFERS_10G: u16 = 1 << 12;
const PARTNER_10G: u16 = 1 << 11;
const PARTNER_5G: u16 = 1 << 6;
const PARTNER_2_5G: u16 = 1 << 5;
/// Vendor's: 1000BASE-T, 2.5 and 5 Gb/s offered; the speed agreed on; the partner's 1000BASE-T.
const AN_VENDOR: u16 = 0xC400;
const VENDOR_1G: u16 = 1 << 15;
const VENDOR_5G: u16 = 1 << 11;
const VENDOR_2_5G: u16 = 1 << 10;
const AN_VENDOR_STATUS: u16 = 0xC800;
const AN_VENDOR_PARTNER: u16 = 0xE820;
/// Device type 30, the vendor's: low power.
const VENDOR: u8 = 30;
const LOW_POWER: u16 = 1 << 11;

/// Device type 1: the vendor's alarms, of which bit 3 is that of the temperature.
const ALARMS: u16 = 0x9005;
const TOO_HOT: u16 = 1 << 3;

/// How many MDIO registers keep what is written to them. A PHY has no more that a driver sets, and the addresses would do for millions.
const MDIO_REGISTERS: usize = 256;

impl Ixgbe {
    /// Whether the PHY can bring a link up: it is on, negotiates, and has a speed in common with its partner.
    pub(super) fn phy_agrees(&self) -> bool {
        !self.is_copper() || self.phy_is_on() && self.agreed().fastest().is_some()
    }

    fn phy_is_on(&self) -> bool {
        !self.is_too_hot() && self.kept(AN, AN_CONTROL) & AN_ENABLE != 0 && self.kept(VENDOR, 0) & LOW_POWER == 0
    }

    /// What both ends offer.
    pub(super) fn agreed(&self) -> Speeds {
        self.offered() & self.options.partner
    }

    fn offered(&self) -> Speeds {
        let (base, fast, vendor) = (self.kept(AN, AN_BASE), self.kept(AN, AN_10G), self.kept(AN, AN_VENDOR));
        let mut offered = Speeds::empty();
        offered.set(Speeds::M100, base & BASE_100TX_FULL != 0);
        offered.set(Speeds::G1, vendor & VENDOR_1G != 0);
        offered.set(Speeds::G2_5, self.is_x550() && vendor & VENDOR_2_5G != 0);
        offered.set(Speeds::G5, self.is_x550() && vendor & VENDOR_5G != 0);
        offered.set(Speeds::G10, fast & OFFERS_10G != 0);
        offered
    }

    /// What is written, or what stands there before anybody wrote: the PHY offers 100 Mb/s, 1 Gb/s and 10 Gb/s, as Linux finds it.
    fn kept(&self, device: u8, register: u16) -> u16 {
        let written = self.link.mdio_written.iter().find(|&&(d, r, _)| (d, r) == (device, register));
        match (written, device, register) {
            (Some(&(.., data)), ..) => data,
            (None, AN, AN_CONTROL) => AN_ENABLE,
            (None, AN, AN_BASE) => BASE_100TX_FULL | 1,
            (None, AN, AN_10G) => OFFERS_10G,
            (None, AN, AN_VENDOR) => VENDOR_1G,
            _ => 0,
        }
    }

    pub(super) fn write_mdio(&mut self, slot: &Slot<'_>, device: u8, data: u16) {
        let at = self.link.mdio;
        let restarts = (device, at) == (AN, AN_CONTROL) && data & AN_RESTART != 0;
        self.link.mdio_written.retain(|&(d, r, _)| (d, r) != (device, at));
        if self.link.mdio_written.len() < MDIO_REGISTERS {
            self.link.mdio_written.push((device, at, if restarts { data & !AN_RESTART } else { data }));
        } else {
            slot.violation(
                "more MDIO registers were written than are modelled",
                format_args!("device {device}, register {at:#x}"),
                data.into(),
                "3.7.3",
            );
        }
        if restarts {
            self.restart_link(slot);
        }
    }

    pub(super) fn read_mdio(&self, slot: &Slot<'_>, device: u8) -> u16 {
        let at = self.link.mdio;
        let up = u16::from(self.link.up);
        // Pages come in while there is somebody who sends them.
        let partner = if slot.carrier() && self.phy_is_on() { self.options.partner } else { Speeds::empty() };
        let bit = |speed: Speeds, bit: u16| if partner.contains(speed) { bit } else { 0 };
        match (device, at) {
            // Identifier of the X540's PHY.
            (1 | 3 | AN, 2) => 0x0154,
            (1 | 3 | AN, 3) => 0x0200,
            // Status 2: present. The package holds PMA, PCS, PHY XS, and auto-negotiation.
            (1 | 3 | 4 | AN, 8) => 2 << 14,
            (1 | 3 | 4 | AN, 5) => 1 << 1 | 1 << 3 | 1 << 4 | 1 << 7,
            // Status 1: link. Auto-negotiation complete; the partner negotiates.
            (1 | 3, 1) => up << 2,
            (AN, AN_STATUS) => up << 2 | up << 5 | u16::from(!partner.is_empty()),
            // Speed ability: 10G, 1G, 100M, and the X550's 2.5G and 5G; extended abilities 10GBASE-T, 1000BASE-T, 100BASE-TX.
            (1, 4) => 1 | 1 << 4 | 1 << 5 | if self.is_x550() { 1 << 13 | 1 << 14 } else { 0 },
            (1, 11) => 1 << 2 | 1 << 5 | 1 << 7,
            (1, ALARMS) => {
                if self.is_too_hot() {
                    TOO_HOT
                } else {
                    0
                }
            }
            (AN, AN_BASE_PARTNER) => bit(Speeds::M100, BASE_100TX_FULL),
            (AN, AN_10G_PARTNER) => bit(Speeds::G10, PARTNER_10G) | bit(Speeds::G5, PARTNER_5G) | bit(Speeds::G2_5, PARTNER_2_5G),
            (AN, AN_VENDOR_PARTNER) => bit(Speeds::G1, 1 << 15),
            // The rate in bits 3:1, full duplex in bit 0.
            (AN, AN_VENDOR_STATUS) => up * vendor_status(self.link.speed),
            _ => self.kept(device, at),
        }
    }
}

fn vendor_status(speed: Speeds) -> u16 {
    let rates = [(Speeds::M100, 1), (Speeds::G1, 2), (Speeds::G10, 3), (Speeds::G2_5, 4), (Speeds::G5, 5)];
    rates.into_iter().find(|(known, _)| *known == speed).map_or(0, |(_, rate)| rate << 1 | 1)
}
