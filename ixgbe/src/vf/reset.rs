//! Bringing a virtual function to silence.

use driver_core::device::ErrorKind;
use driver_core::host::Bar;
use driver_core::queue::core::Left;

use crate::card::Card;
use crate::regs::vf::{VF_QUEUES, VFCTRL, VTEIMC, Vfctrl};
use crate::regs::{Eicr, Rxdctl, Txdctl};

/// VF-RESET: how long a reset of the function is given, as the drivers in the field do.
const RESET_US: u64 = 10_000;
/// How long queues that are on behind a reset may take to be off.
const OFF_US: u64 = 100_000;

impl<B: Bar> Card<B> {
    /// Masks every interrupt and takes what is pending.
    fn mask_function(&self) {
        for register in VTEIMC.iter() {
            register.write(&self.bar, u32::MAX);
        }
        self.places.eicr.write(&self.bar, Eicr::from_bits_retain(u32::MAX));
        self.flush();
    }

    /// Turns off what is on, whoever turned it on, and resets the function. Behind that it reads and writes no memory.
    pub(crate) fn silence_function(&self) -> Result<(), ErrorKind> {
        self.stop_function(VF_QUEUES as u16, |_, _| ())
    }

    /// The same, of `queues` of either direction. Tells `left` of each transmit queue that was on what it left, unsent.
    pub(crate) fn stop_function(&self, queues: u16, left: impl FnMut(u16, Left)) -> Result<(), ErrorKind> {
        self.mask_function();
        // What is not confirmed here, the reset confirms.
        self.stop_queues(queues, left)?;
        VFCTRL.write(&self.bar, Vfctrl::RST);
        self.flush();
        self.clock.sleep_us(RESET_US);
        self.mask_function();
        self.confirm_off()
    }

    /// VF-SILENCE: a virtual function has no Master Disable. That all of its queues are off is its word that it is silent.
    fn confirm_off(&self) -> Result<(), ErrorKind> {
        for register in self.places.rxdctl.iter() {
            self.wait(register, "a receive queue to be off behind a reset (ENABLE clear)", OFF_US, |v| !v.contains(Rxdctl::ENABLE))?;
        }
        for register in self.places.txdctl.iter() {
            self.wait(register, "a transmit queue to be off behind a reset (ENABLE clear)", OFF_US, |v| !v.contains(Txdctl::ENABLE))?;
        }
        Ok(())
    }
}
