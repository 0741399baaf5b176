//! Master disable (5.2.5.3.2) and reset (4.2.1.6, 4.6.3.2).

use core::ops::ControlFlow;

use driver_core::device::ErrorKind;
use driver_core::host::{Bar, ConfigSpace, PciError, PciFunction};
use driver_core::queue::core::Left;
use driver_core::reg::{Pace, Reg, Ro, look_until};
use driver_core::reg_flags;

use crate::card::Card;
use crate::id::Family;
use crate::queues::{self, Patience};
use crate::regs::*;
use crate::semaphore::Resource;

/// NO-LIMITS: how long pending requests may take after Master Disable. The longest completion timeout that the card can have is 64 s; the
/// drivers in the field wait 80 ms.
const MASTER_DISABLE_US: u64 = 80_000;
/// 8.2.3.1.1: "programmers must wait approximately 1 ms after setting before attempting to check if the bit has cleared".
const RESET_QUIET_US: u64 = 1_000;
/// NO-LIMITS: how long the bit may stay set after that.
const RESET_US: u64 = 100_000;

/// PCI Express capability (PCI Express base specification 7.5.3), and its Device Status register.
const PCI_CAP_EXPRESS: u8 = 0x10;
const PCIE_DEVICE_STATUS: u32 = 0x0a;
/// How long pending transactions are waited for before the reset is done in spite of them.
const PENDING_US: u64 = 100_000;

reg_flags! {
    /// Bits of the Device Status register.
    struct PcieStatus: u16 {
        const TRANSACTIONS_PENDING = 1 << 5;
    }
}

/// How [`Card::master_disable`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// The card confirmed that no request is pending.
    Confirmed,
    /// It did not: buffers have to be flushed, and the reset be done twice.
    DoubleReset,
}

impl<B: Bar> Card<B> {
    /// 4.6.3.1: masks every interrupt and takes what is pending.
    pub(crate) fn mask_interrupts(&self) {
        EIMC.write(&self.bar, Eicr::from_bits_retain(0x7fff_ffff));
        for register in EIMC_EX.iter() {
            register.write(&self.bar, u32::MAX);
        }
        // "Software clears EICR by writing all ones to clear old interrupt causes" (4.6.6.1).
        EICR.write(&self.bar, Eicr::from_bits_retain(u32::MAX));
        self.flush();
    }

    /// 5.2.5.3.2: the queues off, then no new requests, then none pending. Works on a device in any state.
    ///
    /// A queue that does not confirm is no reason to stop here: Master Disable is what guarantees silence.
    pub(crate) fn master_disable(&self) -> Result<Quiet, ErrorKind> {
        // 4.5.9 of a live device: the receiver first, so that no more frames come in.
        let rxctrl = RXCTRL.read(&self.bar);
        RXCTRL.write(&self.bar, rxctrl - Rxctrl::RXEN);
        // Where both were off before, as after a reset, no queue moves a frame, and there are 128 to ask.
        if rxctrl.contains(Rxctrl::RXEN) || DMATXCTL.read(&self.bar).contains(Dmatxctl::TE) {
            self.disable_queues();
        }
        // "the device driver sets the PCIe Master Disable bit"
        CTRL.modify(&self.bar, |v| v | Ctrl::PCIE_MASTER_DISABLE);
        // "then polls the PCIe Master Enable Status bit"
        let quiet = self.wait(STATUS, "pending bus requests to end (PCIe Master Enable Status clear)", MASTER_DISABLE_US, |v| {
            !v.contains(Status::PCIE_MASTER_ENABLE_STATUS)
        });
        match quiet {
            Ok(_) => Ok(Quiet::Confirmed),
            // All ones: the card is gone, and no reset will bring it back.
            Err(wait) if wait.is_all_ones() => Err(wait.into()),
            Err(_) => Ok(Quiet::DoubleReset),
        }
    }

    /// Turns off every queue of the first bank that is on, whoever turned it on.
    fn disable_queues(&self) {
        for register in TXDCTL.iter() {
            if register.read(&self.bar).contains(Txdctl::ENABLE) {
                register.write(&self.bar, Txdctl::SWFLSH);
            }
        }
        let mut patience = Patience::new();
        for (index, register) in RXDCTL.iter().enumerate() {
            if register.read(&self.bar).contains(Rxdctl::ENABLE) {
                // What it may still write is covered by Master Disable; the timeout only costs time.
                if let Err(error) = queues::stop_rx(&self.bar, self.places, &*self.clock, index as u16, &patience) {
                    patience.lose();
                    log::warn!("{}: {error}", self.name);
                    if error.is_gone() {
                        // All ones: the card is gone, and each further queue would be waited for in vain.
                        return;
                    }
                }
            }
        }
    }

