//! How the card is: what its registers, its EEPROM and the module in its cage say.

mod eeprom;
mod host_interface;
mod link;
mod module;
pub(crate) mod registers;
mod selftest;
mod temperature;
