//! The EEPROM's content and how software reaches it, and the semaphores between software and firmware (3.4, 6, 10.5.4, 8.2.3.2).

use super::Ixgbe;
use super::regs::{EEC, EEC_AUTO_RD, EEC_PRES, EERD, EEWR, SW_FW_SYNC, SWSM};
use super::spi::{CS, DI, SK};
use crate::slot::Slot;

/// EERD, and EEWR alike (8.2.3.2.2).
const EERD_START: u32 = 1;
const EERD_DONE: u32 = 1 << 1;
/// SWSM (8.2.3.4.9).
const SWSM_SMBI: u32 = 1;
const SWSM_SWESMBI: u32 = 1 << 1;
/// SW_FW_SYNC.REGSMP, of the X540.
const REGSMP: u32 = 1 << 31;
/// SW_FW_SYNC.SW_EEP_SM: software owns the EEPROM (8.2.3.4.11).
const SW_EEP_SM: u32 = 1;
/// EEC (8.2.3.2.1): software asks for the pins and gets them. Size, address size and whether flash may be written are fixed here.
const EEC_REQ: u32 = 1 << 6;
const EEC_GNT: u32 = 1 << 7;
const EEC_FIXED: u32 = 0x7C00 | EEC_PRES | EEC_AUTO_RD;
const EEC_FWE: u32 = 3 << 4;
/// EEC of the X540, whose EEPROM is a copy of flash: the flash is up to date.
const EEC_FLUDONE: u32 = 1 << 26;
/// How long a word takes, in microseconds.
const READ_US: u64 = 1;
const WRITE_US: u64 = 20;

/// The checksum's word (6.3.2.3), and the sum of all words that count.
const CHECKSUM_WORD: usize = 0x3F;
const SUM: u16 = 0xBABA;
const WORDS: usize = 2048;
/// Where the model keeps the section of core 0, to which word 9 points.
const CORE0: usize = 0x100;
/// Where word 0xF points: the firmware's sections, of which one holds its version; and the list of module settings behind word 0x2B.
const FIRMWARE: usize = 0x120;
const PATCH: usize = 0x130;
const PHY_INIT: usize = 0x140;
const PHY_INIT_WORDS: usize = 0x150;

/// The address in the section of core 0; zeros where there is no such section.
pub(super) fn address(words: &[u16]) -> [u8; 6] {
    let section = usize::from(words[0x09]);
    let mut address = [0; 6];
    for (pair, word) in address.as_chunks_mut::<2>().0.iter_mut().zip(words.get(section + 1..).unwrap_or_default()) {
        *pair = word.to_le_bytes();
    }
    address
}

/// The content for a card with this address.
pub(super) fn image(device: u16, mac: [u8; 6]) -> Vec<u16> {
    let mut words = vec![0xFFFF; WORDS];
    words[..0x42].fill(0);
    words[0x00] = 0x0040;
    // Pointers to sections that are not there.
    for pointer in [0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x17, 0x1B, 0x26, 0x27, 0x28, 0x37] {
        words[pointer] = 0xFFFF;
    }
    words[0x09] = CORE0 as u16;
    // Part number: without the pointer guard it is a plain number.
    (words[0x15], words[0x16]) = (0xE669, 0x0001);
    words[0x18] = 0x0100;
    words[0x29] = 0x0100;
    // Any SFP+ module will do.
    words[0x2C] = 0x0001;
    (words[0x2D], words[0x2E]) = (device, 0x8000);
    words[0x2F] = 0x0100;
    words[CORE0] = 4;
    for (word, pair) in words[CORE0 + 1..].iter_mut().zip(mac.as_chunks::<2>().0) {
        *word = u16::from_le_bytes(*pair);
    }
    words[CORE0 + 4] = 0;
    // Firmware 6, without the link settings that would take AUTOC under its semaphore.
    words[0x0F] = FIRMWARE as u16;
    words[FIRMWARE + 4] = PATCH as u16;
    words[PATCH + 7] = 6;
    // Settings of each kind of module: passive cables and optics, port 0 and port 1; one word for CORECTL.
    words[0x2B] = PHY_INIT as u16;
    words[PHY_INIT] = 8;
    for (pair, kind) in words[PHY_INIT + 1..].as_chunks_mut::<2>().0.iter_mut().zip([3, 4, 5, 6]) {
        *pair = [kind, PHY_INIT_WORDS as u16];
    }
    (words[PHY_INIT_WORDS], words[PHY_INIT_WORDS + 1]) = (1, 0x0001);
    words[CHECKSUM_WORD] = checksum(&words);
    words
}

/// The checksum word: with it, words 0 to 0x3F and the sections that words 3 to 0xE point to add up to 0xBABA.
pub(super) fn checksum(words: &[u16]) -> u16 {
    let header = words[..CHECKSUM_WORD].iter();
    let sections = words[0x03..0x0F].iter().filter(|pointer| !matches!(**pointer, 0 | 0xFFFF)).flat_map(|&pointer| {
        let at = usize::from(pointer);
        words[at + 1..].iter().take(words[at].into())
    });
    SUM.wrapping_sub(header.chain(sections).fold(0, |sum, &word| sum.wrapping_add(word)))
}

