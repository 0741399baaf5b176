//! The copper PHY of X540 and X550, behind MDIO (clause 45 of IEEE 802.3; 3.7.3 of the X540 datasheet).

use driver_core::device::{ErrorKind, Link, LinkDown, LinkReport, LinkSpeeds, Negotiation};
use driver_core::host::Bar;

use crate::card::Card;
use crate::error::HardwareError;
use crate::id::Family;
use crate::regs::*;
use crate::semaphore::Resource;

/// NO-LIMITS: one MDIO cycle takes some 30 us; the drivers in the field wait 1 ms.
const CYCLE_US: u64 = 2_000;

/// A register of the PHY: MDIO device (MMD) and address.
#[derive(Debug, Clone, Copy)]
struct PhyReg(u32, u32);

/// PMA/PMD device identifier, high half (IEEE 802.3 45.2.1.3).
const PMA_ID_HIGH: PhyReg = PhyReg(1, 2);
/// Auto-negotiation control (45.2.7.1).
const AN_CONTROL: PhyReg = PhyReg(7, 0);
/// Auto-negotiation advertisement (45.2.7.6).
const AN_ADVERTISEMENT: PhyReg = PhyReg(7, 0x10);
/// Auto-negotiation status (45.2.7.2), and what the partner's base page offers (45.2.7.7).
const AN_STATUS: PhyReg = PhyReg(7, 1);
const AN_PARTNER: PhyReg = PhyReg(7, 0x13);
/// 10GBASE-T status (45.2.7.11; the partner's 2.5 and 5 Gbit/s by IEEE 802.3bz): what the partner offers.
const AN_10GBASET_STATUS: PhyReg = PhyReg(7, 0x21);
/// Vendor's: the partner's 1000BASE-T.
const AN_PARTNER_VENDOR: PhyReg = PhyReg(7, 0xe820);
/// Vendor's alarms: that of the temperature.
const ALARMS: PhyReg = PhyReg(1, 0x9005);
const TOO_HOT: u16 = 1 << 3;
/// 10GBASE-T control: advertisement (45.2.7.10).
const AN_10GBASET: PhyReg = PhyReg(7, 0x20);
/// Vendor provisioning 1: 1000BASE-T and the X550's 2.5 and 5 Gbit/s (X540 datasheet, PHY registers).
const AN_VENDOR: PhyReg = PhyReg(7, 0xc400);
/// Vendor specific MMD 1, control.
const VENDOR_CONTROL: PhyReg = PhyReg(30, 0);

const AN_ENABLE: u16 = 1 << 12;
const AN_RESTART: u16 = 1 << 9;
const ADVERTISE_100BASETX_FULL: u16 = 1 << 8;
const ADVERTISE_10GBASET: u16 = 1 << 12;
const ADVERTISE_1000BASET_FULL: u16 = 1 << 15;
const ADVERTISE_2500BASET: u16 = 1 << 10;
const ADVERTISE_5000BASET: u16 = 1 << 11;
const LOW_POWER: u16 = 1 << 11;
/// AN_STATUS: both ends agreed; the partner negotiates.
const AN_COMPLETE: u16 = 1 << 5;
const AN_PARTNER_ABLE: u16 = 1 << 0;
const PARTNER_10GBASET: u16 = 1 << 11;
const PARTNER_5GBASET: u16 = 1 << 6;
const PARTNER_2_5GBASET: u16 = 1 << 5;
const PARTNER_1000BASET_FULL: u16 = 1 << 15;

impl<B: Bar> Card<B> {
    /// Finds the PHY, wakes it, lets it offer these speeds and negotiate anew. The link comes seconds later.
    pub(crate) fn start_phy(&mut self, speeds: LinkSpeeds) -> Result<(), ErrorKind> {
        let resource = Resource::phy(self.is_second_port());
        let phy = match self.phy {
            Some(phy) => phy,
            None => self.with_semaphore(resource, || self.find_phy())?,
        };
        self.phy = Some(phy);
        self.with_semaphore(resource, || {
            self.phy_modify(phy, VENDOR_CONTROL, |v| v & !LOW_POWER)?;
            self.offer(phy, AN_10GBASET, speeds, &[(LinkSpeeds::G10, ADVERTISE_10GBASET)])?;
            let between =
                [(LinkSpeeds::G1, ADVERTISE_1000BASET_FULL), (LinkSpeeds::G2_5, ADVERTISE_2500BASET), (LinkSpeeds::G5, ADVERTISE_5000BASET)];
            // On the X540 the bits of those between have no meaning.
            let has = if self.model.family == Family::X550 { &between[..] } else { &between[..1] };
            self.offer(phy, AN_VENDOR, speeds, has)?;
            self.offer(phy, AN_ADVERTISEMENT, speeds, &[(LinkSpeeds::M100, ADVERTISE_100BASETX_FULL)])?;
            // In any case: a restart that is under way was asked for with what was offered before.
            let control = self.phy_read(phy, AN_CONTROL)?;
            self.phy_write(phy, AN_CONTROL, control | AN_ENABLE | AN_RESTART)
        })
    }

