//! The two sides of a configuration.

use alloc::vec::Vec;

use crate::device::flow_control::Overflow;
use crate::device::info::RxMode;
use crate::queue::gate::GateConfig;

/// The receive side of a [`Config`](super::Config).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RxConfig {
    pub(super) queues: u16,
    pub(super) ring: u32,
    pub(super) mode: RxMode,
    pub(super) mac_pools: u16,
    pub(super) overflow: Overflow,
    /// Queues that are otherwise.
    pub(super) overflow_of: Vec<(u16, Overflow)>,
}

impl Default for RxConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl RxConfig {
    /// One queue of 512 descriptors, and no further frames than those for the device.
    pub const fn new() -> Self {
        Self { queues: 1, ring: 512, mode: RxMode::empty(), mac_pools: 0, overflow: Overflow::Auto, overflow_of: Vec::new() }
    }
    /// How many queues.
    pub fn queues(self, count: u16) -> Self {
        Self { queues: count, ..self }
    }
    /// Descriptors in each ring, a power of two. A virtio device that has fewer gives as many as it has.
    pub fn ring(self, len: u32) -> Self {
        Self { ring: len, ..self }
    }
    /// Which frames come in beside those for the device.
    pub fn mode(self, mode: RxMode) -> Self {
        Self { mode, ..self }
    }
    /// How many of the queues, the last ones, have frames of destination addresses of their own alone: see [`Config::mac_pools`](super::Config::mac_pools).
    pub fn mac_pools(self, count: u16) -> Self {
        Self { mac_pools: count, ..self }
    }
    /// What becomes of frames for a queue that has no buffers.
    pub fn overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }
    /// The same of queue `queue` alone: a slow one that drops need not stop a port whose others wait.
    pub fn overflow_of(mut self, queue: u16, overflow: Overflow) -> Self {
        self.overflow_of.retain(|&(other, _)| other != queue);
        self.overflow_of.push((queue, overflow));
        self
    }

    /// How many queues.
    pub fn queue_count(&self) -> u16 {
        self.queues
    }
    /// Descriptors in each ring.
    pub fn ring_len(&self) -> u32 {
        self.ring
    }
    /// Which frames come in beside those for the device.
    pub fn rx_mode(&self) -> RxMode {
        self.mode
    }
    /// How many of the queues, the last ones, have addresses of their own.
    pub fn mac_pool_count(&self) -> u16 {
        self.mac_pools
    }
    /// How many of the queues, the first ones, share all other frames: all, where none has addresses of its own.
    pub fn spread_queues(&self) -> u16 {
        self.queues.saturating_sub(self.mac_pools)
    }
    /// What becomes of frames for queue `queue` where it has no buffers.
    pub fn when_full(&self, queue: u16) -> Overflow {
        self.overflow_of.iter().find(|&&(other, _)| other == queue).map_or(self.overflow, |&(_, overflow)| overflow)
    }
}

/// The transmit side of a [`Config`](super::Config).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxConfig {
    pub(super) queues: u16,
    pub(super) ring: u32,
    pub(super) gate: GateConfig,
    pub(super) timeout_us: u64,
}

impl Default for TxConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl TxConfig {
    /// One queue of 512 descriptors, which stops and wakes by [`GateConfig::default`], and hangs after two seconds.
    pub fn new() -> Self {
        Self { queues: 1, ring: 512, gate: GateConfig::default(), timeout_us: 2_000_000 }
    }
    /// How many queues.
    pub fn queues(self, count: u16) -> Self {
        Self { queues: count, ..self }
    }
    /// Descriptors in each ring, a power of two. A virtio device that has fewer gives as many as it has.
    pub fn ring(self, len: u32) -> Self {
        Self { ring: len, ..self }
    }
    /// When the queues stop and wake.
    pub fn gate(self, gate: GateConfig) -> Self {
        Self { gate, ..self }
    }
    /// For how long, in microseconds, a queue with work may stand still on a device with a link before it counts as hung (Linux: `watchdog_timeo`, for its
    /// `ndo_tx_timeout`). `u64::MAX`: for ever. Where the device is recovered ([`Config::recovery`](super::Config::recovery)) the control handle sees to that, and a queue that nobody recovers gives
    /// itself up after twice as long.
    pub fn timeout_us(self, timeout_us: u64) -> Self {
        Self { timeout_us, ..self }
    }

    /// For how long a queue with work may stand still, in microseconds.
    pub fn hang_us(&self) -> u64 {
        self.timeout_us
    }
    /// How many queues.
    pub fn queue_count(&self) -> u16 {
        self.queues
    }
    /// Descriptors in each ring.
    pub fn ring_len(&self) -> u32 {
        self.ring
    }
    /// When the queues stop and wake.
    pub fn gate_config(&self) -> GateConfig {
        self.gate
    }
}
