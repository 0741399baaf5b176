//! What of a configuration a device goes without, told in the log: it is started all the same.

use crate::device::caps::Caps;
use crate::device::clock::Timestamps;
use crate::device::config::Config;
use crate::device::info::DeviceInfo;
use crate::device::moderation::Moderation;

/// Warns of each thing that `config` asks for and the device that `info` tells of cannot do. Whether the device is started or not is another matter: what cannot be gone
/// without is a [`ConfigError`](crate::device::ConfigError).
pub fn warn(config: &Config, info: &DeviceInfo) {
    let name = &info.name;
    config.rss_config().warn(name, &info.rss, config.rx_config().spread_queues());
    if config.wants_interrupts() && info.max_moderation_us == 0 && matches!(config.wanted_moderation(), Moderation::Fixed { us: 1.. }) {
        log::warn!("{name}: it sends interrupts as they come: the interval that was asked for is not kept");
    }
    if !config.wanted_flow_control().is_empty() && !info.caps.contains(Caps::FLOW_CONTROL) {
        log::warn!("{name}: it has no flow control: it neither obeys nor sends pause frames");
    }
    if let Some(missing) = config.wanted_link_speeds().map(|asked| asked - info.link_speeds).filter(|missing| !missing.is_empty()) {
        log::warn!("{name}: it cannot be told to offer {missing}: it offers {}", config.wanted_link_speeds().unwrap_or_default() & info.link_speeds);
    }
    if config.wants_rx_hash() && !info.caps.contains(Caps::RX_HASH) && (!info.caps.contains(Caps::RSS) || config.rx_config().spread_queues() <= 1) {
        log::warn!("{name}: it tells no hashes of received frames: software computes them");
    }
    if config.wants_rx_vlan_strip() && !info.caps.contains(Caps::RX_VLAN_STRIP) {
        log::warn!("{name}: it does not take VLAN tags out of received frames: they stay in the frames' bytes");
    }
    if let Some(outer) = config.wanted_double_vlan().filter(|_| !info.caps.contains(Caps::DOUBLE_VLAN)) {
        log::warn!("{name}: it does not look behind an outer VLAN tag ({outer:#06x}): what it does with VLANs it does with the first tag of a frame");
    }
    let stamps = config.wanted_timestamps().on(info.caps) != Timestamps::Off;
    let has_pools = config.rx_config().mac_pool_count() > 0;
    let coalesces = config.wants_rx_coalescing() && info.caps.contains(Caps::RX_COALESCING) && !stamps && !has_pools;
    if config.wants_rx_coalescing() && !coalesces {
        let why = match (stamps, has_pools) {
            (true, _) => "where it stamps frames",
            (_, true) => "where queues have addresses of their own",
            _ => "at all",
        };
        log::warn!("{name}: it does not put received segments together {why}: they come one by one");
    }
    if config.wants_header_split() && (!info.caps.contains(Caps::HEADER_SPLIT) || stamps || coalesces) {
        let why = match (stamps, coalesces) {
            (true, _) => "where it stamps frames",
            (_, true) => "where it puts segments together",
            _ => "at all",
        };
        log::warn!("{name}: it does not put headers of received frames into buffers of their own {why}: frames come in one piece");
    }
    match (config.wanted_timestamps(), config.wanted_timestamps().on(info.caps)) {
        (Timestamps::Off, _) | (Timestamps::All, Timestamps::All) => {}
        (_, Timestamps::Off) => log::warn!("{name}: it has no clock and stamps no frames: stamp them by the host's clock, when they come and go"),
        (Timestamps::All, _) => log::warn!("{name}: it does not stamp every received frame: PTP's event messages alone have stamps"),
        _ => {}
    }
}
