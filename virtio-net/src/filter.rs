//! Which frames come in (5.1.6.5.1 to 5.1.6.5.3).
//!
//! A device without VIRTIO_NET_F_CTRL_RX has no filters: it delivers every frame that reaches it (5.1.6.5.1), which satisfies any receive mode and any
//! list of addresses. What is asked for is checked all the same
//! ([`ControlCore`](driver_core::device::control::ControlCore)).
//!
//! VIRTIO_NET_F_CTRL_VLAN is accepted where a filter of VLANs is wanted alone: with it, no tag comes in that was not added.

use alloc::vec::Vec;

use driver_core::device::control::{refuse_rules, refuse_vlans};
use driver_core::device::{Config, ErrorKind, RxMode, Settings};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::ring::CommandQueue;

use crate::ctrl::Ctrl;
use crate::regs::{Features, ctrl};
use crate::transport::Transport;

/// What frames come in, as the device was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    mode: RxMode,
    unicast: Vec<MacAddr>,
    multicast: Vec<MacAddr>,
    vlans: Option<Vec<u16>>,
}

/// Bytes of an address in a table.
const ADDRESS_BYTES: usize = 6;
/// Addresses that a command has room for, of both kinds together: class and command, and the number of each kind, go before them (5.1.6.5.2). What a device tells
/// apart may be fewer: QEMU's takes every frame of a kind of which there are more than 64.
const TABLE_ROOM: usize = (CommandQueue::MAX_COMMAND_BYTES - 2 - 2 * 4) / ADDRESS_BYTES;
/// VLAN identifiers (IEEE 802.1Q).
const VLANS: u16 = 4096;

impl Filters {
    /// Those of a device that was reset: promiscuous, whatever its driver wants (5.1.6.5.1), and without addresses and VLANs.
    pub(crate) fn of_reset() -> Self {
        Self { mode: RxMode::PROMISCUOUS, vlans: Some(Vec::new()), ..Self::default() }
    }

    /// Tells the device all of it, as `settings` has it.
    pub(crate) fn configure<F: PciFunction>(
        ctrl: &mut Ctrl<F>,
        transport: &dyn Transport<F>,
        features: Features,
        settings: &Settings,
        permanent: MacAddr,
    ) -> Result<Self, ErrorKind> {
        let mut filters = Self::of_reset();
        if settings.mac() != permanent {
            set_mac(ctrl, transport, features, settings.mac())?;
        }
        filters.set_vlans(ctrl, transport, features, settings.vlans())?;
        filters.set_addresses(ctrl, transport, features, settings.unicast(), settings.multicast())?;
        filters.set_mode(ctrl, transport, features, settings.rx_mode())?;
        Ok(filters)
    }

    /// Which frames come in beside those for the device.
    pub(crate) fn set_mode<F: PciFunction>(
        &mut self,
        ctrl: &mut Ctrl<F>,
        transport: &dyn Transport<F>,
        features: Features,
        mode: RxMode,
    ) -> Result<(), ErrorKind> {
        if features.contains(Features::CTRL_RX) {
            let all_multicast = mode.contains(RxMode::ALL_MULTICAST) || self.is_crowded(&self.unicast, &self.multicast);
            // What lets more in goes first, so that no frame is missed that both modes let in.
            let promiscuous = (ctrl::RX_PROMISC, mode.contains(RxMode::PROMISCUOUS));
            let mut switches = [promiscuous, (ctrl::RX_ALLMULTI, all_multicast)];
            switches.sort_by_key(|&(_, on)| !on);
            for (command, on) in switches {
                ctrl.command(transport, command, &[&[on.into()]])?;
            }
        }
        self.mode = mode;
        Ok(())
    }

    /// Whether there are more addresses than a command holds: all multicast frames come in then.
    fn is_crowded(&self, unicast: &[MacAddr], multicast: &[MacAddr]) -> bool {
        unicast.len() + multicast.len() > TABLE_ROOM
    }

