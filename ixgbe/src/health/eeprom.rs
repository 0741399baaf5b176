//! The EEPROM's words and their checksum (6.3.2.3, 8.2.3.2.2); the X550's words come from its firmware.

use alloc::vec::Vec;

use driver_core::device::{Checksum, Eeprom, ErrorKind};
use driver_core::host::Bar;

use crate::card::Card;
use crate::health::host_interface;
use crate::id::Family;
use crate::regs::*;
use crate::semaphore::Resource;

/// The word that makes the others add up to [`SUM`].
const CHECKSUM_WORD: usize = 0x3f;
const SUM: u16 = 0xbaba;
/// Words that point to sections which count, too (6.2).
const POINTERS: core::ops::Range<usize> = 0x03..0x0f;
/// Of them those to the PHY's image and to the option ROM are left out from the X540 on.
const LEFT_OUT: [usize; 2] = [0x04, 0x05];
/// EEPROM-X550: the X550's pointers, and the last word of its head.
const X550_POINTERS: core::ops::Range<usize> = 0x02..0x0f;
const X550_LAST_WORD: usize = 0x41;
/// NO-LIMITS: how long a word may take.
const WORD_US: u64 = 10_000;
/// Words that are read without giving the firmware a chance in between. A word takes some 20 us, and 10.5.4 asks for no more than a few milliseconds at a time.
const TOGETHER: usize = 64;

impl<B: Bar> Card<B> {
    /// Reads all words, and says whether they are what was written.
    pub(crate) fn read_eeprom(&self) -> Result<Eeprom, ErrorKind> {
        // 8.2.3.2.1: EE_Size is the logarithm, less 6.
        let size = 1 << ((EEC.read(&self.bar).bits() >> EEC_EE_SIZE_SHIFT & 0xf) + 6);
        let mut words = Vec::with_capacity(size);
        while words.len() < size {
            if self.model.family == Family::X550 {
                words.extend(self.shadow_ram(words.len(), host_interface::TOGETHER.min(size - words.len()))?);
                continue;
            }
            let end = size.min(words.len() + TOGETHER);
            self.with_semaphore(Resource::EEPROM, || {
                for address in words.len()..end {
                    words.push(self.eeprom_word(address as u32)?);
                }
                Ok(())
            })?;
        }
        let checksum = checksum(&words, self.model.family);
        Ok(Eeprom::new(words, checksum))
    }

    /// One word, under the EEPROM's semaphore.
    pub(super) fn eeprom_word(&self, address: u32) -> Result<u16, ErrorKind> {
        EERD.write(&self.bar, Eerd::from_bits_retain(address << EERD_ADDRESS_SHIFT) | Eerd::START);
        let done = self.wait(EERD, "a word of the EEPROM (DONE)", WORD_US, |v| v.contains(Eerd::DONE))?;
        Ok((done.bits() >> EERD_DATA_SHIFT) as u16)
    }
}

/// Words 0 to 0x3e, and the sections that some of them point to: a section is its length and so many words (6.3.2.3). EEPROM-X550: there words up to 0x41 count, word 2
/// points to a section too, and some sections have a length that is not told.
fn checksum(words: &[u16], family: Family) -> Checksum {
    let at = |address: usize| words.get(address).copied();
    let is_x550 = family == Family::X550;
    let is_left_out = |pointer: &usize| family != Family::I82599 && LEFT_OUT.contains(pointer);
    // 0 and 0xffff point nowhere, and are no lengths.
    let exists = |word: &u16| !matches!(*word, 0 | 0xffff);
    let pointers = if is_x550 { X550_POINTERS } else { POINTERS };
    let sections = pointers.filter(|pointer| !is_left_out(pointer)).flat_map(|pointer| {
        let section = at(pointer).filter(exists).map_or(words.len(), usize::from);
        let told = || (section + 1, at(section).filter(exists).map_or(0, usize::from));
        let (first, len) = if is_x550 { x550_section(pointer).map_or_else(told, |len| (section, len)) } else { told() };
        (first..first + len).filter_map(at)
    });
    let last = if is_x550 { X550_LAST_WORD } else { CHECKSUM_WORD };
    let head = (0..=last).filter(|&address| address != CHECKSUM_WORD).filter_map(at);
    let sum = head.chain(sections).fold(0, u16::wrapping_add);
    Checksum { stored: at(CHECKSUM_WORD).unwrap_or(0), computed: SUM.wrapping_sub(sum) }
}

/// How many words a section of the X550's has that does not begin with its length.
const fn x550_section(pointer: usize) -> Option<usize> {
    match pointer {
        // PCIe general configuration; PCIe configuration of either port.
        0x06 => Some(0x24),
        0x07 | 0x08 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_count_and_pointers_to_nowhere_do_not() {
        let mut words = alloc::vec![0_u16; 0x80];
        words[0] = 5;
        words[3] = 0xffff;
        (words[6], words[0x60], words[0x61], words[0x62], words[0x63]) = (0x60, 2, 10, 20, 99);
        // Length 0xffff: a section that was never written. One beyond the end has no words.
        (words[7], words[0x70]) = (0x70, 0xffff);
        words[8] = 0x7fff;
        let sum = 5 + 0xffff_u16.wrapping_add(0x60).wrapping_add(30).wrapping_add(0x70).wrapping_add(0x7fff);
        assert_eq!(checksum(&words, Family::I82599).computed, SUM.wrapping_sub(sum));
        words[4] = 0x60;
        let more = |family| checksum(&words, family).computed;
        assert_eq!(more(Family::I82599), SUM.wrapping_sub(sum).wrapping_sub(0x60 + 30));
        assert_eq!(more(Family::X540), SUM.wrapping_sub(sum).wrapping_sub(0x60), "the pointer counts, its section does not");
        words[4] = 0;
        let x540 = checksum(&words, Family::X540).computed;
        // A word behind the checksum, a section behind word 2, and sections without a length: of 8 words behind words 7 and 8, of 36 behind word 6.
        (words[0x41], words[2], words[8]) = (7, 0x60, 0x70);
        let fixed = 2 * 0xffff + (2 + 10 + 20 + 99 + 0xffff - 30);
        let added = (7 + (0x60 + 30) + (0x70 - 0x7fff) + fixed) as u16;
        assert_eq!(checksum(&words, Family::X550).computed, x540.wrapping_sub(added));
    }
}
