//! The module in the SFP+ cage, over its management bus: two lines that software moves by hand (8.2.3.1.5, I2CCTL; SFF-8472).
//!
//! Lines are open drain: 1 lets go of a line, and who drives 0 wins. A module may hold the clock low to gain time.

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Module};
use driver_core::host::Bar;

use crate::card::Card;
use crate::error::HardwareError;
use crate::id::{Family, Media};
use crate::regs::*;
use crate::semaphore::Resource;

/// Half of the clock's period: 100 kHz, which every module keeps up with.
const HALF_US: u64 = 5;
/// NO-LIMITS: for how long a module may hold the clock low. SFF-8472 allows 500 us.
const STRETCH_US: u64 = 2_000;
/// Where a module says what it is, and how it is. Bit 0 of what is sent says that bytes are to be read.
const IDENTITY: u8 = 0xa0;
const DIAGNOSTICS: u8 = 0xa2;
const READ: u8 = 1;
/// The thermal sensor of some boards is on the same bus.
pub(super) const SENSOR: u8 = 0xf8;
/// Bytes of a page, and how many are read before others have the bus: some 6 ms.
const PAGE_BYTES: usize = 256;
const TOGETHER: usize = 64;

impl<B: Bar> Card<B> {
    /// Reads what the module in the cage says of itself.
    pub(crate) fn read_module(&self) -> Result<Module, ErrorKind> {
        if self.model.family != Family::I82599 || self.model.media != Media::Sfp {
            return Err(ErrorKind::Unsupported { what: "pluggable modules", instead: "`barewire info` tells what its port is" });
        }
        let identity = self.module_page(IDENTITY)?;
        let diagnostics = if Module::has_diagnostics(&identity) { Some(self.module_page(DIAGNOSTICS)?) } else { None };
        Ok(Module::new(identity, diagnostics))
    }

    fn module_page(&self, address: u8) -> Result<Vec<u8>, ErrorKind> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        while page.len() < PAGE_BYTES {
            // The bus is the PHY's, and the firmware looks at modules, too (10.5.4).
            self.with_semaphore(Resource::phy(self.is_second_port()), || {
                let bus = Bus { card: self, address };
                let result = bus.read(page.len() as u8, TOGETHER, &mut page);
                // Whatever came of it, the bus is free again.
                bus.stop();
                result
            })?;
        }
        Ok(page)
    }
}

/// The bus while one module address is spoken to.
pub(super) struct Bus<'a, B> {
    pub(super) card: &'a Card<B>,
    pub(super) address: u8,
}

impl<B: Bar> Bus<'_, B> {
    /// Reads `count` bytes from `offset` on.
    pub(super) fn read(&self, offset: u8, count: usize, page: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.start()?;
        self.put(self.address)?;
        self.put(offset)?;
        self.start()?;
        self.put(self.address | READ)?;
        for left in (0..count).rev() {
            page.push(self.get(left > 0)?);
        }
        Ok(())
    }

    /// Drives or lets go of clock and data, and waits for half a period.
    fn drive(&self, clock: bool, data: bool) {
        let mut lines = I2cctl::empty();
        lines.set(I2cctl::CLK_OUT, clock);
        lines.set(I2cctl::DATA_OUT, data);
        I2CCTL.write(&self.card.bar, lines);
        self.card.flush();
        self.card.clock.sleep_us(HALF_US);
    }

    /// Data falls while the clock is high.
    fn start(&self) -> Result<(), ErrorKind> {
        self.drive(false, true);
        self.rise(true)?;
        self.drive(true, false);
        self.drive(false, false);
        Ok(())
    }

    /// Data rises while the clock is high.
    pub(super) fn stop(&self) {
        self.drive(false, false);
        self.drive(true, false);
        self.drive(true, true);
    }

    /// Lets go of the clock, and waits until the module has let go of it, too.
    fn rise(&self, data: bool) -> Result<(), ErrorKind> {
        self.drive(true, data);
        self.card.wait(I2CCTL, "the module to let go of its clock (CLK_IN)", STRETCH_US, |v| v.contains(I2cctl::CLK_IN))?;
        Ok(())
    }

    /// One clock with `data`; says what the line was. Data moves while the clock is low.
    fn bit(&self, data: bool) -> Result<bool, ErrorKind> {
        self.drive(false, data);
        self.rise(data)?;
        let seen = I2CCTL.read(&self.card.bar).contains(I2cctl::DATA_IN);
        self.drive(false, data);
        Ok(seen)
    }

    fn put(&self, byte: u8) -> Result<(), ErrorKind> {
        for at in (0..8).rev() {
            self.bit(byte >> at & 1 != 0)?;
        }
        // The module pulls the line low to say that it has the byte.
        if !self.bit(true)? {
            return Ok(());
        }
        let address = self.address;
        Err(if address == SENSOR { HardwareError::NoSensor { address } } else { HardwareError::NoModule { address } }.into())
    }

    /// A byte; `again` asks for one more.
    fn get(&self, again: bool) -> Result<u8, ErrorKind> {
        let mut byte = 0;
        for _ in 0..8 {
            byte = byte << 1 | u8::from(self.bit(true)?);
        }
        self.bit(!again)?;
        Ok(byte)
    }
}
