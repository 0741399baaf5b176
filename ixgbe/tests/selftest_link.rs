//! A port without a link is told, with how long it was waited for.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Flaw, TestPart};

#[test]
fn a_link_that_does_not_come_is_told() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        card.device.set_carrier(false);
        let mut opened = card.open().unwrap();
        let test = opened.self_test(70_000).unwrap();
        let flaws: Vec<_> = test.flaws().collect();
        let [(TestPart::Link, flaw @ Flaw::NoLink { waited_us, .. })] = flaws[..] else { panic!("{flaws:?}") };
        assert!((70_000..80_000).contains(waited_us) && flaw.to_string().starts_with("no link within 7"), "{device:04x}: {flaw}");
        card.assert_no_violations();
    }
}
