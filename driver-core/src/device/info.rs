//! What a device is, and how its link is.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bitflags::bitflags;

use crate::ether::{MacAddr, STANDARD_MTU};

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Its speed in Mbit/s, 0 where down or unknown.
    pub speed_mbps: u32,
    /// Whether it is full duplex.
    pub full_duplex: bool,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.up {
            return f.write_str("down");
        }
        let duplex = if self.full_duplex { "full" } else { "half" };
        match self.speed_mbps {
            0 => write!(f, "up"),
            speed => write!(f, "up, {speed} Mbit/s, {duplex} duplex"),
        }
    }
}

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
    /// Smallest and largest ring, in descriptors.
    pub ring_limits: (u32, u32),
    /// The largest MTU, in bytes.
    pub max_mtu: u32,
    /// Names of features in use.
    pub features: Vec<String>,
    /// Names of features that the device offers and the driver does not use.
    pub unused_features: Vec<String>,
}

impl DeviceInfo {
    /// Everything but the feature lists, which start empty.
    pub fn new(name: &str, driver: &'static str, model: &str, permanent_mac: MacAddr) -> Self {
        Self {
            name: name.into(),
            driver,
            model: model.into(),
            permanent_mac,
            max_rx_queues: 1,
            max_tx_queues: 1,
            ring_limits: (64, 4096),
            max_mtu: STANDARD_MTU,
            features: Vec::new(),
            unused_features: Vec::new(),
        }
    }
}

bitflags! {
    /// Which frames the receiver lets through beside those for its own addresses and to everybody.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RxMode: u32 {
        /// Every frame.
        const PROMISCUOUS = 1 << 0;
        /// Every multicast frame.
        const ALL_MULTICAST = 1 << 1;
    }
}