    /// 5.2.5.3.2, what to do where Master Disable was not confirmed: "the data path must be flushed before the software resets the 82599".
    fn flush_data_path(&self) {
        // "Inhibit data transmission by setting the HLREG0.LPBK bit and clearing the RXCTRL.RXEN bit"
        HLREG0.modify(&self.bar, |v| v | Hlreg0::LPBK);
        RXCTRL.modify(&self.bar, |v| v - Rxctrl::RXEN);
        self.flush();
        self.clock.sleep_us(3_000);
        // "Set the GCR_EXT.Buffers_Clear_Func bit for 20 microseconds to flush internal buffers"
        GCR_EXT.modify(&self.bar, |v| v | GcrExt::BUFFERS_CLEAR_FUNC);
        self.flush();
        self.clock.sleep_us(20);
        // "Clear the HLREG0.LPBK bit and the GCR_EXT.Buffers_Clear_Func"
        GCR_EXT.modify(&self.bar, |v| v - GcrExt::BUFFERS_CLEAR_FUNC);
        HLREG0.modify(&self.bar, |v| v - Hlreg0::LPBK);
        self.flush();
    }

    /// 5.2.5.3.2: "the driver should check that the Transaction Pending bit (bit 5) in the Device Status register in the PCI config space is clear".
    fn wait_for_transactions(&self, function: &impl PciFunction) -> Result<(), PciError> {
        let Some(express) = function.find_capability(PCI_CAP_EXPRESS, None)? else { return Ok(()) };
        let space = ConfigSpace::new(function);
        let status: Reg<PcieStatus, Ro> = Reg::new(u32::from(express) + PCIE_DEVICE_STATUS, "Device Status", "PCI Express 7.5.3.5");
        let quiet = look_until(status, "bus transactions to end (Transactions Pending clear)", &*self.clock, Pace::within(PENDING_US), || {
            let value = status.read(&space);
            match space.take_error() {
                Some(error) => Err(error),
                None if value.contains(PcieStatus::TRANSACTIONS_PENDING) => Ok(ControlFlow::Continue(value)),
                None => Ok(ControlFlow::Break(())),
            }
        })?;
        if let Err(wait) = quiet {
            log::warn!("{}: {wait}; resetting in spite of it", self.name);
        }
        Ok(())
    }

    /// Brings a port in any state to silence: Master Disable, then reset. After it the port reads and writes no memory.
    pub(crate) fn silence(&self, function: &impl PciFunction) -> Result<(), ErrorKind> {
        self.wait_for_reset()?;
        let quiet = self.master_disable()?;
        if quiet == Quiet::DoubleReset {
            log::warn!("{}: Master Disable was not confirmed; flushing, and resetting twice", self.name);
            self.wait_for_transactions(function)?;
        }
        self.reset(quiet)
    }

    /// Stops a running port: interrupts masked, receiver off, frames in flight sent where they go out in time, queues off, no request pending.
    ///
    /// `queues`: how many of either direction were turned on. Tells `left` of each transmit queue that was on what it left, unsent.
    pub(crate) fn stop(&self, function: &impl PciFunction, queues: u16, left: impl FnMut(u16, Left)) -> Result<(), ErrorKind> {
        self.wait_for_reset()?;
        self.mask_interrupts();
        // The receiver first, so that no more frames come in.
        RXCTRL.modify(&self.bar, |v| v - Rxctrl::RXEN);
        // What is not confirmed here, Master Disable or the reset confirms.
        self.stop_queues(queues, left)?;
        DMATXCTL.modify(&self.bar, |v| v - Dmatxctl::TE);
        if self.master_disable()? == Quiet::DoubleReset {
            self.wait_for_transactions(function)?;
            self.reset(Quiet::DoubleReset)?;
        }
        // The firmware may have the port back.
        CTRL_EXT.modify(&self.bar, |v| v - CtrlExt::DRV_LOAD);
        self.flush();
        Ok(())
    }

    /// Lets the port issue requests again.
    pub(crate) fn allow_master(&self) {
        CTRL.modify(&self.bar, |v| v - Ctrl::PCIE_MASTER_DISABLE);
        self.flush();
    }

