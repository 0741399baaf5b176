//! What software shares with the firmware and with the driver of the other port (10.5.4, "Software and Firmware Synchronization").

use driver_core::bar::Bar;

use crate::error::Error;
use crate::hw::Hw;
use crate::id::Family;
use crate::regs::*;

/// NO-LIMITS: how long another owner may hold SWSM. 10.5.4 asks for more than 10 ms.
const SWSM_US: u64 = 100_000;
/// How often a resource is asked for, 5 ms apart: one second in all, which is what 10.5.4 allows the firmware.
const TRIES: u32 = 200;

/// A resource that SW_FW_SYNC guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resource(SwFwSync);

impl Resource {
    /// AUTOC and its kin.
    pub(crate) const MAC_CSR: Self = Self(SwFwSync::SW_MAC_CSR_SM);

    /// The PHY of a port.
    pub(crate) fn phy(second_port: bool) -> Self {
        Self(if second_port { SwFwSync::SW_PHY_SM1 } else { SwFwSync::SW_PHY_SM0 })
    }

    /// The software's and the firmware's bit.
    fn both(self) -> SwFwSync {
        SwFwSync::from_bits_retain(self.0.bits() | self.0.bits() << 5)
    }
}

impl<B: Bar> Hw<B> {
    /// Runs `work` while holding `resource`.
    pub(crate) fn with_semaphore<T>(&self, resource: Resource, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.acquire(resource)?;
        let result = work();
        self.release(resource);
        result
    }

    fn acquire(&self, resource: Resource) -> Result<(), Error> {
        for _ in 0..TRIES {
            self.lock_sync()?;
            let sync = SW_FW_SYNC.read(&self.bar);
            let free = !sync.intersects(resource.both());
            if free {
                SW_FW_SYNC.write(&self.bar, sync | resource.0);
            }
            self.unlock_sync();
            if free {
                return Ok(());
            }
            self.clock.sleep_us(5_000);
        }
        let last = SW_FW_SYNC.read(&self.bar).bits();
        Err(Error::Semaphore { function: self.name.clone(), bits: resource.both().bits(), last })
    }

    fn release(&self, resource: Resource) {
        // A lock that cannot be had is held by a dead owner: leaving the resource taken would lock out everybody.
        if let Err(error) = self.lock_sync() {
            log::warn!("{error}");
        }
        SW_FW_SYNC.modify(&self.bar, |v| v - resource.0);
        self.unlock_sync();
    }

    /// The right to change SW_FW_SYNC: against other drivers by SWSM.SMBI, against the firmware by SWSM.SWESMBI or, from the X540 on,
    /// by SW_FW_SYNC.REGSMP.
    fn lock_sync(&self) -> Result<(), Error> {
        let smbi = || self.wait(SWSM, "another driver to release SMBI", SWSM_US, |v| !v.contains(Swsm::SMBI));
        if smbi().is_err() {
            // 10.5.4: an owner that keeps it this long is dead, and the bit is to be cleared.
            log::warn!("{}: SWSM.SMBI was left taken; clearing it", self.name);
            SWSM.modify(&self.bar, |v| v - (Swsm::SMBI | Swsm::SWESMBI));
            smbi()?;
        }
        match self.model.family {
            Family::I82599 => {
                let mut asked = false;
                let granted = self.wait(SWSM, "the firmware to grant SWESMBI", SWSM_US, |v| {
                    let granted = asked && v.contains(Swsm::SWESMBI);
                    if !granted {
                        asked = true;
                        SWSM.write(&self.bar, v | Swsm::SWESMBI);
                    }
                    granted
                });
                granted.map(|_| ())
            }
            Family::X540 | Family::X550 => {
                self.wait(SW_FW_SYNC, "the firmware to release REGSMP", SWSM_US, |v| !v.contains(SwFwSync::REGSMP)).map(|_| ())
            }
        }
        .inspect_err(|_| self.unlock_sync())
    }

    fn unlock_sync(&self) {
        if self.model.family != Family::I82599 {
            SW_FW_SYNC.modify(&self.bar, |v| v - SwFwSync::REGSMP);
        }
        // A plain write: a read that finds SMBI clear would take it.
        SWSM.write(&self.bar, Swsm::empty());
        self.flush();
    }
}
