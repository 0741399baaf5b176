//! PCI configuration space as a space of registers.

use core::cell::RefCell;

use crate::host::bar::RegSpace;
use crate::host::pci::{PciError, PciErrorKind, PciFunction};

/// The size of configuration space in bytes (PCI Express base specification 7.2).
const CONFIG_BYTES: usize = 4096;

/// A function's configuration space, to be read as registers are: `Reg::read`, `wait_until`.
///
/// A read that fails is all ones, as from a bus where nobody answers, and the error is kept for whoever asks: [`ConfigSpace::take_error`].
/// The view is for reading. What a write may do to a function needs the function itself ([`PciFunction::config_write`]), so a write is lost here, and kept as
/// an error too.
#[derive(Debug)]
pub struct ConfigSpace<'a, F> {
    function: &'a F,
    /// The first that was not taken yet.
    error: RefCell<Option<PciError>>,
}

impl<'a, F: PciFunction> ConfigSpace<'a, F> {
    /// A view of `function`'s.
    pub fn new(function: &'a F) -> Self {
        Self { function, error: RefCell::new(None) }
    }

    /// The first access that failed since this was asked last.
    pub fn take_error(&self) -> Option<PciError> {
        self.error.take()
    }

    fn read(&self, offset: u32, width: u8) -> u32 {
        let value = match u16::try_from(offset) {
            Ok(offset) => self.function.config_read(offset, width),
            Err(_) => Err(PciError::new(self.function.name(), "reading configuration space", PciErrorKind::Argument("the offset is behind its end"))),
        };
        value.unwrap_or_else(|error| {
            self.keep(error);
            u32::MAX
        })
    }

    fn refuse_write(&self) {
        let kind = PciErrorKind::Argument("this view of it is for reading: use the function's own config_write");
        self.keep(PciError::new(self.function.name(), "writing configuration space", kind));
    }

    fn keep(&self, error: PciError) {
        self.error.borrow_mut().get_or_insert(error);
    }
}

impl<F: PciFunction> RegSpace for ConfigSpace<'_, F> {
    fn len_bytes(&self) -> usize {
        CONFIG_BYTES
    }
    fn read8(&self, offset: u32) -> u8 {
        self.read(offset, 1) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        self.read(offset, 2) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        self.read(offset, 4)
    }
    fn write8(&self, _offset: u32, _value: u8) {
        self.refuse_write();
    }
    fn write16(&self, _offset: u32, _value: u16) {
        self.refuse_write();
    }
    fn write32(&self, _offset: u32, _value: u32) {
        self.refuse_write();
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::reg::register::{Reg, Ro};
    use crate::testing::{FakeFunction, PlainBar, domain};

    /// 256 bytes of configuration space in which every byte is its offset; there is nothing else.
    fn function() -> FakeFunction {
        let offsets: [u8; 256] = core::array::from_fn(|offset| offset as u8);
        FakeFunction::new("test", domain().0, PlainBar::new(0)).with_config(0, &offsets)
    }

    #[test]
    fn registers_of_every_width_are_read() {
        let function = function();
        let space = ConfigSpace::new(&function);
        assert_eq!(Reg::<u8, Ro>::new(0x34, "", "").read(&space), 0x34);
        assert_eq!(Reg::<u16, Ro>::new(0x4a, "", "").read(&space), 0x4b4a);
        assert_eq!(Reg::<u32, Ro>::new(0x10, "", "").read(&space), 0x1312_1110);
        assert_eq!(Reg::<u64, Ro>::new(0x10, "", "").read(&space), 0x1716_1514_1312_1110);
        assert_eq!(space.take_error(), None);
    }

    #[test]
    fn a_read_that_fails_is_all_ones_and_its_error_is_kept() {
        let function = function();
        let space = ConfigSpace::new(&function);
        assert_eq!((space.read32(0x100), space.read16(0x1_0000), space.read8(u32::MAX)), (u32::MAX, u16::MAX, u8::MAX));
        let error = space.take_error().unwrap();
        assert_eq!((error.tried.as_str(), space.take_error()), ("reading configuration space", None), "the first is kept, and taken once");
        assert_eq!((space.read16(0x1_0000), space.take_error().is_some()), (u16::MAX, true));
    }

    #[test]
    fn a_write_is_refused() {
        let function = function();
        let space = ConfigSpace::new(&function);
        space.write16(0x04, 7);
        let error = space.take_error().unwrap().to_string();
        assert_eq!(error, "test: writing configuration space: this view of it is for reading: use the function's own config_write");
    }
}
