//! Frames for addresses and VLANs, and the queue that each comes to.
#![allow(unreachable_pub)]

use driver_core::device::{Config, NetDevice, Rule, RuleInForce};
use driver_core::ether::MacAddr;

use super::common::{Card, PEER, Started, frame, received};

pub const A: MacAddr = MacAddr([0x02, 0xaa, 0, 0, 0, 0x0a]);
pub const B: MacAddr = MacAddr([0x02, 0xaa, 0, 0, 0, 0x0b]);
pub const C: MacAddr = MacAddr([0x02, 0xaa, 0, 0, 0, 0x0c]);
pub const GROUP: MacAddr = MacAddr([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
pub const ALL: MacAddr = MacAddr([0xff; 6]);

/// One queue for everything, and `pools` behind it.
pub fn config(pools: u16) -> Config {
    Config::new().rx_queues(1 + pools).rx_ring(64).mac_pools(pools)
}

pub fn to(queue: u16, mac: MacAddr) -> Rule {
    Rule::to_queue(queue).destination_mac(mac)
}

/// A frame with this destination, and a tag with this VLAN id.
pub fn frame_to(mac: MacAddr, vlan: Option<u16>) -> Vec<u8> {
    let mut bytes = frame(mac, 120, 9);
    if let Some(id) = vlan {
        let [high, low] = id.to_be_bytes();
        bytes.splice(12..12, [0x81, 0, high, low]);
    }
    bytes
}

/// The queues that it comes to, whole.
pub fn landed(card: &Card, started: &mut Started, mac: MacAddr, vlan: Option<u16>) -> Vec<u16> {
    let bytes = frame_to(mac, vlan);
    card.send(&bytes);
    let mut queues = Vec::new();
    for (queue, rx) in (0..).zip(&mut started.rx) {
        for frame in received(rx) {
            assert_eq!(frame, bytes);
            queues.push(queue);
        }
    }
    queues
}

/// Each of the frames comes to the one queue that is named, or to none.
#[track_caller]
pub fn land<const N: usize>(card: &Card, started: &mut Started, frames: [(MacAddr, Option<u16>); N], queues: [Option<u16>; N]) {
    let all = frames.map(|(mac, vlan)| landed(card, started, mac, vlan));
    assert_eq!(
        all,
        queues.map(Vec::from_iter),
        "of {frames:?} with {:?}",
        started.control.rules().iter().map(|entry: &RuleInForce| &entry.rule).collect::<Vec<_>>()
    );
}

/// A flow of UDP to `mac`, of which the source's port is `port`.
pub fn flow_to(mac: MacAddr, port: u16) -> Vec<u8> {
    let mut bytes = [&mac.0[..], &PEER.0, &[8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]].concat();
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 9, 0, 26, 0, 0]);
    bytes.resize(60, 0);
    bytes
}
