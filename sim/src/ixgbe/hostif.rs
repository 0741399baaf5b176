//! The X550's host interface: software leaves a command in shared RAM, and the firmware answers there. Its EEPROM is behind it, since a copy in the
//! firmware's RAM stands for the flash.
//!
//! The 82599 and the X540 have the registers too, with HICR.EN clear here: their firmware takes no commands.

use super::card::Ixgbe;
use super::regs::{FLEX_MNG, HICR, SW_FW_SYNC};
use crate::slot::Slot;

/// HICR: enabled by the firmware; a command is there; the status is valid.
const HICR_EN: u32 = 1;
const HICR_C: u32 = 1 << 1;
const HICR_SV: u32 = 1 << 2;
/// SW_FW_SYNC: software owns the host interface.
const SW_MNG_SM: u32 = 1 << 10;
/// How long the firmware takes, in microseconds.
const ANSWER_US: u64 = 20;

/// Words of 32 bits in the shared RAM.
const RAM_WORDS: usize = 448;
/// Where the data of a read, or the word of a write, lie in it, in bytes.
const DATA_AT: usize = 12;

/// What a command's first byte says.
mod command {
    pub(super) const READ_SHADOW_RAM: u8 = 0x31;
    pub(super) const WRITE_SHADOW_RAM: u8 = 0x33;
    pub(super) const SHADOW_RAM_DUMP: u8 = 0x36;
    pub(super) const DRIVER_INFO: u8 = 0xDD;
    pub(super) const DISABLE_RXEN: u8 = 0xDE;
}
/// Status of an answer, in its third byte.
const SUCCESS: u8 = 1;
const UNKNOWN: u8 = 0x80;

impl Ixgbe {
    /// Whether firmware takes commands.
    fn has_host_interface(&self) -> bool {
        self.has_long_reta()
    }

    pub(super) fn reset_host_interface(&mut self) {
        self.regs.set(HICR, if self.has_host_interface() { HICR_EN } else { 0 });
        self.hicr_done_us = u64::MAX;
    }

    pub(super) fn write_hicr(&mut self, slot: &Slot<'_>, value: u32) {
        let before = self.regs.at(HICR);
        // EN is the firmware's.
        self.regs.set(HICR, before & HICR_EN | value & !HICR_EN);
        if before & HICR_EN == 0 || value & HICR_C == 0 || before & HICR_C != 0 {
            return;
        }
        if !self.regs.has(SW_FW_SYNC, SW_MNG_SM) {
            slot.violation("a command was given without SW_FW_SYNC.SW_MNG_SM", format_args!("HICR"), value.into(), "10.5.4 (X550)");
        }
        self.regs.change(HICR, HICR_SV, false);
        self.hicr_done_us = slot.now_us() + ANSWER_US;
    }

    pub(super) fn read_hicr(&mut self, slot: &Slot<'_>) -> u32 {
        if slot.now_us() >= self.hicr_done_us {
            self.hicr_done_us = u64::MAX;
            self.answer_command();
            self.regs.change(HICR, HICR_C, false);
            self.regs.change(HICR, HICR_SV, true);
        }
        self.regs.at(HICR)
    }

    fn answer_command(&mut self) {
        let mut ram: Vec<u8> = (0..RAM_WORDS as u32).flat_map(|word| self.regs.at(FLEX_MNG + 4 * word).to_le_bytes()).collect();
        // Addresses and lengths are big endian, in bytes.
        let address = u32::from_be_bytes([ram[4], ram[5], ram[6], ram[7]]) as usize;
        let len_bytes = usize::from(u16::from_be_bytes([ram[8], ram[9]]));
        let mut status = SUCCESS;
        match ram[0] {
            command::READ_SHADOW_RAM => {
                let words = (address / 2..).flat_map(|at| self.eeprom_word(at).to_le_bytes());
                ram[DATA_AT..].iter_mut().zip(words).take(len_bytes).for_each(|(byte, from)| *byte = from);
            }
            command::WRITE_SHADOW_RAM => match self.eeprom.get_mut(address / 2) {
                Some(word) => *word = u16::from_le_bytes([ram[DATA_AT], ram[DATA_AT + 1]]),
                None => status = UNKNOWN,
            },
            // The shadow is all there is: nothing would be lost without a copy to the flash.
            command::SHADOW_RAM_DUMP | command::DRIVER_INFO => {}
            command::DISABLE_RXEN => self.regs.change(super::regs::RXCTRL, super::regs::RXCTRL_RXEN, false),
            _ => status = UNKNOWN,
        }
        // The header alone tells that the command is done; what the caller reads beyond it, it knows the length of.
        (ram[1], ram[2]) = (0, status);
        for (word, bytes) in (0u32..).zip(ram.as_chunks::<4>().0) {
            self.regs.set(FLEX_MNG + 4 * word, u32::from_le_bytes(*bytes));
        }
    }
}