    /// Sets the bits of those of `has` that are among `speeds`, and clears the others'.
    fn offer(&self, phy: u32, register: PhyReg, speeds: LinkSpeeds, has: &[(LinkSpeeds, u16)]) -> Result<(), ErrorKind> {
        self.phy_modify(phy, register, |before| {
            has.iter().fold(before, |value, &(speed, bit)| if speeds.contains(speed) { value | bit } else { value & !bit })
        })
    }

    /// What the PHY says of its link.
    pub(crate) fn copper_report(&self, link: Link) -> Result<LinkReport, ErrorKind> {
        let Some(phy) = self.phy else { return Ok(LinkReport::of(link)) };
        self.with_semaphore(Resource::phy(self.is_second_port()), || {
            let read = |register| self.phy_read(phy, register);
            let offered = speeds_of(read(AN_ADVERTISEMENT)?, read(AN_VENDOR)?, read(AN_10GBASET)?, self.model.family);
            // IEEE 802.3 45.2.7.2: whether there is a link is latched, so that the first read tells of the past.
            read(AN_STATUS)?;
            let (status, control) = (read(AN_STATUS)?, read(VENDOR_CONTROL)?);
            let partner = partner_speeds(read(AN_PARTNER)?, read(AN_PARTNER_VENDOR)?, read(AN_10GBASET_STATUS)?);
            let negotiation = Negotiation::new(offered, partner, status & AN_COMPLETE != 0);
            let report = match () {
                () if link.up => LinkReport::of(link),
                () if read(ALARMS)? & TOO_HOT != 0 => LinkReport::down(LinkDown::Overheated),
                () if control & LOW_POWER != 0 => LinkReport::down(LinkDown::PoweredDown),
                () if status & AN_PARTNER_ABLE == 0 => LinkReport::down(LinkDown::NoPartner),
                () if !partner.is_empty() && !partner.intersects(offered) => LinkReport::down(LinkDown::NoCommonSpeed),
                () => LinkReport::down(LinkDown::Negotiating),
            };
            Ok(report.negotiated(negotiation))
        })
    }

    fn find_phy(&self) -> Result<u32, ErrorKind> {
        for phy in 0..32 {
            // An address where nothing answers reads all ones; a PHY that is not up yet, all zeros.
            if !matches!(self.phy_read(phy, PMA_ID_HIGH)?, 0 | 0xffff) {
                return Ok(phy);
            }
        }
        Err(HardwareError::NoPhy.into())
    }

    fn phy_modify(&self, phy: u32, register: PhyReg, change: impl FnOnce(u16) -> u16) -> Result<(), ErrorKind> {
        let before = self.phy_read(phy, register)?;
        let after = change(before);
        if after == before { Ok(()) } else { self.phy_write(phy, register, after) }
    }

    fn phy_read(&self, phy: u32, register: PhyReg) -> Result<u16, ErrorKind> {
        self.mdi_cycle(phy, register, Msca::empty())?;
        self.mdi_cycle(phy, register, Msca::OP_READ)?;
        // 8.2.3.22.12: what was read is in bits 31:16, what is to be written in 15:0.
        Ok((MSRWD.read(&self.bar) >> 16) as u16)
    }

    fn phy_write(&self, phy: u32, register: PhyReg, value: u16) -> Result<(), ErrorKind> {
        MSRWD.write(&self.bar, value.into());
        self.mdi_cycle(phy, register, Msca::empty())?;
        self.mdi_cycle(phy, register, Msca::OP_WRITE)
    }

    /// 3.7.3.1.1: one cycle; the address cycle has no operation bit.
    fn mdi_cycle(&self, phy: u32, PhyReg(device, address): PhyReg, operation: Msca) -> Result<(), ErrorKind> {
        let command = Msca::from_bits_retain(address | device << 16 | phy << 21);
        MSCA.write(&self.bar, command | operation | Msca::MDICMD);
        self.wait(MSCA, "an MDIO cycle to end (MDI Command clear)", CYCLE_US, |v| !v.contains(Msca::MDICMD))?;
        Ok(())
    }
}

/// What the registers of this end offer.
fn speeds_of(base: u16, vendor: u16, fast: u16, family: Family) -> LinkSpeeds {
    let mut speeds = LinkSpeeds::empty();
    speeds.set(LinkSpeeds::M100, base & ADVERTISE_100BASETX_FULL != 0);
    speeds.set(LinkSpeeds::G1, vendor & ADVERTISE_1000BASET_FULL != 0);
    speeds.set(LinkSpeeds::G2_5, family == Family::X550 && vendor & ADVERTISE_2500BASET != 0);
    speeds.set(LinkSpeeds::G5, family == Family::X550 && vendor & ADVERTISE_5000BASET != 0);
    speeds.set(LinkSpeeds::G10, fast & ADVERTISE_10GBASET != 0);
    speeds
}

