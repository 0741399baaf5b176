//! The control handle that all drivers share: it knows how far its device is, how it is set, and how it ends.

use alloc::boxed::Box;
use core::fmt;

use crate::device::contract::NetDevice;
use crate::device::error::{During, Error, ErrorKind, steps};
use crate::device::info::{DeviceInfo, Link, RxMode};
use crate::device::settings::Settings;
use crate::device::state::Shared;
use crate::device::stats::Stats;
use crate::ether::MacAddr;
use crate::host::pci::{Interrupt, PciFunction};
use crate::host::vectors::{VectorPlan, Vectors};
use crate::queue::core::kernel::RxKernel;
use crate::queue::core::lent::Silence;
use crate::queue::core::rx::RxCore;
use crate::queue::core::seat::{State, Totals};

/// What a driver does to its device for a control handle. But for [`ControlKernel::stop`] and what reads no register, all of it is called while the device
/// runs, and with addresses that were checked.
pub trait ControlKernel: Send + 'static {
    /// The PCI function that the device is.
    type Function: PciFunction;

    /// Does something with the function.
    fn with_function<T>(&mut self, work: impl FnOnce(&mut Self::Function) -> T) -> T;

    /// Gives the device another address. `now`: how it is set so far, here as below.
    ///
    /// # Errors
    /// Where it cannot have it.
    fn set_mac(&mut self, mac: MacAddr, now: &Settings) -> Result<(), ErrorKind>;
    /// Sets which frames come in beside those for the device.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind>;
    /// Replaces the further unicast addresses.
    ///
    /// # Errors
    /// Where there are too many.
    fn set_unicast(&mut self, addresses: &[MacAddr], now: &Settings) -> Result<(), ErrorKind>;
    /// Replaces the multicast addresses.
    ///
    /// # Errors
    /// Where there are too many.
    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind>;

    /// Whether the device asks for a reset.
    fn needs_reset(&mut self) -> bool {
        false
    }
    /// Reads the link's state, and lets the link's interrupt fire again where there is one.
    ///
    /// # Errors
    /// Where the device does not tell.
    fn link(&mut self, now: &Settings) -> Result<Link, ErrorKind>;

    /// Adds up what the device has counted since the last call.
    fn read_counters(&mut self) {}
    /// What was counted since the start: by the device as far as it was read, and by the queues.
    fn stats(&self, rx: &Totals, tx: &Totals) -> Stats;

    /// Stops a device in any state, after frames on their way went out where they can. Gives the device's word that it is silent, and how many transmit
    /// descriptors it gave up.
    ///
    /// # Errors
    /// Where the device does not confirm that it is silent.
    fn stop(&mut self) -> Result<(Silence, u32), ErrorKind>;
}

/// The control handle of a started device, over what one driver brings. Dropping it stops the device.
pub struct ControlCore<K: ControlKernel> {
    kernel: K,
    info: DeviceInfo,
    settings: Settings,
    shared: Shared,
    /// The vector of the link and all else that is no queue's.
    interrupt: Option<Box<dyn Interrupt>>,
    link: Link,
    carrier_changes: u64,
}

impl<K: ControlKernel> ControlCore<K> {
    /// The handle of a device that has just come up, set as `settings` says.
    pub fn new(kernel: K, info: DeviceInfo, settings: Settings, shared: Shared, interrupt: Option<Box<dyn Interrupt>>) -> Self {
        Self { kernel, info, settings, shared, interrupt, link: Link::down(), carrier_changes: 0 }
    }

    /// What is the driver's own.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    /// What the queues see of the device's state.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// That the device runs and works. One that asks for a reset has failed from then on.
    fn runs(&mut self) -> Result<(), ErrorKind> {
        match self.shared.state() {
            State::Running if self.kernel.needs_reset() => {
                self.shared.set_failed();
                Err(ErrorKind::NeedsReset)
            }
            State::Running => Ok(()),
            State::Failed => Err(ErrorKind::NeedsReset),
            State::Stopping | State::Stopped => Err(ErrorKind::Stopped),
        }
    }

    /// A setter: the device is told, and where it took it, it is remembered.
    fn set(
        &mut self,
        step: &'static str,
        checked: Result<(), ErrorKind>,
        tell: impl FnOnce(&mut K, &Settings) -> Result<(), ErrorKind>,
        remember: impl FnOnce(&mut Settings),
    ) -> Result<(), Error> {
        checked.and_then(|()| self.runs()).and_then(|()| tell(&mut self.kernel, &self.settings)).during(&self.info.name, step)?;
        remember(&mut self.settings);
        Ok(())
    }
}

/// That all of `addresses` are what is wanted.
fn check(addresses: &[MacAddr], is_good: impl Fn(MacAddr) -> bool, wanted: &'static str) -> Result<(), ErrorKind> {
    match addresses.iter().find(|&&mac| !is_good(mac)) {
        Some(&mac) => Err(ErrorKind::Address { mac, wanted }),
        None => Ok(()),
    }
}

