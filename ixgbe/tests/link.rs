//! The link comes, goes, and its changes are counted.

use crate::common::{Card, I82599, MAC, X540, X550, frame, received, transmit};
use driver_core::device::{Config, Link, NetDevice};
use driver_core::host::RegSpace;
use driver_core::queue::TxState;

const UP: Link = Link::up_at(Some(10_000));

#[test]
fn the_link_of_each_family_comes_up() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.open().unwrap().start(&Config::new()).unwrap();
        if device == I82599 {
            // On the others the PHY's negotiation is through while the driver waits for its firmware.
            assert_eq!(started.control.link(), Link::default(), "it takes its time");
        }
        card.run_us(2_000);
        assert_eq!(started.control.link(), UP, "{device:04x}");
        card.assert_no_violations();
    }
}

#[test]
fn changes_are_counted_once_each() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    for _ in 0..3 {
        assert_eq!(started.control.link(), UP);
    }
    assert_eq!(started.control.stats().carrier_changes, 1);
    card.device.set_carrier(false);
    card.run_us(100);
    for _ in 0..3 {
        assert_eq!(started.control.link(), Link::default());
    }
    assert_eq!(started.control.stats().carrier_changes, 2);
    card.device.set_carrier(true);
    card.run_us(2_000);
    assert_eq!(started.control.link(), UP);
    assert_eq!(started.control.stats().carrier_changes, 3);
    card.assert_no_violations();
}

#[test]
fn traffic_goes_on_after_each_of_thirty_flaps() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        // On the others the PHY negotiates anew.
        let until_up = |started: &mut crate::common::Started| {
            (0..2_000).any(|_| {
                started.control.link() == UP
                    || !{
                        card.run_us(5_000);
                        true
                    }
            })
        };
        assert!(until_up(&mut started), "{device:04x}");
        for flap in 1..=30u8 {
            card.device.set_carrier(false);
            card.run_us(100);
            assert_eq!(started.control.link(), Link::default(), "{device:04x} {flap}");
            card.device.set_carrier(true);
            assert!(until_up(&mut started), "{device:04x} {flap}");
            let (to_us, from_us) = (frame(MAC, 100, flap), frame(crate::common::PEER, 200, flap));
            card.send(&to_us);
            assert_eq!(received(&mut started.rx[0]), [to_us], "{device:04x} {flap}");
            assert_eq!(transmit(&mut started.tx[0], &started.pool, &from_us), TxState::Running);
            assert_eq!(card.sent(), [from_us], "{device:04x} {flap}");
            assert_eq!(started.control.stats().carrier_changes, 1 + 2 * u64::from(flap));
        }
        card.assert_no_violations();
    }
}

#[test]
fn a_link_that_the_eeprom_turned_off_is_turned_on() {
    let card = Card::new();
    let opened = card.open().unwrap();
    // AUTOC2, bits 30:28; written here in place of an EEPROM that says so.
    let bar = card.registers();
    bar.write32(0x42a8, bar.read32(0x42a8) | 7 << 28);
    let mut started = opened.start(&Config::new()).unwrap();
    card.run_us(2_000);
    assert_eq!(started.control.link(), UP);
    card.assert_no_violations();
}

#[test]
fn frames_that_wait_for_the_link_go_out_when_it_comes() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    card.device.set_carrier(false);
    card.run_us(100);
    let bytes = frame(crate::common::PEER, 200, 1);
    assert_eq!(transmit(&mut started.tx[0], &started.pool, &bytes), TxState::Running);
    assert!(card.sent().is_empty());
    card.device.set_carrier(true);
    card.run_us(2_000);
    assert_eq!(card.sent(), [bytes]);
    card.send(&frame(MAC, 64, 0));
    assert_eq!(received(&mut started.rx[0]).len(), 1);
    card.assert_no_violations();
}
