//! What a device may be started with.

use driver_core::buf::{CHUNK, PoolConfig};
use driver_core::device::config::{self, Limits};
use driver_core::device::{Caps, Config, ConfigError, FlowTable, Offloads, Recovery, Settings, Timestamps};
use driver_core::ether::{FCS_BYTES, FrameLimits, HEADER_BYTES, STANDARD_MTU};
use driver_core::host::DmaDomain;
use driver_core::offload::Work;
use driver_core::ring::REPORT_EVERY;

use crate::ptp::STAMP_BYTES;
use crate::rx::whole;

/// Queues of each direction. The card has 128 of each; without DCB and virtualisation 64 transmit queues are in use (QUEUES-64). How many receive queues RSS
/// reaches of them says [`DeviceInfo::rss`](driver_core::device::DeviceInfo::rss).
pub const MAX_QUEUES: u16 = 64;
/// The queue to which rules send what they drop: none of this driver's, and never enabled (DROP-QUEUE).
pub(crate) const DROP_QUEUE: u32 = 127;
/// MSI-X vectors of a port (7.3.1.2).
pub(crate) const MAX_VECTORS: u16 = 64;
/// Descriptors of the smallest ring.
pub const MIN_RING: u32 = 64;
/// Descriptors of the largest ring. The card could do 8192 ("Validated Lengths up to 128K (8K descriptors)", 8.2.3.8.3).
pub const MAX_RING: u32 = 4096;
/// The largest MTU, in bytes: a frame of 9728 bytes (8.2.3.22.13: MAXFRS.MFS up to 0x2600) less header and check sequence.
pub const MAX_MTU: u32 = 9728 - HEADER_BYTES as u32 - FCS_BYTES as u32;
/// What the card can do and this driver lets it do.
pub(crate) const DRIVEN: Caps = Caps::RX_CHECKSUM
    .union(Caps::TX_CHECKSUM)
    .union(Caps::TX_SCTP_CRC)
    .union(Caps::TX_VLAN_INSERT)
    .union(Caps::RX_VLAN_STRIP)
    .union(Caps::DOUBLE_VLAN)
    .union(Caps::TX_SEGMENTATION)
    .union(Caps::RX_SCATTER)
    .union(Caps::TX_GATHER)
    .union(Caps::RSS)
    .union(Caps::INTERRUPTS)
    .union(Caps::RX_FILTERS)
    .union(Caps::SET_MAC)
    .union(Caps::LINK_STATE)
    .union(Caps::FLOW_CONTROL)
    .union(Caps::RECOVERY)
    .union(Caps::VLAN_FILTERS)
    .union(Caps::FLOW_STEERING)
    .union(Caps::RX_COALESCING)
    .union(Caps::HEADER_SPLIT)
    .union(Caps::TIMESTAMPS)
    .union(Caps::TIMESTAMPS_ALL)
    .union(Caps::TX_COUNT);
/// What the card can do beside it.
pub(crate) const NOT_DRIVEN: Caps = Caps::SR_IOV;
/// Buffers of a pool of the device's own beside those that the queues hold: for batches and for frames in the application's hands.
const SPARE_BUFFERS: u32 = 1024;
/// SRRCTL.BSIZEPACKET counts KB, from 1 to 16.
const BUFFER_KB: core::ops::RangeInclusive<u32> = 1..=16;

/// What the card lets in. MFS-VLAN: without jumbo frames that is the standard's 1518 bytes, whatever the MTU is.
pub(crate) fn rx_limits(settings: &Settings) -> FrameLimits {
    let limits = standard_limits(settings.mtu());
    if settings.double_vlan().is_some() { limits.with_outer_tag() } else { limits }
}

/// The same of frames with one tag or none.
pub(crate) fn standard_limits(mtu: u32) -> FrameLimits {
    FrameLimits::of(mtu.max(STANDARD_MTU))
}

/// The longest frame as it lies in memory, in bytes: with the stamp that the X550 may put behind it.
pub(crate) fn longest_in_memory(settings: &Settings, incoming: FrameLimits) -> usize {
    let stamp_bytes = if settings.timestamps() == Timestamps::All { STAMP_BYTES } else { 0 };
    incoming.longest(true) + stamp_bytes
}

/// Checks all of `config` that does not depend on memory.
pub(crate) fn check(config: &Config, settings: &Settings, domain: &DmaDomain, limits: &Limits, incoming: FrameLimits) -> Result<(), ConfigError> {
    config::check(config, domain, limits)?;
    if settings.rx().mac_pool_count() > 0 && settings.flow_table() != FlowTable::Off {
        return Err(ConfigError::BesideMacPools { what: "table of flows: start it without `Config::flow_table`" });
    }
    if let Some(pool) = config.given_pool() {
        let (buffer_bytes, min_bytes) = (pool.data_bytes(), min_buffer_bytes(settings, incoming));
        buffer_kb(buffer_bytes)?;
        if buffer_bytes < min_bytes {
            return Err(ConfigError::PoolBuffers { buffer_bytes, min_bytes });
        }
        let (buffers, needed) = (pool.len(), min_buffers(settings));
        if buffers < needed {
            return Err(ConfigError::PoolCount { buffers, needed });
        }
    }
    Ok(())
}

