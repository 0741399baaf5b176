//! Registers keep what is written to them, each for itself (8.2).
//!
//! The card was reset, and nothing here turns anything on: rings whose queues are off, tables that nobody reads, marks of a flow control that is off. What was
//! there is written back, and the reset behind it does the rest. Masks are the fields as the datasheet has them; what it calls reserved is neither set nor compared.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use driver_core::device::Flaw;
use driver_core::host::RegSpace;
use driver_core::reg::RegArray;

use crate::id::Family;
use crate::regs::*;

/// Each bit both ways, and beside neighbours of either kind.
const PATTERNS: [u32; 4] = [0x5555_5555, 0xaaaa_aaaa, u32::MAX, 0];
/// An odd multiplier: offsets that differ, also in one bit alone, make values that differ.
const SPREAD: u32 = 0x9e37_79b1;
/// Queues whose registers are looked at: the first of each direction, as many as `ethtool -t` takes.
const QUEUES: u32 = 4;

/// RDLEN, TDLEN: 128 to 128 KB in steps of 128 (8.2.3.8.3).
const RING_LEN: u32 = 0x1_ff80;
/// RDBAL, TDBAL: aligned to 128 bytes (8.2.3.8.1).
const RING_BASE: u32 = 0xffff_ff80;
/// FCRTL, FCRTH: bits 18:5, and 31 (8.2.3.3.3, 8.2.3.3.4).
const MARK: u32 = 0x8007_ffe0;
/// RAH: the address's upper 16 bits, and AV (8.2.3.7.9). Pools differ from family to family.
const ADDRESS_HIGH: u32 = 0x8000_ffff;
/// IVAR: a vector of 6 bits and the valid bit, four times (8.2.3.5.16).
const ALLOCATIONS: u32 = 0xbfbf_bfbf;
/// EITR: bits 11:3 (8.2.3.5.12).
const INTERVAL: u32 = 0xff8;

/// One register.
struct Place {
    name: &'static str,
    index: u32,
    offset: u32,
    mask: u32,
}

/// The registers of a family that are written and read.
fn places(family: Family) -> Vec<Place> {
    let mut all = Vec::new();
    let mut add = |registers: &mut dyn Iterator<Item = (&'static str, u32)>, mask| {
        all.extend((0..).zip(registers).map(|(index, (name, offset))| Place { name, index, offset, mask }));
    };
    for (ring, mask) in [(RDBAL, RING_BASE), (RDBAH, u32::MAX), (RDLEN, RING_LEN), (TDBAL, RING_BASE), (TDBAH, u32::MAX), (TDLEN, RING_LEN)] {
        add(&mut names(ring, QUEUES), mask);
    }
    add(&mut names(FCTTV, u32::MAX), u32::MAX);
    add(&mut names(FCRTL, u32::MAX), MARK);
    add(&mut names(FCRTH, u32::MAX), MARK);
    add(&mut core::iter::once((FCRTV.name(), FCRTV.offset())), 0xffff);
    add(&mut names(RAL, u32::MAX), u32::MAX);
    add(&mut names(RAH, u32::MAX), ADDRESS_HIGH);
    add(&mut names(MTA, u32::MAX), u32::MAX);
    add(&mut names(VFTA, u32::MAX), u32::MAX);
    add(&mut names(RSSRK, u32::MAX), u32::MAX);
    // 8.2.3.7.15: queues of 4 bits, or of 6 (X550).
    let entries = if family == Family::X550 { 0x3f3f_3f3f } else { 0x0f0f_0f0f };
    add(&mut names(RETA, u32::MAX), entries);
    if family == Family::X550 {
        add(&mut names(ERETA, u32::MAX), entries);
    }
    add(&mut names(IVAR, u32::MAX), ALLOCATIONS);
    add(&mut names(EITR, u32::MAX), INTERVAL);
    all
}

/// The first `count` of an array.
fn names<T: 'static, M: 'static>(array: RegArray<T, M>, count: u32) -> impl Iterator<Item = (&'static str, u32)> {
    array.iter().take(count as usize).map(|register| (register.name(), register.offset()))
}

/// Writes patterns to one register after the other, then to all of them what is no other's, and reads them back.
pub(super) fn test(bar: &impl RegSpace, family: Family) -> Result<String, Flaw> {
    let places = places(family);
    let before: Vec<_> = places.iter().map(|place| bar.read32(place.offset)).collect();
    let result = places.iter().try_for_each(|place| place.keeps_patterns(bar)).and_then(|()| keep_apart(bar, &places));
    for (place, value) in places.iter().zip(before) {
        bar.write32(place.offset, value & place.mask);
    }
    result.map(|()| format!("{} registers keep {} patterns, and each a value of its own", places.len(), PATTERNS.len()))
}

/// Two registers that are one do not keep two values.
fn keep_apart(bar: &impl RegSpace, places: &[Place]) -> Result<(), Flaw> {
    let own = |place: &Place| place.offset.wrapping_mul(SPREAD) & place.mask;
    places.iter().for_each(|place| bar.write32(place.offset, own(place)));
    places.iter().try_for_each(|place| place.reads(bar, own(place)))
}

impl Place {
    fn keeps_patterns(&self, bar: &impl RegSpace) -> Result<(), Flaw> {
        PATTERNS.into_iter().try_for_each(|pattern| {
            let value = pattern & self.mask;
            bar.write32(self.offset, value);
            self.reads(bar, value)
        })
    }

    fn reads(&self, bar: &impl RegSpace, wrote: u32) -> Result<(), Flaw> {
        let (read, mask) = (bar.read32(self.offset), self.mask);
        if (read ^ wrote) & mask == 0 {
            return Ok(());
        }
        let name = Cow::Owned(format!("{}[{}]", self.name, self.index));
        Err(Flaw::Register { name, offset: self.offset, wrote, read, mask })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use driver_core::testing::PlainBar;

    use super::*;

    #[test]
    fn every_register_is_tested_once_with_a_value_of_its_own() {
        for family in [Family::I82599, Family::X540, Family::X550] {
            let places = places(family);
            let offsets: HashSet<_> = places.iter().map(|place| place.offset).collect();
            assert_eq!(offsets.len(), places.len());
            assert!(places.len() > 600, "{}", places.len());
            // As far as their masks leave room for it.
            let whole: HashSet<_> = places.iter().filter(|place| place.mask == u32::MAX).map(|place| place.offset.wrapping_mul(SPREAD)).collect();
            assert_eq!(whole.len(), places.iter().filter(|place| place.mask == u32::MAX).count());
        }
    }

    #[test]
    fn what_was_there_is_there_again() {
        let bar = PlainBar::new(BAR_BYTES);
        RAL.at(0).unwrap().write(&bar, 0x1234_5678);
        test(&bar, Family::I82599).unwrap();
        assert_eq!(RAL.at(0).unwrap().read(&bar), 0x1234_5678);
        assert_eq!(RDLEN.at(1).unwrap().read(&bar), 0);
    }

    #[test]
    fn a_register_that_is_another_too_is_found() {
        let bar = PlainBar::new(BAR_BYTES);
        // A line of the address decoder is broken: MTA 5 and MTA 4 are one.
        let (one, other) = (MTA.at(4).unwrap().offset(), MTA.at(5).unwrap().offset());
        bar.on_write(other, move |bar, value| bar.set(one, value));
        bar.on_write(one, move |bar, value| bar.set(other, value));
        let flaw = test(&bar, Family::I82599).unwrap_err();
        assert!(matches!(&flaw, Flaw::Register { name, .. } if name == "MTA[4]"), "{flaw}");
    }
}
