//! What software shares with the firmware and with the driver of the other port (10.5.4, "Software and Firmware Synchronization").

use core::convert::Infallible;
use core::ops::ControlFlow;

use driver_core::device::ErrorKind;
use driver_core::host::Bar;
use driver_core::reg::{Pace, WaitError, look_until};

use crate::card::Card;
use crate::error::HardwareError;
use crate::id::Family;
use crate::regs::*;

/// NO-LIMITS: how long another owner may hold SWSM. 10.5.4 asks for more than 10 ms.
const SWSM_US: u64 = 100_000;
/// For how long a resource is asked for, every 5 ms: one second, which is what 10.5.4 allows the firmware.
const ASKING: Pace = Pace::within(1_000_000).every(5_000);

/// A resource that SW_FW_SYNC guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resource(SwFwSync);

impl Resource {
    /// The EEPROM.
    pub(crate) const EEPROM: Self = Self(SwFwSync::SW_EEP_SM);
    /// AUTOC and its kin.
    pub(crate) const MAC_CSR: Self = Self(SwFwSync::SW_MAC_CSR_SM);

    /// The firmware's host interface, and the EEPROM that is behind it (X550).
    pub(crate) const SHADOW_RAM: Self = Self(SwFwSync::SW_EEP_SM.union(SwFwSync::SW_MNG_SM));

    /// The PHY of a port.
    pub(crate) fn phy(second_port: bool) -> Self {
        Self(if second_port { SwFwSync::SW_PHY_SM1 } else { SwFwSync::SW_PHY_SM0 })
    }

    /// The software's and the firmware's bit.
    fn both(self) -> SwFwSync {
        // Behind the firmware's, SW_MNG_SM is software's alone.
        SwFwSync::from_bits_retain(self.0.bits() | (self.0 - SwFwSync::SW_MNG_SM).bits() << 5)
    }
}

impl<B: Bar> Card<B> {
    /// Runs `work` while holding `resource`.
    pub(crate) fn with_semaphore<T>(&self, resource: Resource, work: impl FnOnce() -> Result<T, ErrorKind>) -> Result<T, ErrorKind> {
        self.acquire(resource)?;
        let result = work();
        self.release(resource);
        result
    }

    fn acquire(&self, resource: Resource) -> Result<(), ErrorKind> {
        let outcome = look_until(SW_FW_SYNC, "the firmware or another driver to release a resource", &*self.clock, ASKING, || {
            self.lock_sync()?;
            let sync = SW_FW_SYNC.read(&self.bar);
            let free = !sync.intersects(resource.both());
            if free {
                SW_FW_SYNC.write(&self.bar, sync | resource.0);
            }
            self.unlock_sync();
            Ok::<_, ErrorKind>(if free { ControlFlow::Break(()) } else { ControlFlow::Continue(sync) })
        })?;
        outcome.map_err(|wait| HardwareError::Semaphore { bits: resource.both().bits(), wait }.into())
    }

    fn release(&self, resource: Resource) {
        // A lock that cannot be had is held by a dead owner: leaving the resource taken would lock out everybody.
        if let Err(error) = self.lock_sync() {
            log::warn!("{}: {error}", self.name);
        }
        SW_FW_SYNC.modify(&self.bar, |v| v - resource.0);
        self.unlock_sync();
    }

    /// The right to change SW_FW_SYNC: against other drivers by SWSM.SMBI, against the firmware by SWSM.SWESMBI or, from the X540 on,
    /// by SW_FW_SYNC.REGSMP.
    fn lock_sync(&self) -> Result<(), WaitError> {
        let smbi = || self.wait(SWSM, "another driver to release SMBI", SWSM_US, |v| !v.contains(Swsm::SMBI));
        if smbi().is_err() {
            // 10.5.4: an owner that keeps it this long is dead, and the bit is to be cleared.
            log::warn!("{}: SWSM.SMBI was left taken; clearing it", self.name);
            SWSM.modify(&self.bar, |v| v - (Swsm::SMBI | Swsm::SWESMBI));
            smbi()?;
        }
        match self.model.family {
            Family::I82599 => {
                // Asked for again at each look: the bit stays set only where the firmware agrees. One that is set before we asked is not ours.
                let mut asked = false;
                let Ok(granted) = look_until(SWSM, "the firmware to grant SWESMBI", &*self.clock, Pace::within(SWSM_US), || {
                    let value = SWSM.read(&self.bar);
                    if asked && value.contains(Swsm::SWESMBI) {
                        return Ok::<_, Infallible>(ControlFlow::Break(()));
                    }
                    asked = true;
                    SWSM.write(&self.bar, value | Swsm::SWESMBI);
                    Ok(ControlFlow::Continue(value))
                });
                granted
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::sync::Arc;

    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::id::MODELS;

    fn port(family: Family) -> (PlainBar, Card<PlainBar>) {
        let bar = PlainBar::new(BAR_BYTES);
        let model = MODELS.iter().find(|model| model.family == family).unwrap();
        (bar.clone(), Card::new(bar, Arc::new(FakeClock::new()), model, "test"))
    }

    #[test]
    fn a_resource_is_held_during_the_work_and_free_after() {
        for family in [Family::I82599, Family::X540] {
            let (bar, card) = port(family);
            let during = card.with_semaphore(Resource::MAC_CSR, || Ok(SW_FW_SYNC.read(&bar))).unwrap();
            assert_eq!(during, SwFwSync::SW_MAC_CSR_SM, "{family}");
            assert_eq!(SW_FW_SYNC.read(&bar), SwFwSync::empty(), "{family}");
            assert_eq!(SWSM.read(&bar), Swsm::empty(), "{family}");
        }
    }

    #[test]
    fn what_others_hold_stays_held() {
        let (bar, card) = port(Family::I82599);
        SW_FW_SYNC.write(&bar, SwFwSync::SW_PHY_SM0);
        card.with_semaphore(Resource::MAC_CSR, || Ok(())).unwrap();
        assert_eq!(SW_FW_SYNC.read(&bar), SwFwSync::SW_PHY_SM0);
    }

    #[test]
    fn a_resource_that_the_firmware_keeps_is_an_error_with_its_bits() {
        let (bar, card) = port(Family::X540);
        SW_FW_SYNC.write(&bar, SwFwSync::from_bits_retain(1 << 7));
        let error = card.with_semaphore(Resource::phy(true), || -> Result<(), ErrorKind> { panic!("not held") }).unwrap_err();
        let Some(HardwareError::Semaphore { bits, wait }) = error.hardware() else { panic!("{error}") };
        assert_eq!((*bits, wait.register, wait.last), (1 << 2 | 1 << 7, "SW_FW_SYNC", 1 << 7));
        assert!((1_000_000..1_200_000).contains(&wait.waited_us), "{wait}");
        assert_eq!(SWSM.read(&bar), Swsm::empty());
    }

    #[test]
    fn a_dead_owner_is_robbed_and_a_stuck_bit_reported() {
        let (bar, card) = port(Family::I82599);
        SWSM.write(&bar, Swsm::SMBI);
        card.with_semaphore(Resource::MAC_CSR, || Ok(())).unwrap();
        bar.stick(SWSM.offset(), Swsm::SMBI.bits());
        let error = format!("{}", card.with_semaphore(Resource::MAC_CSR, || Ok(())).unwrap_err());
        assert!(error.contains("SWSM (0x10140, section 8.2.3.4.9) still reads 0x00000001"), "{error}");
    }
}
