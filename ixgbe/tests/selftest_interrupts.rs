//! A vector that does not fire, and one that its mask does not hold back, are found by their numbers.

use crate::common::{Card, I82599, X550};
use driver_core::device::{Flaw, TestPart};

fn flaw_with(device: u16, change: impl FnOnce(&mut sim::ixgbe::Faults)) -> Flaw {
    let card = Card::of(device);
    let mut opened = card.open().unwrap();
    card.faults(change);
    let test = opened.self_test(5_000_000).unwrap();
    let flaws: Vec<_> = test.flaws().collect();
    let [(TestPart::Interrupts, flaw)] = flaws[..] else { panic!("{flaws:?}") };
    card.assert_no_violations();
    flaw.clone()
}

#[test]
fn a_lost_interrupt_is_found() {
    for device in [I82599, X550] {
        for lost in [0, 15, 16, 31, 32, 63] {
            let flaw = flaw_with(device, |faults| faults.lost_vector = Some(lost));
            assert!(matches!(flaw, Flaw::Lost { vector, .. } if vector == lost), "{flaw}");
        }
    }
}

#[test]
fn a_vector_that_fires_masked_is_found() {
    for open in [0, 20, 63] {
        let flaw = flaw_with(I82599, |faults| faults.open_vector = Some(open));
        assert!(matches!(flaw, Flaw::Stray { vector, instead_of: None } if vector == open), "{flaw}");
    }
}