impl Ixgbe {
    pub(super) fn write_eerd(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(EERD, value & 0xFFFC);
        self.eerd_done_us = if value & EERD_START != 0 { slot.now_us() + READ_US } else { u64::MAX };
    }

    pub(super) fn read_eerd(&mut self, slot: &Slot<'_>) -> u32 {
        if slot.now_us() >= self.eerd_done_us {
            self.eerd_done_us = u64::MAX;
            let asked = self.regs.at(EERD) & 0xFFFC;
            let mut word = self.eeprom.get(asked as usize >> 2).copied().unwrap_or(0xFFFF);
            if self.faults.eeprom_corrupt && asked >> 2 == CHECKSUM_WORD as u32 {
                word ^= 0x0100;
            }
            self.regs.set(EERD, u32::from(word) << 16 | asked | EERD_DONE);
        }
        self.regs.at(EERD)
    }

    /// Writes a word. What was written lasts as long as the card: no reset undoes it.
    pub(super) fn write_eewr(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(EEWR, value & !(EERD_START | EERD_DONE));
        if value & EERD_START == 0 {
            return;
        }
        self.demand_eeprom(slot, "EEWR", value);
        if let Some(word) = self.eeprom.get_mut((value & 0xFFFC) as usize >> 2) {
            *word = (value >> 16) as u16;
        }
        self.eewr_done_us = slot.now_us() + WRITE_US;
    }

    /// EEWR is done when nothing is being written: software looks before it writes, too.
    pub(super) fn read_eewr(&self, slot: &Slot<'_>) -> u32 {
        self.regs.at(EEWR) | if slot.now_us() >= self.eewr_done_us { EERD_DONE } else { 0 }
    }

    /// EEC: who asks for the pins has them at once, since there is no firmware that would use them.
    pub(super) fn write_eec(&mut self, slot: &Slot<'_>, value: u32) {
        let before = self.regs.at(EEC);
        let granted = if value & EEC_REQ != 0 { EEC_GNT } else { 0 };
        self.regs.set(EEC, before & EEC_FIXED | value & (SK | CS | DI | EEC_FWE | EEC_REQ) | granted);
        if value & !before & EEC_REQ != 0 {
            self.demand_eeprom(slot, "EEC", value);
        }
        // Without a grant the chip is not selected.
        let pins = if granted != 0 { value & (SK | CS | DI) } else { CS };
        self.spi.drive(&mut self.eeprom, slot.now_us(), pins);
    }

    pub(super) fn read_eec(&self) -> u32 {
        self.regs.at(EEC) | self.spi.out() | if self.is_copper() { EEC_FLUDONE } else { 0 }
    }

    fn demand_eeprom(&self, slot: &Slot<'_>, register: &str, value: u32) {
        if !self.regs.has(SW_FW_SYNC, SW_EEP_SM) {
            slot.violation("the EEPROM was used without SW_FW_SYNC.SW_EEP_SM", format_args!("{register}"), value.into(), "10.5.4");
        }
    }

    /// A read of SWSM takes the semaphore SMBI where it is free.
    pub(super) fn read_swsm(&mut self) -> u32 {
        let value = self.regs.at(SWSM) | if self.faults.semaphore_stuck { SWSM_SMBI } else { 0 };
        self.regs.set(SWSM, value | SWSM_SMBI);
        value
    }

    pub(super) fn write_swsm(&mut self, value: u32) {
        // Software can only release SMBI; SWESMBI is granted at once, since there is no firmware that would hold it.
        let smbi = self.regs.at(SWSM) & value & SWSM_SMBI;
        self.regs.set(SWSM, smbi | value & SWSM_SWESMBI);
    }

    pub(super) fn read_sw_fw_sync(&mut self) -> u32 {
        let value = self.regs.at(SW_FW_SYNC);
        if self.is_copper() {
            self.regs.set(SW_FW_SYNC, value | REGSMP);
        }
        value
    }

    pub(super) fn write_sw_fw_sync(&mut self, slot: &Slot<'_>, value: u32) {
        if !self.is_copper() && !self.regs.has(SWSM, SWSM_SWESMBI) {
            slot.violation("SW_FW_SYNC was written without SWSM.SWESMBI", format_args!("SW_FW_SYNC"), value.into(), "10.5.4");
        }
        self.regs.set(SW_FW_SYNC, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up() {
        let words = image(0x10FB, [2, 0, 0, 0x12, 0x34, 0x56]);
        let mut sum = 0u16;
        for word in &words[..=0x3F] {
            sum = sum.wrapping_add(*word);
        }
        for word in &words[CORE0 + 1..=CORE0 + 4] {
            sum = sum.wrapping_add(*word);
        }
        assert_eq!(sum, 0xBABA);
    }
}
