//! How the card is: what its registers and its EEPROM hold.

mod eeprom;
pub(crate) mod registers;
