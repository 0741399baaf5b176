//! Why there is no link.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Config, LinkDown, LinkReport, NetDevice};
use driver_core::host::RegSpace;
use sim::ixgbe::{Cage, IxgbeOptions};

/// What is said of a card's link, and that the bus and the semaphores were given back: SW_FW_SYNC's lower bits, SWSM.SMBI.
fn report(card: &Card) -> LinkReport {
    let mut started = card.start(&Config::new());
    let found = started.control.link_report().unwrap();
    assert_eq!(started.control.link_report().unwrap(), found);
    let bar = card.registers();
    assert_eq!((bar.read32(0x1_0160) & 0x3ff, bar.read32(0x1_0140) & 1), (0, 0));
    found
}

#[test]
fn a_link_that_is_there_has_no_cause() {
    for device in [I82599, X540, X550] {
        let found = report(&Card::of(device));
        assert!(found.link.up && found.why_down.is_none() && found.negotiation.is_some() == (device != I82599), "{device:04x}: {found}");
    }
}

#[test]
fn an_empty_cage_is_told() {
    let card = Card::with(IxgbeOptions::new().cage(Cage::Empty));
    assert_eq!(report(&card).why_down, Some(LinkDown::NoModule));
    card.assert_no_violations();
}

#[test]
fn a_module_that_is_not_for_ethernet_is_told() {
    let card = Card::with(IxgbeOptions::new().cage(Cage::Foreign));
    let found = report(&card);
    assert_eq!(found.why_down, Some(LinkDown::UnsupportedModule { kind: "of no kind that is known" }));
    assert!(found.to_string().starts_with("down, since the module in the cage is not for this port (of no kind that is known): "), "{found}");
    card.assert_no_violations();
}

#[test]
fn a_fibre_without_light_is_told() {
    let card = Card::new();
    card.device.set_carrier(false);
    assert_eq!(report(&card).why_down, Some(LinkDown::NoSignal));
    card.assert_no_violations();
}

#[test]
fn a_laser_that_somebody_turned_off_is_told() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let bar = card.registers();
    card.device.set_carrier(false);
    card.run_us(100);
    // ESDP: SDP3 is wired to TX_DISABLE.
    bar.write32(0x20, bar.read32(0x20) | 1 << 3);
    assert_eq!(started.control.link_report().unwrap().why_down, Some(LinkDown::LaserOff));
}

#[test]
fn a_link_that_was_turned_off_is_told() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let bar = card.registers();
    // AUTOC2.
    bar.write32(0x42a8, bar.read32(0x42a8) | 1 << 30);
    card.run_us(2_000);
    assert_eq!(started.control.link_report().unwrap().why_down, Some(LinkDown::Disabled));
}

#[test]
fn a_copper_port_without_a_partner_is_told() {
    for device in [X540, X550] {
        let card = Card::of(device);
        card.device.set_carrier(false);
        let found = report(&card);
        assert_eq!(found.why_down, Some(LinkDown::NoPartner), "{device:04x}");
        let negotiation = found.negotiation.unwrap();
        assert!(negotiation.partner.is_empty() && !negotiation.is_complete);
        card.assert_no_violations();
    }
}

#[test]
fn a_negotiation_on_its_way_is_told() {
    let card = Card::with(IxgbeOptions::new().device(X540).link_up_us(1_000_000));
    assert_eq!(report(&card).why_down, Some(LinkDown::Negotiating));
    card.assert_no_violations();
}

/// Another program's doing: the PHY's low power, bit 11 of 30.0, by MSRWD and MSCA.
#[test]
fn a_phy_that_is_powered_down_is_told() {
    let card = Card::of(X550);
    let mut started = card.start(&Config::new());
    let bar = card.registers();
    bar.write32(0x4260, 1 << 11);
    bar.write32(0x425c, 1 << 30 | 30 << 16);
    bar.write32(0x425c, 1 << 30 | 1 << 26 | 30 << 16);
    card.device.set_carrier(false);
    card.run_us(100);
    card.device.set_carrier(true);
    card.run_us(5_000);
    assert_eq!(started.control.link_report().unwrap().why_down, Some(LinkDown::PoweredDown));
}

#[test]
fn a_phy_that_is_too_hot_is_told() {
    for device in [X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        assert!(started.control.link().up);
        card.faults(|faults| faults.overheated = true);
        card.run_us(2_000);
        let found = started.control.link_report().unwrap();
        assert_eq!((found.link.up, found.why_down), (false, Some(LinkDown::Overheated)), "{device:04x}");
        card.assert_no_violations();
    }
}
