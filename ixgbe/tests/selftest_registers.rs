//! A register that does not keep what is written to it is found, by name and bit.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Flaw, TestPart};

#[test]
fn a_stuck_bit_is_found_in_its_register() {
    for device in [I82599, X540, X550] {
        // A queue's ring, an address, tables, a vector's allocation, an interval.
        for (name, offset, bit) in [
            ("RDBAH[2]", 0x1084, 31),
            ("TDLEN[3]", 0x60c8, 7),
            ("RAL[100]", 0xa520, 0),
            ("VFTA[127]", 0xa1fc, 31),
            ("IVAR[63]", 0x9fc, 29),
            ("EITR[23]", 0x87c, 3),
        ] {
            let card = Card::of(device);
            let mut opened = card.open().unwrap();
            card.faults(|faults| faults.stuck_bits = Some((offset, 1 << bit)));
            let test = opened.self_test(5_000_000).unwrap();
            let flaws: Vec<_> = test.flaws().collect();
            let [(TestPart::Registers, Flaw::Register { name: found, offset: at, wrote, read, .. })] = flaws[..] else { panic!("{flaws:?}") };
            assert_eq!((&**found, *at, wrote ^ read), (name, offset, 1 << bit), "{device:04x}");
            card.assert_no_violations();
        }
    }
}
