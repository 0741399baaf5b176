//! What a device may be started with.

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::config::{self, Limits};
use driver_core::device::{Config, ConfigError};
use driver_core::ether::{FrameLimits, HEADER_BYTES, VLAN_TAG_BYTES};
use driver_core::host::DmaDomain;

use crate::desc::NET_HDR_BYTES;

/// The largest MTU, in bytes: the largest buffer of a pool less Ethernet header and VLAN tag.
pub const MAX_MTU: u32 = 16384 - (HEADER_BYTES + VLAN_TAG_BYTES) as u32;
/// Descriptors of the smallest ring.
pub const MIN_RING: u32 = 8;
/// Descriptors of the largest ring (2.7).
pub const MAX_RING: u32 = 32768;
/// Buffers of a pool of the device's own beside those that the rings hold: for batches and for frames in the application's hands.
const SPARE_BUFFERS: u32 = 1024;

/// Checks all of `config` that does not depend on free memory. `mrg_rxbuf`: a received frame may lie in several buffers.
pub(crate) fn check(config: &Config, domain: &DmaDomain, limits: &Limits, mrg_rxbuf: bool) -> Result<(), ConfigError> {
    config::check(config, domain, limits)?;
    config.given_pool().map_or(Ok(()), |pool| check_pool(pool, config, mrg_rxbuf))
}

fn check_pool(pool: &BufPool, config: &Config, mrg_rxbuf: bool) -> Result<(), ConfigError> {
    let (headroom_bytes, min_bytes) = (pool.headroom_bytes(), NET_HDR_BYTES as u32);
    if headroom_bytes < min_bytes {
        return Err(ConfigError::PoolHeadroom { headroom_bytes, min_bytes });
    }
    let (buffer_bytes, min_bytes) = (pool.data_bytes(), FrameLimits::of(config.mtu_bytes()).tagged_bytes());
    if buffer_bytes < min_bytes && !mrg_rxbuf {
        return Err(ConfigError::PoolBuffers { buffer_bytes, min_bytes });
    }
    Ok(())
}

/// A pool for a device that was given none: buffers of the usual size, or of a frame's where a frame must lie in one.
pub(crate) fn own_pool(config: &Config, mrg_rxbuf: bool) -> PoolConfig {
    let usual = PoolConfig::new(config.rx_config().ring_len() + config.tx_config().ring_len() + SPARE_BUFFERS);
    if mrg_rxbuf { usual } else { PoolConfig { data_bytes: usual.data_bytes.max(FrameLimits::of(config.mtu_bytes()).tagged_bytes()), ..usual } }
}
