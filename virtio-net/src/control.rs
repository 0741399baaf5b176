//! The control handle of a started device.

use core::fmt;

use driver_core::device::error::steps;
use driver_core::device::{Caps, DeviceInfo, During, Error, ErrorKind, Link, NetDevice, RxMode, Settings, Shared, State, Stats};
use driver_core::ether::MacAddr;
use driver_core::host::{Interrupt, PciFunction};

use crate::config::caps;
use crate::device::{VirtioNet, force_silence};
use crate::filter::check;
use crate::regs::{Features, Status};
use crate::silence::silence;
use crate::transport::{SharedFunction, Transport};

/// Link, statistics and stop. Dropping it stops the device.
pub struct Control<F: PciFunction> {
    function: SharedFunction<F>,
    transport: Transport<F>,
    info: DeviceInfo,
    features: Features,
    shared: Shared,
    /// The vector of configuration changes, where interrupts are on.
    interrupt: Option<F::Interrupt>,
    settings: Settings,
    link: Link,
    carrier_changes: u64,
}

impl<F: PciFunction> Control<F> {
    pub(crate) fn new(device: VirtioNet<F>, settings: Settings, features: Features, shared: Shared, interrupt: Option<F::Interrupt>) -> Self {
        let VirtioNet { function, transport, mut info, offered, .. } = device;
        info.used_caps = caps(features);
        info.used_caps.set(Caps::INTERRUPTS, settings.vectors().is_some());
        info.features = features.names();
        info.unused_features = offered.difference(features).names();
        Self { function, transport, info, features, shared, interrupt, settings, link: Link::default(), carrier_changes: 0 }
    }

    /// The features that were negotiated.
    pub fn features(&self) -> Features {
        self.features
    }

    /// What the queues see of the device's state.
    pub const fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether the device works.
    ///
    /// # Errors
    /// [`ErrorKind::NeedsReset`] where it asked for a reset: its queues are broken from then on. [`ErrorKind::Stopped`].
    pub fn check(&mut self) -> Result<(), Error> {
        self.while_running().during(&self.info.name, steps::CHECKING)
    }

    fn while_running(&mut self) -> Result<(), ErrorKind> {
        match self.shared.state() {
            State::Running => {}
            State::Failed => return Err(ErrorKind::NeedsReset),
            _ => return Err(ErrorKind::Stopped),
        }
        // A device that is gone reads all ones, which has this bit set too.
        if self.transport.status().contains(Status::DEVICE_NEEDS_RESET) {
            self.shared.set_failed();
            return Err(ErrorKind::NeedsReset);
        }
        Ok(())
    }
}

impl<F: PciFunction> NetDevice for Control<F> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Without VIRTIO_NET_F_CTRL_MAC_ADDR only the address that the device has already.
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error> {
        let fixed = ErrorKind::Unsupported { what: "another address (no VIRTIO_NET_F_CTRL_MAC_ADDR)", instead: "set it in the hypervisor" };
        check(&[mac], MacAddr::is_valid_unicast, "unicast")
            .and_then(|()| if mac == self.settings.mac() { Ok(()) } else { Err(fixed) })
            .during(&self.info.name, steps::SETTING_MAC)
    }

    fn link(&mut self) -> Link {
        let now = match self.while_running().and_then(|()| crate::link::link(&self.transport, self.features)) {
            Ok(link) => link,
            Err(ErrorKind::Stopped) => return Link::default(),
            Err(error) => {
                log::error!("{}: {}: {error}", self.info.name, steps::LINK);
                Link::default()
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

    /// The device delivers every frame that reaches it, whatever the mode: see [`filter`](crate::filter).
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error> {
        self.while_running().during(&self.info.name, steps::SETTING_RX_MODE)?;
        self.settings.set_rx_mode(mode);
        Ok(())
    }

    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        check(addresses, MacAddr::is_valid_unicast, "unicast").and_then(|()| self.while_running()).during(&self.info.name, steps::SETTING_UNICAST)?;
        self.settings.set_unicast(addresses);
        Ok(())
    }

    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        check(addresses, MacAddr::is_multicast, "multicast").and_then(|()| self.while_running()).during(&self.info.name, steps::SETTING_MULTICAST)?;
        self.settings.set_multicast(addresses);
        Ok(())
    }

    fn stats(&mut self) -> Stats {
        crate::stats::stats(&self.shared, self.carrier_changes)
    }

    fn stop(&mut self) -> Result<(), Error> {
        if self.shared.is_stopped() {
            return Ok(());
        }
        // The queues hand the device nothing from here on.
        self.shared.set_stopping();
        let answer = self.transport.reset();
        // Bus mastering goes in any case: with it, what an unconfirmed device may still do is behind the IOMMU and the bridge.
        let bus = self.function.lock().forbid_dma();
        let answer = answer.or_else(|unconfirmed| force_silence(&self.function, unconfirmed));
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
