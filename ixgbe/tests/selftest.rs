//! The card's test of itself finds nothing wrong with a card that is as it should be.

use crate::common::{Card, I82599, MAC, PEER, X540, X550, frame, received, transmit};
use driver_core::device::{Config, NetDevice, NetDriver, Outcome, SelfTest, TestPart};
use driver_core::host::RegSpace;
use driver_core::queue::TxState;

const LINK_US: u64 = 5_000_000;

fn passed(test: &SelfTest, part: TestPart) -> &str {
    match test.parts.iter().find(|(tested, _)| *tested == part) {
        Some((_, Outcome::Passed { what })) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_part_passes_on_each_family() {
    for (device, registers) in [(I82599, 687), (X540, 687), (X550, 783)] {
        let card = Card::of(device);
        let mut opened = card.open().unwrap();
        let test = opened.self_test(LINK_US).unwrap();
        assert!(test.is_good(), "{device:04x}: {test:?}");
        assert_eq!(passed(&test, TestPart::Registers), format!("{registers} registers keep 4 patterns, and each a value of its own"));
        assert!(passed(&test, TestPart::Eeprom).starts_with("2048 words, checksum "));
        assert_eq!(passed(&test, TestPart::Interrupts), "64 vectors fire, each when it is told to and let through");
        assert_eq!(passed(&test, TestPart::Loopback), "384 frames of 60 to 9014 bytes came back as they were sent");
        assert_eq!(passed(&test, TestPart::Link), "up, 10000 Mbit/s, full duplex");
        assert!(card.sent().is_empty(), "nothing leaves the port");
        card.assert_no_violations();
    }
}

#[test]
fn a_card_that_was_tested_is_as_it_was_opened() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut opened = card.audit.watch(card.open().unwrap());
        opened.self_test(LINK_US).unwrap();
        let bar = card.registers();
        // HLREG0.LPBK, FLU of AUTOC or MACC, and no vector let through.
        let forced = if device == I82599 { 0x42a0 } else { 0x4330 };
        assert_eq!((bar.read32(0x4240) >> 15 & 1, bar.read32(forced) & 1, bar.read32(0x880)), (0, 0, 0), "{device:04x}");
        let mut started = opened.start(&Config::new().interrupts(true)).unwrap();
        card.run_us(5_000_000);
        assert!(started.control.link().up);
        card.send(&frame(MAC, 300, 0));
        assert_eq!(received(&mut started.rx[0]), [frame(MAC, 300, 0)]);
        assert_eq!(transmit(&mut started.tx[0], &started.pool, &frame(PEER, 200, 1)), TxState::Running);
        assert_eq!(card.sent(), [frame(PEER, 200, 1)]);
        drop(started);
        card.assert_no_violations();
    }
}

#[test]
fn a_card_that_goes_in_between_is_an_error_and_no_finding() {
    let card = Card::new();
    let mut opened = card.open().unwrap();
    card.faults(|faults| faults.gone = true);
    let error = opened.self_test(LINK_US).unwrap_err();
    assert!(error.to_string().starts_with("sim:ixgbe: testing it: ") && error.kind().is_gone(), "{error}");
}
