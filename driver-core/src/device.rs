//! The control side of a network device, and how it is configured.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::gate::GateConfig;
use crate::pool::BufPool;
use crate::queue::{RxQueue, TxQueue};
use crate::stats::Stats;

/// A 48-bit Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether the group bit is set (multicast and broadcast).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
    /// Whether a device can have it: neither a group nor all zeros.
    pub fn is_valid_unicast(self) -> bool {
        !self.is_multicast() && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "a MAC address is six hexadecimal bytes with colons, as in 02:00:00:00:00:01";
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(WANTED)?;
            if part.len() != 2 || part.starts_with('+') {
                return Err(WANTED);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| WANTED)?;
        }
        if parts.next().is_some() { Err(WANTED) } else { Ok(Self(bytes)) }
    }
}

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
            max_mtu: 1500,
            features: Vec::new(),
            unused_features: Vec::new(),
        }
    }
}

/// Which frames the receiver lets through beside its own unicast addresses and broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxMode {
    /// Every frame.
    pub promiscuous: bool,
    /// Every multicast frame.
    pub all_multicast: bool,
}

/// How to start a device.
#[derive(Debug, Clone)]
pub struct Config {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors in each receive ring, a power of two.
    pub rx_ring: u32,
    /// Descriptors in each transmit ring, a power of two.
    pub tx_ring: u32,
    /// The largest payload of a frame in bytes; the frame itself has 14 more, and 4 more for a VLAN tag.
    pub mtu: u32,
    /// Which frames come in.
    pub rx_mode: RxMode,
    /// When transmit queues stop and wake.
    pub gate: GateConfig,
    /// Where buffers come from. `None`: a pool of the device's own, in its own domain, large enough to fill every ring.
    pub pool: Option<BufPool>,
    /// Whether receive queues get an interrupt each, to be waited on by [`Poller`](crate::poller::Poller).
    pub interrupts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_ring: 512,
            tx_ring: 512,
            mtu: 1500,
            rx_mode: RxMode::default(),
            gate: GateConfig::default(),
            pool: None,
            interrupts: false,
        }
    }
}

/// A started device: the control handle, and queues that leave it, one per worker.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started<C, R, T, I> {
    /// Link, filters, statistics, stop.
    pub control: C,
    /// Receive queues.
    pub rx: Vec<R>,
    /// Transmit queues.
    pub tx: Vec<T>,
    /// One interrupt a receive queue, where [`Config::interrupts`] asked for them; else empty.
    pub interrupts: Vec<I>,
    /// The pool that receive buffers come from. Frames to send come from it too: [`BufPool::take`].
    pub pool: BufPool,
}

impl<C, R, T, I> Started<C, R, T, I> {
    /// Puts the parts together.
    pub fn new(control: C, rx: Vec<R>, tx: Vec<T>, interrupts: Vec<I>, pool: BufPool) -> Self {
        Self { control, rx, tx, interrupts, pool }
    }
}

/// The control handle of a started device. Dropping it stops the device.
pub trait NetDevice: Send {
    /// What the driver's own errors are.
    type Error: core::error::Error + Send + Sync + 'static;
    /// The driver's receive queue.
    type Rx: RxQueue;
    /// The driver's transmit queue.
    type Tx: TxQueue;

    /// What the device is and can do.
    fn info(&self) -> &DeviceInfo;
    /// The address it has now.
    fn mac(&self) -> MacAddr;
    /// Gives it another address.
    ///
    /// # Errors
    /// Where `mac` is no unicast address or the device cannot change it.
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Self::Error>;
    /// The MTU it was started with.
    fn mtu(&self) -> u32;
    /// The link as it is now. Changes are counted in `carrier_changes`.
    fn link(&mut self) -> Link;
    /// Sets promiscuous and all-multicast mode.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Self::Error>;
    /// Replaces the further unicast addresses that it receives.
    ///
    /// # Errors
    /// Where there are more than the device filters, or one is no unicast address.
    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Self::Error>;
    /// Replaces the multicast addresses that it receives.
    ///
    /// # Errors
    /// Where one is no multicast address, or there are more than the device filters.
    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Self::Error>;
    /// Counters since the start.
    fn stats(&mut self) -> Stats;
    /// Stops the device and takes its queues back; when it returns, the device writes to no memory any more.
    ///
    /// # Errors
    /// Where the device does not confirm that it stopped.
    fn stop(&mut self) -> Result<(), Self::Error>;
}
