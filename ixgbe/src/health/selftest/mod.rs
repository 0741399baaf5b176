//! The card's test of itself: the five parts of `ethtool -t`, each of which begins with a card that was reset, and ends with one.

use alloc::format;
use alloc::string::String;

use driver_core::device::error::steps;
use driver_core::device::{During, Error, Flaw, Outcome, SelfTest, TestPart};
use driver_core::host::PciFunction;

use crate::start::Ixgbe;

mod interrupts;
mod link;
mod loopback;
mod registers;

impl<F: PciFunction> Ixgbe<F> {
    /// As [`NetDriver::self_test`](driver_core::device::NetDriver::self_test).
    ///
    /// # Errors
    /// Where the card does not come out of a reset in between.
    pub fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error> {
        let name = String::from(&*self.info().name);
        // The link first: the other parts take the card from it.
        let link = self.card().test_link(link_us);
        self.reset().during(&name, steps::TESTING)?;
        let card = self.card();
        let registers = registers::test(&card.bar, card.model.family);
        self.reset().during(&name, steps::TESTING)?;
        let eeprom = self.test_eeprom();
        let interrupts = self.test_interrupts();
        let loopback = Outcome::of(self.test_loopback());
        self.reset().during(&name, steps::TESTING)?;
        let mut outcomes = [Outcome::of(registers), eeprom, interrupts, loopback, Outcome::of(link)].into_iter();
        Ok(SelfTest::new(|_: TestPart| outcomes.next().unwrap_or(Outcome::Absent { why: "no such part" })))
    }

    fn test_eeprom(&mut self) -> Outcome {
        Outcome::of(match self.card().read_eeprom() {
            Ok(eeprom) if eeprom.checksum.is_good() => Ok(format!("{} words, checksum {:04x}", eeprom.words.len(), eeprom.checksum.stored)),
            Ok(eeprom) => Err(Flaw::Checksum(eeprom.checksum)),
            Err(error) => Err(error.into()),
        })
    }
}
