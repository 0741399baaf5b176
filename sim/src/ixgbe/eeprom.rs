//! The EEPROM's content and how software reaches it, and the semaphores between software and firmware (3.4, 6, 10.5.4, 8.2.3.2).

use super::card::Ixgbe;
use super::image::CHECKSUM_WORD;
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

impl Ixgbe {
    pub(super) fn write_eerd(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(EERD, value & 0xFFFC);
        self.eerd_done_us = if value & EERD_START != 0 { slot.now_us() + READ_US } else { u64::MAX };
    }

    pub(super) fn read_eerd(&mut self, slot: &Slot<'_>) -> u32 {
        if slot.now_us() >= self.eerd_done_us {
            self.eerd_done_us = u64::MAX;
            let asked = self.regs.at(EERD) & 0xFFFC;
            let word = self.eeprom_word(asked as usize >> 2);
            self.regs.set(EERD, u32::from(word) << 16 | asked | EERD_DONE);
        }
        self.regs.at(EERD)
    }

    /// A word as it is read, whichever way.
    pub(super) fn eeprom_word(&self, address: usize) -> u16 {
        let word = self.eeprom.get(address).copied().unwrap_or(0xFFFF);
        if self.faults.eeprom_corrupt && address == CHECKSUM_WORD { word ^ 0x0100 } else { word }
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
