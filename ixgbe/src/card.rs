//! The hardware of one port, as the other modules of this crate work on it: its registers, its clock, its model.
//!
//! Each module adds its own part: [`reset`](crate::reset), [`eeprom`](crate::eeprom), [`semaphore`](crate::semaphore), [`init`](crate::init),
//! [`filter`](crate::filter), [`link`](crate::link), [`phy`](crate::phy), [`irq`](crate::irq), [`queues`](crate::queues), [`rss`](crate::rss).

use alloc::string::String;
use alloc::sync::Arc;

use driver_core::host::{Bar, Clock};
use driver_core::reg::{Pure, Reg, RegValue, WaitError, wait_until};

use crate::id::{Media, Model};
use crate::regs::places::{FUNCTION, PORT, Places};
use crate::regs::{STATUS, Status};

/// Whether the card behind `bar` answers: STATUS has bits that always read 0, and reads all ones where nobody is there.
pub(crate) fn answers(bar: &impl Bar) -> bool {
    STATUS.read(bar).bits() != u32::MAX
}

/// One port.
pub(crate) struct Card<B> {
    pub(crate) bar: B,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) model: &'static Model,
    /// Where its queues' registers are.
    pub(crate) places: &'static Places,
    /// The function's name, for what is logged.
    pub(crate) name: String,
    /// MDIO address of the PHY, once found.
    pub(crate) phy: Option<u32>,
}

impl<B: Bar> Card<B> {
    pub(crate) fn new(bar: B, clock: Arc<dyn Clock>, model: &'static Model, name: &str) -> Self {
        let places = if model.media == Media::Shared { &FUNCTION } else { &PORT };
        Self { bar, clock, model, places, name: name.into(), phy: None }
    }

    /// Waits for a register by [`wait_until`].
    pub(crate) fn wait<T: RegValue, M: Pure>(
        &self,
        reg: Reg<T, M>,
        what: &'static str,
        limit_us: u64,
        done: impl FnMut(T) -> bool,
    ) -> Result<T, WaitError> {
        wait_until(&self.bar, reg, what, &*self.clock, limit_us, done)
    }

    /// Earlier writes have reached the card when this returns: reads do not overtake them (PCI Express ordering).
    pub(crate) fn flush(&self) {
        STATUS.read(&self.bar);
    }

    /// Which of the card's two ports this is (STATUS.LAN_ID).
    pub(crate) fn is_second_port(&self) -> bool {
        STATUS.read(&self.bar).contains(Status::LAN_ID_0)
    }
}
