//! The control handle of a started card.

use core::fmt;

use driver_core::device::error::steps;
use driver_core::device::{DeviceInfo, During, Error, ErrorKind, Link, NetDevice, RxMode, Settings, Shared, Stats};
use driver_core::ether::MacAddr;
use driver_core::host::{Interrupt, PciFunction};

use crate::device::{Ixgbe, force_silence};
use crate::filter::check;
use crate::hw::Hw;
use crate::silence::silence;
use crate::stats::Counters;

/// Link, filters, statistics and stop. Dropping it stops the card.
pub struct Control<F: PciFunction> {
    function: F,
    hw: Hw<F::Bar>,
    info: DeviceInfo,
    shared: Shared,
    /// The vector of the link and all else, where interrupts are on.
    interrupt: Option<F::Interrupt>,
    settings: Settings,
    counters: Counters,
    link: Link,
    carrier_changes: u64,
}

impl<F: PciFunction> Control<F> {
    pub(crate) fn new(device: Ixgbe<F>, settings: Settings, shared: Shared, interrupt: Option<F::Interrupt>) -> Self {
        let Ixgbe { function, hw, info } = device;
        Self { function, hw, info, shared, interrupt, settings, counters: Counters::default(), link: Link::default(), carrier_changes: 0 }
    }

    /// What the queues see of the card's state.
    pub const fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A stopped card has no filters to change: its registers are silent.
    fn while_running<T>(&self, step: &'static str, work: impl FnOnce(&Hw<F::Bar>) -> Result<T, ErrorKind>) -> Result<T, Error> {
        let done = if self.shared.is_running() { work(&self.hw) } else { Err(ErrorKind::Stopped) };
        done.during(&self.info.name, step)
    }
}

impl<F: PciFunction> NetDevice for Control<F> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error> {
        check(&[mac], MacAddr::is_valid_unicast, "unicast").during(&self.info.name, steps::SETTING_MAC)?;
        self.while_running(steps::SETTING_MAC, |hw| hw.set_receive_address(0, Some(mac)))?;
        self.settings.set_mac(mac);
        Ok(())
    }

    fn link(&mut self) -> Link {
        if !self.shared.is_running() {
            return Link::default();
        }
        if self.interrupt.is_some() {
            self.hw.take_other_causes();
        }
        let now = self.hw.link();
        if now.up != self.link.up {
            self.carrier_changes += 1;
            log::info!("{}: link {now}", self.info.name);
        }
        self.link = now;
        now
    }

    fn link_interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.interrupt.as_mut().map(|interrupt| interrupt as _)
    }

    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error> {
        self.while_running(steps::SETTING_RX_MODE, |hw| {
            hw.set_mode(mode);
            Ok(())
        })?;
        self.settings.set_rx_mode(mode);
        Ok(())
    }

    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        self.while_running(steps::SETTING_UNICAST, |hw| hw.set_unicast(addresses, self.settings.unicast().len()))?;
        self.settings.set_unicast(addresses);
        Ok(())
    }

    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        check(addresses, MacAddr::is_multicast, "multicast").during(&self.info.name, steps::SETTING_MULTICAST)?;
        self.while_running(steps::SETTING_MULTICAST, |hw| {
            hw.set_multicast(addresses);
            Ok(())
        })?;
        self.settings.set_multicast(addresses);
        Ok(())
    }

    fn stats(&mut self) -> Stats {
        if self.shared.is_running() {
            self.counters.update(&self.hw.bar);
        }
        let mut stats = self.counters.stats(self.carrier_changes);
        stats.tx_dropped += self.shared.tx_totals().unsent;
        stats
    }

    fn stop(&mut self) -> Result<(), Error> {
        if self.shared.is_stopped() {
            return Ok(());
        }
        // The queues hand the card nothing from here on.
        self.shared.set_stopping();
        self.counters.update(&self.hw.bar);
        let answer = self.hw.stop(&self.function).map(|unsent| self.shared.add_unsent(unsent));
        // Bus mastering goes in any case: with it, what an unconfirmed card may still do is behind the IOMMU and the bridge.
        let bus = self.function.forbid_dma();
        let answer = answer.or_else(|unconfirmed| force_silence(&mut self.function, unconfirmed));
        self.shared.set_stopped(&silence(answer).during(&self.info.name, steps::STOPPING)?);
        bus.during(&self.info.name, steps::STOPPING)
    }
}

impl<F: PciFunction> Drop for Control<F> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("{error}");
        }
    }
}

impl<F: PciFunction> fmt::Debug for Control<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("info", &self.info).field("settings", &self.settings).field("link", &self.link).finish_non_exhaustive()
    }
}
