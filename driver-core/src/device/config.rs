//! How a device is started, what every driver checks of that first, and what it says where it fails.

use alloc::boxed::Box;
use core::fmt;
use core::ops::RangeInclusive;

use crate::buf::pool::BufPool;
use crate::device::info::RxMode;
use crate::ether::STANDARD_MTU;
use crate::host::dma::DmaDomain;
use crate::queue::gate::{GateConfig, GateError, TxGate};

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
    /// Whether receive queues get an interrupt each, to be waited on by [`Poller`](crate::queue::poller::Poller).
    pub interrupts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_ring: 512,
            tx_ring: 512,
            mtu: STANDARD_MTU,
            rx_mode: RxMode::default(),
            gate: GateConfig::default(),
            pool: None,
            interrupts: false,
        }
    }
}

/// A configuration that the device cannot be started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number of queues.
    Queues {
        /// `receive` or `transmit`.
        direction: &'static str,
        /// How many.
        asked: u16,
        /// The most there are.
        max: u16,
    },
    /// A ring size.
    Ring {
        /// `receive` or `transmit`.
        direction: &'static str,
        /// How many descriptors.
        asked: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// The MTU.
    Mtu {
        /// In bytes.
        asked: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// The gate's thresholds.
    Gate(GateError),
    /// The pool lies in memory that the device does not reach.
    PoolDomain,
    /// The pool's buffers are not of a size that the device can be told.
    PoolSteps {
        /// Their size in bytes.
        buffer_bytes: u32,
    },
    /// The pool's buffers are smaller than a frame, and the device does not spread frames over several.
    PoolBuffers {
        /// Their size in bytes.
        buffer_bytes: u32,
        /// What is needed.
        min_bytes: u32,
    },
    /// The pool's buffers have no room for the device's header.
    PoolHeadroom {
        /// Their headroom in bytes.
        headroom_bytes: u32,
        /// What is needed.
        min_bytes: u32,
    },
    /// The pool has too few buffers for the queues.
    PoolCount {
        /// Buffers it has.
        buffers: u32,
        /// Buffers needed.
        needed: u32,
    },
    /// The function has too few interrupt vectors.
    Vectors {
        /// Vectors it has.
        available: u16,
        /// Vectors needed.
        needed: u16,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queues { direction, asked, max } => write!(f, "{asked} {direction} queues asked for: take 1 to {max}"),
            Self::Ring { direction, asked, min, max } => {
                write!(f, "a {direction} ring of {asked} descriptors asked for: take a power of two from {min} to {max}")
            }
            Self::Mtu { asked, min, max } => write!(f, "an MTU of {asked} bytes asked for: take {min} to {max}"),
            Self::Gate(error) => write!(f, "transmit gate: {error}"),
            Self::PoolDomain => f.write_str("the pool's memory is not mapped for this device: make the pool in the device's own DMA domain"),
            Self::PoolSteps { buffer_bytes } => {
                write!(f, "the pool's buffers hold {buffer_bytes} bytes: the card takes 1024 to 16384, in steps of 1024")
            }
            Self::PoolBuffers { buffer_bytes, min_bytes } => {
                write!(
                    f,
                    "the pool's buffers hold {buffer_bytes} bytes and this device needs {min_bytes} for its MTU: make them larger or the MTU smaller"
                )
            }
            Self::PoolHeadroom { headroom_bytes, min_bytes } => {
                write!(f, "the pool's buffers have {headroom_bytes} bytes of headroom: the device's header needs {min_bytes}")
            }
            Self::PoolCount { buffers, needed } => write!(f, "the pool has {buffers} buffers, the queues need {needed}: make it larger"),
            Self::Vectors { available, needed } => write!(
                f,
                "interrupts need {needed} vectors (one a receive queue and one for the link), the function has {available}: use fewer queues, or poll"
            ),
        }
    }
}
impl core::error::Error for ConfigError {}

/// What a device allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most queues in each direction.
    pub queues: u16,
    /// Descriptors in a ring.
    pub ring: RangeInclusive<u32>,
    /// The MTU in bytes.
    pub mtu: RangeInclusive<u32>,
    /// Interrupt vectors that the function has.
    pub vectors: u16,
}

/// Checks everything of `config` that does not depend on a pool's buffers. A receive queue takes one interrupt vector, and the link another.
///
/// # Errors
/// [`ConfigError`], the first that is found.
pub fn check(config: &Config, domain: &DmaDomain, limits: &Limits) -> Result<(), ConfigError> {
    for (direction, asked) in [("receive", config.rx_queues), ("transmit", config.tx_queues)] {
        if !(1..=limits.queues).contains(&asked) {
            return Err(ConfigError::Queues { direction, asked, max: limits.queues });
        }
    }
    for (direction, asked) in [("receive", config.rx_ring), ("transmit", config.tx_ring)] {
        if !asked.is_power_of_two() || !limits.ring.contains(&asked) {
            let (&min, &max) = (limits.ring.start(), limits.ring.end());
            return Err(ConfigError::Ring { direction, asked, min, max });
        }
    }
    if !limits.mtu.contains(&config.mtu) {
        let (&min, &max) = (limits.mtu.start(), limits.mtu.end());
        return Err(ConfigError::Mtu { asked: config.mtu, min, max });
    }
    TxGate::new(config.gate, config.tx_ring).map_err(ConfigError::Gate)?;
    if config.pool.as_ref().is_some_and(|pool| !pool.domain().is_same(domain)) {
        return Err(ConfigError::PoolDomain);
    }
    let needed = config.rx_queues + 1;
    if config.interrupts && limits.vectors < needed {
        return Err(ConfigError::Vectors { available: limits.vectors, needed });
    }
    Ok(())
}

/// A device could not be started: why, and the device, stopped, to be started otherwise.
pub struct StartError<E, D>(Box<(E, D)>);

impl<E, D> StartError<E, D> {
    /// The error and the device.
    pub fn new(error: E, device: D) -> Self {
        Self(Box::new((error, device)))
    }
    /// Why.
    pub fn error(&self) -> &E {
        &self.0.0
    }
    /// Why, and the device.
    pub fn into_parts(self) -> (E, D) {
        *self.0
    }
}

impl<E: fmt::Debug, D> fmt::Debug for StartError<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StartError").field(self.error()).finish()
    }
}
impl<E: fmt::Display, D> fmt::Display for StartError<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}
impl<E: core::error::Error, D> core::error::Error for StartError<E, D> {}