    /// Replaces the further unicast addresses, and the multicast ones.
    pub(crate) fn set_addresses<F: PciFunction>(
        &mut self,
        ctrl: &mut Ctrl<F>,
        transport: &dyn Transport<F>,
        features: Features,
        unicast: &[MacAddr],
        multicast: &[MacAddr],
    ) -> Result<(), ErrorKind> {
        if unicast.len() > TABLE_ROOM {
            return Err(ErrorKind::TooManyAddresses { asked: unicast.len(), room: TABLE_ROOM });
        }
        if features.contains(Features::CTRL_RX) {
            let told = if self.is_crowded(unicast, multicast) { &[] } else { multicast };
            let table = |addresses: &[MacAddr]| {
                let mut bytes = Vec::from((addresses.len() as u32).to_le_bytes());
                bytes.extend(addresses.iter().flat_map(|mac| mac.0));
                bytes
            };
            ctrl.command(transport, ctrl::MAC_TABLE_SET, &[&table(unicast), &table(told)])?;
        }
        let was_crowded = self.is_crowded(&self.unicast, &self.multicast);
        (self.unicast, self.multicast) = (unicast.to_vec(), multicast.to_vec());
        if was_crowded == self.is_crowded(unicast, multicast) { Ok(()) } else { self.set_mode(ctrl, transport, features, self.mode) }
    }

    /// The further unicast addresses.
    pub(crate) fn unicast(&self) -> &[MacAddr] {
        &self.unicast
    }

    /// The multicast addresses.
    pub(crate) fn multicast(&self) -> &[MacAddr] {
        &self.multicast
    }

    /// Lets frames of these VLANs in, or of every one. Frames without a tag always come in; those with a priority alone are of VLAN 0 to the device, and come in with
    /// them.
    pub(crate) fn set_vlans<F: PciFunction>(
        &mut self,
        ctrl: &mut Ctrl<F>,
        transport: &dyn Transport<F>,
        features: Features,
        vlans: Option<&[u16]>,
    ) -> Result<(), ErrorKind> {
        if features.contains(Features::CTRL_VLAN) {
            let lets_in = |vlans: Option<&[u16]>, id: u16| vlans.is_none_or(|vlans| vlans.contains(&id));
            // A device that was just reset lets none in, not even those with a priority alone.
            let is_new = self.vlans.as_ref().is_some_and(Vec::is_empty);
            for id in 0..VLANS {
                let before = if id == 0 { !is_new } else { lets_in(self.vlans.as_deref(), id) };
                let now = id == 0 || lets_in(vlans, id);
                let command = match (before, now) {
                    (false, true) => ctrl::VLAN_ADD,
                    (true, false) => ctrl::VLAN_DEL,
                    _ => continue,
                };
                ctrl.command(transport, command, &[&id.to_le_bytes()])?;
            }
        }
        self.vlans = vlans.map(|vlans| [&[0], vlans].concat());
        Ok(())
    }
}

/// Gives the device another address.
pub(crate) fn set_mac<F: PciFunction>(ctrl: &mut Ctrl<F>, transport: &dyn Transport<F>, features: Features, mac: MacAddr) -> Result<(), ErrorKind> {
    if !features.contains(Features::CTRL_MAC_ADDR) {
        return Err(FIXED_MAC);
    }
    ctrl.command(transport, ctrl::MAC_ADDR_SET, &[&mac.0])
}

/// That a device which `takes` these features is not started with filters that it does not have.
pub(crate) fn refuse(config: &Config, takes: Features) -> Result<(), ErrorKind> {
    refuse_rules(config)?;
    if takes.contains(Features::CTRL_VLAN) { Ok(()) } else { refuse_vlans(config) }
}

/// The device has one address, and keeps it.
pub(crate) const FIXED_MAC: ErrorKind =
    ErrorKind::Unsupported { what: "another address (no VIRTIO_NET_F_CTRL_MAC_ADDR)", instead: "set it in the hypervisor" };

/// The device was started without its filter of VLANs.
pub(crate) const NO_VLANS: ErrorKind = ErrorKind::Unsupported {
    what: "a filter of VLANs as it was started",
    instead: "start it with `Config::vlan_filter`, where `DeviceInfo::caps` has VLAN_FILTERS; or look at the tag in software",
};
