//! An EEPROM whose checksum is wrong is found, whichever way its words come.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Flaw, TestPart};

#[test]
fn a_wrong_checksum_is_found() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut opened = card.open().unwrap();
        card.faults(|faults| faults.eeprom_corrupt = true);
        let test = opened.self_test(5_000_000).unwrap();
        let flaws: Vec<_> = test.flaws().collect();
        let [(TestPart::Eeprom, Flaw::Checksum(checksum))] = flaws[..] else { panic!("{flaws:?}") };
        assert_eq!(checksum.stored ^ checksum.computed, 0x0100, "{device:04x}");
        card.assert_no_violations();
    }
}
