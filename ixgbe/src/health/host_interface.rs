//! The X550's firmware takes commands through shared RAM (8.2.3.25 of the X550 datasheet, "host interface"): HICR says whose turn it is, FLEX_MNG holds the command and
//! then its answer.

use alloc::vec::Vec;

use driver_core::device::ErrorKind;
use driver_core::host::Bar;

use crate::card::Card;
use crate::error::HardwareError;
use crate::regs::*;
use crate::semaphore::Resource;

/// NO-LIMITS: how long the firmware may take for a command. The drivers in the field wait 500 ms.
const ANSWER_US: u64 = 500_000;
/// Reads words of the copy of the flash that the firmware has in its RAM.
const READ_SHADOW_RAM: u8 = 0x31;
/// What follows the header of that command, in bytes: address and length.
const READ_BYTES: u8 = 6;
/// A command of the firmware's default, in place of a checksum over its bytes.
const NO_CHECKSUM: u8 = 0xff;
/// The answer's third byte where it was done.
const SUCCESS: u8 = 1;
/// Where the words of an answer begin, in words of 32 bits.
const DATA_AT: u32 = 3;
/// Words that are read by one command: 512 bytes, of the 1792 that there is RAM for.
pub(crate) const TOGETHER: usize = 256;

impl<B: Bar> Card<B> {
    /// Reads `count` words of the EEPROM, which the firmware has in RAM; at most [`TOGETHER`].
    pub(crate) fn shadow_ram(&self, address: usize, count: usize) -> Result<Vec<u16>, ErrorKind> {
        self.with_semaphore(Resource::SHADOW_RAM, || {
            self.command(&read_command(address as u32, count as u16))?;
            let mut words = Vec::with_capacity(count + 1);
            for at in 0..count.div_ceil(2) as u32 {
                let pair = FLEX_MNG.at(DATA_AT + at)?.read(&self.bar);
                words.extend([pair as u16, (pair >> 16) as u16]);
            }
            words.truncate(count);
            Ok(words)
        })
    }

    /// Leaves a command, waits for its answer, and checks that it was done.
    fn command(&self, words: &[u32]) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        if !HICR.read(bar).contains(Hicr::EN) {
            return Err(HardwareError::NoFirmware { hicr: HICR.read(bar).bits() }.into());
        }
        for (register, word) in FLEX_MNG.iter().zip(words) {
            register.write(bar, *word);
        }
        HICR.modify(bar, |v| v | Hicr::C);
        let answered = self.wait(HICR, "the firmware to answer a command (C clear)", ANSWER_US, |v| !v.contains(Hicr::C))?;
        let [command, _, status, _] = FLEX_MNG.at(0)?.read(bar).to_le_bytes();
        if answered.contains(Hicr::SV) && status == SUCCESS { Ok(()) } else { Err(HardwareError::Firmware { command, status }.into()) }
    }
}

/// The words of a read. Addresses and lengths are in bytes, and big-endian.
fn read_command(address: u32, count: u16) -> [u32; 3] {
    let header = u32::from_le_bytes([READ_SHADOW_RAM, 0, READ_BYTES, NO_CHECKSUM]);
    [header, (2 * address).swap_bytes(), u32::from((2 * count).swap_bytes())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_names_bytes_in_the_order_of_the_wire() {
        let bytes: Vec<u8> = read_command(0x1234, 256).iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(bytes, [0x31, 0, 6, 0xff, 0, 0, 0x24, 0x68, 0x02, 0, 0, 0]);
    }
}
