//! What a device may be started with.

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::config::{self, Limits};
use driver_core::device::{Caps, Config, ConfigError, Offloads, Settings};
use driver_core::ether::{HEADER_BYTES, VLAN_TAG_BYTES};
use driver_core::host::DmaDomain;

use crate::large;
use crate::regs::Features;

/// The largest MTU, in bytes: the largest buffer of a pool less Ethernet header and VLAN tag.
pub const MAX_MTU: u32 = 16384 - (HEADER_BYTES + VLAN_TAG_BYTES) as u32;
/// Descriptors of the smallest ring.
pub const MIN_RING: u32 = 8;
/// Descriptors of the largest ring (2.7).
pub const MAX_RING: u32 = 32768;
/// Buffers of a pool of the device's own beside those that the rings hold: for batches and for frames in the application's hands.
const SPARE_BUFFERS: u32 = 1024;

/// Checks all of `config` that does not depend on free memory. `mrg_rxbuf`: a received frame may lie in several buffers. `header_bytes`: the device's header.
pub(crate) fn check(
    config: &Config,
    settings: &Settings,
    domain: &DmaDomain,
    limits: &Limits,
    mrg_rxbuf: bool,
    header_bytes: usize,
) -> Result<(), ConfigError> {
    config::check(config, domain, limits)?;
    config.given_pool().map_or(Ok(()), |pool| check_pool(pool, settings, mrg_rxbuf, header_bytes))
}

fn check_pool(pool: &BufPool, settings: &Settings, mrg_rxbuf: bool, header_bytes: usize) -> Result<(), ConfigError> {
    let (headroom_bytes, min_bytes) = (pool.headroom_bytes(), header_bytes as u32);
    if headroom_bytes < min_bytes {
        return Err(ConfigError::PoolHeadroom { headroom_bytes, min_bytes });
    }
    let (buffer_bytes, min_bytes) = (pool.data_bytes(), settings.limits().tagged_bytes());
    if buffer_bytes < min_bytes && !mrg_rxbuf {
        return Err(ConfigError::PoolBuffers { buffer_bytes, min_bytes });
    }
    Ok(())
}

/// What a device with these features can do. Frames to be sent may lie in several buffers in any case, by chained descriptors (2.7.5), and every
/// device is set up again by its driver.
pub(crate) fn caps(features: Features) -> Caps {
    let segmentation = Features::HOST_TSO4 | Features::HOST_TSO6 | Features::HOST_UFO | Features::HOST_USO;
    let pairs = [
        (Features::GUEST_CSUM, Caps::RX_CHECKSUM),
        (Features::CSUM, Caps::TX_CHECKSUM),
        (Features::MRG_RXBUF, Caps::RX_SCATTER),
        (Features::RSS, Caps::RSS),
        (Features::HASH_REPORT, Caps::RX_HASH),
        (Features::CTRL_RX, Caps::RX_FILTERS),
        (Features::CTRL_MAC_ADDR, Caps::SET_MAC),
        (Features::STATUS, Caps::LINK_STATE),
        (Features::CTRL_VLAN, Caps::VLAN_FILTERS),
        (segmentation, Caps::TX_SEGMENTATION),
        (large::FRAMES, Caps::RX_COALESCING),
    ];
    let caps =
        pairs.into_iter().filter(|(needed, _)| features.intersects(*needed)).fold(Caps::TX_GATHER | Caps::RECOVERY, |caps, (_, cap)| caps | cap);
    // No buffer of a pool holds a large frame.
    if caps.contains(Caps::RX_SCATTER) { caps } else { caps - Caps::RX_COALESCING }
}

/// Whether a received frame may lie in several buffers: the device can, and it is wanted.
pub(crate) fn spreads(caps: Caps, offloads: Offloads) -> bool {
    caps.contains(Caps::RX_SCATTER) && offloads.contains(Offloads::RX_SCATTER)
}

/// A pool for a device that was given none: buffers of the usual size, or of a frame's where a frame must lie in one.
pub(crate) fn own_pool(settings: &Settings, mrg_rxbuf: bool) -> PoolConfig {
    let usual = PoolConfig::new(settings.rx().ring_len().saturating_add(settings.tx().ring_len()).saturating_add(SPARE_BUFFERS));
    if mrg_rxbuf { usual } else { usual.data_bytes(usual.data_bytes.max(settings.limits().tagged_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_what_the_features_say() {
        assert_eq!(caps(Features::VERSION_1 | Features::MAC), Caps::TX_GATHER | Caps::RECOVERY);
        assert_eq!(caps(Features::HOST_TSO6 | Features::GUEST_CSUM), Caps::TX_GATHER | Caps::RECOVERY | Caps::TX_SEGMENTATION | Caps::RX_CHECKSUM);
        let frames = Caps::RX_CHECKSUM | Caps::TX_CHECKSUM | Caps::TX_SEGMENTATION | Caps::RX_SCATTER | Caps::TX_GATHER | Caps::RECOVERY;
        let used =
            frames | Caps::RX_COALESCING | Caps::LINK_STATE | Caps::RX_FILTERS | Caps::VLAN_FILTERS | Caps::SET_MAC | Caps::RSS | Caps::RX_HASH;
        assert_eq!(caps(Features::USED), used, "what the driver uses");
        assert_eq!(caps(Features::USED - Features::MRG_RXBUF), used - Caps::RX_COALESCING - Caps::RX_SCATTER, "no buffer holds it");
    }
}
