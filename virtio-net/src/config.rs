//! What a device may be started with.

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::config::{self};
use driver_core::device::{Config, ConfigError};
use driver_core::host::DmaDomain;

use crate::desc::HEADER_BYTES;

/// The smallest MTU, in bytes: what IPv4 demands, and the least that a device may tell (5.1.4.1).
pub const MIN_MTU: u32 = 68;
/// The largest MTU, in bytes: the largest buffer of a pool less Ethernet header and VLAN tag.
pub const MAX_MTU: u32 = 16384 - ETHERNET_BYTES;
/// Descriptors of the smallest ring.
pub const MIN_RING: u32 = 8;
/// Descriptors of the largest ring (2.7).
pub const MAX_RING: u32 = 32768;
/// Ethernet header and VLAN tag.
const ETHERNET_BYTES: u32 = 14 + VLAN_BYTES;
/// A VLAN tag.
pub(crate) const VLAN_BYTES: u32 = 4;
/// Buffers of a pool of the device's own beside those that the rings hold: for batches and for frames in the application's hands.
const SPARE_BUFFERS: u32 = 1024;

/// The longest frame of an MTU without check sequence, in bytes, with a VLAN tag.
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
    let common = config::Limits { queues: 1, ring: MIN_RING..=MAX_RING, mtu: MIN_MTU..=limits.max_mtu, vectors: limits.vectors };
    config::check(config, domain, &common)?;
    config.pool.as_ref().map_or(Ok(()), |pool| check_pool(pool, config, limits))
}

fn check_pool(pool: &BufPool, config: &Config, limits: &Limits) -> Result<(), ConfigError> {
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
