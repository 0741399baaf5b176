//! What a device is.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bitflags::bitflags;

use crate::device::caps::Caps;
use crate::device::link::LinkSpeeds;
use crate::device::mac_pools::MacPools;
use crate::device::rss::RssLimits;
use crate::ether::{MacAddr, STANDARD_MTU};

/// What a driver reports about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The function's name: `0000:01:00.0`, `sim:ixgbe`.
    pub name: String,
    /// The driver's name.
    pub driver: &'static str,
    /// What the device is, for a person: `Intel 82599ES`.
    pub model: String,
    /// The address it was made with.
    pub permanent_mac: MacAddr,
    /// Receive queues it has.
    pub max_rx_queues: u16,
    /// Transmit queues it has.
    pub max_tx_queues: u16,
    /// How long a ring may be, in descriptors: powers of two in this range.
    pub ring_limits: RangeInclusive<u32>,
    /// The largest MTU, in bytes.
    pub max_mtu: u32,
    /// What it can do of receive side scaling; over one queue where it can do nothing.
    pub rss: RssLimits,
    /// The longest interval in microseconds that it keeps between a queue's interrupts by itself ([`Moderation`](crate::device::Moderation)); 0: it sends them as
    /// they come.
    pub max_moderation_us: u32,
    /// The speeds that it can be told to offer in auto-negotiation ([`Config::link_speeds`](crate::device::Config::link_speeds)); nothing where it is not its driver that decides.
    pub link_speeds: LinkSpeeds,
    /// How its receive queues can be shared out between addresses of their own and all else ([`Config::mac_pools`](crate::device::Config::mac_pools)), the fewest
    /// pools first; nothing where no address chooses a queue.
    pub mac_pools: &'static [MacPools],
    /// What the device offers.
    pub caps: Caps,
    /// What of it is in use; before the start, what is used where the configuration wants it.
    pub used_caps: Caps,
    /// What the transmit queues may do in software: [`Config::software`](crate::device::config::Config::software). What of it they do says
    /// [`software_caps`](DeviceInfo::software_caps).
    pub software: Caps,
    /// Features in use by the names that this kind of device has for them.
    pub features: Vec<String>,
    /// Features by such names that the device offers and that are not in use.
    pub unused_features: Vec<String>,
}

impl DeviceInfo {
    /// A device with one queue in each direction that can do nothing in particular.
    pub fn new(name: &str, driver: &'static str, model: &str, permanent_mac: MacAddr) -> Self {
        Self {
            name: name.into(),
            driver,
            model: model.into(),
            permanent_mac,
            max_rx_queues: 1,
            max_tx_queues: 1,
            ring_limits: 64..=4096,
            max_mtu: STANDARD_MTU,
            rss: RssLimits::default(),
            max_moderation_us: 0,
            link_speeds: LinkSpeeds::empty(),
            mac_pools: &[],
            caps: Caps::empty(),
            used_caps: Caps::empty(),
            software: Caps::SOFTWARE,
            features: Vec::new(),
            unused_features: Vec::new(),
        }
    }

    /// What the device offers and is not in use.
    pub fn unused_caps(&self) -> Caps {
        self.caps - self.used_caps
    }

    /// What is done in software, since the device does not offer it, or its use is not wanted, or its driver does not use it; and since it was not
    /// switched off. The other capabilities are the device's or nobody's.
    pub fn software_caps(&self) -> Caps {
        self.software - self.used_caps
    }
}

bitflags! {
    /// Which frames the receiver lets through beside those for its own addresses and to everybody.
    ///
    /// Frames of the link's own protocols are delivered like any others to their groups: pause frames (IEEE 802.3 annex 31B), LLDP, STP, link aggregation. A program
    /// that forwards with either mode on passes them on, which a bridge does not do (IEEE 802.1Q, 8.6.3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RxMode: u32 {
        /// Every frame.
        const PROMISCUOUS = 1 << 0;
        /// Every multicast frame.
        const ALL_MULTICAST = 1 << 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_device_does_not_do_is_done_in_software_or_not_at_all() {
        let mut info = DeviceInfo::new("a", "b", "c", MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(info.software_caps(), Caps::SOFTWARE);
        info.caps = Caps::TX_CHECKSUM | Caps::TX_SEGMENTATION;
        info.used_caps = Caps::TX_CHECKSUM;
        assert_eq!((info.software_caps(), info.unused_caps()), (Caps::SOFTWARE - Caps::TX_CHECKSUM, Caps::TX_SEGMENTATION));
        info.software = Caps::TX_CHECKSUM;
        assert_eq!(info.software_caps(), Caps::empty(), "switched off");
    }
}
