//! Frames that do not come back as they were, or not at all, are found.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Flaw, TestPart};

#[test]
fn a_byte_that_changes_in_the_loop_is_found_with_its_place() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut opened = card.open().unwrap();
        card.faults(|faults| faults.loop_corrupts = true);
        let test = opened.self_test(5_000_000).unwrap();
        let flaws: Vec<_> = test.flaws().collect();
        let [(TestPart::Loopback, Flaw::Byte { len_bytes: 1024, at: 522, sent, came, .. })] = flaws[..] else { panic!("{flaws:?}") };
        assert_eq!(sent ^ came, 1, "{device:04x}");
        card.assert_no_violations();
    }
}

#[test]
fn a_transmitter_that_stands_still_is_found() {
    let card = Card::new();
    let mut opened = card.open().unwrap();
    card.faults(|faults| faults.hang_tx_after = Some(100));
    let test = opened.self_test(5_000_000).unwrap();
    let flaws: Vec<_> = test.flaws().collect();
    assert!(matches!(flaws[..], [(TestPart::Loopback, Flaw::Missing { frame: 100, came: 4, .. })]), "{flaws:?}");
    card.assert_no_violations();
}

/// The MAC loops whether or not there is a wire.
#[test]
fn the_loop_needs_no_link() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        card.device.set_carrier(false);
        let mut opened = card.open().unwrap();
        let test = opened.self_test(10_000).unwrap();
        assert_eq!(test.flaws().map(|(part, _)| part).collect::<Vec<_>>(), [TestPart::Link], "{device:04x}: {test:?}");
        card.assert_no_violations();
    }
}