/// What those of the partner do.
fn partner_speeds(base: u16, vendor: u16, fast: u16) -> LinkSpeeds {
    let mut speeds = LinkSpeeds::empty();
    speeds.set(LinkSpeeds::M100, base & ADVERTISE_100BASETX_FULL != 0);
    speeds.set(LinkSpeeds::G1, vendor & PARTNER_1000BASET_FULL != 0);
    speeds.set(LinkSpeeds::G2_5, fast & PARTNER_2_5GBASET != 0);
    speeds.set(LinkSpeeds::G5, fast & PARTNER_5GBASET != 0);
    speeds.set(LinkSpeeds::G10, fast & PARTNER_10GBASET != 0);
    speeds
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use std::sync::Mutex;
    use std::vec::Vec;

    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::id::Model;

    /// MDIO device, register and value of all that was written to the PHY, oldest first.
    type Notes = Arc<Mutex<Vec<(u32, u32, u32)>>>;

    /// A PHY at MDIO address 5 that keeps what is written, behind a card whose semaphores are free.
    fn card(answers: bool) -> (PlainBar, Card<PlainBar>, Notes) {
        let (bar, notes) = (PlainBar::new(BAR_BYTES), Notes::default());
        let noted = notes.clone();
        let phy = Mutex::new((0u32, std::collections::HashMap::<(u32, u32), u32>::new()));
        bar.on_write(MSCA.offset(), move |bar, command| {
            let mut phy = phy.lock().unwrap();
            let (device, at) = (command >> 16 & 0x1f, command >> 21 & 0x1f);
            bar.set(MSCA.offset(), command & !Msca::MDICMD.bits());
            match command >> 26 & 3 {
                0 => phy.0 = command & 0xffff,
                1 if at == 5 => {
                    let address = phy.0;
                    phy.1.insert((device, address), bar.get(MSRWD.offset()) & 0xffff);
                    noted.lock().unwrap().push((device, address, bar.get(MSRWD.offset()) & 0xffff));
                }
                _ => {
                    let known = if phy.0 == 2 && device == 1 { 0x0154 } else { phy.1.get(&(device, phy.0)).copied().unwrap_or(0x0800) };
                    let value = if answers && at == 5 { known } else { 0xffff };
                    bar.set(MSRWD.offset(), value << 16);
                }
            }
        });
        let model =
            Model::find(&driver_core::host::PciId { vendor: 0x8086, device: 0x1563, revision: 0, class: 0, subsystem_vendor: 0, subsystem: 0 })
                .unwrap();
        let card = Card::new(bar.clone(), Arc::new(FakeClock::new()), model, "test");
        (bar, card, notes)
    }

    #[test]
    fn the_phy_is_found_woken_and_negotiates_every_speed() {
        let (bar, mut card, notes) = card(true);
        card.start_phy(LinkSpeeds::all()).unwrap();
        assert_eq!(card.phy, Some(5));
        let notes = notes.lock().unwrap();
        assert_eq!(notes.first(), Some(&(30, 0, 0)), "low power is left first");
        assert!(notes.contains(&(7, 0x20, 0x1800)), "{notes:x?}");
        assert!(notes.contains(&(7, 0xc400, 0x8c00)), "{notes:x?}");
        assert_eq!(notes.last(), Some(&(7, 0, 0x1a00)), "the restart comes last");
        assert_eq!(SW_FW_SYNC.read(&bar), SwFwSync::empty(), "the PHY's semaphore is released");
    }

    #[test]
    fn what_is_not_to_be_offered_is_taken_back() {
        let (_, mut card, notes) = card(true);
        card.start_phy(LinkSpeeds::all()).unwrap();
        notes.lock().unwrap().clear();
        card.start_phy(LinkSpeeds::G1 | LinkSpeeds::G2_5).unwrap();
        // Bit 11 is what this PHY's registers held before; in 7.0xc400 it is 5 Gbit/s.
        assert_eq!(*notes.lock().unwrap(), [(7, 0x20, 0x0800), (7, 0xc400, 0x8400), (7, 0x10, 0x0800), (7, 0, 0x1a00)]);
    }

    #[test]
    fn a_bus_without_a_phy_is_an_error() {
        let (bar, mut card, _) = card(false);
        assert_eq!(card.start_phy(LinkSpeeds::all()).unwrap_err().hardware(), Some(&HardwareError::NoPhy));
        assert_eq!(SW_FW_SYNC.read(&bar), SwFwSync::empty());
    }

    #[test]
    fn a_cycle_that_never_ends_names_its_register() {
        let (bar, mut card, _) = card(true);
        bar.stick(MSCA.offset(), Msca::MDICMD.bits());
        let error = alloc::format!("{}", card.start_phy(LinkSpeeds::all()).unwrap_err());
        assert!(error.contains("MSCA (0x0425c"), "{error}");
    }
}
