//! The thermal sensor of some 82599 boards: a chip on the bus of the SFP+ cage, of which the EEPROM tells (ETS: word 0x26 points to its section).

use alloc::format;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Temperature};
use driver_core::host::Bar;

use crate::card::Card;
use crate::health::module::{Bus, SENSOR};
use crate::id::Family;
use crate::semaphore::Resource;

/// The EEPROM's word that points to the section; 0 and 0xffff: there is none.
const ETS: usize = 0x26;
/// Its first word: how many sensors follow, a word each, and of which kind the chip is.
const COUNT: u16 = 0x7;
const KIND: u16 = 0x7 << 3;
const KIND_EMC: u16 = 0;
/// A sensor's word: its limit in degrees, which of the chip's diodes it is, and where it is (0: nowhere).
const LIMIT: u16 = 0xff;
const DIODE_SHIFT: u32 = 8;
const PLACE_SHIFT: u32 = 10;
/// Where each of the chip's diodes has its temperature.
const DIODES: [u8; 4] = [0x00, 0x01, 0x23, 0x2a];
/// Sensors that Linux looks at, at most.
const MOST: u16 = 4;

impl<B: Bar> Card<B> {
    /// Every sensor that the board has. ETS-PORT: the chip is on the first port's bus.
    pub(crate) fn read_temperatures(&self) -> Result<Vec<Temperature>, ErrorKind> {
        if self.model.family != Family::I82599 || self.is_second_port() {
            return Ok(Vec::new());
        }
        let words = self.sensor_words()?;
        words
            .into_iter()
            .filter(|word| word >> PLACE_SHIFT & 0xf != 0)
            .map(|word| {
                let degrees = self.diode(usize::from(word >> DIODE_SHIFT & 3))?;
                let name = format!("board {}", word >> PLACE_SHIFT & 0xf);
                Ok(Temperature::new(name, i32::from(degrees) * 1000, Some(i32::from(word & LIMIT) * 1000)))
            })
            .collect()
    }

    /// What the EEPROM says of each sensor.
    fn sensor_words(&self) -> Result<Vec<u16>, ErrorKind> {
        self.with_semaphore(Resource::EEPROM, || {
            let section = self.eeprom_word(ETS as u32)?;
            if matches!(section, 0 | 0xffff) {
                return Ok(Vec::new());
            }
            let head = self.eeprom_word(section.into())?;
            let count = if head & KIND == KIND_EMC { (head & COUNT).min(MOST) } else { 0 };
            (1..=u32::from(count)).map(|at| self.eeprom_word(u32::from(section) + at)).collect()
        })
    }

    /// One byte, in whole degrees, signed.
    fn diode(&self, diode: usize) -> Result<i8, ErrorKind> {
        self.with_semaphore(Resource::phy(self.is_second_port()), || {
            let (bus, mut bytes) = (Bus { card: self, address: SENSOR }, Vec::new());
            let result = bus.read(DIODES[diode % DIODES.len()], 1, &mut bytes);
            bus.stop();
            result.map(|()| bytes.first().copied().unwrap_or(0) as i8)
        })
    }
}
