//! What a device may be started with.

use driver_core::device::Config;
use driver_core::dma::DmaDomain;
use driver_core::gate::TxGate;
use driver_core::pool::{BufPool, PoolConfig};

use crate::desc::HEADER_BYTES;
use crate::error::ConfigError;

/// The smallest MTU, in bytes: what IPv4 demands, and the least that a device may tell (5.1.4.1).
pub const MIN_MTU: u32 = 68;
/// The largest MTU, in bytes: the largest buffer of a pool less Ethernet header and VLAN tag.
pub const MAX_MTU: u32 = 16384 - ETHERNET_BYTES;
/// Descriptors of the smallest ring.
pub const MIN_RING: u32 = 8;
/// Descriptors of the largest ring (2.7).
pub const MAX_RING: u32 = 32768;
/// Ethernet header and VLAN tag.
const ETHERNET_BYTES: u32 = 14 + 4;
/// Buffers of a pool of the device's own beside those that the rings hold: for batches and for frames in the application's hands.
const SPARE_BUFFERS: u32 = 1024;

/// The longest frame of an MTU without check sequence, in bytes.
pub(crate) const fn max_frame_bytes(mtu: u32) -> u32 {
    mtu + ETHERNET_BYTES
}

/// What the device allows.
pub(crate) struct Limits {
    pub(crate) max_mtu: u32,
    /// A frame may lie in several buffers.
    pub(crate) mrg_rxbuf: bool,
    pub(crate) vectors: u16,
}

/// Checks all of `config` that does not depend on free memory.
pub(crate) fn check(config: &Config, domain: &DmaDomain, limits: &Limits) -> Result<(), ConfigError> {
    for (direction, asked) in [("receive", config.rx_queues), ("transmit", config.tx_queues)] {
        if asked != 1 {
            return Err(ConfigError::Queues { direction, asked, max: 1 });
        }
    }
    for (direction, asked) in [("receive", config.rx_ring), ("transmit", config.tx_ring)] {
        if !asked.is_power_of_two() || !(MIN_RING..=MAX_RING).contains(&asked) {
            return Err(ConfigError::Ring { direction, asked, min: MIN_RING, max: MAX_RING });
        }
    }
    if !(MIN_MTU..=limits.max_mtu).contains(&config.mtu) {
        return Err(ConfigError::Mtu { asked: config.mtu, min: MIN_MTU, max: limits.max_mtu });
    }
    TxGate::new(config.gate, config.tx_ring).map_err(ConfigError::Gate)?;
    if let Some(pool) = &config.pool {
        check_pool(pool, config, domain, limits)?;
    }
    let needed = config.rx_queues + 1;
    if config.interrupts && limits.vectors < needed {
        return Err(ConfigError::Vectors { available: limits.vectors, needed });
    }
    Ok(())
}

fn check_pool(pool: &BufPool, config: &Config, domain: &DmaDomain, limits: &Limits) -> Result<(), ConfigError> {
    if !pool.domain().is_same(domain) {
        return Err(ConfigError::PoolDomain);
    }
    let (headroom_bytes, min_bytes) = (pool.headroom_bytes(), HEADER_BYTES as u32);
    if headroom_bytes < min_bytes {
        return Err(ConfigError::PoolHeadroom { headroom_bytes, min_bytes });
    }
    let (buffer_bytes, min_bytes) = (pool.data_bytes(), max_frame_bytes(config.mtu));
    if buffer_bytes < min_bytes && !limits.mrg_rxbuf {
        return Err(ConfigError::PoolBuffers { buffer_bytes, min_bytes });
    }
    Ok(())
}

/// A pool for a device that was given none: buffers of the usual size, or of a frame's where a frame must lie in one.
pub(crate) fn own_pool(config: &Config, limits: &Limits, rings: u32) -> PoolConfig {
    let usual = PoolConfig::new(rings + SPARE_BUFFERS);
    if limits.mrg_rxbuf { usual } else { PoolConfig { data_bytes: usual.data_bytes.max(max_frame_bytes(config.mtu)), ..usual } }
}