/// What is in use of what this driver lets the card do.
pub(crate) fn used_caps(settings: &Settings) -> Caps {
    let mut caps = DRIVEN;
    let switches = [
        (Offloads::RX_CHECKSUM, Caps::RX_CHECKSUM),
        (Offloads::TX_CHECKSUM, Caps::TX_CHECKSUM),
        (Offloads::TX_SCTP_CRC, Caps::TX_SCTP_CRC),
        (Offloads::TX_VLAN_INSERT, Caps::TX_VLAN_INSERT),
        (Offloads::TX_SEGMENTATION, Caps::TX_SEGMENTATION),
        (Offloads::RX_SCATTER, Caps::RX_SCATTER),
    ];
    for (switch, cap) in switches {
        caps.set(cap, settings.offloads().contains(switch));
    }
    caps.set(Caps::RX_VLAN_STRIP, settings.strips_vlan());
    caps.set(Caps::DOUBLE_VLAN, settings.double_vlan().is_some());
    caps.set(Caps::RX_COALESCING, settings.coalesces());
    caps.set(Caps::HEADER_SPLIT, settings.splits_headers());
    caps.set(Caps::RSS, settings.rx().spread_queues() > 1);
    caps.set(Caps::FLOW_CONTROL, !settings.flow_control().is_empty());
    caps.set(Caps::INTERRUPTS, settings.vectors().is_some());
    caps.set(Caps::RECOVERY, settings.recovery() != Recovery::Off);
    caps.set(Caps::TIMESTAMPS, settings.timestamps() != Timestamps::Off);
    caps.set(Caps::TIMESTAMPS_ALL, settings.timestamps() == Timestamps::All);
    caps
}

/// What transmit queues leave to the card of what frames ask for.
pub(crate) fn card_work(settings: &Settings) -> Work {
    let mut work = Work::empty();
    work.set(Work::CHECKSUM, settings.offloads().contains(Offloads::TX_CHECKSUM));
    work.set(Work::SCTP_CRC, settings.offloads().contains(Offloads::TX_SCTP_CRC));
    work.set(Work::SEGMENTATION, settings.offloads().contains(Offloads::TX_SEGMENTATION));
    work.set(Work::VLAN, settings.offloads().contains(Offloads::TX_VLAN_INSERT));
    work
}

/// The fewest buffers that a pool must have. Each receive queue fills its slots and takes fresh ones by the block; each transmit queue keeps up to
/// [`REPORT_EVERY`] frames whose report was not asked for yet.
pub(crate) fn min_buffers(settings: &Settings) -> u32 {
    let (rx, tx) = (settings.rx(), settings.tx());
    let more = if settings.coalesces() {
        whole::HELD
    } else if settings.splits_headers() {
        rx.ring_len()
    } else {
        0
    };
    let received = u32::from(rx.queue_count()).saturating_mul(rx.ring_len().saturating_add(CHUNK as u32).saturating_add(more));
    received.saturating_add(u32::from(tx.queue_count()) * REPORT_EVERY)
}

/// The fewest bytes that a pool's buffers must have, in the card's steps: a whole frame's where it is not to be spread over several.
fn min_buffer_bytes(settings: &Settings, incoming: FrameLimits) -> u32 {
    let spreads = settings.offloads().contains(Offloads::RX_SCATTER);
    // 7.11.1: a queue that puts segments together has no buffers below 2 KiB.
    let least = if settings.coalesces() { 2048 } else { 1024 };
    if spreads { least } else { (longest_in_memory(settings, incoming) as u32).next_multiple_of(1024).max(least) }
}

/// A pool for a device that was given none: buffers of the usual size, or of a frame's where a frame must lie in one.
pub(crate) fn own_pool(settings: &Settings, incoming: FrameLimits) -> PoolConfig {
    let in_flight = u32::from(settings.tx().queue_count()).saturating_mul(settings.tx().ring_len());
    let usual = PoolConfig::new(min_buffers(settings).saturating_add(in_flight).saturating_add(SPARE_BUFFERS));
    usual.data_bytes(usual.data_bytes.max(min_buffer_bytes(settings, incoming)))
}

/// What SRRCTL.BSIZEPACKET says for buffers of `data_bytes`. Buffers that the card would use in part only would make every bound a matter of which
/// size is meant, so they are refused.
pub(crate) fn buffer_kb(data_bytes: u32) -> Result<u32, ConfigError> {
    let kb = data_bytes / 1024;
    if !data_bytes.is_multiple_of(1024) || !BUFFER_KB.contains(&kb) {
        return Err(ConfigError::PoolSteps { buffer_bytes: data_bytes });
    }
    Ok(kb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_count_in_whole_kilobytes() {
        assert_eq!(buffer_kb(2048), Ok(2));
        assert_eq!(buffer_kb(16 * 1024), Ok(16));
        for buffer_bytes in [0, 1023, 2047, 17 * 1024] {
            assert_eq!(buffer_kb(buffer_bytes), Err(ConfigError::PoolSteps { buffer_bytes }));
        }
    }

    #[test]
    fn the_largest_frame_is_what_maxfrs_allows() {
        assert_eq!(MAX_MTU, 9710);
        assert_eq!(standard_limits(MAX_MTU).untagged_bytes() + 4, 9728);
    }

    #[test]
    fn the_card_lets_standard_frames_in_whatever_the_mtu_is() {
        assert_eq!([68, 1500, 1501].map(|mtu| standard_limits(mtu).tagged_bytes()), [1518, 1518, 1519]);
    }
}