    /// Resets the port and leaves it with interrupts masked, its EEPROM read and its DMA initialised.
    pub(crate) fn reset(&self, quiet: Quiet) -> Result<(), ErrorKind> {
        if quiet == Quiet::DoubleReset {
            self.flush_data_path();
            // DOUBLE-RESET: "initiate two consecutive software resets with a larger delay than 1 us between the two of them"
            self.reset_once()?;
        }
        self.reset_once()?;
        // 4.6.3.1: "the interrupts also need to be disabled after issuing a global reset"
        self.mask_interrupts();
        self.wait_for_eeprom()?;
        // 4.6.3: "Wait for DMA initialization done (RDRXCTL.DMAIDONE)"
        self.wait(RDRXCTL, "DMA initialisation (DMAIDONE)", RESET_US, |v| v.contains(Rdrxctl::DMAIDONE))?;
        // The firmware leaves the port to the driver from here on.
        CTRL_EXT.modify(&self.bar, |v| v | CtrlExt::DRV_LOAD);
        Ok(())
    }

    fn reset_once(&self) -> Result<(), ErrorKind> {
        match self.model.family {
            // GLOBAL-RESET: "Global Reset = software reset + link reset" (4.6.3.2); a link that is up is left alone, since manageability may be using it.
            Family::I82599 => {
                let up = LINKS.read(&self.bar).contains(Links::LINK_UP);
                self.write_reset(if up { Ctrl::RST } else { Ctrl::RST | Ctrl::LRST });
            }
            // GLOBAL-RESET: the firmware must not be talking to the PHY while the MAC goes away under it (X540 datasheet, 4.6.3.2).
            Family::X540 | Family::X550 => {
                let phy = Resource::phy(self.is_second_port());
                self.with_semaphore(phy, || {
                    self.write_reset(Ctrl::RST);
                    Ok(())
                })?;
            }
        }
        self.wait_for_reset()?;
        self.clock.sleep_us(match self.model.family {
            // 4.6.3.2: "Following a Global Reset the Software driver should wait at least 10msec".
            Family::I82599 => 10_000,
            // NO-LIMITS: the time that the drivers in the field give the PHY's firmware.
            Family::X540 | Family::X550 => 100_000,
        });
        Ok(())
    }

    /// 8.2.3.1.1: until its reset has ended nothing else of the card is to be accessed.
    fn wait_for_reset(&self) -> Result<(), ErrorKind> {
        self.wait(CTRL, "the reset to end (RST and LRST clear)", RESET_US, |v| !v.intersects(Ctrl::RST | Ctrl::LRST))?;
        Ok(())
    }