fn unicast(addresses: &[MacAddr]) -> Result<(), ErrorKind> {
    check(addresses, MacAddr::is_valid_unicast, "unicast")
}

fn multicast(addresses: &[MacAddr]) -> Result<(), ErrorKind> {
    check(addresses, MacAddr::is_multicast, "multicast")
}

impl<K: ControlKernel> NetDevice for ControlCore<K> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn check(&mut self) -> Result<(), Error> {
        self.runs().during(&self.info.name, steps::CHECKING)
    }

    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error> {
        self.set(steps::SETTING_MAC, unicast(&[mac]), |kernel, now| kernel.set_mac(mac, now), |settings| settings.set_mac(mac))
    }

    fn link(&mut self) -> Link {
        let now = match self.runs().and_then(|()| self.kernel.link(&self.settings)) {
            Ok(link) => link,
            Err(ErrorKind::Stopped) => return Link::down(),
            Err(error) => {
                log::error!("{}: {}: {error}", self.info.name, steps::LINK);
                Link::down()
            }
        };
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
        self.set(steps::SETTING_RX_MODE, Ok(()), |kernel, _| kernel.set_rx_mode(mode), |settings| settings.set_rx_mode(mode))
    }

    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        let tell = |kernel: &mut K, now: &Settings| kernel.set_unicast(addresses, now);
        self.set(steps::SETTING_UNICAST, unicast(addresses), tell, |settings| settings.set_unicast(addresses))
    }

    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        let tell = |kernel: &mut K, _: &Settings| kernel.set_multicast(addresses);
        self.set(steps::SETTING_MULTICAST, multicast(addresses), tell, |settings| settings.set_multicast(addresses))
    }

    fn stats(&mut self) -> Stats {
        if self.shared.is_running() {
            self.kernel.read_counters();
        }
        let (rx, tx) = (self.shared.rx_totals(), self.shared.tx_totals());
        let mut stats = self.kernel.stats(&rx, &tx);
        stats.tx_dropped += tx.unsent;
        stats.carrier_changes = self.carrier_changes;
        stats
    }

    fn stop(&mut self) -> Result<(), Error> {
        if self.shared.is_stopped() {
            return Ok(());
        }
        // The queues hand the device nothing from here on.
        self.shared.set_stopping();
        self.kernel.read_counters();
        let Self { kernel, shared, .. } = self;
        let answer = kernel.stop().map(|(silence, unsent)| {
            shared.add_unsent(unsent);
            silence
        });
        kernel.with_function(|function| take_back(function, shared, answer)).during(&self.info.name, steps::STOPPING)
    }
}

impl<K: ControlKernel> Drop for ControlCore<K> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("{error}");
        }
    }
}

impl<K: ControlKernel> fmt::Debug for ControlCore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("info", &self.info).field("settings", &self.settings).field("link", &self.link).finish_non_exhaustive()
    }
}

/// Gives each receive queue its interrupt and returns that of the control handle, all of them as `plan` has them.
pub fn hand_out<K: RxKernel>(mut vectors: Vectors<impl Interrupt>, plan: Option<VectorPlan>, queues: &mut [RxCore<K>]) -> Option<Box<dyn Interrupt>> {
    let plan = plan?;
    for queue in queues {
        if let Some(interrupt) = plan.rx(queue.index()).and_then(|vector| vectors.take(vector)) {
            queue.set_interrupt(Box::new(interrupt));
        }
    }
    vectors.take(plan.control()).map(|interrupt| Box::new(interrupt) as _)
}

/// Takes back what a device was lent, after its `answer` to being stopped: for its word that it is silent or, where it does not give it, after a reset of the
/// whole function. Without either the memory leaks, since the device may still use it.
///
/// DMA is forbidden in any case: with that, what a device may still do that did not confirm is behind the IOMMU and the bridge.
///
/// # Errors
/// What the device failed to confirm, where the function cannot be reset; what the host said, where DMA cannot be forbidden.
pub fn take_back(function: &mut impl PciFunction, shared: &mut Shared, answer: Result<Silence, ErrorKind>) -> Result<(), ErrorKind> {
    shared.set_stopping();
    let forbidden = function.forbid_dma();
    let silence = answer.or_else(|unconfirmed| force_silence(function, unconfirmed))?;
    shared.set_stopped(silence);
    Ok(forbidden?)
}

fn force_silence(function: &mut impl PciFunction, unconfirmed: ErrorKind) -> Result<Silence, ErrorKind> {
    match function.reset() {
        Ok(()) => {
            log::warn!("{}: {unconfirmed}; the function was reset instead", function.name());
            // SAFETY: after a reset of the whole function no access to memory is under way, and it remembers nothing of what it was lent: whoever implements
            // `PciFunction` vouches for that.
            Ok(unsafe { Silence::confirmed() })
        }
        Err(error) => {
            log::error!("{error}");
            Err(unconfirmed)
        }
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
