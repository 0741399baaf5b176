//! The EEPROM: the hardware reads it after a reset; the driver checks that it did, and takes the address that it left in RAL0/RAH0.

use driver_core::device::ErrorKind;
use driver_core::ether::MacAddr;
use driver_core::host::Bar;

use crate::card::Card;
use crate::error::HardwareError;
use crate::filter::mac_from_registers;
use crate::id::Family;
use crate::regs::*;

/// NO-LIMITS: how long the auto-read may take after a reset.
const AUTO_READ_US: u64 = 1_000_000;

impl<B: Bar> Card<B> {
    /// 4.6.3: "Wait for EEPROM auto read completion."
    pub(crate) fn wait_for_eeprom(&self) -> Result<(), ErrorKind> {
        let eec = self.wait(EEC, "the EEPROM to be read (Auto_RD)", AUTO_READ_US, |v| v.contains(Eec::AUTO_RD))?;
        // EEPROM-VALID: Auto_RD "is also set when the EEPROM is not present or when its signature field is not valid".
        let fwsm = FWSM.read(&self.bar);
        // The later families keep other things in these bits, and have no way to run without their flash.
        let rejected = self.model.family == Family::I82599 && fwsm & FWSM_EXT_ERR_IND != 0;
        if !eec.contains(Eec::EE_PRES) || rejected {
            return Err(HardwareError::Eeprom { eec: eec.bits(), fwsm }.into());
        }
        Ok(())
    }

    /// 8.2.3.7.9: after reset "the first register (Receive Address Register 0) is loaded from the IA field in the EEPROM".
    pub(crate) fn permanent_mac(&self) -> Result<MacAddr, ErrorKind> {
        let low = RAL.at(0)?.read(&self.bar);
        let high = RAH.at(0)?.read(&self.bar);
        let mac = mac_from_registers(low, high);
        if mac.is_valid_unicast() { Ok(mac) } else { Err(HardwareError::PermanentMac { mac }.into()) }
    }
}