    fn write_reset(&self, bits: Ctrl) {
        CTRL.modify(&self.bar, |v| v | bits);
        // No flush: until 1 ms has passed the card may not be read (8.2.3.1.1).
        self.clock.sleep_us(RESET_QUIET_US);
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::sync::Arc;
    use std::vec::Vec;

    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::error::HardwareError;
    use crate::id::MODELS;

    /// A port that answers resets and has an EEPROM.
    fn port(family: Family) -> (PlainBar, Card<PlainBar>) {
        let bar = PlainBar::new(BAR_BYTES);
        bar.on_write(CTRL.offset(), |bar, value| {
            if Ctrl::from_bits_retain(value).intersects(Ctrl::RST | Ctrl::LRST) {
                bar.set(CTRL.offset(), 0);
            }
        });
        bar.set(EEC.offset(), (Eec::AUTO_RD | Eec::EE_PRES).bits());
        bar.set(RDRXCTL.offset(), Rdrxctl::DMAIDONE.bits());
        let model = MODELS.iter().find(|model| model.family == family).unwrap();
        (bar.clone(), Card::new(bar, Arc::new(FakeClock::new()), model, "test"))
    }

    /// The resets that CTRL was written for.
    fn resets(bar: &PlainBar) -> Vec<Ctrl> {
        let all = Ctrl::RST | Ctrl::LRST;
        bar.writes_to(CTRL.offset()).into_iter().map(|value| Ctrl::from_bits_retain(value) & all).filter(|value| !value.is_empty()).collect()
    }

    #[test]
    fn a_link_that_is_up_is_not_reset() {
        let (bar, card) = port(Family::I82599);
        card.reset(Quiet::Confirmed).unwrap();
        bar.set(LINKS.offset(), Links::LINK_UP.bits());
        card.reset(Quiet::Confirmed).unwrap();
        assert_eq!(resets(&bar), [Ctrl::RST | Ctrl::LRST, Ctrl::RST]);
    }

    #[test]
    fn copper_ports_reset_the_mac_alone_and_release_the_phy() {
        let (bar, card) = port(Family::X540);
        card.reset(Quiet::Confirmed).unwrap();
        assert_eq!(resets(&bar), [Ctrl::RST]);
        assert_eq!(SW_FW_SYNC.read(&bar), SwFwSync::empty());
    }

    #[test]
    fn an_unconfirmed_master_disable_means_two_resets() {
        let (bar, card) = port(Family::I82599);
        bar.set(STATUS.offset(), Status::PCIE_MASTER_ENABLE_STATUS.bits());
        let quiet = card.master_disable().unwrap();
        assert_eq!(quiet, Quiet::DoubleReset);
        card.reset(quiet).unwrap();
        assert_eq!(resets(&bar).len(), 2);
        let (gcr_ext, hlreg0) = (GCR_EXT.offset(), HLREG0.offset());
        let flushes: Vec<_> = bar.writes().into_iter().filter(|(register, _)| [gcr_ext, hlreg0].contains(register)).collect();
        assert_eq!(flushes, [(hlreg0, 1 << 15), (gcr_ext, 1 << 30), (gcr_ext, 0), (hlreg0, 0)], "one flush, and it is over");
    }

    #[test]
    fn a_card_that_is_gone_is_not_reset() {
        let (bar, card) = port(Family::I82599);
        bar.stick(STATUS.offset(), u32::MAX);
        RXDCTL.iter().for_each(|register| bar.stick(register.offset(), u32::MAX));
        let begun_us = card.clock.now_us();
        let error = format!("{}", card.master_disable().unwrap_err());
        assert!(card.clock.now_us() - begun_us < 500_000, "one queue is waited for and not each");
        assert!(error.contains("STATUS (0x00008, section 8.2.3.1.2) still reads 0xffffffff; all ones mean"), "{error}");
        assert!(resets(&bar).is_empty());
    }

    #[test]
    fn what_does_not_come_names_its_register() {
        for (register, bits, named) in [
            (CTRL.offset(), Ctrl::RST.bits(), "CTRL (0x00000, section 8.2.3.1.1) still reads 0x04000000"),
            (EEC.offset(), 0, "EEC (0x10010, section 8.2.3.2.1) still reads 0x00000000"),
            (RDRXCTL.offset(), 0, "RDRXCTL (0x02f00, section 8.2.3.8.8) still reads 0x00000000"),
        ] {
            let (bar, card) = port(Family::I82599);
            if bits == 0 {
                bar.set(register, 0);
            } else {
                bar.stick(register, bits);
            }
            let error = format!("{}", card.reset(Quiet::Confirmed).unwrap_err());
            assert!(error.starts_with("waited") && error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_missing_or_rejected_eeprom_is_an_error() {
        let (bar, card) = port(Family::I82599);
        bar.set(EEC.offset(), Eec::AUTO_RD.bits());
        let error = card.reset(Quiet::Confirmed).unwrap_err();
        assert!(matches!(error.hardware(), Some(HardwareError::Eeprom { eec: 0x200, .. })), "{error}");
        let (bar, card) = port(Family::I82599);
        bar.set(FWSM.offset(), 1 << 19);
        let error = card.reset(Quiet::Confirmed).unwrap_err();
        assert!(matches!(error.hardware(), Some(HardwareError::Eeprom { fwsm: 0x8_0000, .. })), "{error}");
    }

    #[test]
    fn queues_left_running_are_turned_off() {
        let (bar, card) = port(Family::I82599);
        RXDCTL.at(3).unwrap().write(&bar, Rxdctl::ENABLE);
        TXDCTL.at(63).unwrap().write(&bar, Txdctl::ENABLE);
        RXCTRL.write(&bar, Rxctrl::RXEN);
        assert_eq!(card.master_disable().unwrap(), Quiet::Confirmed);
        assert!(!RXDCTL.at(3).unwrap().read(&bar).contains(Rxdctl::ENABLE));
        assert!(!TXDCTL.at(63).unwrap().read(&bar).contains(Txdctl::ENABLE));
        assert!(!RXCTRL.read(&bar).contains(Rxctrl::RXEN));
        assert!(CTRL.read(&bar).contains(Ctrl::PCIE_MASTER_DISABLE));
    }
}
